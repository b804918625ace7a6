"""Waits until a moment of the load clock, to some 0.1 ms.

gevent's loop rounds its timers up to whole milliseconds, which would make every request of an open loop half of one late. A
timer of the system (timerfd) is something to read from, and wakes the loop when it is due. Elsewhere than on Linux: gevent's.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from contextlib import suppress
from typing import Any

import gevent
import gevent.event

clock = time.monotonic
# Numbers of sys/timerfd.h.
_CLOCK_MONOTONIC, _ABSOLUTE, _FLAGS = 1, 1, os.O_NONBLOCK | os.O_CLOEXEC if hasattr(os, "O_NONBLOCK") else 0
_READ = 1


class _Setting(ctypes.Structure):
    """`struct itimerspec`: the interval, and the first time, each in seconds and nanoseconds."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


class Alarm:
    """For one greenlet that waits, and others that may wake it."""

    def __init__(self) -> None:
        self._rung = gevent.event.Event()
        self._libc: Any = None
        self._number = -1
        self._watcher: Any = None
        if sys.platform == "linux":
            with suppress(OSError, AttributeError):
                self._libc = ctypes.CDLL(None, use_errno=True)
                self._number = self._libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
        if self._number >= 0:
            self._setting = _Setting()
            self._watcher = gevent.get_hub().loop.io(self._number, _READ)

    def wait_until(self, moment_s: float) -> None:
        """Until then, or until it is rung."""
        if self._watcher is None:
            self._rung.clear()
            self._rung.wait(max(0.0, moment_s - clock()))
            return
        self._set(moment_s)
        gevent.get_hub().wait(self._watcher)
        with suppress(BlockingIOError):
            os.read(self._number, 8)

    def ring(self) -> None:
        """Wakes who waits."""
        self._rung.set()
        if self._watcher is not None:
            self._set(0.0)

    def close(self) -> None:
        """Lets go of the timer."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
            os.close(self._number)

    def _set(self, moment_s: float) -> None:
        whole = int(moment_s)
        self._setting.at_s = whole
        self._setting.at_ns = max(1, int((moment_s - whole) * 1e9))  # nothing at all would switch it off
        self._libc.timerfd_settime(self._number, _ABSOLUTE, ctypes.byref(self._setting), None)
