"""Pure statistics on samples: percentiles with intervals, rates, summary rows, gates, ranks.

Values in, values out: no sockets, clock, files or hidden random source (`samples.read` is the one door to a run folder,
kept in `harness.runs.samples`). May import `harness.errors` and `harness.runs`.

How sure a figure is, in one place:

- Percentiles are order statistics of the raw samples (nearest rank: the smallest sample that at least a share q of all
  samples do not exceed). Their 95 % interval is a pair of order statistics, each tail at most 2.5 % (`intervals`).
- Where successive samples are correlated (a queue, a drift), the interval comes from rounds or blocks (`serial`).
- Rates have Wilson intervals, ECDFs a Dvoretzky–Kiefer–Wolfowitz band (`ecdf`), ratios a bootstrap over rounds (`bootstrap`).
- A timeout is a censored value: known to be at least as long as it was waited for, never dropped.
- Two runs are compared by round values (`rounds`), Welch's t on their logarithms (`welch`), Holm's correction (`holm`), a noise
  threshold and a fingerprint (`compare`, `fingerprint`); rules by what each side judged (`conformance`); words in `sentences`.
- A trend over runs is Mann and Kendall's (`trend`).
- A figure that too few samples carry is None, so that a report can say so instead of printing a number that looks sure.
"""
