"""Percentiles and rates carry intervals that are right, or no claim at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.percentiles import dkw, epsilon, nearest, nearest_rank, needed, order_indices, quantile


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688), (0.05, 72)])
def test_sample_sizes_of_the_design(q: float, n: int) -> None:
    """A percentile is claimed from the documented number of samples on, and not from one fewer."""
    assert needed(q) == n
    assert quantile(np.arange(n - 1.0), q) == Estimate(value=None, low=None, high=None, n=n - 1)
    claimed = quantile(np.arange(float(n)), q)
    assert claimed.value is not None
    assert claimed.low is not None
    assert claimed.high is not None


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99, 0.999, 0.1])
@pytest.mark.parametrize("n", [6, 37, 100, 368, 4001, 250_000])
def test_each_tail_is_at_most_a_fortieth_and_the_interval_the_narrowest_such(n: int, q: float) -> None:
    """Checked against scipy's binomial: both tails ≤ 2.5 %, and one rank further in would exceed it."""
    found = order_indices(n, q)
    if found is None:
        assert n < needed(q)
        return
    lower, upper = found
    assert 1 <= lower <= nearest_rank(n, q) <= upper <= n
    binomial = stats.binom(n, q)
    assert binomial.cdf(lower - 1) <= 0.025 < binomial.cdf(lower)
    assert binomial.sf(upper - 1) <= 0.025 < binomial.sf(upper - 2)


@given(st.lists(st.floats(0, 1e6), min_size=6, max_size=200), st.sampled_from([0.5, 0.9, 0.95]))
def test_a_percentile_is_a_sample_that_enough_do_not_exceed(values: list[float], q: float) -> None:
    """The value is one of the samples, at least a share q lies at or below it, and the next smaller sample would not do."""
    found = quantile(values, q)
    if found.value is None:
        assert len(values) < needed(q)
        return
    assert found.value in values
    assert sum(value <= found.value for value in values) >= q * len(values) - 1e-6
    assert sum(value < found.value for value in values) < q * len(values)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.value <= found.high
    assert found.value == np.quantile(values, q, method="inverted_cdf") == nearest(sorted(values), q)


def test_timeouts_are_at_least_as_long_as_they_were_waited_for() -> None:
    """With 10 % timeouts p50 is known, p95 is only known to be no less than the wait; nothing is dropped."""
    values = np.concatenate([np.linspace(1, 2, 900), np.full(100, 30.0)])
    censored = values == 30.0
    middle = quantile(values, 0.5, censored=censored)
    assert middle.value == pytest.approx(1.0 + 499 / 899)
    assert middle.high is not None
    tail = quantile(values, 0.95, censored=censored)
    assert (tail.value, tail.low, tail.high, tail.n) == (None, 30.0, None, 1000)
    edge = quantile(values, 0.89, censored=censored)
    assert edge.value is not None
    assert edge.value < 2.0
    assert edge.high is None


def test_an_early_timeout_does_not_hide_among_the_fast() -> None:
    """A wait given up after 0.1 s says nothing about 0.1 s: it may belong anywhere above, so the median is not exact any more."""
    values = np.concatenate([np.linspace(1, 2, 100), np.full(60, 0.1)])
    found = quantile(values, 0.5, censored=values == 0.1)
    assert found.value is None
    assert found.low is not None
    assert found.low < 1.3
    assert found.high is not None
    assert found.high > 1.7


def test_fewer_effective_samples_widen_and_may_silence() -> None:
    """1,000 samples worth 100 give the interval of 100; worth 50 they do not carry a p95."""
    values = np.linspace(0, 1, 1001)
    alone, worth = quantile(values, 0.95), quantile(values, 0.95, effective_n=100)
    assert alone.value == worth.value
    assert alone.low is not None
    assert worth.low is not None
    assert alone.high is not None
    assert worth.high is not None
    lower, upper = order_indices(100, 0.95) or (0, 0)
    assert worth.low == pytest.approx((lower - 1) / 100, abs=0.002)
    assert worth.high == pytest.approx(upper / 100, abs=0.002)
    assert worth.low < alone.low < alone.high < worth.high
    assert quantile(values, 0.95, effective_n=50).value is None


@pytest.mark.parametrize("call", [quantile, lambda values, q: dkw(values)])
def test_nan_is_refused(call: object) -> None:
    """A missing value is the caller's to leave out; it never becomes a percentile."""
    with pytest.raises(ValueError, match="NaN"):
        call([1.0, math.nan] * 50, 0.5)  # type: ignore[operator]


def test_the_band_is_that_of_dkw() -> None:
    """±√(ln 40 / 2n) around the steps, cut at 0 and 1; equal values make one step."""
    found = dkw([1.0, 2.0, 2.0, 4.0])
    assert found.x.tolist() == [1.0, 2.0, 4.0]
    assert found.share.tolist() == [0.25, 0.75, 1.0]
    assert epsilon(200) == pytest.approx(math.sqrt(math.log(40) / 400))
    assert np.all((found.low >= 0) & (found.high <= 1))
    assert dkw([]).n == 0


def test_the_curve_stops_below_one_by_the_share_of_timeouts() -> None:
    """What is unknown is not drawn: the gap below 1 is the timeouts."""
    values = np.concatenate([np.linspace(0, 1, 80), np.full(20, 30.0)])
    found = dkw(values, censored=values == 30.0)
    assert found.share[-1] == pytest.approx(0.8)
    assert found.x[-1] == 1.0
    assert found.n == 100


def test_thinning_for_drawing_keeps_ends_and_heights() -> None:
    """A million samples are drawn with a thousand steps that lie on the full curve."""
    values = np.random.default_rng(3).exponential(size=20_000)
    full, thin = dkw(values), dkw(values, points=500)
    assert len(thin.x) <= 501
    assert (thin.x[0], thin.x[-1]) == (full.x[0], full.x[-1])
    assert np.array_equal(thin.share, full.share[np.searchsorted(full.x, thin.x)])
    assert thin.high[0] - thin.share[0] == pytest.approx(epsilon(20_000))
