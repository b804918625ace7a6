"""Percentiles and rates carry intervals that are right, or no claim at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from testcard.harness.runs.records import Spread
from testcard.harness.statistics.percentiles import dkw, epsilon, nearest, nearest_rank, needed, order_ranks, percentiles, quantile, spread


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688), (0.05, 72)])
def test_an_interval_has_both_ends_from_the_documented_number_of_samples_on(q: float, n: int) -> None:
    """With one fewer the far end lies beyond the samples and stays open; the value is shown all the same where one lies beyond it."""
    assert needed(q) == n
    fewer, enough = quantile(np.arange(n - 1.0), q), quantile(np.arange(float(n)), q)
    assert None in (fewer.low, fewer.high)
    assert enough.low is not None
    assert enough.high is not None


@pytest.mark.parametrize(("q", "n"), [(0.5, 2), (0.9, 10), (0.95, 20), (0.99, 100), (0.999, 1000)])
def test_a_value_is_shown_wherever_a_sample_lies_beyond_it(q: float, n: int) -> None:
    """p50 from 2 samples on, p90 from 10, p95 from 20, p99 from 100: the nearest rank, and no upper end where there are so few."""
    assert quantile(np.arange(n - 1.0), q).value is None
    found = quantile(np.arange(float(n)), q)
    assert found.value == nearest_rank(n, q) - 1 == n * q - 1
    assert (found.high, found.quality) == (None, "lower-bound")


def test_the_quality_says_how_wide_the_interval_is() -> None:
    """ok within half as much again, wide beyond, a lower bound without an upper end."""
    generator = np.random.default_rng(1)
    assert quantile(generator.lognormal(0, 0.3, 400), 0.95).quality == "ok"
    assert quantile(generator.lognormal(0, 1.5, 100), 0.95).quality == "wide"
    assert quantile(generator.lognormal(0, 0.3, 60), 0.95).quality == "lower-bound"


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99, 0.999, 0.1])
@pytest.mark.parametrize("n", [6, 37, 100, 368, 4001, 250_000])
def test_each_tail_is_at_most_a_fortieth_and_the_interval_the_narrowest_such(n: int, q: float) -> None:
    """Checked against scipy's binomial: both tails ≤ 2.5 %, and one rank further in would exceed it."""
    lower, upper = order_ranks(n, q)
    assert (None in (lower, upper)) == (n < needed(q))
    binomial = stats.binom(n, q)
    if lower is not None:
        assert 1 <= lower <= nearest_rank(n, q)
        assert binomial.cdf(lower - 1) <= 0.025 < binomial.cdf(lower)
    if upper is not None:
        assert nearest_rank(n, q) <= upper <= n
        assert binomial.sf(upper - 1) <= 0.025 < binomial.sf(upper - 2)


@given(st.lists(st.floats(0, 1e6), min_size=6, max_size=200), st.sampled_from([0.5, 0.9, 0.95]))
def test_a_percentile_is_a_sample_that_enough_do_not_exceed(values: list[float], q: float) -> None:
    """The value is one of the samples, at least a share q lies at or below it, and the next smaller sample would not do."""
    found = quantile(values, q)
    if found.value is None:
        assert nearest_rank(len(values), q) == len(values)
        return
    assert found.value in values
    assert sum(value <= found.value for value in values) >= q * len(values) - 1e-6
    assert sum(value < found.value for value in values) < q * len(values)
    assert (found.low or 0.0) <= found.value <= (math.inf if found.high is None else found.high)
    assert found.value == np.quantile(values, q, method="inverted_cdf") == nearest(sorted(values), q)


def test_timeouts_are_at_least_as_long_as_they_were_waited_for() -> None:
    """With 10 % timeouts p50 is known, p95 is only known to be no less than the wait; nothing is dropped."""
    values = np.concatenate([np.linspace(1, 2, 900), np.full(100, 30.0)])
    censored = values == 30.0
    middle = quantile(values, 0.5, censored=censored)
    assert middle.value == pytest.approx(1.0 + 499 / 899)
    assert middle.high is not None
    tail = quantile(values, 0.95, censored=censored)
    assert (tail.value, tail.low, tail.high, tail.n, tail.at_least) == (30.0, 30.0, None, 1000, True)
    edge = quantile(values, 0.89, censored=censored)
    assert edge.value is not None
    assert edge.value < 2.0
    assert edge.high is None


def test_an_early_timeout_does_not_hide_among_the_fast() -> None:
    """A wait given up after 0.1 s says nothing about 0.1 s: it may belong anywhere above, so the median is not exact any more."""
    values = np.concatenate([np.linspace(1, 2, 100), np.full(60, 0.1)])
    found = quantile(values, 0.5, censored=values == 0.1)
    assert found.at_least
    assert found.low is not None
    assert found.low < 1.3
    assert found.high is not None
    assert found.high > 1.7


def test_samples_that_are_alike_widen_and_never_silence() -> None:
    """1,000 samples worth 100 give the interval of 100; worth 50 they have no upper end, and the same value."""
    values = np.linspace(0, 1, 1001)
    alone, worth = quantile(values, 0.95), quantile(values, 0.95, worth=100)
    assert alone.value == worth.value
    assert alone.low is not None
    assert worth.low is not None
    assert alone.high is not None
    assert worth.high is not None
    lower, upper = order_ranks(100, 0.95)
    assert lower is not None
    assert upper is not None
    assert worth.low == pytest.approx((lower - 1) / 100, abs=0.012)
    assert worth.high == pytest.approx(upper / 100, abs=0.012)
    assert worth.low < alone.low < alone.high < worth.high
    few = quantile(values, 0.95, worth=50)
    assert (few.value, few.high) == (alone.value, None)


def test_alike_requests_widen_by_their_own_design_effect() -> None:
    """A queue of 400 requests in 8 rounds: wider than the same values in random order, with the same values."""
    generator = np.random.default_rng(4)
    service, gaps = generator.exponential(size=2400) * 0.7, generator.exponential(size=2400)
    walk = np.concatenate(([0.0], np.cumsum(service[:-1] - gaps[1:])))
    latency = (walk - np.minimum.accumulate(walk) + service)[2000:]
    rounds = np.repeat(np.arange(8), 50)
    alike = percentiles(latency, None, rounds)
    mixed = percentiles(generator.permutation(latency), None, rounds)
    for name in ("p50", "p90", "p95", "p99"):
        assert alike[name].value == mixed[name].value
    assert alike["p50"].low is not None
    assert mixed["p50"].low is not None
    assert alike["p50"].high is not None
    assert mixed["p50"].high is not None
    assert alike["p50"].high / alike["p50"].low > 1.5 * mixed["p50"].high / mixed["p50"].low


def test_the_spread_counts_everything_and_says_what_is_a_lower_bound() -> None:
    """Mean, least, greatest, standard deviation; with timeouts the mean and the greatest are at least that."""
    assert spread(np.array([1.0, 2.0, np.nan, 6.0])) == Spread(mean=3.0, min=1.0, max=6.0, sd=pytest.approx(math.sqrt(7.0)), n=3)
    found = spread(np.array([1.0, 30.0]), np.array([False, True]))
    assert found is not None
    assert (found.max, found.at_least) == (30.0, True)
    assert spread(np.array([np.nan])) is None


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
