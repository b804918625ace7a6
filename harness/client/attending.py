"""What a client does around a course, sans IO: reserves money before each attempt, attempts again as the policy says, tells hooks and callbacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from testcard.harness.client.errors import SpendingLimitReached
from testcard.harness.client.http import Exchanged
from testcard.harness.client.observing import ClientEvent, EventKind, Hook
from testcard.harness.client.retries import Retry
from testcard.harness.client.spending import SpendingGuard
from testcard.harness.wire.course import Done, End, Send, Steps, Together, Wait

T = TypeVar("T")


class Attendance:
    """Of one call: the number of its attempt, what is reserved for it, and whom to tell."""

    def __init__(self, template: ClientEvent, hooks: tuple[Hook, ...], guard: SpendingGuard | None, worst_usd: float | None) -> None:
        self._template = template
        self._hooks = hooks
        self._guard = guard
        self._worst_usd = worst_usd
        self._reserved: list[float] = []
        self._began = False
        self.attempt = 1

    @property
    def is_heard(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._hooks)

    def tell(self, kind: EventKind, **facts: Any) -> None:
        """Calls every hook."""
        for hook in self._hooks:
            event = self._template
            hook(
                ClientEvent(
                    kind, event.call, event.provider, event.operation, event.model, event.size, **{"attempt": self.attempt, **facts}
                )
            )

    def begin(self) -> None:
        """Said once, before the first request."""
        if not self._began:
            self._began = True
            self.tell("began")

    def reserve(self) -> None:
        """Before an attempt; raises where it would go over a limit."""
        if self._guard is not None:
            self._reserved.append(self._guard.reserve(self._worst_usd))

    def settle(self, cost_usd: float | None) -> None:
        """After an attempt: what it cost, 0 where it was certainly not carried out, None where nobody knows."""
        if self._guard is not None and self._reserved:
            self._guard.settle(self._reserved.pop(), cost_usd)


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
            attendance.reserve()
        except SpendingLimitReached as error:
            attendance.tell("failed", error=error)
            raise
        done = yield from observed(once(), attendance)
        if was_not_carried_out(done):
            attendance.settle(0.0)
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
    """The same steps; hooks hear of each request, and `on_poll` gets each whole answer of a poll."""
    if on_poll is None and not attendance.is_heard:
        return (yield from steps)
    heard: Any = None
    while True:
        try:
            step = steps.send(heard)
        except StopIteration as stop:
            end: T = stop.value
            return end
        if isinstance(step, Together):
            heard = yield Together([observed(one, attendance) for one in step.courses])
            continue
        if not isinstance(step, Send):
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
