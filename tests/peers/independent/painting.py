"""Blocks of pseudo-random colours as pictures, and pictures read back."""

from __future__ import annotations

import base64
import io
import random

from PIL import Image

from .reading import Refusal


def paint(size: tuple[int, int], key: str) -> Image.Image:
    """Blocks of colour that depend on the key alone."""
    noise = random.Random(key)
    blocks = Image.frombytes("RGB", (12, 12), noise.randbytes(12 * 12 * 3))
    return blocks.resize(size, Image.Resampling.NEAREST)


def encoded(picture: Image.Image, kind: str = "png") -> bytes:
    """The picture's file."""
    out = io.BytesIO()
    (picture.convert("RGB") if kind == "jpeg" else picture).save(out, kind.upper(), **({"compress_level": 1} if kind == "png" else {}))
    return out.getvalue()


def opened(data: bytes, what: str) -> Image.Image:
    """The picture in the bytes; a refusal for anything else."""
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except Exception:  # noqa: BLE001 (whatever is wrong with the bytes)
        raise Refusal(400, f"{what} is not a readable image") from None
    return picture


def unbase64(text: str, what: str, *, url: bool) -> bytes:
    """The bytes behind base64, or behind a data URL."""
    head, comma, rest = text.partition(";base64,")
    if url and not (comma and head.startswith("data:image/")):
        raise Refusal(400, f"{what} has to be a base64 data URL")
    try:
        return base64.b64decode(rest if comma and head.startswith("data:") else text, validate=True)
    except ValueError:
        raise Refusal(400, f"{what} is not base64") from None


def blended(source: Image.Image, new: Image.Image, mask: Image.Image | None, size: tuple[int, int]) -> Image.Image:
    """The new picture where the mask is white (everywhere without one, mixed with the source)."""
    source = source.resize(size)
    if mask is None:
        return Image.blend(source, new, 0.6)
    white = mask.convert("RGBA").resize(size, Image.Resampling.NEAREST)
    return Image.composite(new, source, white.convert("RGB").convert("L").point(lambda value: 255 if value > 127 else 0))
