"""Shares with their intervals."""

from __future__ import annotations

import pytest
from scipy import stats

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.rates import wilson, wilson_worth


@pytest.mark.parametrize(("hits", "n"), [(0, 100), (1, 100), (50, 100), (99, 100), (100, 100), (3, 7)])
def test_wilson_agrees_with_scipy(hits: int, n: int) -> None:
    """The same interval as an implementation that is not ours."""
    found = wilson(hits, n)
    theirs = stats.binomtest(hits, n).proportion_ci(method="wilson")
    assert found.value == hits / n
    assert found.low == pytest.approx(theirs.low, abs=1e-12)
    assert found.high == pytest.approx(theirs.high, abs=1e-12)


def test_wilson_of_nothing_claims_nothing() -> None:
    """No trial, no rate."""
    assert wilson(0, 0) == Estimate(value=None, n=0)
    with pytest.raises(ValueError, match="no share"):
        wilson(3, 2)


@pytest.mark.parametrize(("hits", "n", "worth"), [(0, 60, 60.0), (60, 60, 31.5), (7, 60, 12.25), (30, 60, 60.0)])
def test_what_an_interval_was_made_for_can_be_read_from_it(hits: int, n: int, worth: float) -> None:
    """Whatever the share; also of its complement."""
    assert wilson_worth(wilson(hits, n, worth=worth)) == pytest.approx(worth)
