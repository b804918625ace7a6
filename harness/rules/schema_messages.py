"""Sentences about schema errors, built from the keyword, the contract's values and the kind of value seen, never from a body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from testcard.specs.pointers import pointer_of

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_SHOWN = 60  # characters of a property name or of the contract's values that a message quotes at most


def message_of(error: ValidationError) -> str:
    """A sentence about the value at the error's place, from the keyword, the contract's value and the kind of value seen."""
    limit: Any = error.validator_value
    value: Any = error.instance
    seen = _kind(value)
    match error.validator:
        case "required":
            return "lacks " + ", ".join(clip(name) for name in limit if name not in value)
        case "type":
            return f"is {seen}, documented is {' or '.join([limit] if isinstance(limit, str) else limit)}"
        case "enum":
            return f"is {seen} other than the documented values {clip(json.dumps(limit, ensure_ascii=False))}"
        case "const":
            return f"is {seen} other than {clip(json.dumps(limit, ensure_ascii=False))}"
        case "additionalProperties":
            known: Mapping[str, Any] = error.schema.get("properties", {})  # type: ignore[union-attr]
            extra = [name for name in value if name not in known]
            return "has properties that are not documented: " + clip(", ".join(extra))
        case "oneOf" | "anyOf":
            return _alternatives(error, len(limit))
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf":
            return f"is {clip(str(value))}, documented is {error.validator} {limit}"
        case "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties":
            return f"has length {len(value)}, documented is {error.validator} {limit}"
        case "format" | "pattern":
            return f"is {seen} that does not match the documented {error.validator} {clip(str(limit))}"
        case _:
            return f"is {seen} that breaks {error.validator}"


def _alternatives(error: ValidationError, count: int) -> str:
    if not error.context:
        return f"matches more than one of the {count} alternatives, documented is exactly one"
    reasons: dict[Any, str] = {}
    for child in error.context:
        inner = pointer_of(child.relative_path)
        reasons.setdefault(child.relative_schema_path[0], f"{inner}{' ' if inner else ''}{message_of(child)}")
    return f"matches none of the {count} alternatives: " + "; ".join(f"{index}: {reason}" for index, reason in reasons.items())


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return f"the number {clip(str(value))}"
        case str():
            return f"a string of {len(value)} characters"
        case list():
            return "an array"
        case _:
            return "an object"


def clip(text: str) -> str:
    """The text, cut off where it would fill a report."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
