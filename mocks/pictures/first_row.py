"""The pattern's first row of pixels as deflate's blocks: a few hundred bytes at any width, of which only the colours are new in each picture."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from testcard.mocks.pictures import bands
from testcard.mocks.pictures.bands import Layout

DATA_CRC = zlib.crc32(b"IDAT")
NO_FILTER = b"\x00"
#: deflate's lengths of a repetition from 3 bytes on: the least that each code stands for
_LEAST = (3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258)
_BYTE = 256


@dataclass(frozen=True, slots=True)
class Row:
    """The pattern's first row, the one that is new in each picture, as deflate's blocks: three bytes for a cell, then their repetition.

    `code` has to be translated by the row's colours followed by `rest`: where a colour stands, it holds its number. `head` is what comes
    before it in its chunk. `alike`: whether rows of all colours have one Adler-32.
    """

    head: bytes
    code: bytes
    rest: bytes
    alike: bool


@lru_cache(maxsize=128)
def first_row(plan: Layout) -> Row:
    """How it is written at this size."""
    wanted = [*_blocks(plan)]
    # Bytes that are no numbers stand for themselves, or where they would be taken for numbers, for what is none.
    used = {one - _BYTE for one in wanted if one >= _BYTE}
    spare = iter([one for one in range(bands.COLOURS, _BYTE) if one not in used])
    place = {one: one if one >= bands.COLOURS else next(spare) for one in used}
    rest = bytearray(range(bands.COLOURS, _BYTE))
    for one, there in place.items():
        rest[there - bands.COLOURS] = one
    code = bytes([one if one < _BYTE else place[one - _BYTE] for one in wanted])
    return Row(len(code).to_bytes(4, "big") + b"IDAT", code, bytes(rest), len(plan.columns) == bands.CELLS and len({*plan.columns}) == 1)


def _blocks(plan: Layout) -> Iterator[int]:
    """The first row's bytes: of colours the numbers, of everything else `_BYTE` more than it is."""
    cells = bands.colour_numbers(plan)
    if min(plan.columns) == 1:
        # Nothing to repeat: one block that is stored as it is.
        yield from _bare(0, 1 + 3 * plan.width)
        yield _BYTE + NO_FILTER[0]
        for cell, width in zip(cells, plan.columns, strict=True):
            yield from cell * width
        return
    bits = "000"  # a stored block begins: it goes on at the next byte
    for number, (cell, width) in enumerate(zip(cells, plan.columns, strict=True)):
        yield from _packed(bits)
        yield from _bare(None, 3 if number else 4)
        if not number:
            yield _BYTE + NO_FILTER[0]
        yield from cell
        bits = "010" + _repeated(3 * (width - 1)) + "0000000" + "000"  # a block with deflate's own codes, its end, and the next begins
    yield from _packed(bits)
    yield from _bare(None, 0)


def _bare(begin: int | None, size: int) -> Iterator[int]:
    """The head of a stored block of so many bytes, with the byte at which it begins where that is its own."""
    head = size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little")
    yield from (_BYTE + one for one in (head if begin is None else bytes((begin,)) + head))


def _repeated(size: int) -> str:
    """The bits of deflate's own codes that say the last three bytes over again, up to so many bytes (a multiple of three)."""
    bits = ""
    while size:
        number, least = next((at, one) for at, one in reversed([*enumerate(_LEAST)]) if one <= size)
        more_bits = max(0, number // 4 - 1) if number < len(_LEAST) - 1 else 0
        length = min(size, least + (1 << more_bits) - 1)
        bits += f"{number + 1:07b}" if number < 23 else f"{0xC0 + number - 23:08b}"
        bits += f"{length - least:0{more_bits}b}"[::-1] if more_bits else ""
        bits += "00010"  # three bytes back
        size -= length
    return bits


def _packed(bits: str) -> Iterator[int]:
    """Bits in the order of a stream as bytes, the last filled up with zeros."""
    for at in range(0, len(bits), 8):
        yield _BYTE + int(bits[at : at + 8][::-1], 2)
