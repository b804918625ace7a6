"""Latencies and rate limits mean what their words say."""

from __future__ import annotations

import statistics

import pytest

from testcard.mocks.latency import Latency
from testcard.mocks.rate_limit import RateLimit
from testcard.specs.errors import UsageError


@pytest.mark.parametrize(
    ("text", "low", "high", "median"),
    [
        ("0.2", 0.2, 0.2, 0.2),
        ("uniform:0.1,0.3", 0.1, 0.3, 0.2),
        ("lognormal:0.3,0.5", 0.0, 100.0, 0.3),
        ("per-image:0.05", 0.1, 0.1, 0.1),
        ("0.1+per-image:0.05", 0.2, 0.2, 0.2),
        ("0", 0.0, 0.0, 0.0),
    ],
)
def test_latency_follows_its_distribution(text: str, low: float, high: float, median: float) -> None:
    """Samples lie in the stated range, and their median is the stated one (for an answer with two pictures)."""
    latency = Latency(text)
    samples = [latency.sample(2) for _ in range(4000)]
    assert low - 1e-12 <= min(samples)
    assert max(samples) <= high + 1e-12
    assert statistics.median(samples) == pytest.approx(median, rel=0.05, abs=1e-9)


@pytest.mark.parametrize("text", ["", "fast", "-1", "uniform:0.3,0.1", "uniform:1", "lognormal:0,1", "normal:1,2", "nan", "inf", "0.1,0.2"])
def test_latency_refuses_other_words(text: str) -> None:
    """What is no latency is a usage error that shows how to write one."""
    with pytest.raises(UsageError) as caught:
        Latency(text)
    assert "lognormal" in str(caught.value.hint)


def test_rate_limit_lets_the_stated_rate_through() -> None:
    """Five may come at once, then one every fifth of a second; the wait that is told is the one that suffices."""
    now = [100.0]
    limit = RateLimit("5/s", lambda: now[0])
    assert [limit.wait_s() for _ in range(5)] == [0.0] * 5
    wait = limit.wait_s()
    assert wait == pytest.approx(0.2)
    now[0] += wait - 0.01
    assert limit.wait_s() > 0
    now[0] += 0.01
    assert limit.wait_s() == 0
    passed = 0
    for _ in range(1000):
        now[0] += 0.01
        passed += limit.wait_s() == 0
    assert passed == pytest.approx(50, abs=1)


@pytest.mark.parametrize("text", ["", "5", "0/s", "-1/s", "5/x", "1.5/s"])
def test_rate_limit_refuses_other_words(text: str) -> None:
    """What is no rate is a usage error that shows how to write one."""
    with pytest.raises(UsageError) as caught:
        RateLimit(text, lambda: 0.0)
    assert "5/s" in str(caught.value.hint)
