"""The command's side of a run: starts the load process, shows how it goes, hears Ctrl-C, keeps what was recorded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec

from testcard.benchmarks.plan.job import BlockJob, Event, Job, More
from testcard.benchmarks.show.view import View
from testcard.harness.errors import TestcardError
from testcard.harness.progress import Progress
from testcard.harness.runs.records import Block
from testcard.harness.stops import Stop

BLOCKS_FILE = "blocks.jsonl"


class Session:
    """One load process at work. After `run`: the blocks it finished, why it stopped early (none: it did not), its error."""

    def __init__(self, job: Job, folder: Path) -> None:
        self.job = job
        self.more: Callable[[], list[BlockJob]] | None = None  # gives further blocks when the job's are done, until it gives none
        self.folder = folder
        self.view = View(job)
        self.blocks: list[Block] = []
        self.stops: list[Stop] = []
        self.fatal: TestcardError | None = None
        self.interrupted = False
        self.listening = False  # it has read its job and hears further lines
        self.cpu_to_ready_s: float | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._progress: Progress | None = None
        self._signals = 0

    def run(self, progress: Progress) -> None:
        """Runs the job to its end. What the load process says goes to `progress` and to blocks.jsonl."""
        self._progress = progress
        with tempfile.TemporaryFile() as talk, self._signals_heard():
            process = subprocess.Popen(
                [sys.executable, "-m", "testcard.benchmarks.run.load_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=talk,
                start_new_session=True,  # Ctrl-C reaches this process, which tells it to stop in good order
            )
            self._process = process
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(msgspec.json.encode(self.job) + b"\n")
                process.stdin.flush()
                with (self.folder / BLOCKS_FILE).open("wb") as blocks:
                    for line in process.stdout:
                        self._hear(msgspec.json.decode(line, type=Event), progress, blocks)
            except BrokenPipeError:
                pass  # it died at once; its exit says more
            finally:
                self._end(process)
            if self.fatal is None and process.returncode != 0 and not self.interrupted:
                self.fatal = TestcardError(
                    f"the load process died ({_death(process.returncode)}){_last_words(talk)}",
                    hint="what it had written is kept; run it again with TESTCARD_TRACEBACK=1",
                )

    def _hear(self, event: Event, progress: Progress, blocks: IO[bytes]) -> None:
        if not self.listening:
            self.listening = True
            if self._signals:
                self._say_stop()
        if event.event == "ready":
            self.cpu_to_ready_s = event.cpu_s
        elif event.event == "progress" and event.progress is not None:
            self.view.hear(event.progress)
            progress.update(event.progress["passed_s"], total=event.progress["planned_s"], **self.view.fields())
        elif event.event == "note":
            progress.say(event.message or "")
        elif event.event == "wanting":
            further = self.more() if self.more is not None and not self._signals else []
            self._tell(msgspec.json.encode(More(blocks=further)) + b"\n")
        elif event.event == "block" and event.block is not None:
            self.blocks.append(event.block)
            blocks.write(msgspec.json.encode(event.block) + b"\n")
            blocks.flush()
        elif event.event in ("fatal", "done"):
            self.stops = event.stops
            if event.failure is not None:
                self.fatal = event.failure.as_error()

    @contextmanager
    def _signals_heard(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        self.interrupted = True
        if self._signals == 1:
            words = f"interrupted: waiting up to {self.job.grace_s:g} s for what is in flight (again: abort)"
            if self._progress is not None and self._progress.is_live:
                self.view.notice = words  # a line written in between would tear the display
            else:
                os.write(2, f"\n{words}\n".encode())
            if self.listening:
                self._say_stop()
        elif self._process is not None:
            self._process.kill()

    def _say_stop(self) -> None:
        self._tell(b"stop\n")

    def _tell(self, line: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(OSError):  # it may be gone already
            os.write(process.stdin.fileno(), line)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=self.job.grace_s + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _death(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"


def _last_words(talk: IO[bytes]) -> str:
    talk.seek(0)
    lines = talk.read().decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
