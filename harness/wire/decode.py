"""An HTTP response becomes an answer: what stands where the profile says, nothing judged."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from testcard.harness.intake import read_json
from testcard.harness.wire.model import Answer, AsyncTask, DeliveredPicture, Usage, WireResponse
from testcard.harness.wire.sse import ChatStream, EventStream
from testcard.specs.loader import Provider
from testcard.specs.pointers import at, every, parts_of, pointer_of
from testcard.specs.profile import AsyncProtocol, OperationProfile, ResponseMap


def decode(provider: Provider, operation_id: str, response: WireResponse) -> Answer:
    """What a response to `operation_id` means. Never raises: `problem` says why a body could not be understood."""
    profile = provider.operation_profile(operation_id)
    retry_after_s = None if response.status == 200 else _asked_to_wait_s(provider, response)
    media_type = (response.header("content-type") or "").partition(";")[0].strip().lower()
    if media_type == "text/event-stream":
        return _stream_answer(response, retry_after_s)
    body, problem = _parsed(response.body)
    if response.status >= 400:
        errors = provider.profile.errors
        message = next((found for place in errors.message if (found := at(body, place)) is not None), None)
        code = next((found for place in errors.code if (found := at(body, place)) is not None), None)
        return Answer(
            response.status,
            json=body,
            error_message=message if isinstance(message, str) else message_anywhere(body),
            error_code=code,
            retry_after_s=retry_after_s,
            problem=problem,
        )
    task = _task(provider.profile.asynchronous, profile, response.status, body)
    if task is not None and response.status == 200:
        retry_after_s = _asked_to_wait_s(provider, response)
    return _success(profile, body, response.status, task, retry_after_s, problem)


def decode_body(provider: Provider, operation_id: str, body: Any, *, status: int = 200) -> Answer:
    """What a parsed success body of `operation_id` means; also for the result that a finished async task carries."""
    return _success(provider.operation_profile(operation_id), body, status)


def _success(
    profile: OperationProfile,
    body: Any,
    status: int,
    task: AsyncTask | None = None,
    retry_after_s: float | None = None,
    problem: str | None = None,
) -> Answer:
    where = profile.response
    usage = Usage(*(_stated(body, where, name) for name in _COUNTS)) if where.usage else None
    text = at(body, "/choices/0/message/content") if profile.kind == "chat" else None
    finish = at(body, "/choices/0/finish_reason") if profile.kind == "chat" else None
    pictures = tuple(_picture(where, index, place, item) for index, (place, item) in enumerate(_items(where, body)))
    return Answer(
        status,
        json=body,
        pictures=pictures,
        text=text if isinstance(text, str) else None,
        finish_reason=finish if isinstance(finish, str) else None,
        usage=usage if usage != _NO_USAGE else None,
        cost_usd=_number(at(body, where.cost.at)) if where.cost else None,
        balance_usd=_number(at(body, where.balance.at)) if where.balance else None,
        created=at(body, where.created) if where.created else None,
        echoes={meaning: at(body, place) for meaning, place in where.echoes.items()},
        task=task,
        retry_after_s=retry_after_s,
        problem=problem or (None if isinstance(body, dict) else "the body is no JSON object"),
    )


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
        return float(value)
    until, since = http_date(value), http_date(date) or now
    if until is None or since is None:
        return None
    return max((until - since).total_seconds(), 0.0)


def http_date(text: str | None) -> datetime | None:
    """The moment that a header such as Date names; one without a zone is UTC, as HTTP has it. None for what is no date."""
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parsed(body: bytes) -> tuple[Any, str | None]:
    if not body:
        return None, "the body is empty"
    try:
        return read_json(body), None
    except ValueError:
        return None, "the body is no valid JSON"


def _items(where: ResponseMap, body: Any) -> list[tuple[str, Any]]:
    return every(body, where.pictures) if where.pictures is not None else []


def _picture(where: ResponseMap, index: int, place: str, item: Any) -> DeliveredPicture:
    def text(pointer: str | None) -> str | None:
        value = at(item, pointer) if pointer is not None else None
        return value if isinstance(value, str) else None

    base64, url = text(where.base64), text(where.url)
    if where.base64 is not None and where.base64 == where.url and url is not None:
        # One place for both: an address is told from base64 by its scheme (":" is no letter of base64).
        is_address = ":" in url[:12]
        base64, url = (None, url) if is_address else (url, None)
    seed = at(item, where.item_seed) if where.item_seed is not None else None
    value = where.base64 if base64 is not None else where.url if url is not None else None
    return DeliveredPicture(
        index,
        base64,
        url,
        seed if isinstance(seed, int) and not isinstance(seed, bool) else None,
        text(where.finish),
        place,
        place + pointer_of(parts_of(value or "")),
    )


def _task(protocol: AsyncProtocol | None, profile: OperationProfile, status: int, body: Any) -> AsyncTask | None:
    if protocol is None:
        return None
    reference = next((found for place in protocol.task_reference if isinstance(found := at(body, place), str)), None)
    if profile.kind != "task" and status not in protocol.status and (reference is None or at(body, _holder(profile.response)) is not None):
        # A reference where the pictures should be is a task under another status than the documented one.
        return None
    state = at(body, protocol.state) if protocol.state is not None else None
    poll_url = at(body, protocol.poll_url) if protocol.poll_url else None
    return AsyncTask(
        reference,
        state if isinstance(state, str) else None,
        poll_url if isinstance(poll_url, str) else None,
        at(body, protocol.result) if profile.kind == "task" else None,
        at(body, protocol.error) if protocol.error else None,
    )


def _holder(where: ResponseMap) -> str:
    """Pointer to what holds the pictures; the whole body where there are none."""
    return where.pictures.partition("/*")[0] if where.pictures is not None else ""


def _stream_answer(response: WireResponse, retry_after_s: float | None) -> Answer:
    reader, chat = EventStream(), ChatStream()
    for event in reader.feed(response.body):
        chat.add(event)
    return stream_answer(response.status, chat, unfinished=reader.unfinished, retry_after_s=retry_after_s)


def stream_answer(status: int, chat: ChatStream, *, unfinished: bool = False, retry_after_s: float | None = None) -> Answer:
    """The answer that a read event stream adds up to; a stream that ended early says so in `problem`."""
    problem = chat.problem
    message = None
    if chat.error is not None:
        message = message_anywhere({"error": chat.error}) or "the stream carries an error"
        problem = problem or f"the stream carries an error: {message}"
    if problem is None and (unfinished or not chat.done):
        problem = "the stream ended without [DONE]"
    return Answer(
        status,
        text=chat.text,
        finish_reason=chat.finish_reason,
        usage=chat.usage,
        retry_after_s=retry_after_s,
        error_message=message,
        problem=problem,
    )


def message_anywhere(body: Any) -> str | None:
    """An error's message where servers commonly put it, for bodies that are not in the provider's documented shape."""
    for place in ("/message", "/error/message", "/error", "/detail", "/detail/message", "/title"):
        found = at(body, place)
        if isinstance(found, str) and found:
            return found
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
    return message is not None and _ACCOUNT.search(message) is not None


def speaks_of_content(message: str | None) -> bool:
    """Whether an error's words say that what was asked for was refused for its content: a policy, a filter, moderation."""
    return message is not None and _CONTENT.search(message) is not None


def withheld(finish: str | None) -> bool:
    """Whether a finish reason says that a picture was held back for its content."""
    return finish is not None and (speaks_of_content(finish) or _WITHHELD.search(finish) is not None)


def _stated(body: Any, where: ResponseMap, name: Any) -> Any:
    pointer = where.usage.get(name)
    return at(body, pointer) if pointer is not None else None


def _number(value: Any) -> float | None:
    """The number as a float; infinite where JSON states one that no float holds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
