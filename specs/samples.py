"""Values for a schema: the smallest that the document itself states, and, for a proposal that asks about it, one that is made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testcard.specs.pointers import MISSING
from testcard.specs.schemas import Schema, type_of

_DEEPEST = 8


def stated_value(schema: Any) -> Any:
    """A value that the schema determines: its constant, default, example or first listed value, the least number between two bounds,
    false, an object of such values for what it requires. `MISSING` where something required could be anything.
    """
    found = _stated(schema, 0)
    return found if found is MISSING or allows(schema, found) else MISSING


def _stated(schema: Any, level: int) -> Any:
    if not isinstance(schema, Mapping) or level > _DEEPEST:
        return MISSING
    listed = [value for value in schema.get("enum") or () if value is not None]
    named = [schema[key] for key in ("const", "default", "example") if key in schema] + list(schema.get("examples") or ()) + listed[:1]
    direct = next((value for value in named if value is not None and allows(schema, value)), MISSING)
    if direct is not MISSING:
        return direct
    for word in ("oneOf", "anyOf"):
        for branch in schema.get(word) or ():
            outer = {key: value for key, value in schema.items() if key != word}
            chosen = _stated(_both(outer, branch), level + 1)
            if chosen is not MISSING and allows(schema, chosen):
                return chosen
    kind = type_of(schema)
    if kind == "object" or (kind is None and "properties" in schema):
        return _object(schema, level)
    if kind == "array":
        one = _stated(schema.get("items"), level + 1) if schema.get("minItems", 0) else None
        return MISSING if one is MISSING else [one] * int(schema.get("minItems", 0))
    if kind == "boolean":
        return False
    low = schema.get("minimum")
    return low if kind in ("integer", "number") and low is not None and "maximum" in schema else MISSING


def made_up_value(schema: Any) -> Any:
    """A value that the schema allows, made up where it states none; `MISSING` where none is found."""
    found = _made_up(schema, 0)
    return found if found is not MISSING and allows(schema, found) else MISSING


_TEXTS = ("testcard", "https://testcard.invalid/", "123e4567-e89b-42d3-a456-426614174000", "2026-01-01T00:00:00Z", "2026-01-01", "1", "a")


def _made_up(schema: Any, level: int) -> Any:
    stated = _stated(schema, level)
    if stated is not MISSING or not isinstance(schema, Mapping) or level > _DEEPEST:
        return stated
    kind = type_of(schema)
    if kind == "object" or (kind is None and "properties" in schema):
        inner = schema.get("properties") or {}
        values = {name: _made_up(inner.get(name, {}), level + 1) for name in schema.get("required") or ()}
        return MISSING if any(value is MISSING for value in values.values()) else values
    if kind == "array":
        one = _made_up(schema.get("items", {}), level + 1)
        return MISSING if one is MISSING else [one] * max(1, int(schema.get("minItems", 0)))
    if kind in ("integer", "number"):
        low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum", schema.get("exclusiveMaximum"))
        numbers = [1, low, high, *([low + 1] if low is not None else []), *([high - 1] if high is not None else []), 0]
        return next((one for one in numbers if one is not None and allows(schema, one)), MISSING)
    shortest, longest = int(schema.get("minLength", 0)), schema.get("maxLength")
    texts = [text.ljust(shortest, "x")[:longest] for text in _TEXTS]
    liked = [text for text in texts if _is_of(schema.get("format"), text)]
    return next((text for text in [*liked, *texts] if allows(schema, text)), MISSING)


def _is_of(kind: Any, text: str) -> bool:
    marks = {"uuid": "e89b", "uri": "https://", "url": "https://", "date-time": "T00", "date": "-01-01"}
    return kind in marks and marks[kind] in text


def _object(schema: Schema, level: int) -> Any:
    found: dict[str, Any] = {}
    for name in schema.get("required") or ():
        value = _stated((schema.get("properties") or {}).get(name), level + 1)
        if value is MISSING:
            return MISSING
        found[name] = value
    return found


def _both(outer: Schema, branch: Any) -> Schema:
    """An alternative together with what stands beside the alternatives, for objects; another kind stands alone."""
    if not isinstance(branch, Mapping) or "properties" not in branch:
        return branch if isinstance(branch, Mapping) else {}
    return {
        **branch,
        "properties": {**(outer.get("properties") or {}), **branch["properties"]},
        "required": [*dict.fromkeys([*(outer.get("required") or ()), *(branch.get("required") or ())])],
    }


def allows(schema: Schema, value: Any) -> bool:
    """Whether the value is valid by the schema; no value is by a schema that is itself wrong."""
    import jsonschema_rs  # here: whoever only names a provider does not wait for it

    try:
        return bool(jsonschema_rs.Draft202012Validator(dict(schema)).is_valid(value))
    except (ValueError, jsonschema_rs.ValidationError):
        return False


__all__ = ["allows", "made_up_value", "stated_value"]
