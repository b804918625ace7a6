"""The steady-state check: rarely alarmed by stationary queueing series, not by independent ones, and it finds a drift of 20 %."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt
import pytest

from testcard.harness.statistics.steadiness import SMALL, stage_change, turn_change

Floats = npt.NDArray[np.float64]
SERIES = 200
BURN_IN = 3000


def queue(generator: np.random.Generator, n: int, load: float, *, drift: float = 0.0, servers: int = 4) -> Floats:
    """Latencies of n successive Poisson arrivals at a queue that has run for long; its service slows down by `drift` over them."""
    whole = n + BURN_IN
    at = np.cumsum(generator.exponential(1.0, whole))
    service = load * servers * generator.lognormal(-0.08, 0.4, whole)
    service[BURN_IN:] *= 1.0 + drift * np.arange(n) / n
    free = [0.0] * servers
    done = np.empty(whole)
    for place, (start, took) in enumerate(zip(at.tolist(), service.tolist(), strict=True)):
        end = max(free[0], start) + took
        heapq.heapreplace(free, end)
        done[place] = end
    return (done - at)[BURN_IN:]


def alarms(n: int, load: float, *, drift: float = 0.0, seed: int = 1) -> float:
    generator = np.random.default_rng(seed)
    return sum(stage_change(np.log(queue(generator, n, load, drift=drift)))[1] for _ in range(SERIES)) / SERIES


@pytest.mark.parametrize(("n", "load"), [(120, 0.3), (120, 0.7), (400, 0.5), (400, 0.9), (1600, 0.3), (1600, 0.8), (1600, 0.95)])
def test_stationary_queues_are_rarely_called_drifting(n: int, load: float) -> None:
    """At most 5 % of series are alarmed at (0.02 by design), allowing for the chance in 200 of them."""
    assert alarms(n, load) <= 0.05 + 0.02


def test_stationary_series_are_alarmed_at_in_at_most_one_of_twenty() -> None:
    """Over all lengths and loads together, where chance in the simulation is small."""
    cases = [(n, load) for n in (120, 400, 1000) for load in (0.3, 0.6, 0.8, 0.9)]
    assert np.mean([alarms(n, load, seed=7) for n, load in cases]) <= 0.05


def test_a_drift_of_a_fifth_is_found() -> None:
    """20 % slower service from first request to last: found in at least 80 % of series of 1,600 at a load of 0.3, and of 4,000 at 0.5."""
    assert alarms(1600, 0.3, drift=0.2) >= 0.80
    assert alarms(4000, 0.5, drift=0.2) >= 0.80


def test_the_size_of_a_drift_lies_in_its_interval() -> None:
    """Independent log-normal latencies that rise by 30 %: the interval holds the truth in at least 90 % of series."""
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(SERIES):
        rising = generator.normal(0.0, 0.3, 800) + np.log(1.3) * (np.arange(800) + 0.5) / 800
        change, _ = stage_change(rising)
        assert change.low is not None
        assert change.high is not None
        held += change.low <= 0.3 <= change.high
    assert held >= 0.90 * SERIES


def test_what_is_steady_can_be_called_so() -> None:
    """Of independent latencies with a spread of 30 %, 2,000 are enough to say in most cases that a drift of 20 % is not there."""
    generator = np.random.default_rng(4)
    found = [stage_change(generator.normal(0.0, 0.3, 2000))[0] for _ in range(SERIES)]
    narrow = sum(max(-(each.low or 0.0), each.high or 0.0) < SMALL for each in found)
    assert narrow >= 0.95 * SERIES


def test_turns_that_start_slowly_are_found_and_others_are_not() -> None:
    """Eight turns of 50: a first tenth that is twice as slow is seen as settling; correlated turns without it are not, in 19 of 20."""
    generator = np.random.default_rng(5)
    rounds = np.repeat(np.arange(8), 50)
    false = found = 0
    for _ in range(SERIES):
        series = np.concatenate([np.log(queue(generator, 50, 0.6)) for _ in range(8)])
        false += turn_change(series, rounds)[1]
        slow_start = generator.normal(0.0, 0.2, 400) + np.tile(np.where(np.arange(50) < 10, np.log(2.0), 0.0), 8)
        found += turn_change(slow_start, rounds)[1]
    assert false <= 0.05 * SERIES
    assert found >= 0.95 * SERIES
