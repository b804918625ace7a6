"""Ends waits that take too long. As `gevent.Timeout` does, at a fifth of its cost, for many waits that all may take equally long."""

from __future__ import annotations

import itertools
import time
from typing import Any

import gevent

clock = time.monotonic


class Expired(BaseException):
    """Raised in a greenlet whose time is up."""


class Deadlines:
    """Waits under way, each of which may take `limit_s` seconds. Oldest first, so one timer does for all of them."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._open: dict[int, tuple[float, Any]] = {}
        self._numbers = itertools.count()
        self._timer: Any = None

    def begin(self, now_s: float) -> int:
        """Begins a wait of the present greenlet; the number that ends it. `now_s`: of the load clock."""
        number = next(self._numbers)
        self._open[number] = (now_s + self.limit_s, gevent.getcurrent())
        if self._timer is None:
            self._arm(self.limit_s)
        return number

    def end(self, number: int) -> None:
        """Ends it: nothing is raised for it from now on."""
        self._open.pop(number, None)

    def close(self) -> None:
        """Lets go of the timer; waits under way go on without an end."""
        self._open.clear()
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _arm(self, after_s: float) -> None:
        self._timer = gevent.get_hub().loop.timer(max(after_s, 0.0))
        self._timer.start(self._due, update=True)

    def _due(self) -> None:
        """On the loop: raises in every greenlet whose time is up, and comes again for the next."""
        self._timer.close()
        self._timer = None
        while self._open:
            number, (until_s, greenlet) = next(iter(self._open.items()))
            left_s = until_s - clock()
            if left_s > 0:
                self._arm(left_s)
                return
            del self._open[number]
            greenlet.throw(Expired)
