"""Judges a response against the provider's OpenAPI file, with openapi-core; what is wrong comes back as data.

Only statuses that the document describes with a schema are judged here: an undocumented status is another rule's, and
so are the frames of an event stream. Messages are built from the place, the keyword and the contract's own values, never
from the instance: a body can be megabytes of a picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from testcard.harness.intake.json_values import strict_json
from testcard.harness.text.words import shortened
from testcard.specs.openapi import OpenApi, Operation
from testcard.specs.pointers import pointer_of, reference_parts, whole_number
from testcard.specs.reading import Pointer

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError
    from openapi_core import OpenAPI
    from werkzeug.datastructures import Headers

    from testcard.specs.loader import Provider

_HOST = "https://target.invalid"
_EVENT_STREAM = "text/event-stream"
_SHOWN_PROBLEMS = 50  # a list of a thousand broken items is one mistake

NotJudged = Literal["undocumented-status", "no-schema", "event-stream"]


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """One way in which a response breaks its schema.

    `place`: JSON pointer into the body ("" is the whole body; `header:NAME` for a header). `keyword`: the JSON Schema
    keyword, or `json` (the body is not JSON), `media-type` (content type missing or not documented), `body` (no body).
    `schema_pointer` and `line`: where the OpenAPI file says so. `null_for_optional`: the value is null in a property that
    might have been left out, which lenient readers take for the same.
    """

    place: str
    keyword: str
    message: str
    schema_pointer: str
    line: int
    null_for_optional: bool = False


@dataclass(frozen=True, slots=True)
class SchemaJudgement:
    """What was found, or why nothing was looked at (`not_judged`)."""

    problems: tuple[SchemaProblem, ...] = ()
    not_judged: NotJudged | None = None


def judge_response(
    provider: Provider, operation_id: str, *, status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> list[SchemaProblem]:
    """Every way the response breaks the documented schema of its status; empty also where nothing is judged (see `judge`)."""
    return list(judge(provider, operation_id, status=status, headers=headers, body=body).problems)


def judge(provider: Provider, operation_id: str, *, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> SchemaJudgement:
    """The response's problems, or the reason why this judge has nothing to say about it.

    `undocumented-status`: the document does not list it. `no-schema`: it lists no body schema for it.
    `event-stream`: a documented event stream was answered; its frames are judged by the stream rules.
    """
    operation = provider.operation(operation_id)
    if not operation.documents(status):
        return SchemaJudgement(not_judged="undocumented-status")
    key = next(key for key in (str(status), f"{status // 100}XX", "default") if key in operation.responses)
    content: Mapping[str, Any] = operation.responses[key].get("content") or {}
    if not content:
        return SchemaJudgement(not_judged="no-schema")
    pointer: Pointer = (*operation.pointer, "responses", key, "content")
    from werkzeug.datastructures import Headers

    header_list = Headers(list(headers))
    stated = header_list.get("content-type")
    media_type = (stated or "").partition(";")[0].strip().lower()
    documented = _documented(content, media_type)
    if documented == _EVENT_STREAM:
        return SchemaJudgement(not_judged="event-stream")
    problems: list[SchemaProblem] = []
    if not documented:
        expected = " or ".join(content)
        seen = f"is {clip(media_type)}" if media_type else "is missing"
        problems.append(_problem(operation, "header:content-type", "media-type", f"Content-Type {seen}, documented is {expected}", pointer))
        documented = next((name for name in content if _is_json(name)), "")
        if not documented or not _looks_like_json(body):
            return SchemaJudgement(tuple(problems))
        media_type = documented
    if "schema" not in content[documented] and not operation.responses[key].get("headers"):
        return SchemaJudgement(tuple(problems), None if problems else "no-schema")
    exchange = _Response(status, header_list, media_type, body)
    app = _compiled(provider.openapi)
    for error in app.response_validator.iter_errors(_Request(operation), exchange):  # type: ignore[arg-type]
        problems.extend(_described(error, operation, (*pointer, documented, "schema"), key))
    return SchemaJudgement(tuple(_merged(problems)))


@dataclass(frozen=True, slots=True)
class _Request:
    """What openapi-core needs of a request to find the operation: the path as its template, so no host or model name can mislead it."""

    operation: Operation
    host_url: str = _HOST
    parameters: Any = None
    content_type: str = ""
    body: bytes | None = None

    @property
    def method(self) -> str:
        return self.operation.method.lower()

    @property
    def path(self) -> str:
        return self.operation.path

    @property
    def path_pattern(self) -> str:
        return self.operation.path


@dataclass(frozen=True, slots=True)
class _Response:
    status_code: int
    headers: Headers
    content_type: str
    data: bytes | None = field(repr=False)


@lru_cache(maxsize=64)
def _compiled(document: OpenApi) -> OpenAPI:
    """openapi-core's view of the document, built once (0.1 to 0.3 s with the import)."""
    from openapi_core import Config, OpenAPI
    from openapi_core.templating.paths.datatypes import PathOperationServer
    from openapi_core.templating.paths.finders import APICallPathFinder

    class ByTemplate(APICallPathFinder):
        """Finds the operation by its path template: `servers`, hosts and slashes in parameters play no part."""

        def find(self, method: str, name: str) -> PathOperationServer:
            path = self.spec / "paths" / name.removeprefix(_HOST)
            return PathOperationServer(path, path / method, None, None, {})

    config = Config(
        path_finder_cls=ByTemplate,
        spec_validator_cls=None,  # type: ignore[arg-type] # `testcard spec lint` judges the document
        extra_media_type_deserializers={
            **dict.fromkeys(_json_media_types(document), _deserialised),
            **dict.fromkeys(("*/*", "application/*"), _deserialised_if_json),
        },
    )
    return OpenAPI.from_dict(document.raw, config=config)


def _json_media_types(document: OpenApi) -> set[str]:
    found = {"application/json"}
    for operation in document.operations.values():
        for response in operation.responses.values():
            found.update(name for name in response.get("content") or {} if _is_json(name))
    return found


def _deserialised(value: bytes, **_parameters: str) -> Any:
    return strict_json(value)


def _deserialised_if_json(value: bytes, **_parameters: str) -> Any:
    """What a range of media types stands for: an object or a list where the body is one, else the bytes."""
    try:
        found = strict_json(value)
    except ValueError:
        return value
    return found if isinstance(found, dict | list) else value


def _looks_like_json(body: bytes) -> bool:
    try:
        return isinstance(strict_json(body), dict | list)
    except ValueError:
        return False


def _is_json(media_type: str) -> bool:
    name = media_type.partition(";")[0].strip().lower()
    return name == "application/json" or name.endswith("+json")


def _documented(content: Mapping[str, Any], media_type: str) -> str:
    """The key of `content` that covers the media type (exactly, or by a range such as `image/*`); "" for none."""
    by_name = {name.partition(";")[0].strip().lower(): name for name in content}
    for candidate in (media_type, media_type.partition("/")[0] + "/*", "*/*"):
        if media_type and candidate in by_name:
            return by_name[candidate]
    return ""


def _described(error: Exception, operation: Operation, schema: Pointer, status: str) -> Iterator[SchemaProblem]:
    """The problems that one error of openapi-core stands for."""
    from openapi_core.deserializing.exceptions import DeserializeError
    from openapi_core.validation.response.exceptions import HeaderValidationError, MissingData, MissingHeaderError
    from openapi_core.validation.schemas.exceptions import InvalidSchemaValue

    if isinstance(error, HeaderValidationError):
        keyword, what = ("required", "is missing") if isinstance(error, MissingHeaderError) else ("schema", "is not as documented")
        pointer: Pointer = (*operation.pointer, "responses", status, "headers", error.name)
        yield _problem(operation, f"header:{error.name.lower()}", keyword, f"header {error.name} {what}", pointer)
        return
    cause = error.__cause__
    if isinstance(error, MissingData):
        yield _problem(operation, "", "body", "there is no body", schema)
    elif isinstance(cause, InvalidSchemaValue):
        for found in cause.schema_errors:
            if found.validator == "oneOf" and not found.context:  # type: ignore[attr-defined]
                continue  # it fits several alternatives that overlap: the document's doing, not the answer's
            yield from _schema_problems(found, operation, schema)  # type: ignore[arg-type]
    elif isinstance(cause, DeserializeError):
        yield _problem(operation, "", "json", "the body is not valid JSON", schema)
    else:
        raise error


def _schema_problems(error: ValidationError, operation: Operation, schema: Pointer) -> Iterator[SchemaProblem]:
    problem = _problem(
        operation, pointer_of(error.absolute_path), str(error.validator), message_of(error), (*schema, *error.absolute_schema_path)
    )
    yield replace(problem, null_for_optional=_null_for_optional(error, operation.document, schema))


def _null_for_optional(error: ValidationError, document: OpenApi, schema: Pointer) -> bool:
    if error.validator != "type" or error.instance is not None or not error.absolute_path:
        return False
    name, steps = error.absolute_path[-1], list(error.absolute_schema_path)
    for index in range(len(steps) - 2, -1, -1):
        if steps[index] == "properties" and steps[index + 1] == name:
            owner = _resolved(document, (*schema, *steps[:index]))[1]
            return isinstance(owner, dict) and name not in owner.get("required", ())
    return False


def _problem(operation: Operation, place: str, keyword: str, message: str, pointer: Sequence[str | int]) -> SchemaProblem:
    return SchemaProblem(place, keyword, message, *located(operation.document, tuple(pointer)))


def located(document: OpenApi, pointer: Pointer) -> tuple[str, int]:
    """Where a pointer really stands in the OpenAPI file: as a JSON pointer with the references on its way followed, and the line."""
    at, _ = _resolved(document, pointer)
    return pointer_of(at), document.source.line(at)


@lru_cache(maxsize=4096)
def _resolved(document: OpenApi, pointer: Pointer) -> tuple[Pointer, Any]:
    """Where the pointer really stands in the file, references on the way followed, and the node there (as far as it exists)."""
    node: Any = document.raw
    at: Pointer = ()
    for part in pointer:
        at, node = _followed(document, at, node)
        if part == "$ref":
            continue
        below = _child(node, part)
        at = (*at, part)
        if below is None:
            return at, None
        node = below
    return at, _followed(document, at, node)[1]


def _followed(document: OpenApi, at: Pointer, node: Any) -> tuple[Pointer, Any]:
    while isinstance(node, dict) and isinstance(node.get("$ref"), str):
        at = reference_parts(node["$ref"])
        node = document.deref({"$ref": node["$ref"]})
    return at, node


def _child(node: Any, part: str | int) -> Any:
    if isinstance(node, dict):
        return node.get(part, node.get(whole_number(part)) if isinstance(part, str) else None)
    if isinstance(node, list) and isinstance(part, int) and part < len(node):
        return node[part]
    return None


def _merged(problems: Iterable[SchemaProblem]) -> list[SchemaProblem]:
    """Without repetitions (one `required` error comes per missing name, each listing all), at most `_SHOWN_PROBLEMS`."""
    return list(dict.fromkeys(problems))[:_SHOWN_PROBLEMS]


# ── sentences about what breaks a schema ──────────────────────────────────────────────────────────────────────────────


_SHOWN = 60  # characters of a property name or of the contract's values that a message quotes at most


def message_of(error: ValidationError) -> str:
    """A sentence about the value at the error's place, from the keyword, the contract's value and the kind of value seen."""
    limit: Any = error.validator_value
    value: Any = error.instance
    seen = _kind(value)
    match error.validator:
        case "required":
            return "lacks " + ", ".join(clip(name) for name in limit if name not in value)
        case "type":
            return f"is {seen}, documented is {' or '.join([limit] if isinstance(limit, str) else limit)}"
        case "enum":
            return f"is {seen} other than the documented values {clip(json.dumps(limit, ensure_ascii=False))}"
        case "const":
            return f"is {seen} other than {clip(json.dumps(limit, ensure_ascii=False))}"
        case "additionalProperties":
            known: Mapping[str, Any] = error.schema.get("properties", {})  # type: ignore[union-attr]
            extra = [name for name in value if name not in known]
            return "has properties that are not documented: " + clip(", ".join(extra))
        case "oneOf" | "anyOf":
            return _alternatives(error, len(limit))
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf":
            return f"is {clip(str(value))}, documented is {error.validator} {limit}"
        case "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties":
            return f"has length {len(value)}, documented is {error.validator} {limit}"
        case "format" | "pattern":
            return f"is {seen} that does not match the documented {error.validator} {clip(str(limit))}"
        case _:
            return f"is {seen} that breaks {error.validator}"


def _alternatives(error: ValidationError, count: int) -> str:
    if not error.context:
        return f"matches more than one of the {count} alternatives, documented is exactly one"
    children = list(error.context)
    name = error.schema.get("x-discriminator") if isinstance(error.schema, Mapping) else None
    if isinstance(name, str) and isinstance(error.instance, Mapping):
        if name not in error.instance:
            return f"lacks {clip(name)}, which says which of the {count} alternatives it is"
        others = {child.relative_schema_path[0] for child in children if list(child.relative_path) == [name]}
        meant = [child for child in children if child.relative_schema_path[0] not in others]
        if not meant:
            return f"has a {clip(name)} of which there is none among the {count} alternatives"
        children = meant
    reasons: dict[Any, str] = {}
    for child in children:
        inner = pointer_of(child.relative_path)
        reasons.setdefault(child.relative_schema_path[0], f"{inner}{' ' if inner else ''}{message_of(child)}")
    if len(reasons) == 1 and len(children) < len(error.context):
        return next(iter(reasons.values()))
    return f"matches none of the {count} alternatives: " + "; ".join(f"{index}: {reason}" for index, reason in reasons.items())


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return f"the number {clip(str(value))}"
        case str():
            return f"a string of {len(value)} characters"
        case list():
            return "an array"
        case _:
            return "an object"


def clip(text: str) -> str:
    """The text, cut off where it would fill a report."""
    return shortened(text, _SHOWN)
