"""Where a provider's two files contradict each other: found here, as data, for the loader (the first) and for `spec lint` (all)."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcard.specs.errors import SpecError
from testcard.specs.openapi import OpenApi, Operation
from testcard.specs.pointers import parts_of, pointer_of, wire_parts
from testcard.specs.profile import AsyncProtocol, OperationProfile, Profile, ResponseMap, WireField
from testcard.specs.reading import Pointer, YamlFile
from testcard.specs.schemas import allows, schema_at, type_of
from testcard.specs.wrong_keys import nearest

_SHOWN_IDS = 30
#: Meanings for which every request that is made has a value of its own.
SAID_BY_REQUESTS = frozenset({"prompt", "messages", "image", "mask", "model", "async", "task_id"})


@dataclass(frozen=True, slots=True)
class SpecProblem:
    """One thing that is wrong in provider data: the file, the line (from 1), the key where there is one, and what."""

    file: str
    line: int | None
    key: str | None
    message: str

    def __str__(self) -> str:
        """`file:line: key: message`, as editors and compilers have it."""
        return f"{self.file}{f':{self.line}' if self.line else ''}: {f'{self.key}: ' if self.key else ''}{self.message}"

    def error(self) -> SpecError:
        """The same as an exception."""
        return SpecError(
            self.message,
            file=Path(self.file),
            line=self.line,
            key=self.key,
            hint=f"see all problems with: testcard spec lint {shlex.quote(str(Path(self.file).parent))}",
        )


def dotted(pointer: Pointer) -> str:
    """The key as a person writes it: `operations.createImage.fields.seed`."""
    return ".".join(map(str, pointer))


def at(source: YamlFile, pointer: Pointer, message: str, *, key: str | None = None) -> SpecProblem:
    """A problem at a key of a file."""
    return SpecProblem(str(source.path), source.line(pointer), key if key is not None else dotted(pointer) or None, message)


def unknown_operations(openapi: OpenApi, named: Iterable[str], source: YamlFile) -> Iterator[SpecProblem]:
    """Operations that a profile names and the document does not have. `source` is the profile's file."""
    for operation_id in named:
        if operation_id not in openapi.operations:
            known = [one.id for one in openapi.documented]
            said = f"is no operationId of {openapi.source.path.name}; {nearest(operation_id, known[:_SHOWN_IDS], 'it has')}"
            yield at(source, ("operations", operation_id), said)


def disagreements(openapi: OpenApi, profile: Profile, source: YamlFile) -> Iterator[SpecProblem]:
    """Names in profile.yaml that nothing stands behind. `source` is the profile's file."""
    yield from unknown_operations(openapi, profile.operations, source)
    for operation_id, entry in profile.operations.items():
        pointer: Pointer = ("operations", operation_id)
        operation = openapi.operations.get(operation_id)
        if operation is not None:
            yield from _fields(operation, entry, pointer, source)
    unsaid = "tasks" not in (source.data if isinstance(source.data, Mapping) else {})
    if not profile.tasks and unsaid and all(name in openapi.operations for name in profile.operations):
        yield at(
            source,
            ("operations",),
            "none of them is known to generate, edit or describe a picture: say which of its fields means prompt (fields), "
            "where the pictures are (response), or what it does (tasks)",
        )
    yield from _models_and_tasks(openapi, profile, source)
    yield from _asynchronous(openapi, profile, source)
    for rule_id, entries in profile.rules.items():
        for rule in entries:
            for name in set(rule.operations or ()) - set(profile.operations):
                yield at(source, ("rules", rule_id), f"names the unknown operation {name}")
    models = {model.id for model in profile.models} | {"*"}
    for index, price in enumerate(profile.prices):
        for name in sorted(set(price.models) - models):
            yield at(source, ("prices", index), f"names the model {name}, which is not under models")
        for name in sorted(set(price.operations or ()) - set(profile.operations)):
            yield at(source, ("prices", index), f"names the unknown operation {name}")


def nameless(openapi: OpenApi, profile: Profile, source: YamlFile) -> Iterator[SpecProblem]:
    """Operations that have to be told a model, where neither file names one."""
    for operation_id, entry in profile.operations.items():
        operation = openapi.operations.get(operation_id)
        if operation is None or not entry.tasks or entry.model is not None or any(operation_id in one.operations for one in profile.models):
            continue
        asked = [name for name, field in entry.path.items() if field.means == "model"]
        for name, field in entry.fields.items():
            *owner, last = wire_parts(name)
            stated = field.send is not None or field.cheapest is not None or bool(field.must_accept)
            if field.means == "model" and not stated and last in (schema_at(operation.request_schema, owner).get("required") or ()):
                asked.append(name)
        if asked:
            yield at(
                source,
                ("models",),
                f"{operation_id} has to be told a model ({asked[0]}), and neither file names one: list it (models: […])",
            )


def _fields(operation: Operation, entry: OperationProfile, pointer: Pointer, source: YamlFile) -> Iterator[SpecProblem]:
    if entry.alternative is not None and entry.alternative not in [one.name for one in operation.alternatives]:
        kinds = ", ".join(one.name for one in operation.alternatives)
        said = f"of no such kind; they are: {kinds}" if kinds else "of one kind"
        yield at(source, (*pointer, "alternative"), f"requests of {operation.id} are {said}")
    for kind, names, known in _kinds(operation, entry):
        for name in names:
            if name not in known and not (name.startswith("/") and has_place(operation.request_schema, parts_of(name))):
                near = f"; it has: {', '.join(known)}" if known else ""
                yield at(source, (*pointer, kind, name), f"{operation.document.source.path.name} has no such field of {operation.id}{near}")
    if entry.tasks:
        yield from _unsaid(operation, entry, pointer, source)
    meanings = {field.means for _, fields, _ in _kinds(operation, entry) for field in fields.values()}
    if "messages" in meanings:
        meanings |= {"prompt", "image"}
    for situation, needed in entry.needs.items():
        for meaning in needed:
            if meaning not in meanings:
                yield at(source, (*pointer, "needs", situation), f"no field of {operation.id} means {meaning}")
    for task in entry.tasks:
        if task == "describe" and entry.kind != "chat":
            yield at(source, (*pointer, "kind"), "an operation for the task describe is of kind chat")
    if entry.kind == "chat" and "messages" not in meanings:
        yield at(source, (*pointer, "fields"), "an operation of kind chat has a field that means messages")
    where = entry.response
    if entry.kind == "images" and entry.tasks and where.pictures is None and not where.binary and where.events is None:
        yield at(source, (*pointer, "response"), "says nowhere where the pictures are (pictures: a pointer)")


def _unsaid(operation: Operation, entry: OperationProfile, pointer: Pointer, source: YamlFile) -> Iterator[SpecProblem]:
    for kind, name in unsaid(operation, entry):
        yield at(source, (*pointer, kind, name), "is required, and neither file says what to send: give it a value (send: …)")


def unsaid(operation: Operation, entry: OperationProfile) -> Iterator[tuple[str, str]]:
    """Required fields and parameters for which neither file has a value: the profile's key for their kind, and their wire name."""
    for name in operation.required:
        field, schema = entry.fields.get(name), operation.properties.get(name, {})
        stated = (
            field is None
            or any(other.startswith(f"/{name}/") for other in entry.fields)
            or field.means in SAID_BY_REQUESTS
            or field.cheapest is not None
            or field.send is not None
            or bool(field.must_accept)
        )
        bounded = "enum" in schema or ("minimum" in schema and "maximum" in schema)
        if not stated and not bounded:
            yield "fields", name
    owners = {parts[:end] for name in entry.fields if name.startswith("/") for parts in [parts_of(name)] for end in range(1, len(parts))}
    for owner in sorted(owners):
        schema = schema_at(operation.request_schema, owner)
        for inner in schema.get("required") or ():
            name = pointer_of((*owner, inner))
            if name not in entry.fields and not any(other.startswith(name + "/") for other in entry.fields):
                yield "fields", name
    for name in operation.path_parameters:
        in_path = entry.path.get(name)
        if in_path is None or (in_path.means == "other" and in_path.send is None):
            yield "path", name
    for location, name in sorted(operation.required_parameters):
        given = {"query": entry.query, "header": entry.headers}.get(location, {}).get(name)
        known = {"query": operation.query_parameters, "header": operation.header_parameters}.get(location, {})
        if name in known and (given is None or (given.send is None and given.means == "other")):
            yield ("query" if location == "query" else "headers"), name


def _models_and_tasks(openapi: OpenApi, profile: Profile, source: YamlFile) -> Iterator[SpecProblem]:
    for index, model in enumerate(profile.models):
        for operation_id in model.operations:
            operation = openapi.operations.get(operation_id)
            if operation is None:
                yield at(source, ("models", index), f"{model.id} names the unknown operation {operation_id}")
            for name in model.fields:
                if operation is not None and name not in operation.properties:
                    yield at(source, ("models", index, "fields", name), f"{openapi.source.path.name} has no such field of {operation_id}")
    for task, default in profile.tasks.items():
        pointer: Pointer = ("tasks", task)
        if default.operation not in profile.operations:
            yield at(source, pointer, f"there is no operation {default.operation}")
            continue
        if task not in profile.operations[default.operation].tasks:
            yield at(source, pointer, f"operations.{default.operation}.tasks does not list {task}")
        known = [model.id for model in profile.models if default.operation in model.operations]
        if default.model is not None and default.model not in known:
            yield at(source, pointer, f"{default.model} is not under models for {default.operation}")
    for operation_id, entry in profile.operations.items():
        known = [model.id for model in profile.models if operation_id in model.operations]
        if entry.model is not None and entry.model not in known:
            yield at(source, ("operations", operation_id, "model"), f"{entry.model} is not under models for {operation_id}")
        for name, field in entry.fields.items():
            place: Pointer = ("operations", operation_id, "fields", name)
            for model_id in field.models:
                if model_id not in known:
                    yield at(source, (*place, "models"), f"{model_id} is not under models for {operation_id}")
            if field.edits is not None and field.means != "mask":
                yield at(source, (*place, "edits"), "is for fields that mean mask")


def _asynchronous(openapi: OpenApi, profile: Profile, source: YamlFile) -> Iterator[SpecProblem]:
    protocol = profile.asynchronous
    if protocol is None:
        return
    if protocol.operation is not None and protocol.operation not in profile.operations:
        yield at(source, ("async", "operation"), f"there is no operation {protocol.operation}")
        return
    if protocol.flag is not None and not any(
        protocol.flag in entry.fields and entry.fields[protocol.flag].means == "async" for entry in profile.operations.values()
    ):
        yield at(source, ("async", "flag"), f"no operation has a field {protocol.flag} that means async")
    operation = openapi.operations.get(protocol.operation or "")
    if operation is not None and protocol.parameter not in {**operation.path_parameters, **operation.query_parameters}:
        yield at(
            source, ("async", "parameter"), f"{openapi.source.path.name} has no parameter {protocol.parameter} of {protocol.operation}"
        )


def impossible_values(openapi: OpenApi, profile: Profile, source: YamlFile) -> Iterator[SpecProblem]:
    """Values that a profile sends although the schema does not allow them, and answers' places that the schema does not have."""
    for operation_id, entry in profile.operations.items():
        operation = openapi.operations.get(operation_id)
        if operation is None:
            continue
        pointer: Pointer = ("operations", operation_id)
        for kind, fields, schemas in _kinds(operation, entry):
            for name, field in fields.items():
                if name in schemas:
                    yield from _values(field, schemas[name], (*pointer, kind, name), source, openapi.source.path.name)
        schema = operation.response_schema(200)
        own = entry.asynchronous if isinstance(entry.asynchronous, AsyncProtocol) else profile.asynchronous
        if own is not None and own.flag is None and entry.asynchronous != "none":
            polled = openapi.operations.get(own.operation or "")
            schema = polled.response_schema(200) if polled is not None and own.result == "" and own.result_url is None else None
        if schema is not None and entry.kind != "task":
            for key, place in _places(entry.response):
                if not has_place(schema, parts_of(place)):
                    yield at(source, (*pointer, "response", key), f"the answer's schema has no {place}")


def success_places(openapi: OpenApi, profile: Profile, source: YamlFile) -> Iterator[SpecProblem]:
    """What tells errors that are sent as successes, where no answer has such a place or it cannot hold such a value."""
    success = profile.errors.success
    used = [openapi.operations[name] for name in profile.operations if name in openapi.operations]
    answers = [schema for one in used for status in one.success_statuses if (schema := one.response_schema(status)) is not None]
    if success is None or not answers:
        return
    there = [schema for schema in answers if has_place(schema, parts_of(success.at))]
    if not there:
        yield at(source, ("errors", "success", "at"), f"no answer's schema has {success.at}")
    for value in success.values:
        if there and not any(allows(schema_at(schema, parts_of(success.at)), value) for schema in there):
            yield at(source, ("errors", "success", "values"), f"{openapi.source.path.name} does not allow {value!r} at {success.at}")


def _values(field: WireField, schema: Mapping[str, Any], pointer: Pointer, source: YamlFile, document: str) -> Iterator[SpecProblem]:
    import jsonschema_rs  # here: whoever only names a provider does not wait for it

    try:
        validator = jsonschema_rs.Draft202012Validator(dict(schema))
    except (ValueError, jsonschema_rs.ValidationError):
        return  # the schema itself is wrong, and reported as such
    listed = [("must_accept", value) for value in field.must_accept] + [("may_refuse", value) for value in field.may_refuse]
    if field.cheapest is not None:
        listed.append(("cheapest", field.cheapest))
        if field.must_accept and field.cheapest not in field.must_accept:
            yield at(source, (*pointer, "cheapest"), "is what probes send, so it has to be one of must_accept")
    listed += [("values", value) for value in field.values.values()]
    for key, value in listed:
        if not validator.is_valid(value):
            yield at(source, (*pointer, key), f"{document} does not allow {value!r} here")
    for value in field.must_accept:
        if value in field.may_refuse:
            yield at(source, (*pointer, "may_refuse"), f"{value!r} stands under must_accept as well")


def _places(response: ResponseMap) -> Iterator[tuple[str, str]]:
    if response.pictures is not None:
        yield "pictures", response.pictures
        for key in ("base64", "url", "item_seed", "finish"):
            value = getattr(response, key)
            if value is not None and not value.startswith("header:"):
                yield key, f"{response.pictures}/{value}" if value else response.pictures
    amounts = {key: amount.at for key, amount in (("cost", response.cost), ("balance", response.balance)) if amount is not None}
    for key, value in {"created": response.created, **amounts}.items():
        if value is not None and not value.startswith("header:"):
            yield key, value
    for key, several in (("usage", response.usage), ("echoes", response.echoes)):
        yield from ((key, value) for value in several.values() if not value.startswith("header:"))


def has_place(schema: Mapping[str, Any], parts: Sequence[str]) -> bool:
    """Whether a value of the schema may hold something at a place; an object of which nothing is said may hold anything."""
    branches = [branch for word in ("oneOf", "anyOf", "allOf") for branch in schema.get(word, ()) if isinstance(branch, Mapping)]
    if any(has_place(branch, parts) for branch in branches):
        return True
    if not parts:
        return True
    if parts[0] == "*" or (parts[0].isdigit() and "items" in schema):
        return "items" in schema and has_place(schema["items"], parts[1:])
    properties = schema.get("properties")
    if properties is None:
        return not branches and type_of(schema) in (None, "object")
    return parts[0] in properties and has_place(properties[parts[0]], parts[1:])


def _kinds(operation: Operation, entry: OperationProfile) -> Iterator[tuple[str, Mapping[str, WireField], Mapping[str, Any]]]:
    """The profile's fields by where they go, beside what the document has there."""
    yield "fields", entry.fields, operation.properties
    yield "path", entry.path, operation.path_parameters
    yield "query", entry.query, operation.query_parameters
    yield "headers", entry.headers, operation.header_parameters
