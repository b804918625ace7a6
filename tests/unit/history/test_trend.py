"""A trend is told where there is one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from testcard.harness.history.index import trend


def test_a_climb_rises_and_a_fall_falls() -> None:
    """Ten runs, each 3 % slower than the one before: rising by about 27 % of the median; backwards falling."""
    climb = [1.0 * 1.03**step for step in range(10)]
    found = trend(climb, noise=0.05)
    assert found.word == "rising"
    assert found.change == pytest.approx(0.26, abs=0.03)
    assert trend(climb[::-1], noise=0.05).word == "falling"


def test_small_or_doubtful_changes_are_steady() -> None:
    """A climb below the noise is steady, a constant is steady, and seven runs are too few."""
    assert trend([1 + 0.001 * step for step in range(20)], noise=0.05).word == "steady"
    assert trend([0.0] * 10, noise=0.05).word == "steady"
    assert trend([1.0, 2, 3, 4, 5, 6, 7], noise=0.05).word == "too few runs"
    assert trend([1.0, 1.0, 1.5], noise=0.05).latest == pytest.approx(1.5)


def test_the_latest_of_three_is_put_beside_the_range_of_the_others() -> None:
    """From three runs on: median, lowest and highest of those before it; two runs have no range."""
    found = trend([2.0, 3.0, 5.0], noise=0.05)
    assert (found.latest, found.median, found.lowest, found.highest) == (pytest.approx(2.0), 2.5, 2.0, 3.0)
    assert trend([2.0, 3.0], noise=0.05).lowest is None


def test_chance_rarely_looks_like_a_trend() -> None:
    """12 independent runs: called rising or falling in at most 7 % of 400 series."""
    generator = np.random.default_rng(1)
    words = [trend(list(generator.lognormal(0, 0.3, 12)), noise=0.05).word for _ in range(400)]
    assert sum(word != "steady" for word in words) / 400 <= 0.07


def test_the_test_is_kendalls() -> None:
    """p agrees with scipy's Kendall test (normal approximation, with its continuity correction) to within rounding of the method."""
    generator = np.random.default_rng(3)
    for _ in range(20):
        values = list(generator.normal(size=30) + np.arange(30) * 0.03)
        peer = stats.kendalltau(np.arange(30), values, method="asymptotic").pvalue
        mine = trend(values, noise=0.0).p
        assert mine is not None
        assert abs(mine - peer) <= 0.03
