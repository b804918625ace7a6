"""Percentiles with their 95 % intervals: where a p50, p95 or p99 and what is said of its certainty come from. And the ECDF with its band.

`percentiles` gives those of a row; how much successive latencies are alike, which widens an interval, is `serial`'s. A percentile
is the nearest rank of the samples; its interval is a pair of order statistics. What an `Estimate` from here means:

- `value` set, `low` and `high` set: the figure and its two-sided 95 % interval, each tail at most 2.5 %.
- everything None but `n`: too few samples to say (see `needed`), so nothing is claimed.
- `value` None, `low` set: the percentile lies among censored samples (timeouts); it is at least `low` (and at most `high`, if set).
- `value` set, `high` None: the upper end lies among censored samples; it is at least `low`, and no upper end is known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import PERCENTILES, Estimate
from testcard.harness.statistics import serial

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Probability that an interval may miss on each side.
TAIL = 0.025
#: Latencies closer than this are equal when correlation is looked for: differences of clock readings carry rounding.
TIE_S = 1e-6


def percentiles(values: Floats, censored: Mask | None, rounds: npt.NDArray[np.intp]) -> tuple[dict[str, Estimate], float | None]:
    """Every percentile (p99.9 only where the samples carry it), and how many independent samples they are worth where
    they are correlated, else None. `values` in time order; NaN is left out; `censored` ones are at least what they say."""
    there = ~np.isnan(values)
    if not there.all():
        values, rounds = values[there], rounds[there]
        censored = None if censored is None else censored[there]
    n = len(values)
    order = np.argsort(values, kind="stable")
    lowest = values[order]
    highest = lowest if censored is None or not censored.any() else np.sort(np.where(censored, np.inf, values))
    cut = serial.blocks(rounds)
    correlated = serial.ranks_correlated(serial.ranks(np.round(values / TIE_S), order), cut)
    found: dict[str, Estimate] = {}
    worth: float | None = None
    for name, q in PERCENTILES.items():
        if name == "p99.9" and n < needed(q):
            continue
        if correlated:
            # A tail seen too briefly to show its clusters must not claim more than the middle does.
            mine = serial.effective_n(values <= nearest(lowest, q) + TIE_S, cut, q)
            worth = mine if worth is None else min(worth, mine)
        found[name] = sorted_quantile(lowest, highest, q, effective_n=worth)
    return found, worth


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


def nearest(ascending: Sequence[float] | Floats, q: float) -> float:
    """The `q` quantile of values in ascending order, by nearest rank; IndexError for none. The one quantile of this project."""
    return float(ascending[nearest_rank(len(ascending), q) - 1])


def _checked(q: float) -> None:
    if not 0.0 < q < 1.0:
        raise ValueError(f"a quantile lies between 0 and 1, not at {q}")


@dataclass(frozen=True, slots=True, eq=False)
class Ecdf:
    """A step function: at `x[i]` the share of samples that do not exceed it is `share[i]`, with its band `low[i]` … `high[i]`.

    `n` counts censored samples (timeouts) too, so that with them the last share stays below 1: the gap is their share.
    """

    x: Floats
    share: Floats
    low: Floats
    high: Floats
    n: int


def epsilon(n: int, alpha: float = 0.05) -> float:
    """Half width of the 1 − alpha band of n samples (Dvoretzky, Kiefer, Wolfowitz 1956; constant of Massart 1990)."""
    if n < 1:
        raise ValueError("an empty sample has no band")
    return math.sqrt(math.log(2.0 / alpha) / (2.0 * n))


def dkw(
    values: Sequence[float] | npt.NDArray[Any],
    *,
    censored: Sequence[bool] | npt.NDArray[np.bool_] | None = None,
    alpha: float = 0.05,
    points: int | None = None,
) -> Ecdf:
    """The ECDF of raw values with its simultaneous 1 − alpha band, cut where the first censored value leaves it unknown.

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
    half = epsilon(n, alpha)
    return Ecdf(known[last_of_ties], share, np.maximum(share - half, 0.0), np.minimum(share + half, 1.0), n)
