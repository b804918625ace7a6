"""Server-sent events, read as they arrive, and the chat completion that their chunks add up to.

An event stream of pictures: previews, finished pictures, an error, read as a profile maps its events.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Any, Literal

from testcard.harness.intake.json_values import read_json
from testcard.harness.intake.limits import limits
from testcard.harness.wire.model import Usage
from testcard.specs.pointers import at
from testcard.specs.profile import PictureEvents

DONE = "[DONE]"
_MOST_IDS = 16
#: Of a body of megabytes that is nothing but line ends, a list of all lines would take a hundred times as much.
_PIECE_BYTES = 64 * 1024
#: An event has a line or four; of a stream that goes on with lines of another kind no more are read than so many for each event that is allowed.
_LINES_EACH = 10


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event: its data lines joined by newlines, its type ("message" unless the stream says otherwise) and id."""

    data: str
    type: str = "message"
    id: str | None = None


class EventStream:
    """Reads an event stream (WHATWG HTML, section 9.2) from blocks of bytes that may end anywhere, even inside a letter.

    `cut`: which limit of `harness.intake.limits` the stream went beyond; nothing is read from there on.
    """

    def __init__(self) -> None:
        self._most = limits()
        self._events = self._lines = 0
        self._line_chars = self._event_chars = 0
        self.cut: str | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._pending: list[str] = []
        self._after_return = False
        self._data: list[str] = []
        self._type = ""
        self._id: str | None = None

    def feed(self, block: bytes) -> list[StreamEvent]:
        """The events that this block completes. A whole body is one too; of it, too, only a piece at a time is taken apart."""
        if len(block) <= _PIECE_BYTES:
            return self._feed(block)
        view = memoryview(block)
        return [event for begin in range(0, len(block), _PIECE_BYTES) for event in self._feed(bytes(view[begin : begin + _PIECE_BYTES]))]

    def _feed(self, block: bytes) -> list[StreamEvent]:
        if self.cut is not None:
            return []
        text = self._decoder.decode(block)
        if self._after_return and text:
            # A carriage return ended the line already; the newline after it belongs to the same line end.
            text = text.removeprefix("\n")
            self._after_return = False
        if "\n" not in text and "\r" not in text:
            # Joined only when a line ends: a line of megabytes in small blocks must not cost its square.
            self._pending.append(text)
            self._line_chars += len(text)
            if self._line_chars > self._most.sse_line_bytes:
                self._cut(f"a line of the stream is longer than {self._most.sse_line_bytes:,} characters")
            return []
        self._pending.append(text)
        whole, self._pending = "".join(self._pending), []  # of a line of megabytes no more copies than must be
        self._after_return = whole.endswith("\r")
        lines = whole.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        del whole
        self._pending = [lines.pop()]
        self._line_chars = len(self._pending[0])
        if not (self._data or self._type or self._event_chars or any(lines)):
            return []  # line ends alone, of which a hostile stream has millions
        self._lines += len(lines)
        if self._lines > _LINES_EACH * self._most.sse_events:
            self._cut(f"the stream has more than {_LINES_EACH * self._most.sse_events:,} lines")
            return []
        found: list[StreamEvent] = []
        for line in lines:
            event = self._line(line)
            if event is not None:
                self._events += 1
                if self._events > self._most.sse_events:
                    self._cut(f"the stream has more than {self._most.sse_events:,} events")
                else:
                    found.append(event)
            if self.cut is not None:
                break
        return found

    def _cut(self, why: str) -> None:
        self.cut = f"{why}; the rest was not read"
        self._pending, self._data = [], []

    @property
    def unfinished(self) -> bool:
        """Whether the stream ended in the middle of an event, which the standard says to discard."""
        return any(self._pending) or bool(self._data)

    def _line(self, line: str) -> StreamEvent | None:
        if line == "":
            event = StreamEvent("\n".join(self._data), self._type or "message", self._id) if self._data else None
            self._data, self._type, self._event_chars = [], "", 0
            return event
        self._event_chars += len(line)
        if self._event_chars > self._most.sse_event_bytes:
            self._cut(f"an event is longer than {self._most.sse_event_bytes:,} characters")
            return None
        colon = line.find(":")
        name = line if colon < 0 else line[:colon]
        value = "" if colon < 0 else line[colon + (2 if line.startswith(" ", colon + 1) else 1) :]
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None


class ChatStream:
    """Adds up `chat.completion.chunk` events: text of the first choice, finish reason, usage, ids, and whether it ended."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.ids: list[Any] = []
        self.chunks: list[Any] = []
        self.done = False
        self.error: Any = None
        self.problem: str | None = None

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)

    def add(self, event: StreamEvent) -> str | None:
        """The piece of text that the event carries, or None when it carries none."""
        if self.done:
            return None  # the stream has named its end: whether a reader sees what follows depends on how the bytes came in
        if event.data.strip() == DONE:
            self.done = True
            return None
        try:
            chunk = read_json(event.data)
        except ValueError:
            chunk = None
        if not isinstance(chunk, dict):
            self.problem = self.problem or "an event's data is no JSON object"
            return None
        self.chunks.append(chunk)
        if chunk.get("error") is not None:
            self.error = chunk["error"]
        # Only the first few of many different ones are kept: two are as wrong as thousands.
        if "id" in chunk and len(self.ids) < _MOST_IDS and chunk["id"] not in self.ids:
            self.ids.append(chunk["id"])
        if isinstance(chunk.get("usage"), dict):
            self.usage = usage_of(chunk["usage"])
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = choice["finish_reason"]
        delta = choice.get("delta")
        piece = delta.get("content") if isinstance(delta, dict) else None
        if isinstance(piece, str) and piece:
            self.pieces.append(piece)
            return piece
        return None


class TextPieces:
    """The pieces of text of a streamed chat completion, as blocks of its body arrive; `ended` once it has named its end."""

    def __init__(self) -> None:
        self._events = EventStream()
        self._chat = ChatStream()

    def feed(self, block: bytes) -> list[str]:
        """The pieces that this block completes, in order."""
        return [piece for event in self._events.feed(block) if (piece := self._chat.add(event)) is not None]

    @property
    def ended(self) -> bool:
        """Whether the stream has said that it is over, or is not read any further."""
        return self._chat.done or self._events.cut is not None


def usage_of(usage: dict[str, Any]) -> Usage:
    """Token counts as an OpenAI-style usage object states them."""
    return Usage(usage.get("prompt_tokens"), usage.get("completion_tokens"), usage.get("total_tokens"))


Kind = Literal["partial", "completed", "error", "other"]


@dataclass(frozen=True, slots=True)
class PictureEvent:
    """One event: its kind, the type that it names, its data (None where that is no JSON object) and the index of a preview."""

    kind: Kind
    type: str
    data: Any
    index: int | None = None


class PictureStream:
    """Reads the events of a stream of pictures, block by block. `problem`: why the stream cannot be used as a whole."""

    def __init__(self, events: PictureEvents) -> None:
        self._map = events
        self._reader = EventStream()
        self.events: list[PictureEvent] = []
        self.ended = False
        self._unread: str | None = None
        self.after_end = 0

    def feed(self, block: bytes) -> list[PictureEvent]:
        """The events that this block completes, but for the one that only says that the stream is over."""
        found = [event for event in map(self._read, self._reader.feed(block)) if event is not None]
        self.events += found
        return found

    def _read(self, event: StreamEvent) -> PictureEvent | None:
        self.after_end += self.ended
        if self._map.end is not None and event.data.strip() == self._map.end:
            self.ended = True
            return None
        try:
            data = read_json(event.data)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            self._unread = self._unread or "an event's data is no JSON object"
            return PictureEvent("other", event.type, None)
        named = event.type if self._map.type is None else at(data, self._map.type)
        kind = self._kind(named)
        index = at(data, self._map.index) if self._map.index is not None and kind == "partial" else None
        return PictureEvent(kind, str(named), data, index if isinstance(index, int) and not isinstance(index, bool) else None)

    def _kind(self, named: object) -> Kind:
        for kind, words in (("completed", self._map.completed), ("partial", self._map.partial), ("error", self._map.error)):
            if named in words:
                return kind  # type: ignore[return-value] # the table holds kinds
        return "other"

    @property
    def completed(self) -> list[PictureEvent]:
        """The events that brought finished pictures."""
        return [event for event in self.events if event.kind == "completed"]

    @property
    def partials(self) -> list[PictureEvent]:
        """The events that brought previews."""
        return [event for event in self.events if event.kind == "partial"]

    @property
    def error(self) -> Any:
        """The data of the first event that tells of an error; None without one."""
        return next((event.data for event in self.events if event.kind == "error"), None)

    @property
    def unfinished(self) -> bool:
        """Whether the stream ended in the middle of an event."""
        return self._reader.unfinished

    @property
    def problem(self) -> str | None:
        """Why the stream as read so far brings no pictures that can be used; None for a whole one."""
        if self._reader.cut is not None:
            return self._reader.cut
        if self._unread is not None:
            return self._unread
        if self.error is not None:
            return "the stream carries an error"
        if self.unfinished:
            return "the stream ended in the middle of an event"
        if not self.completed:
            return "the stream ended without a finished picture"
        return None if self.ended or self._map.end is None else f"the stream ended without {self._map.end}"
