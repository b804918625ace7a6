"""Welch's t and Holm's correction agree with scipy and with the paper, and know their limits."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from testcard.harness.statistics import rounds


def test_independent_rounds_give_scipys_welch() -> None:
    """Where neighbouring rounds do not resemble each other, p and interval are those of scipy's Welch test."""
    generator = np.random.default_rng(2)
    checked = 0
    for _ in range(60):
        new, old = generator.normal(1.1, 0.2, 9), generator.normal(1.0, 0.1, 12)
        centred = new - new.mean(), old - old.mean()
        if sum(float(series[1:] @ series[:-1]) for series in centred) > 0:
            continue
        found = rounds.difference(new, old)
        peer = stats.ttest_ind(new, old, equal_var=False)
        interval = peer.confidence_interval(0.95)
        assert found.p_differs == pytest.approx(peer.pvalue)
        assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
        checked += 1
    assert checked >= 10


def test_a_ratio_is_the_same_whatever_the_unit() -> None:
    """Seconds or milliseconds: the gap of logarithms is the ratio of geometric means."""
    new, old = np.array([2.0, 2.2, 1.9, 2.1]), np.array([1.0, 1.1, 0.95, 1.05])
    in_seconds, in_milliseconds = rounds.log_difference(new, old), rounds.log_difference(1000 * new, 1000 * old)
    assert math.exp(in_seconds.value) == pytest.approx(2.0)
    assert in_seconds.error == pytest.approx(in_milliseconds.error)


def test_rounds_that_resemble_their_neighbours_count_for_less() -> None:
    """A slow wave through the rounds has the same scatter as its shuffle, and a wider interval."""
    wave = np.sin(np.arange(12) / 3.0)
    shuffled = wave[[0, 6, 1, 9, 3, 11, 2, 8, 4, 10, 5, 7]]
    assert rounds.difference(wave, wave + 1).error > 1.3 * rounds.difference(shuffled, shuffled + 1).error


def test_values_that_never_change() -> None:
    """A price: no scatter at all, so equal is equal and different is different; rounding is neither."""
    assert rounds.difference([1.0] * 8, [1.0] * 8).p_differs == 1.0
    assert rounds.difference([1.0 + 1e-15] * 8, [1.0] * 8).p_differs == 1.0
    assert rounds.difference([1.1] * 8, [1.0] * 8).p_differs == 0.0
    assert rounds.difference([1.1] * 8, [1.0] * 8).p_beyond(0.2) == 1.0
    assert rounds.difference([1.0] * 8, [1.0] * 8, least_error=0.5).high > 1.0


@pytest.mark.parametrize(("new", "old"), [([1.0], [1.0, 2.0]), ([1.0, float("nan")], [1.0, 2.0])])
def test_too_little_is_refused(new: list[float], old: list[float]) -> None:
    """One value has no scatter, and NaN no place."""
    with pytest.raises(ValueError, match="at least two"):
        rounds.difference(new, old)


def test_zero_has_no_logarithm() -> None:
    """A round that delivered nothing must be dealt with by the caller."""
    with pytest.raises(ValueError, match="positive"):
        rounds.log_difference([0.0, 1.0], [1.0, 1.0])


def test_holm_by_hand() -> None:
    """Holm 1979: the smallest times the number of tests, the next times one less, never falling; None is no test."""
    assert rounds.holm([0.01, 0.04, 0.03, None]) == [pytest.approx(0.03), pytest.approx(0.06), pytest.approx(0.06), None]
    assert rounds.holm([]) == []
    assert rounds.holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_keeps_order_and_lies_between_none_and_bonferroni(p: list[float]) -> None:
    """Never smaller than the p-value, never larger than Bonferroni's, and as sorted as before."""
    found = [value for value in rounds.holm(p) if value is not None]
    assert all(mine <= theirs + 1e-12 for mine, theirs in zip(p, found, strict=True))
    assert all(theirs <= min(1.0, mine * len(p)) + 1e-12 for mine, theirs in zip(p, found, strict=True))
    order = sorted(range(len(p)), key=p.__getitem__)
    assert all(found[one] <= found[other] + 1e-12 for one, other in pairwise(order))
