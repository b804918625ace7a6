"""What the contract allows: which operation carries out a task, which models may be asked for, and what is refused before anything is sent.

Every message on a value is made from the schema, never from the value. A model that no profile lists may be asked for where the document does
not close its list of models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any
from weakref import WeakKeyDictionary

import jsonschema_rs

from testcard.harness.errors import ContractViolation, UsageError
from testcard.harness.wire.fields import WireFields, contract_place, fields_hint, mode_of, schema_of, values_by_meaning, wire_fields
from testcard.harness.wire.model import InputImage, TaskRequest
from testcard.specs.loader import Provider
from testcard.specs.openapi import OpenApi, Operation, Schema
from testcard.specs.pointers import reference_parts, whole_number

# Compiled validators, kept as long as the document they come from: a cache, invisible from outside.
_validators: WeakKeyDictionary[OpenApi, dict[str, jsonschema_rs.Draft202012Validator]] = WeakKeyDictionary()


def check_contract(provider: Provider, fields: WireFields, request: TaskRequest | None = None) -> None:
    """Raises `ContractViolation` at the first breach: unknown field, schema (type, enum, bounds, steps, required), documented needs.

    Needs (an edit needs a picture, inpainting a mask) are looked up only when the task request is given.
    """
    provider = provider.for_body(fields.operation, fields.body)
    operation = provider.operation(fields.operation)
    for name in fields.body:
        if name not in operation.properties:
            known = ", ".join(operation.properties) or "none"
            raise ContractViolation(
                "is no field of this operation", field=name, where=contract_place(provider, operation), hint=f"its fields: {known}"
            )
    for name, schema in operation.path_parameters.items():
        if fields.path.get(name) in (None, ""):
            raise ContractViolation(
                "is missing in the path", field=name, where=contract_place(provider, operation), hint=fields_hint(provider)
            )
        _validate(provider, operation, f"path:{name}", schema, fields.path[name], (name,))
    if request is not None:
        _check_needs(provider, operation, fields, request)
    if operation.request_content:
        files = any(media.startswith("multipart/") for media in operation.request_content)
        body = _without_bytes(fields.body) if files else fields.body
        _validate(provider, operation, "body", operation.request_schema, body, ())


def _check_needs(provider: Provider, operation: Operation, fields: WireFields, request: TaskRequest) -> None:
    profile = provider.operation_profile(operation.id)
    if not profile.needs:
        return
    present = values_by_meaning(profile, fields.body)
    if request.images:
        present["image"] = request.images
    if request.prompt is not None:
        present["prompt"] = request.prompt
    if fields.path:
        present["model"] = fields.path
    for situation in (request.task, mode_of(request), str(present.get("mode", ""))):
        for meaning in profile.needs.get(situation, ()):
            if present.get(meaning) in (None, "", [], ()):
                raise ContractViolation(
                    f"{situation} needs it",
                    field=meaning,
                    where=f"{provider.id}/profile.yaml, operations.{operation.id}.needs.{situation}",
                    hint=f"give the {meaning} as well",
                )


def _validate(provider: Provider, operation: Operation, kind: str, schema: Mapping[str, Any], value: Any, prefix: tuple[str, ...]) -> None:
    compiled = _validators.setdefault(operation.document, {})
    key = f"{operation.id} {kind}"
    if key not in compiled:
        compiled[key] = jsonschema_rs.Draft202012Validator(_for_text_parts(schema))
    error = next(iter(compiled[key].iter_errors(value)), None)
    if error is None:
        return
    place = [*prefix, *map(str, error.instance_path)]
    if error.kind.name == "required":
        place.append(str(error.kind.value))
    raise ContractViolation(
        _sentence(error.kind.name, error.kind.value),
        field=".".join(place) or "body",
        where=f"{provider.id}/openapi.yaml:{_line(operation, [str(part) for part in error.schema_path])}, {operation.id}",
        hint=_hint(provider, error.kind.name, error.kind.value),
    )


def _sentence(keyword: str, value: Any) -> str:
    shown = json.dumps(value) if not isinstance(value, str) else value
    words = {
        "type": f"must be of type {' or '.join(value) if isinstance(value, list) else value}",
        "enum": f"must be one of {', '.join(map(str, value)) if isinstance(value, list) else value}",
        "const": f"must be {shown}",
        "minimum": f"must be at least {shown}",
        "maximum": f"must be at most {shown}",
        "exclusiveMinimum": f"must be more than {shown}",
        "exclusiveMaximum": f"must be less than {shown}",
        "multipleOf": f"must be a multiple of {shown}",
        "minLength": f"must have at least {shown} characters",
        "maxLength": f"must have at most {shown} characters",
        "minItems": f"must have at least {shown} items",
        "maxItems": f"must have at most {shown} items",
        "pattern": f"must match {shown}",
        "required": "is required",
        "additionalProperties": "has a field that the schema does not allow",
    }
    return words.get(keyword, f"does not satisfy {keyword}")


def _hint(provider: Provider, keyword: str, value: Any) -> str:
    if keyword == "enum" and isinstance(value, list):
        return f"choose one of: {', '.join(map(str, value))}"
    return fields_hint(provider)


def _line(operation: Operation, schema_path: list[str]) -> int:
    """The line that a schema path stands on, following references; the operation's own line where it cannot be followed."""
    pointer: tuple[str | int, ...] = (*operation.pointer, "requestBody")
    node: Any = operation.raw.get("requestBody", {})
    media = operation.request_media_type or ""
    for key in ["content", media, "schema", *schema_path]:
        while isinstance(node, Mapping) and "$ref" in node:
            pointer = reference_parts(str(node["$ref"]))
            node = operation.document.deref({"$ref": node["$ref"]})
        if isinstance(node, Mapping) and key in node:
            node, pointer = node[key], (*pointer, key)
        elif isinstance(node, list) and (index := whole_number(key)) is not None and index < len(node):
            node, pointer = node[index], (*pointer, index)
        else:
            break
    return operation.document.source.line(pointer)


def _without_bytes(value: Any) -> Any:
    """The value with every file replaced by an empty string: schemas describe files as strings, and their bytes are not text."""
    if isinstance(value, InputImage | bytes):
        return ""
    if isinstance(value, Mapping):
        return {key: _without_bytes(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(item) for item in value]
    return value


def _for_text_parts(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without the keywords that describe a file's bytes, which the placeholder of `_without_bytes` cannot meet."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return dict(schema)
    plain: dict[str, Any] = {}
    for name, entry in properties.items():
        items = entry.get("items", {}) if isinstance(entry, Mapping) else {}
        if isinstance(entry, Mapping) and (entry.get("format") == "binary" or "contentMediaType" in entry):
            plain[name] = {"type": "string"}
        elif isinstance(items, Mapping) and (items.get("format") == "binary" or "contentMediaType" in items):
            plain[name] = {**entry, "items": {"type": "string"}}
        else:
            plain[name] = entry
    return {**schema, "properties": plain}


# ── which operation carries out a task, where a provider has several ──────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Choice:
    """An operation with the request as it will be sent there (model filled in) and its checked wire fields.

    `note` says why it is not the default operation.
    """

    operation: str
    request: TaskRequest
    fields: WireFields
    model: str | None
    note: str | None = None


def choose(provider: Provider, request: TaskRequest, operation: str | None = None) -> Choice:
    """The operation to use: the one named, else the task's default, unless that one lacks the model or cannot make the size.

    Then the first operation of the task, in the profile's order, that can. Other breaches never move a request: they are
    the caller's to mend. Raises `ContractViolation` as the default operation (or the one named) would.
    """
    provider = provider.for_model(request.model)
    default = operation or provider.default_operation(request.task)
    others = [] if operation else [name for name, profile in provider.profile.operations.items() if request.task in profile.tasks]
    if request.model is not None and others and request.model not in provider.models(default):
        owners = [name for name in others if request.model in provider.models(name)]
        if owners:
            default, others = owners[0], owners
    try:
        choice = _prepared(provider, request, default)
    except ContractViolation as violation:
        size_fields = {name for name, entry in provider.operation_profile(default).fields.items() if entry.means in _SIZE_MEANINGS}
        if request.size is None or violation.field not in {"size", *size_fields}:
            raise
        for other in others:
            try:
                choice = _prepared(provider, request, other)
            except ContractViolation:
                continue
            size = request.size if isinstance(request.size, str) else f"{request.size[0]}x{request.size[1]}"
            return replace(choice, note=f"{default} cannot make {size}, so {other} does it")
        raise
    if operation is None and default != provider.default_operation(request.task):
        return replace(choice, note=f"{request.model} belongs to {default}")
    return choice


_SIZE_MEANINGS = ("size", "width", "height", "aspect_ratio", "tier")


def _prepared(provider: Provider, request: TaskRequest, operation: str) -> Choice:
    model = request.model or provider.default_model(operation, request.task)
    profile = provider.operation_profile(operation)
    named = profile.wire_name("model") is not None or any(entry.means == "model" for entry in profile.path.values())
    if named and request.model != model:
        request = replace(request, model=model)
    fields = wire_fields(provider, request, operation)
    check_contract(provider, fields, request)
    return Choice(operation, request, fields, model)


@dataclass(frozen=True, slots=True)
class ModelList:
    """All models that an operation knows, by its document; `closed_by` says where the list is closed."""

    models: tuple[str, ...]
    closed_by: str


def closed_list(provider: Provider, operation_id: str) -> ModelList | None:
    """All models of an operation, where its document lists them all; None where it leaves others open.

    A list is closed by the schema of the field that names the model, or by there being no such field: then the operation has its own.
    Models that a description gives as examples, and those of a profile, close nothing.
    """
    operation, profile = provider.operation(operation_id), provider.operation_profile(operation_id)
    name = profile.wire_name("model")
    if name is None:
        if any(entry.means == "model" for entry in profile.path.values()):
            return None
        return ModelList(provider.models(operation_id), f"no field of {operation_id} names one")
    allowed = _closed(schema_of(operation.properties, name))
    if allowed is None:
        return None
    others = [value for one in operation.alternatives for value in one.values.get(name, ())]
    return ModelList(
        tuple(dict.fromkeys(map(str, [*allowed, *others]))),
        f"the values of {name} in {operation.document.source.path.name}, {operation_id}, line {operation.line()}",
    )


def open_to(provider: Provider, operations: Sequence[str], model: str) -> tuple[str, ...]:
    """Those of the operations that may know the model; `UsageError` where every one closes its list, saying where."""
    lists = {operation: closed_list(provider, operation) for operation in operations}
    found = tuple(operation for operation, closed in lists.items() if closed is None or model in closed.models)
    if found or not operations:
        return found
    closed = [one for one in lists.values() if one is not None]
    models = dict.fromkeys(name for one in closed for name in one.models)
    places = "; ".join(dict.fromkeys(one.closed_by for one in closed))
    raise UsageError(
        f"{provider.profile.name} has no model {model} there: its document closes the list ({places})",
        hint="the models are: " + (", ".join(models) or "(none named)"),
    )


def unlisted(provider: Provider, operations: Sequence[str], model: str) -> str | None:
    """What to say where a model is asked for that no profile lists; None for one that is listed."""
    listed = list(dict.fromkeys(name for operation in operations for name in provider.models(operation)))
    if model in listed:
        return None
    near = get_close_matches(model, listed, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"{provider.profile.name} lists no model {model}{meant}; its document leaves the list open, so it is asked for"


def _closed(schema: Schema) -> list[Any] | None:
    """All values that a schema allows, where it lists them; None where others may be meant too."""
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    for word in ("anyOf", "oneOf"):
        branches = [_closed(one) for one in schema.get(word, ()) if isinstance(one, Mapping)]
        if branches and all(branch is not None for branch in branches):
            return [value for branch in branches for value in branch or ()]
    return next((found for one in schema.get("allOf", ()) if (found := _closed(one)) is not None), None)
