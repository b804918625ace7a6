"""The pictures that recorded exchanges delivered: decoded, measured, and made into small thumbnails.

Each exchange says where its body holds them; only those of versions that did not say it are searched. What is decoded comes from strangers: pictures of more pixels than are ever decoded are measured from their header.

The same prompt from every target, side by side: what came, in what time, at what price. From the exchanges that checks recorded.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pybase64
from PIL import Image

from testcard.harness.errors import UsageError
from testcard.harness.intake.json_values import read_json
from testcard.harness.intake.limits import limits
from testcard.harness.intake.pictures import NoPicture, may_decode, open_picture
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Body, Exchange, SeenResponse
from testcard.harness.text.words import DOLLARS, clean, shortened, time_span
from testcard.reports.content.evidence import Evidence, Party
from testcard.specs.pointers import at

THUMB_PX = 132
_LARGE_PX = 4200
PER_OPERATION = 4
#: Of pictures with more pixels than this, all of a target's together may have so many times those of the largest that is decoded at all: each of
#: the largest takes up to a second, and a stranger sends as many as there are thumbnails.
_LARGE_AREA_PX, _MOST_LARGE = 5_000_000, 4
_TOO_LARGE, _TOO_MANY = "too large to show", "not shown: large, and after as many as are decoded"
#: Bodies from this size on are looked at once, and not all of them.
_LARGE_BYTES = 1 << 20
MOST_PICTURES = 60
MOST_DEPTH = 12
_SHORTEST_BASE64 = 88
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_STANDARD = bytes.maketrans(b"-_", b"+/")


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
        for exchange in pictured(party):
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
                    if thumb.digest:
                        by_digest.setdefault(thumb.digest, []).append(thumb.exchange)
                same = [" and ".join(names) for names in by_digest.values() if len(names) > 1]
                found.append(Strip(party, clean(operation), thumbs, sum(exchange.images for exchange in exchanges), same))
    return found


def pictured(party: Party) -> Iterator[Exchange]:
    """The check's own exchanges that delivered pictures, without those that follow one (polls, downloads)."""
    return (one for one in party.exchanges.values() if one.images and one.source in ("probe", "schema-case"))


def thumbnails(party: Party, exchange: Exchange, limit: int = PER_OPERATION) -> list[Thumb]:
    """Up to `limit` thumbnails of what an exchange delivered, in its own body or in the pictures fetched for it."""
    if party.check is None:
        return []
    thumbs: list[Thumb] = []
    for carrier in [exchange, *party.followed(exchange)]:
        if len(thumbs) >= limit:
            break
        made = _made(party, party.check, carrier, limit - len(thumbs))
        thumbs += [replace(thumb, exchange=carrier.id, asked=_asked(exchange)) for thumb in made]
    return thumbs


def _made(party: Party, run: RunReader, carrier: Exchange, limit: int) -> list[Thumb]:
    """Up to `limit` thumbnails of what an exchange's own body holds. Of large bodies no more are looked at than a check judges, each once."""
    body = carrier.response.body if carrier.response is not None else None
    if body is None or body.sha256 is None or body.size < _LARGE_BYTES:
        return [_thumb_of(party, data) for data in islice(_delivered(run, carrier), limit)]
    if body.sha256 not in party.looked_at and sum(party.looked_at.values()) + body.size > limits().judged_bytes:
        return [Thumb("", None, "unknown", None, None, body.size, "", "", "not shown: large, and after as much as is looked at")]
    party.looked_at[body.sha256] = body.size
    key = (body.sha256, limit, tuple((one.place, one.spelling) for one in carrier.pictures or ()), carrier.pictures is None)
    if key not in party.thumbs:
        party.thumbs[key] = [_thumb_of(party, data) for data in islice(_delivered(run, carrier), limit)]
    found: list[Thumb] = party.thumbs[key]
    return found


def delivered_by(party: Party, exchange: Exchange) -> Iterator[bytes | None]:
    """The bytes of every picture that an exchange delivered, in its own body or in those fetched for it; None for base64 that is none."""
    if party.check is not None:
        for carrier in [exchange, *party.followed(exchange)]:
            yield from _delivered(party.check, carrier)


def _asked(exchange: Exchange) -> str:
    size = exchange.asked.get("size")
    text = f"{size[0]} × {size[1]}" if isinstance(size, list) and len(size) == 2 else str(size or "")
    wanted = exchange.asked.get("format")
    return clean(" ".join(part for part in (text, str(wanted or "")) if part))


def _delivered(run: RunReader, exchange: Exchange) -> Iterator[bytes | None]:
    """The bytes of each picture that an exchange's own body holds, None for base64 that is none; addresses are fetched by its children."""
    if exchange.response is None or exchange.pictures == []:
        return
    content = _read(run, exchange.response.body)
    if content is None:
        return
    if exchange.pictures is None:
        yield from _searched(exchange.response, content)
        return
    document: Any = None
    for picture in exchange.pictures:
        if picture.spelling == "bytes":
            yield content
        elif picture.spelling != "url":
            document = _json(content) if document is None else document
            text = at(document, picture.place)
            if isinstance(text, str):
                yield _decoded(text)


def _searched(response: SeenResponse, content: bytes) -> Iterator[bytes]:
    """The pictures of a body whose exchange does not say where they are, as those of versions before did not: what reads like base64."""
    if not 200 <= response.status < 300:
        return
    if response.media_type.startswith("image/"):
        yield content
        return
    for text in _texts(_json(content)):
        if len(text) >= _SHORTEST_BASE64 and not any(character in " <>{}" for character in text[:64]):
            data = _decoded(text)
            if data is not None and data.startswith(_SIGNATURES):
                yield data


def _read(run: RunReader, body: Body) -> bytes | None:
    try:
        return run.bytes_of(body)
    except (OSError, UsageError):
        return None  # bodies/ may have been left out when the run was copied


def _json(content: bytes) -> Any:
    try:
        return read_json(content)
    except ValueError:
        return None


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth < MOST_DEPTH:
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from _texts(inner, depth + 1)


def _decoded(text: str) -> bytes | None:
    """The bytes of base64 as servers really send it: with the head of a data URL, line breaks, URL-safe letters, without padding."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if not text.isascii():
        return None
    with suppress(binascii.Error, ValueError):
        return pybase64.b64decode(text, validate=True)
    # As bytes: a text of megabytes of line breaks, taken apart at each, is half a gigabyte.
    letters = text.encode("ascii").translate(_STANDARD, b" \t\r\n\v\f\x1c\x1d\x1e\x1f").rstrip(b"=")
    try:
        return pybase64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _thumb_of(party: Party, data: bytes | None) -> Thumb:
    """The thumbnail of a picture of a target: equal bytes are decoded once, and of large pictures no more than a few of the largest."""
    if data is None:
        return Thumb("", None, "unknown", None, None, 0, "", "", "not base64")
    digest = hashlib.sha256(data).hexdigest()
    if digest not in party.thumbs:
        thumb = _thumb(data, digest, left_px=_MOST_LARGE * limits().pixels - sum(party.decoded_px.values()))
        if thumb.problem not in (_TOO_LARGE, _TOO_MANY) and (area := (thumb.width_px or 0) * (thumb.height_px or 0)) > _LARGE_AREA_PX:
            party.decoded_px[digest] = area
        party.thumbs[digest] = thumb
    found: Thumb = party.thumbs[digest]
    return found


def _thumb(data: bytes, digest: str, *, left_px: int) -> Thumb:
    """`left_px`: pixels of large pictures that may still be decoded."""
    kind, width, height = "unknown", None, None
    try:
        with open_picture(data) as picture:
            kind, (width, height) = (picture.format or "unknown").lower(), picture.size
            if not may_decode(picture, data):
                return Thumb("", None, kind, width, height, len(data), digest, "", _TOO_LARGE)
            if _LARGE_AREA_PX < width * height > left_px:
                return Thumb("", None, kind, width, height, len(data), digest, "", _TOO_MANY)
            picture.draft("RGB", (THUMB_PX * 2, THUMB_PX * 2))
            wanted = "RGBA" if "A" in picture.getbands() else "RGB"
            small: Image.Image = picture
            if max(picture.size) > _LARGE_PX:  # the nearest pixels of a large one: each copy of all takes as much memory again
                shrink = 8 * THUMB_PX / max(picture.size)
                small = picture.resize([max(1, round(edge * shrink)) for edge in picture.size], Image.Resampling.NEAREST)
            small = small.convert(wanted)
            small.thumbnail((THUMB_PX, THUMB_PX), reducing_gap=2.0)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=72, method=2)
    except NoPicture as error:
        return Thumb("", None, kind, width, height, len(data), digest, "", str(error))
    except Exception as error:  # noqa: BLE001 (a decoder may raise anything on a stranger's bytes; all of it means "does not decode")
        return Thumb("", None, kind, width, height, len(data), digest, "", f"does not decode ({type(error).__name__})")
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumb("", uri, kind, width, height, len(data), digest, "")


#: So many prompts have a row.
MOST_PROMPTS = 3
_TASKS = ("generate", "edit")


@dataclass(frozen=True, slots=True)
class Shot:
    """What one target made of the prompt. `seconds`: from sending to the last byte, polls and downloads included."""

    party: Party
    model: str
    thumb: Thumb
    seconds: float
    cost_usd: float | None

    @property
    def time(self) -> str:
        """The time in words."""
        return time_span(self.seconds)

    @property
    def price(self) -> str:
        """The price of the request in words."""
        if self.cost_usd is None:
            return "no price"
        kind = " (illustrative)" if self.party.target.prices == "illustrative" else ""
        return f"{DOLLARS.said(self.cost_usd)}{kind}"


@dataclass(frozen=True, slots=True)
class SamePrompt:
    """One row: what was asked, and what each target delivered, one picture a target."""

    task: str
    prompt: str
    shots: list[Shot]


def same_prompts(evidence: Evidence) -> list[SamePrompt]:
    """The prompts that most targets drew, each with one picture of every target that did; none where no prompt went to two."""
    asked: dict[tuple[str, str], dict[str, list[Exchange]]] = {}
    for party in evidence.parties:
        for exchange in pictured(party):
            task, prompt = exchange.asked.get("task"), exchange.asked.get("prompt")
            if task in _TASKS and isinstance(prompt, str):
                asked.setdefault((task, prompt), {}).setdefault(party.key, []).append(exchange)
    several = [(key, by_party) for key, by_party in asked.items() if len(by_party) > 1]
    several.sort(key=lambda entry: (-len(entry[1]), _TASKS.index(entry[0][0])))
    rows = []
    for (task, prompt), by_party in several:
        shots = [shot for party in evidence.parties for shot in _first(party, by_party.get(party.key, []))]
        if len(shots) > 1:
            rows.append(SamePrompt(task, shortened(clean(prompt), 160), shots))
        if len(rows) == MOST_PROMPTS:
            break
    return rows


def _first(party: Party, exchanges: list[Exchange]) -> Iterator[Shot]:
    """The first picture that shows, of the requests that asked for one as plainly as can be."""
    for exchange in sorted(exchanges, key=lambda one: len(one.asked)):
        thumbs = thumbnails(party, exchange, 1)
        if thumbs and thumbs[0].uri is not None:
            ended = max((one.done_s for one in [exchange, *party.followed(exchange)]), default=exchange.done_s)
            yield Shot(party, clean(exchange.model or ""), thumbs[0], max(0.0, ended - exchange.sent_s), exchange.cost_usd)
            return
