"""When a request is sent again: a policy that its caller states, pure but for the draw of the jitter.

Whoever states none gets none. What may have been carried out, and so billed, is repeated only under an idempotency key that the provider
documents; what certainly was not (a 429, no connection) may be repeated without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from testcard.harness.client.http import Exchanged
from testcard.harness.errors import UsageError
from testcard.harness.wire.course import Done, End
from testcard.harness.wire.decode import retry_after


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how long. `attempts` counts the first; times in seconds.

    Between attempts: what Retry-After says, never less; without one `base_s`, doubled each time up to `longest_s`. Either is lengthened by a
    random share of up to `jitter`, so that clients which failed together do not come back together. No attempt begins later than
    `deadline_s` after the first. `statuses` are those that are worth another attempt.
    """

    attempts: int = 1
    deadline_s: float = 120.0
    base_s: float = 0.5
    longest_s: float = 30.0
    jitter: float = 0.25
    statuses: tuple[int, ...] = (408, 429, 500, 502, 503, 504)

    def __post_init__(self) -> None:
        if self.attempts < 1 or not all(one >= 0 for one in (self.deadline_s, self.base_s, self.longest_s, self.jitter)):
            raise UsageError("a retry policy needs at least one attempt, and no time below 0", hint="Retry(attempts=3, deadline_s=60)")

    def pause_s(
        self, done: Done[Exchanged], *, attempt: int, keyed: bool, elapsed_s: float, now: Callable[[], datetime], header: str, draw: float
    ) -> float | None:
        """Seconds until the next attempt; None where there is none.

        `attempt` counts the one that ended so, from 1; `keyed`: whether an idempotency key makes a repetition harmless; `elapsed_s` since the
        first was sent; `now` for a Retry-After (in `header`) that is a date; `draw` from 0 to 1.
        """
        if attempt >= self.attempts:
            return None
        asked_s: float | None = None
        match done.end:
            case End.NO_ANSWER:
                failure = done.reply.failure if done.reply is not None else None
                if failure != "connect" and not (keyed and failure in ("timeout", "broken", "stale")):
                    return None
            case End.REFUSED:
                status = done.answer.status if done.answer is not None else 0
                if status not in self.statuses or not (status == 429 or keyed):
                    return None
                asked_s = asked_to_wait_s(done, header, now)
            case _:
                return None
        backoff_s = min(self.base_s * 2.0 ** (attempt - 1), self.longest_s)
        pause_s = (asked_s if asked_s is not None else backoff_s) * (1.0 + self.jitter * draw)
        return pause_s if elapsed_s + pause_s <= self.deadline_s else None


NO_RETRY = Retry()


def asked_to_wait_s(done: Done[Exchanged], header: str, now: Callable[[], datetime]) -> float | None:
    """What an answer asks to wait, in seconds: as it was decoded; else `header` as a date against `now`, for an answer without a Date."""
    if done.answer is not None and done.answer.retry_after_s is not None:
        return done.answer.retry_after_s
    return retry_after(done.reply.response().header(header), None, now()) if done.reply is not None else None
