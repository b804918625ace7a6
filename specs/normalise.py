"""One form for every API document: the operations that are used, with what they refer to, in one document written in OpenAPI 3.1's schemas.

What is done, once, at loading: files that references lead to come below `x-files`; OpenAPI 3.0's `nullable` and boolean
`exclusiveMinimum` become what 3.1 has for them; media types lose their parameters; a value that an enum lists twice is listed once; a
`oneOf` with a discriminator becomes an `anyOf` whose alternatives say their own discriminating value, since it is that value, and not
the count of alternatives that fit, which says what is meant. Callbacks and links are left out: nobody here calls back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from testcard.specs.errors import SpecError
from testcard.specs.reading import OTHER_FILES, DocumentFiles, Pointer, YamlFile, reference_to

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
SCHEMA_KEYS = (
    "items",
    "additionalProperties",
    "not",
    "contains",
    "propertyNames",
    "if",
    "then",
    "else",
    "unevaluatedProperties",
    "unevaluatedItems",
)
SCHEMA_LISTS = ("oneOf", "anyOf", "allOf", "prefixItems")
SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_MAY_BE_FALSE = (("additionalProperties",), ("unevaluatedProperties",), ("unevaluatedItems",))
_LEFT_OUT = ("callbacks", "links")
_VERBATIM = ("example", "examples", "enum", "const", "mapping")


@dataclass(frozen=True, slots=True)
class PathOperation:
    """An operation as the document has it: its id (its own, or made of method and path), and where it stands."""

    id: str
    method: str
    path: str
    named: bool


def list_operations(files: DocumentFiles) -> list[PathOperation]:
    """Every operation of the document, used or not. One without an operationId gets one of its method and path."""
    found: list[PathOperation] = []
    paths = files.root.data.get("paths")
    for path, item in paths.items() if isinstance(paths, Mapping) else ():
        entries, _ = _path_item(files, item)
        for method in METHODS:
            if isinstance(entries.get(method), Mapping):
                own = entries[method].get("operationId")
                named = isinstance(own, str) and bool(own)
                found.append(PathOperation(own if named else made_id(method, str(path)), method, str(path), named))
    return found


def made_id(method: str, path: str) -> str:
    """The id of an operation whose document gives it none: `post_v1_images_generations`."""
    return "_".join([method, *re.findall(r"[A-Za-z0-9]+", path)])


def _path_item(files: DocumentFiles, item: Any) -> tuple[Mapping[str, Any], str]:
    """A path's entries and the file that they stand in: a path may be a reference as a whole."""
    file = ""
    for _ in range(8):
        if not isinstance(item, Mapping) or not isinstance(item.get("$ref"), str):
            break
        try:
            file, names = files.target(item["$ref"], file)
            item = files.node(file, names)
        except (SpecError, LookupError, ValueError):
            return {}, file
    return (item, file) if isinstance(item, Mapping) else ({}, file)


@dataclass
class Normalised:
    """The document in one form, and where its pieces stood: `source` is the file with lines for the normalised document's pointers.

    `notes`: what of the document was left aside and does not stand in the way, as (pointer, sentence). `schemas`: where schemas stand
    to which only a reference leads, so that nothing around them says that they are such.
    """

    data: dict[str, Any]
    source: YamlFile
    schemas: list[Pointer] = field(default_factory=list)
    notes: list[tuple[Pointer, str]] = field(default_factory=list)


def normalise(files: DocumentFiles, used: Iterable[PathOperation], *, dialect: bool = True) -> Normalised:
    """The document reduced to the operations of `used`; without `dialect` its schemas stay as written (for a judge of documents)."""
    walk = _Walk(files, dialect)
    return walk.run(list(used))


class _Walk:
    """One pass over what is used. `moved` remembers where in the file a piece stood that stands elsewhere now."""

    def __init__(self, files: DocumentFiles, dialect: bool) -> None:
        self.files = files
        self.dialect = dialect
        self.old = files.version.startswith("3.0")
        self.wanted: list[tuple[str, tuple[str, ...], str]] = []
        self.seen: set[tuple[str, tuple[str, ...]]] = set()
        self.moved: dict[Pointer, Pointer] = {}
        self.notes: list[tuple[Pointer, str]] = []
        self.schemas: list[Pointer] = []

    def run(self, used: list[PathOperation]) -> Normalised:
        root = self.files.root.data
        data: dict[str, Any] = {}
        for key, value in root.items():
            if key in ("paths", "webhooks"):
                continue
            if key == "components":
                kept = value.get("securitySchemes") if isinstance(value, Mapping) else None
                if kept is not None:
                    data[key] = {
                        "securitySchemes": self.other(kept, "", ("components", "securitySchemes"), ("components", "securitySchemes"))
                    }
                continue
            data[str(key)] = _plain(value)
        if self.dialect:
            data["openapi"] = "3.1.0"
        data["paths"] = self.paths(used)
        while self.wanted:
            file, names, kind = self.wanted.pop(0)
            self.bring(data, file, names, kind)
        self.in_the_order_written(data)
        source = replace(self.files.root, parts=dict(self.files.parts), moved=dict(self.moved))
        return Normalised(data, source, self.schemas, self.notes)

    def paths(self, used: list[PathOperation]) -> dict[str, Any]:
        by_path: dict[str, list[PathOperation]] = {}
        for operation in used:
            by_path.setdefault(operation.path, []).append(operation)
        found: dict[str, Any] = {}
        for path, operations in by_path.items():
            item, file = _path_item(self.files, self.files.root.data["paths"][path])
            methods = {operation.method: operation for operation in operations}
            entries: dict[str, Any] = {}
            for key, value in item.items():
                pointer: Pointer = ("paths", path, str(key))
                if key in METHODS:
                    if key in methods:
                        entry = self.other(value, file, pointer, pointer)
                        entry.setdefault("operationId", methods[str(key)].id)
                        entries[str(key)] = entry
                elif key != "$ref":
                    entries[str(key)] = self.other(value, file, pointer, pointer)
            found[path] = entries
        return found

    # ── references ────────────────────────────────────────────────────────────────────────────────────────────────────

    def reference(self, reference: str, file: str, kind: str) -> str:
        """The reference within the normalised document; one that leads nowhere stays as it is, for lint to say so."""
        try:
            onward, names = self.files.target(reference, file)
        except SpecError:
            return reference
        if (onward, names) not in self.seen:
            self.seen.add((onward, names))
            self.wanted.append((onward, names, kind))
        return reference_to(self.files.place(onward, names))

    def bring(self, data: dict[str, Any], file: str, names: tuple[str, ...], kind: str) -> None:
        """Puts what a reference leads to at its place in the normalised document."""
        try:
            node = self.files.node(file, names)
        except (SpecError, LookupError, ValueError):
            return
        place = self.files.place(file, names)
        value = self.schema(node, file, place, place) if kind == "schema" else self.other(node, file, place, place)
        if not place:
            return  # the document itself
        if kind == "schema" and place[:2] != ("components", "schemas"):
            self.schemas.append(place)
        owner: Any = data
        for name in place[:-1]:
            if isinstance(owner, list):
                return  # already there, as part of the whole list
            owner = owner.setdefault(name, {})
        if isinstance(owner, dict):
            there = owner.get(place[-1])
            owner[place[-1]] = {**value, **there} if isinstance(there, dict) and isinstance(value, dict) else value

    def in_the_order_written(self, data: dict[str, Any]) -> None:
        """Components in the order in which the document has them, whatever referred to them first."""
        written = self.files.root.data.get("components")
        if not isinstance(data.get("components"), dict) or not isinstance(written, Mapping):
            return
        components = {str(kind): data["components"][str(kind)] for kind in written if str(kind) in data["components"]}
        for kind, entries in components.items():
            if not isinstance(entries, Mapping):
                continue  # no components, which is said where the document is judged
            order = [str(name) for name in written[kind]] if isinstance(written.get(kind), Mapping) else []
            components[kind] = {name: entries[name] for name in [*order, *entries] if name in entries}
        ordered = {str(key): data[str(key)] for key in self.files.root.data if str(key) in data}
        ordered["components"] = components
        rest = {key: value for key, value in data.items() if key not in ordered}
        data.clear()
        data.update({**ordered, **rest})

    # ── everything but schemas ────────────────────────────────────────────────────────────────────────────────────────

    def other(self, node: Any, file: str, was: Pointer, now: Pointer) -> Any:
        if isinstance(node, list):
            return [self.other(value, file, (*was, index), (*now, index)) for index, value in enumerate(node)]
        if not isinstance(node, Mapping):
            return node
        if isinstance(node.get("$ref"), str):
            return {**{str(key): _plain(value) for key, value in node.items()}, "$ref": self.reference(node["$ref"], file, "other")}
        found: dict[str, Any] = {}
        for raw, value in node.items():
            key = str(raw)
            below, here = (*was, key), (*now, key)
            if key in _LEFT_OUT and self.dialect:
                self.notes.append((below, "is left aside"))
            elif key == "schema":
                found[key] = self.schema(value, file, below, here)
            elif key == "schemas" and isinstance(value, Mapping):
                found[key] = {str(name): self.schema(one, file, (*below, str(name)), (*here, str(name))) for name, one in value.items()}
            elif key == "content" and isinstance(value, Mapping):
                found[key] = self.content(value, file, below, here)
            elif key in _VERBATIM or key.startswith("x-"):
                found[key] = _plain(value)
            else:
                found[key] = self.other(value, file, below, here)
        return found

    def content(self, node: Mapping[Any, Any], file: str, was: Pointer, now: Pointer) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for raw, value in node.items():
            written = str(raw)
            name = written.partition(";")[0].strip().lower() if self.dialect else written
            if name in found:
                continue  # the same type with other parameters: the first that stands there holds
            if name != written:
                self.moved[(*now, name)] = (*was, written)
            found[name] = self.other(value, file, (*was, written), (*now, name))
        return found

    # ── schemas ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def schema(self, node: Any, file: str, was: Pointer, now: Pointer) -> Any:
        if isinstance(node, bool) and self.dialect and now[-1:] not in _MAY_BE_FALSE:
            return {} if node else {"not": {}}
        if not isinstance(node, Mapping):
            return node
        found: dict[str, Any] = {}
        for raw, value in node.items():
            key = str(raw)
            below, here = (*was, key), (*now, key)
            if key == "$ref" and isinstance(value, str):
                found[key] = self.reference(value, file, "schema")
            elif key in SCHEMA_MAPS and isinstance(value, Mapping):
                found[key] = {str(name): self.schema(one, file, (*below, str(name)), (*here, str(name))) for name, one in value.items()}
            elif key in SCHEMA_LISTS and isinstance(value, list):
                found[key] = [self.schema(one, file, (*below, index), (*here, index)) for index, one in enumerate(value)]
            elif key in SCHEMA_KEYS:
                found[key] = self.schema(value, file, below, here)
            elif key == "discriminator" and isinstance(value, Mapping):
                found[key] = _plain(value)
            else:
                found[key] = _plain(value)
        return self.translated(found, file, was, now)

    def translated(self, found: dict[str, Any], file: str, was: Pointer, now: Pointer) -> dict[str, Any]:
        if isinstance(found.get("enum"), list):
            found["enum"] = _once(found["enum"])
        if "properties" in found and not isinstance(found["properties"], Mapping):
            del found["properties"]
            self.notes.append(((*was, "properties"), "is no mapping of names to schemas, and is left aside"))
        required = found.get("required", [])
        if not (isinstance(required, list) and all(isinstance(name, str) for name in required)) and not isinstance(required, bool):
            del found["required"]
            self.notes.append(((*was, "required"), "is no list of names, and is left aside"))
        if not self.dialect:
            return found
        if self.old and "$ref" in found:
            # In OpenAPI 3.0 nothing beside a reference counts; `nullable` there is meant all the same.
            found = {key: value for key, value in found.items() if key in ("$ref", "nullable")}
        for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if isinstance(found.get(exclusive), bool):
                strict = found.pop(exclusive)
                if strict and bound in found:
                    found[exclusive] = found.pop(bound)
                    self.moved[(*now, exclusive)] = (*was, exclusive)
        if isinstance(found.get("required"), bool):
            del found["required"]  # a habit of Swagger's parameters; it says nothing about a value
        pattern = found.get("pattern")
        if isinstance(pattern, str) and not _is_pattern(pattern):
            del found["pattern"]
            self.notes.append(((*was, "pattern"), "is no pattern that can be tried here, and is left aside"))
        if "default" in found and _refused_by_itself(found):
            self.notes.append(((*was, "default"), f"{_TOLD_DEFAULT} {found.pop('default')!r}, which is left aside"))
        if "discriminator" in found:
            self.discriminated(found, file, was, now)
        if found.pop("nullable", None) is True:
            found = self.nullable(found, was, now)
        return found

    def nullable(self, found: dict[str, Any], was: Pointer, now: Pointer) -> dict[str, Any]:
        if isinstance(found.get("type"), str) and not any(word in found for word in ("oneOf", "anyOf", "allOf", "not", "const", "$ref")):
            found["type"] = [found["type"], "null"]
            if isinstance(found.get("enum"), list) and None not in found["enum"]:
                found["enum"] = [*found["enum"], None]
            return found
        if isinstance(found.get("type"), list) or not found or set(found) <= {"description", "title", "example", "default", "deprecated"}:
            return found
        aside: dict[str, Any] = {
            key: found.pop(key) for key in ("title", "description", "default", "deprecated", "example") if key in found
        }
        self.moved[(*now, "anyOf", 0)] = was
        return {**aside, "anyOf": [found, {"type": "null"}]}

    def discriminated(self, found: dict[str, Any], file: str, was: Pointer, now: Pointer) -> None:
        """Alternatives with a discriminator say their own value of it; which of them is meant is then no matter of counting."""
        discriminator = found.pop("discriminator")
        name = discriminator.get("propertyName") if isinstance(discriminator, Mapping) else None
        if not isinstance(name, str):
            return
        found["x-discriminator"] = name
        word = "oneOf" if isinstance(found.get("oneOf"), list) else "anyOf"
        if not isinstance(found.get(word), list):
            return
        mapping = discriminator.get("mapping")
        values: dict[str, list[str]] = {}
        for value, target in mapping.items() if isinstance(mapping, Mapping) else ():
            reference = str(target) if "/" in str(target) or "#" in str(target) else f"#/components/schemas/{target}"
            try:
                onward, names = self.files.target(reference, file)
            except SpecError:
                continue
            values.setdefault(reference_to(self.files.place(onward, names)), []).append(str(value))
        alternatives: list[Any] = []
        for index, one in enumerate(found.pop(word)):
            meant = values.get(str(one.get("$ref", "")), []) if isinstance(one, Mapping) else []
            self.moved[(*now, "anyOf", index)] = (*was, word, index)
            if meant:
                self.moved[(*now, "anyOf", index, "allOf", 0)] = (*was, word, index)
                one = {"allOf": [one, {"properties": {name: {"enum": meant}}}]}
            alternatives.append(one)
        self.moved[(*now, "anyOf")] = (*was, word)
        found["anyOf"] = alternatives


#: How the note begins on a default that its schema does not allow.
_TOLD_DEFAULT = "the schema does not allow its own default"


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": (int, float),
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": Mapping,
    "null": type(None),
}


def _refused_by_itself(schema: Mapping[str, Any]) -> bool:
    """Whether a schema's own type, list or bounds do not allow its default."""
    value, stated = schema["default"], schema.get("type")
    if value is None and schema.get("nullable") is True:
        return False
    names = [name for name in (stated if isinstance(stated, list) else [stated]) if isinstance(name, str) and name in _KINDS]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if names and not any(isinstance(value, _KINDS[name]) and (name == "boolean" or not isinstance(value, bool)) for name in names):
        return True
    if names == ["integer"] and isinstance(value, float) and not value.is_integer():
        return True
    if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
        return True
    low, high = (schema.get(key) if isinstance(schema.get(key), int | float) else value for key in ("minimum", "maximum"))
    return number and not low <= value <= high


def _plain(value: Any) -> Any:
    """The value with text for keys: a status written without quotes is a number in YAML."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _once(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if not any(isinstance(value, bool) is isinstance(other, bool) and value == other for other in found):
            found.append(value)
    return found


def _is_pattern(pattern: str) -> bool:
    """Whether both judges can try the pattern: the checker's (Python's) and the mock's."""
    import jsonschema_rs  # here: whoever only names a provider does not wait for it

    try:
        re.compile(pattern)
        jsonschema_rs.Draft202012Validator({"pattern": pattern})
    except (re.error, ValueError, OverflowError, RecursionError):
        return False
    return True


__all__ = ["METHODS", "OTHER_FILES", "Normalised", "PathOperation", "list_operations", "made_id", "normalise"]
