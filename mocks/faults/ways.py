"""Lies that only a provider of a user's own can tell: pictures that are the body, streams of pictures, requests that always become tasks."""

from __future__ import annotations

from typing import Any

import msgspec
import pybase64

from testcard.mocks.exchange import Answer, Call
from testcard.mocks.faults.register import fault, own_binary, own_cancels, own_events, own_failing, own_polls, own_tasks
from testcard.mocks.filling import put
from testcard.specs.loader import Provider
from testcard.specs.pointers import at
from testcard.specs.profile import AsyncProtocol, PictureEvents, ResponseMap

Events = list[Any]


# Pictures that are the body.


def _knows_base64(provider: Provider, operation: str) -> bool:
    """Operations that answer with the picture itself and have a place for base64 as well."""
    return own_binary(provider, operation) and provider.operation_profile(operation).response.base64 is not None


@fault("answer", "delivery.as-asked/in-json", own=_knows_base64)
def _in_json(call: Call, answer: Answer) -> Answer:
    """Sends the picture as base64 in JSON where the picture itself was asked for."""
    where = _where(call)
    if answer.status != 200 or not answer.media_type.startswith("image/") or where.base64 is None:
        return answer
    encoded = pybase64.b64encode(answer.data or b"").decode("ascii")
    body = put({"finish_reason": "SUCCESS"}, (where.pictures or "") + "/" + where.base64, encoded)
    return Answer(200, body, headers=answer.headers, images=answer.images, billed=answer.billed)


@fault("answer", "http.media-type/picture-as-json", own=own_binary, also=("schema.response",))
def _called_json(call: Call, answer: Answer) -> Answer:
    """Sends the picture itself and calls it JSON."""
    if answer.status == 200 and answer.media_type.startswith("image/"):
        answer.media_type = "application/json"
    return answer


# Streams of pictures.


@fault("events", "stream.pictures", own=own_events)
def _previews_only(call: Call, events: Events) -> Events:
    """Streams previews, and never the picture."""
    return [event for event in events if not _is(call, event, _events(call).completed)]


@fault("events", "stream.pictures/empty", own=own_events, also=("stream.frames",))
def _empty_stream(call: Call, events: Events) -> Events:
    """Bills a stream in which nothing comes."""
    return []


@fault("events", "stream.pictures/error", own=own_events)
def _error_instead(call: Call, events: Events) -> Events:
    """Bills a stream that ends with an error in place of the picture."""
    told = _events(call)
    kept = [event for event in events if not _is(call, event, told.completed)]
    return [*kept, {"type": told.error[0], "error": {"message": "the worker was lost", "code": "server_error"}}]


@fault("answer", "stream.pictures/cut", own=own_events, also=("stream.frames",))
def _cut_stream(call: Call, answer: Answer) -> Answer:
    """Ends a stream in the middle of the finished picture."""
    if answer.events:
        answer.events = [*answer.events[:-1], answer.events[-1][: len(answer.events[-1]) // 2]]
    return answer


@fault("events", "stream.previews", own=own_events)
def _broken_previews(call: Call, events: Events) -> Events:
    """Streams previews that are no pictures."""
    told = _events(call)
    place = told.base64 or told.url or ""
    return [put(event, place, "AAAA") if _is(call, event, told.partial) else event for event in events]


# Requests that always become tasks.


@fault("body", "async.terminal/always", own=own_polls, also=("schema.response",))
def _never_ends(call: Call, body: Any) -> Any:
    """Says for ever that a task goes on."""
    protocol = _protocol(call)
    if call.operation != protocol.operation or protocol.state is None:
        return body
    word = protocol.word("running") or protocol.word("queued")
    return put(_without_pictures(call, body), protocol.state, word)


@fault("body", "async.result/nothing", own=own_polls, also=("image.count", "schema.response", "http.error-not-200"))
def _nothing_came_of_it(call: Call, body: Any) -> Any:
    """Completes a task that brings no picture."""
    return _without_pictures(call, body) if call.operation in _protocol(call).operations else body


@fault("body", "async.result/always-fails", own=own_failing, also=("schema.response",))
def _every_task_fails(call: Call, body: Any) -> Any:
    """Lets every task fail."""
    protocol = _protocol(call)
    if call.operation != protocol.operation or protocol.state is None or at(body, protocol.state) != protocol.word("completed"):
        return body
    return put(_without_pictures(call, body), protocol.state, protocol.word("failed"))


@fault("answer", "async.reference/left-out", own=own_tasks, also=("schema.response", "async.accepted"))
def _no_reference(call: Call, answer: Answer) -> Answer:
    """Accepts a request without saying what its task is asked for by."""
    if answer.status in _protocol(call).status and isinstance(answer.json, dict):
        for place in _protocol(call).task_reference:
            answer.json = _without(answer.json, place)
    return answer


@fault("answer", "async.cancel", own=own_cancels, also=("schema.response", "http.status-documented"))
def _calls_off_anything(call: Call, answer: Answer) -> Answer:
    """Says of any reference that its task is called off, whether there is one or not."""
    protocol = _protocol(call)
    if answer.status != 404:
        return answer
    word = protocol.word("cancelled")
    return Answer(202, put({}, protocol.state, word) if protocol.state is not None and word is not None else {})


def _where(call: Call) -> ResponseMap:
    assert call.described is not None
    return call.described.operation_profile(call.operation).response


def _events(call: Call) -> PictureEvents:
    events = _where(call).events
    assert events is not None
    return events


def _is(call: Call, event: Any, words: tuple[str, ...]) -> bool:
    told = _events(call)
    return isinstance(event, dict) and any(
        value in words for value in ([at(event, told.type)] if told.type is not None else event.values())
    )


def _protocol(call: Call) -> AsyncProtocol:
    assert call.described is not None
    protocol = call.described.protocol(call.operation)
    assert protocol is not None
    return protocol


def _without(body: Any, place: str) -> Any:
    *way, last = place.strip("/").split("/")
    if way:
        above = "/" + "/".join(way)
        return _put_there(body, above, _without(at(body, above), last)) if at(body, above) is not None else body
    return {name: value for name, value in body.items() if name != last} if isinstance(body, dict) else body


def _without_pictures(call: Call, body: Any) -> Any:
    """The answer of a poll or a result without what holds the pictures: an empty list, or nothing."""
    assert call.described is not None
    protocol = _protocol(call)
    working = (name for name in call.described.profile.operations if call.described.protocol(name) is protocol)
    for name in working:
        pictures = call.described.operation_profile(name).response.pictures
        if pictures is None:
            continue
        for above in (protocol.result, ""):
            holder = above + pictures.partition("/*")[0]
            if holder and at(body, holder) is not None:
                return _put_there(body, holder, [] if "*" in pictures else None)
    return body


def _put_there(body: Any, place: str, value: Any) -> Any:
    plain = msgspec.json.decode(msgspec.json.encode(body))
    *way, last = place.strip("/").split("/")
    owner = plain
    for name in way:
        owner = owner[name]
    owner[last] = value
    return plain
