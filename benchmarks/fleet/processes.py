"""Worker processes as whoever started them sees them: a master its own on this machine, the command of a worker the one it is for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from types import FrameType
from typing import IO

import click
import msgspec

from testcard.benchmarks.load.process import ProcessLine
from testcard.benchmarks.plan.job import Job, WorkerJob
from testcard.harness.errors import Exit, TestcardError


class Crew:
    """Worker processes on this machine, started by their master; they end when it does, because their standard input closes."""

    def __init__(self, job: Job, port: int) -> None:
        assert job.fleet is not None
        keys = [target.api_key for target in job.targets]
        order = WorkerJob(master_host="127.0.0.1", master_port=port, secret=job.fleet.secret, keys=keys, search=job.search)
        line = msgspec.json.encode(order) + b"\n"
        self._talk: dict[int, IO[bytes]] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        for _ in range(job.fleet.workers):
            talk = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the crew)
            process = subprocess.Popen(
                [sys.executable, "-m", "testcard.benchmarks.fleet.worker"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=talk
            )
            assert process.stdin is not None
            process.stdin.write(line)
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


def join_master(order: WorkerJob) -> int:
    """Works for the master until it has no more to do; the exit code. Raises what ended the worker as an error."""
    fatal: TestcardError | None = None
    signals = 0
    with tempfile.TemporaryFile() as talk:
        process = subprocess.Popen(
            [sys.executable, "-m", "testcard.benchmarks.fleet.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=talk,
            start_new_session=True,  # Ctrl-C reaches this process, which closes the worker's standard input
        )
        assert process.stdin is not None
        assert process.stdout is not None
        worker_stdin = process.stdin

        def heard(number: int, frame: FrameType | None) -> None:
            nonlocal signals
            signals += 1
            if signals == 1:
                os.write(2, b"\ninterrupted: nothing more is sent; waiting for what is in flight (again: abort)\n")
                with suppress(OSError):
                    os.write(worker_stdin.fileno(), b"stop\n")
            else:
                process.kill()

        before = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(order) + b"\n")
                process.stdin.flush()
            click.echo(f"looking for the master at {order.master_host}:{order.master_port}", err=True)
            for line in process.stdout:
                said = msgspec.json.decode(line, type=ProcessLine)
                if said.event == "note":
                    click.echo(said.message, err=True)
                elif said.failure is not None:
                    fatal = said.failure.as_error()
            process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            with suppress(OSError):
                process.stdin.close()
            process.stdout.close()
        if signals:
            return Exit.INTERRUPTED
        if fatal is None and process.returncode != 0:
            talk.seek(0)
            words = talk.read().decode("utf-8", "replace").strip().splitlines()
            fatal = TestcardError(f"the worker ended with {process.returncode}{f': {words[-1]}' if words else ''}")
    if fatal is not None:
        raise fatal
    return Exit.PASS
