"""The command that a mock offers to try: curl, with one request that the provider's own contract accepts."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from testcard.specs.loader import Provider
from testcard.specs.openapi import Operation
from testcard.specs.pointers import MISSING, parts_of, wire_parts
from testcard.specs.profile import OperationProfile, WireField
from testcard.specs.samples import made_up_value
from testcard.specs.schemas import schema_at

_PROMPT = "a red boat"


def curl_line(provider: Provider, url: str, api_key: str, authority: Path | None = None) -> str:
    """A command that shows the provider's first way to a picture at work: everything that its document requires is in it."""
    generate = provider.profile.tasks.get("generate")
    operation = provider.operation(generate.operation) if generate is not None else next(iter(provider.openapi.operations.values()))
    profile = provider.operation_profile(operation.id)
    model = provider.default_model(operation.id, "generate" if generate is not None else None)
    header = provider.profile.auth.header
    words = ["curl", url + _target(operation, profile, model)]
    if authority is not None:
        words += ["--cacert", str(authority)]
    if header is not None:
        words += ["-H", f"{header.name}: {header.prefix}{api_key}"]
    for name, field in profile.headers.items():
        if field.send is not None:
            words += ["-H", f"{name}: {field.send}"]
    media_type = operation.request_media_type or ""
    if media_type:
        words += _body_words(_body(operation, profile, model), media_type)
    if profile.response.binary and not profile.response.pictures:
        words += ["-o", "picture"]
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    return word if shlex.quote(word) == word else "'" + word.replace("'", "'\\''") + "'"


def _target(operation: Operation, profile: OperationProfile, model: str | None) -> str:
    path = operation.path
    for name, schema in operation.path_parameters.items():
        value = _value(profile.path.get(name), schema, model)
        path = path.replace("{" + name + "}", quote("" if value is MISSING else str(value), safe=""))
    sent = {name: field.send for name, field in profile.query.items() if field.send is not None}
    return f"{path}?{urlencode(sent)}" if sent else path


def _body(operation: Operation, profile: OperationProfile, model: str | None) -> dict[str, Any]:
    """What the document requires, the prompt, the model, and what the profile sends with each request."""
    if "messages" in operation.properties:
        return {"model": model, "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}
    body: dict[str, Any] = {}
    for name in sorted(_asked(operation, profile), key=lambda name: name.count("/")):  # what stands inside overrides what is around it
        parts = wire_parts(name)
        value = _value(profile.fields.get(name), schema_at(operation.request_schema, parts), model)
        if value is not MISSING:
            _put(body, parts, value)
    return body


def _asked(operation: Operation, profile: OperationProfile) -> Iterator[str]:
    for name, field in profile.fields.items():
        if name in operation.required or field.means == "prompt" or field.send is not None or _required_inside(operation, name):
            yield name
    yield from (name for name in operation.required if name not in profile.fields)


def _required_inside(operation: Operation, name: str) -> bool:
    """Whether a field that is named by a pointer is required all the way down."""
    if not name.startswith("/"):
        return False
    parts, schema = parts_of(name), operation.request_schema
    for part in parts:
        if part.isdigit():
            schema = schema_at(schema, (part,))
            continue
        if part not in (schema.get("required") or ()):
            return False
        schema = schema_at(schema, (part,))
    return True


def _value(field: WireField | None, schema: Mapping[str, Any], model: str | None) -> Any:
    if field is not None:
        if field.means == "prompt":
            return _PROMPT
        if field.means == "model" and model is not None:
            return model if field.part is None else model.split("/", 1)[field.part] if field.part < 1 + model.count("/") else ""
        for value in (field.send, field.cheapest, *field.must_accept[:1]):
            if value is not None:
                return value
    return made_up_value(schema)


def _put(body: dict[str, Any], parts: tuple[str, ...], value: Any) -> None:
    """Sets a value at a place, with the objects and lists on the way to it."""
    place: Any = body
    for part, after in zip(parts, (*parts[1:], None), strict=True):
        key: Any = int(part) if isinstance(place, list) else part
        if isinstance(place, list) and key >= len(place):
            place.append(None)
        below = place[key] if isinstance(place, list) else place.get(key)
        if after is None:
            place[key] = value
        elif not isinstance(below, dict | list):
            place[key] = [] if after.isdigit() else {}
        place = place[key]


def _body_words(body: Mapping[str, Any], media_type: str) -> list[str]:
    """The options of curl that send the body in its media type."""
    plain = media_type.partition(";")[0].strip()
    if plain.endswith("json"):
        return ["-H", f"Content-Type: {media_type}", "-d", json.dumps(body)]
    flag = "-F" if plain == "multipart/form-data" else "--data-urlencode"
    return [word for name, value in body.items() for word in (flag, f"{name}={value if isinstance(value, str) else json.dumps(value)}")]


__all__ = ["curl_line"]
