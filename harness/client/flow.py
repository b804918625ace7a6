"""The client's whole logic as one generator, sans IO: it yields steps, is sent what came of them, and returns the result.

The sync and the async driver only carry the steps out (`client.sync`, `client.asynchronous`). A billed request is opened
exactly once; only polls, which cost nothing, are repeated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from testcard.harness.client.errors import (
    AddressNotAllowed,
    AuthenticationFailed,
    ClientError,
    ContractBroken,
    PaymentRequired,
    RateLimited,
    RequestRefused,
    ServerFailed,
    TaskFailed,
)
from testcard.harness.client.results import Picture, Result, Timings
from testcard.harness.client.steps import Block, Head, Open, Read, Say, Step, Wait
from testcard.harness.pricing import Pricing
from testcard.harness.wire.addresses import MOST_REDIRECTS, fetchable, host_of, may_ask, redirected
from testcard.harness.wire.billing import answer_cost, delivered
from testcard.harness.wire.choice import Choice
from testcard.harness.wire.decode import decode, decode_body, message_anywhere, retry_after, stream_answer
from testcard.harness.wire.encode import build, fetch_request, poll_request
from testcard.harness.wire.model import Answer, AsyncTask, DeliveredPicture, PictureInfo, WireRequest, WireResponse
from testcard.harness.wire.pictures import lenient_base64, look
from testcard.harness.wire.sse import ChatStream, EventStream
from testcard.specs.loader import Provider

DEFAULT_TIMEOUT_S = 330.0
DEFAULT_MAX_BYTES = 256 * 1024 * 1024


Flow = Generator[Step, Any, Result]


@dataclass(frozen=True, slots=True)
class Call:
    """Everything one request needs: who is asked for what, where, with which key, at which price, within which bounds.

    `live`: whether an answer of a target on this machine may lead off it.
    """

    provider: Provider
    choice: Choice
    base_url: str
    api_key: str | None
    pricing: Pricing
    wall_clock: Callable[[], datetime]
    max_bytes: int = DEFAULT_MAX_BYTES
    poll_interval_s: float | None = None
    poll_timeout_s: float | None = None
    live: bool = True


def run(call: Call) -> Flow:
    """Carries out one task request; returns its `Result` or raises a `ClientError`."""
    request = build(
        call.provider, call.choice.fields, base_url=call.base_url, api_key=call.api_key, stream=bool(call.choice.request.stream)
    )
    if request.stream:
        return (yield from _streamed(call, request))
    response = yield from _whole(call, request)
    answer = decode(call.provider, request.operation, response)
    _refuse_failures(call, answer, response)
    accepted_s, queue_s = response.done_s, None
    if answer.task is not None:
        answer, finished_s = yield from _awaited(call, answer.task, accepted_s)
        queue_s = finished_s - accepted_s
    else:
        finished_s = accepted_s
    if answer.problem is not None:
        raise ContractBroken(f"the answer cannot be used: {answer.problem}", operation=request.operation, answer=answer)
    if call.provider.operation_profile(request.operation).kind == "chat":
        if answer.text is None:
            raise ContractBroken("the answer holds no text", operation=request.operation, answer=answer)
        return _result(call, answer, (), Timings(finished_s - response.sent_s, response.first_byte_s - response.sent_s, queue_s))
    pictures, done_s, download_s = yield from _in_hand(call, answer, finished_s)
    timings = Timings(done_s - response.sent_s, response.first_byte_s - response.sent_s, queue_s, download_s)
    return _result(call, answer, pictures, timings)


def _whole(call: Call, request: WireRequest) -> Generator[Step, Any, WireResponse]:
    head: Head = yield Open(request)
    return (yield from _rest(call, request, head))


def _rest(call: Call, request: WireRequest, head: Head) -> Generator[Step, Any, WireResponse]:
    blocks: list[bytes] = []
    size = 0
    while True:
        block: Block = yield Read()
        if not block.data:
            return WireResponse(head.status, head.headers, b"".join(blocks), head.sent_s, head.first_byte_s, block.at_s)
        blocks.append(block.data)
        size += len(block.data)
        if size > call.max_bytes:
            raise ContractBroken(f"the answer is larger than {call.max_bytes} bytes", operation=request.operation)


def _streamed(call: Call, request: WireRequest) -> Flow:
    head: Head = yield Open(request)
    first_byte_s = head.first_byte_s - head.sent_s
    media_type = next((value for name, value in head.headers if name.lower() == "content-type"), "")
    if head.status >= 300 or not media_type.lower().startswith("text/event-stream"):
        response = yield from _rest(call, request, head)
        answer = decode(call.provider, request.operation, response)
        _refuse_failures(call, answer, response)
        raise ContractBroken(
            f'a stream was asked for and "{media_type or "no media type"}" came', operation=request.operation, answer=answer
        )
    reader, chat = EventStream(), ChatStream()
    first_token_s = None
    size = 0
    while True:
        block: Block = yield Read()
        size += len(block.data)
        if size > call.max_bytes:
            raise ContractBroken(f"the stream is larger than {call.max_bytes} bytes", operation=request.operation)
        for event in reader.feed(block.data):
            piece = chat.add(event)
            if piece is not None:
                if first_token_s is None:
                    first_token_s = block.at_s - head.sent_s
                yield Say(piece)
        if not block.data or chat.done:
            break
    answer = stream_answer(head.status, chat, unfinished=reader.unfinished)
    if answer.problem is not None:
        raise ContractBroken(answer.problem, operation=request.operation, answer=answer)
    return _result(call, answer, (), Timings(block.at_s - head.sent_s, first_byte_s, first_token_s=first_token_s))


def _awaited(call: Call, task: AsyncTask, accepted_s: float) -> Generator[Step, Any, tuple[Answer, float]]:
    """Polls until the task is terminal; the result's answer and when it was seen."""
    protocol = call.provider.profile.asynchronous
    operation = call.choice.operation
    assert protocol is not None, "a task was decoded by a protocol"
    if task.reference is None and task.poll_url is None:
        raise ContractBroken("the task was accepted without a reference to poll", operation=operation)
    interval_s = protocol.poll_interval_s if call.poll_interval_s is None else call.poll_interval_s
    limit_s = protocol.timeout_s if call.poll_timeout_s is None else call.poll_timeout_s
    request = _poll_request(call, task)
    while True:
        response = yield from _whole(call, request)
        answer = decode(call.provider, protocol.operation, response)
        pause_s = interval_s
        if response.status == 429 or response.status >= 500:
            # A poll costs nothing, and giving up would lose a task that is already paid for.
            pause_s = max(answer.retry_after_s or 0.0, interval_s)
        else:
            _refuse_failures(call, answer, response)
            state = answer.task.state if answer.task else None
            if state == protocol.states.get("failed", "failed"):
                raise TaskFailed(
                    f"the task ended as failed: {_without_key(call, _error_text(answer.task.error if answer.task else None))}",
                    operation=operation,
                    answer=answer,
                )
            if state == protocol.states.get("completed", "completed"):
                result = decode_body(call.provider, operation, answer.task.result if answer.task else None)
                return replace(result, task=answer.task), response.done_s
        if response.done_s + pause_s - accepted_s > limit_s:
            raise TaskFailed(f"the task came to no end within {limit_s:g} s", operation=operation, answer=answer)
        yield Wait(pause_s)


def _in_hand(call: Call, answer: Answer, finished_s: float) -> Generator[Step, Any, tuple[tuple[Picture, ...], float, float | None]]:
    """Every delivered picture, decoded from base64 or downloaded; with when the last one was there and how long downloads took."""
    operation = call.choice.operation
    if not answer.pictures:
        said = message_anywhere(answer.json)
        reason = f": {_without_key(call, _shortened(said))}" if said else ""
        raise ContractBroken(f"the answer holds no pictures{reason}", operation=operation, answer=answer)
    pictures = []
    done_s = finished_s
    download_s: float | None = None
    for item in answer.pictures:
        if (item.base64 is None) == (item.url is None):
            which = "neither url nor base64" if item.url is None else "both url and base64"
            raise ContractBroken(f"picture {item.index + 1} has {which}", operation=operation, answer=answer)
        if item.base64 is not None:
            data = lenient_base64(item.base64)
            if data is None:
                raise ContractBroken(f"picture {item.index + 1} is no base64", operation=operation, answer=answer)
        else:
            response = yield from _downloaded(call, answer, item)
            data, done_s = response.body, response.done_s
            download_s = (download_s or 0.0) + response.done_s - response.sent_s
        seen = look(data)
        if seen.problem is not None or seen.format is None or seen.width_px is None or seen.height_px is None:
            raise ContractBroken(f"picture {item.index + 1} does not decode: {seen.problem}", operation=operation, answer=answer)
        pictures.append(Picture(data, seen.format, seen.width_px, seen.height_px, item.seed, item.url, item.index))
    return tuple(pictures), done_s, download_s


def _downloaded(call: Call, answer: Answer, item: DeliveredPicture) -> Generator[Step, Any, WireResponse]:
    url = item.url or ""
    operation = call.choice.operation
    if not fetchable(url):
        scheme = url.partition(":")[0][:16] if ":" in url else "no scheme"
        raise ContractBroken(
            f"picture {item.index + 1} has an address that is no absolute http(s) URL ({scheme})", operation=operation, answer=answer
        )
    _stay(call, answer, f"picture {item.index + 1}", url)
    response = yield from _whole(call, fetch_request(url, operation))
    for followed in itertools.count():
        onward = redirected(url, response.status, response.headers)
        if onward is None or not fetchable(onward):
            break
        if followed == MOST_REDIRECTS:
            what = f"picture {item.index + 1}: its address leads nowhere, on and on"
            raise ContractBroken(what, operation=operation, answer=answer)
        _stay(call, answer, f"picture {item.index + 1}", onward)
        url = onward
        response = yield from _whole(call, fetch_request(url, operation))
    if response.status != 200:
        raise ContractBroken(f"picture {item.index + 1}: its address answers {response.status}", operation=operation, answer=answer)
    return response


def _poll_request(call: Call, task: AsyncTask) -> WireRequest:
    """The request that asks for the task, where the answer's own address may be asked."""
    try:
        request = poll_request(call.provider, task.reference, base_url=call.base_url, api_key=call.api_key, poll_url=task.poll_url)
    except ValueError:
        request = None
    if request is None or not fetchable(request.url):
        raise ContractBroken("the task is to be polled at an address that is none", operation=call.choice.operation)
    _stay(call, None, "the task", request.url)
    return request


def _stay(call: Call, answer: Answer | None, what: str, url: str) -> None:
    """Raises `AddressNotAllowed` where an answer leads off this machine and the caller did not allow that."""
    if not may_ask(url, asked=call.base_url, live=call.live):
        raise AddressNotAllowed(
            f"{what} lies on {host_of(url)}, which is not on this machine, and was not asked for: {_without_key(call, _shortened(url))}",
            operation=call.choice.operation,
            answer=answer,
            hint="add --live to let the target's answers lead off this machine",
        )


def _refuse_failures(call: Call, answer: Answer, response: WireResponse) -> None:
    """Raises the typed error of a status that is no success."""
    status, operation = answer.status, call.choice.operation
    if 200 <= status < 300:
        return
    said = f": {_without_key(call, _shortened(answer.error_message))}" if answer.error_message else ""
    if status < 400:
        where = response.header("location")
        raise ContractBroken(
            f"the target answered {status}" + (f" and points to {where}" if where else ""),
            operation=operation,
            answer=answer,
            hint="redirects are not followed, so that the key goes nowhere else; use the final address as --base-url",
        )
    auth = call.provider.profile.auth
    kinds: dict[int, tuple[type[ClientError], str]] = {
        401: (AuthenticationFailed, f"set TESTCARD_API_KEY or {auth.key_env} to a key that this target accepts"),
        403: (AuthenticationFailed, "check that the key may use this model, and that the account is in order"),
        402: (PaymentRequired, "top up the account, or use another key"),
        429: (RateLimited, "wait, then try again"),
    }
    error, hint = kinds.get(status, (RequestRefused, "the target refuses what its contract allows; testcard check says more"))
    if status >= 500:
        error, hint = ServerFailed, "whether it was billed is unknown; try again, or ask the provider"
    if status == 429:
        seconds = answer.retry_after_s
        if seconds is None:
            seconds = retry_after(response.header(call.provider.profile.errors.retry_after_header), None, call.wall_clock())
            answer = replace(answer, retry_after_s=seconds)
        if seconds is not None:
            hint = f"wait {seconds:g} s, then try again"
    raise error(f"the target answered {status}{said}", operation=operation, answer=answer, hint=hint)


def _result(call: Call, answer: Answer, pictures: tuple[Picture, ...], timings: Timings) -> Result:
    choice = call.choice
    infos = [PictureInfo(p.format, p.width, p.height, len(p.bytes), "") for p in pictures]
    price, origin = call.pricing.look_up(choice.model, choice.operation)
    cost = answer_cost(price, answer, delivered(call.provider, choice.operation, choice.request, answer, infos))
    notes = [choice.note] if choice.note else []
    wanted = choice.request.n or 1
    if pictures and len(pictures) != wanted:
        notes.append(f"{wanted} picture{'s were' if wanted != 1 else ' was'} asked for and {len(pictures)} came")
    return Result(
        provider=call.provider.id,
        operation=choice.operation,
        model=choice.model,
        pictures=pictures,
        text=answer.text,
        finish_reason=answer.finish_reason,
        usage=answer.usage,
        cost_usd=cost,
        price_origin="answer" if answer.cost_usd is not None else origin,
        timings=timings,
        answer=answer,
        notes=tuple(notes),
    )


def _error_text(error: Any) -> str:
    if isinstance(error, dict):
        error = error.get("message", error)
    return _shortened(str(error)) if error else "no reason was given"


def _without_key(call: Call, text: str) -> str:
    """Some servers repeat the key in their error message; it must not reach a log by way of ours."""
    return text.replace(call.api_key, "$TESTCARD_API_KEY") if call.api_key else text


def _shortened(text: str, limit: int = 300) -> str:
    # What a stranger's server says is shown on a terminal: no control sequences.
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"


__all__ = ["Block", "Call", "Flow", "Head", "Open", "Read", "Say", "Step", "Wait", "run"]
