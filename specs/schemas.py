"""Schemas as whoever fills in a request reads them: what several parts say put into one, and "or nothing" told from the value itself.

Values for a schema: the smallest that the document itself states, and, for a proposal that asks about it, one that is made up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from testcard.specs.pointers import MISSING

Schema = Mapping[str, Any]
_ALTERNATIVES = ("oneOf", "anyOf")
#: Bounds, with which of two holds.
_TIGHTER: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems"), min),
}
_ASIDE = ("title", "description", "default", "deprecated", "example", "examples")


#: What JSON calls the values of a list.
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def type_of(schema: Schema) -> str | None:
    """The one type that a value has when it is not null, by what the schema lists where it names none; None where there are several."""
    stated = schema.get("type")
    if stated is None and ("const" in schema or isinstance(schema.get("enum"), list)):
        listed = {_TYPES.get(type(value)) for value in ([schema["const"]] if "const" in schema else schema["enum"]) if value is not None}
        return listed.pop() if len(listed) == 1 else None
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


def any_of(schema: Any) -> Any:
    """A dereferenced schema that a value fits as soon as it fits one of several alternatives: documents say `oneOf` where they overlap too."""
    if isinstance(schema, list):
        return [any_of(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    found = {key: value if key in ("enum", "const", "default", "example", "examples") else any_of(value) for key, value in schema.items()}
    if isinstance(found.get("oneOf"), list) and "anyOf" not in found:
        found = {"anyOf" if key == "oneOf" else key: value for key, value in found.items()}
    return found


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


def alternatives(schema: Any) -> list[Schema]:
    """The kinds of object that a body may be, each with what holds for all of them; none where it is of one kind.

    Those that only bound what is there (`required: [size]` or `required: [width, height]`) are no kinds of their own.
    """
    plain = simplified(schema)
    if not isinstance(plain, Mapping):
        return []
    for word in _ALTERNATIVES:
        branches = plain.get(word)
        if not isinstance(branches, list) or not all(isinstance(one, Mapping) for one in branches):
            continue
        outer = {key: value for key, value in plain.items() if key != word}
        whole = [simplified({"allOf": [outer, branch]}) for branch in branches if type_of(branch) in (None, "object")]
        kinds = [kind for one in whole for kind in (alternatives(one) or [one])]
        if any("properties" in branch or alternatives(branch) for branch in branches) and all("properties" in one for one in kinds):
            return kinds
    return []


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
            elif key in _TIGHTER and isinstance(value, int | float) and isinstance(whole[key], int | float):
                whole[key] = _TIGHTER[key](whole[key], value)
            elif key == "enum" and isinstance(value, list) and isinstance(whole[key], list):
                whole[key] = [one for one in whole[key] if one in value]
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
        one = _stated(schema.get("items"), level + 1) if fewest_items(schema) else None
        return MISSING if one is MISSING else [one] * fewest_items(schema)
    if kind == "boolean":
        return False
    low = schema.get("minimum")
    return low if kind in ("integer", "number") and low is not None and "maximum" in schema else MISSING


#: So many items a list is made of, at most, whatever a document asks for.
_MOST_ITEMS = 1_000


def fewest_items(schema: Schema) -> int:
    """How many items a list by this schema holds at least; a thousand where more are asked for."""
    stated = schema.get("minItems")
    return int(max(0, min(stated, _MOST_ITEMS))) if isinstance(stated, int | float) and stated == stated else 0


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
        return MISSING if one is MISSING else [one] * max(1, fewest_items(schema))
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


__all__ = ["allows", "fewest_items", "made_up_value", "stated_value"]
