"""What every process that puts on load has in common: how it is set up, and what it and whoever started it say to each other.

One JSON line each way: it is told its job or order first, then further blocks or anything else, which means stop. No word of it is
ever written to a file, because a job holds keys.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Literal

import msgspec

from testcard.benchmarks.load.tally import RunState
from testcard.benchmarks.plan.job import BlockJob
from testcard.harness.errors import Exit, TestcardError
from testcard.harness.runs.records import Block
from testcard.harness.stops import Stop

#: Seconds that a process goes on without the one that started it. Three of them in a row end within 5 s.
ORPHAN_S = 1.2
#: Numbers of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


class More(msgspec.Struct, frozen=True, kw_only=True):
    """A line that a load process is told: further blocks, or none: that was all; or that of a turn under way (`enough`) nothing more
    need be sent. Any line that is not one means stop.
    """

    blocks: list[BlockJob] = []
    enough: BlockJob | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What ends a run as an error, told across processes."""

    message: str
    hint: str | None = None
    exit_code: int = 4

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """An error as it is told: one of ours with its hint and code, any other as an internal one."""
        if isinstance(error, TestcardError):
            return cls(message=error.message, hint=error.hint, exit_code=int(error.exit_code))
        return cls(message=f"{type(error).__name__}: {error}")

    def as_error(self) -> TestcardError:
        """The error that it was."""
        error = TestcardError(self.message, hint=self.hint)
        error.exit_code = self.exit_code
        return error


class ProcessLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line that a process says: `started` (it hears further lines from now on), `ready`, `progress`, `block`, `wanting` (more
    blocks), `note`, `fatal` or `done` (both with why nothing more was sent, where that was early).
    """

    event: Literal["started", "ready", "progress", "block", "wanting", "note", "fatal", "done"]
    progress: RunState | None = None
    block: Block | None = None
    message: str | None = None
    failure: Failure | None = None
    stops: list[Stop] = []
    cpu_s: float | None = None


def prepare_process() -> None:
    """Asks the system for punctuality; leaves Ctrl-C to whoever started this process."""
    with suppress(OSError):
        # A generator that has to queue for the processor sends late. Where the system does not allow it, the lag is measured all the same.
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    _keep_memory()
    sys.setswitchinterval(0.0005)  # the judge's thread hands the interpreter over soon when a request falls due
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's to handle; it says stop
    _end_with_parent()


def _end_with_parent() -> None:
    """Ends this process `ORPHAN_S` after whoever started it died, whatever it is doing; until then it may write down what it has.

    On a thread of the system's, because a long judgement keeps the event loop, and with it the end of standard input, waiting.
    """
    from gevent import monkey

    parent, sleep = os.getppid(), monkey.get_original("time", "sleep")

    def watch() -> None:
        while os.getppid() == parent:
            sleep(0.2)
        sleep(ORPHAN_S)
        os._exit(Exit.INTERRUPTED)

    monkey.get_original("_thread", "start_new_thread")(watch, ())


def _keep_memory() -> None:
    """Lets glibc keep what was freed instead of handing it back to the system with every large answer.

    Judging an answer of 1.4 MB takes five blocks of that size; fetching their pages anew each time costs more than the judging.
    """
    with suppress(OSError, AttributeError):  # another C library: slower, and no other difference
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, 32 << 20), (_M_TRIM_THRESHOLD, 512 << 20)):
            mallopt(parameter, value)


def settle_down() -> None:
    """Makes the pauses rare in which nothing is sent."""
    gc.collect()
    gc.freeze()  # a full collection over everything imported takes tens of milliseconds


def say(line: ProcessLine) -> None:
    """One JSON line to the command's process; silence once that is gone."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def failed(error: BaseException) -> int:
    """Tells of the error that ends this process, and gives its exit code; shows where it was raised, where that is asked for."""
    failure = Failure.of(error)
    say(ProcessLine(event="fatal", failure=failure))
    if os.environ.get("TESTCARD_TRACEBACK") and not isinstance(error, TestcardError):
        traceback.print_exception(error)
    return failure.exit_code


def read_line() -> bytes:
    """The first line of standard input, and not a byte more: what follows it is a message of its own."""
    pieces = []
    while True:
        byte = os.read(0, 65536)
        pieces.append(byte)
        if not byte or byte.endswith(b"\n"):
            return b"".join(pieces)
