"""What a rule sees: recorded exchanges with their answers decoded and their pictures looked at. Built from records alone,
so a run judged while it happens and a run judged again from its folder give the same verdicts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from testcard.harness.intake.shown import mistake
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Body, Case, Exchange
from testcard.harness.wire.addresses import absolute, fetchable, host_of, redirected, sendable, why_not
from testcard.harness.wire.decode import (
    Phase,
    decode,
    decode_body,
    http_date,
    message_anywhere,
    speaks_of_account,
    status_of,
    task_of,
    told,
)
from testcard.harness.wire.model import Answer, AsyncTask, DeliveredPicture, PictureInfo, WireResponse
from testcard.harness.wire.pictures import inspect, lenient_base64
from testcard.specs.loader import Provider
from testcard.specs.profile import AsyncProtocol, Level

Word = Literal["pass", "broken", "note", "unproven", "unsupported"]
BytesOf = Callable[[Body], bytes]
Inspect = Callable[[bytes], PictureInfo]
#: What servers call an error in a body that holds nothing else.
_ERROR_NAMES = ("error", "errors", "detail", "message")


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """One picture of an answer. `info` is None when there was no picture to look at: then `missing` says why.

    `target_fault`: no client can make a picture of it (base64 that is none); what is wrong with an address is told by rules
    about addresses. `downloads` are the times its address was fetched, the first one first, each by the last exchange of its
    redirects; `data` gives its bytes. `withheld`: its address, or where that leads, was not asked, because it lies off this machine
    and the check was not live.
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
class SeenExchange:
    """One exchange as rules see it. `pictures` are those of its answer, or of the finished task that it led to.

    `base_accepted`: whether the request that this one was made from was carried out in the same run (None: made from none).
    `polls` are those of the task that it led to. `repeatable`: an async submission under an idempotency key; whatever it
    leads to is shown by other submissions. `sent` gives the request's body. `raised`: what reading its answer raised, by a mistake of ours.
    """

    exchange: Exchange
    body: bytes
    answer: Answer | None
    pictures: tuple[SeenPicture, ...] = ()
    base_accepted: bool | None = None
    finished: str | None = None
    waiting: str | None = None
    polls: tuple[SeenExchange, ...] = ()
    repeatable: bool = False
    sent: Callable[[], bytes] = field(default=bytes, repr=False, compare=False)
    raised: str | None = None

    @property
    def id(self) -> str:
        """The exchange's id."""
        return self.exchange.id

    @property
    def http_status(self) -> int | None:
        """HTTP status, or None when no answer came."""
        return self.exchange.response.status if self.exchange.response else None

    @property
    def status(self) -> int | None:
        """HTTP status, or where an error was sent as a success (a profile's `errors.success`) the one that it stands for; None without an answer."""
        return self.answer.status if self.answer is not None and self.answer.sent_as is not None else self.http_status

    def header(self, name: str) -> str | None:
        """The answer's first header of that name, in any case; None without one, and without an answer."""
        return self.exchange.response.header(name) if self.exchange.response else None

    @property
    def media_type(self) -> str:
        """What the answer says it is; "" where it does not say, and without an answer."""
        return self.exchange.response.media_type if self.exchange.response else ""

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
        response, status = self.exchange.response, self.status
        return response is not None and status is not None and 200 <= status < 300 and response.complete and self.exchange.failure is None

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
            return "the body was cut short"
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
        return error_in(self.answer) if self.sent_by_check and self.accepted else None


def error_in(answer: Answer | None) -> str | None:
    """What an answer with a 2xx says that holds an error and nothing else ("" when it says nothing); None for every other answer."""
    if answer is None or not isinstance(answer.json, dict) or answer.task is not None:
        return None
    if answer.pictures or answer.text is not None or answer.finish_reason is not None:
        return None
    if not any(answer.json.get(name) for name in _ERROR_NAMES):
        return None
    return answer.error_message or message_anywhere(answer.json) or ""


def brings_nothing(answer: Answer | None) -> bool:
    """Whether a JSON answer that could be read has neither pictures nor text nor a task."""
    if answer is None or not isinstance(answer.json, dict) or answer.problem is not None:
        return False
    return answer.task is None and not answer.pictures and answer.text is None and answer.finish_reason is None


def said_by(one: SeenExchange) -> str:
    """What an error says of itself, in brackets, to stand behind its status; "" where it says nothing."""
    message = one.answer.error_message if one.answer is not None else None
    sent_as = one.answer.sent_as if one.answer is not None else None
    said = [message[:120]] if message else []
    said += [f"sent as status {sent_as}"] if sent_as is not None else []
    return f" ({', '.join(said)})" if said else ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one or more exchanges say about a promise.

    `broken` breaks it, at the rule's level or at `level` where that is softer; `note` is worth knowing but promised by
    nobody; `unproven` means that it could not be seen; `unsupported` that the target may do without. `place` is a JSON
    pointer into the body; `line` is that of the OpenAPI file, where the judge knows it better than the place says it.
    """

    word: Word
    detail: str = ""
    exchanges: tuple[str, ...] = ()
    place: str | None = None
    level: Level = "must"
    line: int | None = None


@dataclass(frozen=True, slots=True)
class _Sight:
    """By what exchanges are looked at; the fields are `see`'s arguments."""

    provider: Provider
    bytes_of: BytesOf
    looking: Inspect
    live: bool


def see(
    provider: Provider, exchanges: Iterable[Exchange], bytes_of: BytesOf, *, looking: Inspect = inspect, live: bool = False
) -> list[SeenExchange]:
    """The exchanges as rules see them, in the order given. `looking` says what the bytes of a picture are.

    `live`: whether what the target answered was followed off this machine too.
    """
    sight = _Sight(provider, bytes_of, looking, live)
    records = list(exchanges)
    children = by_parent(records)
    accepted = _accepted_probes(sight, records)
    return [_seen(sight, record, children, accepted) for record in records]


def _seen(
    sight: _Sight, record: Exchange, children: Mapping[str, list[Exchange]], accepted: Mapping[tuple[str, str], bool]
) -> SeenExchange:
    """The exchange as rules see it; where reading its answer, or one that it led to, raises, nothing but that."""
    try:
        seen = _see(sight, record, children, accepted)
    except Exception as error:  # noqa: BLE001 (an answer that makes us raise hides no other)
        return SeenExchange(record, b"", None, raised=mistake(error))
    unread = next((one.answer.raised for one in (seen, *seen.polls) if one.answer is not None and one.answer.raised), None)
    return seen if unread is None else replace(seen, raised=unread)


def by_parent(records: Iterable[Exchange]) -> dict[str, list[Exchange]]:
    """The exchanges that each exchange led to, in order, by its id."""
    found: dict[str, list[Exchange]] = {}
    for record in records:
        if record.parent is not None:
            found.setdefault(record.parent, []).append(record)
    return found


def after_redirects(fetched: Exchange, led_to: Mapping[str, Sequence[Exchange]]) -> Exchange:
    """The last exchange of the way that began with a fetched address; that one itself where nothing redirected it.

    Each redirect is an exchange of its own, led to by the one before; runs of earlier versions hold one exchange for the whole way.
    """
    while (onward := next((one for one in led_to.get(fetched.id, ()) if one.source == "fetch"), None)) is not None:
        fetched = onward
    return fetched


def _accepted_probes(sight: _Sight, records: Sequence[Exchange]) -> dict[tuple[str, str], bool]:
    found: dict[tuple[str, str], bool] = {}
    for record in records:
        if record.source in ("probe", "schema-case"):
            key = (record.operation, record.probe)
            found[key] = found.get(key, False) or _is_success(sight, record)
    return found


def _is_success(sight: _Sight, record: Exchange) -> bool:
    if record.response is None or not 200 <= record.response.status < 300:
        return False
    if sight.provider.profile.errors.success is None:
        return True
    return status_of(sight.provider, _response(record, sight.bytes_of(record.response.body))) < 300


def _see(sight: _Sight, record: Exchange, children: Mapping[str, list[Exchange]], accepted: Mapping[tuple[str, str], bool]) -> SeenExchange:
    provider, bytes_of = sight.provider, sight.bytes_of
    body = bytes_of(record.response.body) if record.response is not None else b""

    def sent() -> bytes:
        return bytes_of(record.request.body)

    base = record.case.base if record.case else None
    base_accepted = accepted.get((record.operation, base), False) if base is not None else None
    if record.response is None or record.source == "fetch":
        return SeenExchange(record, body, None, base_accepted=base_accepted, sent=sent)
    answer = decode(provider, record.operation, _response(record, body), poll=record.source == "poll")
    pictures, finished, waiting = answer.pictures, None, None
    polls: tuple[SeenExchange, ...] = ()
    fetched = list(children.get(record.id, ()))
    task = task_of(provider.protocol(record.operation), answer)
    if record.source != "poll" and task is not None and record.response.status < 300:
        polls = tuple(_see(sight, child, {}, {}) for child in children.get(record.id, ()) if child.source == "poll")
        pictures, finished, waiting = _task_outcome(sight, record, polls, task)
        fetched += [child for poll in polls for child in children.get(poll.id, ())]
    downloads: dict[Any, list[Exchange]] = {}
    for child in fetched:
        if child.source == "fetch":
            downloads.setdefault(sendable(child.asked.get("url") or ""), []).append(after_redirects(child, children))
    judged = record.source != "poll" and 200 <= record.response.status < 300
    shown = tuple(_look(sight, picture, downloads, record.request.url) for picture in pictures) if judged else ()
    protocol = provider.protocol(record.operation)
    repeatable = protocol is not None and protocol.idempotency_key(record.request.headers) is not None
    return SeenExchange(record, body, answer, shown, base_accepted, finished, waiting, polls, repeatable, sent)


def _task_outcome(
    sight: _Sight, record: Exchange, polls: Sequence[SeenExchange], task: AsyncTask
) -> tuple[tuple[DeliveredPicture, ...], str | None, str | None]:
    """Pictures of the finished task, its final state, and why it is not finished. The first poll that says the end counts."""
    provider, protocol = sight.provider, sight.provider.protocol(record.operation)
    if protocol is None or (not polls and not told(protocol, task).over):
        asked = record.request.url
        off = _off_machine(sight, absolute(task.poll_url or "", asked) or "", asked) if not task.reference else None
        return (), None, f"the task is to be polled on {off}" if off is not None else "the task was not polled"
    tasks = [poll.answer.task for poll in polls if poll.accepted and poll.answer and poll.answer.task]
    heard = [(told(protocol, one), one) for one in (tasks or [task])]
    said, last = next((one for one in heard if one[0].over), heard[-1])
    if said.phase is Phase.COMPLETED:
        pictures = decode_body(provider, record.operation, last.result).pictures
        pictures = pictures or _lying_elsewhere(provider, record.operation, polls)
        return pictures, said.state, None if pictures else _result_lost(protocol, polls)
    if last.state is None and (moved := _lying_elsewhere(provider, record.operation, polls)):
        return moved, None, None
    if not tasks and not said.over:
        return (), None, "no poll was answered"
    return (), last.state, f"the task ended as {last.state}" if last.state else "the poll's answer names no state"


def _result_lost(protocol: AsyncProtocol, polls: Sequence[SeenExchange]) -> str | None:
    """Why the result of a completed task was not had, where it lies elsewhere and nothing there answered with it; else None."""
    ended = next(
        (index for index, poll in enumerate(polls) if poll.accepted and poll.answer and told(protocol, poll.answer.task).over), None
    )
    asked = [] if ended is None else [poll for poll in polls[ended + 1 :] if poll.exchange.operation != polls[ended].exchange.operation]
    if not asked or any(poll.accepted for poll in asked):
        return None
    return f"the task's result: {'no answer' if asked[-1].status is None else f'its address answered {asked[-1].status}'}"


def _lying_elsewhere(provider: Provider, operation: str, polls: Sequence[SeenExchange]) -> tuple[DeliveredPicture, ...]:
    """Pictures of a result that was fetched from an address of its own, or that a redirected poll led to."""
    fetched = [poll for poll in polls if poll.accepted and poll.exchange.operation == operation]
    if not fetched and any(poll.status is not None and 300 <= poll.status < 400 for poll in polls):
        fetched = [poll for poll in polls if poll.accepted]
    bodies = (poll.answer.json for poll in fetched if poll.answer is not None)
    return next((pictures for body in bodies if (pictures := decode_body(provider, operation, body).pictures)), ())


def _off_machine(sight: _Sight, url: str, asked: str) -> str | None:
    """The host that an answer must not lead to, with the reason and what would allow it; None for an address that may be asked."""
    why = why_not(url, asked=asked, live=sight.live) if fetchable(url) else None
    return None if why is None else f"{host_of(url)}, {why}"


def _look(sight: _Sight, picture: DeliveredPicture, downloads: Mapping[Any, Sequence[Exchange]], asked: str) -> SeenPicture:
    looking, bytes_of = sight.looking, sight.bytes_of
    if picture.data is not None:
        content = picture.data
        return SeenPicture(picture, looking(content), data=lambda: content)
    if picture.base64 is not None:
        return _inline(picture, picture.base64, "is not base64", looking)
    if picture.url is None:
        # Where nothing says that it was withheld, no client can make a picture of the answer, whatever name it stands under.
        return SeenPicture(picture, None, "holds neither base64 nor a URL", target_fault=not picture.withheld)
    if picture.url.startswith("data:"):
        return _inline(picture, picture.url, "is a data URL without base64", looking)
    fetched = tuple(downloads.get(sendable(picture.url), ()))
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


# ── pictures: whose answers can be judged, which of them decode, what to name as evidence ─────────────────────────────


def gives_pictures(scope: Scope) -> bool:
    """Whether the operation's answers carry pictures."""
    return scope.gives_pictures


def delivered(seen: Sequence[SeenExchange]) -> Iterator[SeenExchange]:
    """Carried out requests whose answer can be read; one that is no JSON and a task that did not finish are left to other rules."""
    for one in seen:
        if one.carried_out and one.waiting is None and one.answer is not None and (one.answer.problem is None or one.pictures):
            yield one


def decoded(one: SeenExchange) -> Iterator[tuple[SeenPicture, PictureInfo]]:
    """The pictures of an answer that decode completely; the others break image.decodes alone."""
    for picture in one.pictures:
        if picture.info is not None and picture.info.problem is None:
            yield picture, picture.info


def shown(one: SeenExchange) -> Iterator[tuple[SeenPicture, PictureInfo]]:
    """Those that decode and show something; blank ones break image.not-blank alone and say nothing about what was asked for."""
    for picture, info in decoded(one):
        if not info.blank:
            yield picture, info


def undecoded(one: SeenExchange) -> Iterator[Observation]:
    """That nothing is proved by an answer none of whose pictures decode."""
    if one.pictures and not any(True for _ in decoded(one)):
        withheld = next((picture for picture in one.pictures if picture.withheld), None)
        why = f"picture {place_of(withheld)} {withheld.missing}" if withheld is not None else "no picture of the answer could be looked at"
        yield Observation("unproven", why, (one.id,))


def asked_by(seen: Sequence[SeenExchange], rule_id: str) -> Iterator[SeenExchange]:
    """The answers that can be judged to requests that this rule asked for itself, alone or with others."""
    for one in delivered(seen):
        if rule_id in one.case.rules:
            yield one


def place_of(picture: SeenPicture) -> str:
    """Where the picture stands in its answer, in words."""
    return picture.picture.place or f"#{picture.picture.index}"


def evidence(one: SeenExchange, picture: SeenPicture) -> tuple[str, ...]:
    """The exchanges to look at: the answer, and the one that fetched the picture."""
    return (one.id, picture.fetched) if picture.fetched else (one.id,)


def apart_by(seen: Sequence[SeenExchange], rule_id: str, term: str) -> Iterator[tuple[SeenExchange, SeenExchange]]:
    """Pairs of answers to requests of this rule that asked for all the same but for one term: the first of each kind with every other."""
    groups: dict[str, list[SeenExchange]] = {}
    for one in asked_by(seen, rule_id):
        if one.asked.get(term) is not None:
            rest = {name: value for name, value in one.asked.items() if name != term}
            groups.setdefault(json.dumps(rest, sort_keys=True, default=str), []).append(one)
    for first, *others in groups.values():
        for other in others:
            if other.asked[term] != first.asked[term]:
                yield first, other


def same_picture(first: SeenExchange, other: SeenExchange) -> bool | None:
    """Whether two answers have a picture in common, pixel by pixel; None when either has none that shows anything."""
    one, two = ({info.pixels_sha256 for _, info in shown(answer)} for answer in (first, other))
    return bool(one & two) if one and two else None


# ── HTTP: which answers it implies, which the document describes ──────────────────────────────────────────────────────


#: Statuses that HTTP itself implies for a situation: undocumented, they are a gap in the document, not the server's fault.
ANYWHERE = frozenset({401, 402, 403, 408, 429, 431, 451})
FOR_A_REFUSAL = frozenset({400, 404, 405, 406, 409, 411, 413, 414, 415, 422})


def implied(seen: SeenExchange) -> bool:
    """Whether HTTP implies this answer's status for the request it answers."""
    return seen.http_status in ANYWHERE or seen.http_status in FOR_A_REFUSAL


def late_gateway_timeout(scope: Scope, seen: SeenExchange) -> bool:
    """Whether this is a 504 after the time that the document names, which it announces."""
    limit = scope.provider.profile.limits.answer_time_s
    return seen.status == 504 and limit is not None and seen.exchange.done_s - seen.exchange.sent_s >= 0.95 * limit


def held_by_error_shape(scope: Scope, seen: SeenExchange) -> bool:
    """Whether the profile makes the shape of this refusal a must of http.error-shape; else what its schema says is schema.response's."""
    entry = scope.provider.rule_entry("http.error-shape", scope.operation_id, seen.status) if seen.refused else None
    return entry is not None and entry.level == "must"


def documented_method(scope: Scope, seen: SeenExchange) -> bool:
    """Whether the request has the operation's method, so that its answer is one of those that the document describes."""
    return seen.exchange.request.method == scope.operation.method


def answered_at(exchange: Exchange) -> float | None:
    """Unix seconds at which the server says that it answered, by its Date header."""
    moment = http_date(exchange.response.header("date")) if exchange.response is not None else None
    return moment.timestamp() if moment is not None else None


# ── words: how answers in words end, how numbers are counted ──────────────────────────────────────────────────────────


#: Why an answer in words may say that it ended, in the convention of OpenAI's API.
FINISHES = frozenset({"stop", "length", "content_filter", "tool_calls", "function_call"})
#: An answer of so few tokens may well be empty: the first of them can be a space.
FEW_TOKENS = 4


def may_be_empty(one: SeenExchange, finish: object) -> bool:
    """Whether an answer without words is none of the server's mistakes: it was filtered, or hardly any tokens were allowed."""
    most = one.asked.get("max_tokens")
    return finish == "content_filter" or (isinstance(most, int) and most <= FEW_TOKENS)


def whole_number(value: object) -> int | None:
    """The number as JSON Schema's integer (5.0 is one), None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, float) and abs(value) < 2**64 and int(value) == value else None


# ── what the bytes of a body are, whatever its header calls them ──────────────────────────────────────────────────────


Kind = Literal["json", "html", "picture", "events"]

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title)\b", re.IGNORECASE)
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b'[]{}"'))


def kind_of(body: bytes, *, is_json: bool) -> Kind | None:
    """The kind that the bytes show beyond doubt, or None. `is_json`: whether they were read as a JSON object or array."""
    if is_json:
        return "json"
    start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
    if _HTML.match(start):
        return "html"
    if body.startswith(_PICTURES) or (body[:4] == b"RIFF" and body[8:12] == b"WEBP") or body[4:12] in (b"ftypavif", b"ftypavis"):
        return "picture"
    if start.startswith((b"data:", b"event:")):
        return "events"
    return None


def stated_kind(media_type: str) -> Kind | None:
    """The kind that a media type (lower case, without parameters) stands for; None for types that may hold anything."""
    if media_type == "application/json" or media_type.endswith("+json"):
        return "json"
    if media_type in ("text/html", "application/xhtml+xml"):
        return "html"
    if media_type == "text/event-stream":
        return "events"
    return "picture" if media_type.startswith("image/") and not media_type.endswith("+xml") else None


def ends_too_early(body: bytes) -> bool:
    """Whether the bytes are the beginning of a JSON object or array whose end is missing."""
    if body.lstrip()[:1] not in (b"{", b"["):
        return False
    # Escapes first, then all but quotes and brackets; a pair of quotes side by side says nothing of what is around it. So what is left for
    # the expression is short, where a million strings would take it most of a second.
    rest = body.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _NOT_BRACKETS).replace(b'""', b"")
    rest = _STRING.sub(b"", rest)
    opened = rest.count(b"{") + rest.count(b"[")
    closed = rest.count(b"}") + rest.count(b"]")
    return rest.count(b'"') % 2 == 1 or opened > closed
