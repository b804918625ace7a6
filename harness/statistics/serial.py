"""Correlated samples: is there correlation, and how many independent samples are these worth?

Latencies of a loaded server are not independent: a queue hands its length from one request to the next. An interval that
assumes independence is then too narrow (at AR(1) 0.8 a nominal 95 % covers 68 %). Here the series is cut into rounds or blocks
long enough to be nearly independent, and the spread of the blocks' shares says what the samples are worth
(batch means of the indicator series; Heidelberger and Lewis 1984, Law, Simulation Modeling and Analysis, 9.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]

#: From so many rounds on, rounds are the blocks.
MIN_ROUNDS = 8
#: Blocks of a series that has fewer rounds.
BLOCKS = 10
#: Fewest samples in which correlation is looked for.
MIN_SAMPLES = 40
#: Chance that each of the two tests calls an independent series correlated, and its normal quantile.
ALARM = 0.005
Z_ALARM = 2.5758293035489004


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """A series in time order cut into blocks: block i holds the samples `starts[i]` up to `starts[i + 1]`."""

    starts: Integers  # one more than there are blocks; the last is n

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.starts) - 1

    @property
    def sizes(self) -> Integers:
        """Samples in each block."""
        return np.diff(self.starts)

    def sums(self, series: npt.NDArray[np.generic]) -> Floats:
        """Sum of the series in each block."""
        total = np.concatenate(([0.0], np.cumsum(series, dtype=np.float64)))
        return total[self.starts[1:]] - total[self.starts[:-1]]


def blocks(rounds: npt.NDArray[np.generic]) -> Blocks:
    """The blocks of a series whose samples, in time order, belong to these rounds: the rounds where there are 8 or more of
    them, else equal pieces of each round, about 10 in all."""
    n = len(rounds)
    edges = np.concatenate(([0], np.flatnonzero(rounds[1:] != rounds[:-1]) + 1, [n])) if n else np.zeros(1, dtype=np.intp)
    count = len(edges) - 1
    if count == 0 or count >= MIN_ROUNDS:
        return Blocks(edges.astype(np.intp))
    each = max(1, round(BLOCKS / count))
    pieces = [np.linspace(start, stop, each + 1).round() for start, stop in pairwise(edges)]
    return Blocks(np.unique(np.concatenate(pieces)).astype(np.intp))


def is_correlated(series: Floats, cut: Blocks) -> bool:
    """Whether a series in time order shows correlation: neighbours alike, or blocks that differ more than chance allows.

    Both tests work on ranks, so one huge value cannot hide or feign it; together they raise a false alarm in about 1 % of
    independent series, which only widens an interval.
    """
    n = len(series)
    if n < MIN_SAMPLES or cut.count < 2:
        return False
    return ranks_correlated(ranks(series, np.argsort(series, kind="stable")), cut)


def ranks(series: Floats, order: Integers) -> Floats:
    """Rank of each value (from 0), equal values sharing their mean rank; `order` sorts the series."""
    n = len(series)
    ordered = series[order]
    edges = np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, [n])) if n else np.zeros(1, dtype=np.intp)
    found = np.empty(n)
    found[order] = np.repeat((edges[:-1] + edges[1:] - 1) / 2.0, np.diff(edges))
    return found


def ranks_correlated(rank: Floats, cut: Blocks) -> bool:
    """As `is_correlated`, of ranks already known."""
    from scipy.special import chdtri

    n = len(rank)
    if n < MIN_SAMPLES or cut.count < 2:
        return False
    centred = rank - (n - 1) / 2.0
    variance = float(centred @ centred) / n
    if variance == 0.0:
        return False
    neighbours = float(centred[1:] @ centred[:-1]) / (n * variance)
    if neighbours > Z_ALARM / np.sqrt(n):
        return True
    sums = cut.sums(centred)
    between = float(np.sum(sums * sums / cut.sizes)) / variance  # about chi-squared with count − 1 degrees when independent
    return between > float(chdtri(cut.count - 1, ALARM))


def effective_n(below: npt.NDArray[np.bool_], cut: Blocks, q: float | None = None) -> float:
    """How many independent samples a 0/1 series in time order is worth, from the spread of its blocks' shares; at most n.

    For the `q` quantile the series says which samples lie at or below it. The estimate allows for blocks that are still
    correlated with their neighbours and, by Student's t, for their small number.
    """
    from scipy.special import stdtrit

    n = len(below)
    count = cut.count
    if n == 0 or count < 2:
        return float(n)
    share = float(np.count_nonzero(below)) / n
    spread = share * (1.0 - share)
    if spread == 0.0:
        return float(n) if q is None else 0.0
    deviations = cut.sums(below) - cut.sizes * share
    variance = float(deviations @ deviations) / (n * n) * count / (count - 1)  # of the overall share
    if variance == 0.0:
        return float(n)
    along = max(0.0, float(deviations[1:] @ deviations[:-1]) / float(deviations @ deviations)) if count >= MIN_ROUNDS else 0.0
    variance *= (1.0 + along) / (1.0 - along)
    widened = variance * float(stdtrit(count - 1, 0.975) / 1.959963984540054) ** 2
    return min(float(n), spread / widened)
