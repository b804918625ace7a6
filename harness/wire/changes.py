"""How much a picture differs from the one it was made from, inside and outside of what a mask marks.

Looked at small, at 64×64, because services scale, re-encode and redraw: single pixels prove nothing. A ring along the
mask's border is left out, where edits are blended in.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageChops, ImageFilter, ImageStat

EDGE_PX = 64
_RING = 7  # pixels of the small picture that the ring along the border is wide
_FULL, _NONE = 250, 5


@dataclass(frozen=True, slots=True)
class Change:
    """Mean difference of a colour channel, 0 to 255, where the mask marks and where it does not."""

    marked: float
    unmarked: float

    @property
    def most(self) -> float:
        """The larger of the two."""
        return max(self.marked, self.unmarked)

    @property
    def least(self) -> float:
        """The smaller of the two."""
        return min(self.marked, self.unmarked)


def change(before: bytes, after: bytes, mask: bytes, *, marks: Literal["white", "transparent"]) -> Change:
    """How `after` differs from `before` (encoded pictures of any size, which are scaled alike).

    The mask marks what is white in it, or what is transparent. `ValueError` when a picture does not decode, or when either
    part of the mask is empty.
    """
    try:
        first, second, masked = (Image.open(io.BytesIO(data)).convert("RGBA") for data in (before, after, mask))
    except Exception as error:  # noqa: BLE001 (Pillow's plugins raise whatever a hostile file makes them raise)
        raise ValueError(str(error)) from None
    difference = ImageChops.difference(_small(first), _small(second))
    marked = masked.getchannel("A").point(lambda alpha: 255 - alpha) if marks == "transparent" else _flat(masked).convert("L")
    marked = marked.resize((EDGE_PX, EDGE_PX), Image.Resampling.BOX)
    inside = _shrunk(marked.point(lambda value: 255 if value >= _FULL else 0))
    outside = _shrunk(marked.point(lambda value: 255 if value <= _NONE else 0))
    return Change(_mean(difference, inside), _mean(difference, outside))


def _small(picture: Image.Image) -> Image.Image:
    return _flat(picture).resize((EDGE_PX, EDGE_PX), Image.Resampling.BOX)


def _flat(picture: Image.Image) -> Image.Image:
    """The picture as RGB, laid on white where it is transparent."""
    ground = Image.new("RGB", picture.size, (255, 255, 255))
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


def _shrunk(area: Image.Image) -> Image.Image:
    return area.filter(ImageFilter.MinFilter(_RING))


def _mean(difference: Image.Image, area: Image.Image) -> float:
    if area.getbbox() is None:
        raise ValueError("the mask marks everything or nothing")
    means = ImageStat.Stat(difference, area).mean
    return sum(means) / len(means)
