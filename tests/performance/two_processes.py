"""How much more two load processes do than one: `python tests/performance/two_processes.py`. The mark: 1.8 times.

The server must not be what ends the growth, and on a machine of two cores it would be: two busy load processes leave it none. So
every load process is held to a quarter of a core (SIGSTOP for 30 of every 40 ms, in turns, as cpulimit does), and
the server, whose own CPU is printed, has the rest. What is compared is then what one and two such small machines get through:
closed loop of 64, answers of 1.5 KB, each judged; `--processes 1` and `--processes 2` as a user has them (the latter with its
master, and samples shipped to it). Rounds are interleaved. Not collected by pytest.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from testcard.benchmarks.calibration.command import SMALL_BYTES, LoadRun
from testcard.benchmarks.calibration.servers import ServerPlan, serving
from testcard.benchmarks.plan.job import BlockJob
from testcard.harness.progress import Progress

SLOT_S = 0.010
SLOTS = 4
MARK = 1.8
#: Enough that nobody has to wait for the server within its slot.
USERS = 64
#: What sends load: a load process alone, or the workers of one.
SENDERS = {1: "testcard.benchmarks.run.load_process", 2: "testcard.benchmarks.fleet.worker"}


@contextmanager
def slowed(processes: int) -> Iterator[dict[str, float]]:
    """Holds this process's senders to one slot in four, those of one run in different slots; yields the server's seconds of CPU, known at the end."""
    over = threading.Event()
    cpu = {"server": 0.0}

    def turn_by_turn() -> None:
        senders: list[int] = []
        looked_s = 0.0
        me = psutil.Process()
        while not over.is_set():
            for slot in range(SLOTS):
                for place, pid in enumerate(senders):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT if (slot + 2 * place) % SLOTS == 0 else signal.SIGSTOP)
                over.wait(SLOT_S)
            if time.monotonic() - looked_s > 0.5:
                looked_s = time.monotonic()
                found = {child.pid: _command(child) for child in me.children(recursive=True)}
                senders = sorted(pid for pid, command in found.items() if SENDERS[processes] in command)
                cpu["server"] = max(
                    cpu["server"],
                    sum(_cpu_s(pid) for pid, command in found.items() if "testcard.benchmarks.calibration.servers" in command),
                )
        for pid in senders:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=turn_by_turn)
    thread.start()
    try:
        yield cpu
    finally:
        over.set()
        thread.join()


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def _cpu_s(pid: int) -> float:
    with suppress(psutil.Error):
        used = psutil.Process(pid).cpu_times()
        return float(used.user + used.system)
    return 0.0


def rate(processes: int, seconds: float) -> tuple[float, float, float]:
    """Requests a second, seconds of CPU a request of the senders, and CPU seconds of the server."""
    block = BlockJob(cell=0, round=1, stage="peak", rate_rps=None, users=USERS, warmup_s=0.0, duration_s=seconds)
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress("two processes", unit="s") as progress,
        slowed(processes) as cpu,
        serving([ServerPlan(bytes=SMALL_BYTES)]) as servers,
    ):
        session = LoadRun(Path(folder), processes, progress).load(servers.urls, [block], decode=0.0)
    sent = sum(part.sent for part in session.blocks)
    used_s = sum(part.cpu_percent / 100.0 * seconds for part in session.blocks)
    return sent / seconds, used_s / sent, cpu["server"]


def main() -> int:
    """Prints the rates of one and two and their ratio; 1 when it is below the mark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], 2: []}
    costs: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(options.rounds):
        for processes, found in rates.items():
            per_second, cpu_s, server_s = rate(processes, options.seconds)
            found.append(per_second)
            costs[processes].append(cpu_s)
            share = 100 * per_second * cpu_s / processes
            print(
                f"{processes} process(es): {per_second:7.0f} requests/s, {cpu_s * 1e6:4.0f} µs of CPU each, "
                f"{share:3.0f} % of a core a process, server {server_s:4.1f} s of CPU"
            )
    one, two = (statistics.median(found) for found in rates.values())
    cheap, dear = (statistics.median(cost) for cost in costs.values())
    print(f"by CPU a request alone, two whole cores would do {2 * cheap / dear:.2f} times what one does")
    print(f"two do {two / one:.2f} times what one does (mark: {MARK})")
    return int(two / one < MARK)


if __name__ == "__main__":
    sys.exit(main())
