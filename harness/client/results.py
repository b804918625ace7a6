"""What the client hands back: pictures, text, usage, cost and timings; and of a stream its pictures as they arrive, previews first.

Those are read as the provider's profile maps the stream's events.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from testcard.harness.intake.pictures import NoPicture, may_decode, open_picture
from testcard.harness.wire.model import Answer, Usage
from testcard.harness.wire.pictures import lenient_base64, look
from testcard.harness.wire.sse import PictureStream
from testcard.specs.pointers import at
from testcard.specs.profile import PictureEvents

#: what files of a format are called, where that is not its name
ENDINGS = {"jpeg": "jpg"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its encoded bytes as they came, format (png, jpeg, webp), size in pixels, the seed the answer names, where it came from."""

    data: bytes = field(repr=False)
    format: str
    width: int
    height: int
    seed: int | None = None
    url: str | None = None
    index: int = 0

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the bytes as they came to `path` and returns it; the name's ending is not looked at."""
        target = Path(path)
        fresh = not target.exists()
        try:
            target.write_bytes(self.data)
        except OSError:
            if fresh:  # half a picture would pass for one, and hold the name
                with suppress(OSError):
                    target.unlink(missing_ok=True)
            raise
        return target

    def image(self) -> Image.Image:
        """The decoded picture; raises what Pillow raises where the pixels do not decode, `NoPicture` where there are more than the limit `pixels`."""
        image = open_picture(self.data)
        if not may_decode(image, self.data):
            raise NoPicture(f"claims {image.width}x{image.height} pixels, and was not decoded")
        image.load()
        return image


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations in seconds. `total_s`: from sending to the last picture in hand, polls and downloads included.

    `first_byte_s`: until the head of the first answer. `queue_s`: from the acceptance of an async task to its end.
    `download_s`: fetching URLs. `first_token_s`: until the first piece of streamed text. None where it does not apply.
    """

    total_s: float
    first_byte_s: float
    queue_s: float | None = None
    download_s: float | None = None
    first_token_s: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A finished request. `cost_usd` is None where nobody states a price; `price_origin` says whose price it is.

    `notes` are sentences that a caller should know (another operation was chosen, fewer pictures came than were asked for).
    """

    provider: str
    operation: str
    model: str | None
    pictures: tuple[Picture, ...]
    text: str | None
    finish_reason: str | None
    usage: Usage | None
    cost_usd: float | None
    price_origin: str
    timings: Timings
    answer: Answer = field(repr=False)
    notes: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """The result as JSON-able data, without the pictures' bytes."""
        usage = self.usage
        return {
            "provider": self.provider,
            "operation": self.operation,
            "model": self.model,
            "pictures": [
                {"format": p.format, "width": p.width, "height": p.height, "bytes": len(p.data), "seed": p.seed, "url": p.url}
                for p in self.pictures
            ],
            "text": self.text,
            "finish_reason": self.finish_reason,
            "usage": None
            if usage is None
            else {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens, "total_tokens": usage.total_tokens},
            "cost_usd": self.cost_usd,
            "price_origin": self.price_origin,
            "timings": {
                name: getattr(self.timings, name) for name in ("total_s", "first_byte_s", "queue_s", "download_s", "first_token_s")
            },
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class HttpExchange:
    """A request and what came of it, without the key. `status` None: no answer began. `seconds`: from sending to the last byte, or the failure.

    `failure` says in a word why no whole answer came: connect, tls, timeout, broken, stale.
    """

    method: str
    url: str
    request_headers: tuple[tuple[str, str], ...]
    request_body: bytes = field(repr=False)
    status: int | None
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    seconds: float
    failure: str | None = None


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
