"""What one run says of several targets: which is faster and by how much, who shares a rank, which nothing beats on two counts.

`pairs` compares each two of them. Targets take turns, so each round holds both under the same conditions. A round says how often a
request of the one took longer than a request of the other (Mann and Whitney's count as a share, less one half); the rounds' shares are
compared with none by Student's t. Where nothing hints at correlation the spread of the shares is steadied by what independent ranks
would have, weighted as four further rounds, which at 8 rounds of 8 requests finds 28 % in 85 % of pairs instead of 81 %, false in 3 %.
Holm's correction keeps the chance of a false finding over all pairs.

The ratio is Hodges and Lehmann's: the factor by which one target's times have to be multiplied for the test to see no difference;
its 95 % interval holds the factors that the test does not reject, so that it never says something else than the test. A request
that timed out is longer than any that did not. Measured: docs/decisions/0030-small-rounds-and-pairs-of-targets.md.

What votes between pairs say: strengths by the model of Bradley and Terry (1952), with intervals.

The chance that i is preferred to j is 1 / (1 + exp(θj − θi)). A tie counts as half a vote for each (Davidson 1970 gives ties a parameter of
their own; with few votes it is not worth one). A weak normal prior on θ (standard deviation 2: a target preferred in 98 % of votes over
an average one lies two deviations out) keeps a target that won every vote from being infinitely good. Intervals are those of the
curvature at the maximum; `tests/unit/statistics/test_preference.py` shows their coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.correlation import BATCHES, Correlation
from testcard.harness.statistics.rates import Z
from testcard.harness.statistics.rounds import STRONGEST, RoundValues, difference, holm, log_difference

Floats = npt.NDArray[np.float64]

ALPHA = 0.05
#: Fewest rounds (or pieces of rounds) that two targets share, with so many answers of each.
FEWEST_ROUNDS, FEWEST_ANSWERS = 4, 2
#: The weight, in rounds, of the spread that independent ranks would have.
PRIOR = 4
#: A round's times are thinned to so many, evenly by rank: more would not move the answer.
THINNED = 400


@dataclass(frozen=True, slots=True, eq=False)
class Times:
    """One target's latencies in time order with the round of each; infinite where a request timed out."""

    seconds: Floats
    rounds: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class TargetPair:
    """Two targets by their places in the list. `ratio`: times of `other` over those of `one`, with its 95 % interval.

    `p` is Holm's over all pairs, of no difference; None where the two share too little, with the reason.
    """

    one: int
    other: int
    ratio: Estimate
    p: float | None
    rounds: int = 0
    reason: str = ""

    @property
    def differs(self) -> bool:
        """Whether the two surely differ."""
        return self.p is not None and self.p < ALPHA and self.ratio.value != 1.0


def pairs(targets: Sequence[Times]) -> list[TargetPair]:
    """Every pair of targets compared."""
    hints = [Correlation(np.minimum(each.seconds, 1e12), each.rounds).hinted(np.zeros(len(each.seconds), dtype=bool)) for each in targets]
    found = [_pair(targets, one, other, hints[one] or hints[other]) for one, other in combinations(range(len(targets)), 2)]
    corrected = holm([pair.p for pair in found])
    return [TargetPair(pair.one, pair.other, pair.ratio, p, pair.rounds, pair.reason) for pair, p in zip(found, corrected, strict=True)]


def ranks(count: int, compared: Sequence[TargetPair]) -> list[int | None]:
    """For each target 1 + the number of those that are surely faster; None for one that could be compared with none."""
    better = [0] * count
    known = [False] * count
    for pair in compared:
        if pair.p is None:
            continue
        known[pair.one] = known[pair.other] = True
        if pair.differs and pair.ratio.value is not None:
            better[pair.other if pair.ratio.value > 1.0 else pair.one] += 1
    return [1 + better[place] if known[place] or count == 1 else None for place in range(count)]


def ranks_by_rounds(targets: Sequence[RoundValues], metric_is_share: bool, *, lower_is_better: bool) -> list[int | None]:
    """For each target 1 + the number of those whose round values are surely better: Welch's t over rounds, on logarithms where there
    are no zeros and the metric is no share, with Holm's correction over all pairs. None for a target with too few rounds."""
    known = [values.known for values in targets]
    fit = [len(values) >= FEWEST_ROUNDS for values in known]
    couples = [(one, other) for one, other in combinations(range(len(targets)), 2) if fit[one] and fit[other]]
    gaps = []
    for one, other in couples:
        mine, theirs = known[one], known[other]
        logarithms = not metric_is_share and bool((mine > 0).all() and (theirs > 0).all())
        gaps.append(log_difference(mine, theirs) if logarithms else difference(mine, theirs))
    better = [0] * len(targets)
    for (one, other), found, p in zip(couples, gaps, holm([each.p_differs for each in gaps]), strict=True):
        if p is not None and p < ALPHA and found.value != 0.0:
            better[other if (found.value < 0.0) == lower_is_better else one] += 1
    return [1 + better[place] if fit[place] else None for place in range(len(targets))]


def _pair(targets: Sequence[Times], one: int, other: int, hinted: bool) -> TargetPair:
    mine, theirs = targets[one], targets[other]
    n = min(len(mine.seconds), len(theirs.seconds))
    units = _units(mine, theirs)
    if len(units) < FEWEST_ROUNDS:
        why = f"they share {len(units)} rounds with {FEWEST_ANSWERS} answers of each; a comparison needs {FEWEST_ROUNDS}"
        return TargetPair(one, other, Estimate(value=None, n=n), None, len(units), why)
    test = _Test(units, hinted)
    statistic = test.t(0.0)
    p = 2.0 * test.tail(abs(statistic))
    middle, low, high = test.shift(0.0), test.shift(-test.critical), test.shift(test.critical)
    ratio = Estimate(value=math.exp(middle), low=_exp(low), high=_exp(high), n=n)
    return TargetPair(one, other, ratio, p, len(units))


def _exp(value: float) -> float | None:
    return math.exp(value) if math.isfinite(value) else None


def _units(mine: Times, theirs: Times) -> list[tuple[Floats, Floats]]:
    """The logarithms of both targets' times, ascending, in each round that both have; rounds in pieces where there are few."""
    shared = np.intersect1d(mine.rounds, theirs.rounds)
    each = 1 if len(shared) >= BATCHES or not len(shared) else -(-BATCHES // len(shared))
    found = []
    for number in shared:
        both = [times.seconds[times.rounds == number] for times in (mine, theirs)]
        pieces = max(1, min(each, *(len(times) // FEWEST_ANSWERS for times in both)))
        for one, other in zip(*(np.array_split(times, pieces) for times in both), strict=True):
            if min(len(one), len(other)) >= FEWEST_ANSWERS:
                found.append((_thinned(one), _thinned(other)))
    return found


def _thinned(seconds: Floats) -> Floats:
    ordered = np.sort(np.log(np.maximum(seconds, 1e-9)))
    if len(ordered) <= THINNED:
        return ordered
    return np.asarray(ordered[np.linspace(0, len(ordered) - 1, THINNED).round().astype(np.intp)])


class _Test:
    """The test of a shift between two targets, over units."""

    def __init__(self, units: Sequence[tuple[Floats, Floats]], hinted: bool) -> None:
        from scipy.special import stdtrit

        self.units = units
        count = len(units)
        self.hinted = hinted
        self.prior = 0 if hinted else PRIOR
        self.freedom = count - 1 + self.prior
        self.critical = float(stdtrit(self.freedom, 1.0 - ALPHA / 2.0))
        self.independent = float(np.mean([(len(a) + len(b) + 1) / (12.0 * len(a) * len(b)) for a, b in units]))

    def t(self, shift: float) -> float:
        """Student's t of the rounds' shares in which `other`, its logarithms less `shift`, took longer than `one`."""
        shares = np.array([_longer(one, other - shift) for one, other in self.units])
        middle = float(shares.mean())
        squares = float(((shares - middle) ** 2).sum()) + self.prior * self.independent
        error = math.sqrt(squares / self.freedom / len(shares))
        if self.hinted and squares > 0.0:  # rounds that take after their neighbours are worth fewer
            off = shares - middle
            alike = min(max(float(off[1:] @ off[:-1]) / squares, 0.0), STRONGEST)
            error *= math.sqrt((1.0 + alike) / (1.0 - alike))
        if error <= 0.0:
            return math.copysign(math.inf, middle) if middle else 0.0
        return middle / error

    def tail(self, statistic: float) -> float:
        """How often no difference shows at least this."""
        from scipy.special import stdtr

        return float(stdtr(self.freedom, -statistic)) if math.isfinite(statistic) else 0.0

    def shift(self, wanted: float) -> float:
        """The shift at which the statistic falls to −`wanted`: of 0 the estimate, of ∓critical the interval's ends.

        Infinite where no shift of the finite times does (timeouts).
        """
        ends = [value for one, other in self.units for value in (*one, *other) if math.isfinite(value)]
        if not ends:
            return 0.0
        span = max(ends) - min(ends) + 1.0
        low, high = -span, span
        if self.t(low) < -wanted:
            return -math.inf
        if self.t(high) > -wanted:
            return math.inf
        for _ in range(48):
            middle: float = (low + high) / 2.0
            low, high = (middle, high) if self.t(middle) > -wanted else (low, middle)
        return float(low + high) / 2.0


def _longer(one: Floats, other: Floats) -> float:
    """How often `other` exceeds `one`, ties half, less one half."""
    under = np.searchsorted(one, other, side="left").sum()
    upto = np.searchsorted(one, other, side="right").sum()
    return float(under + upto) / (2.0 * len(one) * len(other)) - 0.5


def frontier(points: Sequence[tuple[Estimate, Estimate]]) -> list[int]:
    """Places of the points that nothing beats, from left to right (lower is better on both axes).

    A point is beaten by one that is wholly better on an axis (its interval ends before the other begins) and not wholly worse on
    the other axis, so that chance differences neither put a point on the frontier nor take one off it.
    """
    spans = [tuple(_span(estimate) for estimate in point) for point in points]
    unbeaten = [place for place, mine in enumerate(spans) if not any(_beats(other, mine) for other in spans)]
    return sorted(unbeaten, key=lambda place: (points[place][0].value or 0.0, points[place][1].value or 0.0))


def _span(estimate: Estimate) -> tuple[float, float]:
    value = estimate.value or 0.0
    unknown = math.inf if estimate.low is not None else value  # an open upper end; with neither, the figure is all there is
    return (value if estimate.low is None else estimate.low, unknown if estimate.high is None else estimate.high)


def _beats(one: tuple[tuple[float, float], ...], other: tuple[tuple[float, float], ...]) -> bool:
    better = any(mine[1] < yours[0] for mine, yours in zip(one, other, strict=True))
    worse = any(mine[0] > yours[1] for mine, yours in zip(one, other, strict=True))
    return better and not worse


PRIOR_SD = 2.0
_STEPS, _CLOSE = 60, 1e-10


@dataclass(frozen=True, slots=True)
class Vote:
    """One vote between two of the contestants, by their places: `first` is the share of it that `one` got (1, 0, or 0.5 for a tie)."""

    one: int
    other: int
    first: float


@dataclass(frozen=True, slots=True)
class Strength:
    """How a contestant did. `preferred`: the chance that it is preferred to an average one, with its 95 % interval."""

    preferred: float
    low: float
    high: float
    won: int
    tied: int
    lost: int

    @property
    def votes(self) -> int:
        """Votes that it was in."""
        return self.won + self.tied + self.lost


def strengths(contestants: int, votes: Sequence[Vote]) -> list[Strength]:
    """The strength of each contestant; `ValueError` for a vote of nobody, or between one and itself."""
    for vote in votes:
        if vote.one == vote.other or not (0 <= vote.one < contestants and 0 <= vote.other < contestants):
            raise ValueError(f"no vote between two contestants: {vote}")
    theta, covariance = _fitted(contestants, votes)
    found = []
    for place in range(contestants):
        deviation = math.sqrt(max(float(covariance[place, place]), 0.0))
        low, middle, high = (_chance(float(theta[place]) + step * deviation) for step in (-Z, 0.0, Z))
        mine = [vote.first if vote.one == place else 1.0 - vote.first for vote in votes if place in (vote.one, vote.other)]
        found.append(Strength(middle, low, high, *(sum(share == kind for share in mine) for kind in (1.0, 0.5, 0.0))))
    return found


def _chance(theta: float) -> float:
    return 1.0 / (1.0 + math.exp(-theta))


def _fitted(contestants: int, votes: Sequence[Vote]) -> tuple[np.ndarray, np.ndarray]:
    """θ, which sums to zero, and its covariance, by Newton's method on the log posterior."""
    ones = np.array([vote.one for vote in votes], dtype=np.intp)
    others = np.array([vote.other for vote in votes], dtype=np.intp)
    first = np.array([vote.first for vote in votes], dtype=np.float64)
    theta = np.zeros(contestants)
    hessian = np.eye(contestants) / PRIOR_SD**2
    for _ in range(_STEPS):
        chance = 1.0 / (1.0 + np.exp(-(theta[ones] - theta[others])))
        slope = -theta / PRIOR_SD**2
        np.add.at(slope, ones, first - chance)
        np.add.at(slope, others, chance - first)
        weight = chance * (1.0 - chance)
        hessian = np.eye(contestants) / PRIOR_SD**2
        np.add.at(hessian, (ones, ones), weight)
        np.add.at(hessian, (others, others), weight)
        np.add.at(hessian, (ones, others), -weight)
        np.add.at(hessian, (others, ones), -weight)
        step = np.linalg.solve(hessian, slope)
        theta = theta + np.clip(step, -2.0, 2.0)
        if float(np.abs(step).max(initial=0.0)) < _CLOSE:
            break
    centred = np.eye(contestants) - 1.0 / contestants  # only differences are seen: the mean is set to zero
    return centred @ theta, centred @ np.linalg.inv(hessian) @ centred
