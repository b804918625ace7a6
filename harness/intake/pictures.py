"""Pictures of strangers: what is opened as one, and how much of it. Whatever a target sends passes here before Pillow decodes it."""

from __future__ import annotations

import io
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

    Decoding what it holds may raise anything that a hostile file makes Pillow raise; ask for its size against `limits().pixels` first:
    a few kilobytes can claim gigabytes.
    """
    if not data:
        raise NoPicture("no bytes")
    most = limits()
    if len(data) > most.picture_bytes:
        raise NoPicture(f"is longer than {most.picture_bytes:,} bytes and was not opened")
    if (beyond := _beyond(data, most)) is not None:
        raise NoPicture(beyond)
    try:
        # Who decodes asks for the size first; from twice the limit on Pillow refuses by itself.
        quiet = nullcontext() if _is_small_png(data) else warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning)
        with quiet:
            return Image.open(io.BytesIO(data), formats=_registered())
    except UnidentifiedImageError:
        raise NoPicture("is no picture of a known format") from None
    except Image.DecompressionBombError:
        raise NoPicture("claims more pixels than are ever decoded") from None
    except Exception as error:  # noqa: BLE001 (Pillow's plugins raise whatever a hostile file makes them raise)
        raise NoPicture(str(error) or type(error).__name__) from None


def _is_small_png(data: bytes) -> bool:
    """Whether Pillow has no warning to give, which to catch costs a third of opening, and changes what holds for every thread."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        return False
    return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big") <= (Image.MAX_IMAGE_PIXELS or 0)


def _beyond(data: bytes, most: IntakeLimits) -> str | None:
    """Which limit the parts of a picture are beyond, in words; looked at before Pillow takes each of them apart. None for most."""
    if data.startswith(b"\x89PNG"):
        return _png_beyond(data, most)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_beyond(data, most)
    mark = b"\x21\xf9\x04" if data.startswith(b"GIF8") else b"ANMF" if data[8:12] == b"WEBP" else None
    if mark is not None and data.count(mark) > most.frames:
        return f"has more than {most.frames:,} frames"
    return None


def _png_beyond(data: bytes, most: IntakeLimits) -> str | None:
    """Of a PNG: the chunks before its pixels, and the frames that it claims."""
    position = 8
    for _ in range(most.picture_parts):
        if position + 8 > len(data) or (name := data[position + 4 : position + 8]) == b"IDAT":
            return None
        if name == b"acTL" and (frames := int.from_bytes(data[position + 8 : position + 12], "big")) > most.frames:
            return f"claims {frames:,} frames"
        position += 12 + int.from_bytes(data[position : position + 4], "big")
    return f"has more than {most.picture_parts:,} chunks"


def _jpeg_beyond(data: bytes, most: IntakeLimits) -> str | None:
    """Of a JPEG: the segments before its pixels, and its scans, each of which is decoded over the whole picture."""
    scans = most.picture_parts // 100
    if data.count(b"\xff\xda") > scans:
        return f"has more than {scans:,} scans"
    position = 2
    for _ in range(most.picture_parts):
        if position + 4 > len(data) or data[position] != 0xFF or data[position + 1] == 0xDA:
            return None
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return f"has more than {most.picture_parts:,} segments"


@cache
def _registered() -> tuple[str, ...]:
    """The formats of `PICTURE_FORMATS` that this Pillow can read (AVIF from 11.3 on); only their plugins are loaded."""
    for name in ("Png", "Jpeg", "WebP", "Gif", "Avif"):
        with suppress(ImportError):
            plugin: Any = import_module(f"PIL.{name}ImagePlugin")
            if name == "Png":
                plugin.MAX_TEXT_CHUNK, plugin.MAX_TEXT_MEMORY = limits().text_chunk_bytes, 4 * limits().text_chunk_bytes
    return tuple(name for name in PICTURE_FORMATS if name in Image.OPEN)
