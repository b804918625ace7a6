"""Does a figure move over a series of runs? Mann and Kendall's test for a trend, Theil and Sen's slope for its size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

#: Fewest runs that a trend is read from.
MIN_RUNS = 8
ALPHA = 0.05

Word = Literal["rising", "falling", "steady", "too few runs"]


@dataclass(frozen=True, slots=True)
class Trend:
    """How a figure moved: `word`, the change over the whole series as a share of its median (Theil–Sen), and the test's p.

    `latest`: the last value over the median of those before it, None with fewer than two or a median of 0.
    """

    word: Word
    change: float | None
    p: float | None
    latest: float | None


def trend(values: Sequence[float], *, noise: float) -> Trend:
    """The trend of values in the order of time. It rises or falls where the test says so (Mann 1945, p < 5 %, two-sided) and
    the change over the series is more than `noise` of the median (of the range of values where the median is 0)."""
    series = np.asarray(values, dtype=np.float64)
    n = len(series)
    before = float(np.median(series[:-1])) if n > 1 else 0.0
    latest = float(series[-1]) / before if before else None
    if n < MIN_RUNS:
        return Trend("too few runs", None, None, latest)
    rows, columns = np.triu_indices(n, 1)
    steps = series[columns] - series[rows]
    score = float(np.sign(steps).sum())
    _, ties = np.unique(series, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18.0
    p = math.erfc(max(abs(score) - 1.0, 0.0) / math.sqrt(2.0 * variance)) if variance > 0 else 1.0
    slope = float(np.median(steps / (columns - rows)))
    scale = abs(float(np.median(series))) or float(np.ptp(series))
    change = slope * (n - 1) / scale if scale else 0.0
    word: Word = "steady" if p >= ALPHA or abs(change) <= noise else "rising" if change > 0 else "falling"
    return Trend(word, change, p, latest)
