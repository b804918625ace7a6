"""The pictures that requests of the check carry: small, valid, the same bytes every time."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Literal

from PIL import Image

from testcard.harness.wire.model import InputImage

EDGE_PX = 256


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


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()
