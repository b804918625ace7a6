"""Shares and ratios of sums with their 95 % intervals: Wilson's for a share of requests, a bootstrap over rounds for a ratio.

Error rates, rate limits, goodput, cost a good image: whatever is so many of so many, or so much for so many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.correlation import Correlation

#: Normal quantile of 97.5 %.
Z = 1.959963984540054
#: Fewest rounds or batches that a bootstrap may draw from; below, no interval is claimed.
MIN_UNITS = 6
RESAMPLES = 2000


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


def clustered(events: npt.NDArray[np.bool_], rounds: npt.NDArray[np.generic]) -> Estimate:
    """The share of events in time order with its Wilson interval: wider where batches say that they come in spells."""
    n = len(events)
    hits = int(np.count_nonzero(events))
    effect = Correlation(events.astype(np.float64), rounds).design_effect(events) if 0 < hits < n else 1.0
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
