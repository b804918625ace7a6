"""Everything that is wrong with provider data, with file, line and key: what `testcard spec lint` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema_rs

from testcard.specs.agreement import SpecProblem, at, disagreements, dotted, impossible_values
from testcard.specs.errors import SpecError, UsageError
from testcard.specs.loader import profile_problems, read_profile
from testcard.specs.openapi import OpenApi, read_openapi
from testcard.specs.pointers import reference_parts
from testcard.specs.yaml_lines import Pointer, YamlFile, read_yaml

_SCHEMA_KEYS = ("schema", "items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_SCHEMA_LISTS = ("oneOf", "anyOf", "allOf", "prefixItems")
_SCHEMA_MAPS = ("properties", "patternProperties", "$defs", "schemas", "dependentSchemas")


def lint(path: Path) -> list[SpecProblem]:
    """Every problem of a provider folder, or of one openapi.yaml or profile.yaml, in the order of file and line.

    A profile alone is read together with the openapi.yaml beside it. `UsageError` when there is nothing at `path`.
    """
    if path.is_dir():
        found = lint_openapi(path / "openapi.yaml") + lint_profile(path / "profile.yaml")
    elif not path.is_file():
        raise UsageError(f"{path}: there is no such file or folder", hint="name a folder that holds openapi.yaml and profile.yaml")
    elif _is_profile(path):
        found = lint_profile(path)
    else:
        found = lint_openapi(path)
    return sorted(dict.fromkeys(found), key=lambda problem: (problem.file, problem.line or 0))


def _is_profile(path: Path) -> bool:
    try:
        data = read_yaml(path).data
    except SpecError:
        return path.name.startswith("profile")
    return isinstance(data, dict) and "openapi" not in data


def lint_openapi(path: Path) -> list[SpecProblem]:
    """Problems of an OpenAPI file: references, schemas, defaults, and what openapi-spec-validator refuses."""
    try:
        openapi = read_openapi(path)
    except SpecError as error:
        return [_problem(error)]
    dangling = list(_references(openapi.source, openapi.raw, ()))
    if dangling:
        return dangling  # the validator cannot walk a document with holes
    own = list(_schemas(openapi, openapi.raw, (), schema=False))
    return own + list(_validator(openapi, known=bool(own)))


def lint_profile(path: Path) -> list[SpecProblem]:
    """Problems of a profile: its own keys and values, then where it contradicts the openapi.yaml beside it."""
    try:
        source = read_yaml(path)
        found = profile_problems(source)
        if found:
            return found
        profile = read_profile(source)
        openapi = read_openapi(path.parent / "openapi.yaml")
        return [*disagreements(openapi, profile, source), *impossible_values(openapi, profile, source)]
    except SpecError as error:
        return [_problem(error)]


def _problem(error: SpecError) -> SpecProblem:
    return SpecProblem(error.file, error.line, error.key, error.what)


def _references(source: YamlFile, node: Any, pointer: Pointer) -> Iterator[SpecProblem]:
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str) and not _resolves(source.data, reference):
            yield at(source, (*pointer, "$ref"), f"{reference} points to nothing in this file")
        for key, value in node.items():
            yield from _references(source, value, (*pointer, str(key)))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _references(source, value, (*pointer, index))


def _resolves(data: Any, reference: str) -> bool:
    if not reference.startswith("#/"):
        return False
    for key in reference_parts(reference):
        if not isinstance(data, Mapping) or key not in data:
            return False
        data = data[key]
    return True


def _schemas(openapi: OpenApi, node: Any, pointer: Pointer, *, schema: bool) -> Iterator[SpecProblem]:
    """Wrong schemas and defaults below `node`; what the validator reports without a place gets its line here."""
    if isinstance(node, list):
        for index, value in enumerate(node):
            yield from _schemas(openapi, value, (*pointer, index), schema=schema)
        return
    if not isinstance(node, Mapping):
        return
    if schema and "$ref" not in node:
        try:
            jsonschema_rs.meta.validate(dict(_shallow(node)))
            if "default" in node and not jsonschema_rs.Draft202012Validator(openapi.expand(dict(node))).is_valid(node["default"]):
                yield at(openapi.source, (*pointer, "default"), f"the schema does not allow its own default {node['default']!r}")
        except jsonschema_rs.ValidationError as error:
            if tuple(error.instance_path)[:1] and str(error.instance_path[0]) in node:
                yield at(openapi.source, (*pointer, *_textual(error.instance_path)), _first_line(error.message))
        except ValueError:
            pass  # something further down is broken, and is named there
    for key, value in node.items():
        inside = (*pointer, str(key))
        if key in _SCHEMA_MAPS and isinstance(value, Mapping):
            for name, item in value.items():
                yield from _schemas(openapi, item, (*inside, str(name)), schema=True)
        elif key in _SCHEMA_KEYS or key in _SCHEMA_LISTS:
            yield from _schemas(openapi, value, inside, schema=True)
        elif key not in ("example", "examples", "default", "enum", "const") and not str(key).startswith("x-"):
            yield from _schemas(openapi, value, inside, schema=False)


def _shallow(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schema without those inside it, which are looked at on their own."""
    for key, value in node.items():
        if key in (*_SCHEMA_MAPS, *_SCHEMA_KEYS) and isinstance(value, Mapping):
            yield key, {}
        elif key in _SCHEMA_LISTS and isinstance(value, list):
            yield key, [{} for _ in value]
        else:
            yield key, value


def _validator(openapi: OpenApi, *, known: bool) -> Iterator[SpecProblem]:
    from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator  # slow to import, and needed here only

    version = str(openapi.raw["openapi"])
    validator = OpenAPIV30SpecValidator if version.startswith("3.0") else OpenAPIV31SpecValidator
    for error in validator(openapi.raw).iter_errors():
        pointer = _real(openapi.raw, _textual(error.absolute_path))
        if not pointer and known:
            continue  # a schema's error, found above with its line
        yield at(openapi.source, pointer, _first_line(error.message), key=dotted(pointer) or "openapi.yaml")


def _real(data: Any, parts: tuple[str | int, ...]) -> Pointer:
    """The path as keys of the file (a status may come back as a number), or () where it does not start at the root."""
    pointer: list[str | int] = []
    for part in parts:
        if isinstance(data, Mapping) and str(part) in data:
            data = data[str(part)]
            pointer.append(str(part))
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
            pointer.append(part)
        else:
            return ()
    return tuple(pointer)


def _textual(path: Any) -> tuple[str | int, ...]:
    return tuple(part if isinstance(part, int) else str(part) for part in path)


def _first_line(message: str) -> str:
    line = message.strip().split("\n", 1)[0]
    return line if len(line) <= 200 else line[:197] + "…"


__all__ = ["SpecProblem", "lint", "lint_openapi", "lint_profile"]
