"""Rules about HTTP itself: statuses, media types, whole bodies, time, the same answer to the same request, and how wrong requests are refused.

Requests with an undocumented method are no part of the contract: only what holds for any HTTP answer is asked of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import jsonschema_rs

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import (
    Observation,
    SeenExchange,
    brings_nothing,
    documented_method,
    ends_too_early,
    held_by_error_shape,
    implied,
    kind_of,
    late_gateway_timeout,
    said_by,
    stated_kind,
)
from testcard.harness.rules.rule import http_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.specs.openapi import OpenApi, Operation, Schema
from testcard.specs.pointers import at, pointer_of
from testcard.specs.profile import Level
from testcard.specs.schemas import any_of

_NO_CONTENT = frozenset({204, 205, 304})
#: Bodies above this many bytes are what servers and proxies commonly limit by default.
_LARGE_BODY = 1_000_000
#: Refusals that are about when a request came, or from whom, and not about what it says.
_OF_THE_MOMENT = frozenset({401, 402, 403, 408, 409, 425, 429})
#: Failures of requests whose answer had not come, or not ended, when they were given up.
LATE = ("timeout", "given-up")


def _answered(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[SeenExchange]:
    """Everything that was answered, whole or not, but for addresses of pictures, which are no part of the operation."""
    for one in seen:
        if one.status is not None and one.exchange.source != "fetch":
            yield one


@rule("http.status-documented", level="must", clause=http_clause("15 Status Codes"), asks=probes.any_answer)
def status_documented(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Every answer has a status that the document lists, or one that HTTP itself implies for the situation.

    A 5xx is judged by http.no-server-error alone. Statuses that only HTTP implies are listed as gaps in the document.
    """
    for one in _answered(scope, seen):
        if one.http_status is None or one.http_status >= 500 or not documented_method(scope, one):
            continue
        if scope.operation.documents(one.http_status) or implied(one):
            yield Observation("pass", exchanges=(one.id,))
        else:
            documented = ", ".join(scope.operation.responses)
            yield Observation("broken", f"status {one.http_status} was answered; documented are {documented}", (one.id,))


@rule("http.no-server-error", level="must", clause=http_clause("15.6 Server Error 5xx"), asks=probes.any_answer)
def no_server_error(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """No request, valid or not, is answered with a 5xx, or with a connection that closes before the answer begins.

    A 504 after the time limit that the document states is expected and breaks nothing, and 501 is the right answer to an unknown
    method. A connection that closes within a body is judged by http.body-complete. A server that finds a body too large may close
    the connection while it is being sent (RFC 9110, 15.5.14): for a large body that may be refused, that proves nothing.
    """
    for one in seen:
        if one.exchange.source == "fetch":
            continue
        if one.status is None and one.exchange.failure == "broken" and _may_be_too_large(one):
            yield Observation("unproven", "the connection was closed on a large body", (one.id,))
        elif one.status is None and one.exchange.failure == "broken":
            yield Observation(
                "broken", f"the connection closed before an answer: {one.exchange.failure_detail or 'nothing more is known'}", (one.id,)
            )
        elif one.status is None:
            yield Observation("unproven", one.out_of_reach or "no answer", (one.id,))
        elif one.status == 501 and not documented_method(scope, one):
            yield Observation("pass", exchanges=(one.id,))
        elif one.status >= 500 and not late_gateway_timeout(scope, one):
            yield Observation("broken", f"status {one.status} was answered{_to(one)}", (one.id,))
        else:
            yield Observation("pass", exchanges=(one.id,))


def _may_be_too_large(one: SeenExchange) -> bool:
    return one.exchange.request.body.size > _LARGE_BODY and one.case.expects in ("may-refuse", "refuse")


def _to(one: SeenExchange) -> str:
    """What kind of request it answered, where the check made one: a 500 to a wrong request says something else than to a right one."""
    expects = one.case.expects if one.sent_by_check else "accept"
    return {"refuse": " to a request that had to be refused", "unauthorised": " to a request without a valid key"}.get(expects, "")


@rule("http.media-type", level="must", clause=http_clause("8.3 Content-Type"), asks=probes.any_answer)
def media_type(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """An answer's media type is the documented one, and matches what the body is.

    A missing media type counts as a deviation at most; so does a wrong one on an answer whose body no document describes.
    """
    for one in _answered(scope, seen):
        response = one.exchange.response
        if response is None or not response.complete or not one.body or one.http_status in _NO_CONTENT:
            continue
        stated = one.media_type
        expected = _documented_types(scope, one)
        problem = _untruth(one, stated) or _undocumented(stated, expected)
        if problem is None:
            yield Observation("pass", exchanges=(one.id,))
        else:
            level: Level = "must" if stated and expected else "should"
            yield Observation("broken", f"status {one.http_status}: {problem}", (one.id,), "header:content-type", level)


def _documented_types(scope: Scope, one: SeenExchange) -> tuple[str, ...]:
    """The media types that the document gives for this answer; none where it describes no body."""
    status = one.http_status
    if status is None or not documented_method(scope, one):
        return ()
    responses = scope.operation.responses
    key = next((key for key in (str(status), f"{status // 100}XX", "default") if key in responses), None)
    return tuple(name.partition(";")[0].strip().lower() for name in responses[key].get("content") or ()) if key is not None else ()


def _untruth(one: SeenExchange, stated: str) -> str | None:
    said = stated_kind(stated)
    reads_as_json = isinstance(one.answer.json, dict | list | str) if one.answer is not None else False
    kind = kind_of(one.body, is_json=reads_as_json or (said == "events" and one.body.lstrip()[:1] in (b"{", b"[")))
    if said is None or kind is None or kind == said:
        return None
    words = {"json": "JSON", "html": "an HTML page", "picture": "a picture", "events": "an event stream"}
    return f"the body is {words[kind]}, its media type says {stated}"


def _undocumented(stated: str, expected: Sequence[str]) -> str | None:
    if not expected or any(_covers(entry, stated) for entry in expected):
        return None
    return f"the media type is {stated or 'missing'}, documented is {' or '.join(expected)}"


def _covers(entry: str, stated: str) -> bool:
    if entry in (stated, "*/*") or (entry.endswith("/*") and stated.startswith(entry[:-1])):
        return True
    return stated_kind(entry) == stated_kind(stated) == "json"


@rule("http.body-complete", level="must", clause=http_clause("8.6 Content-Length"), asks=probes.any_answer)
def body_complete(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Every body arrives whole: its declared length, its last chunk, and the end of its JSON."""
    for one in _answered(scope, seen):
        response, exchange = one.exchange.response, one.exchange
        if response is None:
            continue
        if not response.complete and exchange.failure in LATE:
            yield Observation("unproven", "the body did not end within the time the check waits", (one.id,))
        elif not response.complete:
            yield Observation("broken", _where_it_broke(one), (one.id,))
        elif one.answer is not None and one.answer.json is None and ends_too_early(one.body):
            yield Observation("broken", "the JSON stops before its end", (one.id,))
        else:
            yield Observation("pass", exchanges=(one.id,))


def _where_it_broke(one: SeenExchange) -> str:
    detail = one.exchange.failure_detail or ""
    if detail and not detail.startswith(("RemoteProtocolError", "ReadError")):
        return f"the body cannot be read to its end: {detail[:120]}"
    declared = one.header("content-length") is not None
    return f"the connection closed before {'the declared length' if declared else 'the last chunk'} had arrived"


def _names_a_time(scope: Scope) -> bool:
    return scope.task is not None and scope.provider.profile.limits.answer_time_s is not None


@rule("http.answer-time", level="must", clause=http_clause("15.6.5 504 Gateway Timeout"), applies=_names_a_time, asks=probes.base)
def answer_time(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Every answer arrives within the time that the document states; a 504 at the end of that time is an answer.

    Where none arrives at all, http.answered is broken.
    """
    limit = scope.provider.profile.limits.answer_time_s
    for one in seen:
        if limit is None or not one.sent_by_check:
            continue
        took_s = one.exchange.done_s - one.exchange.sent_s
        if one.status is None or one.exchange.failure in LATE:
            yield Observation("unproven", one.out_of_reach or "no whole answer", (one.id,))
        elif took_s <= limit or late_gateway_timeout(scope, one):
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("broken", f"the answer arrived after {took_s:.0f} s; documented are {limit:.0f} s", (one.id,))


@rule("http.answered", level="must", clause=http_clause("15.6.5 504 Gateway Timeout"), asks=probes.any_answer)
def answered(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Every request is answered, whole, within the documented time, or within the time that the check waits where none is documented.

    A request that was given up before the documented time was over, or sooner than others because those had got no answer, proves nothing.
    A connection that closes is an answer of its own kind (http.no-server-error, http.body-complete).
    """
    limit = scope.provider.profile.limits.answer_time_s
    for one in seen:
        failure = one.exchange.failure
        waited_s = one.exchange.done_s - one.exchange.sent_s
        if one.exchange.source == "fetch":
            continue
        if failure == "given-up" or (failure == "timeout" and limit is not None and waited_s < limit):
            yield Observation("unproven", f"given up after {waited_s:.0f} s", (one.id,))
        elif failure == "timeout":
            began = "no answer came" if one.status is None else "the answer did not end"
            yield Observation("broken", f"{one.case.change or 'the base request'}: {began} within {waited_s:.0f} s", (one.id,))
        elif one.status is not None or failure == "broken":
            yield Observation("pass", exchanges=(one.id,))


@rule("http.steady", level="must", clause=http_clause("15.6 Server Error 5xx"), asks=probes.repeated, evidence="pair")
def steady(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A request that is carried out once is not refused the next time, and none that is answered properly is answered with a 5xx.

    A 4xx that speaks of the rate, of the key or of the account (401, 402, 403, 429), or of a request that is under way or was sent
    before (408, 409, 425), is no answer to the request as it stands.
    """
    groups: dict[tuple[object, ...], list[SeenExchange]] = {}
    for one in seen:
        request = one.exchange.request
        if one.exchange.source != "fetch" and (one.status is not None or one.exchange.failure == "broken"):
            content = request.body.text or request.body.base64 or request.body.sha256
            groups.setdefault((request.method, request.url, tuple(request.headers), content), []).append(one)
    for group in groups.values():
        failed = [one for one in group if one.status is None or (one.status >= 500 and not late_gateway_timeout(scope, one))]
        ids = tuple(one.id for one in (*failed, *(one for one in group if one not in failed)))
        if len(group) < 2:
            continue
        refused = [
            one for one in group if one.refused and one.status not in _OF_THE_MOMENT and one.case.expects in ("accept", "may-refuse")
        ]
        if not failed and refused and any(one.accepted for one in group):
            statuses = " and ".join(dict.fromkeys(str(one.status) for one in group))
            yield Observation("broken", f"the same request was answered with {statuses}{said_by(refused[0])}", ids)
        elif not failed:
            yield Observation("pass", exchanges=ids)
        elif len(failed) == len(group):
            yield Observation("unproven", "the same request failed every time", ids)
        else:
            statuses = " and ".join(dict.fromkeys(str(one.status or "a closed connection") for one in group))
            yield Observation("broken", f"the same request was answered with {statuses}", ids)


# ── wrong requests, and the answers that refuse them ──────────────────────────────────────────────────────────────────


_METHOD, _MALFORMED, _MEDIA_TYPE = "http.method-refused", "http.malformed-refused", "http.media-type-refused"
#: Where only this status is described, its shape is that of a list of wrong fields, which other refusals have no use for.
_INVALID = "422"
_ERROR_SHAPE = "http.error-shape"
#: Refusals that a server in front of the API may give before the API sees the request.
_IN_FRONT = frozenset({413, 414, 431})


def _takes_a_body(scope: Scope) -> bool:
    return scope.task is not None and scope.operation.request_media_type is not None


def _about(one: SeenExchange, rule_id: str) -> bool:
    """Whether the request is there to be refused for what this rule is about."""
    return one.sent_by_check and one.case.expects == "refuse" and rule_id in one.case.rules


def _unproven(one: SeenExchange) -> Observation | None:
    """Why the request shows nothing, or None when it does."""
    if one.case.base is not None and not one.base_accepted:
        return Observation("unproven", f"{one.case.change}: the request it was made from was not carried out", (one.id,))
    if one.status == 501 or one.out_of_reach is None:
        return None
    return Observation("unproven", f"{one.case.change}: {one.out_of_reach}", (one.id,))


def _refused(one: SeenExchange) -> Observation:
    if one.refused:
        return Observation("pass", exchanges=(one.id,))
    detail = f"{one.case.change}: answered with status {one.status}"
    return Observation("broken", detail, (one.id,), one.case.place, one.case.level)


@rule(_METHOD, level="should", clause=http_clause("15.5.6 405 Method Not Allowed"), asks=probes.other_methods)
def method_refused(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Methods that the document does not list for an operation are refused; a 405 names the allowed ones in Allow.

    Any 4xx counts as a refusal, and so does 501. A redirect is only noted.
    """
    for one in seen:
        if not _about(one, _METHOD) or documented_method(scope, one):
            continue
        unproven = _unproven(one)
        if unproven is not None:
            yield unproven
        elif one.status == 405 and not one.header("allow"):
            yield Observation("broken", f"{one.case.change}: status 405 without Allow", (one.id,), "header:allow")
        elif one.status == 501:
            yield Observation("pass", exchanges=(one.id,))
        elif one.status is not None and 300 <= one.status < 400:
            yield Observation("note", f"{one.case.change}: redirected with status {one.status}", (one.id,))
        else:
            yield _refused(one)


def _can_be_cut_off(scope: Scope) -> bool:
    """Whether a body that ends early shows that it does: of a form in one line every beginning is a form."""
    return _takes_a_body(scope) and not (scope.operation.request_media_type or "").endswith("x-www-form-urlencoded")


@rule(_MALFORMED, level="should", clause=http_clause("15.5.1 400 Bad Request"), applies=_can_be_cut_off, asks=probes.malformed)
def malformed_refused(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A body that is cut off before its end is refused with a 4xx."""
    for one in seen:
        if _about(one, _MALFORMED):
            yield _unproven(one) or _refused(one)


@rule(
    _MEDIA_TYPE,
    level="should",
    clause=http_clause("15.5.16 415 Unsupported Media Type"),
    applies=_takes_a_body,
    asks=probes.wrong_media_type,
)
def media_type_refused(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A body with a media type that the document does not list is refused with a 4xx."""
    for one in seen:
        if _about(one, _MEDIA_TYPE):
            yield _unproven(one) or _refused(one)


@rule("http.error-not-200", level="should", clause=http_clause("15.5 Client Error 4xx"), asks=probes.refusals)
def error_not_200(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """An error is never sent as a success: no 2xx carries an error, or an empty list of pictures, in place of what was asked for.

    Where the API's own way is to tell an error in the body (`errors.success` of the profile), no success is told that brings nothing.
    """
    pictures, told = scope.profile.response.pictures, scope.provider.profile.errors.success
    for one in seen:
        if not one.sent_by_check or one.status is None:
            continue
        if told is not None and one.accepted and brings_nothing(one.answer):
            yield Observation(
                "broken", f"status {one.status}: the body says that it is a success, and nothing is in it", (one.id,), told.at
            )
            continue
        if one.error_as_success is not None:
            said = f": {one.error_as_success[:120]}" if one.error_as_success else ""
            yield Observation("broken", f"status {one.status} holds an error{said}", (one.id,))
        elif pictures is not None and one.accepted and _empty_list(one, pictures):
            yield Observation("broken", f"status {one.status} holds an empty list of pictures", (one.id,), pictures.removesuffix("/*"))
        elif one.accepted or one.refused:
            yield Observation("pass", exchanges=(one.id,))


def _empty_list(one: SeenExchange, pictures: str) -> bool:
    return one.answer is not None and one.answer.task is None and at(one.answer.json, pictures.removesuffix("/*")) == []


def _has_a_shape(scope: Scope) -> bool:
    """Whether the profile, or a schema of the document, says what an error looks like."""
    stated = scope.provider.rule_entry(_ERROR_SHAPE, scope.operation_id) is not None
    return stated or any(True for _ in _error_schemas(scope.operation))


def _has_something_to_say(scope: Scope) -> bool:
    return _has_a_shape(scope) or _speaks_json(scope)


def _speaks_json(scope: Scope) -> bool:
    """Whether what the operation brings is documented to come as JSON: then its errors can be read as text, too."""
    responses = scope.operation.responses
    named = (name for status in responses if status.startswith("2") for name in responses[status].get("content") or ())
    return any(_is_json(name) for name in named)


def _is_json(media_type: str) -> bool:
    return stated_kind(media_type.partition(";")[0].strip().lower()) == "json"


def _error_schemas(operation: Operation) -> Iterable[tuple[str, Schema]]:
    for status, response in operation.responses.items():
        content = response.get("content") or {}
        schema = next((entry["schema"] for name, entry in content.items() if _is_json(name) and (entry or {}).get("schema")), None)
        if schema and (status.startswith("4") or status == "default"):
            yield status, any_of(operation.document.expand(schema))


@rule(_ERROR_SHAPE, level="should", clause=http_clause("15.5 Client Error 4xx"), applies=_has_something_to_say, asks=probes.refusals)
def error_shape(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A refusal says why, in the shape that the document gives for errors; where it gives none, in words that a program can read.

    Where the document gives a shape for some statuses only, refusals with other statuses are held to the same one, but not to that of
    422 alone. Where it gives none at all and answers come as JSON, an empty body and a page of HTML break it, and nothing else. Refusals that a server in
    front of the API may send (413, 414, 431), and those of undocumented methods, are not judged. A body that breaks what the
    document says of its own status breaks schema.response alone, unless the profile makes it a must here.
    """
    shaped = _has_a_shape(scope)
    for one in seen:
        if one.exchange.source == "fetch" or not one.refused or one.status in _IN_FRONT or not documented_method(scope, one):
            continue
        response = one.exchange.response
        if response is None or not response.complete:
            continue
        if not held_by_error_shape(scope, one) and _breaks_its_schema(scope, one):
            continue
        problem = _misshapen(scope, one) if shaped else _unreadable(scope, one)
        if problem is None:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("broken", f"status {one.status}: {problem}", (one.id,))


def _breaks_its_schema(scope: Scope, one: SeenExchange) -> bool:
    """Whether the body is empty, or JSON, and the schema of its own status does not allow that, so that one wrong body breaks one rule."""
    body: Any = one.answer.json if one.answer is not None else None
    schemas = dict(_error_schemas(scope.operation))
    if one.status != one.http_status:
        return False
    key = next((key for key in (str(one.status), "4XX", "default") if key in schemas), None)
    if key is None or body is None:
        return key is not None and not one.body.strip()
    return next(_validator(scope.operation.document, scope.operation_id, key).iter_errors(body), None) is not None


def _misshapen(scope: Scope, one: SeenExchange) -> str | None:
    body: Any = one.answer.json if one.answer is not None else None
    # What an error that is sent as a success looks like is said by the success's schema.
    schemas = dict(_error_schemas(scope.operation)) if one.status == one.http_status else {}
    # A status of which nothing is said may have any of the shapes that others have.
    shapes = [str(one.status)] if str(one.status) in schemas else [status for status in schemas if status != _INVALID]
    if schemas and not shapes:
        return _unreadable(scope, one)
    validators = [_validator(scope.operation.document, scope.operation_id, status) for status in shapes]
    fits = body is not None and any(validator.is_valid(body) for validator in validators)
    if not isinstance(body, dict) and not fits:
        return None if _told_otherwise(scope, one) else "the body is no JSON object"
    if validators and not fits:
        error = next(validators[0].iter_errors(body), None)
        if error is not None:
            return f"{pointer_of(error.instance_path) or 'the body'} breaks the documented error's {_keyword(error)}"
    places = scope.provider.profile.errors.message
    if places and not any(isinstance(found := at(body, place), str | list) and found for place in places):
        return f"no message at {' or '.join(places)}"
    return None


def _told_otherwise(scope: Scope, one: SeenExchange) -> bool:
    """Whether the document has a refusal with this status come as something else than JSON, and it says something."""
    expected = _documented_types(scope, one)
    return bool(expected) and not any(map(_is_json, expected)) and bool(one.body.strip())


def _unreadable(scope: Scope, one: SeenExchange) -> str | None:
    """What is wrong with a refusal that no document describes: there is nothing in it, or a page for a person."""
    expected = _documented_types(scope, one)
    if expected and not any(map(_is_json, expected)):
        return None
    if not one.body.strip():
        return "the body is empty, so nothing says why"
    return "the body is an HTML page" if kind_of(one.body, is_json=False) == "html" else None


@lru_cache(maxsize=64)
def _validator(document: OpenApi, operation_id: str, status: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(dict(dict(_error_schemas(document.operations[operation_id]))[status]))


def _keyword(error: jsonschema_rs.ValidationError) -> str:
    return str(error.schema_path[-1]) if error.schema_path else "schema"


RULES = (
    status_documented,
    no_server_error,
    media_type,
    body_complete,
    answer_time,
    answered,
    steady,
    method_refused,
    malformed_refused,
    media_type_refused,
    error_not_200,
    error_shape,
)
