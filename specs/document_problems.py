"""What of an API document cannot be used: references that lead nowhere, and schemas that are none. Found for the loader and for `spec lint`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from testcard.specs.agreement import SpecProblem, dotted
from testcard.specs.errors import SpecError
from testcard.specs.normalise import SCHEMA_KEYS, SCHEMA_LISTS, SCHEMA_MAPS
from testcard.specs.openapi import WRITABLE, OpenApi, Operation
from testcard.specs.pointers import pointer_of
from testcard.specs.reading import Pointer
from testcard.specs.schemas import type_of

NO_SCHEMA = "is no schema"
_LOCATIONS = ("path", "query", "header", "cookie")
_VALUES = ("example", "examples", "default", "enum", "const")
_CONTAINERS = {"required", "properties", "items", "schema", *SCHEMA_LISTS, *SCHEMA_MAPS, *SCHEMA_KEYS}
_MAPS = (*SCHEMA_MAPS, "schemas")
_KEYS = ("schema", *SCHEMA_KEYS)


def unusable(openapi: OpenApi) -> list[SpecProblem]:
    """What keeps the operations that are used from being used at all, in the order of the document."""
    return list(_frame(openapi)) or list(_dangling(openapi)) or list(_wrong_schemas(openapi)) or list(_bodies(openapi))


def holes(openapi: OpenApi) -> list[SpecProblem]:
    """Those of `unusable` for which the document cannot even be walked: things of another kind than their place needs, loose references."""
    found = list(_frame(openapi)) or list(_dangling(openapi))
    return (
        found
        or [
            problem
            for problem in _wrong_schemas(openapi)
            if problem.message == NO_SCHEMA or (problem.key or "").rpartition(".")[2] in _CONTAINERS
        ]
        or list(_bodies(openapi))
    )


def wrong_defaults(openapi: OpenApi) -> Iterator[SpecProblem]:
    """Defaults that their own schema does not allow."""
    yield from _schemas(openapi, openapi.raw, (), schema=False, defaults=True)


def _dangling(openapi: OpenApi) -> Iterator[SpecProblem]:
    yield from _references(openapi, openapi.raw, ())


def _wrong_schemas(openapi: OpenApi) -> Iterator[SpecProblem]:
    yield from _schemas(openapi, openapi.raw, (), schema=False)
    for place in openapi.schemas:
        yield from _schemas(openapi, openapi.deref({"$ref": "#" + pointer_of(place)}), place, schema=True)


def _bodies(openapi: OpenApi) -> Iterator[SpecProblem]:
    """Requests that are no object of fields."""
    for operation in openapi.operations.values():
        media_type, kind = operation.request_media_type, type_of(operation.request_schema)
        if media_type is not None and media_type in WRITABLE and kind not in ("object", None):
            pointer = (*operation.pointer, "requestBody", "content", media_type, "schema")
            kind = "list of something else than objects" if kind == "array" else f"value of type {kind}"
            yield _at(
                openapi, pointer, f"a request's body is a {kind}, and Testcard sends an object of fields, or a list of one such object"
            )


def _frame(openapi: OpenApi) -> Iterator[SpecProblem]:
    """What is of another kind than its place needs, such as a number where parameters belong."""
    raw = openapi.raw
    for key in ("components", "info"):
        if key in raw and not isinstance(raw[key], Mapping):
            yield _at(openapi, (key,), "has to be a mapping")
    components = raw.get("components")
    for key, entries in components.items() if isinstance(components, Mapping) else ():
        if not isinstance(entries, Mapping) and not str(key).startswith("x-"):
            yield _at(openapi, ("components", str(key)), "has to be a mapping")
    schemes = components.get("securitySchemes") if isinstance(components, Mapping) else None
    for name, scheme in schemes.items() if isinstance(schemes, Mapping) else ():
        if scheme is not None and not isinstance(scheme, Mapping):
            yield _at(openapi, ("components", "securitySchemes", str(name)), "has to be a mapping")
    if not isinstance(openapi.files.root.data.get("paths"), Mapping):
        yield _at(openapi, ("paths",), "has to be a mapping of paths")
    if "servers" in raw and not isinstance(raw["servers"], list):
        yield _at(openapi, ("servers",), "has to be a list")
    yield from _security_frame(openapi, raw, ())
    for operation in openapi.operations.values():
        try:
            yield from _operation_frame(openapi, operation)
        except SpecError:
            continue  # a reference that leads nowhere, which is named for itself


def _security_frame(openapi: OpenApi, owner: Mapping[str, Any], pointer: Pointer) -> Iterator[SpecProblem]:
    stated = owner.get("security")
    if stated is not None and not (isinstance(stated, list) and all(isinstance(one, Mapping) for one in stated)):
        yield _at(openapi, (*pointer, "security"), "has to be a list of mappings, each of the names of schemes")


def _operation_frame(openapi: OpenApi, operation: Operation) -> Iterator[SpecProblem]:
    yield from _security_frame(openapi, operation.raw, operation.pointer)
    item = openapi.raw["paths"][operation.path]
    for owner, pointer in ((item, operation.pointer[:-1]), (operation.raw, operation.pointer)):
        parameters = owner.get("parameters")
        if parameters is not None and not isinstance(parameters, list):
            yield _at(openapi, (*pointer, "parameters"), "has to be a list of parameters")
            continue
        for index, entry in enumerate(parameters or []):
            parameter = openapi.deref(entry)
            if not isinstance(parameter, Mapping) or not isinstance(parameter.get("name"), str) or parameter.get("in") not in _LOCATIONS:
                yield _at(
                    openapi,
                    (*pointer, "parameters", index),
                    f"is no parameter with a name and a place: in is one of {', '.join(_LOCATIONS)}",
                )
            else:
                yield from _content_frame(openapi, parameter, (*pointer, "parameters", index))
    if "requestBody" in operation.raw:
        body = openapi.deref(operation.raw["requestBody"])
        yield from _content_frame(openapi, body, (*operation.pointer, "requestBody"))
    responses = operation.raw.get("responses")
    if responses is not None and not isinstance(responses, Mapping):
        yield _at(openapi, (*operation.pointer, "responses"), "has to be a mapping of statuses")
        return
    for status, response in (responses or {}).items():
        yield from _content_frame(openapi, openapi.deref(response), (*operation.pointer, "responses", status))


def _content_frame(openapi: OpenApi, owner: Any, pointer: Pointer) -> Iterator[SpecProblem]:
    if not isinstance(owner, Mapping):
        yield _at(openapi, pointer, "has to be a mapping")
        return
    for key in ("content", "headers"):
        entries = owner.get(key)
        if entries is not None and not isinstance(entries, Mapping):
            yield _at(openapi, (*pointer, key), "has to be a mapping")
        for name, entry in entries.items() if isinstance(entries, Mapping) else ():
            if entry is not None and not isinstance(openapi.deref(entry), Mapping):
                yield _at(openapi, (*pointer, key, name), "has to be a mapping")


def _at(openapi: OpenApi, pointer: Pointer, message: str) -> SpecProblem:
    file, line = openapi.source.place(pointer)
    return SpecProblem(str(file), line, dotted(pointer) or None, message)


def _references(openapi: OpenApi, node: Any, pointer: Pointer) -> Iterator[SpecProblem]:
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str):
            why = openapi.unresolved(reference)
            if why is not None:
                yield _at(openapi, (*pointer, "$ref"), why)
        for key, value in node.items():
            if (key not in _VALUES or pointer[-1:] == ("responses",)) and (not str(key).startswith("x-") or key == "x-files"):
                yield from _references(openapi, value, (*pointer, str(key)))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _references(openapi, value, (*pointer, index))


def _schemas(openapi: OpenApi, node: Any, pointer: Pointer, *, schema: bool, defaults: bool = False) -> Iterator[SpecProblem]:
    """Wrong schemas below `node`, or wrong defaults; what the validator reports without a place gets its line here."""
    if isinstance(node, list):
        for index, value in enumerate(node):
            yield from _schemas(openapi, value, (*pointer, index), schema=schema, defaults=defaults)
        return
    if not isinstance(node, Mapping):
        if schema and not isinstance(node, bool) and not defaults:
            yield _at(openapi, pointer, NO_SCHEMA)
        return
    if schema:
        yield from _wrong_default(openapi, node, pointer) if defaults else _wrong_keywords(openapi, node, pointer)
    for key, value in node.items():
        inside = (*pointer, str(key))
        if key in _MAPS and isinstance(value, Mapping):
            for name, item in value.items():
                if isinstance(item, list) and not defaults:
                    yield _at(openapi, (*inside, str(name)), NO_SCHEMA)
                    continue
                yield from _schemas(openapi, item, (*inside, str(name)), schema=True, defaults=defaults)
        elif key in _KEYS or key in SCHEMA_LISTS:
            yield from _schemas(openapi, value, inside, schema=True, defaults=defaults)
        elif (key not in _VALUES or (key == "default" and not schema)) and (not str(key).startswith("x-") or key == "x-files"):
            yield from _schemas(openapi, value, inside, schema=False, defaults=defaults)


def _wrong_keywords(openapi: OpenApi, node: Mapping[str, Any], pointer: Pointer) -> Iterator[SpecProblem]:
    import jsonschema_rs  # here: whoever only names a provider does not wait for it

    shallow = dict(_shallow(node))
    try:
        jsonschema_rs.meta.validate(shallow)
        jsonschema_rs.Draft202012Validator({key: value for key, value in shallow.items() if key != "$ref"})
    except jsonschema_rs.ValidationError as error:
        path = tuple(part if isinstance(part, int) else str(part) for part in error.instance_path)
        yield _at(openapi, (*pointer, *path), str(error.message).partition("\n")[0])
    except ValueError as error:
        yield _at(openapi, pointer, f"is no schema that can be used: {str(error).partition(chr(10))[0]}")


def _wrong_default(openapi: OpenApi, node: Mapping[str, Any], pointer: Pointer) -> Iterator[SpecProblem]:
    import jsonschema_rs  # here: whoever only names a provider does not wait for it

    if "default" not in node:
        return
    try:
        if not jsonschema_rs.Draft202012Validator(openapi.expand(dict(node))).is_valid(node["default"]):
            yield _at(openapi, (*pointer, "default"), f"the schema does not allow its own default {node['default']!r}")
    except (ValueError, SpecError, jsonschema_rs.ValidationError):
        return  # something further down is broken, and is named there


def _shallow(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schema without those inside it, which are looked at on their own."""
    for key, value in node.items():
        if (key in _MAPS and isinstance(value, Mapping)) or (key in _KEYS and isinstance(value, Mapping | bool)):
            yield key, {}
        elif key in SCHEMA_LISTS and isinstance(value, list):
            yield key, [{} for _ in value]
        else:
            yield key, value
