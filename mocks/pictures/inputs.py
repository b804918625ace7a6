"""Reads the pictures of a request: base64, data URLs, files. What cannot be decoded is refused with 400."""

from __future__ import annotations

import binascii
import io
import re
import warnings

import pybase64
from PIL import Image

from testcard.mocks.exchange import Refused

_DATA_URL = re.compile(r"data:image/[A-Za-z0-9.+-]+;base64,")
#: larger pictures are refused, so that a small file cannot cost much memory
MAX_PX = 50_000_000


def from_base64(text: str, param: str) -> bytes:
    """The bytes behind raw base64; `Refused` with 400 when it is not base64."""
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, f"{param} is not base64", param=param, code="invalid_image") from None


def from_data_url(text: str, param: str) -> bytes:
    """The bytes behind a data URL of an image; `Refused` with 400 for an address or anything else."""
    head = _DATA_URL.match(text[:200])
    if head is None:
        raise Refused(
            400,
            f"{param} has to be a data URL of the form data:image/<type>;base64,<data>; addresses are not fetched",
            param=param,
            code="invalid_image",
        )
    return from_base64(text[head.end() :], param)


def from_either(text: str, param: str) -> bytes:
    """The bytes behind raw base64 or a data URL."""
    return from_data_url(text, param) if text.startswith("data:") else from_base64(text, param)


def opened(data: bytes) -> Image.Image:
    """The picture in these bytes, not yet decoded. No other formats are opened: for an EPS, Pillow would start Ghostscript."""
    return Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF"))


def decode(data: bytes, param: str) -> Image.Image:
    """The picture, completely decoded, as RGB or (where it has transparency) RGBA; `Refused` with 400 when that fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = opened(data)
            if picture.width * picture.height > MAX_PX:
                raise Refused(400, f"{param} has more than {MAX_PX} pixels", param=param, code="image_too_large")
            picture.load()
    except Refused:
        raise
    except Exception:  # noqa: BLE001 (Pillow raises many kinds for broken files, and all mean the same here)
        raise Refused(400, f"{param} cannot be decoded as a PNG, JPEG, WebP or GIF picture", param=param, code="invalid_image") from None
    return picture.convert("RGBA" if picture.has_transparency_data else "RGB")


def opaque(picture: Image.Image) -> Image.Image:
    """The picture as RGB, laid on white where it was transparent."""
    if picture.mode != "RGBA":
        return picture
    ground = Image.new("RGB", picture.size, (255, 255, 255))
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def white_edits(mask: Image.Image) -> Image.Image:
    """A mask whose white says "edit here", as 0 and 255."""
    return opaque(mask).convert("L").point(lambda value: 255 if value >= 128 else 0)


def transparent_edits(mask: Image.Image) -> Image.Image:
    """A mask whose transparent pixels say "edit here", as 0 and 255; without transparency nothing may be edited."""
    if mask.mode != "RGBA":
        return Image.new("L", mask.size, 0)
    return mask.getchannel("A").point(lambda value: 255 if value < 128 else 0)
