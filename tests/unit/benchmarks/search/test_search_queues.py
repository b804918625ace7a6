"""Searches of simulated queues: the knee that they find is the true one, and lies where they are sure that it does."""

from __future__ import annotations

import heapq
import math
import random

import numpy as np
import pytest

from testcard.benchmarks.load.turns import ArrivalKind, offsets_of
from testcard.benchmarks.plan.job import BlockJob
from testcard.benchmarks.search.bracket import MAX_STAGES, Search, Step
from testcard.benchmarks.search.saturation import ENOUGH, STRETCH, WARMUP_SHARE
from testcard.benchmarks.search.stage_verdict import figure_of

SEARCHES = 100


class Queue:
    """Four places, 50 ms each (times exp of a normal deviate), first come, first served."""

    def __init__(self, sigma: float) -> None:
        self.sigma = sigma

    def latencies(self, due: list[float], draw: random.Random) -> list[float]:
        free = [0.0] * 4
        found = []
        for moment in due:
            end = max(moment, heapq.heappop(free)) + 0.05 * (math.exp(draw.gauss(0.0, self.sigma)) if self.sigma else 1.0)
            heapq.heappush(free, end)
            found.append(end - moment)
        return found

    def knee_rps(self, threshold_s: float) -> float:
        """The rate of Poisson arrivals at which p95 is the threshold, to about 0.5 %, from 300,000 requests a rate."""
        low, high = 60.0, 78.0
        while high - low > 0.3:
            rate, draw, now = (low + high) / 2, random.Random(1), 0.0
            due = [now := now + draw.expovariate(rate) for _ in range(300_000)]
            seen = sorted(self.latencies(due, draw)[30_000:])
            low, high = (rate, high) if seen[math.ceil(0.95 * len(seen)) - 1] < threshold_s else (low, rate)
        return low


def found_by_search(queue: Queue, arrival: ArrivalKind, threshold_s: float, duration_s: float, seed: int) -> Search:
    """A search as the load process would run it, its stages simulated."""
    search = Search(10.0, MAX_STAGES)
    seen: dict[float, list[np.ndarray]] = {}
    while (rate := search.next_rps()) is not None:
        tries = seen.setdefault(rate, [])
        seconds = min(max(duration_s, ENOUGH / rate), STRETCH * duration_s)
        block = BlockJob(
            cell=0, round=len(tries) + 1, stage=f"{rate:g}/s", rate_rps=rate, users=None, warmup_s=WARMUP_SHARE * seconds,
            duration_s=seconds, exact=True,
        )  # fmt: skip
        key = block.key(seed, again=False)
        due = list(offsets_of(arrival, block, key))
        latencies = queue.latencies(due, random.Random(key))
        tries.append(np.array([latency for moment, latency in zip(due, latencies, strict=True) if moment >= block.warmup_s]))
        figure = figure_of(np.concatenate(tries), 0.95, len(tries))
        search.take(Step(rate, figure.value_s < threshold_s, figure.is_clear(threshold_s)), len(tries))
    return search


@pytest.mark.parametrize(("sigma", "threshold_s"), [(0.0, 0.2), (0.3, 0.25)])
def test_poisson_arrivals_land_within_a_tenth_of_the_true_knee(sigma: float, threshold_s: float) -> None:
    """Of a hundred searches with stages of 8 s, 97 are within 10 %, and 93 are right about where the knee surely lies."""
    queue = Queue(sigma)
    knee = queue.knee_rps(threshold_s)
    searches = [found_by_search(queue, "poisson", threshold_s, 8.0, seed) for seed in range(SEARCHES)]
    near = [search for search in searches if search.held is not None and abs(search.held.rate_rps / knee - 1.0) <= 0.10]
    right = [low for low, high in (search.interval for search in searches) if (low or 0.0) <= knee <= (high or math.inf)]
    assert len(near) >= 97
    assert len(right) >= 93
    assert all(search.turns <= MAX_STAGES for search in searches)
    # Sure is not merely "anywhere": the interval is narrower than a factor of two.
    assert sum(low is not None and high is not None and high < 2.0 * low for low, high in (search.interval for search in searches)) >= 85


def test_constant_arrivals_find_the_capacity() -> None:
    """Four places of 50 ms are 80/s: the ends of the search lie around it, within 5 % of each other."""
    search = found_by_search(Queue(0.0), "constant", 0.2, 4.0, 1)
    assert search.found
    assert search.held is not None
    assert search.broke is not None
    assert search.held.rate_rps <= 80.0 < search.broke.rate_rps
