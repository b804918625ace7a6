"""The pictures that recorded exchanges delivered: found, decoded, measured, and made into small thumbnails.

What is decoded comes from strangers: pictures of more pixels than are ever decoded are measured from their header.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from testcard.harness.errors import UsageError
from testcard.harness.intake import MOST_PIXELS, NoPicture, open_picture
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Body, Exchange
from testcard.harness.text.words import clean
from testcard.reports.content.evidence import Evidence, Party

THUMB_PX = 132
PER_OPERATION = 4
MOST_PICTURES = 60
MOST_DEPTH = 12
_SHORTEST_BASE64 = 88


@dataclass(frozen=True, slots=True)
class Thumb:
    """One delivered picture: a small copy as a data URI (None where it does not decode) and what its bytes are."""

    exchange: str
    uri: str | None
    format: str
    width_px: int | None
    height_px: int | None
    size_bytes: int
    digest: str
    asked: str
    problem: str | None = None

    @property
    def measures(self) -> str:
        """Decoded size, or a word for its absence."""
        return f"{self.width_px} × {self.height_px}" if self.width_px and self.height_px else "no size"


@dataclass(frozen=True, slots=True)
class Strip:
    """The thumbnails of one operation of one target; `same` tells which share all their bytes."""

    party: Party
    operation: str
    thumbs: list[Thumb]
    total: int
    same: list[str]


def strips(evidence: Evidence) -> list[Strip]:
    """A few thumbnails for each operation that delivered pictures, from the exchanges that a check recorded."""
    found: list[Strip] = []
    shown = 0
    for party in evidence.parties:
        carriers: dict[str, list[Exchange]] = {}
        for exchange in party.exchanges.values():
            if exchange.images and exchange.source in ("probe", "schema-case"):
                carriers.setdefault(exchange.operation, []).append(exchange)
        for operation, exchanges in carriers.items():
            thumbs: list[Thumb] = []
            for exchange in exchanges:
                if len(thumbs) >= PER_OPERATION or shown >= MOST_PICTURES:
                    break
                fresh = thumbnails(party, exchange, PER_OPERATION - len(thumbs))
                thumbs += fresh
                shown += len(fresh)
            if thumbs:
                by_digest: dict[str, list[str]] = {}
                for thumb in thumbs:
                    by_digest.setdefault(thumb.digest, []).append(thumb.exchange)
                same = [" and ".join(names) for names in by_digest.values() if len(names) > 1]
                found.append(Strip(party, clean(operation), thumbs, sum(exchange.images for exchange in exchanges), same))
    return found


def thumbnails(party: Party, exchange: Exchange, limit: int = PER_OPERATION) -> list[Thumb]:
    """Up to `limit` thumbnails of what an exchange delivered, in its own body or in the pictures fetched for it."""
    if party.check is None:
        return []
    thumbs: list[Thumb] = []
    for carrier in [exchange, *(child for child in party.children.get(exchange.id, []) if child.source in ("fetch", "poll"))]:
        for data in _delivered(party.check, carrier):
            if len(thumbs) >= limit:
                return thumbs
            thumbs.append(_thumb(data, carrier.id, _asked(exchange)))
    return thumbs


def _asked(exchange: Exchange) -> str:
    size = exchange.asked.get("size")
    text = f"{size[0]} × {size[1]}" if isinstance(size, list) and len(size) == 2 else str(size or "")
    wanted = exchange.asked.get("format")
    return clean(" ".join(part for part in (text, str(wanted or "")) if part))


def _delivered(run: RunReader, exchange: Exchange) -> Iterator[bytes]:
    response = exchange.response
    if response is None or not 200 <= response.status < 300:
        return
    content = _read(run, response.body)
    if content is None:
        return
    if response.media_type.startswith("image/"):
        yield content
        return
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return
    for text in _texts(document):
        if len(text) >= _SHORTEST_BASE64:
            data = _picture_bytes(text)
            if data is not None:
                yield data


def _read(run: RunReader, body: Body) -> bytes | None:
    try:
        return run.bytes_of(body)
    except (OSError, UsageError):
        return None  # bodies/ may have been left out when the run was copied


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth < MOST_DEPTH:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from _texts(inner, depth + 1)


def _picture_bytes(text: str) -> bytes | None:
    if text.startswith("data:image/"):
        text = text.partition(",")[2]
    if any(character in " <>{}" for character in text[:64]):
        return None
    try:
        data = base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        return None
    known = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
    return data if data.startswith(known) else None


def _thumb(data: bytes, exchange: str, asked: str) -> Thumb:
    digest = hashlib.sha256(data).hexdigest()
    kind, width, height = "unknown", None, None
    try:
        with open_picture(data) as picture:
            kind, (width, height) = (picture.format or "unknown").lower(), picture.size
            if width * height > MOST_PIXELS:
                return Thumb(exchange, None, kind, width, height, len(data), digest, asked, "too large to show")
            picture.draft("RGB", (THUMB_PX * 2, THUMB_PX * 2))
            small = picture.convert("RGBA" if "A" in picture.getbands() else "RGB")
            small.thumbnail((THUMB_PX, THUMB_PX), reducing_gap=2.0)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=72, method=2)
    except NoPicture as error:
        return Thumb(exchange, None, kind, width, height, len(data), digest, asked, str(error))
    except Exception as error:  # noqa: BLE001 (a decoder may raise anything on a stranger's bytes; all of it means "does not decode")
        return Thumb(exchange, None, kind, width, height, len(data), digest, asked, f"does not decode ({type(error).__name__})")
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumb(exchange, uri, kind, width, height, len(data), digest, asked)
