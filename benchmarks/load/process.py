"""What every process that puts on load has in common: how it is set up, hears its first line, and talks to whoever started it."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from contextlib import suppress

import msgspec

from testcard.benchmarks.plan.job import Event

#: Numbers of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def prepare_process() -> None:
    """Asks the system for punctuality; leaves Ctrl-C to whoever started this process."""
    with suppress(OSError):
        # A generator that has to queue for the processor sends late. Where the system does not allow it, the lag is measured all the same.
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    _keep_memory()
    sys.setswitchinterval(0.0005)  # the judge's thread hands the interpreter over soon when a request falls due
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the command's to handle; it says stop


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


def say(event: Event) -> None:
    """One JSON line to the command's process; silence once that is gone."""
    try:
        sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_line() -> bytes:
    """The first line of standard input, and not a byte more: what follows it is a message of its own."""
    pieces = []
    while True:
        byte = os.read(0, 65536)
        pieces.append(byte)
        if not byte or byte.endswith(b"\n"):
            return b"".join(pieces)
