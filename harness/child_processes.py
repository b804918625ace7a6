"""Testcard's own commands as processes of their own: started, listened to, stopped all at once, and waited for, by one supervisor.

Own processes, because the load generator patches its process and because a check that dies must not take the rest along.
The supervisor lives in one event loop and one thread: nothing can be started between the moment at which everything that
runs is told to stop and the moment at which nothing more is started, and no error can get lost in a thread.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from testcard.harness.errors import Exit
from testcard.harness.progress import leave_terminal

State = Literal["waiting", "running", "done", "left out"]
#: How long children may take to write down what they have when they are told to stop.
INTERRUPT_GRACE_S = 30.0
#: With this variable a command takes the end of its standard input for Ctrl-C: whoever started it is gone, however that came.
STOP_WITH_STDIN = "TESTCARD_STOP_WITH_STDIN"
#: What GitHub Actions is told of an evaluation, the evaluation tells; its children do not.
_FOR_THE_PARENT = ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class ChildCommand:
    """One command: how it is called and how far it is. `exit_code` is None until it has ended; a signal's is negative."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    without: Sequence[str] = ()  # variables of ours that the child must not see
    state: State = "waiting"
    done: float = 0.0
    total: float | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    started_s: float | None = None
    ended_s: float | None = None
    exit_code: int | None = None
    talk: deque[str] = field(default_factory=lambda: deque(maxlen=200))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the command began, or that it took."""
        if self.started_s is None:
            return 0.0
        return (self.ended_s or time.monotonic()) - self.started_s

    @property
    def result(self) -> Exit | None:
        """How it ended as one of the documented codes: any other, and a signal, is an internal error. None: it has not ended."""
        if self.exit_code is None:
            return None
        return Exit(self.exit_code) if self.exit_code in list(Exit) else Exit.INTERNAL

    @property
    def words(self) -> str:
        """How it ended, for a person; empty before that."""
        if self.exit_code is None or self.result is None:
            return ""
        if self.exit_code < 0:
            stopped = -self.exit_code in (signal.SIGINT, signal.SIGTERM)  # before it could say so itself
            return Exit.INTERRUPTED.words if stopped else f"killed by {_signal_name(-self.exit_code)}"
        return self.result.words if self.exit_code == self.result else f"ended with the unknown code {self.exit_code}"

    def hear(self, line: str) -> None:
        """Takes one line of the child's stderr: progress as `harness/progress.py` writes it, else talk that is kept."""
        if line.startswith('{"testcard.progress"'):
            try:
                record = json.loads(line)["testcard.progress"]
                self.done, self.total, self.fields = record.get("done", 0), record.get("total"), record.get("fields", {})
            except (ValueError, KeyError, AttributeError):
                return
        elif line.strip():
            self.talk.append(line.rstrip())

    def _begin(self) -> None:
        self.state, self.started_s = "running", time.monotonic()

    def _end(self, exit_code: int) -> None:
        self.state, self.ended_s, self.exit_code = "done", time.monotonic(), exit_code


class ChildProcesses:
    """Runs commands for as long as its block lasts (`async with`, in the main thread).

    Ctrl-C, SIGTERM and a closed terminal are passed on to everything that runs, at once, and nothing more is started; one that
    does not end within `grace_s` is killed, as all are at the second Ctrl-C. When the block is left, nothing runs any more.
    `changed` is called when a command starts and when it has ended, `interrupted` with the number of times a stop was asked for.
    """

    def __init__(
        self,
        changed: Callable[[ChildCommand], None] = lambda child: None,
        interrupted: Callable[[int], None] = lambda times: None,
        grace_s: float = INTERRUPT_GRACE_S,
    ) -> None:
        self._changed = changed
        self._interrupted = interrupted
        self._grace_s = grace_s
        self._running: dict[asyncio.subprocess.Process, ChildCommand] = {}
        self._stops = 0
        self._signals = _heard(self.stop)

    @property
    def stopping(self) -> bool:
        """Whether somebody asked for a stop; nothing is started any more."""
        return self._stops > 0

    async def __aenter__(self) -> Self:
        self._signals.__enter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            if self._running:  # only after an error of ours: what the children have is paid for, so they may write it down
                if not self.stopping:
                    self.stop()
                await asyncio.gather(*(process.wait() for process in self._running))
        finally:
            self._signals.__exit__(None, None, None)

    async def run(self, children: Sequence[ChildCommand], at_once: int = 1) -> None:
        """Runs the commands in order, at most `at_once` at a time, until all have ended; those that a stop overtakes are left out.

        A command that cannot be started ends with `Exit.INTERNAL` and says why in its talk.
        """
        waiting = iter(children)  # shared by the workers: each takes the next one

        async def work() -> None:
            for child in waiting:
                if self.stopping:
                    child.state = "left out"
                else:
                    await self._carry_out(child)

        workers = [asyncio.create_task(work()) for _ in range(at_once)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()

    def stop(self) -> None:
        """Tells every running child to stop, as Ctrl-C does; the second time they are killed."""
        self._stops += 1
        self._interrupted(self._stops)
        if self._stops > 1:
            self._kill()
            return
        for process in self._running:
            _tell(process)
        asyncio.get_running_loop().call_later(self._grace_s, self._kill)

    async def _carry_out(self, child: ChildCommand) -> None:
        child._begin()
        self._changed(child)
        try:
            process = await self._start(child)
        except OSError as error:
            child.talk.append(f"it could not be started: {error.strerror or error}")
            child._end(Exit.INTERNAL)
        else:
            self._running[process] = child
            if self.stopping:  # while it was being started
                _tell(process)
            assert process.stderr is not None
            async for line in _lines(process.stderr):
                child.hear(line)
            child._end(await process.wait())
            del self._running[process]
        self._changed(child)

    async def _start(self, child: ChildCommand) -> asyncio.subprocess.Process:
        inherited = {name: value for name, value in os.environ.items() if name not in (*child.without, *_FOR_THE_PARENT)}
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "testcard.harness.cli", *child.arguments),
            stdin=asyncio.subprocess.PIPE,  # never written to; it closes when this process dies
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**inherited, **child.environment, "TESTCARD_PROGRESS": "json", "NO_COLOR": "1", "COLUMNS": "160", STOP_WITH_STDIN: "1"},
            start_new_session=True,  # Ctrl-C on the terminal reaches the parent alone, which passes it on exactly once
        )

    def _kill(self) -> None:
        for process in self._running:
            if process.returncode is None:
                process.kill()


def usable(child: ChildCommand) -> bool:
    """Whether a check that ended like this saw its target work, so that a benchmark of it makes sense."""
    return child.result in (Exit.PASS, Exit.GATE_FAILED, Exit.INCONCLUSIVE)


def is_run(folder: Path) -> bool:
    """Whether a child left a run folder behind."""
    return (folder / "run.json").is_file()


def _tell(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGINT)


@contextmanager
def _heard(stop: Callable[[], None]) -> Iterator[None]:
    """While the block runs, the signals that mean stop call `stop` from the event loop; those that are ignored stay ignored."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heard:
        loop.add_signal_handler(number, partial(_hung_up, stop) if number == signal.SIGHUP else stop)
    try:
        yield
    finally:
        for number in heard:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


def _hung_up(stop: Callable[[], None]) -> None:
    leave_terminal()
    stop()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """The lines of a stream, however long they are."""
    rest = b""
    while chunk := await stream.read(65536):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
