"""Rules about how wrong requests are refused, and about the answers that refuse."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import jsonschema_rs

from testcard.harness.rules import http_probes
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.promises.http import documented_method
from testcard.harness.rules.rule import Observation, http_clause, openai_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.specs.openapi import OpenApi, Operation, Schema
from testcard.specs.pointers import at, pointer_of

_METHOD, _MALFORMED, _MEDIA_TYPE = "http.method-refused", "http.malformed-refused", "http.media-type-refused"
_ERROR_SHAPE = "http.error-shape"
#: Refusals that a server in front of the API may give before the API sees the request.
_IN_FRONT = frozenset({413, 414, 431})


def _takes_a_body(scope: Scope) -> bool:
    return scope.task is not None and scope.operation.request_media_type is not None


def _about(one: Seen, rule_id: str) -> bool:
    """Whether the request is there to be refused for what this rule is about."""
    return one.sent_by_check and one.case.expects == "refuse" and rule_id in one.case.rules


def _unproven(one: Seen) -> Observation | None:
    """Why the request shows nothing, or None when it does."""
    if one.case.base is not None and not one.base_accepted:
        return Observation("unproven", f"{one.case.change}: the request it was made from was not carried out", (one.id,))
    if one.status == 501 or one.out_of_reach is None:
        return None
    return Observation("unproven", f"{one.case.change}: {one.out_of_reach}", (one.id,))


def _refused(one: Seen) -> Observation:
    if one.refused:
        return Observation("pass", exchanges=(one.id,))
    detail = f"{one.case.change}: answered with status {one.status}"
    return Observation("broken", detail, (one.id,), one.case.place, one.case.level)


@rule(_METHOD, level="should", clause=http_clause("15.5.6 405 Method Not Allowed"), asks=http_probes.other_methods)
def method_refused(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Methods that the document does not give an operation are refused; a 405 says in Allow which ones there are.

    Any 4xx refuses, and 501 as well. A redirect is noted.
    """
    for one in seen:
        if not _about(one, _METHOD) or documented_method(scope, one):
            continue
        unproven = _unproven(one)
        if unproven is not None:
            yield unproven
        elif one.status == 405 and not _header(one, "allow"):
            yield Observation("broken", f"{one.case.change}: status 405 without Allow", (one.id,), "header:allow")
        elif one.status == 501:
            yield Observation("pass", exchanges=(one.id,))
        elif one.status is not None and 300 <= one.status < 400:
            yield Observation("note", f"{one.case.change}: redirected with status {one.status}", (one.id,))
        else:
            yield _refused(one)


def _header(one: Seen, name: str) -> str | None:
    response = one.exchange.response
    return next((value for key, value in response.headers if key.lower() == name), None) if response is not None else None


@rule(_MALFORMED, level="should", clause=http_clause("15.5.1 400 Bad Request"), applies=_takes_a_body, asks=http_probes.malformed)
def malformed_refused(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """A body that ends before it is complete is refused with a 4xx."""
    for one in seen:
        if _about(one, _MALFORMED):
            yield _unproven(one) or _refused(one)


@rule(
    _MEDIA_TYPE,
    level="should",
    clause=http_clause("15.5.16 415 Unsupported Media Type"),
    applies=_takes_a_body,
    asks=http_probes.wrong_media_type,
)
def media_type_refused(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """A body under a media type that the document does not give is refused with a 4xx."""
    for one in seen:
        if _about(one, _MEDIA_TYPE):
            yield _unproven(one) or _refused(one)


@rule("http.error-not-200", level="should", clause=http_clause("15.5 Client Error 4xx"), asks=http_probes.refusals)
def error_not_200(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """An error is never sent as a success: no 2xx holds an error instead of what was asked for, or an empty list of pictures."""
    pictures = scope.profile.response.pictures
    for one in seen:
        if not one.sent_by_check or one.status is None:
            continue
        if one.error_as_success is not None:
            said = f": {one.error_as_success[:120]}" if one.error_as_success else ""
            yield Observation("broken", f"status {one.status} holds an error{said}", (one.id,))
        elif pictures is not None and one.accepted and _empty_list(one, pictures):
            yield Observation("broken", f"status {one.status} holds an empty list of pictures", (one.id,), pictures.removesuffix("/*"))
        elif one.accepted or one.refused:
            yield Observation("pass", exchanges=(one.id,))


def _empty_list(one: Seen, pictures: str) -> bool:
    return one.answer is not None and one.answer.task is None and at(one.answer.json, pictures.removesuffix("/*")) == []


def _has_a_shape(scope: Scope) -> bool:
    stated = scope.provider.rule_entry(_ERROR_SHAPE, scope.operation_id) is not None
    return stated or any(True for _ in _error_schemas(scope.operation))


def _error_schemas(operation: Operation) -> Iterable[tuple[str, Schema]]:
    for status, response in operation.responses.items():
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        if schema and (status.startswith("4") or status == "default"):
            yield status, operation.document.expand(schema)


@rule(_ERROR_SHAPE, level="should", clause=openai_clause("Error codes"), applies=_has_a_shape, asks=http_probes.refusals)
def error_shape(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """A refusal says why, in the shape that the document gives for errors.

    Where the document gives a shape for some statuses only, the others are held to the same. Refusals that a server in front
    of the API may give (413, 414, 431) and those of undocumented methods are not looked at.
    """
    for one in seen:
        if one.exchange.source == "fetch" or not one.refused or one.status in _IN_FRONT or not documented_method(scope, one):
            continue
        response = one.exchange.response
        if response is None or not response.complete:
            continue
        problem = _misshapen(scope, one)
        if problem is None:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("broken", f"status {one.status}: {problem}", (one.id,))


def _misshapen(scope: Scope, one: Seen) -> str | None:
    body: Any = one.answer.json if one.answer is not None else None
    if not isinstance(body, dict):
        return "the body is no JSON object"
    schemas = dict(_error_schemas(scope.operation))
    if schemas:
        status = str(one.status) if str(one.status) in schemas else next(iter(schemas))
        validator = _validator(scope.operation.document, scope.operation_id, status)
        error = next(validator.iter_errors(body), None)
        if error is not None:
            return f"{pointer_of(error.instance_path) or 'the body'} breaks the documented error's {_keyword(error)}"
    places = scope.provider.profile.errors.message
    if places and not any(isinstance(found := at(body, place), str | list) and found for place in places):
        return f"no message at {' or '.join(places)}"
    return None


@lru_cache(maxsize=64)
def _validator(document: OpenApi, operation_id: str, status: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(dict(dict(_error_schemas(document.operations[operation_id]))[status]))


def _keyword(error: jsonschema_rs.ValidationError) -> str:
    return str(error.schema_path[-1]) if error.schema_path else "schema"


RULES = (method_refused, malformed_refused, media_type_refused, error_not_200, error_shape)
