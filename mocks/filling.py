"""Answers made whole: what a document requires of an answer beside what is known of it, with values of the documented kinds.

A value keeps what it holds; what is missing or of another kind than documented comes from the request where a field has the same
name, else from the schema: its constant, its list, its example, its format.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from testcard.specs.pointers import parts_of
from testcard.specs.schemas import Schema, allows_null, any_of, fewest_items, simplified, type_of

Known = Mapping[str, Any]
_DEEPEST = 12
_NOTHING: Known = {}
#: Stands for a picture in base64 while a value is validated; the picture itself is ready bytes.
_ENCODED = "dGVzdGNhcmQ="


def put(body: Any, place: str, value: Any) -> Any:
    """The body with the value at a JSON pointer; objects and lists on the way are made, `*` and numbers stand for lists. "" is the body."""
    return _put(body, parts_of(place), value)


def _put(there: Any, parts: Sequence[str], value: Any) -> Any:
    if not parts:
        return {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value
    first, rest = parts[0], parts[1:]
    if first == "*" or first.isdigit():
        index = 0 if first == "*" else int(first)
        items = list(there) if isinstance(there, list) else []
        items += [{}] * (index + 1 - len(items))
        items[index] = _put(items[index], rest, value)
        return items
    owner = dict(there) if isinstance(there, dict) else {}
    owner[first] = _put(owner.get(first), rest, value)
    return owner


class Filler:
    """Makes values whole by one schema. `known`: values by name that fit better than a made-up one, such as the request's own."""

    def __init__(self, schema: Schema | None) -> None:
        self.schema: Schema = simplified(any_of(schema)) if schema is not None else {}

    def filled(self, value: Any, known: Known = _NOTHING) -> Any:
        """The value with all that the schema requires beside it."""
        return _fill(self.schema, value, known, 0, None) if self.schema else value


def valid(schema: Schema, value: Any) -> bool:
    """Whether the schema allows a value; a picture in base64 counts as some text."""
    validator = _validator(msgspec.json.encode(schema))
    return validator is not None and bool(validator.is_valid(_plain(value)))


@lru_cache(maxsize=2048)
def _validator(schema: bytes) -> jsonschema_rs.Draft202012Validator | None:
    try:
        return jsonschema_rs.Draft202012Validator(msgspec.json.decode(schema))
    except (ValueError, jsonschema_rs.ValidationError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return _ENCODED
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _fill(schema: Any, value: Any, known: Known, level: int, index: int | None) -> Any:
    if not isinstance(schema, Mapping) or level > _DEEPEST:
        return value
    for word in ("oneOf", "anyOf"):
        if schema.get(word):
            value = _as_one_of(schema, word, value, known, level, index)
    for part in schema.get("allOf") or ():
        value = _fill(part, value, known, level + 1, index)
    if isinstance(value, dict):
        return _filled_object(schema, value, known, level, index)
    if isinstance(value, list | tuple):
        items = schema.get("items")
        filled = [_fill(items, one, known, level + 1, place) for place, one in enumerate(value)]
        while len(filled) < fewest_items(schema):
            filled.append(_sample(items, known, level + 1))
        return filled
    if not isinstance(value, msgspec.Raw) and not valid(schema, value):
        return _sample(schema, known, level)
    return value


def _filled_object(schema: Schema, value: dict[str, Any], known: Known, level: int, index: int | None) -> dict[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties") or {}
    filled = {name: _fill(properties.get(name), one, known, level + 1, None) for name, one in value.items()}
    for name in schema.get("required") or ():
        if name not in filled:
            filled[name] = _named(name, properties.get(name, {}), known, level + 1, index)
    return filled


def _named(name: str, schema: Any, known: Known, level: int, index: int | None) -> Any:
    """The value of a property that is missing: its number in the list, what the request said of the same name, else any that fits."""
    for candidate in ([index] if name == "index" and index is not None else []) + ([known[name]] if name in known else []):
        if isinstance(schema, Mapping) and valid(schema, candidate):
            return candidate
    return _sample(schema, known, level)


def _as_one_of(schema: Schema, word: str, value: Any, known: Known, level: int, index: int | None) -> Any:
    """The value as the alternative that it is most like: the one that knows most of its names and lets itself be filled."""
    outer = {key: one for key, one in schema.items() if key not in ("oneOf", "anyOf")}

    def likeness(branch: Any) -> int:
        names = _names(branch)
        return sum(1 for name in value if name in names) if isinstance(value, dict) else 0

    branches = sorted((branch for branch in schema[word] if isinstance(branch, Mapping)), key=likeness, reverse=True)
    for branch in branches:
        if isinstance(value, dict) and type_of(branch) not in ("object", None):
            continue
        filled = _fill(branch, value, known, level + 1, index)
        if valid(
            {**outer, word: schema[word]}, filled if not isinstance(filled, dict) else _filled_object(outer, filled, known, level, index)
        ):
            return filled
    return value


def _names(branch: Schema) -> set[str]:
    names = set(branch.get("properties") or {})
    for word in ("allOf", "oneOf", "anyOf"):
        for inner in branch.get(word) or ():
            names |= _names(inner) if isinstance(inner, Mapping) else set()
    return names


def _sample(schema: Any, known: Known, level: int) -> Any:
    """Any value of the schema, the plainest that there is."""
    if not isinstance(schema, Mapping) or level > _DEEPEST:
        return None
    listed = [value for value in schema.get("enum") or () if value is not None]
    candidates = [schema["const"]] if "const" in schema else []
    candidates += [schema[key] for key in ("example", "default") if key in schema] + list(schema.get("examples") or ()) + listed[:1]
    candidates = [value for value in candidates if value is not None and valid(schema, value)]
    if candidates:
        return candidates[0]
    for word in ("oneOf", "anyOf"):
        for branch in schema.get(word) or ():
            made = _fill(
                {key: one for key, one in schema.items() if key != word}, _sample(branch, known, level + 1), known, level + 1, None
            )
            if valid(schema, made):
                return made
    for part in schema.get("allOf") or ():
        made = _fill(schema, _sample(part, known, level + 1), known, level + 1, None)
        if valid(schema, made):
            return made
    made = _of_kind(schema, known, level)
    return made if valid(schema, made) or not allows_null(schema) else None


def _of_kind(schema: Schema, known: Known, level: int) -> Any:
    kinds = schema.get("type")
    kind = type_of(schema) or (next((one for one in kinds if one != "null"), None) if isinstance(kinds, list) else None)
    if kind is None:
        kind = (
            "object"
            if "properties" in schema or "required" in schema
            else "array"
            if "items" in schema
            else "null"
            if kinds == "null"
            else "string"
        )
    if kind == "object":
        return _filled_object(schema, {}, known, level, None)
    if kind == "array":
        return [_sample(schema.get("items", {}), known, level + 1) for _ in range(fewest_items(schema))]
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "boolean":
        return False
    return None if kind == "null" else _text(schema)


def _number(schema: Schema) -> float | int:
    step = schema.get("multipleOf") or 1
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    candidates: list[Any] = [0, low, high]
    if low is not None:
        candidates += [low + step, (low // step + 1) * step, low + 0.5]
    if high is not None:
        candidates += [high - step, (high // step) * step]
    if low is not None and high is not None:
        candidates.append((low + high) / 2)
    return next((value for value in candidates if value is not None and valid(schema, value)), 0)


_FORMATS: Mapping[str, Callable[[], str]] = {
    "date-time": lambda: datetime.now(UTC).replace(microsecond=0).isoformat(),
    "date": lambda: datetime.now(UTC).date().isoformat(),
    "time": lambda: "12:00:00Z",
    "uuid": lambda: str(uuid.uuid4()),
    "uri": lambda: "https://testcard.invalid/",
    "url": lambda: "https://testcard.invalid/",
    "uri-reference": lambda: "/",
    "email": lambda: "testcard@example.com",
    "ipv4": lambda: "127.0.0.1",
    "ipv6": lambda: "::1",
    "hostname": lambda: "testcard.invalid",
    "byte": lambda: _ENCODED,
}


def _text(schema: Schema) -> str:
    make: Callable[[], str] = _FORMATS.get(str(schema.get("format")), lambda: "testcard")
    made = make()
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    if "pattern" in schema:
        return _matching(str(schema["pattern"]), shortest)
    made = made.ljust(shortest, "x")
    return made if longest is None else made[:longest]


@lru_cache(maxsize=256)
def _matching(pattern: str, shortest: int) -> str:
    """A text that a pattern matches: the simplest that Hypothesis finds, which is loaded for this alone."""
    import hypothesis
    from hypothesis import strategies as st

    wanted = re.compile(pattern)
    quiet = hypothesis.settings(database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), max_examples=200)
    try:
        found: str = hypothesis.find(st.from_regex(wanted, fullmatch="^" in pattern), lambda text: len(text) >= shortest, settings=quiet)
    except hypothesis.errors.HypothesisException:
        return "testcard"
    return found
