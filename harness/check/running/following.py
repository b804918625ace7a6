"""What an answer leads to: polls of the task that it accepted, and downloads from the addresses that it names. None of it is billed."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence

import httpx

from testcard.harness.check.generation.plan import PlanStep
from testcard.harness.check.running.outcome import CheckSettings, PlanOutcome
from testcard.harness.check.running.polling import Polling
from testcard.harness.check.running.recording import Recording
from testcard.harness.check.running.transport import Clock, send
from testcard.harness.check.spending.budget import CheckBudget, Reservation
from testcard.harness.runs.records import Exchange
from testcard.harness.wire.decode import decode_body
from testcard.harness.wire.encode import fetch_request, poll_request
from testcard.harness.wire.model import Answer, AsyncTask, DeliveredPicture, WireRequest
from testcard.specs.loader import Provider

FETCHES_PER_ANSWER = 4


class Following:
    """Follows answers of one run for as long as its budget has requests; each poll and download is one of them."""

    def __init__(
        self,
        provider: Provider,
        settings: CheckSettings,
        *,
        client: httpx.AsyncClient,
        budget: CheckBudget,
        recording: Recording,
        clock: Clock,
        outcome: PlanOutcome,
    ) -> None:
        self._provider = provider
        self._settings = settings
        self._client = client
        self._budget = budget
        self._recording = recording
        self._clock = clock
        self._outcome = outcome
        self._endless: set[str] = set()

    async def follow_up(self, step: PlanStep, answer: Answer, records: list[Exchange]) -> None:
        """Follows a success to its pictures; what that takes is added to the records."""
        pictures: Iterable[DeliveredPicture] = answer.pictures
        protocol = self._provider.profile.asynchronous
        if answer.task is not None and protocol is not None:
            if step.operation == protocol.operation or protocol.idempotency_key(step.headers) is not None:
                return  # a poll, or a submission that is sent to be sent again: others are followed already
            pictures = await self._poll(step, answer, records)
        urls = dict.fromkeys(picture.url for picture in pictures if picture.url is not None and picture.base64 is None)
        parent = records[-1].id
        addresses = [url for url in urls if url is not None and self._settings.may_ask(url)]
        for number, url in enumerate(addresses[:FETCHES_PER_ANSWER], 1):
            record = await self._download(step, url, f"{step.id}.f{number}", parent)
            if record is None:
                return
            records.append(record)

    async def again(self, step: PlanStep, earlier: Exchange) -> Exchange | None:
        """The address of an earlier download fetched once more; None when no request is left."""
        url = earlier.asked["url"]
        return await self._download(step, url, f"{earlier.id}.again", earlier.parent)

    async def _download(self, step: PlanStep, url: str, exchange_id: str, parent: str | None) -> Exchange | None:
        reservation = self._more()
        if reservation is None:
            return None
        wire = fetch_request(url, step.operation)
        sent = await send(self._client, wire, self._clock, may_go_on=self._settings.may_ask)
        self._budget.release(reservation)
        return self._recording.record(step, exchange_id, wire, sent, source="fetch", parent=parent, url=url)

    async def _poll(self, step: PlanStep, answer: Answer, records: list[Exchange]) -> Sequence[DeliveredPicture]:
        """Asks for the task until it has ended; its pictures, none when it ended otherwise or in no time."""
        provider = self._provider
        protocol = provider.profile.asynchronous
        task = answer.task
        if protocol is None or task is None or (not task.reference and task.poll_url is None):
            return ()
        polling = Polling(
            protocol,
            interval_s=self._settings.poll_interval_s or protocol.poll_interval_s,
            now_s=self._clock(),
            # Of an operation whose tasks do not end, another one that does not would show nothing new.
            timeout_s=0.0 if step.operation in self._endless else None,
            look_again=step.source == "probe",
        )
        wire = self._poll_request(task)
        if wire is None:
            return ()
        for number in itertools.count(1):
            reservation = self._more()
            if reservation is None:
                break
            sent = await send(self._client, wire, self._clock)
            self._budget.release(reservation)
            records.append(
                self._recording.record(
                    step, f"{step.id}.p{number}", wire, sent, source="poll", parent=step.id, operation=protocol.operation
                )
            )
            wait_s = polling.next_in(self._clock(), self._recording.answer(protocol.operation or step.operation, sent))
            if wait_s is None or self._outcome.stopped is not None:
                break
            await asyncio.sleep(wait_s)
        if polling.out_of_time:
            self._endless.add(step.operation)
        ended = polling.end.task if polling.end is not None else None
        if ended is not None and protocol.phase(ended.state) == "completed":
            return decode_body(provider, step.operation, ended.result).pictures
        return ()

    def _poll_request(self, task: AsyncTask) -> WireRequest | None:
        """The request that asks for the task; None where the address that the answer names for it must not be asked."""
        settings = self._settings
        try:
            request = poll_request(
                self._provider, task.reference or None, base_url=settings.base_url, api_key=settings.api_key, poll_url=task.poll_url
            )
        except ValueError:
            return None
        return request if settings.may_ask(request.url) else None

    def _more(self) -> Reservation | None:
        """Room for one more request that costs nothing; None when the number of requests is spent or the run was interrupted."""
        return None if self._outcome.interrupted else self._budget.reserve(billed=False)
