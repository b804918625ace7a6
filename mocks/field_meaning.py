"""What the fields of a request mean: sizes, numbers and words as values, and digests by which equal requests are told from others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from testcard.mocks.exchange import Call, Refused, Upload
from testcard.specs.pointers import parts_of

MAX_SIDE_PX = 4096
MAX_N = 10
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")


def salt(call: Call, without: Sequence[str], *, always: bool = False) -> bytes:
    """A digest of every field that may change the pixels: all but those named `without`, which only say how much, how or to whom.

    A name may be a pointer, to a field within an object. Empty without a seed, since every picture is new then, unless `always`: for answers that say which seed they were drawn from.
    """
    if call.fields.get("seed") is None and not always:
        return b""
    inner = [parts_of(name) for name in without if name.startswith("/")]
    fields = _left_out(call.fields, inner) if inner else call.fields
    sent = [(name, plain(value)) for name, value in sorted(fields.items()) if name not in without]
    return hashlib.blake2b(msgspec.json.encode([sorted(call.path.items()), sent]), digest_size=16).digest()


def _left_out(value: Any, places: Sequence[Sequence[str]]) -> Any:
    """The object without what stands at these places in it."""
    if not isinstance(value, dict):
        return value
    gone = {place[0] for place in places if len(place) == 1}
    return {
        name: _left_out(one, [place[1:] for place in places if len(place) > 1 and place[0] == name])
        for name, one in value.items()
        if name not in gone
    }


def plain(value: Any) -> Any:
    """A field's value as JSON can hold it: a file as a digest of its bytes."""
    if isinstance(value, Upload):
        return hashlib.blake2b(value.data, digest_size=16).hexdigest()
    return [plain(item) for item in value] if isinstance(value, list) else value


def read_size(value: Any, automatic: tuple[int, int], param: str = "size") -> tuple[int, int]:
    """Width and height in pixels of WIDTHxHEIGHT, `automatic` for nothing or "auto"; `Refused` with 400 for others."""
    if value is None or value == "auto":
        return automatic
    sides = _sides(value)
    if sides is None:
        raise Refused(400, f"{param} has to be auto or WIDTHxHEIGHT", param=param)
    return checked_size(*sides, param)


@lru_cache(maxsize=256)
def _sides(text: str) -> tuple[int, int] | None:
    found = _SIZE.fullmatch(text)
    return (int(found[1]), int(found[2])) if found is not None else None


def checked_size(width: int, height: int, param: str) -> tuple[int, int]:
    """The size, when this mock can draw it; `Refused` with 400 otherwise."""
    if not (1 <= width <= MAX_SIDE_PX and 1 <= height <= MAX_SIDE_PX):
        raise Refused(400, f"{param}: width and height have to be between 1 and {MAX_SIDE_PX} pixels", param=param)
    return width, height


def read_n(fields: Mapping[str, Any], most: int = MAX_N) -> int:
    """How many pictures; `Refused` with 400 outside 1 to `most`."""
    n = int(fields.get("n") or 0) if fields.get("n") is not None else 1
    if not 1 <= n <= most:
        raise Refused(400, f"n has to be between 1 and {most}", param="n")
    return n


def one_of(fields: Mapping[str, Any], name: str, words: Sequence[str]) -> str:
    """The field's word, the first of `words` when it was not sent; `Refused` with 400 for another."""
    value = fields.get(name)
    if value is None:
        return words[0]
    if value not in words:
        raise Refused(400, f"{name} has to be one of {', '.join(words)}", param=name)
    return str(value)
