"""An HTTP response becomes an answer: what stands where the profile says, nothing judged.

What the answers of an asynchronous API say about a task, in the words of its profile and no others.

The course, the rules and the reports all read states here, so that a word means the same to each of them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Literal

from testcard.harness.intake.json_values import BeyondLimits, read_json
from testcard.harness.intake.limits import limits
from testcard.harness.intake.shown import as_words, mistake, words_of
from testcard.harness.wire.model import Answer, AsyncTask, DeliveredPicture, Usage, WireResponse
from testcard.harness.wire.sse import ChatStream, EventStream, PictureStream
from testcard.specs.loader import Provider
from testcard.specs.pointers import MISSING, at, every, look_up, parts_of, pointer_of
from testcard.specs.profile import Amount, AsyncProtocol, Errors, OperationProfile, PictureEvents, ResponseMap, TaskPhase, state_word

#: Nobody waits longer, whatever a Retry-After says: a year.
LONGEST_RETRY_S = 365 * 86_400.0
_MOST_DIGITS, _MOST_DATE = 12, 128
#: More pictures of an answer than these are not taken, whatever a document allows.
MOST_DOCUMENTED = 10_000
#: How a place begins that is a header of the answer and none of its body.
HEADER = "header:"


def decode(provider: Provider, operation_id: str, response: WireResponse, *, poll: bool = False) -> Answer:
    """What a response to `operation_id` means. Never raises: `problem` says why a body could not be understood.

    `poll`: whether it answers the question how the operation's task is doing, as all answers of an operation of the kind `task` do.
    """
    try:
        return _decoded(provider, operation_id, response, poll=poll)
    except Exception as error:  # noqa: BLE001 (whatever a server sends, its exchange is recorded and the others are judged)
        return _unread(response.status, error)


def _unread(status: int, error: Exception) -> Answer:
    """An answer that made our own reading raise."""
    raised = mistake(error)
    return Answer(status, problem=f"it could not be read, by a mistake of Testcard's own: {raised}", raised=raised)


def _decoded(provider: Provider, operation_id: str, response: WireResponse, *, poll: bool) -> Answer:
    profile = provider.operation_profile(operation_id)
    poll = poll or profile.kind == "task"
    retry_after_s = None if response.status == 200 else _asked_to_wait_s(provider, response)
    media_type = (response.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        if profile.response.events is not None:
            return _picture_stream_answer(provider, operation_id, profile.response.events, response, retry_after_s)
        return _stream_answer(response, retry_after_s)
    protocol = provider.protocol(operation_id)
    if response.status < 300 and is_picture(profile.response, media_type, response.body, poll=poll):
        task = AsyncTask(None, None, result=response.body, phase="completed") if poll and protocol is not None else None
        return replace(
            _success(provider, operation_id, response.body, response.status, task, headers=response), retry_after_s=retry_after_s
        )
    body, problem = _parsed(response.body)
    status = stood_for(provider.profile.errors, response.status, body)
    if status >= 400:
        errors = provider.profile.errors
        message = next((found for place in errors.message if (found := at(body, place)) is not None), None)
        code = _code_of(errors, body)
        return Answer(
            status,
            json=body,
            error_message=as_words(message) if isinstance(message, str) else message_anywhere(body),
            error_code=as_words(code) if isinstance(code, str) else code,
            retry_after_s=retry_after_s if status == response.status else _asked_to_wait_s(provider, response),
            problem=problem,
            sent_as=response.status if status != response.status else None,
        )
    task = _task(protocol, profile, response, body, poll=poll)
    if task is not None and response.status == 200:
        retry_after_s = _asked_to_wait_s(provider, response)
    return _success(provider, operation_id, body, response.status, task, retry_after_s, problem, response)


def stood_for(errors: Errors, status: int, body: Any) -> int:
    """The status that an answer with this status and body stands for: its own, but for an error that the profile tells in a success."""
    success = errors.success
    if success is None or not 200 <= status < 300 or not isinstance(body, dict | list):
        return status
    found = look_up(body, success.at)
    if found is MISSING:
        return status
    if _spelt(found) in [_spelt(value) for value in success.values] if success.values else not found:
        return status
    for code in (_code_of(errors, body), found):
        word = _spelt(code)
        if word in success.statuses:
            return success.statuses[word]
        if word.isascii() and word.isdigit() and len(word) == 3 and 400 <= int(word) < 600:
            return int(word)
    return 400


def _code_of(errors: Errors, body: Any) -> Any:
    """What stands at the first of an error's places for its code; None where nothing does."""
    return next((found for place in errors.code if (found := at(body, place)) is not None), None)


def _spelt(value: Any) -> str:
    """A word of a body as it is compared with one of a profile: 0 and "0" are one, 0 and false are not."""
    return as_words(str(value)).lower()


#: A refusal that is sent as a success is small; what is larger is not searched for one while load is on.
_REFUSAL_BYTES = 16_384


def status_of(provider: Provider, response: WireResponse) -> int:
    """The status that an answer stands for (see `stood_for`), told from its body only where the profile and its size make that worth while."""
    if provider.profile.errors.success is None or not 200 <= response.status < 300 or len(response.body) > _REFUSAL_BYTES:
        return response.status
    return stood_for(provider.profile.errors, response.status, _parsed(response.body)[0])


def decode_body(provider: Provider, operation_id: str, body: Any, *, status: int = 200) -> Answer:
    """What a parsed success body of `operation_id` means; also for the result that a finished async task carries.

    Bytes are a picture that came as a body. Never raises, as `decode`.
    """
    try:
        return _success(provider, operation_id, body, status)
    except Exception as error:  # noqa: BLE001 (as above)
        return _unread(status, error)


def is_picture(where: ResponseMap, media_type: str, body: bytes, *, poll: bool = False) -> bool:
    """Whether a success's body is the picture itself: the profile says that one can be, and the answer says or shows that this one is."""
    if media_type.startswith("image/"):
        return bool(where.binary) or poll
    return bool(where.binary) and bool(body) and media_type in ("", "application/octet-stream", "binary/octet-stream")


def _success(
    provider: Provider,
    operation_id: str,
    body: Any,
    status: int,
    task: AsyncTask | None = None,
    retry_after_s: float | None = None,
    problem: str | None = None,
    headers: WireResponse | None = None,
) -> Answer:
    profile = provider.operation_profile(operation_id)
    where = profile.response
    found = _Places(body, headers)
    usage = Usage(*(found(where.usage.get(name)) for name in _COUNTS)) if where.usage else None
    text = at(body, "/choices/0/message/content") if profile.kind == "chat" else None
    finish = at(body, "/choices/0/finish_reason") if profile.kind == "chat" else None
    binary = isinstance(body, bytes)
    if binary:
        pictures: tuple[DeliveredPicture, ...] = (_from(where, found, DeliveredPicture(0, data=body)),) if body else ()
        problem = problem or (None if body else "the body is empty")
    else:
        items = _items(where, body)
        most = most_pictures(provider, operation_id, len(items))
        pictures = tuple(_picture(where, found, index, place, item) for index, (place, item) in enumerate(items[:most]))
        problem = problem or _unusable(profile, body, task) or _too_many(len(items), most)
    return Answer(
        status,
        json=None if binary else body,
        pictures=pictures,
        text=text if isinstance(text, str) else None,
        finish_reason=finish if isinstance(finish, str) else None,
        usage=usage if usage != _NO_USAGE else None,
        cost_usd=_amount(where.cost, found),
        balance_usd=_amount(where.balance, found),
        created=found(where.created),
        echoes={meaning: found(place) for meaning, place in where.echoes.items()},
        task=task,
        retry_after_s=retry_after_s,
        problem=problem,
    )


def _unusable(profile: OperationProfile, body: Any, task: AsyncTask | None) -> str | None:
    """Why a parsed body is none that the profile's places can be looked up in; None for one that is."""
    where = profile.response
    if isinstance(body, dict):
        only_binary = bool(where.binary) and where.pictures is None and task is None
        return "the body is JSON and no picture" if only_binary else None
    if isinstance(body, list) and where.pictures is not None and where.pictures.partition("/")[2].partition("/")[0] in ("*", "0"):
        return None
    if isinstance(body, str) and where.pictures in ("", "/"):
        return None
    return "the body is no JSON object"


class _Places:
    """What stands at a place of an answer: in its body, or in a header of it."""

    def __init__(self, body: Any, headers: WireResponse | None) -> None:
        self.body = body
        self._headers = headers

    def __call__(self, place: str | None, below: Any = ...) -> Any:
        """The value at a place, relative to `below` where that is given; None where there is none."""
        if place is None:
            return None
        if place.startswith(HEADER):
            return self._headers.header(place.removeprefix(HEADER)) if self._headers is not None else None
        return at(self.body if below is ... else below, place)


def _amount(amount: Amount | None, found: _Places) -> float | None:
    """US dollars that an answer states at the amount's place; None where it states none, or nobody says what its unit is worth."""
    if amount is None or amount.usd_each is None:
        return None
    value = found(amount.at)
    if isinstance(value, str):
        value = _from_text(value)
    number = _number(value)
    return number if number is None else number * amount.usd_each


def _from_text(text: str) -> float | None:
    """The number that a text is, with a dollar sign before it or none."""
    try:
        number = float(text.strip().removeprefix("$"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


_COUNTS: tuple[Literal["prompt_tokens", "completion_tokens", "total_tokens"], ...] = ("prompt_tokens", "completion_tokens", "total_tokens")
_NO_USAGE = Usage()


def _asked_to_wait_s(provider: Provider, response: WireResponse) -> float | None:
    value = response.header(provider.profile.errors.retry_after_header)
    return retry_after(value, response.header("date")) if value is not None else None


def retry_after(value: str | None, date: str | None = None, now: datetime | None = None) -> float | None:
    """Seconds to wait by a Retry-After header: a number of seconds, or an HTTP date against the answer's Date header (or `now`)."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:_MOST_DIGITS]), LONGEST_RETRY_S) if len(value) <= _MOST_DIGITS else LONGEST_RETRY_S
    until, since = http_date(value), http_date(date) or now
    if until is None or since is None:
        return None
    try:
        return min(max((until - since).total_seconds(), 0.0), LONGEST_RETRY_S)
    except OverflowError:  # a zone that leads out of the calendar
        return None


def http_date(text: str | None) -> datetime | None:
    """The moment that a header such as Date names; one without a zone is UTC, as HTTP has it. None for what is no date."""
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text[:_MOST_DATE])
        moment.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parsed(body: bytes) -> tuple[Any, str | None]:
    if not body:
        return None, "the body is empty"
    try:
        return read_json(body), None
    except BeyondLimits as error:
        return None, f"the body is JSON that is {error}"
    except ValueError:
        return None, "the body is no valid JSON"


def _items(where: ResponseMap, body: Any) -> list[tuple[str, Any]]:
    return every(body, where.pictures) if where.pictures is not None else []


def most_pictures(provider: Provider, operation_id: str, wanted: int) -> int:
    """How many pictures of an answer are taken, of so many: what the limit allows, or more where the document allows to ask for more."""
    most = limits().pictures
    if wanted <= most:
        return most
    name = provider.operation_profile(operation_id).wire_name("n")
    schema = provider.operation(operation_id).properties.get(name or "", {})
    stated = [schema.get("maximum"), *(schema.get("enum") or ())]
    documented = max((one for one in stated if isinstance(one, int) and not isinstance(one, bool)), default=0)
    return max(most, min(documented, MOST_DOCUMENTED))


def _too_many(pictures: int, most: int) -> str | None:
    """That not all pictures of an answer were taken; None where all were."""
    return f"it has {pictures:,} pictures, of which {most:,} were taken" if pictures > most else None


def _from(where: ResponseMap, found: _Places, picture: DeliveredPicture, item: Any = None) -> DeliveredPicture:
    """The picture with what stands beside it: its seed, and why it ended."""
    if where.item_seed is None and where.finish is None:
        return picture
    seed, finish = found(where.item_seed, item), found(where.finish, item)
    if isinstance(seed, str) and where.item_seed is not None and where.item_seed.startswith(HEADER):
        seed = int(seed) if re.fullmatch(r"-?[0-9]{1,19}", seed.strip()) else None
    finish = finish if isinstance(finish, str) else None
    return replace(
        picture,
        seed=seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        finish=finish,
        withheld=finish in where.withheld or withheld(finish),
    )


def _picture(where: ResponseMap, found: _Places, index: int, place: str, item: Any) -> DeliveredPicture:
    def text(pointer: str | None) -> str | None:
        value = at(item, pointer) if pointer is not None else None
        return value if isinstance(value, str) else None

    base64, url = text(where.base64), text(where.url)
    if where.base64 is not None and where.base64 == where.url and url is not None:
        # One place for both: an address is told from base64 by its scheme (":" is no letter of base64); a data URL carries base64.
        is_address = ":" in url[:12] and not url.startswith("data:")
        base64, url = (None, url) if is_address else (url, None)
    value = where.base64 if base64 is not None else where.url if url is not None else None
    picture = DeliveredPicture(index, base64, url, place=place, value_place=place + pointer_of(parts_of(value or "")))
    return _from(where, found, picture, item)


def _task(protocol: AsyncProtocol | None, profile: OperationProfile, response: WireResponse, body: Any, *, poll: bool) -> AsyncTask | None:
    if protocol is None:
        return None
    found, status = _Places(body, response), response.status
    reference = next((one for place in protocol.task_reference if isinstance(one := found(place), str)), None)
    poll_url = found(protocol.poll_url)
    # Where every request becomes a task, a documented word for how far one is tells one, and so does the documented status without an error.
    phase_told = protocol.phase(state_word(found(protocol.state))) if protocol.flag is None else None
    known = phase_told is not None or (protocol.flag is None and _may_be_a_task(protocol, status, body))
    named = reference is not None or isinstance(poll_url, str) or known
    # An empty list beside a word that says that work goes on is where the pictures will be.
    waits = phase_told in ("queued", "running") and not _delivers(profile.response, body)
    ends_here = not named or (_holds_pictures(profile.response, body) and not waits)
    if not poll and (status not in protocol.status or status != 202) and ends_here:
        # A reference where the pictures should be is a task under another status than the documented one.
        return None
    state, result_url = found(protocol.state), found(protocol.result_url)
    phase: TaskPhase | None = None
    if poll and protocol.state is None:
        phase = "running" if status == 202 else "completed"
    return AsyncTask(
        reference,
        as_words(word) if (word := state_word(state)) is not None else None,
        poll_url if isinstance(poll_url, str) else None,
        found(protocol.result) if poll else None,
        found(protocol.error),
        phase,
        result_url if isinstance(result_url, str) else None,
        _amount(protocol.cost, found),
    )


def _may_be_a_task(protocol: AsyncProtocol, status: int, body: Any) -> bool:
    if status not in protocol.status or not isinstance(body, dict) or not body:
        return False
    return not any(body.get(name) for name in ("error", "errors", "detail", "message"))


def _holds_pictures(where: ResponseMap, body: Any) -> bool:
    """Whether what holds the pictures is there, if only an empty list; where that is the whole body, whether a picture is."""
    holder = _holder(where)
    if holder not in ("", "/"):
        return at(body, holder) is not None
    return _delivers(where, body)


def _delivers(where: ResponseMap, body: Any) -> bool:
    """Whether a picture is there, by its bytes or its address."""
    found = _Places(body, None)
    pictures = (_picture(where, found, 0, place, item) for place, item in _items(where, body)[: limits().pictures])
    return any(picture.base64 is not None or picture.url is not None for picture in pictures)


def _holder(where: ResponseMap) -> str:
    """Pointer to what holds the pictures; the whole body where there are none."""
    return where.pictures.partition("/*")[0] if where.pictures is not None else ""


def _stream_answer(response: WireResponse, retry_after_s: float | None) -> Answer:
    reader, chat = EventStream(), ChatStream()
    for event in reader.feed(response.body):
        chat.add(event)
    if not chat.done:
        chat.problem = reader.cut or chat.problem
    return stream_answer(response.status, chat, unfinished=reader.unfinished and not chat.done, retry_after_s=retry_after_s)


def _picture_stream_answer(
    provider: Provider, operation_id: str, events: PictureEvents, response: WireResponse, retry_after_s: float | None
) -> Answer:
    where, stream = provider.operation_profile(operation_id).response, PictureStream(events)
    stream.feed(response.body)
    most = most_pictures(provider, operation_id, len(stream.completed))
    pictures: list[DeliveredPicture] = []
    usage: Usage | None = None
    for event in stream.completed[:most]:
        base64, url = (at(event.data, place) if place is not None else None for place in (events.base64, events.url))
        base64, url = (value if isinstance(value, str) else None for value in (base64, url))
        if base64 is not None or url is not None:
            pictures.append(_from(where, _Places(event.data, response), DeliveredPicture(len(pictures), base64, url)))
        if events.usage:
            usage = Usage(*(at(event.data, place) if (place := events.usage.get(name)) else None for name in _COUNTS))
    message, problem = None, stream.problem or _too_many(len(stream.completed), most)
    if stream.error is not None:
        message = message_anywhere(stream.error) or "the stream carries an error"
        problem = f"the stream carries an error: {message}"
    return Answer(
        response.status,
        pictures=tuple(pictures),
        usage=usage if usage != _NO_USAGE else None,
        retry_after_s=retry_after_s,
        error_message=message,
        problem=problem,
        partials=len(stream.partials),
    )


def stream_answer(status: int, chat: ChatStream, *, unfinished: bool = False, retry_after_s: float | None = None) -> Answer:
    """The answer that a read event stream adds up to; a stream that ended early says so in `problem`.

    One that told its finish reason has said everything: where its [DONE] is missing, that is a promise broken, and no answer lost.
    """
    problem = chat.problem
    message = None
    if chat.error is not None:
        message = message_anywhere({"error": chat.error}) or "the stream carries an error"
        problem = problem or f"the stream carries an error: {message}"
    unterminated = problem is None and (unfinished or not chat.done)
    if unterminated and chat.finish_reason is None:
        problem = "the stream ended without a finish reason and without [DONE]"
    return Answer(
        status,
        text=chat.text,
        finish_reason=chat.finish_reason,
        usage=chat.usage,
        retry_after_s=retry_after_s,
        error_message=message,
        problem=problem,
        unterminated=unterminated and problem is None,
    )


def message_anywhere(body: Any) -> str | None:
    """An error's message where servers commonly put it, for bodies that are not in the provider's documented shape."""
    for place in ("/message", "/error/message", "/error", "/detail", "/detail/message", "/title"):
        found = at(body, place)
        if isinstance(found, str) and found:
            return as_words(found)
    return None


#: An error of these is about the account that pays. Not "insufficient" alone: insufficient permissions are about one model or operation.
_ACCOUNT = re.compile(r"quota|balance|credit|billing|payment|funds|suspend|account|subscription", re.IGNORECASE)
#: "safety_tolerance" is the name of a field, in which a number may be wrong.
_CONTENT = re.compile(
    r"content[_ -]?(?:policy|filter)|moderat|safety(?![_ -]?tolerance)|nsfw|prohibited|policy[_ -]?violation", re.IGNORECASE
)
_WITHHELD = re.compile(r"filter|block", re.IGNORECASE)


def speaks_of_account(message: str | None) -> bool:
    """Whether an error message is about the account that pays, and so about every request."""
    return message is not None and _ACCOUNT.search(message, 0, limits().error_chars) is not None


def speaks_of_content(message: str | None) -> bool:
    """Whether an error's words say that what was asked for was refused for its content: a policy, a filter, moderation."""
    return message is not None and _CONTENT.search(message, 0, limits().error_chars) is not None


def withheld(finish: str | None) -> bool:
    """Whether a finish reason says that a picture was held back for its content."""
    return finish is not None and (speaks_of_content(finish) or _WITHHELD.search(finish, 0, limits().error_chars) is not None)


def _number(value: Any) -> float | None:
    """The number as a float; infinite where JSON states one that no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


class Phase(StrEnum):
    """How far a task is, whatever its provider calls that."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    MODERATED = "moderated"  # it ended without a picture because of what was asked for
    CANCELLED = "cancelled"


_ENDS = (Phase.COMPLETED, Phase.FAILED, Phase.MODERATED, Phase.CANCELLED)


@dataclass(frozen=True, slots=True)
class Told:
    """What one answer says about a task. `phase` None: no word of the profile's, or none at all (then `state` is None too)."""

    phase: Phase | None
    state: str | None = None

    @property
    def over(self) -> bool:
        """Whether the task has ended, one way or the other."""
        return self.phase in _ENDS


NOTHING_TOLD = Told(None)


def told(protocol: AsyncProtocol, task: AsyncTask | None) -> Told:
    """What an answer's task says.

    A word that the profile does not know ends nothing by itself, but what the answer brings does: a result completes the task,
    an error fails it. Nothing, an empty text, list or object is not brought. A failure whose words are about the content is moderation.
    """
    if task is None:
        return NOTHING_TOLD
    word = protocol.phase(task.state) or task.phase
    phase = None if word is None else Phase(word)
    # A result that is the whole body is there from the beginning, and tells of no end.
    if phase is None and protocol.result and _brought(task.result):
        phase = Phase.COMPLETED
    elif task.state is not None and _brought(task.error) and (phase is None or task.state in _TRUTHS):
        phase = Phase.FAILED
    if phase is Phase.FAILED and speaks_of_content(words_of([task.state, task.error])):
        phase = Phase.MODERATED
    return Told(phase, task.state)


def task_of(protocol: AsyncProtocol | None, answer: Answer) -> AsyncTask | None:
    """The task that a success leads to, with what it brings already; None for an answer that is one by itself.

    That is also one with the status that accepts a task, which names none and holds the pictures.
    """
    task = answer.task
    if task is None or protocol is None or (answer.pictures and not task.reference and task.poll_url is None):
        return None
    return replace(task, result=at(answer.json, protocol.result))


#: States that tell whether a task is over, and not whether it came to something.
_TRUTHS = ("true", "false")


def _brought(value: Any) -> bool:
    return value is not None and value is not False and value != "" and value != {} and value != []
