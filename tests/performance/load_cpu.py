"""CPU of a load generator for one request, ours beside its peers, interleaved: `python tests/performance/load_cpu.py`.

Serves one fixed answer (1.5 KB, then 1.4 MB) from a process of its own and loads it with 16 connections: wrk, Locust's
FastHttpUser and HttpUser, NVIDIA AIPerf (installed once into ~/.cache/testcard-peers), ours with its samples recorded but not
judged, and ours with every answer judged (JSON, base64, hash, header, structure and checksums of the picture). Prints
microseconds a request, ratios to wrk and the marks, writes them as CSV too; exits 1 when a mark is missed. Not collected by
pytest: quote ratios, not absolute times, and run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
from pathlib import Path

from load_peers import CONNECTIONS, GENERATORS, why_not

from testcard.benchmarks.calibration.servers import ServerPlan, serving

SIZES = (1_500, 1_400_000)
RECORDED, JUDGED = "ours, recorded", "ours, judged"
#: At most so many times wrk's CPU, by the size of the answer; and so many microseconds more for judging a large one.
MARKS = {1_500: 5.0, 1_400_000: 0.8}
JUDGING_MARK_US = 1000.0


def measured(names: list[str], size: int, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Microseconds of CPU a request of each generator in each round."""
    cost: dict[str, list[float]] = {name: [] for name in names}
    with serving([ServerPlan(bytes=size)]) as servers:
        for turn in range(rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:  # nobody always follows the same one
                command = [sys.executable, str(Path(__file__).with_name("load_peers.py")), name, servers.urls[0], str(seconds)]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode != 0:
                    print(f"{name} failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                    continue
                count, cpu = json.loads(done.stdout.splitlines()[-1])
                cost[name].append(1e6 * cpu / max(count, 1))
    return {name: costs for name, costs in cost.items() if costs}


def main() -> int:
    """Runs every generator `--rounds` times, interleaved, and prints the medians; 1 when a mark is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=GENERATORS, help="these generators instead of all")
    parser.add_argument("--out", type=Path, default=Path("testcard-runs/load-cpu.csv"))
    options = parser.parse_args()
    names = []
    for name in options.only or GENERATORS:
        reason = why_not(name)
        if reason is None:
            names.append(name)
        else:
            print(f"without {name}: {reason}", file=sys.stderr)
    lines, missed = [], []
    for size in SIZES:
        cost = measured(names, size, options.rounds, options.seconds)
        middle = {name: statistics.median(costs) for name, costs in cost.items()}
        unit = middle.get("wrk")
        print(f"\nanswers of {size:,} bytes, {CONNECTIONS} connections, {options.rounds} rounds of {options.seconds:g} s: CPU a request")
        for name, microseconds in middle.items():
            ratio = None if unit is None else microseconds / unit
            print(f"  {name:16} {microseconds:8.1f} µs" + ("" if ratio is None else f"   {ratio:6.2f} × wrk"))
            lines.append(
                [size, name, len(cost[name]), f"{microseconds:.1f}", f"{min(cost[name]):.1f}", "" if ratio is None else f"{ratio:.3f}"]
            )
        if unit is not None and RECORDED in middle:
            missed += _mark(f"recorded, {size:,} bytes", middle[RECORDED] / unit, MARKS[size], "× wrk")
        if size == SIZES[-1] and {RECORDED, JUDGED} <= set(middle):
            missed += _mark("judging a large answer", middle[JUDGED] - middle[RECORDED], JUDGING_MARK_US, "µs")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["answer_bytes", "generator", "rounds", "cpu_us_median", "cpu_us_min", "times_wrk"])
        writer.writerows(lines)
    print(f"\nwritten to {options.out}")
    return 1 if missed else 0


def _mark(what: str, value: float, limit: float, unit: str) -> list[str]:
    """Prints whether a mark is kept; its name where it is not."""
    print(f"  mark: {what} at most {limit:g} {unit}: {value:.2f} {'kept' if value <= limit else 'MISSED'}")
    return [] if value <= limit else [what]


if __name__ == "__main__":
    sys.exit(main())
