"""Percentiles with order-statistic intervals, and rates with Wilson intervals.

What an `Estimate` from here means:

- `value` set, `low` and `high` set: the figure and its two-sided 95 % interval, each tail at most 2.5 %.
- everything None but `n`: too few samples to say (see `needed`), so nothing is claimed.
- `value` None, `low` set: the percentile lies among censored samples (timeouts); it is at least `low` (and at most `high`, if set).
- `value` set, `high` None: the upper end lies among censored samples; it is at least `low`, and no upper end is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import Estimate

#: Probability that an interval may miss on each side.
TAIL = 0.025
#: Normal quantile of 1 − TAIL.
Z = 1.959963984540054

Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=256)
def needed(q: float) -> int:
    """Fewest samples from which the `q` quantile has a two-sided 95 % interval: 6 for p50, 36 p90, 72 p95, 368 p99, 3,688 p99.9."""
    _checked(q)
    return max(_log_ceil(q), _log_ceil(1.0 - q))


def _log_ceil(p: float) -> int:
    n = max(1, math.ceil(math.log(TAIL) / math.log(p)) - 1)
    while p**n > TAIL:
        n += 1
    return n


@lru_cache(maxsize=4096)
def order_indices(n: int, q: float) -> tuple[int, int] | None:
    """Ranks (from 1) of the two order statistics that enclose the `q` quantile of n samples, or None where n is too small.

    The lower is the largest rank l with P(Binomial(n, q) < l) ≤ 2.5 %, the upper the smallest u with P(Binomial(n, q) ≥ u) ≤ 2.5 %
    (David and Nagaraja, Order Statistics, 3rd ed., 7.1).
    """
    if n < needed(q):
        return None
    from scipy.special import bdtr  # the import costs more than everything else here

    spread = 4.0 * math.sqrt(n * q * (1.0 - q)) + 4.0
    ranks = np.arange(max(0, math.floor(n * q - spread)), min(n, math.ceil(n * q + spread)) + 1)
    below = bdtr(ranks, n, q)  # P(Binomial ≤ rank)
    lower = int(ranks[below <= TAIL][-1]) + 1
    upper = int(ranks[below >= 1.0 - TAIL][0]) + 1
    return lower, upper


def quantile(
    values: Sequence[float] | npt.NDArray[Any],
    q: float,
    *,
    censored: Sequence[bool] | npt.NDArray[np.bool_] | None = None,
    effective_n: float | None = None,
) -> Estimate:
    """The `q` quantile (0 < q < 1) of raw values with its order-statistic interval; see the module for what None means.

    `censored` marks values that are only known to be at least what they say. `effective_n` is the number of independent
    samples that correlated ones are worth (from `serial.effective_n`); it widens the interval and raises the bar. NaN is an error.
    """
    array = np.asarray(values, dtype=np.float64)
    if np.isnan(array).any():
        raise ValueError("quantile of NaN: leave missing values out, or mark timeouts as censored")
    known = np.sort(array)
    if censored is None or not np.any(censored):
        return sorted_quantile(known, known, q, effective_n=effective_n)
    return sorted_quantile(known, np.sort(np.where(np.asarray(censored), np.inf, array)), q, effective_n=effective_n)


def sorted_quantile(lowest: Floats, highest: Floats, q: float, *, effective_n: float | None = None) -> Estimate:
    """As `quantile`, of values already sorted: `lowest` with censored ones at their bound, `highest` with them at infinity."""
    _checked(q)
    n = len(lowest)
    worth = n if effective_n is None else max(0, min(n, math.floor(effective_n)))
    ranks = order_indices(worth, q)
    if ranks is None:
        return Estimate(value=None, n=n)
    if worth == n:
        lower, upper = ranks
    else:  # the same shares of the samples that are there
        lower = max(1, math.floor(n * (ranks[0] - 1) / worth) + 1)
        upper = min(n, math.ceil(n * ranks[1] / worth))
    rank = nearest_rank(n, q)
    value, low, high = lowest[rank - 1], lowest[lower - 1], highest[upper - 1]
    return Estimate(
        value=float(value) if value == highest[rank - 1] else None,
        low=float(low),
        high=float(high) if np.isfinite(high) else None,
        n=n,
    )


def nearest_rank(n: int, q: float) -> int:
    """Rank (from 1) of the `q` quantile among n sorted values: the smallest whose share is at least q."""
    return max(1, math.ceil(n * q - 1e-9))


def wilson(successes: float, n: float, *, effective_n: float | None = None) -> Estimate:
    """The share successes/n with its Wilson score 95 % interval (Wilson 1927); None throughout for n = 0.

    `effective_n` as in `quantile`: the interval is that of the same share among so many independent trials.
    """
    if n < 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    if n == 0:
        return Estimate(value=None, n=0)
    share = successes / n
    worth = n if effective_n is None else max(1.0, min(float(n), effective_n))
    bottom = 1.0 + Z * Z / worth
    middle = (share + Z * Z / (2.0 * worth)) / bottom
    half = Z * math.sqrt(share * (1.0 - share) / worth + Z * Z / (4.0 * worth * worth)) / bottom
    return Estimate(
        value=share,
        low=0.0 if successes == 0 else max(0.0, middle - half),
        high=1.0 if successes == n else min(1.0, middle + half),
        n=int(n),
    )


def _checked(q: float) -> None:
    if not 0.0 < q < 1.0:
        raise ValueError(f"a quantile lies between 0 and 1, not at {q}")
