"""What an answer leads to, as a check carries its course out: every poll, redirect and download a request of the budget and a record.

How it goes on is the course's (`harness.wire.course`); none of it is billed.

How long each request is waited for: its full time, until one got no answer; then a few times what the others took.

A server that never answers some requests would otherwise take the full time for each of them. What is given up sooner proves nothing
(`given-up`, against `timeout` in the full time): the first one in full is the evidence. Pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from statistics import median
from typing import Any, TypeVar

from testcard.harness.check.generation.plan import PlanStep
from testcard.harness.check.running.recording import Recording
from testcard.harness.check.running.target_health import CheckSettings, PlanOutcome
from testcard.harness.check.running.transport import Clock, HttpClient, LateFailure, Received, send
from testcard.harness.check.spending.budget import CheckBudget, Reservation
from testcard.harness.runs.records import Exchange
from testcard.harness.wire.course import Conditions, Done, Download, End, Send, Steps, Wait, download, follow
from testcard.harness.wire.model import Answer
from testcard.specs.loader import Provider

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


T = TypeVar("T")

FETCHES_PER_ANSWER = 4


async def carried_out(
    steps: Steps[T], exchanged: Callable[[Send], Awaitable[Received | None]], waited: Callable[[float], Awaitable[float | None]]
) -> T:
    """The end of a course whose steps are carried out one after another."""
    heard: Any = None
    while True:
        try:
            step = steps.send(heard)
        except StopIteration as stop:
            end: T = stop.value
            return end
        match step:
            case Send():
                heard = await exchanged(step)
            case Wait():
                heard = await waited(step.seconds)
            case _:
                heard = [await carried_out(one, exchanged, waited) for one in step.courses]


def leading_on(answer: Answer) -> Answer:
    """What of a success can lead on: a large answer is not held in memory while what it leads to is waited for."""
    if answer.task is not None:
        return answer
    return replace(answer, json=None, text=None, pictures=tuple(one for one in answer.pictures if one.address is not None))


class Following:
    """Follows answers of one run for as long as its budget has requests; each poll and download is one of them.

    `wait` lets seconds pass, and fewer where the run is stopped meanwhile.
    """

    def __init__(
        self,
        provider: Provider,
        settings: CheckSettings,
        *,
        client: HttpClient,
        budget: CheckBudget,
        recording: Recording,
        clock: Clock,
        outcome: PlanOutcome,
        wait: Callable[[float], Awaitable[None]],
        waiting: Waiting,
    ) -> None:
        self.recording = recording
        self._provider = provider
        self._settings = settings
        self._client = client
        self._budget = budget
        self._clock = clock
        self._outcome = outcome
        self._wait = wait
        self._waiting = waiting
        self._endless: set[str] = set()

    async def follow_up(self, step: PlanStep, answer: Answer, records: list[Exchange]) -> None:
        """Follows a success to its pictures; what that takes is added to the records."""
        if answer.task is not None and self._is_followed_already(step):
            return
        trail = _Trail(self, step, records, step.id, records[-1].id)
        done: Done[Received] = await carried_out(follow(self._conditions(step), answer, records[-1].done_s), trail.exchanged, self.waited)
        if done.end in (End.TASK_UNENDED, End.TASK_LOST):
            self._endless.add(step.operation)

    def _is_followed_already(self, step: PlanStep) -> bool:
        """Whether a task is another step's to follow: that of a poll, or of a submission that is sent to be sent again."""
        protocol = self._provider.protocol(step.operation)
        return protocol is not None and (step.operation in protocol.operations or protocol.idempotency_key(step.headers) is not None)

    async def again(self, step: PlanStep, earlier: Exchange) -> list[Exchange]:
        """The address of an earlier download fetched once more, over its redirects; empty when no request is left."""
        records: list[Exchange] = []
        trail = _Trail(self, step, records, f"{earlier.id}.again", earlier.parent)
        steps: Steps[Download[Received]] = download(self._conditions(step), earlier.asked["url"], number=0)
        await carried_out(steps, trail.exchanged, self.waited)
        return records

    def _conditions(self, step: PlanStep) -> Conditions:
        settings = self._settings
        return Conditions(
            self._provider,
            step.operation,
            settings.base_url,
            settings.api_key,
            live=settings.live,
            interval_s=settings.poll_interval_s,
            # Of an operation whose tasks do not end, another one that does not would show nothing new.
            limit_s=0.0 if step.operation in self._endless else None,
            look_again=step.source == "probe",
            most_downloads=FETCHES_PER_ANSWER,
        )

    async def sent(self, step: Send) -> Received | None:
        """What came of a request that costs nothing; None when the number of requests is spent or the run was interrupted."""
        reservation = self._more(download=step.purpose == "download")
        if reservation is None:
            return None
        kind, waiting = (step.request.operation, step.purpose), self._waiting
        limit_s = waiting.limit_s(kind)
        found = await send(self._client, step.request, self._clock, fresh=step.fresh, timeout_s=limit_s, late=waiting.late(limit_s))
        if found.failure is None:
            waiting.answered(kind, found.done_s - found.sent_s)
        elif found.failure in ("timeout", "given-up"):
            waiting.unanswered()
        self._budget.release(reservation)
        return found

    async def waited(self, seconds: float) -> float | None:
        """Waits, and tells the time; None when nothing more is to be sent."""
        if self._outcome.stopped is None:
            await self._wait(seconds)
        return self._clock() if self._outcome.stopped is None else None

    def _more(self, *, download: bool) -> Reservation | None:
        return None if self._outcome.interrupted else self._budget.reserve(billed=False, following=True, download=download)


class _Trail:
    """What one answer leads to, each request an exchange of its own: a poll belongs to the answer, a redirect to what it redirects."""

    def __init__(self, following: Following, step: PlanStep, records: list[Exchange], name: str, parent: str | None) -> None:
        self._following = following
        self._step = step
        self._records = records
        self._name = name
        self._answer = parent
        self._carrier = parent

    async def exchanged(self, send: Send) -> Received | None:
        """Sends, and records what came of it."""
        sent = await self._following.sent(send)
        if sent is None:
            return None
        if send.purpose == "download":
            self._records.append(self._download(send, sent))
        else:
            record = self._poll(send, sent)
            if sent.failure != "stale":
                self._carrier = record.id
            self._records.append(record)
        return sent

    def _poll(self, send: Send, sent: Received) -> Exchange:
        name = f"{self._name}.p{send.number}" if send.purpose == "poll" else f"{self._name}.result"
        return self._following.recording.record(
            self._step,
            _named(name, send, sent),
            send.request,
            sent,
            source="poll",
            parent=self._answer,
            operation=send.request.operation,
        )

    def _download(self, send: Send, sent: Received) -> Exchange:
        name = f"{self._name}.f{send.number}" if send.number else self._name
        return self._following.recording.record(
            self._step,
            _named(name, send, sent),
            send.request,
            sent,
            source="fetch",
            parent=_hop(name, send.hop - 1) if send.hop else self._carrier,
            url=send.request.url,
        )


def _named(name: str, send: Send, sent: Received) -> str:
    """An exchange's id; one that died on a kept connection has one of its own, for it is sent once more."""
    return _hop(name, send.hop) + (".stale" if sent.failure == "stale" else "")


def _hop(name: str, hop: int) -> str:
    return f"{name}.{hop}" if hop else name
