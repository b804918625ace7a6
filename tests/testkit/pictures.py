"""Small real pictures, as bytes, base64 and data URLs."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

#: of three parts, of four with transparency, or by name
Colour = tuple[int, ...] | str


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The image's bytes in this format (PNG, JPEG, WEBP, GIF …); `options` are Pillow's."""
    buffer = io.BytesIO()
    image.save(buffer, kind.upper().replace("JPG", "JPEG"), **options)
    return buffer.getvalue()


def gradient(width: int = 64, height: int = 64, kind: str = "PNG", *, shade: int = 1, mode: str = "RGB", **options: Any) -> bytes:
    """A picture that is dark above and bright below. Each `shade` gives other pixels; an even one is no picture of all greys."""
    image = Image.linear_gradient("L").resize((width, height))
    if shade != 1:
        image = image.point(lambda value: (value * shade) % 256)
    return encoded(image.convert(mode), kind, **options)


def plain(width: int = 64, height: int = 64, colour: Colour = (200, 30, 30), kind: str = "PNG", **options: Any) -> bytes:
    """A picture of one colour all over, with transparency if the colour has four parts."""
    mode = "RGBA" if isinstance(colour, tuple) and len(colour) == 4 else "RGB"
    return encoded(Image.new(mode, (width, height), colour), kind, **options)


def numbered(number: int, width: int = 256, height: int = 256) -> bytes:
    """A plain PNG that no other number's equals (up to 65,536 of them)."""
    return plain(width, height, (number % 256, number // 256 % 256, 99))


def opened(data: bytes) -> Image.Image:
    """The picture of these bytes, decoded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def in_base64(data: bytes) -> str:
    """Strict base64, as answers carry it."""
    return base64.b64encode(data).decode()


def data_url(data: bytes, kind: str = "png") -> str:
    """A data URL, as requests carry it."""
    return f"data:image/{kind};base64,{in_base64(data)}"
