"""Pictures in terminals that can show them: kitty's graphics protocol, iTerm2's inline images, sixel.

Which one a terminal has is told by its environment; nothing is sent to ask it, for what a terminal answers would land among what a user types.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from typing import Literal

from PIL import Image

Way = Literal["kitty", "iterm", "sixel"]
_LONGEST_PX = 480
#: kitty takes so many characters of base64 in one escape sequence
_CHUNK = 4096
_SIXEL_COLOURS = 64


def way_of(environment: Mapping[str, str]) -> Way | None:
    """How this terminal shows pictures; None where it does not, or where nothing tells. Inside tmux and screen none get through."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "TMUX" in environment or term.startswith(("screen", "tmux", "dumb")):
        return None
    if "KITTY_WINDOW_ID" in environment or "kitty" in term or program.lower() == "ghostty" or "ghostty" in term:
        return "kitty"
    if program in ("iTerm.app", "WezTerm") or environment.get("LC_TERMINAL") == "iTerm2":
        return "iterm"
    if "sixel" in term or term.startswith(("foot", "mlterm", "yaft")) or program == "contour":
        return "sixel"
    return None


def drawn(picture: Image.Image, way: Way) -> str:
    """What shows a small copy of the picture, with a line break behind it."""
    small = picture.convert("RGBA")
    small.thumbnail((_LONGEST_PX, _LONGEST_PX))
    if way == "sixel":
        ground = Image.new("RGBA", small.size, (255, 255, 255, 255))
        return _sixel(Image.alpha_composite(ground, small).convert("RGB")) + "\n"
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    if way == "iterm":
        return f"\x1b]1337;File=inline=1;size={len(buffer.getvalue())};preserveAspectRatio=1:{encoded}\x07\n"
    return "".join(_kitty(encoded)) + "\n"


def _kitty(encoded: str) -> Iterator[str]:
    for start in range(0, len(encoded), _CHUNK):
        more = int(start + _CHUNK < len(encoded))
        head = f"a=T,f=100,q=2,m={more}" if start == 0 else f"m={more}"
        yield f"\x1b_G{head};{encoded[start : start + _CHUNK]}\x1b\\"


def _sixel(picture: Image.Image) -> str:
    """The picture in bands of six rows, each colour of a band in turn, equal columns run-length encoded."""
    few = picture.quantize(_SIXEL_COLOURS)
    palette = few.getpalette() or []
    width, height = few.size
    pixels = few.tobytes()
    parts = [f'\x1bPq"1;1;{width};{height}']
    for colour in range(len(palette) // 3):
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * colour : 3 * colour + 3])
        parts.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, height, 6):
        rows = [pixels[y * width : (y + 1) * width] for y in range(top, min(top + 6, height))]
        for colour in sorted(set(b"".join(rows))):
            columns = bytes(63 + sum(1 << bit for bit, row in enumerate(rows) if row[x] == colour) for x in range(width))
            parts.append(f"#{colour}{''.join(_runs(columns))}$")
        parts.append("-")
    return "".join(parts) + "\x1b\\"


def _runs(columns: bytes) -> Iterator[str]:
    start = 0
    for x in range(1, len(columns) + 1):
        if x == len(columns) or columns[x] != columns[start]:
            count = x - start
            yield f"!{count}{chr(columns[start])}" if count > 3 else chr(columns[start]) * count
            start = x
