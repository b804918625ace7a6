"""Pictures of strangers: what is opened as one, and how much of it. Whatever a target sends passes here before Pillow decodes it."""

from __future__ import annotations

import io
import re
import warnings
from contextlib import nullcontext, suppress
from functools import cache
from importlib import import_module
from typing import Any

from PIL import Image, UnidentifiedImageError

from testcard.harness.intake.limits import IntakeLimits, limits

#: What is opened as a picture, by Pillow's names. Nothing else is: Pillow starts Ghostscript for an EPS, and calls a TIFF without data a picture.
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")


class NoPicture(ValueError):
    """The bytes are no picture of a format that is opened, or one that claims far too many pixels. The message says which."""


def open_picture(data: bytes) -> Image.Image:
    """The picture in these bytes: its header is read, no pixel is decoded yet. `NoPicture` where there is none to open.

    Decoding what it holds may raise anything that a hostile file makes Pillow raise; ask `may_decode` first: a few bytes can claim
    gigabytes.
    """
    if not data:
        raise NoPicture("no bytes")
    most = limits()
    if len(data) > most.picture_bytes:
        raise NoPicture(f"is longer than {most.picture_bytes:,} bytes and was not opened")
    if (beyond := _beyond(data, most)) is not None:
        raise NoPicture(beyond)
    try:
        # Who decodes asks for the size first; from twice the limit on Pillow refuses by itself. What else it warns of (EXIF that lies) is no
        # news for a terminal.
        quiet = nullcontext() if _is_small_png(data) else warnings.catch_warnings(action="ignore")
        with quiet:
            return Image.open(io.BytesIO(data), formats=_registered())
    except UnidentifiedImageError:
        raise NoPicture("is no picture of a known format") from None
    except Image.DecompressionBombError:
        raise NoPicture("claims more pixels than are ever decoded") from None
    except Exception as error:  # noqa: BLE001 (Pillow's plugins raise whatever a hostile file makes them raise)
        raise NoPicture(str(error) or type(error).__name__) from None


def may_decode(picture: Image.Image, data: bytes) -> bool:
    """Whether an opened picture is decoded: it has no more pixels than the limit, or half as many where its decoder holds all of them several
    times, in up to 16 bytes each: a WebP (34 bytes can be one of 39 megapixels), an AVIF, a JPEG that is not in one scan.
    """
    width, height = picture.size
    several = picture.format in ("WEBP", "AVIF") or (picture.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > 1)
    return width * height * (2 if several else 1) <= limits().pixels


def _is_small_png(data: bytes) -> bool:
    """Whether Pillow has no warning to give, which to catch costs a third of opening, and changes what holds for every thread."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        return False
    return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big") <= (Image.MAX_IMAGE_PIXELS or 0)


def _beyond(data: bytes, most: IntakeLimits) -> str | None:
    """Which limit the parts of a picture are beyond, in words; looked at before Pillow takes each of them apart. None for most.

    Walks as Pillow does, which skips what is no part a byte at a time: such a byte counts as a part.
    """
    if data.startswith(b"\x89PNG"):
        return _png_beyond(data, most)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_beyond(data, most)
    if data.startswith(b"GIF8"):
        return _gif_beyond(data, most)
    if data[8:12] == b"WEBP" and data.count(b"ANMF") > most.frames:
        return f"has more than {most.frames:,} frames"
    return None


def _png_beyond(data: bytes, most: IntakeLimits) -> str | None:
    """Of a PNG: its chunks, those of them that are compressed (each is unpacked), and the frames that it claims."""
    position, packed = 8, 0
    for _ in range(most.picture_parts):
        if position + 8 > len(data) or (name := data[position + 4 : position + 8]) == b"IEND":
            return None
        if name == b"acTL" and (frames := int.from_bytes(data[position + 8 : position + 12], "big")) > most.frames:
            return f"claims {frames:,} frames"
        packed += name in (b"iCCP", b"zTXt", b"iTXt")
        if packed > most.picture_parts // 100:
            return f"has more than {most.picture_parts // 100:,} compressed chunks beside its pixels"
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return f"has more than {most.picture_parts:,} chunks"


def _jpeg_beyond(data: bytes, most: IntakeLimits) -> str | None:
    """Of a JPEG: the segments before its pixels, its scans, each of which is decoded over the whole picture, and its EXIF, whose segments
    Pillow puts together one by one: 20 MB of them take it seconds.
    """
    scans = most.picture_parts // 100
    if data.count(b"\xff\xda") > scans:
        return f"has more than {scans:,} scans"
    position = parts = exif = 0
    while parts <= most.picture_parts:
        begin = data.find(b"\xff", position)
        if begin < 0:
            parts += len(data) - position
            break
        marker = _FILLED.match(data, begin).end()  # type: ignore[union-attr] # it stands there
        parts += marker - position
        if marker >= len(data) or data[marker] == 0xDA:
            break
        position = marker + 1
        if data[marker] != 0 and data[marker] not in _ALONE:
            length = int.from_bytes(data[position : position + 2], "big")
            if data[marker] == 0xE1 and data.startswith(b"Exif\0", position + 2):
                exif += length
                if exif > most.text_chunk_bytes:
                    return f"has more than {most.text_chunk_bytes:,} bytes of EXIF"
            position += length
    return f"has more than {most.picture_parts:,} segments" if parts > most.picture_parts else None


#: The bytes that may stand before a marker of a JPEG, and the markers that nothing belongs to.
_FILLED = re.compile(rb"\xff+")
_ALONE = frozenset((0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)))


def _gif_beyond(data: bytes, most: IntakeLimits) -> str | None:
    """Of a GIF: its frames, and its extensions with the blocks that they are made of. Blocks of pixels that are tiny each count as well."""
    position, parts, frames = 13 + _palette_bytes(data, 10), 0, 0
    while position < len(data) and parts <= most.picture_parts:
        kind = data[position]
        if kind == 0x3B:
            break
        position += 1
        if kind == 0x2C:
            frames += 1
            if frames > most.frames:
                return f"has more than {most.frames:,} frames"
            position += 10 + _palette_bytes(data, position + 8)
        elif kind == 0x21:
            position += 1
        parts += 1
        while kind in (0x21, 0x2C) and position < len(data) and (size := data[position]):
            position += 1 + size
            parts += kind == 0x21 or size < _TINY_BLOCK
            if parts > most.picture_parts:
                break
        position += kind in (0x21, 0x2C)
    return f"has more than {most.picture_parts:,} blocks" if parts > most.picture_parts else None


#: A GIF's blocks of pixels have 255 bytes but for the last; fewer than so many are rare.
_TINY_BLOCK = 16


def _palette_bytes(data: bytes, place: int) -> int:
    """Bytes of the palette that the flags at this place announce."""
    flags = data[place] if place < len(data) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


@cache
def _registered() -> tuple[str, ...]:
    """The formats of `PICTURE_FORMATS` that this Pillow can read (AVIF from 11.3 on); only their plugins are loaded."""
    for name in ("Png", "Jpeg", "WebP", "Gif", "Avif"):
        with suppress(ImportError):
            plugin: Any = import_module(f"PIL.{name}ImagePlugin")
            if name == "Png":
                plugin.MAX_TEXT_CHUNK, plugin.MAX_TEXT_MEMORY = limits().text_chunk_bytes, 4 * limits().text_chunk_bytes
    return tuple(name for name in PICTURE_FORMATS if name in Image.OPEN)
