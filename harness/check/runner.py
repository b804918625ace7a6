"""Carries out a plan: sends what the budget allows, follows up on tasks and addresses, records everything in plan order.

A billed request is never sent again by itself; only one refused with 429 is, after the time that the answer names.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from testcard.harness.check.allowance import Admission, Allowance
from testcard.harness.check.budget import Budget, Reservation
from testcard.harness.check.later import still_to_live
from testcard.harness.check.plan import Plan, Step
from testcard.harness.check.polling import Polling
from testcard.harness.check.recording import Recorder, Recording
from testcard.harness.check.transport import Clock, Sent, send
from testcard.harness.errors import KeyRefused, TargetUnreachable
from testcard.harness.pricing import Pricing
from testcard.harness.rules.evidence import speaks_of_account
from testcard.harness.runs.records import Exchange
from testcard.harness.wire.billing import answer_cost, delivered
from testcard.harness.wire.decode import decode_body
from testcard.harness.wire.encode import fetch_request, fetchable, poll_request
from testcard.harness.wire.model import Answer, DeliveredPicture, WireRequest
from testcard.harness.wire.pictures import inspect, lenient_base64

FETCHES_PER_ANSWER = 4
ATTEMPTS_AT_429 = 3
PATIENCE_S = 60.0
UNREACHABLE_IN_A_ROW = 3


@dataclass
class Outcome:
    """How carrying out a plan ended. `not_sent` names each step that was left out, and why; `stopped` why all the rest was.

    `spared` names those that were left out because they could have shown nothing new; no verdict lacks them.
    """

    not_sent: dict[int, str] = field(default_factory=dict)
    spared: dict[int, str] = field(default_factory=dict)
    stopped: str | None = None
    interrupted: bool = False


@dataclass(frozen=True)
class Settings:
    """How a plan is carried out. `poll_interval_s` None takes the profile's."""

    base_url: str
    api_key: str | None
    concurrency: int = 8
    poll_interval_s: float | None = None
    patience_s: float = PATIENCE_S


#: Hears how many steps are done, what is spent, and how many answers were not as the contract has it at first sight.
Watch = Callable[[int, Budget, int], None]


class Runner:
    """One run of a plan against one target. `stop` may be called from a signal handler."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        *,
        client: httpx.AsyncClient,
        budget: Budget,
        pricing: Pricing,
        recorder: Recorder,
        clock: Clock,
        watch: Watch | None = None,
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.budget = budget
        self.outcome = Outcome()
        self._client = client
        self._pricing = pricing
        self._recorder = recorder
        self._recording = Recording(plan.provider, settings.api_key, recorder)
        self._clock = clock
        self._watch = watch
        self._allowance = Allowance(plan.steps)
        self._finished: dict[int, list[Exchange]] = {}
        self._next = 0
        self._done = 0
        self._surprises = 0
        self._silent: set[str] = set()
        self._endless: set[str] = set()
        self._submitted: dict[tuple[str, str], str] = {}
        self._answered = {(step.operation, step.after): asyncio.Event() for step in plan.steps if step.after is not None}
        self._unreachable = 0
        self._key_accepted = False
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

    async def run(self) -> Outcome:
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

    async def _all(self, steps: Sequence[Step]) -> None:
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

    async def _admitted(self, step: Step) -> Reservation | None:
        while len(self._tasks) >= self.settings.concurrency:
            await self._one_done()
        while True:
            reason = self.outcome.stopped
            if reason is None and step.operation in self._silent:
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

    def _spare(self, step: Step, admission: Admission) -> None:
        """Leaves a step out that is not worth its price, or not certain to be free any more."""
        if admission == "enough":
            self.outcome.spared[step.number] = "enough requests of its kind were carried out"
        else:
            where = self.outcome.spared if step.spare else self.outcome.not_sent
            where[step.number] = "the operation was billed for as many pictures as a check asks for"
        self._finish(step, [])

    async def _carry_out(self, step: Step, reservation: Reservation) -> None:
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
            records.append(self._settled(step, wire, sent, answer, reservation))
            self._let_go_on(step)
            self._judge_target(step, sent, answer)
            if answer is not None and sent.status is not None and 200 <= sent.status < 300:
                await self._follow_up(step, answer, records)
        except asyncio.CancelledError:
            if reservation.open:
                self.budget.keep(reservation)
                records.append(self._recording.record(step, step.id, wire, Sent(started_s, None, self._clock(), detail="interrupted")))
            raise
        finally:
            if reservation.open:
                self.budget.release(reservation)
            self._allowance.end(step, *_bill(step, records))
            self._finish(step, records)

    async def _sent_with_patience(self, step: Step, wire: WireRequest, records: list[Exchange]) -> Sent:
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

    def _judge_target(self, step: Step, sent: Sent, answer: Answer | None) -> None:
        """Ends the run where going on makes no sense: nothing there, key refused, account empty."""
        name, base_url = self.plan.provider.profile.name, self.settings.base_url
        if sent.failure in ("connect", "tls"):
            self._unreachable += 1
            if not self._key_accepted and self._done == 0:
                what = "the TLS handshake failed" if sent.failure == "tls" else "nothing answers"
                raise TargetUnreachable(
                    f"{what} at {base_url} ({sent.detail})",
                    hint="check the address and that the server runs: testcard mock starts one here",
                )
            if self._unreachable >= UNREACHABLE_IN_A_ROW:
                self.stop(f"{base_url} stopped answering")
            return
        self._unreachable = 0
        if step.first and sent.failure == "timeout":
            self._silent.add(step.operation)
        if step.key_use != "right" or sent.status is None or self.settings.api_key is None:
            return
        if sent.status in (401, 403) and not self._key_accepted and self._done == 0:
            variable = self.plan.provider.profile.auth.key_env
            raise KeyRefused(
                f"{name} at {base_url} refused the key with status {sent.status}",
                hint=f"set TESTCARD_API_KEY (or {variable}) to a valid key; for a server that needs none add --no-auth",
            )
        message = (answer.error_message or "") if answer is not None else ""
        if sent.status < 300:
            self._key_accepted = True
        elif sent.status == 402 or (sent.status == 403 and speaks_of_account(message)):
            self.stop(
                f"the account was refused with status {sent.status}"
                + (f": {self._recording.redact.text(message)[:160]}" if message else "")
            )
        elif sent.status == 401 and step.expects == "accept":
            self.stop("the key was accepted before and is refused now (status 401)")

    def _settled(self, step: Step, wire: WireRequest, sent: Sent, answer: Answer | None, reservation: Reservation) -> Exchange:
        """Books what the answer brought and returns its record."""
        images, cost, again = 0, None, False
        if sent.status is None:
            (self.budget.release if sent.failure in ("connect", "tls") else self.budget.keep)(reservation)
        elif sent.status >= 300 or answer is None:
            self.budget.release(reservation)
        elif self._led_to_the_same_task(step, answer):
            again, cost = True, 0.0
            self.budget.release(reservation)
        else:
            accepted_later = answer.task is not None
            came = len(answer.pictures)
            # Fewer pictures than were asked for may have been charged for all the same: nobody can tell.
            short = came < reservation.asked_images and answer.cost_usd is None
            images = reservation.images if accepted_later else max(came, reservation.asked_images)
            cost = reservation.cost_usd if accepted_later or short else self._cost(step, answer)
            self.budget.settle(reservation, images=images, cost_usd=cost)
        return self._recording.record(step, step.id, wire, sent, images=images, cost_usd=cost, free=again)

    def _led_to_the_same_task(self, step: Step, answer: Answer) -> bool:
        """Whether a submission was sent again under its idempotency key and led to no second task, so that there is nothing to pay."""
        protocol = self.plan.provider.profile.asynchronous
        key = protocol.idempotency_key(step.headers) if protocol is not None else None
        if key is None or answer.task is None or not answer.task.reference:
            return False
        before = self._submitted.get((step.operation, key))
        self._submitted[step.operation, key] = answer.task.reference
        return before == answer.task.reference

    def _cost(self, step: Step, answer: Answer) -> float | None:
        pictures = []
        for picture in answer.pictures:
            data = lenient_base64(picture.base64) if picture.base64 is not None else None
            if data is not None:
                pictures.append(inspect(data, pixels=False))
        billable = delivered(self.plan.provider, step.operation, step.terms, answer, pictures)
        return answer_cost(self._pricing.price(step.model, step.operation), answer, billable)

    async def _follow_up(self, step: Step, answer: Answer, records: list[Exchange]) -> None:
        pictures: Iterable[DeliveredPicture] = answer.pictures
        protocol = self.plan.provider.profile.asynchronous
        if answer.task is not None and protocol is not None:
            if step.operation == protocol.operation or protocol.idempotency_key(step.headers) is not None:
                return  # a poll, or a submission that is sent to be sent again: others are followed already
            pictures = await self._poll(step, answer, records)
        urls = dict.fromkeys(picture.url for picture in pictures if picture.url is not None and picture.base64 is None)
        parent = records[-1].id
        addresses = [url for url in urls if url is not None and fetchable(url)]
        for number, url in enumerate(addresses[:FETCHES_PER_ANSWER], 1):
            reservation = self._more()
            if reservation is None:
                return
            wire = fetch_request(url, step.operation)
            sent = await send(self._client, wire, self._clock, follow_redirects=True)
            self.budget.release(reservation)
            records.append(self._recording.record(step, f"{step.id}.f{number}", wire, sent, source="fetch", parent=parent, url=url))

    async def _look_again(self) -> None:
        """Fetches once more an address of each operation whose addresses have to last, and records it after everything else."""
        for step, earlier in still_to_live(self.plan, self._finished) if self.outcome.stopped is None else ():
            reservation = self._more()
            if reservation is None:
                return
            url = earlier.asked["url"]
            wire = fetch_request(url, step.operation)
            sent = await send(self._client, wire, self._clock, follow_redirects=True)
            self.budget.release(reservation)
            again = f"{earlier.id}.again"
            self._recorder.append(self._recording.record(step, again, wire, sent, source="fetch", parent=earlier.parent, url=url))

    async def _poll(self, step: Step, answer: Answer, records: list[Exchange]) -> Sequence[DeliveredPicture]:
        """Asks for the task until it has ended; its pictures, none when it ended otherwise or in no time."""
        provider = self.plan.provider
        protocol = provider.profile.asynchronous
        task = answer.task
        if protocol is None or task is None or (not task.reference and task.poll_url is None):
            return ()
        polling = Polling(
            protocol,
            interval_s=self.settings.poll_interval_s or protocol.poll_interval_s,
            now_s=self._clock(),
            # Of an operation whose tasks do not end, another one that does not would show nothing new.
            timeout_s=0.0 if step.operation in self._endless else None,
            look_again=step.source == "probe",
        )
        for number in itertools.count(1):
            reservation = self._more()
            if reservation is None:
                break
            wire = poll_request(
                provider,
                task.reference or None,
                base_url=self.settings.base_url,
                api_key=self.settings.api_key,
                poll_url=task.poll_url,
            )
            sent = await send(self._client, wire, self._clock)
            self.budget.release(reservation)
            records.append(
                self._recording.record(
                    step, f"{step.id}.p{number}", wire, sent, source="poll", parent=step.id, operation=protocol.operation
                )
            )
            wait_s = polling.next_in(self._clock(), self._recording.answer(protocol.operation, sent))
            if wait_s is None or self.outcome.stopped is not None:
                break
            await asyncio.sleep(wait_s)
        if polling.out_of_time:
            self._endless.add(step.operation)
        ended = polling.end.task if polling.end is not None else None
        if ended is not None and ended.state == protocol.states.get("completed"):
            return decode_body(provider, step.operation, ended.result).pictures
        return ()

    def _more(self) -> Reservation | None:
        """Room for one more request that costs nothing; None when the number of requests is spent or the run was interrupted."""
        return None if self.outcome.interrupted else self.budget.reserve(billed=False)

    async def _predecessor(self, step: Step) -> None:
        """Waits until the probe that has to be answered first was, if it was to be sent at all."""
        if step.after is not None and any(one.probe == step.after for one in self.plan.of(step.operation) if one.number < step.number):
            await self._answered[step.operation, step.after].wait()

    def _let_go_on(self, step: Step) -> None:
        waiting = self._answered.get((step.operation, step.probe))
        if waiting is not None:
            waiting.set()

    def _finish(self, step: Step, records: list[Exchange]) -> None:
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


def _bill(step: Step, records: Sequence[Exchange]) -> tuple[int, bool]:
    """For how many pictures (or answers of a chat) a step was billed, the worst where nobody knows; and whether it was carried out."""
    own = next((record for record in records if record.id == step.id), None)
    if own is None or (own.response is None and own.failure not in ("connect", "tls")):
        return step.weight, False
    billed = own.images if step.images else int(own.billed)
    return billed, own.response is not None and own.response.status < 300


def _surprising(step: Step, record: Exchange) -> bool:
    """Whether an answer looks wrong at first sight: a 5xx, a refusal of what must be accepted, or the other way round."""
    if record.id != step.id or record.response is None:
        return record.failure == "broken"
    status = record.response.status
    wanted = {"accept": (200, 300), "may-refuse": (200, 500), "refuse": (400, 500), "unauthorised": (400, 500)}[step.expects]
    return not wanted[0] <= status < wanted[1]
