"""What votes between pairs say: strengths by the model of Bradley and Terry (1952), with intervals.

The chance that i is preferred to j is 1 / (1 + exp(θj − θi)). A tie counts as half a vote for each (Davidson 1970 gives ties a parameter of
their own; with few votes it is not worth one). A weak normal prior on θ (standard deviation 2: a target preferred in 98 % of votes over
an average one lies two deviations out) keeps a target that won every vote from being infinitely good. Intervals are those of the
curvature at the maximum; `tests/unit/statistics/test_preference.py` shows their coverage.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from testcard.harness.statistics.ratios import Z

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
