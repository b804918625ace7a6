"""The pictures that requests of the check carry: small, valid, the same bytes every time."""

from __future__ import annotations

import hashlib
import io
import zlib
from functools import lru_cache
from typing import Literal

from PIL import Image

from testcard.harness.wire.model import InputImage

EDGE_PX = 256
#: the address of a picture, for fields that must not take one; RFC 6761 keeps the name from ever leading anywhere, so nobody is asked
REMOTE_PICTURE = "https://pictures.invalid/testcard.png"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_BYTES = 12  # length, name and checksum of a chunk
_LARGE_WIDTH_PX = 1024


@lru_cache(maxsize=1)
def input_picture() -> InputImage:
    """A 256×256 RGB gradient as PNG, a few hundred bytes."""
    ramp = Image.linear_gradient("L")
    picture = Image.merge("RGB", (ramp, ramp.rotate(90), Image.new("L", (EDGE_PX, EDGE_PX), 96)))
    return InputImage(_png(picture), "image/png", "picture.png")


@lru_cache(maxsize=1)
def input_mask() -> InputImage:
    """A mask of the same size whose middle is both white and transparent, so that it means "edit here" under either convention."""
    mask = Image.new("RGBA", (EDGE_PX, EDGE_PX), (0, 0, 0, 255))
    mask.paste((255, 255, 255, 0), (EDGE_PX // 4, EDGE_PX // 4, 3 * EDGE_PX // 4, 3 * EDGE_PX // 4))
    return InputImage(_png(mask), "image/png", "mask.png")


@lru_cache(maxsize=3)
def edit_mask(marks: Literal["white", "transparent"] | None) -> InputImage:
    """A mask of the same size that says "edit here" for a part right of the middle, in one way only: white on black without
    transparency, or transparent in black. None: in both, for where no document says which.

    Off the middle, because that is where pictures drawn afresh have their subject.
    """
    place = (128, 40, 240, 256)
    if marks == "white":
        mask = Image.new("RGB", (EDGE_PX, EDGE_PX), (0, 0, 0))
        mask.paste((255, 255, 255), place)
    else:
        mask = Image.new("RGBA", (EDGE_PX, EDGE_PX), (0, 0, 0, 255))
        mask.paste((0, 0, 0, 0) if marks == "transparent" else (255, 255, 255, 0), place)
    return InputImage(_png(mask), "image/png", "mask.png")


@lru_cache(maxsize=1)
def no_picture() -> InputImage:
    """Bytes that begin as a PNG does and are none, so that only who decodes them notices."""
    return InputImage(_PNG_SIGNATURE + b"this is no picture, whatever its first eight bytes say\n", "image/png", "picture.png")


@lru_cache(maxsize=4)
def large_picture(size_bytes: int) -> InputImage:
    """A PNG of exactly this many bytes (from 10 KB on): noise, 1024 pixels wide, stored without compression.

    What the last row of pixels leaves over stands in a chunk that decoders pass over.
    """
    row = 1 + 3 * _LARGE_WIDTH_PX
    rows = size_bytes // row
    start = b""
    while rows > 1 and (not start or len(start) + 2 * _CHUNK_BYTES > size_bytes):
        rows -= 1
        noise = hashlib.shake_256(b"testcard").digest(rows * row)
        pixels = b"".join(b"\x00" + noise[at : at + row - 1] for at in range(0, rows * row, row))
        size = _LARGE_WIDTH_PX.to_bytes(4, "big") + rows.to_bytes(4, "big")
        start = _PNG_SIGNATURE + _chunk(b"IHDR", size + bytes((8, 2, 0, 0, 0))) + _chunk(b"IDAT", zlib.compress(pixels, 0))
    left = size_bytes - len(start) - 2 * _CHUNK_BYTES
    return InputImage(start + _chunk(b"paDd", bytes(left)) + _chunk(b"IEND", b""), "image/png", "picture.png")


@lru_cache(maxsize=1)
def padded_picture(size_bytes: int) -> InputImage:
    """The input picture with a private chunk that makes it this large; every decoder skips the chunk."""
    small = input_picture().data
    chunk = _chunk(b"teSt", bytes(size_bytes - len(small) - _CHUNK_BYTES))
    return InputImage(small[:-_CHUNK_BYTES] + chunk + small[-_CHUNK_BYTES:], "image/png", "picture.png")


def _chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()
