"""Pure statistics on samples: percentiles with intervals, rates, summary rows, objectives, comparisons, ranks.

Values in, values out: no sockets, clock, files or hidden random source (`samples.read` is the one door to a run folder). May
import `harness.errors`, `harness.runs` and `harness.text`.

How sure a figure is, in one place:

- Percentiles are order statistics of the raw samples (nearest rank: the smallest sample that at least a share q of all
  samples do not exceed). Their 95 % interval is a pair of order statistics, each tail at most 2.5 % (`percentiles`).
- Where successive samples are correlated (a queue, a drift), the interval comes from rounds or blocks (`serial`).
- Shares have Wilson intervals, ratios of sums a bootstrap over rounds (`ratios`), ECDFs a Dvoretzky–Kiefer–Wolfowitz band.
- A timeout is a censored value: known to be at least as long as it was waited for, never dropped.
- Whether latency stood still is `steadiness`'s question; an objective is judged by the whole interval (`slo`).
- Two runs are compared where a fingerprint allows it (`matching`), by round values, Welch's t on their logarithms and Holm's
  correction (`rounds`), against a noise threshold; rules by what each side judged (`compare`); words in `sentences`.
- Rows of one run are ranked by what their intervals let one say (`ranking`).
- A figure that too few samples carry is None, so that a report can say so instead of printing a number that looks sure.
"""
