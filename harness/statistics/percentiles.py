"""Percentiles with their 95 % intervals: where a p50, p95 or p99 and what is said of its certainty come from. And the ECDF with its band.

`percentiles` gives those of a row; how much successive latencies are alike, which widens an interval, is `correlation`'s. A percentile
is the nearest rank of the samples; its interval is a pair of order statistics. What an `Estimate` from here means:

- `value`: the nearest rank, wherever at least one sample lies beyond it (p50 from 2, p90 from 10, p95 from 20, p99 from 100, p99.9
  from 1,000); None with fewer.
- `low`, `high`: the two-sided 95 % interval, each tail at most 2.5 %. An end that no sample marks is None: `high` among few or
  correlated samples, which only say that the percentile is at least `low`, or among timeouts.
- `at_least`: the value itself lies among censored samples (timeouts), so it is only known to be that or more.
- `quality`: "ok"; "wide", where the high end is more than half as much again as the low one; "lower-bound", where there is no high end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import PERCENTILES, Estimate, Spread
from testcard.harness.statistics.correlation import TIE, Correlation

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Quality = Literal["ok", "wide", "lower-bound"]

#: Probability that an interval may miss on each side.
TAIL = 0.025
#: How many times its low end the high end of an interval may be to be called narrow.
WIDE = 1.5
#: Levels at which the band of an ECDF asks how alike samples are.
BAND_LEVELS = (0.25, 0.5, 0.75, 0.9)


def percentiles(values: Floats, censored: Mask | None, rounds: npt.NDArray[np.intp]) -> dict[str, Estimate]:
    """Every percentile that at least one sample lies beyond (p99.9 is not even named with fewer than 1,000).

    `values` in time order; NaN is left out; `censored` ones are at least what they say. Each interval takes the design effect of
    that percentile's own series, which samples lie at or below it (`correlation`).
    """
    values, censored, rounds = _known(values, censored, rounds)
    n = len(values)
    order = np.argsort(values, kind="stable")
    lowest = values[order]
    highest = lowest if censored is None or not censored.any() else np.sort(np.where(censored, np.inf, values))
    series = Correlation(values, rounds, order=order)
    found: dict[str, Estimate] = {}
    for name, q in PERCENTILES.items():
        rank = nearest_rank(n, q)
        if name == "p99.9" and rank >= n:
            continue
        worth = None if rank >= n else n / series.design_effect(values <= nearest(lowest, q) + TIE)
        found[name] = sorted_quantile(lowest, highest, q, worth=worth)
    return found


def spread(values: Floats, censored: Mask | None = None) -> Spread | None:
    """Mean, least, greatest and standard deviation of the values, NaN left out; None without any.

    Censored ones count with what they are known to be at least, so mean and greatest are then lower bounds: `at_least` says so.
    """
    known = values[~np.isnan(values)]
    n = len(known)
    if n == 0:
        return None
    return Spread(
        mean=float(known.mean()),
        min=float(known.min()),
        max=float(known.max()),
        sd=float(known.std(ddof=1)) if n > 1 else None,
        n=n,
        at_least=bool(censored is not None and censored[~np.isnan(values)].any()),
    )


def _known(values: Floats, censored: Mask | None, rounds: npt.NDArray[np.intp]) -> tuple[Floats, Mask | None, npt.NDArray[np.intp]]:
    there = ~np.isnan(values)
    if there.all():
        return values, censored, rounds
    return values[there], None if censored is None else censored[there], rounds[there]


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


def order_ranks(n: int, q: float, worth: float | None = None) -> tuple[int | None, int | None]:
    """Ranks (from 1) of the two order statistics that enclose the `q` quantile of n samples, None for an end that no sample marks.

    The lower is the largest rank l with P(Binomial(n, q) < l) ≤ 2.5 %, the upper the smallest u with P(Binomial(n, q) ≥ u) ≤ 2.5 %
    (David and Nagaraja, Order Statistics, 3rd ed., 7.1). `worth`: how many independent samples the n are worth; the ranks are
    then those of that many, at the same shares, the binomial's tails by the incomplete beta function, which needs no whole number.
    """
    return _order_ranks(n, q, float(n) if worth is None else min(float(n), worth))


@lru_cache(maxsize=4096)
def _order_ranks(n: int, q: float, worth: float) -> tuple[int | None, int | None]:
    from scipy.special import betainc  # the import costs more than everything else here

    _checked(q)
    ratio = worth / n if n else 0.0

    def low_enough(rank: int) -> bool:
        below = (rank - 1) * ratio
        return float(betainc(max(worth - below, 1e-9), below + 1.0, 1.0 - q)) <= TAIL

    def high_enough(rank: int) -> bool:
        upto = rank * ratio
        return float(betainc(upto, max(worth - upto, 0.0) + 1.0, q)) <= TAIL

    if n == 0 or worth <= 0.0:
        return None, None
    lower, above = 0, n + 1  # the largest rank that is low enough lies in [lower, above)
    while above - lower > 1:
        middle = (lower + above) // 2
        lower, above = (middle, above) if low_enough(middle) else (lower, middle)
    under, upper = 0, n + 1  # the smallest that is high enough lies in (under, upper]
    while upper - under > 1:
        middle = (under + upper) // 2
        under, upper = (under, middle) if high_enough(middle) else (middle, upper)
    return (lower or None), (upper if upper <= n else None)


def quantile(
    values: Sequence[float] | npt.NDArray[Any],
    q: float,
    *,
    censored: Sequence[bool] | npt.NDArray[np.bool_] | None = None,
    worth: float | None = None,
) -> Estimate:
    """The `q` quantile (0 < q < 1) of raw values with its order-statistic interval; see the module for what None means.

    `censored` marks values that are only known to be at least what they say. `worth` is the number of independent samples that
    correlated ones are worth; it widens the interval. NaN is an error.
    """
    array = np.asarray(values, dtype=np.float64)
    if np.isnan(array).any():
        raise ValueError("quantile of NaN: leave missing values out, or mark timeouts as censored")
    known = np.sort(array)
    if censored is None or not np.any(censored):
        return sorted_quantile(known, known, q, worth=worth)
    return sorted_quantile(known, np.sort(np.where(np.asarray(censored), np.inf, array)), q, worth=worth)


def sorted_quantile(lowest: Floats, highest: Floats, q: float, *, worth: float | None = None) -> Estimate:
    """As `quantile`, of values already sorted: `lowest` with censored ones at their bound, `highest` with them at infinity."""
    _checked(q)
    n = len(lowest)
    rank = nearest_rank(n, q)
    if rank >= n:
        return Estimate(value=None, n=n)
    value = float(lowest[rank - 1])
    lower, upper = order_ranks(n, q, worth)
    low = None if lower is None else float(lowest[lower - 1])
    high = None if upper is None or not np.isfinite(highest[upper - 1]) else float(highest[upper - 1])
    return Estimate(value=value, low=low, high=high, n=n, quality=quality(low, high), at_least=bool(value != highest[rank - 1]))


def quality(low: float | None, high: float | None) -> Quality:
    """How sure an interval of a time is: see the module."""
    if high is None:
        return "lower-bound"
    return "ok" if low is not None and high <= WIDE * low else "wide"


def nearest_rank(n: int, q: float) -> int:
    """Rank (from 1) of the `q` quantile among n sorted values: the smallest whose share is at least q."""
    return max(1, math.ceil(n * q - 1e-9))


def nearest(ascending: Sequence[float] | Floats, q: float) -> float:
    """The `q` quantile of values in ascending order, by nearest rank; IndexError for none. The one quantile of this project."""
    return float(ascending[nearest_rank(len(ascending), q) - 1])


def _checked(q: float) -> None:
    if not 0.0 < q < 1.0:
        raise ValueError(f"a quantile lies between 0 and 1, not at {q}")


@dataclass(frozen=True, slots=True, eq=False)
class Ecdf:
    """A step function: at `x[i]` the share of samples that do not exceed it is `share[i]`, with its band `low[i]` … `high[i]`,
    `half_width` to either side.

    `n` counts censored samples (timeouts) too, so that with them the last share stays below 1: the gap is their share.
    """

    x: Floats
    share: Floats
    low: Floats
    high: Floats
    n: int
    half_width: float = 0.0


def epsilon(n: float, alpha: float = 0.05) -> float:
    """Half width of the 1 − alpha band of n independent samples (Dvoretzky, Kiefer, Wolfowitz 1956; constant of Massart 1990)."""
    if n <= 0:
        raise ValueError("an empty sample has no band")
    return math.sqrt(math.log(2.0 / alpha) / (2.0 * n))


def dkw(
    values: Sequence[float] | npt.NDArray[Any],
    *,
    censored: Sequence[bool] | npt.NDArray[np.bool_] | None = None,
    rounds: npt.NDArray[np.generic] | None = None,
    alpha: float = 0.05,
    points: int | None = None,
) -> Ecdf:
    """The ECDF of raw values with its simultaneous 1 − alpha band, cut where the first censored value leaves it unknown.

    With `rounds`, the values are in time order and the band is that of as many independent samples as they are worth: n over the
    largest design effect at `BAND_LEVELS`. Without, they are taken for independent.
    `points` keeps at most about so many steps (evenly by rank, first and last always), for drawing; the band's width follows the full n.
    """
    array = np.asarray(values, dtype=np.float64)
    if np.isnan(array).any():
        raise ValueError("ECDF of NaN: leave missing values out, or mark timeouts as censored")
    n = len(array)
    if n == 0:
        empty = np.empty(0)
        return Ecdf(empty, empty, empty, empty, 0)
    if censored is not None and np.any(censored):
        mask = np.asarray(censored, dtype=bool)
        known = np.sort(array[~mask & (array <= array[mask].min())])
    else:
        known = np.sort(array)
    last_of_ties = np.append(np.flatnonzero(known[1:] != known[:-1]), len(known) - 1) if len(known) else np.empty(0, dtype=np.intp)
    if points is not None and len(last_of_ties) > max(points, 2):
        last_of_ties = last_of_ties[np.unique(np.linspace(0, len(last_of_ties) - 1, max(points, 2)).round().astype(np.intp))]
    share = (last_of_ties + 1) / n
    half = epsilon(n / (1.0 if rounds is None else _band_effect(array, rounds)), alpha)
    return Ecdf(known[last_of_ties], share, np.maximum(share - half, 0.0), np.minimum(share + half, 1.0), n, half)


def _band_effect(values: Floats, rounds: npt.NDArray[np.generic]) -> float:
    order = np.argsort(values, kind="stable")
    series, ordered = Correlation(values, rounds, order=order), values[order]
    return max(series.design_effect(values <= nearest(ordered, level) + TIE) for level in BAND_LEVELS)
