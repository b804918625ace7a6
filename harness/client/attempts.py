"""The attempts of a call, sans IO: when a request is sent again, by a policy that its caller states, and what a client does around each attempt.

Whoever states no policy gets none. What may have been carried out, and so billed, is repeated only under an idempotency key that the provider
documents; what certainly was not (a 429, no connection) may be repeated without. Money is reserved before each attempt, hooks and callbacks
are told of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

from testcard.harness.client.errors import SpendingLimitReached
from testcard.harness.client.http import Exchanged
from testcard.harness.client.observing import ENDS, ClientEvent, EventKind, Hook
from testcard.harness.client.spending import SetAside, SpendingGuard
from testcard.harness.errors import UsageError
from testcard.harness.wire.billing import COST_NOTHING
from testcard.harness.wire.course import Done, End, Send, Steps, Together, Wait
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
#: How often a request looks whether it still has to wait for what the first one shows, in seconds.
_LOOK_S = 0.05
T = TypeVar("T")


def asked_to_wait_s(done: Done[Exchanged], header: str, now: Callable[[], datetime]) -> float | None:
    """What an answer asks to wait, in seconds: as it was decoded; else `header` as a date against `now`, for an answer without a Date."""
    if done.answer is not None and done.answer.retry_after_s is not None:
        return done.answer.retry_after_s
    return retry_after(done.reply.response().header(header), None, now()) if done.reply is not None else None


class Attendance:
    """Of one call: the number of its attempt, what is reserved for it, and whom to tell. `failures_cost`: by its price refusals are billed too."""

    def __init__(
        self,
        template: ClientEvent,
        hooks: tuple[Hook, ...],
        guard: SpendingGuard | None,
        worst_usd: float | None,
        *,
        failures_cost: bool = False,
    ) -> None:
        self._template = template
        self._hooks = hooks
        self._guard = guard
        self._worst_usd = worst_usd
        self._held: SetAside | None = None
        self._failures_cost = failures_cost
        self.sent_again = False
        self._began = False
        self.attempt = 1

    @property
    def is_heard(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._hooks)

    def tell(self, kind: EventKind, **facts: Any) -> None:
        """Calls every hook."""
        self._began = self._began and kind not in ENDS
        for hook in self._hooks:
            event = self._template
            hook(
                ClientEvent(
                    kind, event.call, event.provider, event.operation, event.model, event.size, **{"attempt": self.attempt, **facts}
                )
            )

    def begin(self) -> None:
        """Said once, before the first request; again where the call goes on after an end."""
        if not self._began:
            self._began = True
            self.tell("began")

    def accept(self, cost_usd: float | None) -> None:
        """Said of a submission that was taken, where this call made it; `cost_usd`: what it counts as at least, where its answer is the result."""
        if self._guard is not None and self._held is not None:
            self._guard.settle(self._held, cost_usd, whole=False)
        if self._began:
            self.tell("accepted")

    def heard_out(self, steps: Steps[T]) -> Steps[T]:
        """The same steps; hooks hear of it where they are not carried out to their end."""
        try:
            return (yield from steps)
        except BaseException:
            self.let_go()
            if self._began:
                self.tell("abandoned")
            raise

    def reserved(self) -> Steps[None]:
        """Before an attempt: what it can cost is set aside, once nothing has to be waited for; raises where it would go over a limit."""
        if self._guard is not None:
            event = self._template
            while (held := self._guard.reserve(self._worst_usd, (event.provider, event.operation, event.model))) is None:
                yield Wait(_LOOK_S)
            self._held = held

    def settle(self, cost_usd: float | None, *, whole: bool = True) -> None:
        """After an attempt: what it counts as, 0 where it was certainly not carried out, None where nobody knows; see `SpendingGuard.settle`."""
        if self._guard is not None and self._held is not None:
            self._guard.settle(self._held, cost_usd, whole=whole)
            self._held = None

    def let_go(self) -> None:
        """Nothing is under way any more, whether or not it is known yet what it cost."""
        if self._guard is not None and self._held is not None:
            self._guard.leave(self._held)

    @contextmanager
    def handed_over(self) -> Iterator[None]:
        """While whoever reads a stream has a piece of it: it may ask for something else first, which is not to wait for the rest."""
        self.let_go()
        yield
        if self._guard is not None and self._held is not None:
            self._guard.leave(self._held, awaited=True)

    def close(self, done: Done[Exchanged]) -> None:
        """An attempt has ended: what brought no answer is settled, an answer is by what it brought (`Call.result`)."""
        status = done.answer.status if done.answer is not None else 0
        if was_not_carried_out(done) and not (self._failures_cost and status >= 400 and status not in COST_NOTHING):
            self.settle(0.0)
        elif done.end is not End.ANSWERED:
            self.settle(None)


def attended(
    once: Callable[[], Steps[Done[Exchanged]]],
    attendance: Attendance,
    retry: Retry,
    pause_s: Callable[[Done[Exchanged], int, float], float | None],
) -> Steps[Done[Exchanged]]:
    """The course, again where the policy says so; `pause_s` gives the pause after an end, an attempt and the seconds since the first was sent."""
    began_s: float | None = None
    attendance.begin()
    while True:
        try:
            yield from attendance.reserved()
            done = yield from observed(once(), attendance)
        except SpendingLimitReached as error:
            attendance.tell("failed", error=error)
            raise
        attendance.close(done)
        if done.first is None or retry.attempts == 1:
            return done
        began_s = done.first.sent_s if began_s is None else began_s
        pause = pause_s(done, attendance.attempt, done.first.ended_s - began_s)
        if pause is None:
            return done
        attendance.tell("retrying", status=done.answer.status if done.answer is not None else None, seconds=pause)
        yield Wait(pause)
        attendance.attempt += 1


def was_not_carried_out(done: Done[Exchanged]) -> bool:
    """Whether nothing can have been billed: the request was refused as the caller's fault, or there was no connection."""
    if done.end is End.REFUSED:
        return done.answer is not None and 400 <= done.answer.status < 500
    return done.end is End.NO_ANSWER and done.reply is not None and done.reply.failure in ("connect", "tls")


def observed(steps: Steps[T], attendance: Attendance, on_poll: Callable[[Exchanged], None] | None = None) -> Steps[T]:
    """The same steps; hooks hear of each request, and `on_poll` gets each whole answer of a poll.

    What is sent again because its connection had died is reserved once more: both may have been billed.
    """
    heard: Any = None
    while True:
        try:
            step = steps.send(heard)
        except StopIteration as stop:
            end: T = stop.value
            return end
        if isinstance(step, Together) and (on_poll is not None or attendance.is_heard):
            heard = yield Together([observed(one, attendance) for one in step.courses])
            continue
        if not isinstance(step, Send):
            heard = yield step
            continue
        if step.fresh and step.purpose == "submit":
            attendance.settle(None)
            yield from attendance.reserved()
            attendance.sent_again = True
        if on_poll is None and not attendance.is_heard:
            heard = yield step
            continue
        facts = {"purpose": step.purpose, "method": step.request.method, "host": urlsplit(step.request.url).hostname}
        attendance.tell("sent", **facts)
        heard = yield step
        if isinstance(heard, Exchanged):
            attendance.tell("received", **facts, status=heard.status, seconds=heard.ended_s - heard.sent_s)
            if on_poll is not None and step.purpose == "poll" and heard.failure is None and heard.status is not None:
                on_poll(heard)


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """How a task is doing, as a poll said: the provider's word, the phase that it stands for, the share that is done where that is told.

    `phase` is queued, running, completed, failed, moderated or cancelled; None for a word that nobody knows. `elapsed_s`: seconds that the
    provider says it has taken.
    """

    state: str | None
    phase: str | None
    progress: float | None = None
    elapsed_s: float | None = None
