"""Bootstrap over rounds (or blocks) of figures that are ratios of sums: cost per good image, goodput, images per second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import Estimate

#: Fewest rounds or blocks that a bootstrap may draw from; below, no interval is claimed.
MIN_UNITS = 6
RESAMPLES = 2000


def ratio(
    numerators: Sequence[float] | npt.NDArray[Any],
    denominators: Sequence[float] | npt.NDArray[Any],
    *,
    n: int,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Estimate:
    """Sum of the numerators over sum of the denominators, one pair per round or block, with a 95 % bootstrap interval.

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
