"""Schedules are absolute, seeded and of the stated rate."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.benchmarks.load.turns import schedule


def test_constant_arrivals_are_evenly_spaced_from_zero() -> None:
    """Every 1/rate seconds, and none at or after the end."""
    assert list(schedule("constant", 4, 1.0, "any")) == [0.0, 0.25, 0.5, 0.75]
    assert len(schedule("constant", 100, 9.0, "any")) == 900


@given(rate=st.floats(0.1, 500), duration=st.floats(0.01, 20))
@settings(max_examples=100, deadline=None)
def test_constant_arrivals_stay_inside(rate: float, duration: float) -> None:
    """For any rate and duration: ascending, inside [0, duration), rate × duration of them to within one."""
    offsets = list(schedule("constant", rate, duration, "any"))
    assert offsets == sorted(offsets)
    assert all(0 <= offset < duration + 1e-6 for offset in offsets)
    assert abs(len(offsets) - rate * duration) <= 1


def test_poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() -> None:
    """Mean gap 1/rate, gap standard deviation equal to its mean, counts with a variance equal to their mean."""
    offsets = list(schedule("poisson", 50, 400.0, "seed"))
    gaps = [after - before for before, after in itertools.pairwise(offsets)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(0.02, rel=0.03)
    assert deviation == pytest.approx(mean, rel=0.05)
    counts = [sum(1 for offset in offsets if second <= offset < second + 1) for second in range(400)]
    average = sum(counts) / len(counts)
    assert sum((count - average) ** 2 for count in counts) / len(counts) == pytest.approx(average, rel=0.25)


def test_the_same_seed_gives_the_same_schedule() -> None:
    """Seeded by text; another seed gives another schedule, and a longer one begins with the shorter one."""
    first = schedule("poisson", 20, 5.0, "1/0/a")
    assert first == schedule("poisson", 20, 5.0, "1/0/a")
    assert first != schedule("poisson", 20, 5.0, "2/0/a")
    assert schedule("poisson", 20, 9.0, "1/0/a")[: len(first)] == first


@pytest.mark.parametrize(("rate", "duration"), [(0, 1), (1, 0), (-1, 1)])
def test_nothing_is_due_without_rate_or_time(rate: float, duration: float) -> None:
    """No rate or no time: an empty schedule."""
    assert len(schedule("poisson", rate, duration, "s")) == len(schedule("constant", rate, duration, "s")) == 0
