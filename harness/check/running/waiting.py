"""How long each request is waited for: its full time, until one got no answer; then a few times what the others took.

A server that never answers some requests would otherwise take the full time for each of them. What is given up sooner proves nothing
(`given-up`, against `timeout` in the full time): the first one in full is the evidence. Pure.
"""

from __future__ import annotations

from collections.abc import Hashable
from statistics import median

from testcard.harness.check.running.transport import LateFailure

#: So many times the median of the answers of the same kind, and no fewer seconds.
TIMES = 5.0
LEAST_S = 10.0


class Waiting:
    """What one run has learnt about time. A `kind` is what takes about as long: an operation's requests, its polls, its downloads."""

    def __init__(self, full_s: float) -> None:
        self.full_s = full_s
        self.silences = 0
        self._took: dict[Hashable, list[float]] = {}

    def limit_s(self, kind: Hashable, *, full: bool = False) -> float:
        """Seconds that the next request of this kind is waited for. `full`: it is a first one, on which the rest hangs."""
        took = self._took.get(kind)
        if full or not self.silences or not took:
            return self.full_s
        return min(self.full_s, max(LEAST_S, TIMES * median(took)))

    def late(self, limit_s: float) -> LateFailure:
        """What it is called when a request that was waited for so long got no answer."""
        return "timeout" if limit_s >= self.full_s else "given-up"

    def answered(self, kind: Hashable, took_s: float) -> None:
        """One of this kind was carried out."""
        self._took.setdefault(kind, []).append(took_s)

    def unanswered(self) -> bool:
        """Counts one that got no answer in its time; whether it is the first."""
        self.silences += 1
        return self.silences == 1
