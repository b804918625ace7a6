"""When to ask an accepted task again, and when to leave it. No sockets and no clock: times and answers are handed in."""

from __future__ import annotations

from testcard.harness.wire.model import Answer
from testcard.specs.profile import AsyncProtocol

#: Polls in a row that may fail (no answer, 429, 5xx, 404 right after the submission) before a task is given up.
MOST_MISSES = 8
LONGEST_INTERVAL_S = 10.0
_GROWTH = 1.5


class Polling:
    """Follows one task, poll by poll, from `now_s` for the time that the protocol gives it.

    A failed poll ends nothing: asking is free. `look_again` asks once more after the end, to see that it stays the end.
    """

    def __init__(
        self, protocol: AsyncProtocol, *, interval_s: float, now_s: float, timeout_s: float | None = None, look_again: bool
    ) -> None:
        self._protocol = protocol
        self._interval_s = interval_s
        self._until_s = now_s + (protocol.timeout_s if timeout_s is None else timeout_s)
        self._look_again = look_again
        self._misses = 0
        self.end: Answer | None = None
        self.out_of_time = False

    def next_in(self, now_s: float, polled: Answer | None) -> float | None:
        """Seconds until the next poll after this answer (None: there was none); None when there is no more to ask."""
        if self.end is not None:
            return None
        task = polled.task if polled is not None and 200 <= polled.status < 300 else None
        if task is not None and self._ended(task.state, task.result, task.error):
            self.end = polled
            return self._interval_s if self._look_again else None
        if now_s >= self._until_s:
            self.out_of_time = task is not None
            return None
        wait_s = self._interval_s
        self._interval_s = min(self._interval_s * _GROWTH, LONGEST_INTERVAL_S)
        if task is None or task.state is None:
            self._misses += 1
            if self._misses > MOST_MISSES:
                return None
            if polled is not None and polled.retry_after_s is not None:
                wait_s = max(wait_s, polled.retry_after_s)
        else:
            self._misses = 0
        return min(wait_s, self._until_s - now_s)

    def _ended(self, state: str | None, result: object, error: object) -> bool:
        """Whether the task is over: by a state that says so, or, where the word is not documented, because it brings something."""
        if self._protocol.ended(state):
            return True
        return state is not None and self._protocol.phase(state) is None and (result is not None or error is not None)
