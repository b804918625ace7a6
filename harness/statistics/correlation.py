"""Correlated samples: what are they worth? The design effect of a yes-or-no series ("took longer than x"), by batches.

Latencies of a loaded server are alike: a queue hands its length from one request to the next, a drift makes a round slower as a
whole. An interval that takes them for independent is too narrow (a queue at a load of 0.7: a nominal 95 % covers 30 to 50 %).
The design effect says by how much: n requests are worth n / effect independent ones (Kish, Survey Sampling, 8.2).

It is read from the shares of batches in time order (batch means; Law, Simulation Modeling and Analysis, 9.5): the larger of two
estimates, one from the rounds (or 8 pieces), one from pieces half as long whose likeness to their neighbours is allowed for. Each is
enlarged for its few batches as Student's t is (Korn and Graubard 1998). Three to seven rounds that differ count as well. So that independent samples do not pay for the noise of that
estimate, it is only asked where something hints at correlation: neighbours or batches alike at 10 % in the ranks, at 5 % in the
series itself. Chosen by simulation: docs/decisions/0029-percentiles-are-always-shown.md, tests/statistics/coverage_table.py.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

#: From so many rounds on, rounds are the batches; fewer are cut into about so many pieces.
BATCHES = 8
#: Fewest rounds whose own differences tell a design effect.
FEW_ROUNDS = 3
#: Fewest samples a batch.
FEWEST = 2
#: Chance that each test on the ranks, and on the series itself, sees correlation in independent samples.
HINT, OWN_HINT = 0.10, 0.05
#: The strongest likeness of neighbouring batches that is believed; few batches can only hint at more.
STRONGEST = 0.8
#: Values closer than this are equal: differences of clock readings carry rounding.
TIE = 1e-6
Z = 1.959963984540054


class Batches:
    """A series in time order cut into batches: batch i holds the samples `starts[i]` up to `starts[i + 1]`."""

    __slots__ = ("sizes", "starts")

    def __init__(self, starts: Integers) -> None:
        self.starts = starts  # one more than there are batches; the last is n
        self.sizes: Integers = np.diff(starts)

    @property
    def count(self) -> int:
        """Number of batches."""
        return len(self.sizes)

    def sums(self, series: npt.NDArray[np.generic]) -> Floats:
        """Sum of the series in each batch."""
        total = np.concatenate(([0.0], np.cumsum(series, dtype=np.float64)))
        return np.asarray(total[self.starts[1:]] - total[self.starts[:-1]])


def batches(rounds: npt.NDArray[np.generic], least: int = BATCHES, *, halves: bool = False) -> Batches:
    """The batches of a series whose samples, in time order, belong to these rounds: the rounds where there are `least` of them,
    else equal pieces of each round, at least `least` in all where each can have two samples. `halves`: twice as many."""
    n = len(rounds)
    edges = np.concatenate(([0], np.flatnonzero(rounds[1:] != rounds[:-1]) + 1, [n])) if n else np.zeros(1, dtype=np.intp)
    count = len(edges) - 1
    each = (1 if count >= least else -(-least // count)) if count else 0
    each *= 2 if halves else 1
    if count and each > 1:
        each = max(1, min(each, n // (FEWEST * count)))
    if each <= 1:
        return Batches(edges.astype(np.intp))
    pieces = [np.linspace(start, stop, each + 1).round() for start, stop in pairwise(edges)]
    return Batches(np.unique(np.concatenate(pieces)).astype(np.intp))


class Correlation:
    """What the order of a row's samples says: hints of correlation in their ranks, and the design effect of any yes-or-no series."""

    __slots__ = ("_fine", "_ranks_hint", "_rounds", "base", "n")

    def __init__(self, values: Floats, rounds: npt.NDArray[np.generic], *, order: Integers | None = None) -> None:
        """`values` in time order without NaN; `order` sorts them, where the caller knows it."""
        self.n = len(values)
        self.base = batches(rounds)
        self._fine = batches(rounds, halves=True)
        ranks = _ranks(np.round(values / TIE), np.argsort(values, kind="stable") if order is None else order)
        centred = ranks - ranks.mean() if self.n else ranks
        self._ranks_hint = _hints(centred, self.base, HINT)
        whole = batches(rounds, 1)  # few rounds that have each a level of their own, which their pieces share
        self._rounds = whole if FEW_ROUNDS <= whole.count < BATCHES and _differ(centred, whole, HINT) else None

    def hinted(self, series: Mask) -> bool:
        """Whether anything hints that the series, or the values, are correlated."""
        centred = series.astype(np.float64)
        return self._ranks_hint or _hints(centred - centred.mean() if len(centred) else centred, self.base, OWN_HINT)

    def design_effect(self, series: Mask) -> float:
        """How many requests of the series are worth one independent one; at least 1, and 1 for a series that never changes."""
        share = float(np.count_nonzero(series)) / self.n if self.n else 0.0
        if not 0.0 < share < 1.0 or not self.hinted(series):
            return 1.0
        found = max(1.0, _by_batches(series, self.base), _by_batches(series, self._fine, along=True))
        return found if self._rounds is None else max(found, _by_batches(series, self._rounds))


def _by_batches(series: Mask, cut: Batches, *, along: bool = False) -> float:
    from scipy.special import stdtrit

    count, n = cut.count, int(cut.starts[-1])
    if count < 2:
        return 1.0
    share = float(np.count_nonzero(series)) / n
    off = cut.sums(series) - cut.sizes * share
    squares = float(off @ off)
    if squares == 0.0:
        return 0.0
    variance = squares / (n * n) * count / (count - 1)
    if along:
        alike = float(off[1:] @ off[:-1]) / squares * count / (count - 1)
        alike = min(max(alike, 0.0), STRONGEST)
        variance *= (1.0 + alike) / (1.0 - alike)
    return variance * n / (share * (1.0 - share)) * float(stdtrit(count - 1, 0.975) / Z) ** 2


def _hints(centred: Floats, cut: Batches, alarm: float) -> bool:
    """Whether neighbours are alike, or batches differ more than chance allows, each at `alarm`; never with fewer than two batches."""
    from scipy.special import ndtri

    n = len(centred)
    variance = float(centred @ centred) / n if n >= 2 * FEWEST else 0.0
    if variance == 0.0 or cut.count < 2:
        return False
    alike = float(centred[1:] @ centred[:-1]) / (n * variance) * math.sqrt(n)
    return alike > float(ndtri(1.0 - alarm)) or _differ(centred, cut, alarm)


def _differ(centred: Floats, cut: Batches, alarm: float) -> bool:
    """Whether batches differ more than chance allows: their sums squared, about chi-squared where nothing is alike."""
    from scipy.special import chdtri

    variance = float(centred @ centred) / len(centred) if len(centred) else 0.0
    if variance == 0.0 or cut.count < 2:
        return False
    sums = cut.sums(centred)
    return float(np.sum(sums * sums / cut.sizes)) / variance > float(chdtri(cut.count - 1, alarm))


def _ranks(series: Floats, order: Integers) -> Floats:
    """Rank of each value (from 0), equal values sharing their mean rank; `order` sorts the series."""
    n = len(series)
    ordered = series[order]
    edges = np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, [n])) if n else np.zeros(1, dtype=np.intp)
    found = np.empty(n)
    found[order] = np.repeat((edges[:-1] + edges[1:] - 1) / 2.0, np.diff(edges))
    return found
