"""What the contract allows: which operation carries out a task, and what is refused before anything is sent.

Every message is made from the schema, never from the value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import jsonschema_rs

from testcard.harness.errors import ContractViolation
from testcard.harness.wire.fields import WireFields, contract_place, fields_hint, mode_of, values_by_meaning, wire_fields
from testcard.harness.wire.model import InputImage, TaskRequest
from testcard.specs.loader import Provider
from testcard.specs.openapi import OpenApi, Operation
from testcard.specs.pointers import reference_parts

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
        elif isinstance(node, list) and key.isdigit() and int(key) < len(node):
            node, pointer = node[int(key)], (*pointer, int(key))
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
