"""Where the parts of a test card lie: bars with grid and circle, the caption, the pattern that tells pictures apart, the ramp."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

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
