"""Carries out a plan: sends what the budget allows, follows up on tasks and addresses, records every answer as soon as it is there.

A billed request is never sent again by itself; only one refused with 429 is, after the time that the answer names. Exchanges are
appended in the order in which they end, so that a kill loses nothing that was answered; their ids keep the order of the plan.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import httpx

from testcard.harness.check.generation.plan import Plan, PlanStep
from testcard.harness.check.judging.levels import Unsent
from testcard.harness.check.running.following import Following, Waiting, leading_on
from testcard.harness.check.running.recording import Recorder, Recording, StepRecords
from testcard.harness.check.running.target_health import INTERRUPTED, CheckSettings, PlanOutcome, TargetHealth
from testcard.harness.check.running.transport import Clock, HttpClient, Received, http_client, send
from testcard.harness.check.spending.allowance import MOST_IMAGES, Admission, Allowance
from testcard.harness.check.spending.budget import NO_LIMITS, Booking, CheckBudget, Reservation, SpendingLimits, bill
from testcard.harness.errors import TestcardError
from testcard.harness.events import Answered, Event, Noted, Sent, Spent, Stopped
from testcard.harness.intake.shown import mistake
from testcard.harness.pricing import Pricing
from testcard.harness.redaction import KEY_PLACEHOLDER
from testcard.harness.rules.evidence import after_redirects, by_parent
from testcard.harness.rules.promises.delivery import URL_LIFETIME
from testcard.harness.runs.records import Exchange, RuleFailure
from testcard.harness.stops import Stop, StopReason, sentence
from testcard.harness.wire.model import WireRequest

ATTEMPTS_AT_429 = 3
#: A person who sees nothing happen for so long is told what is waited for.
TOLD_AFTER_S = 15.0

#: Hears what happens, in the order in which it does.
Tell = Callable[[Event], None]


def nobody(event: Event) -> None:
    """Hears nothing."""


class Runner:
    """One run of a plan against one target. `stop` belongs into the thread of its event loop."""

    def __init__(
        self,
        plan: Plan,
        settings: CheckSettings,
        *,
        client: HttpClient,
        budget: CheckBudget,
        pricing: Pricing,
        recorder: Recorder,
        clock: Clock,
        tell: Tell = nobody,
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.budget = budget
        self.outcome = PlanOutcome()
        self._client = client
        self._recorder = recorder
        self._recording = recording = Recording(plan.provider, settings.api_key, recorder)
        self._clock = clock
        self._booking = Booking(plan.provider, budget, pricing)
        self._health = TargetHealth(plan.provider, settings, recording.redact, self.stop)
        self._waiting = Waiting(settings.timeout_s)
        self._following = Following(
            plan.provider,
            settings,
            client=client,
            budget=budget,
            recording=recording,
            clock=clock,
            outcome=self.outcome,
            wait=self._stopped_within,
            waiting=self._waiting,
        )
        self._tell = tell
        self._allowance = Allowance(plan.steps)
        self._finished: dict[int, list[Exchange]] = {}
        self._answered = {(step.operation, step.after): asyncio.Event() for step in plan.steps if step.after is not None}
        self._patience_s = settings.patience_s
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._told = False

    def stop(self, stop: Stop) -> None:
        """Sends nothing more; an interruption also gives up what is under way."""
        interrupted = stop.reason is StopReason.INTERRUPTED
        if self.outcome.stopped is None or interrupted:
            self.outcome.stopped = stop
            self._tell(Stopped(stop=stop))
        self._stopping.set()
        if interrupted:
            self.outcome.interrupted = True
            for task in self._tasks:
                task.cancel()

    async def run(self) -> PlanOutcome:
        """Carries the plan out. Raises `TargetUnreachable` or `KeyRefused` when the first requests show that nothing can work."""
        limit_s = self.settings.max_time_s
        timer = asyncio.get_running_loop().call_later(limit_s, self._out_of_time, limit_s) if limit_s is not None else None
        try:
            await self._everything()
        finally:
            if timer is not None:
                timer.cancel()
        return self.outcome

    async def _everything(self) -> None:
        steps = list(self.plan.steps)
        if steps:
            await self._all(steps[:1])
            first = sum(step.first for step in steps)
            await self._all(steps[1:first] if first else [])
            await self._all(steps[max(first, 1) :])
        await self._look_again()

    def _out_of_time(self, limit_s: float) -> None:
        """Sends nothing more and gives up what is under way; what is there is judged."""
        self.stop(Stop(reason=StopReason.TIME_SPENT, limit=self.settings.told_max_time_s or limit_s))
        for task in self._tasks:
            task.cancel()

    async def _all(self, steps: Sequence[PlanStep]) -> None:
        """Sends the steps in order, as many at a time as allowed; waits for those under way before saying that the budget is spent."""
        try:
            for step in steps:
                if step.alone:
                    await self._all_done()
                reservation = await self._admitted(step)
                if reservation is not None:
                    self._allowance.begin(step)
                    task = asyncio.create_task(self._carry_out(step, reservation))
                    self._tasks.add(task)
                if step.alone:
                    await self._all_done()
            await self._all_done()
        except BaseException:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._tasks.clear()
            raise

    async def _all_done(self) -> None:
        while self._tasks:
            await self._one_done()

    async def _one_done(self) -> None:
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self._tasks -= done
        # All are asked before one is raised: asyncio prints what nobody asked for.
        errors = [error for task in done if not task.cancelled() and (error := task.exception()) is not None]
        if errors:
            raise errors[0]

    async def _admitted(self, step: PlanStep) -> Reservation | None:
        while len(self._tasks) >= self.settings.concurrency:
            await self._one_done()
        while True:
            stop = self.outcome.stopped
            if stop is None:
                stop = self._health.of(step)
            if stop is None:
                admission = self._allowance.admission(step)
                if admission == "wait" or (step.billed and admission == "go" and self.budget.is_probing):
                    await self._one_done()
                    continue
                if admission != "go":
                    self._spare(step, admission)
                    return None
                reservation = self.budget.reserve(billed=step.billed, images=step.images, cost_usd=step.cost_usd, follow=step.leads_to)
                if reservation is not None:
                    return reservation
                if self._tasks:
                    await self._one_done()
                    continue
                stop = self.budget.refusal
            assert stop is not None
            self._allowance.skip(step)
            self._leave_out(step, stop)
            self._finish(step, [])
            return None

    def _spare(self, step: PlanStep, admission: Admission) -> None:
        """Leaves a step out that is not worth its price, or not certain to be free any more."""
        if admission == "enough":
            self.outcome.spared[step.number] = "enough of its kind"
        elif step.spare:
            self.outcome.spared[step.number] = "no room"
        else:
            self._leave_out(step, Stop(reason=StopReason.OPERATION_BILLED, target=step.operation, limit=MOST_IMAGES))
        self._finish(step, [])

    def _leave_out(self, step: PlanStep, stop: Stop) -> None:
        if step.spare:
            self.outcome.spared[step.number] = "stopped"
        else:
            self.outcome.not_sent[step.number] = stop

    async def _carry_out(self, step: PlanStep, reservation: Reservation) -> None:
        records = StepRecords(lambda record: self._keep(step, record))
        wire = step.wire(self.plan.provider, self.settings.base_url, self.settings.api_key)
        try:
            await self._predecessor(step)
        except asyncio.CancelledError:
            self._never_sent(step, reservation)
            raise
        if self.outcome.stopped is not None:
            self._never_sent(step, reservation)
            return
        started_s = self._clock()
        try:
            received = await self._with_patience(step, wire, records, reservation)
            if received is None:
                return
            answer = self._recording.answer(step.operation, received)
            status = answer.status if answer is not None else received.status
            booked = self._booking.settle(step, status, received.failure, answer, reservation)
            records.append(
                self._recording.record(step, step.id, wire, received, images=booked.images, cost_usd=booked.cost_usd, free=booked.again)
            )
            self._let_go_on(step)
            self._health.judge(step, received, answer)
            if answer is not None and 200 <= answer.status < 300:
                led_on, received, answer = leading_on(answer), None, None
                await self._following.follow_up(step, led_on, records)
        except asyncio.CancelledError:
            if reservation.open:
                self.budget.keep(reservation)
                why = "interrupted" if self.outcome.interrupted else "the time for the whole check was over"
                given_up = Received(started_s, None, self._clock(), detail=why)
                records.append(self._recording.record(step, step.id, wire, given_up))
            raise
        except (TestcardError, OSError):  # such as a key that is refused, a full disk
            raise
        except Exception as error:  # noqa: BLE001 (what one answer makes us raise ends no run)
            self._mistaken(step, reservation, wire, records, started_s, mistake(error))
        finally:
            if reservation.open:
                self.budget.release(reservation)
            self.budget.followed(reservation)
            self._allowance.end(step, *bill(step, records))
            self._finish(step, records)

    def _mistaken(
        self, step: PlanStep, reservation: Reservation, wire: WireRequest, records: list[Exchange], started_s: float, raised: str
    ) -> None:
        """An answer made Testcard itself raise: the request is booked and recorded, and the mistake is told at the end."""
        if reservation.open:
            self.budget.keep(reservation)
        if not any(record.id == step.id for record in records):
            detail = f"the answer could not be recorded, by a mistake of Testcard's own: {raised}"
            records.append(self._recording.record(step, step.id, wire, Received(started_s, None, self._clock(), detail=detail)))
        self.outcome.mistakes.append(RuleFailure(rule="", operation=step.operation, message=raised, exchanges=[step.id]))

    def _never_sent(self, step: PlanStep, reservation: Reservation) -> None:
        """The run was stopped while the step waited for another one's answer."""
        self.budget.cancel(reservation)
        self.budget.followed(reservation)
        self._leave_out(step, self.outcome.stopped or INTERRUPTED)
        self._allowance.end(step, 0, False)
        self._finish(step, [])

    async def _with_patience(self, step: PlanStep, wire: WireRequest, records: list[Exchange], reservation: Reservation) -> Received | None:
        """The answer; a 429 is waited out and asked again as long as patience and budget last, each time recorded.

        None where the run was stopped while a 429 was waited out: the request was refused, cost nothing, and is not sent again.
        """
        for attempt in range(1, ATTEMPTS_AT_429 + 1):
            self._tell(Sent(at_s=self._clock(), operation=step.operation, exchange=step.id, billed=step.billed))
            received = await self._sent(step, wire)
            if received.failure == "stale":
                again = await self._sent_again(step, wire, records, reservation, received)
                if again is None:
                    return None
                received = again
            answer = self._recording.answer(step.operation, received)
            if answer is None or answer.status != 429 or attempt == ATTEMPTS_AT_429 or self.outcome.stopped is not None:
                return received
            wait_s = answer.retry_after_s if answer.retry_after_s is not None else float(attempt)
            if wait_s > self._patience_s:
                return received
            more = self.budget.reserve(billed=False)
            if more is None:
                return received
            self._patience_s -= wait_s
            records.append(self._recording.record(step, f"{step.id}.r{attempt}", wire, received))
            try:
                await self._stopped_within(wait_s)
            except asyncio.CancelledError:
                self._call_off(step, more, reservation)
                raise
            if self.outcome.stopped is not None:
                self._call_off(step, more, reservation)
                return None
            self.budget.release(more)
        raise AssertionError("the loop returns")

    async def _sent_again(
        self, step: PlanStep, wire: WireRequest, records: list[Exchange], reservation: Reservation, died: Received
    ) -> Received | None:
        """The answer to a request that died on a kept connection, sent once more over a new one; None where that does not fit the budget.

        What it may have cost is booked either way. No verdict is founded on how it died: that was the connection's end.
        """
        if not self.budget.again(reservation):
            self.budget.keep(reservation)
            records.append(self._recording.record(step, step.id, wire, died))
            self._leave_out(step, self.budget.refusal or INTERRUPTED)
            return None
        records.append(self._recording.record(step, f"{step.id}.stale", wire, died))
        return await self._sent(step, wire, fresh=True)

    async def _sent(self, step: PlanStep, wire: WireRequest, *, fresh: bool = False) -> Received:
        """What came of the request within the time that it is waited for."""
        waiting = self._waiting
        limit_s = waiting.limit_s(step.operation, full=step.first)
        note = asyncio.get_running_loop().call_later(TOLD_AFTER_S, self._tell_of_waiting, step, limit_s)
        try:
            received = await send(self._client, wire, self._clock, fresh=fresh, timeout_s=limit_s, late=waiting.late(limit_s))
        finally:
            note.cancel()
        if received.failure in ("timeout", "given-up"):
            if waiting.unanswered():
                self._tell_of_silence(step, limit_s)
        elif received.failure is None and received.status is not None and received.status < 300:
            waiting.answered(step.operation, received.done_s - received.sent_s)
        return received

    def _tell_of_waiting(self, step: PlanStep, limit_s: float) -> None:
        if not self._told:
            self._told = True
            self._tell(
                Noted(sentence=f"no answer to {step.id} ({step.probe}) for {TOLD_AFTER_S:g} s; waiting up to {limit_s:g} s (--timeout)")
            )

    def _tell_of_silence(self, step: PlanStep, waited_s: float) -> None:
        """Says once that a request got no answer, and what the others can take at most."""
        limit_s = self._waiting.limit_s(step.operation)
        left = len(self.plan.steps) - len(self._finished)
        most_s = -(-left // self.settings.concurrency) * limit_s
        self._tell(
            Noted(
                sentence=f"no answer to {step.id} ({step.probe}) within {waited_s:g} s; from now on each request is waited for {limit_s:g} s, "
                f"which comes to {most_s:,.0f} s at most for the {left} that are left"
            )
        )

    def _call_off(self, step: PlanStep, again: Reservation, refused: Reservation) -> None:
        """Gives back what was set aside for a request that was refused with 429 and is not sent again."""
        self.budget.cancel(again)
        self.budget.release(refused)
        self._leave_out(step, self.outcome.stopped or INTERRUPTED)

    async def _stopped_within(self, seconds: float) -> None:
        """Waits, and no longer than until the run is stopped."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _look_again(self) -> None:
        """Fetches once more an address of each operation whose addresses have to last, after everything else."""
        for step, earlier in still_to_live(self.plan, self._finished) if self.outcome.stopped is None else ():
            records = await self._following.again(step, earlier)
            if not records:
                return
            for record in records:
                self._keep(step, record)

    async def _predecessor(self, step: PlanStep) -> None:
        """Waits until the probe that has to be answered first was, if it was to be sent at all."""
        if step.after is not None and any(one.probe == step.after for one in self.plan.of(step.operation) if one.number < step.number):
            await self._answered[step.operation, step.after].wait()

    def _let_go_on(self, step: PlanStep) -> None:
        waiting = self._answered.get((step.operation, step.probe))
        if waiting is not None:
            waiting.set()

    def _keep(self, step: PlanStep, record: Exchange) -> None:
        self._recorder.append(record)
        self._tell(Answered(at_s=record.done_s, exchange=record, surprising=int(_surprising(step, record))))

    def _finish(self, step: PlanStep, records: list[Exchange]) -> None:
        self._let_go_on(step)
        self._finished[step.number] = records
        self._tell(Spent(spend=self.budget.spend, done=len(self._finished), total=len(self.plan.steps)))


@dataclass(frozen=True)
class Carried:
    """A plan that was carried out: how it ended and what it cost; `started` is when, in Unix seconds."""

    outcome: PlanOutcome
    budget: CheckBudget
    started: float | None = None

    def not_sent(self, plan: Plan) -> dict[tuple[str, str], list[Unsent]]:
        """The requests that were not sent, by operation and rule that asked for them."""
        found: dict[tuple[str, str], list[Unsent]] = {}
        for step in plan.steps:
            stop = self.outcome.not_sent.get(step.number)
            if stop is not None:
                for pair in step.serves:
                    found.setdefault(pair, []).append(Unsent(sentence(stop), step.softest))  # type: ignore[arg-type] # a level by name
        return found


async def carry_out(
    plan: Plan,
    settings: CheckSettings,
    pricing: Pricing,
    recorder: Recorder,
    *,
    limits: SpendingLimits = NO_LIMITS,
    transport: httpx.AsyncBaseTransport | None = None,
    tell: Tell = nobody,
    started_as: Callable[[Runner], None] | None = None,
    timer: Clock = time.monotonic,
) -> Carried:
    """Sends the plan. `started_as` is given the runner, so that it can be stopped; `timer` gives the seconds by which answers are timed."""
    budget = CheckBudget(limits)
    start, started = timer(), time.time()
    async with http_client(settings.concurrency, transport, base_url=settings.base_url, live=settings.live) as client:
        runner = Runner(
            plan,
            settings,
            client=client,
            budget=budget,
            pricing=pricing,
            recorder=recorder,
            clock=lambda: timer() - start,
            tell=tell,
        )
        if started_as is not None:
            started_as(runner)
        outcome = await runner.run()
    return Carried(outcome, budget, started)


def _surprising(step: PlanStep, record: Exchange) -> bool:
    """Whether an answer looks wrong at first sight: a 5xx, a refusal of what must be accepted, or the other way round."""
    if record.id != step.id or record.response is None:
        return record.failure == "broken"
    status = record.response.status
    wanted = {"accept": (200, 300), "may-refuse": (200, 500), "refuse": (400, 500), "unauthorised": (400, 500)}[step.expects]
    return not wanted[0] <= status < wanted[1]


def still_to_live(plan: Plan, finished: Mapping[int, Sequence[Exchange]]) -> Iterator[tuple[PlanStep, Exchange]]:
    """For each operation whose addresses have to last, the first in plan order that gave its picture, with its step."""
    if URL_LIFETIME not in {rule.id for rule in plan.rules}:
        return
    for scope in plan.scopes:
        if scope.profile.response.url_lifetime_s is not None:
            found = _first_download((step, finished.get(step.number, ())) for step in plan.of(scope.operation_id))
            if found is not None:
                yield found


def _first_download(done: Iterable[tuple[PlanStep, Sequence[Exchange]]]) -> tuple[PlanStep, Exchange] | None:
    for step, records in done:
        led_to = by_parent(records)
        fetched = {record.id for record in records if record.source == "fetch"}
        for record in records:
            if record.source != "fetch" or record.parent in fetched or KEY_PLACEHOLDER in record.asked.get("url", ""):
                continue
            response = after_redirects(record, led_to).response
            if response is not None and response.status == 200 and response.complete:
                return step, record
    return None


__all__ = ["Carried", "CheckSettings", "PlanOutcome", "Runner", "Tell", "carry_out", "nobody"]
