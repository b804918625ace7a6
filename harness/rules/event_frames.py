"""What stands in the body of a streamed chat: its events, the chunks they carry, and where it departs from the format."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from testcard.harness.wire.sse import DONE, EventStream

_FIELDS = frozenset({"data", "event", "id", "retry"})
_LOOKS_LIKE_EVENTS = re.compile(rb"\s*(:|(data|event|id|retry)[ ]*:)")
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
        return msgspec.json.decode(text.encode())
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
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
