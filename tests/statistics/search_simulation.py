"""Simulated searches for the highest rate: servers with a queue, the real search over them, no sockets.

    python tests/statistics/search_simulation.py [--seeds 100] [--only NAME]

Prints a Markdown table: for each server the true limit (simulated far longer), how many searches come within 10 % of it, how many
answer more than the server's capacity, in how many the interval that is called sure holds the limit, and seconds and requests.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from testcard.benchmarks.load.turns import ArrivalKind, offsets_of
from testcard.benchmarks.plan.job import BlockJob
from testcard.benchmarks.search.bracket import LOOKS, Search, SearchPlan, Step, Trial
from testcard.benchmarks.search.saturation import figure_of, settled

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Server:
    """`slots` requests at once, first come, first served; each takes `mean_s`, log-normal with `sigma` (0: always the same)."""

    name: str
    slots: int
    mean_s: float
    sigma: float
    limit_s: float
    arrival: ArrivalKind = "poisson"
    cap: int | None = None

    @property
    def capacity_rps(self) -> float:
        """The rate at which all slots are always busy; with fewer connections than slots, all connections."""
        return min(self.slots, self.cap or self.slots) / self.mean_s

    def service(self, draw: random.Random) -> float:
        """How long one request takes once it is begun."""
        return self.mean_s * math.exp(draw.gauss(-(self.sigma**2) / 2, self.sigma)) if self.sigma else self.mean_s

    def open(self, due: list[float], draw: random.Random) -> Floats:
        """Latencies, from when each was due. Connections fewer than slots are slots."""
        free = [0.0] * min(self.slots, self.cap or self.slots)
        found = np.empty(len(due))
        for place, moment in enumerate(due):
            end = max(moment, free[0]) + self.service(draw)
            heapq.heapreplace(free, end)
            found[place] = end - moment
        return found

    def closed(self, users: int, seconds: float, draw: random.Random) -> tuple[Floats, Floats]:
        """When each request was begun and done, of so many users, each of whom sends until the time is up."""
        free, ready, found = [0.0] * self.slots, [0.0] * users, []
        heapq.heapify(ready)
        while ready[0] < seconds:
            begin = ready[0]
            end = max(begin, free[0]) + self.service(draw)
            heapq.heapreplace(free, end)
            heapq.heapreplace(ready, end)
            found.append((begin, end))
        begun, done = zip(*found, strict=True)
        return np.array(begun), np.array(done)


@cache
def true_limit_rps(server: Server, q: float = 0.95, count: int = 300_000) -> float:
    """The highest rate at which the q-quantile is within the limit, to about 0.3 %."""
    low, high = 0.1 * server.capacity_rps, server.capacity_rps
    while high / low > 1.003:
        rate, draw = (low + high) / 2, random.Random(1)
        seconds = count / rate
        due = (
            [place / rate for place in range(count)]
            if server.arrival == "constant"
            else sorted(draw.random() * seconds for _ in range(count))
        )
        holds = float(np.quantile(server.open(due, draw)[count // 10 :], q)) < server.limit_s
        low, high = (rate, high) if holds else (low, rate)
    return low


@dataclass(frozen=True)
class Outcome:
    """What a search came to, with the seconds and requests that it took."""

    search: Search
    seconds: float
    requests: int


def searched(server: Server, seed: int, plan: SearchPlan = SearchPlan()) -> Outcome:  # noqa: B008 (frozen)
    """One search as the command runs it."""
    search, seconds, requests, draw = Search(plan, most_users=server.cap or 1024), 0.0, 0, random.Random(seed)
    while (trial := search.next_trial()) is not None:
        took, sent = (window if trial.users is not None else stage)(server, search, trial, draw, seed)
        seconds += took
        requests += sent
    return Outcome(search, seconds, requests)


def window(server: Server, search: Search, trial: Trial, draw: random.Random, seed: int) -> tuple[float, int]:
    """A window of the ramp: seconds and requests that it took."""
    assert trial.users is not None
    begun, done = server.closed(trial.users, trial.duration_s, draw)
    search.ramped(trial.users, begun, done, 0)
    return float(done.max()), len(done)


def stage(server: Server, search: Search, trial: Trial, draw: random.Random, seed: int) -> tuple[float, int]:
    """A stage, looked at as the command does."""
    block = BlockJob(
        cell=0, round=search.turns + 1, stage="s", rate_rps=trial.rate_rps, users=None, warmup_s=trial.warmup_s,
        duration_s=trial.duration_s, exact=True,
    )  # fmt: skip
    due = np.array(offsets_of(server.arrival, block, f"{seed}/{search.turns}"))
    latencies = server.open(due.tolist(), draw)
    assert trial.rate_rps is not None
    for look in range(1, LOOKS + 1):
        until = block.warmup_s + look * trial.duration_s / LOOKS
        seen = (due < until) & (due >= block.warmup_s)
        if look < LOOKS:
            seen &= due + latencies <= until
            seen &= settled(due, np.where(due + latencies <= until, due + latencies, 0.0), server.limit_s)
        if not seen.any():
            continue
        figure = figure_of(latencies[seen], 0.95, server.limit_s)
        if figure.sure:
            break
    sent = due < until
    search.take(Step(trial.rate_rps, figure.held, figure.sure), int(np.count_nonzero(sent)))
    return float(max(until, np.max(due[sent] + latencies[sent]))), int(np.count_nonzero(sent))


#: The server of the marks (its limit is 36.5/s at a capacity of 40/s), and what the search was tuned on.
TUNED = (
    Server("4 slots, log-normal 0.3", 4, 0.1, 0.3, 0.55),
    Server("4 slots, constant service", 4, 0.1, 0.0, 0.25),
    Server("1 slot, log-normal 0.4", 1, 0.1, 0.4, 0.6),
    Server("16 slots, log-normal 0.5", 16, 0.1, 0.5, 0.3),
)
#: Held out: looked at once, when everything was settled.
HELD_OUT = (
    Server("2 slots, log-normal 0.6", 2, 0.3, 0.6, 1.5),
    Server("8 slots, log-normal 0.3", 8, 0.05, 0.3, 0.12),
    Server("4 slots, constant arrivals", 4, 0.1, 0.3, 0.33, "constant"),
    Server("1 slot, constant service", 1, 0.2, 0.0, 1.0),
    Server("16 slots, 8 connections", 16, 0.1, 0.3, 0.3, "poisson", 8),
    Server("8 slots of 5 s", 8, 5.0, 0.4, 14.0),
)


def row(server: Server, seeds: range) -> str:
    """The table's line for a server."""
    truth = true_limit_rps(server)
    found = [searched(server, seed) for seed in seeds]
    answers = np.array([outcome.search.answer_rps or 0.0 for outcome in found])
    near = np.mean(np.abs(answers / truth - 1.0) <= 0.10)
    above = np.mean(answers > server.capacity_rps)
    right = np.mean([(low or 0.0) <= truth <= (high or math.inf) for low, high in (outcome.search.interval for outcome in found)])
    off = np.quantile(answers / truth - 1.0, (0.05, 0.5, 0.95))
    seconds = np.quantile([outcome.seconds for outcome in found], (0.5, 0.95))
    requests = np.quantile([outcome.requests for outcome in found], (0.5, 0.95))
    return (
        f"| {server.name}, p95<{server.limit_s:g}s | {truth:.3g} of {server.capacity_rps:.3g}/s | {near:.0%} | {above:.0%} | {right:.0%} "
        f"| {off[0]:+.0%} {off[1]:+.0%} {off[2]:+.0%} | {seconds[0]:.0f} ({seconds[1]:.0f}) s | {requests[0]:.0f} ({requests[1]:.0f}) |"
    )


def main() -> None:
    """Prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=100)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--held-out", action="store_true")
    options = arguments.parse_args()
    print("| server | limit | within 10 % | above capacity | sure and right | off by (5, 50, 95 %) | took (95 %) | requests (95 %) |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for server in HELD_OUT if options.held_out else TUNED:
        if options.only in server.name:
            print(row(server, range(options.seeds)), flush=True)


if __name__ == "__main__":
    main()
