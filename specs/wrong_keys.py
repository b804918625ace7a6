"""What is wrong with the data of a file that a person wrote, key by key and in plain words; pydantic only finds it.

Everything at once: whoever mends a file wants to do it in one go. Which line a key stands on, the reader of the file knows.
"""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

Pointer = tuple[str | int, ...]
_LONGEST = 60


def wrong_keys(kind: type[BaseModel], data: Any) -> list[tuple[Pointer, str]]:
    """For each thing that keeps `data` from being a `kind`: the key that has to change, and what is wrong with it. Empty: nothing."""
    try:
        kind.model_validate(data)
    except ValidationError as error:
        details = error.errors()
        # Of a list all of whose items are wrong pydantic says that it is empty as well.
        inner = {detail["loc"][:length] for detail in details for length in range(len(detail["loc"]))}
        details = [detail for detail in details if not (detail["type"] == "too_short" and detail["loc"] in inner)]
        return [(_written(_of_the_tag(detail), data), _said(detail, kind)) for detail in details]
    return []


def nearest(word: str, known: Iterable[str], otherwise: str = "it is one of") -> str:
    """The end of a sentence about a word that is not known: what was probably meant, else what there is."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"{otherwise} {', '.join(known)}"


def _of_the_tag(detail: Any) -> tuple[str | int, ...]:
    """The location of an error; of a table of an unknown kind, that of the key which says the kind."""
    location: tuple[str | int, ...] = detail["loc"]
    return (*location, detail["ctx"]["discriminator"].strip("'")) if detail["type"].startswith("union_tag") else location


def _written(location: tuple[str | int, ...], data: Any) -> Pointer:
    """pydantic's location as keys of the file: without its own words for union members, with a missing key at the end."""
    pointer: list[str | int] = []
    for index, part in enumerate(location):
        present = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int) and part < len(data))
        if present:
            data = data[part]
            pointer.append(part)
        elif index == len(location) - 1 and isinstance(part, str) and isinstance(data, dict):
            pointer.append(part)
    return tuple(pointer)


def _said(detail: Any, kind: type[BaseModel]) -> str:
    """One of pydantic's errors as the end of a sentence that begins with the key."""
    sort, value, limits = detail["type"], detail["input"], detail.get("ctx", {})
    if sort == "extra_forbidden":
        known = _keys_at(kind, detail["loc"][:-1])
        return "is no key here" + ("; " + nearest(str(detail["loc"][-1]), known, "the keys here are") if known else "")
    if sort == "literal_error" and isinstance(value, str):
        return f"{value} is not known here; " + nearest(value, re.findall(r"'([^']*)'", limits["expected"]))
    if sort == "union_tag_invalid":
        return f"{limits['tag']} is not known here; " + nearest(limits["tag"], re.findall(r"'([^']*)'", limits["expected_tags"]))
    for name, words in _BOUNDS.items():
        if sort == name:
            return f"has to be {words} {limits[_BOUND_OF[name]]:g}, not {_shown(value)}"
    if sort in _KINDS:
        return f"has to be {_KINDS[sort]}, not {_shown(value)}"
    return _WORDS.get(sort) or str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input ")


_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("missing", "union_tag_not_found"), "is missing"),
    **dict.fromkeys(("string_too_short", "too_short"), "is empty"),
}
_BOUNDS: Mapping[str, str] = {
    "greater_than": "more than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}
_BOUND_OF: Mapping[str, str] = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "finite_number": "a finite number",
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("string_type", "path_type"), "a text in quotes"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list"),
    **dict.fromkeys(("model_type", "dict_type", "model_attributes_type"), "a table of keys"),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"), "a day, such as 2026-12-31"),
}


def _shown(value: Any) -> str:
    """A value as the file may have it, short."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str).replace("Infinity", "inf").replace("NaN", "nan")
    except (TypeError, ValueError):
        text = str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _keys_at(kind: Any, location: tuple[str | int, ...]) -> list[str]:
    """The keys that a model knows at a location of pydantic's; none where keys are free or the place is not known."""
    for part in location:
        kind = _inner(kind, part)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _inner(kind: Any, part: str | int) -> Any:
    """The type of one part of a type: a model's field, a tuple's or a mapping's entry, the member of a union that the part names."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    origin, members = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        named = [one for one in members if isinstance(one, type) and issubclass(one, BaseModel) and part in _tags(one)]
        if named:
            return named[0]
        return next((found for one in members if (found := _inner(one, part)) is not None), None)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        return field.annotation if field is not None else None
    if origin is tuple and isinstance(part, int):
        return members[0]
    return members[1] if origin is dict else None


def _tags(kind: type[BaseModel]) -> set[str]:
    """What the literal fields of a model say, such as its `kind`."""
    return {
        value for field in kind.model_fields.values() if get_origin(field.annotation) is Literal for value in get_args(field.annotation)
    }
