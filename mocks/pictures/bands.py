"""Where the bands of a test card lie, and how each is drawn. What does not depend on the seed is drawn once for each size and kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

#: columns and rows of coloured cells in the pattern
CELLS, PATTERN_ROWS = 32, 4
#: below this many pixels a side, the whole picture is pattern
SMALL_PX = 32


@dataclass(frozen=True, slots=True, eq=False)  # by identity: `layout` hands out one object for each size, and hashing it is free
class Layout:
    """Heights in pixels of a card's bands, from the top; they add up to `height`. `pattern` has one height for each row of cells."""

    width: int
    height: int
    bars: int
    caption: int
    pattern: tuple[int, ...]
    ramp: int
    columns: tuple[int, ...]


@lru_cache(maxsize=256)
def layout(width: int, height: int) -> Layout:
    """The layout of a card of this size; every size from 1×1 on has one."""
    columns = tuple(_shares(width, min(CELLS, width)))
    if min(width, height) < SMALL_PX:
        return Layout(width, height, 0, 0, tuple(_shares(height, min(PATTERN_ROWS, height))), 0, columns)
    caption = max(8, height // 16)
    pattern = max(PATTERN_ROWS, height // 8)
    ramp = height // 12
    return Layout(width, height, height - caption - pattern - ramp, caption, tuple(_shares(pattern, PATTERN_ROWS)), ramp, columns)


def _shares(total: int, parts: int) -> list[int]:
    edges = [index * total // parts for index in range(parts + 1)]
    return [high - low for low, high in pairwise(edges)]


_BARS = ((235, 235, 235), (235, 235, 16), (16, 235, 235), (16, 235, 16), (235, 16, 235), (235, 16, 16), (16, 16, 235))
_FIELDS = ((38, 70, 83), (42, 110, 98), (110, 74, 38), (92, 46, 84), (54, 62, 120), (72, 92, 40))
#: kinds of background that the seed chooses from
VARIANTS = len(_FIELDS)
_AT = tuple(range(0, 3 * CELLS, 3))
#: In the pattern's first row a colour comes, then its opposite twice, then the colour: so many bytes of a digest are in it. Where all cells have
#: one width, the row's bytes then have one sum, and one sum by their places, so that its Adler-32 is the same whatever the colours.
_OWN = 3 * CELLS // 4
_OPPOSITE = bytes(range(255, -1, -1))
#: numbers of the bytes that `colours` gives
COLOURS = 2 * _OWN
_NO_COLOURS = bytes(256 - COLOURS)
#: Bars above this size are drawn anew each time (twelve of them would take half a gigabyte), captions and ramps above a sixteenth of it.
_KEPT_PIXELS = 2_000_000
Ring = tuple[float, float, float, float]


def ring(plan: Layout) -> Ring:
    """The circle's box inside the bars band."""
    radius = 0.44 * min(plan.width, plan.bars)
    x, y = plan.width / 2, plan.bars / 2
    return (x - radius, y - radius, x + radius, y + radius)


def bars(plan: Layout, variant: int) -> Image.Image:
    """The upper band: colour bars, a grid, and a circle holding cross-hairs and the size in pixels. Kept, unless it is huge."""
    return _kept_bars(plan, variant) if plan.width * plan.bars <= _KEPT_PIXELS else _bars(plan, variant)


@lru_cache(maxsize=12)
def _kept_bars(plan: Layout, variant: int) -> Image.Image:
    return _bars(plan, variant)


def _bars(plan: Layout, variant: int) -> Image.Image:
    picture = Image.new("RGB", (plan.width, plan.bars))
    pen = ImageDraw.Draw(picture)
    count = len(_BARS)
    for index in range(count):
        left, right = index * plan.width // count, (index + 1) * plan.width // count
        pen.rectangle((left, 0, right - 1, plan.bars - 1), fill=_BARS[(index + variant) % count])
    step = max(8, plan.width // 16)
    for x in range(step, plan.width, step):
        pen.line((x, 0, x, plan.bars), fill=(255, 255, 255))
    for y in range(step, plan.bars, step):
        pen.line((0, y, plan.width, y), fill=(255, 255, 255))
    box = ring(plan)
    pen.ellipse(box, fill=_FIELDS[variant % VARIANTS], outline=(255, 255, 255), width=max(1, plan.width // 128))
    x, y = plan.width // 2, plan.bars // 2
    pen.line((box[0], y, box[2], y), fill=(255, 255, 255))
    pen.line((x, box[1], x, box[3]), fill=(255, 255, 255))
    font = _font(max(8, plan.bars // 9))
    for text, line in (("TESTCARD", y - plan.bars // 7), (f"{plan.width} x {plan.height}", y + plan.bars // 7)):
        pen.text((x, line), text, fill=(255, 255, 255), font=font, anchor="mm")
    return picture


def caption(plan: Layout, text: str) -> Image.Image:
    """The band that shows the beginning of the prompt, white on black. Kept, unless it is huge."""
    return _kept_caption(plan, text) if plan.width * plan.caption <= _KEPT_PIXELS // 16 else _caption(plan, text)


@lru_cache(maxsize=256)
def _kept_caption(plan: Layout, text: str) -> Image.Image:
    return _caption(plan, text)


def _caption(plan: Layout, text: str) -> Image.Image:
    picture = Image.new("RGB", (plan.width, plan.caption))
    font = _font(max(6, plan.caption * 6 // 10))
    ImageDraw.Draw(picture).text((plan.width // 2, plan.caption // 2), text, fill=(255, 255, 255), font=font, anchor="mm")
    return picture


def ramp(plan: Layout) -> Image.Image:
    """The lowest band: sixteen greys from black to white. Kept, unless it is huge."""
    return _kept_ramp(plan) if plan.width * plan.ramp <= _KEPT_PIXELS // 16 else _ramp(plan)


@lru_cache(maxsize=64)
def _kept_ramp(plan: Layout) -> Image.Image:
    return _ramp(plan)


def _ramp(plan: Layout) -> Image.Image:
    picture = Image.new("RGB", (plan.width, plan.ramp))
    pen = ImageDraw.Draw(picture)
    for index in range(16):
        pen.rectangle((index * plan.width // 16, 0, (index + 1) * plan.width // 16 - 1, plan.ramp), fill=(index * 17,) * 3)
    return picture


def first_row(plan: Layout, digest: bytes) -> bytes:
    """The pattern's first row of RGB pixels. The colours are those of `digest`, so unequal digests look unequal."""
    # One pass over a row that holds the number of each byte's colour is half the work of joining the cells.
    return _numbered_row(plan).translate(colours(digest) + _NO_COLOURS)


def colours(digest: bytes) -> bytes:
    """The bytes of the first row's colours by number: those of `digest`, over again, and then their opposites."""
    own = digest[:_OWN] if len(digest) >= _OWN else (digest * _OWN)[:_OWN]
    return own + own.translate(_OPPOSITE)


def colour_numbers(plan: Layout) -> list[tuple[int, int, int]]:
    """For each cell of the first row the numbers of its colour's bytes."""
    first = [3 * (cell // 4) + (_OWN if cell % 4 in (1, 2) else 0) for cell in range(len(plan.columns))]
    return [(one, one + 1, one + 2) for one in first]


@lru_cache(maxsize=128)
def _numbered_row(plan: Layout) -> bytes:
    return b"".join([bytes(cell) * width for cell, width in zip(colour_numbers(plan), plan.columns, strict=True)])


@lru_cache(maxsize=64)
def row_steps(plan: Layout) -> tuple[bytes, ...]:
    """What each further row of cells adds to the one above it (modulo 256, byte by byte): the same for every picture of this size."""
    steps = []
    for row in range(1, len(plan.pattern)):
        colours = hashlib.shake_128(bytes([row])).digest(3 * CELLS)
        steps.append(b"".join([colours[at : at + 3] * width for at, width in zip(_AT, plan.columns, strict=False)]))
    return tuple(steps)


def pattern(plan: Layout, digest: bytes) -> Image.Image:
    """The band of coloured cells that tells pictures apart."""
    rows = [np.frombuffer(first_row(plan, digest), np.uint8)]
    for step in row_steps(plan):
        rows.append(rows[-1] + np.frombuffer(step, np.uint8))
    pixels = np.repeat(np.stack(rows), plan.pattern, axis=0)
    return Image.frombytes("RGB", (plan.width, pixels.shape[0]), pixels.tobytes())


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@lru_cache(maxsize=512)
def short(text: str) -> str:
    """The part of a prompt that fits a caption, on one line."""
    line = " ".join(text[:200].split())
    return line if len(line) <= 48 else line[:47] + "…"
