"""How long a row's rounds were and took, and what came in a second, with intervals that leave our own arrivals out.

Open loop: we drew the arrivals, so how many there happened to be says nothing of the target. What came is a share of what was
scheduled, and its interval is that share's (Wilson's, clustered), at the rate that was scheduled. Closed loop: the target's own
answers set the pace, and the interval is a bootstrap over rounds or batches.

Shares and ratios of sums with their 95 % intervals: Wilson's for a share of requests, a bootstrap over rounds for a ratio.

Error rates, rate limits, goodput, cost a good image: whatever is so many of so many, or so much for so many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.columns import Columns, Floats, Mask
from testcard.harness.statistics.correlation import Batches, Correlation, batches
from testcard.harness.statistics.percentiles import nearest_rank

#: Normal quantile of 97.5 %.
Z = 1.959963984540054
#: Fewest rounds or batches that a bootstrap may draw from; below, no interval is claimed.
MIN_UNITS = 6
RESAMPLES = 2000
#: Above this part of the samples the tail begins.
TAIL_FROM = 0.75
#: Below so many requests over a limit, their own batches say too little of how alike they are.
FEW = 20
_LONGEST_S = 1e9


def wilson(successes: float, n: float, *, worth: float | None = None) -> Estimate:
    """The share successes/n with its Wilson score 95 % interval (Wilson 1927); None throughout for n = 0.

    `worth` is the number of independent trials that correlated ones are worth: the interval is that of the same share among so many.
    """
    if n < 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    if n == 0:
        return Estimate(value=None, n=0)
    share = successes / n
    trials = n if worth is None else max(1.0, min(float(n), worth))
    bottom = 1.0 + Z * Z / trials
    middle = (share + Z * Z / (2.0 * trials)) / bottom
    half = Z * math.sqrt(share * (1.0 - share) / trials + Z * Z / (4.0 * trials * trials)) / bottom
    return Estimate(
        value=share,
        low=0.0 if successes == 0 else max(0.0, middle - half),
        high=1.0 if successes == n else min(1.0, middle + half),
        n=int(n),
    )


def wilson_worth(share: Estimate) -> float:
    """The number of independent trials that the interval of a share was made for: an end x solves (p − x)² = Z² x (1 − x) / worth."""
    p, n = share.value, float(share.n)
    end = share.low if p == 1.0 else share.high
    if p is None or end is None or end == p:
        return n
    return min(n, Z * Z * end * (1.0 - end) / (p - end) ** 2)


def share_ends(successes: float, n: float, worth: float, tail: float = 0.025) -> tuple[float, float]:
    """The ends of the share successes/n, each missed with at most `tail` (Clopper and Pearson 1934), among `worth` independent
    trials (Korn and Graubard 1998), which need not be a whole number."""
    from scipy.special import betaincinv

    trials = min(float(n), worth)
    hits = successes / n * trials
    misses = trials - hits
    low = float(betaincinv(hits, misses + 1.0, tail)) if hits > 0.0 else 0.0
    high = float(betaincinv(hits + 1.0, misses, 1.0 - tail)) if misses > 0.0 else 1.0
    return low, high


def clustered(events: npt.NDArray[np.bool_], rounds: npt.NDArray[np.generic], *, latencies: Floats | None = None) -> Estimate:
    """The share of events in time order with its Wilson interval: wider where batches say that they come in spells.

    `latencies`, where they decide on an event (NaN: there was none): a queue shows few late requests, or none, until its next busy
    spell. So where fewer than `FEW` were, or were not, they are worth no more than those over the latencies' 75th percentile.
    """
    n = len(events)
    hits = int(np.count_nonzero(events))
    effect = Correlation(events.astype(np.float64), rounds).design_effect(events) if 0 < hits < n else 1.0
    if latencies is not None and n and min(hits, n - hits) < FEW:
        known = np.nan_to_num(latencies, nan=_LONGEST_S, posinf=_LONGEST_S)
        knee = float(np.sort(known)[nearest_rank(n, TAIL_FROM) - 1])
        effect = max(effect, Correlation(known, rounds).design_effect(known > knee))
    return wilson(hits, n, worth=n / effect)


def bootstrapped(
    numerators: Sequence[float] | npt.NDArray[Any],
    denominators: Sequence[float] | npt.NDArray[Any],
    *,
    n: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Sum of the numerators over sum of the denominators, one pair per round or batch, with a 95 % bootstrap interval.

    Whole rounds are drawn with replacement, so correlation inside a round is kept. The percentile interval is expanded for
    the small number of rounds (Hesterberg 2015, "What teachers should know about the bootstrap", 5.3). `n` is what the
    estimate reports as its sample size. Value None where the denominators sum to 0; no interval below 6 rounds.
    """
    top, bottom = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if top.shape != bottom.shape:
        raise ValueError("one numerator for each denominator")
    total = float(bottom.sum())
    if total == 0.0:
        return Estimate(value=None, n=n)
    value = float(top.sum()) / total
    units = len(top)
    if units < MIN_UNITS:
        return Estimate(value=value, n=n)
    generator = np.random.default_rng(seed)  # seeded: the same samples give the same interval
    drawn = generator.multinomial(units, np.full(units, 1.0 / units), size=resamples)
    sums = drawn @ bottom
    with np.errstate(divide="ignore", invalid="ignore"):
        figures = np.sort(np.where(sums > 0.0, (drawn @ top) / sums, np.inf))
    tail = _expanded_tail(units)
    low = figures[math.floor(tail * (resamples - 1))]
    high = figures[math.ceil((1.0 - tail) * (resamples - 1))]
    return Estimate(value=value, low=float(low) if np.isfinite(low) else None, high=float(high) if np.isfinite(high) else None, n=n)


def _expanded_tail(units: int) -> float:
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-math.sqrt(units / (units - 1)) * stdtrit(units - 1, 0.975)))


#: How many standard errors the growth of latency has to be away from none, and from how many rounds on these tell its error.
SURE = 3.0
CLUSTERS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Pace:
    """A row's time: seconds in which each round was scheduled, and those that its answers really took, which rates divide by.

    `users`: closed loop with so many. `seed` steers the bootstrap.
    """

    data: Columns
    scheduled_s: Floats
    taken_s: Floats
    users: int | None
    seed: int = 0

    @property
    def duration_s(self) -> float:
        """Seconds in which requests were scheduled."""
        return float(self.scheduled_s.sum())

    @property
    def spent_s(self) -> float:
        """Seconds that the answers took to come in."""
        return float(self.taken_s.sum())

    def per_second(self, series: Floats | Mask, *, each: float = 1.0, latencies: Floats | None = None) -> Estimate:
        """The sum of a series of the row's requests per second, with its interval. `each`: what one request would have added where none
        added anything (pictures, megapixels), of which the upper end is made; 0 where nobody knows, and there is no upper end then. `latencies`: as
        `clustered` takes them."""
        n, spent = len(series), self.spent_s
        if n == 0 or spent <= 0.0:
            return Estimate(value=None, n=n)
        if self.users is not None:
            cut = batches(self.data.rounds)
            return bootstrapped(cut.sums(series), self._of(cut), n=n, seed=self.seed)
        came = series != 0
        if came.any():
            each = float(series[came].max())
        elif each == 0.0:
            return Estimate(value=0.0, low=0.0, n=n)
        if each > 0.0 and bool(np.all(series[came] == each)):
            return _scaled(clustered(came.astype(bool), self.data.rounds, latencies=latencies), each * n / spent)
        cut = batches(self.data.rounds)
        return _scaled(bootstrapped(cut.sums(series), cut.sizes, n=n, seed=self.seed), n / spent)

    def _of(self, cut: Batches) -> Floats:
        """Seconds that each batch stands for: its round's, in pieces from first start to first start."""
        edges = self.data.edges
        if cut.count == len(self.taken_s):
            return self.taken_s
        owner = np.searchsorted(edges, cut.starts[:-1], side="right") - 1
        pieces = np.empty(cut.count)
        for index, taken in enumerate(self.taken_s.tolist()):
            mine = np.flatnonzero(owner == index)
            first = self.data.scheduled[cut.starts[mine]]
            length = np.maximum(np.diff(np.append(first, first[0] + taken)), 0.0)
            pieces[mine] = length * (taken / length.sum() if length.sum() > 0 else 0.0)
        return pieces


def pace(
    data: Columns, delivered: Mask, *, rounds_s: Sequence[float] | None, declared_s: float | None, users: int | None, seed: int = 0
) -> Pace:
    """The pace of a row. `rounds_s`: how long each of its rounds was scheduled, where that is known; else `declared_s`, all of
    them together, in equal parts; else what the starts span."""
    scheduled = _round_lengths(data, rounds_s, declared_s)
    return Pace(data, scheduled, _taken_s(data, delivered, scheduled, users), users, seed)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    def times(value: float | None) -> float | None:
        return None if value is None else value * factor

    return Estimate(value=times(estimate.value), low=times(estimate.low), high=times(estimate.high), n=estimate.n)


def _round_lengths(data: Columns, rounds_s: Sequence[float] | None, declared_s: float | None) -> Floats:
    """Seconds in which each round with a request was scheduled."""
    edges = data.edges
    sizes = np.diff(edges)
    if rounds_s is not None and len(rounds_s) == len(sizes):
        return np.asarray(rounds_s, dtype=np.float64)
    if not len(sizes):
        return np.empty(0)
    if declared_s is not None:
        return np.full(len(sizes), declared_s / len(sizes))
    starts = data.scheduled[edges[:-1]]
    spans = data.scheduled[edges[1:] - 1] - starts
    # n starts lie n − 1 gaps apart; the stage goes on for one more.
    lengths = np.where(sizes > 1, spans * sizes / np.maximum(sizes - 1, 1), data.done[edges[:-1]] - starts)
    return np.nan_to_num(np.maximum(lengths, 0.0))


def _taken_s(data: Columns, delivered: Mask, lengths: Floats, users: int | None) -> Floats:
    """Seconds that each round took to bring in its answers, never less than the seconds in which it was scheduled.

    Open loop: a server that keeps up answers each request a latency later, so its answers take as long to come in as the
    requests took to go out, and neither the first latency nor the last counts. A server that falls behind answers later and
    later: where latency grows by b seconds for every second of schedule (least squares over all rounds, each about its own
    mean; 0 unless b is more than `SURE` standard errors), the requests of s seconds come back within (1 + b)·s. So a saturated
    server shows its own rate, and nobody shows more than was offered.

    Closed loop: the time that the users were there, on average: from the start of each one's first request to the end of its last.
    """
    edges = data.edges
    taken = lengths.copy()
    if users is not None:
        for index in range(len(lengths)):
            part = slice(edges[index], edges[index + 1])
            many = min(users, edges[index + 1] - edges[index])  # a user's first request is among the first so many, its last among the last
            first, last = data.scheduled[part][:many], data.done[part][-many:]
            if not np.isnan(last).all():
                taken[index] = max(lengths[index], float(np.nanmean(last) - np.mean(first)))
        return taken
    growth = _growth(data, delivered, data.done - data.scheduled)
    for index in range(len(lengths)):
        part = slice(edges[index], edges[index + 1])
        answered = data.scheduled[part][delivered[part]]
        if len(answered):
            taken[index] = max(lengths[index], (1.0 + growth) * float(answered[-1] - data.scheduled[edges[index]]))
    return taken


def _growth(data: Columns, delivered: Mask, latency: Floats) -> float:
    """Seconds by which latency grows for each second of schedule within a round; 0 where it does not, or not surely."""
    edges = data.edges
    across, along, squares, count = [], [], 0.0, 0
    for start, stop in pairwise(edges):
        mine = delivered[start:stop]
        if np.count_nonzero(mine) < 2:
            continue
        at, took = data.scheduled[start:stop][mine], latency[start:stop][mine]
        at, took = at - at.mean(), took - took.mean()
        across.append(float(at @ took))
        along.append(float(at @ at))
        squares += float(took @ took)
        count += len(at)
    total = sum(along)
    if total <= 0 or count <= len(along) + 1:
        return 0.0
    growth = sum(across) / total
    left = max(squares - growth * growth * total, 0.0) / (count - len(along) - 1)
    variance = left / total
    if len(along) >= CLUSTERS:  # what a queue leaves behind is alike within a round, so rounds tell the error too
        scores = [a - growth * b for a, b in zip(across, along, strict=True)]
        variance = max(variance, sum(score * score for score in scores) / total**2 * len(along) / (len(along) - 1))
    return growth if growth > SURE * math.sqrt(variance) else 0.0
