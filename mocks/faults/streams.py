"""Lies about answers that come piece by piece."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from testcard.mocks.exchange import Answer, Call, Problem
from testcard.mocks.faults.register import VISION, fault, own_events

Events = list[Any]
_DONE = b"data: [DONE]\n\n"


def _mapped(events: Events, **changes: Any) -> Events:
    """Every chunk with these fields changed, or left out for `...`."""
    kept = [{name: value for name, value in event.items() if changes.get(name) is not ...} for event in events]
    return [{**event, **{name: value for name, value in changes.items() if value is not ...}} for event in kept]


def _with_choice(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**event, "choices": [{**choice, **changes} for choice in event["choices"]]}


@fault("problems", "stream.media-type", VISION, own=own_events)
def _whole_answer(call: Call, problems: list[Problem]) -> list[Problem]:
    """Answers in one piece, as JSON, although a stream was asked for."""
    if isinstance(call.fields, dict):
        call.fields.pop("stream", None)
    return problems


@fault("problems", "stream.media-type/unasked", VISION)
def _always_streams(call: Call, problems: list[Problem]) -> list[Problem]:
    """Streams every answer, asked to or not."""
    if isinstance(call.fields, dict):
        call.fields["stream"] = True
    return problems


@fault("answer", "stream.media-type/plain", VISION, also=("http.media-type",))
def _plain_text(call: Call, answer: Answer) -> Answer:
    """Calls an event stream plain text."""
    if answer.events is not None:
        answer.media_type = "text/plain"
    return answer


@fault("answer", "stream.frames", VISION, also=("http.media-type",))
def _lines_of_json(call: Call, answer: Answer) -> Answer:
    """Sends lines of JSON without the names of fields that make events of them."""
    if answer.events is not None:
        answer.events = [part.replace(b"data: ", b"") for part in answer.events]
    return answer


@fault("events", "stream.frames/broken-json", VISION)
def _broken_chunk(call: Call, events: Events) -> Events:
    """Cuts the JSON of one event off in the middle."""
    middle = len(events) // 2
    half = msgspec.json.encode(events[middle])
    return [*events[:middle], half[: len(half) // 2], *events[middle + 1 :]]


@fault("answer", "stream.frames/run-together", VISION)
def _run_together(call: Call, answer: Answer) -> Answer:
    """Ends events with one line end instead of two, so that all of them are one."""
    if answer.events is not None:
        answer.events = [part.replace(b"\n\n", b"\n") for part in answer.events]
    return answer


@fault("events", "stream.one-id", VISION)
def _new_ids(call: Call, events: Events) -> Events:
    """Gives every chunk an id of its own."""
    return [{**event, "id": f"chatcmpl-{secrets.token_hex(12)}"} for event in events]


@fault("events", "stream.one-id/missing", VISION)
def _no_ids(call: Call, events: Events) -> Events:
    """Leaves the chunks' ids out."""
    return _mapped(events, id=...)


@fault("events", "stream.finish-reason", VISION)
def _no_finish_reason(call: Call, events: Events) -> Events:
    """Never says why the text ended."""
    return [_with_choice(event, finish_reason=None) for event in events]


@fault("events", "stream.finish-reason/everywhere", VISION)
def _finish_reason_everywhere(call: Call, events: Events) -> Events:
    """Says with every chunk that the text has ended."""
    return [_with_choice(event, finish_reason="stop") for event in events]


@fault("answer", "stream.terminated", VISION)
def _no_done(call: Call, answer: Answer) -> Answer:
    """Ends a stream without [DONE]."""
    if answer.events is not None:
        answer.events = [part for part in answer.events if b"[DONE]" not in part]
    return answer


@fault("answer", "stream.terminated/early", VISION)
def _done_too_early(call: Call, answer: Answer) -> Answer:
    """Sends [DONE] before the last chunk."""
    if answer.events is not None:
        *parts, last = [part for part in answer.events if b"[DONE]" not in part]
        answer.events = [*parts, _DONE, last]
    return answer


@fault("events", "stream.text", VISION)
def _blank_pieces(call: Call, events: Events) -> Events:
    """Streams pieces without text."""
    return [_with_choice(event, delta={}) for event in events]


@fault("events", "stream.text/object", VISION)
def _whole_objects(call: Call, events: Events) -> Events:
    """Calls every chunk a whole completion."""
    return _mapped(events, object="chat.completion")


@fault("events", "stream.text/error", VISION)
def _error_in_the_stream(call: Call, events: Events) -> Events:
    """Breaks off after the first pieces with an error, under the status 200."""
    return [*events[:3], {"error": {"message": "the worker was lost", "type": "server_error", "code": 500}}]
