"""The command's side of a load process: starts it, gives what it says line by line, tells it to stop, keeps what it recorded.

A thread reads what it says, so that a slow reader of the lines never keeps it from sending.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

import msgspec

from testcard.benchmarks.load.process import More, ProcessLine
from testcard.benchmarks.plan.job import BlockJob, Job
from testcard.harness.errors import TestcardError
from testcard.harness.runs.records import Block
from testcard.harness.stops import Stop, StopReason

BLOCKS_FILE = "blocks.jsonl"
INTERRUPTED = Stop(reason=StopReason.INTERRUPTED)


class Session:
    """One load process at work on a job.

    Once its lines are read: the blocks it finished, why it stopped early (none: it did not), what ended it as an error. `more` gives
    further blocks when the job's are done, until it gives none; `look` says of which turn under way enough was sent. Both are asked by
    whoever reads the lines.
    """

    def __init__(
        self,
        job: Job,
        folder: Path,
        *,
        more: Callable[[], list[BlockJob]] | None = None,
        look: Callable[[], BlockJob | None] | None = None,
    ) -> None:
        self.job = job
        self.folder = folder
        self.more = more
        self.look = look
        self.blocks: list[Block] = []
        self.stops: list[Stop] = []
        self.fatal: TestcardError | None = None
        self.interrupted = False
        self.cpu_to_ready_s: float | None = None
        self._said: queue.SimpleQueue[ProcessLine | Stop | Exception | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None
        self._listening = False  # it has read its job and hears further lines
        self._stops_wanted = 0

    def lines(self) -> Iterator[ProcessLine | Stop]:
        """What the load process says until its end, and a `Stop` where `stop` was called. Ends the process where it is left early."""
        with tempfile.TemporaryFile() as talk:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "testcard.benchmarks.run.load_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=talk,
                start_new_session=True,  # Ctrl-C reaches this process, which tells it to stop in good order
            )
            reader = threading.Thread(target=self._read, args=(process,), name="testcard-load", daemon=True)
            reader.start()
            ended = False
            try:
                with (self.folder / BLOCKS_FILE).open("wb") as blocks:
                    assert process.stdin is not None
                    with suppress(BrokenPipeError):  # it died at once: its exit says more
                        process.stdin.write(msgspec.json.encode(self.job) + b"\n")
                        process.stdin.flush()
                    while (said := self._said.get()) is not None:
                        if isinstance(said, Exception):
                            raise said
                        if isinstance(said, ProcessLine):
                            self._hear(said, blocks)
                        yield said
                ended = True
            finally:
                if not ended:
                    process.kill()
                self._end(process, reader)
            if self.fatal is None and process.returncode != 0 and not self.interrupted:
                self.fatal = TestcardError(
                    f"the load process died ({_death(process.returncode)}){_last_words(talk)}",
                    hint="what it had written is kept; run it again with TESTCARD_TRACEBACK=1",
                )

    def stop(self) -> bool:
        """Sends nothing more and gives what is in flight its grace; the second time: gives up what is in flight. From any thread.

        False where the load process is gone.
        """
        process = self._process
        if process is not None and process.poll() is not None:
            return False
        self.interrupted = True
        self._stops_wanted += 1
        if self._stops_wanted == 1:
            self._said.put(INTERRUPTED)
            if self._listening:
                self._tell(b"stop\n")
        elif process is not None:
            process.kill()
        return True

    @contextmanager
    def signals_heard(self) -> Iterator[None]:
        """Lets Ctrl-C and SIGTERM call `stop` in the main thread; in any other nothing changes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, frame: FrameType | None) -> None:
            if not self.stop():
                raise KeyboardInterrupt

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """In a thread: hands on every line, at last None."""
        assert process.stdout is not None
        try:
            for line in process.stdout:
                self._said.put(msgspec.json.decode(line, type=ProcessLine))
        except Exception as error:  # noqa: BLE001 (raised again where the lines are read)
            self._said.put(error)
        self._said.put(None)

    def _hear(self, line: ProcessLine, blocks: IO[bytes]) -> None:
        if not self._listening:
            self._listening = True
            if self._stops_wanted:
                self._tell(b"stop\n")
        if line.event == "ready":
            self.cpu_to_ready_s = line.cpu_s
        elif line.event == "wanting":
            further = self.more() if self.more is not None and not self._stops_wanted else []
            self._tell(msgspec.json.encode(More(blocks=further)) + b"\n")
        elif line.event == "progress" and self.look is not None and not self._stops_wanted:
            if (enough := self.look()) is not None:
                self._tell(msgspec.json.encode(More(enough=enough)) + b"\n")
        elif line.block is not None:
            self.blocks.append(line.block)
            blocks.write(msgspec.json.encode(line.block) + b"\n")
            blocks.flush()
        elif line.event in ("fatal", "done"):
            self.stops = line.stops
            if line.failure is not None:
                self.fatal = line.failure.as_error()

    def _tell(self, line: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(OSError):  # it may be gone already
            os.write(process.stdin.fileno(), line)

    def _end(self, process: subprocess.Popen[bytes], reader: threading.Thread) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=self.job.grace_s + 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        process.stdout.close()
        if self.interrupted and not self.stops:
            self.stops = [INTERRUPTED]


def _death(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit {code}"


def _last_words(talk: IO[bytes]) -> str:
    talk.seek(0)
    lines = talk.read().decode("utf-8", "replace").strip().splitlines()
    return f": {lines[-1]}" if lines else ""
