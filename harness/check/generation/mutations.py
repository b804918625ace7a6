"""One thing wrong at a time: mutations of an accepted request that its schema does not allow.

Values come from Schemathesis; where they go, and that nothing else changes, is decided here. A mutation is kept only when
the schema as written refuses the whole mutated body; for parts that travel as text (multipart, paths), when it refuses every
reading of that text. Numbers that decide what a request costs stay near the base's.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import jsonschema_rs

from testcard.harness.check.generation import schemathesis_engine as engine
from testcard.harness.check.generation.schemathesis_engine import BadValue, Kind
from testcard.harness.wire.fields import WireFields
from testcard.harness.wire.model import InputImage
from testcard.specs.openapi import Operation, Schema
from testcard.specs.pointers import pointer_of
from testcard.specs.profile import Lenient

Steps = tuple[str | int, ...]

#: Keywords of a schema that speak of the value itself, not of what is inside it.
_OWN_KEYWORDS = (
    "type", "enum", "const", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "minItems", "maxItems",
)  # fmt: skip
#: Meanings whose number decides what a request costs, in money or in memory.
_COSTLY = frozenset({"n", "width", "height", "steps", "max_tokens", "size", "tier"})
_FUZZED_FIELDS = 4
_LONGEST = 200  # characters of a fuzzed value as JSON
_ORDER: Mapping[Kind, int] = {"missing-required": 0, "bad-enum": 1, "below-minimum": 1, "above-maximum": 1, "off-step": 1, "wrong-type": 2}
_WORDS: Mapping[str, str] = {
    "type": "of the wrong type", "enum": "none of the documented values", "minimum": "below the minimum", "maximum": "above the maximum",
    "exclusiveMinimum": "not above its bound", "exclusiveMaximum": "not below its bound", "multipleOf": "off the documented step",
    "minLength": "too short", "maxLength": "too long", "minItems": "too few", "maxItems": "too many",
    "const": "not the documented value", "pattern": "not of the documented form", "required": "without what it requires",
}  # fmt: skip
_KIND_OF: Mapping[str, Kind] = {
    "type": "wrong-type", "enum": "bad-enum", "const": "bad-enum", "minimum": "below-minimum", "exclusiveMinimum": "below-minimum",
    "maximum": "above-maximum", "exclusiveMaximum": "above-maximum", "multipleOf": "off-step", "minLength": "below-minimum",
    "maxLength": "above-maximum", "minItems": "below-minimum", "maxItems": "above-maximum",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutation:
    """A request with one thing wrong: `kind` says what, `at` where in the body (or `path:NAME`), `schema` by which keyword."""

    kind: Kind
    parameter: str
    at: str
    schema: Steps
    description: str
    fields: WireFields
    coercible: bool = False
    fuzzed: bool = False
    null: bool = False

    @property
    def name(self) -> str:
        """The place as a word for an id: `messages.0.role`."""
        return self.at.removeprefix("path:").strip("/").replace("/", ".") or self.parameter


@dataclass(frozen=True, slots=True)
class _Place:
    """A value of the request that a schema speaks of: where it is, what it is now (`present`), whether it must be there."""

    steps: Steps
    pointer: Steps
    schema: Schema
    present: bool
    value: Any
    required: bool
    means: str | None


def mutations(
    operation: Operation,
    base: WireFields,
    lenient: Sequence[Lenient],
    means: Callable[[str], str | None],
    source: Random,
) -> list[Mutation]:
    """The mutations of `base`, most telling first: required fields left out, then for each field in turn one of each kind.

    `means` tells a field's meaning; places that the profile calls lenient are left alone. `source` chooses between values that
    show the same.
    """
    media_type = operation.request_media_type or ""
    text = not media_type.endswith("json")
    whole = jsonschema_rs.Draft202012Validator(dict(operation.whole_content.get(media_type, {})))
    root: Steps = (*operation.pointer, "requestBody", "content", media_type, "schema")
    places = list(_places(operation.request_schema, base.body, root, means))
    body = _Place((), root, operation.request_schema, True, base.body, True, None)
    found: list[Mutation] = [one for place in (body, *places) for one in _missing(place, base)]
    for place in places:
        values = [bad for bad in map(_near(place), engine.cover_wrong(_own(place.schema))) if bad is not None]
        for bad in _chosen(place, values, source):
            found += _mutated(place, bad, base, whole, lenient, text)
    plain_places = [place for place in places if len(place.steps) == 1 and place.means not in _COSTLY]
    for place in source.sample(plain_places, min(_FUZZED_FIELDS, len(plain_places))):
        for value in engine.draw_wrong(_own(place.schema), seed=source.getrandbits(32), count=8):
            drawn = _labelled(place, value)
            if drawn is not None and (made := _mutated(place, drawn, base, whole, lenient, text)):
                found += [replace(one, fuzzed=True) for one in made]
                break
    found += _path_mutations(operation, base, source)
    return _in_turn(found)


def _in_turn(found: Sequence[Mutation]) -> list[Mutation]:
    """Required fields first, then bounds and enums, then types; within a rank each field's first before any field's second."""
    nth: dict[tuple[int, str], int] = defaultdict(int)
    keyed = []
    for one in found:
        rank = _ORDER[one.kind] + (4 if one.fuzzed else 2 if one.coercible else 0)
        nth[(rank, one.at)] += 1
        keyed.append(((rank, nth[(rank, one.at)]), one))
    return [one for _, one in sorted(keyed, key=lambda pair: pair[0])]


def _missing(place: _Place, base: WireFields) -> Iterator[Mutation]:
    """The base without each required property of an object that it sends."""
    if not isinstance(place.value, Mapping):
        return
    for name in place.schema.get("required", ()):
        if name in place.value:
            at = (*place.steps, name)
            yield Mutation(
                "missing-required",
                str(at[0]),
                pointer_of(at),
                (*place.pointer, "required"),
                f"without {'.'.join(map(str, at))}",
                WireFields(base.operation, base.path, _without(base.body, at)),
            )


def _without(body: Mapping[str, Any], steps: Steps) -> dict[str, Any]:
    """The body with the property at `steps` left out."""
    if len(steps) == 1:
        return {key: value for key, value in body.items() if key != steps[0]}
    changed = dict(body)
    changed[str(steps[0])] = inner = deepcopy(changed[str(steps[0])])
    for step in steps[1:-1]:
        inner = inner[step]
    del inner[steps[-1]]
    return changed


def _places(schema: Schema, body: Mapping[str, Any], root: Steps, means: Callable[[str], str | None]) -> Iterator[_Place]:
    for name, inner in schema.get("properties", {}).items():
        place = _Place(
            (name,), (*root, "properties", name), inner, name in body, body.get(name), name in schema.get("required", ()), means(name)
        )
        yield place
        yield from _below(place)


def _below(place: _Place) -> Iterator[_Place]:
    """What is inside a value that the base sends: properties of an object, the last item of a list."""
    value = place.value
    if isinstance(value, Mapping):
        for name, inner in place.schema.get("properties", {}).items():
            if name in value:
                required = name in place.schema.get("required", ())
                below = _Place((*place.steps, name), (*place.pointer, "properties", name), inner, True, value[name], required, None)
                yield below
                yield from _below(below)
    elif isinstance(value, list) and value and isinstance(place.schema.get("items"), Mapping) and not isinstance(value[-1], InputImage):
        last = len(value) - 1
        below = _Place((*place.steps, last), (*place.pointer, "items"), place.schema["items"], True, value[last], True, None)
        yield below
        yield from _below(below)


def _own(schema: Schema) -> dict[str, Any]:
    return {key: schema[key] for key in _OWN_KEYWORDS if key in schema}


def _near(place: _Place) -> Callable[[BadValue], BadValue | None]:
    """Schemathesis' value, or a plainer one near the base that breaks the same keyword; None for one that could be costly."""

    def nearer(bad: BadValue) -> BadValue | None:
        schema = place.schema
        if bad.keyword == "multipleOf":
            start = place.value if isinstance(place.value, int | float) else schema.get("minimum", schema["multipleOf"])
            bad = replace(bad, value=start + schema["multipleOf"] / 2 if isinstance(start, float) else start + 1)
        elif bad.keyword in ("minimum", "maximum") and "multipleOf" in schema:  # a step past the bound, so that only the bound breaks
            step = schema["multipleOf"] if bad.keyword == "maximum" else -schema["multipleOf"]
            bad = replace(bad, value=schema[bad.keyword] + step)
        elif bad.keyword == "type" and isinstance(bad.value, float):
            start = place.value if isinstance(place.value, int) else schema.get("minimum", 1)
            bad = replace(bad, value=start + 0.5)
        elif bad.keyword == "type" and bad.value == [None, None]:
            bad = replace(bad, value=[])
        if place.means in _COSTLY and isinstance(bad.value, int | float) and bad.keyword != "maximum":
            limit = place.value if isinstance(place.value, int | float) else 1
            return bad if bad.value <= max(1.5, limit + 1, schema.get("minimum", 0) + 1) else None
        return bad

    return nearer


def _labelled(place: _Place, value: Any) -> BadValue | None:
    """A fuzzed value with the keyword it breaks; None when it breaks none or several, or nobody could read a report of it."""
    try:
        spelt = json.dumps(value, ensure_ascii=False)
        spelt.encode()
    except (TypeError, ValueError):
        return None
    if len(spelt) > _LONGEST or "NaN" in spelt or "Infinity" in spelt:
        return None
    errors = list(jsonschema_rs.Draft202012Validator(_own(place.schema)).iter_errors(value))
    if len(errors) != 1:
        return None
    keyword = str(errors[0].schema_path[-1]) if errors[0].schema_path else ""
    return BadValue(value, _KIND_OF[keyword], keyword) if keyword in _KIND_OF else None


def _chosen(place: _Place, values: Sequence[BadValue], source: Random) -> Iterator[BadValue]:
    """One value a keyword; of wrong types one that nothing could be made of, and one that a lenient server could read."""
    by_keyword: dict[str, list[BadValue]] = defaultdict(list)
    for bad in values:
        by_keyword[bad.keyword].append(bad)
    for keyword, options in by_keyword.items():
        if keyword != "type":
            yield options[0]
            continue
        for lenient in (False, True):
            fitting = [bad for bad in options if _coercible(place, bad.value) is lenient]
            if fitting:
                yield source.choice(fitting)


def _mutated(place: _Place, bad: BadValue, base: WireFields, whole: Any, lenient: Sequence[Lenient], text: bool) -> list[Mutation]:
    """The mutation as a list of one; of none where the schema allows the outcome after all, or the profile is lenient there."""
    if any(_is_lenient(entry, place.steps, bad.value) for entry in lenient):
        return []
    if text and not _breaks_as_text(place, bad.value):
        return []
    body = _put(base.body, place.steps, bad.value)
    if not text and whole.is_valid(body):
        return []
    shown = json.dumps(bad.value, ensure_ascii=False)
    null = bad.value is None and not place.required
    wrong = "where the field might have been left out" if null else _WORDS[bad.keyword]
    at = pointer_of(place.steps)
    return [
        Mutation(
            bad.kind,
            str(place.steps[0]),
            at,
            (*place.pointer, bad.keyword),
            f"{at.lstrip('/').replace('/', '.')} = {shown if len(shown) <= 60 else shown[:59] + '…'}, {wrong}",
            WireFields(base.operation, base.path, body),
            bad.keyword == "type" and _coercible(place, bad.value),
            null=null,
        )
    ]


def _put(body: Mapping[str, Any], steps: Steps, value: Any) -> dict[str, Any]:
    """The body with another value in one place; every other value is the base's own."""
    changed: Any = dict(body)
    if len(steps) > 1:
        changed[steps[0]] = deepcopy(changed[steps[0]])
    inner: Any = changed
    for step in steps[:-1]:
        inner = inner[step]
    inner[steps[-1]] = value
    result: dict[str, Any] = changed
    return result


def _coercible(place: _Place, value: Any) -> bool:
    """Whether a lenient server could read the value as one that the schema allows."""
    wanted = place.schema.get("type")
    types = {wanted} if isinstance(wanted, str) else set(wanted or ())
    if value is None:
        return not place.required
    if isinstance(value, list):
        return not value and not place.required  # an empty list for nothing
    if "string" in types and isinstance(value, bool | int | float):
        return True
    if types & {"integer", "number"} and isinstance(value, bool | float):
        return True
    if "boolean" in types and value in (0, 1):
        return True
    return "array" in types and not isinstance(value, dict)


def _breaks_as_text(place: _Place, value: Any) -> bool:
    """Whether a form part that holds the value as text breaks the schema however the text is read. Files are left alone."""
    if place.value.__class__ is InputImage or (isinstance(place.value, list) and any(isinstance(item, InputImage) for item in place.value)):
        return False
    if "binary" in str(place.schema) or not isinstance(value, str | int | float) or value == "":
        return False
    return _no_reading_fits(_own(place.schema), value)


def _no_reading_fits(schema: Mapping[str, Any], value: Any) -> bool:
    return not any(jsonschema_rs.Draft202012Validator(dict(schema)).is_valid(reading) for reading in readings(value))


def readings(value: Any) -> list[Any]:
    """What a value that travels as text may be read as: the text itself, and what it says as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    found: list[Any] = [text]
    with suppress(ValueError):
        found.append(json.loads(text))
    return found


def _is_lenient(entry: Lenient, steps: Steps, value: Any) -> bool:
    wanted = entry.pointer.strip("/").split("/")
    fits = len(wanted) == len(steps) and all(part in ("*", str(step)) for part, step in zip(wanted, steps, strict=True))
    return fits and any(jsonschema_rs.Draft202012Validator({"type": name}).is_valid(value) for name in entry.types)


def _path_mutations(operation: Operation, base: WireFields, source: Random) -> Iterator[Mutation]:
    """Path parameters whose schema no text can satisfy by chance; a string parameter takes any text and has none."""
    index = {entry.get("name"): number for number, entry in enumerate(map(operation.document.deref, operation.raw.get("parameters", ())))}
    for name, schema in operation.path_parameters.items():
        values = [
            bad
            for bad in engine.cover_wrong(_own(schema))
            if isinstance(bad.value, str | int | float) and bad.value != "" and _no_reading_fits(_own(schema), bad.value)
        ]
        by_kind = {bad.kind: bad for bad in reversed(values)}
        for bad in by_kind.values():
            pointer: Steps = (*operation.pointer, "parameters", index[name], "schema", bad.keyword) if name in index else operation.pointer
            yield Mutation(
                bad.kind,
                name,
                f"path:{name}",
                pointer,
                f"{name} = {json.dumps(bad.value)}, {_WORDS[bad.keyword]}",
                WireFields(base.operation, {**base.path, name: bad.value}, dict(base.body)),
            )
