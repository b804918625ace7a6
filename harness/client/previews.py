"""Pictures of a stream as they arrive: previews, then the finished ones, read as the provider's profile maps its events."""

from __future__ import annotations

from dataclasses import dataclass, field

from testcard.harness.wire.pictures import lenient_base64, look
from testcard.harness.wire.sse import PictureStream
from testcard.specs.pointers import at
from testcard.specs.profile import PictureEvents


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture as a stream brought it. `finished`: whether it is one of the answer's and no preview of it; `index`: which preview it is.

    `data` are its bytes; empty, with `url`, for one that came as an address. `format` is None where the bytes are no picture that decodes.
    """

    data: bytes = field(repr=False)
    finished: bool
    index: int | None = None
    url: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None


class PreviewPieces:
    """The previews and pictures of a stream, as blocks of its body arrive; `ended` once it has named its end."""

    def __init__(self, events: PictureEvents) -> None:
        self._map = events
        self._stream = PictureStream(events)

    def feed(self, block: bytes) -> list[Preview]:
        """Those that this block completes, in order."""
        found = []
        for event in self._stream.feed(block):
            if event.kind in ("partial", "completed") and event.data is not None:
                found.append(self._read(event.data, finished=event.kind == "completed", index=event.index))
        return found

    @property
    def ended(self) -> bool:
        """Whether the stream has said that it is over."""
        return self._stream.ended

    def _read(self, data: object, *, finished: bool, index: int | None) -> Preview:
        text, url = (at(data, place) if place is not None else None for place in (self._map.base64, self._map.url))
        picture = lenient_base64(text) if isinstance(text, str) else None
        if picture is None:
            return Preview(b"", finished, index, url if isinstance(url, str) else None)
        seen = look(picture)
        if seen.problem is not None:
            return Preview(picture, finished, index)
        return Preview(picture, finished, index, None, seen.format, seen.width_px, seen.height_px)
