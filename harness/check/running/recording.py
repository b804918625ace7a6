"""What happened to a request, as the run folder keeps it: without the key, with what the request was meant to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from testcard.harness.check.generation.plan import PlanStep
from testcard.harness.check.running.transport import Received
from testcard.harness.redaction import Redactor
from testcard.harness.runs.records import Body, Exchange, PlacedPicture, SeenResponse, SentRequest
from testcard.harness.wire.decode import decode
from testcard.harness.wire.model import Answer, WireRequest
from testcard.harness.wire.pictures import look, placed
from testcard.specs.loader import Provider


class Recorder(Protocol):
    """Where exchanges go: a run folder, or memory."""

    def body(self, content: bytes) -> Body:
        """The record of a body."""

    def append(self, exchange: Exchange) -> None:
        """Keeps one exchange."""


class StepRecords(list[Exchange]):
    """The exchanges of one step, each handed on as soon as it is there."""

    def __init__(self, keep: Callable[[Exchange], None]) -> None:
        super().__init__()
        self._keep = keep

    def append(self, record: Exchange, /) -> None:
        """Adds one exchange and hands it on."""
        self._keep(record)
        super().append(record)


class Recording:
    """Makes records of what was sent and seen. `redact` keeps the key out of them."""

    def __init__(self, provider: Provider, api_key: str | None, recorder: Recorder) -> None:
        self.redact = Redactor(api_key, provider.profile.auth)
        self._provider = provider
        self._recorder = recorder
        #: What was decoded last: it is asked for again when it is recorded.
        self._read: tuple[Received, tuple[str, bool], Answer] | None = None

    def answer(self, operation: str, sent: Received, *, poll: bool = False) -> Answer | None:
        """What the answer means, or None when there was none; `poll`: as one to the question how a task is doing."""
        if sent.status is None:
            return None
        if self._read is None or self._read[0] is not sent or self._read[1] != (operation, poll):
            self._read = sent, (operation, poll), decode(self._provider, operation, sent.response(), poll=poll)
        return self._read[2]

    def record(
        self,
        step: PlanStep,
        exchange_id: str,
        wire: WireRequest,
        sent: Received,
        *,
        source: str | None = None,
        parent: str | None = None,
        operation: str | None = None,
        url: str | None = None,
        images: int = 0,
        cost_usd: float | None = None,
        free: bool = False,
    ) -> Exchange:
        """The record of one exchange; with `source`, of a poll or a fetched address that the step led to.

        `free`: it cost nothing although it was carried out.
        """
        redact = self.redact
        seen = None
        if sent.status is not None:
            headers = list(sent.headers)
            body, echoed = redact.body(sent.body)
            seen = SeenResponse(
                status=sent.status,
                headers=redact.headers(headers),
                body=self._recorder.body(body),
                complete=sent.complete,
                key_echoed=echoed or redact.show_key(headers),
            )
        own = source is None
        answer = self.answer(operation or step.operation, sent) if own else None
        pictures = self._pictures(source, operation or step.operation, step.operation, sent)
        self._read = None  # a large one is not kept until another is read
        return Exchange(
            id=exchange_id,
            operation=operation or step.operation,
            probe=step.probe,
            source=source or step.source,  # type: ignore[arg-type] # steps hold only the record's words
            model=step.model,
            parent=parent,
            billed=step.billed and not free and answer is not None and answer.status < 300,
            asked=step.asked if own else ({"url": redact.text(url)} if url is not None else {}),
            case=step.case if own else None,
            request=SentRequest(
                method=wire.method,
                url=redact.text(wire.url),
                headers=redact.request_headers(wire.headers),
                body=self._recorder.body(redact.content(wire.body)),
            ),
            response=seen,
            failure=sent.failure,
            failure_detail=redact.text(sent.detail) if sent.detail is not None else None,
            sent_s=sent.sent_s,
            first_byte_s=sent.first_byte_s,
            done_s=sent.done_s,
            images=images,
            cost_usd=cost_usd,
            pictures=pictures,
        )

    def _pictures(self, source: str | None, operation: str, asked: str, sent: Received) -> list[PlacedPicture]:
        """Where the body holds pictures that the operation `asked` was asked for; `operation` is the one that answered."""
        if sent.status is None or not 200 <= sent.status < 300:
            return []
        if source == "fetch":
            return [PlacedPicture(place="", spelling="bytes")] if look(sent.body).format is not None else []
        answer = self.answer(operation, sent, poll=source == "poll")
        found = placed(self._provider, asked, answer) if answer is not None else ()
        return [PlacedPicture(place=place, spelling=spelling) for place, spelling in found]
