"""The command's side of a worker: starts the worker process, passes on what it says, hears Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from types import FrameType

import click
import msgspec

from testcard.benchmarks.plan.job import Event, WorkerJob
from testcard.harness.errors import Exit, TestcardError


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
                event = msgspec.json.decode(line, type=Event)
                if event.event == "note":
                    click.echo(event.message, err=True)
                elif event.failure is not None:
                    fatal = event.failure.as_error()
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
