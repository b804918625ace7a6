"""Worker processes that a master starts on its own machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import IO

import msgspec

from testcard.benchmarks.plan.job import Job, WorkerJob


class Crew:
    """Worker processes on this machine, started by their master; they end when it does, because their standard input closes."""

    def __init__(self, job: Job, port: int) -> None:
        assert job.fleet is not None
        keys = [target.api_key for target in job.targets]
        order = msgspec.json.encode(WorkerJob(master_host="127.0.0.1", master_port=port, keys=keys, search=job.search)) + b"\n"
        self._talk: dict[int, IO[bytes]] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        for _ in range(job.fleet.workers):
            talk = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the crew)
            process = subprocess.Popen(
                [sys.executable, "-m", "testcard.benchmarks.fleet.worker"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=talk
            )
            assert process.stdin is not None
            process.stdin.write(order)
            process.stdin.flush()
            self._processes[process.pid] = process
            self._talk[process.pid] = talk

    def death_of(self, pid: int) -> str | None:
        """How the process ended, or None while it lives."""
        process = self._processes.get(pid)
        code = process.poll() if process is not None else None
        if code is None:
            return None
        return f"signal {-code}" if code < 0 else f"exit {code}{self._last_words(pid)}"

    def dead(self) -> str | None:
        """How one of the processes ended, where one did."""
        return next((death for pid in self._processes if (death := self.death_of(pid)) is not None), None)

    def close(self) -> None:
        """Waits for the processes, kills those that stay."""
        for pid, process in self._processes.items():
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
            try:
                process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._talk[pid].close()

    def _last_words(self, pid: int) -> str:
        talk = self._talk[pid]
        talk.seek(0)
        lines = talk.read().decode("utf-8", "replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""
