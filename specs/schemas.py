"""Schemas as whoever fills in a request reads them: what several parts say put into one, and "or nothing" told from the value itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Schema = Mapping[str, Any]
_ALTERNATIVES = ("oneOf", "anyOf")
_ASIDE = ("title", "description", "default", "deprecated", "example", "examples")


def type_of(schema: Schema) -> str | None:
    """The one type that a value has when it is not null; None where the schema names none or several."""
    stated = schema.get("type")
    names = [name for name in (stated if isinstance(stated, list) else [stated]) if name != "null"]
    return names[0] if len(names) == 1 and isinstance(names[0], str) else None


def allows_null(schema: Schema) -> bool:
    """Whether the schema says that null will do."""
    stated = schema.get("type")
    return stated == "null" or (isinstance(stated, list) and "null" in stated)


def schema_at(schema: Schema, parts: Iterable[str]) -> Schema:
    """The schema of what stands at a place of an object (numbers: items of lists); empty where it has none."""
    for part in parts:
        inner = schema.get("items") if part.isdigit() and "items" in schema else (schema.get("properties") or {}).get(part)
        schema = inner if isinstance(inner, Mapping) else {}
    return schema


def simplified(schema: Any) -> Any:
    """A dereferenced schema in which "this or null" is a type with null, and one `allOf` of one or of objects is the schema itself.

    The same values are valid; only whoever looks for a type, an enum or properties finds them where they are usually found.
    """
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties") and isinstance(value, Mapping):
            found[key] = {name: simplified(one) for name, one in value.items()}
        elif key in ("items", "additionalProperties", "not"):
            found[key] = simplified(value)
        elif key in ("oneOf", "anyOf", "allOf", "prefixItems") and isinstance(value, list):
            found[key] = [simplified(one) for one in value]
        else:
            found[key] = value
    return _without_null_branch(_joined(found))


def body_schema(schema: Any) -> dict[str, Any]:
    """A request body's schema: simplified, and where it is one of several objects, with the properties of all of them beside that.

    Required then is what every one of them requires.
    """
    plain = simplified(schema)
    if not isinstance(plain, Mapping):
        return {}
    found = dict(plain)
    for word in _ALTERNATIVES:
        branches = [
            branch for branch in found.get(word, ()) if isinstance(branch, Mapping) and isinstance(branch.get("properties"), Mapping)
        ]
        if not branches:
            continue
        properties: dict[str, Any] = {}
        for branch in branches:
            for name, one in branch["properties"].items():
                properties.setdefault(name, one)
        found["properties"] = {**properties, **found.get("properties", {})}
        shared = [name for name in branches[0].get("required", ()) if all(name in branch.get("required", ()) for branch in branches)]
        found["required"] = [*dict.fromkeys([*found.get("required", ()), *shared])]
    return found


def _joined(schema: dict[str, Any]) -> dict[str, Any]:
    """`allOf` put into the schema itself, as far as its parts say different things or are objects whose properties add up."""
    parts = schema.get("allOf")
    if not isinstance(parts, list) or not parts or not all(isinstance(part, Mapping) for part in parts):
        return schema
    whole: dict[str, Any] = {}
    for part in [*parts, {key: value for key, value in schema.items() if key != "allOf"}]:
        for key, value in part.items():
            if key == "properties":
                merged = dict(whole.get("properties", {}))
                for name, one in value.items():
                    merged[name] = one if name not in merged or merged[name] == one else _joined({"allOf": [merged[name], one]})
                whole["properties"] = merged
            elif key == "required" and isinstance(value, list):
                whole["required"] = [*dict.fromkeys([*whole.get("required", ()), *value])]
            elif key in _ASIDE or key.startswith("x-") or key not in whole or whole[key] == value:
                whole[key] = value
            elif key == "additionalProperties":
                whole[key] = whole[key] and value
            else:
                return schema  # two parts bound the same thing: only together do they say what is allowed
    return whole


def _without_null_branch(schema: dict[str, Any]) -> dict[str, Any]:
    for word in _ALTERNATIVES:
        branches = schema.get(word)
        if not isinstance(branches, list) or len(branches) < 2:
            continue
        values = [branch for branch in branches if not (isinstance(branch, Mapping) and branch.get("type") == "null" and len(branch) == 1)]
        if len(values) != 1 or len(values) == len(branches) or not isinstance(values[0], Mapping):
            continue
        only = dict(values[0])
        outer = {key: value for key, value in schema.items() if key != word}
        if type_of(only) is None or "const" in only or any(key in only for key in outer if key not in _ASIDE and not key.startswith("x-")):
            continue
        if not allows_null(only):
            only["type"] = [*(only["type"] if isinstance(only["type"], list) else [only["type"]]), "null"]
        if isinstance(only.get("enum"), list) and None not in only["enum"]:
            only["enum"] = [*only["enum"], None]
        return {**only, **outer}
    return schema
