"""Bytes of strangers, let in: what is opened as a picture and what is read as JSON, with the limits of both. One place for everybody.

Whatever a target sends passes here before a library decodes it. Imports nothing of ours.
"""

from __future__ import annotations

import io
import json
import warnings
from contextlib import nullcontext, suppress
from functools import cache
from importlib import import_module
from typing import Any

import msgspec
from PIL import Image, UnidentifiedImageError

#: What is opened as a picture, by Pillow's names. Nothing else is: Pillow starts Ghostscript for an EPS, and calls a TIFF without data a picture.
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")
#: Pictures above this many pixels are not decoded: a few kilobytes can claim gigabytes. Pillow starts to warn there too.
MOST_PIXELS = 89_000_000


class NoPicture(ValueError):
    """The bytes are no picture of a format that is opened, or one that claims far too many pixels. The message says which."""


def open_picture(data: bytes) -> Image.Image:
    """The picture in these bytes: its header is read, no pixel is decoded yet. `NoPicture` where there is none to open.

    Decoding what it holds may raise anything that a hostile file makes Pillow raise; ask for its size against `MOST_PIXELS` first.
    """
    if not data:
        raise NoPicture("no bytes")
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
    """Whether Pillow has no warning to give, which to catch costs a third of opening; asked for each answer of a load."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        return False
    return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big") <= MOST_PIXELS


@cache
def _registered() -> tuple[str, ...]:
    """The formats of `PICTURE_FORMATS` that this Pillow can read (AVIF from 11.3 on); only their plugins are loaded."""
    for name in ("Png", "Jpeg", "WebP", "Gif", "Avif"):
        with suppress(ImportError):
            import_module(f"PIL.{name}ImagePlugin")
    return tuple(name for name in PICTURE_FORMATS if name in Image.OPEN)


def read_json(text: bytes | str) -> Any:
    """The JSON value as clients commonly read it: UTF-16 and a byte order mark are taken, NaN is not. `ValueError` for anything else."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:
        # Numbers such as 1e999, which the fast decoder refuses, are JSON all the same.
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def strict_json(data: bytes) -> Any:
    """The JSON value; `ValueError` for what RFC 8259 does not allow (NaN, a byte order mark, UTF-16), and for nesting without end.

    msgspec is three times faster on megabytes but refuses escaped lone surrogates, which the grammar allows.
    """
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeError):
        pass
    try:
        return json.loads(data.decode("utf-8"), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")
