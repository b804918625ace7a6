"""Run by hand: a mock, a benchmark and checks for half an hour; memory and open handles stay flat, and nothing is lost.

    .venv/bin/python tests/performance/soak.py [MINUTES] [--rate R]

One mock is put under load by one benchmark for all of the time, another is checked over and over. Memory (resident) and open
handles of every process are sampled each second. Marks: the median of the last quarter is at most 10 % and 16 MiB above that of the
second quarter (of checks, which are a process each: the peak of the last quarter's above that of the second's), handles at most 8
above; each mock's own count of requests is the number of samples, or of recorded exchanges. Exits 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.samples import read_table

TESTCARD = [sys.executable, "-m", "testcard.harness.cli"]
MIB = 1 << 20
#: What a process may grow by from the second quarter of its time to the last.
SHARE, MORE_MIB, MORE_HANDLES = 0.1, 16.0, 8
#: A benchmark sums up at its end.
AROUND_S = 120.0


@dataclass
class Watched:
    """What was sampled of one kind of process: seconds since the beginning, MiB, handles."""

    rows: list[tuple[float, float, int]] = field(default_factory=list)

    def quarter(self, number: int, of: int) -> list[float]:
        """The values of that column in that quarter of the time."""
        first, last = self.rows[0][0], self.rows[-1][0]
        low, high = (first + (last - first) * share for share in (number / 4, (number + 1) / 4))
        return [row[of] for row in self.rows if low <= row[0] <= high]


class Watch:
    """Samples processes, and their children, each second until it is left."""

    def __init__(self) -> None:
        self.seen: dict[str, Watched] = defaultdict(Watched)
        self._roots: dict[str, int] = {}
        self._began_s = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def add(self, name: str, pid: int) -> None:
        """Looks at this process from now on, under this name, instead of the one before it."""
        self._roots[name] = pid

    def close(self) -> None:
        """No more."""
        self._over.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._over.wait(1.0):
            for name, pid in list(self._roots.items()):
                with suppress(psutil.Error):
                    root = psutil.Process(pid)
                    for one in [root, *root.children(recursive=True)]:
                        with suppress(psutil.Error):
                            words = " ".join(one.cmdline())
                            kind = name if one.pid == pid else f"{name}, load process" if "load_process" in words else f"{name}, child"
                            row = (time.monotonic() - self._began_s, one.memory_info().rss / MIB, one.num_fds())
                            self.seen[kind].rows.append(row)


@contextmanager
def mock(watch: Watch, name: str) -> Iterator[str]:
    """A mock of NanoGPT; where it is."""
    process = subprocess.Popen(
        [*TESTCARD, "mock", "nanogpt", "--port", "0", "--json", "--latency", "lognormal:0.1,0.3"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        ready = json.loads(process.stdout.readline())
        watch.add(name, process.pid)
        yield ready["base_urls"]["nanogpt"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        process.stdout.close()


def counted(url: str) -> int:
    """How many pieces of work a mock has answered, by its own count."""
    with urllib.request.urlopen(f"{url}/_testcard/requests", timeout=60) as answer:
        return int(json.load(answer)["seen"])


def checks(watch: Watch, url: str, folder: Path, until_s: float, found: list[int]) -> None:
    """Checks over and over; what they recorded, and how many there were."""
    number = 0
    while time.monotonic() < until_s:
        number += 1
        out = folder / f"check-{number}"
        process = subprocess.Popen(
            [*TESTCARD, "check", f"nanogpt={url}", "--seed", str(number), "--quiet", "--out", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        watch.add("check", process.pid)
        process.wait()
        found.append(sum(one.response is not None and one.source != "fetch" for one in RunReader(out).exchanges()))
        for file in (out / "bodies").glob("*"):
            file.unlink()  # half an hour of them is gigabytes


def grown(kind: str, watched: Watched) -> tuple[str, bool]:
    """A row of the table, and whether the marks hold."""
    of_each = max if kind == "check" else median  # a check ends and begins: what it comes to is its peak
    early_mib, late_mib, early, late = (of_each(watched.quarter(number, of) or [0.0]) for of in (1, 2) for number in (1, 3))
    holds = late_mib <= early_mib * (1 + SHARE) + MORE_MIB and late <= early + MORE_HANDLES
    return f"{kind:<22} {early_mib:9.1f} {late_mib:9.1f} {early:9.0f} {late:9.0f}  {'yes' if holds else 'NO'}", holds


def main(minutes: float, rate: float) -> int:
    """The table; 1 where a mark does not hold."""
    os.environ["TESTCARD_API_KEY"] = "testcard"
    watch, recorded = Watch(), list[int]()
    with tempfile.TemporaryDirectory() as place, mock(watch, "mock under load") as loaded, mock(watch, "mock under checks") as checked:
        folder, bench = Path(place), Path(place) / "bench"
        began_s = time.monotonic()
        process = subprocess.Popen(
            [
                *(
                    *TESTCARD,
                    "bench",
                    f"nanogpt={loaded}",
                    "--rate",
                    str(rate),
                    "--duration",
                    str(int(minutes * 60)),
                    "--warmup",
                    "0",
                ),
                *("--rounds", str(max(1, round(minutes))), "--quiet", "--out", str(bench)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        watch.add("bench", process.pid)
        checks(watch, checked, folder, began_s + minutes * 60, recorded)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(AROUND_S / 4, began_s + minutes * 60 - time.monotonic()))
        if process.poll() is None:  # turns in which the generator was late are taken again
            process.send_signal(signal.SIGINT)
        process.wait(timeout=AROUND_S)
        watch.close()
        answered, samples = counted(loaded), read_table(RunReader(bench)).num_rows
        of_checks = counted(checked)
    print(f"{minutes:g} minutes: {samples} samples at {rate:g} a second, {len(recorded)} checks with {sum(recorded)} exchanges")
    print("process                 2nd MiB  last MiB  2nd hand. last hand.  flat")
    held = []
    for kind, watched in sorted(watch.seen.items()):
        if len(watched.rows) >= 8:
            line, holds = grown(kind, watched)
            print(line)
            held.append(holds)
    print(f"lost: {answered - samples} of {answered} answers to the benchmark, {of_checks - sum(recorded)} of {of_checks} to the checks")
    return 0 if all(held) and answered == samples and of_checks == sum(recorded) else 1


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("minutes", nargs="?", type=float, default=30.0)
    asked.add_argument("--rate", type=float, default=3.0, help="requests a second of the benchmark")
    given = asked.parse_args()
    sys.exit(main(given.minutes, given.rate))
