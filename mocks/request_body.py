"""A request's body as a mock reads it: bounded, as JSON or a form, against the operation's JSON Schema."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs
import msgspec
from starlette.datastructures import Headers as StarletteHeaders
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from testcard.mocks.exchange import Problem, Refused, Upload
from testcard.specs.errors import SpecError
from testcard.specs.loader import Provider
from testcard.specs.profile import Lenient
from testcard.specs.schemas import type_of

#: stands for a file while a form is validated, and for text that came without a file where one belongs
_A_FILE = "(file)"
_MOST_ITEMS = 100


class Contract:
    """The request schema of one operation, compiled. `media_types` are those the operation takes, `defaults` the schema's.

    `strict` leaves out what the profile lets servers take beside the documented types and names.
    """

    def __init__(self, provider: Provider, operation_id: str, *, strict: bool = False) -> None:
        operation = provider.operation(operation_id)
        profile = provider.operation_profile(operation_id)
        self.media_types = tuple(operation.request_content)
        self.listed = operation.listed
        schema = copy.deepcopy(dict(operation.request_schema))
        for lenient in () if strict else profile.lenient:
            _widen(schema, lenient)
        self.properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
        self.required: tuple[str, ...] = tuple(schema.get("required", ()))
        self.defaults = {name: entry["default"] for name, entry in self.properties.items() if "default" in entry}
        self.files = frozenset(name for name, field in profile.fields.items() if field.format == "file")
        self.nested = frozenset(name for name, field in profile.fields.items() if field.nested != "json")
        self.aliases = {} if strict else {alias: name for name, field in profile.fields.items() for alias in field.aliases}
        self._numbers = tuple((name, kind) for name, entry in self.properties.items() if (kind := type_of(entry)) in ("integer", "number"))
        self._validator = jsonschema_rs.Draft202012Validator(schema)
        self._provider, self._operation, self._strict = provider, operation, strict
        self._others: dict[str, Contract] = {}
        parameters = [one for one in operation.parameters if one.location in ("path", "query") and _bounded(one.schema)]
        self._parameters = [
            (one.location, one.name, one.schema, jsonschema_rs.Draft202012Validator(dict(one.schema))) for one in parameters
        ]

    def _gathered(self, form: list[tuple[str, str | Upload]]) -> Iterator[tuple[str, Any]]:
        """A form's parts, those of one nested field (`a[b]`, `a.b`) as one."""
        nested: dict[str, Any] = {}
        for raw, value in form:
            name, *steps = [step for step in re.split(r"[.\[\]]+", raw) if step] or [raw]
            if name in self.nested and steps:
                nested[name] = _placed(nested.get(name), steps, value)
            else:
                yield raw, value
        for name, value in nested.items():
            yield name, _fitted(value, self.properties.get(name, {}))

    def of(self, fields: Any) -> Contract:
        """The contract of the kind of request that these fields say they are, where the document has several; this one else."""
        meant = self._operation.meant(fields) if self._operation.alternatives and isinstance(fields, Mapping) else None
        if meant is None:
            return self
        if meant.name not in self._others:
            try:
                other = self._provider.with_alternatives({self._operation.id: meant.name})
                self._others[meant.name] = Contract(other, self._operation.id, strict=self._strict)
            except SpecError:  # that kind is not one that can be asked for: lint says why
                self._others[meant.name] = self
        return self._others[meant.name]

    def read(self, value: Any) -> tuple[Any, list[Problem]]:
        """The fields of a JSON body with what is wrong with them; of a list those of its first object, each judged."""
        if not self.listed:
            return value, self.problems(value)
        if not isinstance(value, list) or not value:
            return {}, [Problem("", "type", "the body has to be a list of at least one object")]
        return value[0], [problem for one in value for problem in self.problems(one)]

    def problems(self, fields: Any) -> list[Problem]:
        """Every departure of a body from the schema, in the validator's order; empty for a valid one."""
        one = self.of(fields)
        if one is not self:
            return one.problems(fields)
        if self._validator.is_valid(fields):
            return []
        return [_problem(error) for error in self._validator.iter_errors(fields)]

    def parameter_problems(self, path: Mapping[str, str], query: Mapping[str, str]) -> list[Problem]:
        """Every departure of the parameters of path and query from their schemas."""
        found: list[Problem] = []
        for location, name, schema, validator in self._parameters:
            text = (path if location == "path" else query).get(name)
            if text is not None and not any(validator.is_valid(value) for value in _readings(text, schema)):
                found.append(Problem(name, "parameter", f"{name} is none of the documented values"))
        return found

    def complete(self, fields: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The documented fields, with defaults filled in and numbers in one spelling, so that what is equal looks equal; and the others."""
        one = self.of(fields)
        if one is not self:
            return one.complete(fields)
        further: dict[str, Any] = {}
        if not fields.keys() <= self.properties.keys():
            further = {name: value for name, value in fields.items() if name not in self.properties}
            fields = {name: value for name, value in fields.items() if name in self.properties}
        whole = {**self.defaults, **fields}
        for name, kind in self._numbers:
            if whole.get(name) is not None:
                whole[name] = _number(whole[name], kind)
        return whole, further

    def cast(self, form: list[tuple[str, str | Upload]]) -> tuple[dict[str, Any], list[Problem]]:
        """A form's parts as fields of their declared types, with what is wrong; files stay `Upload`, repeated where an array is declared."""
        one = self.of({name: value for name, value in form if isinstance(value, str)})
        if one is not self:
            return one.cast(form)
        fields: dict[str, Any] = {}
        problems: list[Problem] = []
        for raw, value in self._gathered(form):
            name = self.aliases.get(raw, raw)
            schema = self.properties.get(name, {})
            many = type_of(schema) == "array"
            if name in self.properties and (name in self.files) != isinstance(value, Upload):
                wanted = "a file" if name in self.files else "a text field"
                problems.append(Problem(name, "type", f"{name} has to be {wanted}"))
                continue
            cast = _cast(value, type_of(schema.get("items", {}) if many else schema)) if isinstance(value, str) else value
            if many and isinstance(cast, list):
                fields.setdefault(name, []).extend(cast)
            elif many:
                fields.setdefault(name, []).append(cast)
            elif name in fields and _may_be_a_list(schema):
                there = fields[name]
                fields[name] = [*(there if isinstance(there, list) else [there]), cast]
            elif name in fields:
                problems.append(Problem(name, "maxItems", f"{name} was sent more than once"))
            else:
                fields[name] = cast
        return fields, problems + self.problems(_without_files(fields))


def _may_be_a_list(schema: Mapping[str, Any]) -> bool:
    """Whether a list is one of the values that the schema allows, beside a single one."""
    branches = (branch for word in ("anyOf", "oneOf") for branch in schema.get(word) or ())
    return any(isinstance(branch, Mapping) and type_of(branch) == "array" for branch in branches)


def _placed(there: Any, steps: list[str], value: Any) -> Any:
    """The value put where the steps lead, with objects and lists made on the way."""
    if not steps:
        return value
    first, rest = steps[0], steps[1:]
    if first.isdigit():
        items = list(there) if isinstance(there, list) else []
        items += [{}] * (min(int(first), _MOST_ITEMS) + 1 - len(items))
        items[min(int(first), _MOST_ITEMS)] = _placed(items[min(int(first), _MOST_ITEMS)], rest, value)
        return items
    owner = dict(there) if isinstance(there, dict) else {}
    owner[first] = _placed(owner.get(first), rest, value)
    return owner


def _fitted(value: Any, schema: Mapping[str, Any]) -> Any:
    """Text further in as the values of their declared types."""
    if isinstance(value, dict):
        properties = schema.get("properties") or {}
        return {name: _fitted(one, properties.get(name, {})) for name, one in value.items()}
    if isinstance(value, list):
        return [_fitted(one, schema.get("items") or {}) for one in value]
    return _cast(value, type_of(schema)) if isinstance(value, str) else value


def _number(value: Any, kind: str) -> Any:
    try:
        return int(value) if kind == "integer" else float(value)
    except (TypeError, ValueError, OverflowError):
        return value


def _without_files(fields: Mapping[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, Upload):
            return _A_FILE
        return [plain(item) for item in value] if isinstance(value, list) else value

    return {name: plain(value) for name, value in fields.items()}


def _cast(text: str, kind: Any) -> Any:
    """The value that the text of a form field stands for; the text itself where it stands for no value of that kind."""
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
    except ValueError:
        return text
    if kind in ("object", "array"):
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            return text
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.lower(), text)
    return text


def _widen(schema: Any, lenient: Lenient) -> None:
    """Lets the schema take the further types at the pointer as well."""
    parts = [part for part in lenient.pointer.split("/") if part]
    for part in parts[:-1]:
        schema = schema.get("items", {}) if part == "*" else schema.get("properties", {}).get(part, {})
    last = "items" if parts[-1] == "*" else parts[-1]
    owner = schema if last == "items" else schema.get("properties", {})
    if last in owner:
        owner[last] = {"anyOf": [owner[last], {"type": list(lenient.types)}]}


def _problem(error: Any) -> Problem:
    place = ".".join(str(part) for part in error.instance_path)
    keyword = str(error.schema_path[-1]) if error.schema_path else "schema"
    kind = error.kind.as_dict()
    if keyword == "required":
        missing = str(kind.get("property", ""))
        place = f"{place}.{missing}" if place else missing
        return Problem(place, keyword, f"{place} is required")
    subject = place or "the body"
    says = {
        "enum": f"has to be one of {', '.join(map(str, kind.get('options', ())))}",
        "type": f"has to be of the type {kind.get('types', kind.get('type', ''))}",
        "minimum": f"has to be at least {kind.get('limit')}",
        "maximum": f"has to be at most {kind.get('limit')}",
        "multipleOf": f"has to be a multiple of {kind.get('multiple_of')}",
        "minItems": f"needs at least {kind.get('limit')} items",
    }.get(keyword, f"does not satisfy {keyword}")
    return Problem(place, keyword, f"{subject} {says}")


Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
#: a body over the limit is read and thrown away up to this size, so that the client can read the answer
_DRAIN_BYTES = 64_000_000


async def read(message: MutableMapping[str, Any], receive: Receive, limit: int, *, drain: bool = True) -> bytes:
    """The whole body that begins with this message; `Refused` with 413 when it is larger than `limit` bytes, without reading on unless `drain`."""
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        parts, size = [body], len(body)
        while message.get("more_body") and size <= (_DRAIN_BYTES if drain else limit):
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            if size <= limit:
                parts.append(part)
        body = b"".join(parts) if size <= limit else b""
        if size > limit:
            raise _too_large(limit)
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def whole(receive: Receive) -> bytes:
    """The whole body, whatever its size: for a server that only passes it on or looks it up."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _too_large(limit: int) -> Refused:
    return Refused(413, f"the body is larger than {limit} bytes", code="payload_too_large")


def read_json(body: bytes) -> Any:
    """The value of a JSON body; `Refused` with 400 when it is none."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(400, "the body is not valid JSON", code="invalid_json") from None


def read_urlencoded(body: bytes) -> list[tuple[str, str | Upload]]:
    """The pairs of a form body in their order; `Refused` with 400 when it is no text."""
    try:
        return [*parse_qsl(body.decode(), keep_blank_values=True)]
    except (UnicodeDecodeError, ValueError):
        raise Refused(400, "the body is no valid form", code="invalid_form") from None


async def read_form(body: bytes, content_type: str) -> list[tuple[str, str | Upload]]:
    """The parts of a multipart body in their order; `Refused` with 400 when it is broken."""

    async def stream() -> AsyncIterator[bytes]:
        yield body
        yield b""

    parser = MultiPartParser(StarletteHeaders({"content-type": content_type}), stream(), max_part_size=4_000_000)  # type: ignore[arg-type]
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError, LookupError):
        raise Refused(400, "the body is not valid multipart/form-data", code="invalid_form") from None
    if not body.rstrip().endswith(b"--"):
        raise Refused(400, "the form ends before its last boundary", code="invalid_form")
    parts: list[tuple[str, str | Upload]] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            parts.append((name, Upload(await value.read(), value.content_type, value.filename)))
            await value.close()
        else:
            parts.append((name, value))
    return parts


def _bounded(schema: Mapping[str, Any]) -> bool:
    """Whether not every text will do for a parameter."""
    return bool(schema.keys() - {"description", "title", "example", "examples", "default", "deprecated"}) and dict(schema) != {
        "type": "string"
    }


def _readings(text: str, schema: Mapping[str, Any]) -> Iterator[Any]:
    """What the text of a parameter may stand for: itself, a number, a truth value, the items of a list."""
    yield text
    with suppress(ValueError):
        yield json.loads(text)
    if type_of(schema) == "array":
        yield text.split(",")
