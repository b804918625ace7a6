"""Pure statistics on samples: percentiles with intervals, rates, summary rows, objectives, comparisons, ranks.

Values in, values out: no sockets, clock, files or hidden random source (`samples.read` is the one door to a run folder). May
import `harness.errors`, `harness.runs` and `harness.text`.

How sure a figure is, in one place:

- Percentiles are order statistics of the raw samples (nearest rank: the smallest sample that at least a share q of all samples do
  not exceed), shown wherever a sample lies beyond them. Their 95 % interval is a pair of order statistics (`percentiles`).
- Where successive samples are alike (a queue, a drift, a spell), intervals take the design effect of the very series that they are
  about, from its batches (`correlation`). Runs of long requests are said as the events that they are (`steadiness`).
- Shares have Wilson intervals, ratios of sums a bootstrap over batches (`rates`), ECDFs a Dvoretzky–Kiefer–Wolfowitz band. Rates
  are shares of what was scheduled, and divide by the time really spent (`rates`).
- A timeout is a censored value: known to be at least as long as it was waited for, never dropped.
- A limit on a percentile is judged by the share of requests over it, also while the samples grow (`limit_share`); every other
  objective by its whole interval (`slo`). Whether latency stood still is `steadiness`'s question.
- Two runs are compared where a fingerprint allows it (`matching`), by round values, Welch's t on their logarithms and Holm's
  correction (`rounds`), against a margin; rules by what each side judged (`compare`); words in `sentences`.
- Targets of one run are compared in pairs by ranks over rounds, and ranked by what tests say (`ranking`).
- What is unsure is marked, never left out: leaving it out would favour the unsteady.
"""
