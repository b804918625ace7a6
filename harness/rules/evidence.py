"""What a rule sees: recorded exchanges with their answers decoded and their pictures looked at. Built from records alone,
so a run judged while it happens and a run judged again from its folder give the same verdicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from testcard.harness.runs.records import Body, Case, Exchange
from testcard.harness.wire.addresses import absolute, fetchable, host_of, may_ask, redirected
from testcard.harness.wire.decode import decode, decode_body, message_anywhere
from testcard.harness.wire.model import Answer, AsyncTask, DeliveredPicture, PictureInfo, WireResponse
from testcard.harness.wire.pictures import inspect, lenient_base64
from testcard.specs.loader import Provider

BytesOf = Callable[[Body], bytes]
Inspect = Callable[[bytes], PictureInfo]
_ACCOUNT = re.compile(r"quota|balance|credit|billing|payment|insufficient|suspend|account|subscription", re.IGNORECASE)
#: What servers call an error in a body that holds nothing else.
_ERROR_NAMES = ("error", "errors", "detail", "message")


def speaks_of_account(message: str | None) -> bool:
    """Whether an error message is about the account that pays, and so about every request."""
    return message is not None and _ACCOUNT.search(message) is not None


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """One picture of an answer. `info` is None when there was no picture to look at: then `missing` says why.

    `target_fault`: no client can make a picture of it (base64 that is none); what is wrong with an address is told by rules
    about addresses. `downloads` are the times its address was fetched, the first one first; `data` gives its bytes. `withheld`:
    its address, or where that leads, was not asked, because it lies off this machine and the check was not live.
    """

    picture: DeliveredPicture
    info: PictureInfo | None
    missing: str | None = None
    target_fault: bool = False
    withheld: bool = False
    downloads: tuple[Exchange, ...] = ()
    data: Callable[[], bytes] | None = field(default=None, repr=False, compare=False)

    @property
    def fetched(self) -> str | None:
        """The id of the exchange that fetched it, or None."""
        return self.downloads[0].id if self.downloads else None


@dataclass(frozen=True, slots=True)
class Seen:
    """One exchange as rules see it. `pictures` are those of its answer, or of the finished task that it led to.

    `base_accepted`: whether the request that this one was made from was carried out in the same run (None: made from none).
    `polls` are those of the task that it led to. `repeatable`: an async submission under an idempotency key; whatever it
    leads to is shown by other submissions. `sent` gives the request's body.
    """

    exchange: Exchange
    body: bytes
    answer: Answer | None
    pictures: tuple[SeenPicture, ...] = ()
    base_accepted: bool | None = None
    finished: str | None = None
    waiting: str | None = None
    polls: tuple[Seen, ...] = ()
    repeatable: bool = False
    sent: Callable[[], bytes] = field(default=bytes, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The exchange's id."""
        return self.exchange.id

    @property
    def status(self) -> int | None:
        """HTTP status, or None when no answer came."""
        return self.exchange.response.status if self.exchange.response else None

    @property
    def case(self) -> Case:
        """What the request was meant to show; polls and fetches are simply expected to be answered."""
        return self.exchange.case or Case(expects="accept")

    @property
    def sent_by_check(self) -> bool:
        """Whether the plan asked for it (as against a poll or a fetched URL)."""
        return self.exchange.source in ("probe", "schema-case")

    @property
    def accepted(self) -> bool:
        """Whether it was answered with a whole 2xx response."""
        response = self.exchange.response
        return response is not None and 200 <= response.status < 300 and response.complete and self.exchange.failure is None

    @property
    def refused(self) -> bool:
        """Whether it was answered with a 4xx."""
        return self.status is not None and 400 <= self.status < 500

    @property
    def out_of_reach(self) -> str | None:
        """Why this exchange proves nothing about its request (no answer, quota, rate limit, server error); None when it does."""
        if self.status is None:
            return f"no answer ({self.exchange.failure or 'not finished'})"
        if self.status < 300 and self.exchange.response is not None and not self.exchange.response.complete:
            return "the body broke off"
        if self.status in (402, 429) or self.account_refused:
            return f"status {self.status}"
        if self.status >= 500:
            return f"status {self.status}"
        return None

    @property
    def account_refused(self) -> bool:
        """Whether a 403 speaks of the account (quota, credit, suspension) and not of the request."""
        return self.status == 403 and self.answer is not None and speaks_of_account(self.answer.error_message)

    @property
    def asked(self) -> Mapping[str, Any]:
        """The task's terms that were asked for."""
        return self.exchange.asked

    @property
    def carried_out(self) -> bool:
        """Whether it is an accepted request that the contract allows, so that its answer's content can be judged."""
        allowed = self.sent_by_check and not self.repeatable and self.case.expects in ("accept", "may-refuse")
        return allowed and self.accepted and self.error_as_success is None

    @property
    def error_as_success(self) -> str | None:
        """What an answer says that is an error in spite of its 2xx ("" when it says nothing); None for every other answer."""
        answer = self.answer
        if not (self.sent_by_check and self.accepted and answer is not None and isinstance(answer.json, dict)) or answer.task is not None:
            return None
        if answer.pictures or answer.text is not None or answer.finish_reason is not None:
            return None
        if not any(answer.json.get(name) for name in _ERROR_NAMES):
            return None
        return answer.error_message or message_anywhere(answer.json) or ""


@dataclass(frozen=True, slots=True)
class _Sight:
    """By what exchanges are looked at; the fields are `see`'s arguments."""

    provider: Provider
    bytes_of: BytesOf
    looking: Inspect
    live: bool


def see(
    provider: Provider, exchanges: Iterable[Exchange], bytes_of: BytesOf, *, looking: Inspect = inspect, live: bool = False
) -> list[Seen]:
    """The exchanges as rules see them, in the order given. `looking` says what the bytes of a picture are.

    `live`: whether what the target answered was followed off this machine too.
    """
    sight = _Sight(provider, bytes_of, looking, live)
    records = list(exchanges)
    children: dict[str, list[Exchange]] = {}
    for record in records:
        if record.parent is not None:
            children.setdefault(record.parent, []).append(record)
    accepted = _accepted_probes(records)
    return [_see(sight, record, children, accepted) for record in records]


def _accepted_probes(records: Sequence[Exchange]) -> dict[tuple[str, str], bool]:
    found: dict[tuple[str, str], bool] = {}
    for record in records:
        if record.source in ("probe", "schema-case"):
            key = (record.operation, record.probe)
            found[key] = found.get(key, False) or (record.response is not None and 200 <= record.response.status < 300)
    return found


def _see(sight: _Sight, record: Exchange, children: Mapping[str, list[Exchange]], accepted: Mapping[tuple[str, str], bool]) -> Seen:
    provider, bytes_of = sight.provider, sight.bytes_of
    body = bytes_of(record.response.body) if record.response is not None else b""

    def sent() -> bytes:
        return bytes_of(record.request.body)

    base = record.case.base if record.case else None
    base_accepted = accepted.get((record.operation, base), False) if base is not None else None
    if record.response is None or record.source == "fetch":
        return Seen(record, body, None, base_accepted=base_accepted, sent=sent)
    answer = decode(provider, record.operation, _response(record, body))
    pictures, finished, waiting = answer.pictures, None, None
    polls: tuple[Seen, ...] = ()
    fetched = list(children.get(record.id, ()))
    if record.source != "poll" and answer.task is not None and record.response.status < 300:
        polls = tuple(_see(sight, child, {}, {}) for child in children.get(record.id, ()) if child.source == "poll")
        pictures, finished, waiting = _task_outcome(sight, record, polls, answer.task)
        fetched += [child for poll in polls for child in children.get(poll.id, ())]
    downloads: dict[Any, list[Exchange]] = {}
    for child in fetched:
        if child.source == "fetch":
            downloads.setdefault(child.asked.get("url"), []).append(child)
    judged = record.source != "poll" and 200 <= record.response.status < 300
    shown = tuple(_look(sight, picture, downloads, record.request.url) for picture in pictures) if judged else ()
    protocol = provider.profile.asynchronous
    repeatable = protocol is not None and protocol.idempotency_key(record.request.headers) is not None
    return Seen(record, body, answer, shown, base_accepted, finished, waiting, polls, repeatable, sent)


def _task_outcome(
    sight: _Sight, record: Exchange, polls: Sequence[Seen], task: AsyncTask
) -> tuple[tuple[DeliveredPicture, ...], str | None, str | None]:
    """Pictures of the finished task, its final state, and why it is not finished. The first poll that says the end counts."""
    provider, protocol = sight.provider, sight.provider.profile.asynchronous
    if protocol is None or not polls:
        asked = record.request.url
        off = _off_machine(sight, absolute(task.poll_url or "", asked) or "", asked) if not task.reference else None
        return (), None, f"the task is to be polled on {off}" if off is not None else "the task was not polled"
    told = [poll.answer.task for poll in polls if poll.accepted and poll.answer is not None and poll.answer.task is not None]
    ends = (protocol.states.get("completed"), protocol.states.get("failed"))
    last = next((task for task in told if task.state in ends), told[-1] if told else None)
    if last is None:
        return (), None, "no poll was answered"
    if last.state == protocol.states.get("completed"):
        return decode_body(provider, record.operation, last.result).pictures, last.state, None
    return (), last.state, f"the task ended as {last.state}" if last.state else "the poll's answer names no state"


def _off_machine(sight: _Sight, url: str, asked: str) -> str | None:
    """The host that an answer must not lead to, with the reason and what would allow it; None for an address that may be asked."""
    if not fetchable(url) or may_ask(url, asked=asked, live=sight.live):
        return None
    return f"{host_of(url)}, off this machine: not asked without --live"


def _look(sight: _Sight, picture: DeliveredPicture, downloads: Mapping[Any, Sequence[Exchange]], asked: str) -> SeenPicture:
    looking, bytes_of = sight.looking, sight.bytes_of
    if picture.base64 is not None:
        return _inline(picture, picture.base64, "is not base64", looking)
    if picture.url is None:
        return SeenPicture(picture, None, "holds neither base64 nor a URL")
    if picture.url.startswith("data:"):
        return _inline(picture, picture.url, "is a data URL without base64", looking)
    fetched = tuple(downloads.get(picture.url, ()))
    if not fetched:
        off = _off_machine(sight, picture.url, asked)
        if off is not None:
            return SeenPicture(picture, None, f"has a URL on {off}", withheld=True)
        return SeenPicture(picture, None, "its URL was not fetched")
    response = fetched[0].response
    onward = redirected(fetched[0].request.url, response.status, response.headers) if response is not None else None
    off = _off_machine(sight, onward, asked) if onward is not None else None
    if off is not None:
        return SeenPicture(picture, None, f"has a URL that leads on to {off}", downloads=fetched, withheld=True)
    if response is None:
        return SeenPicture(picture, None, f"its URL gave no answer ({fetched[0].failure})", downloads=fetched)
    if response.status != 200 or not response.complete:
        what = f"status {response.status}" if response.status != 200 else "a body cut short"
        return SeenPicture(picture, None, f"its URL answered with {what}", downloads=fetched)
    body = response.body
    info = looking(bytes_of(body))
    if info.format is None:
        return SeenPicture(picture, None, "its URL gave no picture", downloads=fetched)
    return SeenPicture(picture, info, downloads=fetched, data=lambda: bytes_of(body))


def _inline(picture: DeliveredPicture, text: str, problem: str, looking: Inspect) -> SeenPicture:
    data = lenient_base64(text)
    if data is None:
        return SeenPicture(picture, None, problem, target_fault=True)
    return SeenPicture(picture, looking(data), data=lambda: lenient_base64(text) or b"")


def _response(record: Exchange, body: bytes) -> WireResponse:
    assert record.response is not None
    headers = tuple((name, value) for name, value in record.response.headers)
    return WireResponse(record.response.status, headers, body, record.sent_s, record.first_byte_s or record.sent_s, record.done_s)
