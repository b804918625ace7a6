"""Writes a test card as PNG from parts that were compressed before, so that a fresh 1024² picture costs microseconds.

A zlib stream may be cut at full flushes: each band of the card is compressed alone, ends on a byte, and stands in an IDAT
chunk of its own with its CRC; only one row of pixels is new each time. The stream's Adler-32 is combined from the bands'.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from testcard.mocks.pictures import bands
from testcard.mocks.pictures.bands import Layout

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ADLER = 65521
_ROWS = 256
_NO_FILTER, _UP = b"\x00", b"\x02"


@dataclass(frozen=True, slots=True)
class Segment:
    """Filtered rows, compressed up to a full flush and wrapped as IDAT; `adler` and `length` are of the rows."""

    chunk: bytes
    adler: int
    length: int


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def _segment(rows: Iterable[bytes]) -> Segment:
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed, adler, length = [], 1, 0
    for some in rows:
        packed.append(packer.compress(some))
        adler, length = zlib.adler32(some, adler), length + len(some)
    packed.append(packer.flush(zlib.Z_FULL_FLUSH))
    return Segment(_chunk(b"IDAT", b"".join(packed)), adler, length)


def _stored(rows: bytes) -> bytes:
    """Rows as IDAT without compression, which for a row or two takes longer than sending it; at most 65,535 bytes."""
    size = len(rows)
    return _chunk(b"IDAT", b"\x00" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + rows)


def _filtered(picture: Image.Image) -> Iterator[bytes]:
    """Rows with PNG's Up filter, the first without: it leans on nothing above this band. So many at a time that little is copied."""
    width, height = picture.size
    above = np.zeros((1, width * 3), np.uint8)
    for top in range(0, height, _ROWS):
        strip = picture.crop((0, top, width, min(top + _ROWS, height)))
        pixels = np.concatenate((above, np.asarray(strip).reshape(strip.height, width * 3)))
        rows = np.empty((strip.height, width * 3 + 1), np.uint8)
        rows[:, 0] = 2
        rows[0, 0] = 2 if top else 0
        np.subtract(pixels[1:], pixels[:-1], out=rows[:, 1:])
        above = pixels[-1:]
        yield rows.tobytes()


@lru_cache(maxsize=512)
def _above(plan: Layout, variant: int, caption: str) -> tuple[tuple[bytes, ...], int]:
    """What comes before the pattern, as chunks, and the Adler-32 of its rows."""
    header = _header(plan.width, plan.height)
    if not plan.bars:
        return (header,), 1
    upper, lower = _bars(plan, variant), _segment(_filtered(bands.caption(plan, caption)))
    return (header, upper.chunk, lower.chunk), _followed_by(upper.adler, lower)


@lru_cache(maxsize=96)
def _bars(plan: Layout, variant: int) -> Segment:
    return _segment(_filtered(bands.bars(plan, variant)))


@lru_cache(maxsize=128)
def _below(plan: Layout) -> Segment:
    """What follows the pattern's first row: under the Up filter it is the same for every picture of this size."""
    same = _UP + bytes(3 * plan.width)
    rows = [same * (plan.pattern[0] - 1)]
    for step, height in zip(bands.row_steps(plan), plan.pattern[1:], strict=True):
        rows += (_UP + step, same * (height - 1))
    if plan.ramp:
        rows += _filtered(bands.ramp(plan))
    return _segment(rows)


@lru_cache(maxsize=256)
def _header(width: int, height: int) -> bytes:
    fields = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes((8, 2, 0, 0, 0))
    return _SIGNATURE + _chunk(b"IHDR", fields) + _chunk(b"IDAT", b"\x78\x01")


_END = _chunk(b"IEND", b"")


def write(plan: Layout, caption: str, variant: int, digest: bytes) -> bytes:
    """The card as PNG bytes; the pixels are those of `renderer.compose` for the same arguments."""
    above, adler = _above(plan, variant, caption)
    row, below = _NO_FILTER + bands.first_row(plan, digest), _below(plan)
    adler = _followed_by(zlib.adler32(row, adler), below)
    end = _chunk(b"IDAT", b"\x03\x00" + adler.to_bytes(4, "big"))
    return b"".join((*above, _stored(row), below.chunk, end, _END))


def _followed_by(adler: int, rows: Segment) -> int:
    """The Adler-32 of what has this one with these rows after it."""
    low, high = adler & 0xFFFF, adler >> 16
    high = (high + (rows.adler >> 16) + rows.length * (low - 1)) % _ADLER
    return high << 16 | (low + (rows.adler & 0xFFFF) - 1) % _ADLER
