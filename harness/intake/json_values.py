"""JSON of strangers: read within bounds of size, nesting and number, to values that the rest of the program can calculate with.

An integer that no machine word holds becomes a float, as in most clients; what a float does not hold is infinite. So no integer that an
answer states is beyond 64 bits, nothing in it lies deeper than `json_depth`, and every text can be written.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from testcard.harness.intake.limits import IntakeLimits, limits

TOO_DEEP = "nested too deeply"


class BeyondLimits(ValueError):
    """The text may be JSON, and is not read: it is longer, deeper or has more in it than the limits allow. The message says which."""


def read_json(text: bytes | str) -> Any:
    """The JSON value as clients commonly read it: UTF-16 and a byte order mark are taken, NaN is not. `ValueError` for anything else."""
    most = limits()
    _bounded_text(text, most)
    if _holds_long_numbers(text):
        return _by_the_book(text, most)
    try:
        return _bounded(msgspec.json.decode(text), most)
    except RecursionError:
        raise BeyondLimits(TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeError):
        pass
    return _by_the_book(text, most)


def strict_json(data: bytes) -> Any:
    """The JSON value; `ValueError` for what RFC 8259 does not allow (NaN, a byte order mark, UTF-16), and for what is beyond the limits.

    msgspec is three times faster on megabytes but refuses escaped lone surrogates, which the grammar allows.
    """
    most = limits()
    _bounded_text(data, most)
    if _holds_long_numbers(data):
        return _by_the_book(data.decode("utf-8"), most)
    try:
        return _bounded(msgspec.json.decode(data), most)
    except RecursionError:
        raise BeyondLimits(TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeError):
        pass
    return _by_the_book(data.decode("utf-8"), most)


#: Digits of a number that msgspec still reads in no time, and bytes of a text in which thousands of longer ones do not fit.
_LONG_NUMBER, _LONG_NUMBER_IN_BYTES = re.compile("[0-9]{600}"), re.compile(rb"[0-9]{600}")
_SHORT_TEXT = 1 << 20


def _holds_long_numbers(text: bytes | str) -> bool:
    """Whether a large text of many parts may hold numbers of hundreds of digits, which msgspec makes integers of, in quadratic time."""
    if len(text) < _SHORT_TEXT or _counted(text, "," if isinstance(text, str) else b",") < _FEW:
        return False
    found: Any = _LONG_NUMBER.search(text) if isinstance(text, str) else _LONG_NUMBER_IN_BYTES.search(text)
    return found is not None


def _by_the_book(text: bytes | str, most: IntakeLimits) -> Any:
    """The value by Python's own reader, which takes numbers such as 1e999 and other encodings."""
    try:
        return _writable(_bounded(json.loads(text, parse_constant=_refuse, parse_int=_integer), most))
    except RecursionError:
        raise BeyondLimits(TOO_DEEP) from None


_SURROGATES = re.compile("[\ud800-\udfff]")


def _writable(value: Any) -> Any:
    """The value with U+FFFD for each half of a letter: no file and no terminal takes one. The nesting is bounded already."""
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_writable(one) for one in value]
    if isinstance(value, dict):
        return {_writable(key): _writable(one) for key, one in value.items()}
    return value


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _WORD_DIGITS else float(digits)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _bounded_text(text: bytes | str, most: IntakeLimits) -> None:
    """`ValueError` for a text that would take far more memory than it has bytes, or that nests beyond the limit: before it is parsed."""
    size = len(text)
    if size > most.json_bytes:
        raise BeyondLimits(f"longer than {most.json_bytes:,} bytes")
    if size <= most.json_depth:
        return
    marks = ("[", "{", ",") if isinstance(text, str) else (b"[", b"{", b",")
    opened = _counted(text, marks[0]) + _counted(text, marks[1])
    many = size > most.json_values and opened + _counted(text, marks[2]) > most.json_values
    if many or opened > most.json_depth:
        _look_through(text, most)


#: So many are looked for one by one.
_FEW = 100


def _counted(text: Any, mark: Any) -> int:
    """How often a mark of one letter is in a text. Where it is rare, as in answers that are nearly all base64, `find` passes over the rest many
    times as fast as `count`."""
    place = text.find(mark)
    for found in range(_FEW):
        if place < 0:
            return found
        place = text.find(mark, place + 1)
    return _FEW + (int(text.count(mark, place)) if place >= 0 else 0)


#: A string to its end, or to the text's where it has none, so that no byte is looked at twice; or what opens, parts and closes.
_MARKS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_MARKS_IN_BYTES = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)
_OPENING, _CLOSING, _PARTING = ("[", "{", b"[", b"{"), ("]", "}", b"]", b"}"), (",", b",")


def _look_through(text: bytes | str, most: IntakeLimits) -> None:
    """Raises `BeyondLimits` where the text nests too deeply or has too much in it, as far as a look from its begin tells."""
    depth = count = 0
    found: Any = _MARKS.finditer(text) if isinstance(text, str) else _MARKS_IN_BYTES.finditer(text)
    for mark in found:
        sign = mark[0]
        if sign in _OPENING:
            depth += 1
            count += 1
            if depth > most.json_depth:
                raise BeyondLimits(TOO_DEEP)
        elif sign in _CLOSING:
            depth -= 1
        elif sign in _PARTING:
            count += 1
        if count > most.json_values:
            raise BeyondLimits(f"made of more than {most.json_values:,} members and items")


def _bounded(value: Any, most: IntakeLimits) -> Any:
    """The value with each integer beyond the limit as a float. Changed in place: it is ours."""
    if type(value) is int:
        return value if -_WORD <= value <= _WORD else _as_float(value)
    if type(value) is dict or type(value) is list:
        _bound_within(value, most.json_depth)
    return value


#: Every integer up to 64 bits stays one.
_WORD = 2**64
_WORD_DIGITS = len(str(-_WORD))


def _bound_within(holder: Any, depth: int) -> None:
    """As `_bounded`, for what a container holds. `RecursionError` below the depth (of UTF-16, whose marks were not counted)."""
    if depth < 0:
        raise RecursionError
    for key, value in holder.items() if type(holder) is dict else enumerate(holder):
        kind = type(value)
        if kind is str or kind is float:
            continue
        if kind is int:
            if not -_WORD <= value <= _WORD:
                holder[key] = _as_float(value)
        elif kind is dict or kind is list:
            _bound_within(value, depth - 1)


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
