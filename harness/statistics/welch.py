"""Two series of round values compared: Welch's t, on logarithms where the answer is a ratio.

A round is one turn of a target; what is compared is one value a round, never single requests: requests of one round share
whatever the server and the network were doing then, and treating them as independent raises false alarms under drift. Rounds
that resemble their neighbours (drift slower than a round) are worth fewer: the variance grows with their correlation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
#: The strongest correlation of neighbouring rounds that is believed; few rounds can only hint at more.
STRONGEST = 0.8
#: Differences smaller than this are rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Gap:
    """new − old (of logarithms, where a ratio is asked for) with its standard error and Welch's degrees of freedom."""

    value: float
    error: float
    freedom: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value - self._half

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value + self._half

    @property
    def p_differs(self) -> float:
        """How often rounds that do not differ would show a gap at least this wide (two-sided)."""
        return min(1.0, 2.0 * self._tail(abs(self.value)))

    def p_beyond(self, bound: float) -> float:
        """How often a gap of at most `bound` (≥ 0), to this side, would look at least this wide (one-sided)."""
        return self._tail(abs(self.value) - bound)

    @property
    def _half(self) -> float:
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 0.975)) * self.error if self.error > 0 else 0.0

    def _tail(self, distance: float) -> float:
        from scipy.special import stdtr

        if self.error <= 0:
            return 0.0 if distance > ROUNDING else 1.0
        return float(stdtr(self.freedom, -distance / self.error))


def gap(new: Sequence[float] | npt.NDArray[Any], old: Sequence[float] | npt.NDArray[Any], *, least_error: float = 0.0) -> Gap:
    """The gap between the means of two series in the order of their rounds, at least two values each (Welch 1947).

    `least_error` is a standard error that is known to be there whatever the rounds show (of counts, say).
    """
    one, other = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    if len(one) < 2 or len(other) < 2 or not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise ValueError("two series of at least two finite values each")
    centred = one - one.mean(), other - other.mean()
    squares = [float(series @ series) for series in centred]
    parts = [total / (len(series) - 1) / len(series) for total, series in zip(squares, centred, strict=True)]
    alike = sum(float(series[1:] @ series[:-1]) for series in centred) / sum(squares) if sum(squares) > 0 else 0.0
    alike = min(max(alike, 0.0), STRONGEST)
    variance = sum(parts) * (1.0 + alike) / (1.0 - alike)
    freedom = (
        sum(parts) ** 2 / sum(part * part / (len(series) - 1) for part, series in zip(parts, centred, strict=True))
        if sum(parts) > 0
        else float(len(one) + len(other) - 2)
    )
    return Gap(float(one.mean() - other.mean()), max(math.sqrt(variance), least_error), freedom)


def log_gap(new: Sequence[float] | npt.NDArray[Any], old: Sequence[float] | npt.NDArray[Any]) -> Gap:
    """The gap of the logarithms of positive values: e to its value is the ratio new / old of their geometric means."""
    one, other = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    if not ((one > 0).all() and (other > 0).all()):
        raise ValueError("only positive values have logarithms")
    return gap(np.log(one), np.log(other))
