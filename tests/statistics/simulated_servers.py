"""Simulated servers for comparisons: Poisson arrivals, four workers with a queue, log-normal service, speed that drifts.

Loaded by file path from the tests here and from tests/performance (tests are no package).
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt
import pandas as pd

from testcard.harness.runs.records import Environment, Run, TargetRecord
from testcard.harness.statistics.columns import columns
from testcard.harness.statistics.columns import rows as grouped
from testcard.harness.statistics.matching import Bench, Side
from testcard.harness.statistics.rounds import round_values
from testcard.harness.statistics.summary import StageFacts, summarise

Floats = npt.NDArray[np.float64]
ROUNDS, REQUESTS = 8, 200
WORKERS, LOAD = 4, 0.5
#: Standard deviation of the logarithm of the server's speed, and its correlation from one round to the next.
DRIFT, RESEMBLANCE = 0.03, float(np.exp(-1.0))


def drift(generator: np.random.Generator, n: int, resemblance: float) -> Floats:
    """A stationary AR(1) series of n values, standard normal each."""
    values = np.empty(n)
    values[0] = generator.normal()
    for place in range(1, n):
        values[place] = resemblance * values[place - 1] + np.sqrt(1 - resemblance**2) * generator.normal()
    return values


class Server:
    """A server whose speed goes on drifting from round to round, also from one run to the next."""

    def __init__(self, generator: np.random.Generator, *, load: float = LOAD, workers: int = WORKERS, sigma: float = DRIFT) -> None:
        self.generator = generator
        self.load = load
        self.workers = workers
        self.sigma = sigma
        self._state = generator.normal()

    def round(self, requests: int, slow: float = 1.0) -> tuple[Floats, Floats]:
        """One round of about so many requests, one a second: when each was scheduled, and its latency."""
        generator = self.generator
        self._state = RESEMBLANCE * self._state + np.sqrt(1 - RESEMBLANCE**2) * generator.normal()
        count = generator.poisson(requests)
        at = np.sort(generator.uniform(0, requests, count))
        service = self.load * self.workers * generator.lognormal(-0.08, 0.4, count) * np.exp(self.sigma * self._state) * slow
        free = [0.0] * self.workers
        done = np.empty(count)
        for place, (start, took) in enumerate(zip(at.tolist(), service.tolist(), strict=True)):
            end = max(free[0], start) + took
            heapq.heapreplace(free, end)
            done[place] = end
        return at, done - at


def rounds_of(server: Server, *, slow: float = 1.0, rounds: int = ROUNDS, requests: int = REQUESTS) -> list[tuple[Floats, Floats]]:
    """A run's rounds."""
    return [server.round(requests, slow) for _ in range(rounds)]


#: Workloads that people compare runs of: as `testcard bench --live` and `quick` have them, and a longer one.
WORKLOADS = ("live, 8 rounds of 6", "live, 8 rounds of 30", "quick, 8 rounds of 15", "standard, 8 rounds of 50")


def pair(workload: str, generator: np.random.Generator, slow: float) -> tuple[Side, Side]:
    """A run of a server, and another of the same that is slower by so much."""
    if workload.startswith("live"):
        round_s = 12.0 if workload.endswith(" 6") else 60.0
        return live(generator, round_s=round_s), live(generator, slow=slow, round_s=round_s)
    requests = 15 if workload.startswith("quick") else 50
    server = Server(generator, load=0.3)
    return run(server, requests=requests), run(server, slow=slow, requests=requests)


def live(
    generator: np.random.Generator, *, slow: float = 1.0, round_s: float = 12.0, sigma: float = 0.4, drift_sigma: float = 0.05
) -> Side:
    """A closed loop of one user on a service of 2 s, log-normal, in 8 rounds of so many seconds, each with a speed of its own."""
    frames = []
    for number in range(ROUNDS):
        speed = slow * np.exp(drift_sigma * generator.normal())
        at, starts, ends = 0.0, [], []
        while at < round_s:
            starts.append(at + 1000.0 * number)
            at += 2.0 * speed * float(generator.lognormal(0.0, sigma))
            ends.append(at + 1000.0 * number)
        frames.append(pd.DataFrame({"round": number, "scheduled_s": starts, "done_s": ends}))
    return _side(pd.concat(frames, ignore_index=True), StageFacts(users=1, rounds_s=dict.fromkeys(range(ROUNDS), round_s)), mock=False)


def run(server: Server, *, slow: float = 1.0, rounds: int = ROUNDS, requests: int = REQUESTS) -> Side:
    """A benchmark of the server, summarised as `testcard bench` does."""
    frames = []
    for number, (at, latency) in enumerate(rounds_of(server, slow=slow, rounds=rounds, requests=requests)):
        start = at + 10.0 * requests * number
        frames.append(pd.DataFrame({"round": number, "scheduled_s": start, "done_s": start + latency}))
    return _side(pd.concat(frames, ignore_index=True), StageFacts(duration_s=float(rounds * requests)), mock=True)


def _side(samples: pd.DataFrame, facts: StageFacts, *, mock: bool) -> Side:
    constant = {"provider": "p", "model": "m", "operation": "o", "stage": "1/s", "outcome": "ok", "images": 1, "megapixels": 0.25}
    samples = samples.assign(**constant, cost_usd=0.01, warmup=False, target=0, sent_s=samples["scheduled_s"])
    samples["first_byte_s"] = samples["done_s"]
    summary = summarise(samples, objectives=["p95<60s"], facts={"1/s": facts})
    record = Run(
        kind="bench",
        tool_version="1",
        ruleset_version="1",
        started="2026-11-20T00:00:00.000Z",
        outcome="pass",
        environment=Environment(python="3.12.1", platform="Linux x86_64", cpu_count=2),
        targets=[TargetRecord(provider="p", name="P", base_url="http://127.0.0.1:1", mock=mock)],
    )
    return Side(benches=[Bench(record, summary, samples)])


def true_ratio(generator: np.random.Generator, slow: float, *, rounds: int, requests: int = REQUESTS, load: float = LOAD) -> float:
    """Slower over plain, of the geometric mean of p50 round values, from many rounds of a server that does not drift.

    A queue makes more of a slower server than the server itself, so the ratio is not `slow`.
    """
    middles = []
    for factor in (slow, 1.0):
        side = run(Server(generator, sigma=0.0, load=load), slow=factor, rounds=rounds, requests=requests)
        bench = side.benches[0]
        row = bench.summary.rows[0]
        ((_, places),) = grouped(bench.samples)
        values = round_values(columns(bench.samples, places), row, limit_s=None, offered_rps=1.0)["p50"].known
        middles.append(float(np.log(values).mean()))
    return float(np.exp(middles[0] - middles[1]))
