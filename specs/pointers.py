"""JSON pointers (RFC 6901): written and read in this one place, and looked up in bodies, with `*` for every item of a list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any


class _Missing:
    """The value of a pointer that finds nothing; distinct from a JSON null."""


MISSING = _Missing()
_WHOLE = re.compile(r"[0-9]{1,18}")


def whole_number(text: str) -> int | None:
    """The number, such as a place in a list, that a name stands for; None for any other name.

    Whatever a file says: `"²".isdigit()`, and `int` takes neither that nor 5,000 digits.
    """
    return int(text) if _WHOLE.fullmatch(text) else None


@lru_cache(maxsize=512)
def parts_of(pointer: str) -> tuple[str, ...]:
    """The names that a pointer goes by, unescaped; none for "" and "/", the document itself. A leading slash may be left out."""
    return () if pointer in ("", "/") else _unescaped(pointer.removeprefix("/"))


def wire_parts(name: str) -> tuple[str, ...]:
    """Where a field stands in a body, by its wire name: a plain name, which is taken as it is, or a pointer to one further in."""
    return parts_of(name) if name.startswith("/") else (name,)


def reference_parts(reference: str) -> tuple[str, ...]:
    """The names that a reference within a document (`#/components/schemas/Image`) goes by."""
    return _unescaped(reference.removeprefix("#/"))


def pointer_of(parts: Iterable[str | int]) -> str:
    """The pointer that goes by these names and places in lists; "" for none."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


@lru_cache(maxsize=512)
def _name(part: str) -> str:
    """As `pointer_of` for a name of a place in a profile: there are few, and each answer of a load has them written."""
    return pointer_of((part,))


def at(document: Any, pointer: str) -> Any:
    """The value at `pointer` ("" is the document itself), or None where there is nothing. A leading slash may be left out."""
    value = look_up(document, pointer)
    return None if value is MISSING else value


def look_up(document: Any, pointer: str) -> Any:
    """As `at`, but `MISSING` where there is nothing, so that a null can be told apart."""
    for part in parts_of(pointer):
        document = _step(document, part)
    return document


def every(document: Any, pointer: str) -> list[tuple[str, Any]]:
    """Every value that a pointer with `*` matches, each with the pointer to it; empty where the list is missing."""
    found: list[tuple[str, Any]] = [("", document)]
    for part in parts_of(pointer):
        following: list[tuple[str, Any]] = []
        for place, value in found:
            if part == "*":
                if isinstance(value, list):
                    following += [(f"{place}/{index}", item) for index, item in enumerate(value)]
            else:
                item = _step(value, part)
                if item is not MISSING:
                    following.append((place + _name(part), item))
        found = following
    return found


def _step(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part, MISSING)
    if isinstance(value, list) and (index := whole_number(part)) is not None and index < len(value):
        return value[index]
    return MISSING


def _unescaped(path: str) -> tuple[str, ...]:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in path.split("/"))
