"""The empirical distribution with a band that holds everywhere at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


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
