"""Refuses requests that come faster than a limit, and says after how many seconds to come again."""

from __future__ import annotations

import re
from collections.abc import Callable

from testcard.specs.errors import UsageError

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


class RateLimit:
    """`COUNT/s`, `/m` or `/h`: COUNT may come at once, and then as many evenly over the unit. `clock` is monotonic seconds."""

    def __init__(self, text: str, clock: Callable[[], float]) -> None:
        found = re.fullmatch(r"(\d+)/([smh])", text.strip())
        if found is None or int(found[1]) < 1:
            raise UsageError(f"{text!r} is no rate limit", hint="write it as 5/s, 100/m or 1000/h")
        self._each_s = _UNITS[found[2]] / int(found[1])
        self._ahead_s = _UNITS[found[2]] - self._each_s
        self._clock = clock
        self._next_s = clock()

    def wait_s(self) -> float:
        """0 when the request may pass (it then counts), else the seconds until one may."""
        now = self._clock()
        wait = self._next_s - self._ahead_s - now
        if wait > 1e-9:
            return wait
        self._next_s = max(self._next_s, now) + self._each_s
        return 0.0
