"""An event stream of pictures: previews, finished pictures, an error, read as a profile maps its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from testcard.harness.intake.json_values import read_json
from testcard.harness.wire.sse import EventStream, StreamEvent
from testcard.specs.pointers import at
from testcard.specs.profile import PictureEvents

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
