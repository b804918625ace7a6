"""`bench --find-saturation` against queues whose knee is known: a mock that works on so many requests at once.

    python tests/performance/saturation.py [--seeds 3] [--only marks] [--out TABLE.md]

For each setting the truth is computed by simulating the queue (first come, first served, c servers) far longer than any search
runs: the highest rate at which the latency percentile of the objective stays below its threshold, for constant arrivals
(D/D/c, where it is the capacity) and for Poisson arrivals (M/D/c, and M/G/c for a server whose time varies). Prints truth beside
what was found, the decision interval, the number of stages and what broke first; exits 1 when a search is off by more than 10 %.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from testcard.harness.targets import embedded_mocks

CLOSE_ENOUGH = 0.10


@dataclass(frozen=True)
class Queue:
    """A server that takes `median_s` (times exp of a normal deviate of `sigma`) for each of `places` requests at once."""

    median_s: float
    sigma: float
    places: int

    @property
    def option(self) -> str:
        """The mock's --latency."""
        return f"lognormal:{self.median_s},{self.sigma}" if self.sigma else str(self.median_s)

    @property
    def capacity_rps(self) -> float:
        """The rate at which all places are busy all the time."""
        return self.places / (self.median_s * math.exp(self.sigma**2 / 2))

    def latencies(self, rate_rps: float, arrival: str, count: int, seed: int = 1) -> list[float]:
        """Latencies of `count` requests at that rate, the first tenth left out."""
        draw = random.Random(seed)
        free = [0.0] * self.places
        now = 0.0
        found = []
        for _ in range(count):
            now += draw.expovariate(rate_rps) if arrival == "poisson" else 1.0 / rate_rps
            begin = max(now, heapq.heappop(free))
            end = begin + self.median_s * (math.exp(draw.gauss(0.0, self.sigma)) if self.sigma else 1.0)
            heapq.heappush(free, end)
            found.append(end - now)
        return found[count // 10 :]

    def knee_rps(self, arrival: str, q: float, threshold_s: float, count: int = 120_000) -> float:
        """The highest rate at which the q-quantile of the latency is below the threshold."""
        low, high = 0.2 * self.capacity_rps, self.capacity_rps
        for _ in range(12):
            rate = (low + high) / 2
            latencies = sorted(self.latencies(rate, arrival, count))
            if latencies[math.ceil(q * len(latencies)) - 1] < threshold_s:
                low = rate
            else:
                high = rate
        return low


@dataclass(frozen=True)
class Setting:
    """A queue, how requests arrive, and the objective p95<`threshold_s`."""

    name: str
    queue: Queue
    arrival: str
    threshold_s: float


SETTINGS = (
    Setting("D/D/4", Queue(0.05, 0.0, 4), "constant", 0.2),
    Setting("M/D/4", Queue(0.05, 0.0, 4), "poisson", 0.2),
    Setting("M/G/4", Queue(0.05, 0.3, 4), "poisson", 0.25),
    # The server of the marks: it completes 40/s and keeps its limit up to about 36.5/s.
    Setting("marks", Queue(0.1 * math.exp(-(0.3**2) / 2), 0.3, 4), "poisson", 0.55),
)
#: What a search of the last setting may take, and in how many of twenty it is to be within a tenth and never above the capacity.
MARK_S, MARK_REQUESTS, MARK_SHARE = 75.0, 2_600, 0.95


def search(setting: Setting, *, seed: int, duration_s: float | None, max_stages: int, start_rps: float | None) -> dict[str, object]:
    """What `--find-saturation` says about the setting: one result of saturation.json, and the seconds that it took."""
    given = [] if start_rps is None else ["--rate", f"{start_rps:g}"]
    queue = ["--latency", setting.queue.option, "--max-concurrent", str(setting.queue.places)]
    given += [] if duration_s is None else ["--duration", f"{duration_s:g}"]
    with (
        tempfile.TemporaryDirectory() as folder,
        embedded_mocks(["nanogpt"], options=[*queue, "--seed", str(seed)]) as mocks,
    ):
        began = time.monotonic()
        done = subprocess.run(
            [
                sys.executable, "-m", "testcard.harness.cli", "bench", "--target", f"nanogpt={mocks.base_urls['nanogpt']}",
                "--find-saturation", *given, "--arrival", setting.arrival,
                "--slo", f"p95<{setting.threshold_s:g}s", "--max-stages", str(max_stages), "--seed", str(seed), "--json",
                "--out", str(Path(folder) / "run"),
            ],
            capture_output=True, text=True, check=False, env={**os.environ, "TESTCARD_PROGRESS": "none"},
        )  # fmt: skip
        found: dict[str, object] = json.loads(done.stdout)["results"][0]
        took_s = time.monotonic() - began
        requests = pq.read_metadata(Path(folder) / "run" / "samples.parquet").num_rows
    return {**found, "took_s": took_s, "requests": requests}


def main(say: Callable[[str], None] = print) -> int:
    """Runs every setting with every seed; 1 where one is off by more than a tenth."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--duration", type=float)
    arguments.add_argument("--max-stages", type=int, default=14)
    arguments.add_argument("--start", type=float)
    arguments.add_argument("--only", default="")
    arguments.add_argument("--out", type=Path)
    options = arguments.parse_args()
    lines = [
        "| queue | truth | found | off by | surely within | stages | requests | took | broke first |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    worst = 0.0
    kept: list[bool] = []
    for setting in SETTINGS:
        if options.only not in setting.name:
            continue
        knee = setting.queue.knee_rps(setting.arrival, 0.95, setting.threshold_s)
        for seed in range(1, options.seeds + 1):
            one = search(setting, seed=seed, duration_s=options.duration, max_stages=options.max_stages, start_rps=options.start)
            holds = one["holds_rps"]
            off = float(holds) / knee - 1.0 if isinstance(holds, int | float) else -1.0
            worst = max(worst, abs(off))
            took_s, requests = one["took_s"], one["requests"]
            assert isinstance(took_s, float)
            assert isinstance(requests, int)
            if setting.name == "marks":
                right = abs(off) <= CLOSE_ENOUGH and isinstance(holds, int | float) and holds <= setting.queue.capacity_rps
                kept.append(right and took_s <= MARK_S and requests <= MARK_REQUESTS)
            stages = one["stages"]
            assert isinstance(stages, list)
            lines.append(
                f"| {setting.name}, p95<{setting.threshold_s:g}s | {knee:.1f}/s | {holds}/s | {off:+.1%} | {one['low_rps']} to {one['high_rps']} "
                f"| {len(stages)} | {requests:,} | {took_s:.0f} s | {one['broke_first']} |"
            )
            say(lines[-1])
    table = "\n".join(lines)
    if options.out:
        options.out.write_text(table + "\n", encoding="utf-8")
    if kept:
        marks = f"within {CLOSE_ENOUGH:.0%}, never above the capacity, {MARK_S:.0f} s, {MARK_REQUESTS:,} requests"
        say(f"\n{table}\n\nkeeps the marks ({marks}) in {sum(kept)} of {len(kept)} searches")
        return int(sum(kept) < MARK_SHARE * len(kept))
    say(f"\n{table}\n\nworst: {worst:.1%} (at most {CLOSE_ENOUGH:.0%})")
    return int(worst > CLOSE_ENOUGH)


if __name__ == "__main__":
    sys.exit(main())
