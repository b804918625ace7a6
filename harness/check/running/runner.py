"""Carries out a plan: sends what the budget allows, follows up on tasks and addresses, records everything in plan order.

A billed request is never sent again by itself; only one refused with 429 is, after the time that the answer names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

import httpx

from testcard.harness.check.generation.plan import Plan, PlanStep
from testcard.harness.check.running.following import Following
from testcard.harness.check.running.outcome import CheckSettings, PlanOutcome
from testcard.harness.check.running.recording import Recorder, Recording
from testcard.harness.check.running.target_health import TargetHealth
from testcard.harness.check.running.transport import Clock, Received, send
from testcard.harness.check.spending.allowance import Admission, Allowance
from testcard.harness.check.spending.budget import Booking, CheckBudget, Reservation, bill
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises.delivery import URL_LIFETIME
from testcard.harness.runs.folder import KEY_PLACEHOLDER
from testcard.harness.runs.records import Exchange
from testcard.harness.wire.model import WireRequest

ATTEMPTS_AT_429 = 3

#: Hears how many steps are done, what is spent, and how many answers were not as the contract has it at first sight.
Watch = Callable[[int, CheckBudget, int], None]


class Runner:
    """One run of a plan against one target. `stop` may be called from a signal handler."""

    def __init__(
        self,
        plan: Plan,
        settings: CheckSettings,
        *,
        client: httpx.AsyncClient,
        budget: CheckBudget,
        pricing: Pricing,
        recorder: Recorder,
        clock: Clock,
        watch: Watch | None = None,
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
        self._following = Following(
            plan.provider, settings, client=client, budget=budget, recording=recording, clock=clock, outcome=self.outcome
        )
        self._watch = watch
        self._allowance = Allowance(plan.steps)
        self._finished: dict[int, list[Exchange]] = {}
        self._next = 0
        self._done = 0
        self._surprises = 0
        self._answered = {(step.operation, step.after): asyncio.Event() for step in plan.steps if step.after is not None}
        self._patience_s = settings.patience_s
        self._tasks: set[asyncio.Task[None]] = set()

    def stop(self, reason: str, *, interrupted: bool = False) -> None:
        """Sends nothing more; `interrupted` also gives up what is under way."""
        if self.outcome.stopped is None:
            self.outcome.stopped = reason
        if interrupted:
            self.outcome.interrupted = True
            for task in self._tasks:
                task.cancel()

    async def run(self) -> PlanOutcome:
        """Carries the plan out. Raises `TargetUnreachable` or `KeyRefused` when the very first request shows that nothing can work."""
        steps = list(self.plan.steps)
        try:
            if steps:
                await self._all(steps[:1])
                first = sum(step.first for step in steps)
                await self._all(steps[1:first] if first else [])
                await self._all(steps[max(first, 1) :])
            self._flush(everything=True)
            await self._look_again()
        finally:
            self._flush(everything=True)
        return self.outcome

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
        for task in done:
            with suppress(asyncio.CancelledError):
                task.result()

    async def _admitted(self, step: PlanStep) -> Reservation | None:
        while len(self._tasks) >= self.settings.concurrency:
            await self._one_done()
        while True:
            reason = self.outcome.stopped
            if reason is None and step.operation in self._health.silent:
                reason = "the base request of the operation got no answer"
            if reason is None:
                admission = self._allowance.admission(step)
                if admission == "wait":
                    await self._one_done()
                    continue
                if admission != "go":
                    self._spare(step, admission)
                    return None
                reservation = self.budget.reserve(billed=step.billed, images=step.images, cost_usd=step.cost_usd)
                if reservation is not None:
                    return reservation
                if self._tasks:
                    await self._one_done()
                    continue
                reason = "the budget is spent"
            self._allowance.skip(step)
            (self.outcome.spared if step.spare else self.outcome.not_sent)[step.number] = reason
            self._finish(step, [])
            return None

    def _spare(self, step: PlanStep, admission: Admission) -> None:
        """Leaves a step out that is not worth its price, or not certain to be free any more."""
        if admission == "enough":
            self.outcome.spared[step.number] = "enough requests of its kind were carried out"
        else:
            where = self.outcome.spared if step.spare else self.outcome.not_sent
            where[step.number] = "the operation was billed for as many pictures as a check asks for"
        self._finish(step, [])

    async def _carry_out(self, step: PlanStep, reservation: Reservation) -> None:
        records: list[Exchange] = []
        wire = step.wire(self.plan.provider, self.settings.base_url, self.settings.api_key)
        try:
            await self._predecessor(step)
        except asyncio.CancelledError:
            self.budget.cancel(reservation)
            self._allowance.end(step, 0, False)
            self._finish(step, records)
            raise
        started_s = self._clock()
        try:
            sent = await self._sent_with_patience(step, wire, records)
            answer = self._recording.answer(step.operation, sent)
            booked = self._booking.settle(step, sent.status, sent.failure, answer, reservation)
            records.append(
                self._recording.record(step, step.id, wire, sent, images=booked.images, cost_usd=booked.cost_usd, free=booked.again)
            )
            self._let_go_on(step)
            self._health.judge(step, sent, answer, first=self._done == 0)
            if answer is not None and sent.status is not None and 200 <= sent.status < 300:
                await self._following.follow_up(step, answer, records)
        except asyncio.CancelledError:
            if reservation.open:
                self.budget.keep(reservation)
                records.append(self._recording.record(step, step.id, wire, Received(started_s, None, self._clock(), detail="interrupted")))
            raise
        finally:
            if reservation.open:
                self.budget.release(reservation)
            self._allowance.end(step, *bill(step, records))
            self._finish(step, records)

    async def _sent_with_patience(self, step: PlanStep, wire: WireRequest, records: list[Exchange]) -> Received:
        """The answer; a 429 is waited out and asked again as long as patience and budget last, each time recorded."""
        for attempt in range(1, ATTEMPTS_AT_429 + 1):
            sent = await send(self._client, wire, self._clock)
            if sent.status != 429 or attempt == ATTEMPTS_AT_429:
                return sent
            answer = self._recording.answer(step.operation, sent)
            wait_s = answer.retry_after_s if answer is not None and answer.retry_after_s is not None else float(attempt)
            if wait_s > self._patience_s:
                return sent
            more = self.budget.reserve(billed=False)
            if more is None:
                return sent
            self._patience_s -= wait_s
            records.append(self._recording.record(step, f"{step.id}.r{attempt}", wire, sent))
            self.budget.release(more)
            await asyncio.sleep(wait_s)
        raise AssertionError("the loop returns")

    async def _look_again(self) -> None:
        """Fetches once more an address of each operation whose addresses have to last, and records it after everything else."""
        for step, earlier in still_to_live(self.plan, self._finished) if self.outcome.stopped is None else ():
            record = await self._following.again(step, earlier)
            if record is None:
                return
            self._recorder.append(record)

    async def _predecessor(self, step: PlanStep) -> None:
        """Waits until the probe that has to be answered first was, if it was to be sent at all."""
        if step.after is not None and any(one.probe == step.after for one in self.plan.of(step.operation) if one.number < step.number):
            await self._answered[step.operation, step.after].wait()

    def _let_go_on(self, step: PlanStep) -> None:
        waiting = self._answered.get((step.operation, step.probe))
        if waiting is not None:
            waiting.set()

    def _finish(self, step: PlanStep, records: list[Exchange]) -> None:
        self._let_go_on(step)
        self._finished[step.number] = records
        self._done += bool(records)
        self._surprises += any(_surprising(step, record) for record in records)
        self._flush()
        if self._watch is not None:
            self._watch(len(self._finished), self.budget, self._surprises)

    def _flush(self, *, everything: bool = False) -> None:
        """Writes what is finished in the order of the plan; at the end also what stands behind a step that never finished."""
        steps = self.plan.steps
        while self._next < len(steps):
            records = self._finished.get(steps[self._next].number)
            if records is None:
                if not everything:
                    return
            else:
                for record in records:
                    self._recorder.append(record)
            self._next += 1


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
        for record in records:
            response = record.response
            whole = response is not None and response.status == 200 and response.complete
            if record.source == "fetch" and whole and KEY_PLACEHOLDER not in record.asked.get("url", ""):
                return step, record
    return None


__all__ = ["CheckSettings", "PlanOutcome", "Runner", "Watch"]
