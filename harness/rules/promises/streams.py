"""Rules about answers that come piece by piece, as server-sent events in the convention of OpenAI's API.

A JSON answer where a stream was asked for breaks stream.media-type alone; the others have nothing to look at then.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from testcard.harness.intake.json_values import read_json
from testcard.harness.rules import probes
from testcard.harness.rules.evidence import FINISHES, Observation, SeenExchange, may_be_empty
from testcard.harness.rules.rule import Probe, openai_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.decode import message_anywhere
from testcard.harness.wire.pictures import lenient_base64, look
from testcard.harness.wire.sse import DONE, EventStream, PictureStream
from testcard.specs.pointers import at
from testcard.specs.profile import PictureEvents

EVENTS = "text/event-stream"
_CLAUSE = openai_clause("Streaming · chat.completion.chunk")
_CHUNK = "chat.completion.chunk"


def _streams_text(scope: Scope) -> bool:
    return scope.profile.kind == "chat" and scope.task is not None and scope.field("stream") is not None


def _streams_pictures(scope: Scope) -> bool:
    return scope.task is not None and scope.profile.response.events is not None and scope.field("stream") is not None


def _streams(scope: Scope) -> bool:
    return _streams_text(scope) or _streams_pictures(scope)


def stream(scope: Scope) -> Iterator[Probe]:
    """The base request, to be answered piece by piece."""
    if scope.task is None or not _streams(scope):
        return
    yield from probes.base(scope, scope.task)
    request = replace(scope.base_request(scope.task), stream=True)
    yield probes.variant(scope, "stream:true", request, change=f"{scope.profile.wire_name('stream')} = true")


def _streamed(seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, Frames | None]]:
    """Carried out requests for a stream, each with what was streamed; None where no stream came."""
    for one in seen:
        if one.carried_out and one.asked.get("stream") is True:
            is_stream = one.media_type == EVENTS or looks_like_events(one.body)
            yield one, read_frames(one.body) if is_stream else None


def _readable(seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, Frames] | Observation]:
    """Streams with at least one chunk, or why there is none to look at."""
    for one, frames in _streamed(seen):
        if frames is None:
            yield Observation("unproven", "no event stream came", (one.id,))
        elif not frames.chunks:
            yield Observation("unproven", "no event of the stream could be read", (one.id,))
        else:
            yield one, frames


@rule("stream.media-type", level="should", clause=_CLAUSE, applies=_streams, asks=stream)
def media_type(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A stream is sent where one was asked for, as text/event-stream, and nowhere else."""
    for one in seen:
        if not one.carried_out:
            continue
        came = one.media_type
        if one.asked.get("stream") is not True:
            if came == EVENTS:
                yield Observation("broken", "an event stream came, and none was asked for", (one.id,))
        elif came == EVENTS:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("broken", f"a stream was asked for, and {came[:60] or 'a body of no stated type'} came", (one.id,))


@rule("stream.frames", level="should", clause=_CLAUSE, applies=_streams, asks=stream)
def frames(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A stream is made of server-sent events, and each event carries a JSON object or [DONE].

    Comments, ids, retry times and any line end are part of the format.
    """
    for one, read in _streamed(seen):
        if read is None:
            yield Observation("unproven", "no event stream came", (one.id,))
        elif read.problems:
            yield Observation("broken", "; ".join(read.problems[:2]), (one.id,))
        else:
            yield Observation("pass", exchanges=(one.id,))


@rule("stream.one-id", level="should", clause=_CLAUSE, applies=_streams_text, asks=stream)
def one_id(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Every chunk of a stream carries the same id."""
    for found in _readable(seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, read = found
        ids = [chunk.get("id") for chunk in read.chunks if chunk.get("error") is None]
        named = [name for name in ids if isinstance(name, str) and name]
        told = set(named)
        if len(told) > 1:
            yield Observation("broken", f"{len(ids)} chunks carry {len(told)} ids", (one.id,), "/id")
        elif len(named) < len(ids):
            yield Observation("broken", f"of {len(ids)} chunks, {len(ids) - len(named)} carry no id", (one.id,), "/id")
        else:
            yield Observation("pass", exchanges=(one.id,))


@rule("stream.finish-reason", level="should", clause=_CLAUSE, applies=_streams_text, asks=stream)
def finish_reason(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A stream says why it ended, at its end and only there."""
    for found in _readable(seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, read = found
        if read.error is not None:
            yield Observation("unproven", "the stream carries an error", (one.id,))
            continue
        problem = _finish_problem(read)
        if problem is not None:
            yield Observation("broken", problem, (one.id,), "/choices/0/finish_reason")
        else:
            yield Observation("pass", exchanges=(one.id,))


def _finish_problem(read: Frames) -> str | None:
    ended: dict[object, str] = {}
    seen: set[object] = set()
    for choice in read.choices:
        index, reason = str(choice.get("index", 0)), choice.get("finish_reason")
        delta = choice.get("delta")
        seen.add(index)
        if index in ended and isinstance(delta, dict) and delta.get("content"):
            return f"text follows the finish_reason {ended[index]!r}"
        if isinstance(reason, str) and reason:
            ended[index] = reason[:40]
    unknown = next((reason for reason in ended.values() if reason not in FINISHES), None)
    if unknown is not None:
        return f"the finish_reason is {unknown!r}"
    return "no chunk has a finish_reason" if not ended else "a choice has no finish_reason" if seen - ended.keys() else None


@rule("stream.terminated", level="should", clause=_CLAUSE, applies=_streams_text, asks=stream)
def terminated(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The last event of a stream is [DONE]."""
    for found in _readable(seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, read = found
        if read.after_done:
            yield Observation("broken", f"{read.after_done} events follow [DONE]", (one.id,))
        elif read.done:
            yield Observation("pass", exchanges=(one.id,))
        elif read.error is not None:
            yield Observation("unproven", "the stream ends with an error", (one.id,))
        else:
            yield Observation("broken", "the stream ends without [DONE]", (one.id,))


@rule("stream.text", level="should", clause=_CLAUSE, applies=_streams_text, asks=stream)
def text(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """The chunks of a stream are chat.completion.chunk objects of one model, and their pieces form a text."""
    for found in _readable(seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, read = found
        if read.error is not None:
            message = message_anywhere({"error": read.error}) or "without a message"
            yield Observation("broken", f"the stream carries an error: {message[:120]}", (one.id,), "/error")
            continue
        objects = {str(chunk.get("object"))[:40] for chunk in read.chunks} - {_CHUNK}
        models = {chunk["model"] for chunk in read.chunks if isinstance(chunk.get("model"), str) and chunk["model"]}
        if objects:
            yield Observation("broken", f"the object of a chunk is {', '.join(sorted(objects))}", (one.id,), "/object")
        elif len(models) > 1:
            yield Observation("broken", f"{len(models)} models are named in one stream", (one.id,), "/model")
        elif _pieces(read).strip():
            yield Observation("pass", exchanges=(one.id,))
        elif may_be_empty(one, one.answer.finish_reason if one.answer is not None else None):
            yield Observation("unproven", "the text is empty, as it may be here", (one.id,))
        else:
            yield Observation("broken", "the pieces form no text", (one.id,), "/choices/0/delta/content")


def _pieces(read: Frames) -> str:
    deltas = (choice.get("delta") for choice in read.choices)
    parts = (delta.get("content") for delta in deltas if isinstance(delta, dict))
    return "".join(part for part in parts if isinstance(part, str))


# ── what stands in the body of a stream ───────────────────────────────────────────────────────────────────────────────


_FIELDS = frozenset({"data", "event", "id", "retry"})
_LOOKS_LIKE_EVENTS = re.compile(rb"\s*+(:|(data|event|id|retry)[ ]*:)")
#: A field that no reader knows is skipped by all of them; anything that is not even a name is something else.
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Frames:
    """A read stream. `problems` are departures from the format, `chunks` the objects that events carry, in order.

    `done`: [DONE] was sent; `after_done`: how many events came behind it.
    """

    problems: tuple[str, ...]
    chunks: tuple[dict[str, Any], ...]
    done: bool
    after_done: int

    @property
    def choices(self) -> Iterator[dict[str, Any]]:
        """Every choice of every chunk."""
        for chunk in self.chunks:
            listed = chunk.get("choices")
            yield from (choice for choice in (listed if isinstance(listed, list) else ()) if isinstance(choice, dict))

    @property
    def error(self) -> Any:
        """The first error that a chunk carries, or None."""
        return next((chunk["error"] for chunk in self.chunks if chunk.get("error") is not None), None)


def looks_like_events(body: bytes) -> bool:
    """Whether a body begins as an event stream does."""
    return _LOOKS_LIKE_EVENTS.match(body.removeprefix(b"\xef\xbb\xbf")) is not None


def read_frames(body: bytes) -> Frames:
    """Reads a whole stream. An event that the stream breaks off in is read all the same, and told as a problem."""
    problems = list(_line_problems(body))
    reader = EventStream()
    events = reader.feed(body)
    if reader.unfinished:
        problems.append("the last event does not end with an empty line")
        events += reader.feed(b"\n\n")
    chunks: list[dict[str, Any]] = []
    done, after_done = False, 0
    for number, event in enumerate(events):
        after_done += done
        if event.data.strip() == DONE:
            done = True
            continue
        chunk = _parsed(event.data)
        if isinstance(chunk, dict):
            chunks.append(chunk)
        else:
            problems.append(f"the data of event {number} is no JSON object: {event.data[:_SHOWN]!r}")
    if not events:
        problems.append("there is no event in it")
    return Frames(tuple(problems), tuple(chunks), done, after_done)


def _parsed(text: str) -> Any:
    try:
        return read_json(text)
    except ValueError:
        return None


def _line_problems(body: bytes) -> Iterator[str]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        yield "it is not UTF-8"
        return
    for line in re.split(r"\r\n|\r|\n", text):
        name = line.partition(":")[0]
        if name and name not in _FIELDS and not _NAME.fullmatch(name):
            yield f"a line is no field of an event: {line[:_SHOWN]!r}"
            return


# ── pictures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


_PICTURES = openai_clause("Image streaming · image_generation.completed")


def _picture_streams(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, PictureStream] | Observation]:
    """Streams of pictures, read; why there is nothing to look at where none came."""
    events = scope.profile.response.events
    for one in seen:
        if events is None or not one.carried_out or one.asked.get("stream") is not True:
            continue
        if one.media_type != EVENTS and not looks_like_events(one.body):
            yield Observation("unproven", "no event stream came", (one.id,))
            continue
        stream = PictureStream(events)
        stream.feed(one.body)
        yield one, stream


@rule("stream.pictures", level="must", clause=_PICTURES, applies=_streams_pictures, asks=stream)
def pictures(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A stream of pictures that was accepted brings every finished picture, and then ends.

    A stream that is billed and brings an error, only previews or nothing at all breaks it.
    """
    for found in _picture_streams(scope, seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, read = found
        wanted = one.asked.get("n") or 1
        came = len(one.answer.pictures) if one.answer is not None else 0
        if read.error is not None:
            said = message_anywhere(read.error) or "without a message"
            yield Observation("broken", f"the stream carries an error: {said[:120]}", (one.id,))
        elif came != wanted:
            events = f"{len(read.events)} events, {len(read.completed)} of them finished pictures"
            yield Observation("broken", f"{came} finished pictures came for {wanted} ({events})", (one.id,))
        elif read.unfinished:
            yield Observation("broken", "the stream ended in the middle of an event", (one.id,))
        elif read.after_end:
            yield Observation("broken", f"{read.after_end} events follow the end of the stream", (one.id,))
        elif read.problem is not None:
            yield Observation("broken", read.problem, (one.id,))
        else:
            yield Observation("pass", exchanges=(one.id,))


@rule("stream.previews", level="should", clause=_PICTURES, applies=_streams_pictures, asks=stream)
def previews(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A preview is a picture that decodes, comes before the finished one, and is numbered in order.

    How many previews come is the server's choice.
    """
    events = scope.profile.response.events
    for found in _picture_streams(scope, seen):
        if isinstance(found, Observation):
            yield found
            continue
        one, read = found
        problem = next(_preview_problems(events, read), None) if events is not None else None
        if problem is not None:
            yield Observation("broken", problem, (one.id,))
        elif read.partials:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("unproven", "no preview came", (one.id,))


def _preview_problems(events: PictureEvents, read: PictureStream) -> Iterator[str]:
    kinds = [event.kind for event in read.events]
    if "completed" in kinds and "partial" in kinds[len(kinds) - kinds[::-1].index("completed") :]:
        yield "a preview follows the last finished picture"
    numbers = [event.index for event in read.partials if event.index is not None]
    if any(after <= before for before, after in itertools.pairwise(numbers)) and len(read.completed) < 2:
        yield f"previews are numbered {', '.join(map(str, numbers[:8]))}"
    for number, event in enumerate(read.partials):
        text = at(event.data, events.base64) if events.base64 is not None else None
        if not isinstance(text, str):
            if events.url is None:
                yield f"preview {number} holds no picture"
            continue
        data = lenient_base64(text)
        if data is None or (problem := look(data).problem) is not None:
            yield f"preview {number} is no picture that decodes: {'no base64' if data is None else problem}"


RULES = (
    media_type,
    frames,
    one_id,
    finish_reason,
    terminated,
    text,
    pictures,
    previews,
)
