"""The requests that rules about HTTP itself ask for: other methods, bodies that cannot be read, the same request again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from testcard.harness.errors import ContractViolation
from testcard.harness.rules import probes
from testcard.harness.rules.rule import Probe
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.encode import build, wire_fields
from testcard.harness.wire.model import TaskRequest, WireRequest

#: A media type that no operation documents; the bytes stay those of the documented one.
OTHER_MEDIA_TYPE = "application/xml"
#: How often a request that costs nothing is sent to see whether it is always answered alike.
TIMES = 5
#: A task reference in the form in use that nobody can have been given.
UNKNOWN_TASK = "0x" + "7e57ca4d" * 5


def other_methods(scope: Scope) -> Iterator[Probe]:
    """The operation's path with methods that the document does not give it: without a body, and the base request under another."""
    yield from _base(scope)
    here = {operation.method for operation in scope.provider.openapi.operations.values() if operation.path == scope.operation.path}
    start = _start(scope)
    bare = next(method for method in ("GET", "POST", "PUT") if method not in here)
    same = next((method for method in ("PUT", "PATCH") if method not in here), None)
    yield _refused(start, f"method:{bare}", f"{bare} in place of {scope.operation.method}", method=bare, raw_body=b"")
    if same is not None and scope.task is not None:
        yield _refused(start, f"method:{same}", f"{same} in place of {scope.operation.method}", method=same)


def malformed(scope: Scope) -> Iterator[Probe]:
    """The base request's body cut off: JSON that never closes, a form that ends after its first part's head.

    Parsers in wide use forgive a form that lacks only its last boundary, so more than that is missing there.
    """
    yield from _base(scope)
    wire = _wire(scope)
    if wire is None or len(wire.body) < 2:
        return
    end = wire.body.find(b"\r\n\r\n") if _content_type(wire).startswith("multipart/") else len(wire.body) - 1
    yield _refused(_start(scope), "malformed", "the body ends before it is complete", raw_body=wire.body[: max(1, end)])


def wrong_media_type(scope: Scope) -> Iterator[Probe]:
    """The base request, byte for byte, under a media type that the operation does not take."""
    yield from _base(scope)
    wire = _wire(scope)
    if wire is None or not wire.body:
        return
    _, semicolon, boundary = _content_type(wire).partition(";")
    label = OTHER_MEDIA_TYPE + semicolon + boundary
    yield _refused(_start(scope), "media-type", f"the body called {OTHER_MEDIA_TYPE}", headers=(("content-type", label),))


def repeated(scope: Scope) -> Iterator[Probe]:
    """The base request twice, and one that costs nothing, since it has to be refused, several times."""
    if scope.task is None:
        start = _start(scope)
        yield start
        for number in range(2, TIMES + 1):
            yield replace(start, key=f"{start.key}/{number}", repeat=True)
        return
    if scope.field("seed") is not None and scope.gives_pictures:
        yield from probes.seed_pair(scope)
    else:
        yield from _base(scope)
        again = probes.variant(scope, "again", scope.base_request(scope.task), change="nothing: the same request again")
        yield replace(again, repeat=True)
    refused = next((probe for probe in probes.missing(scope) if probe.expects == "refuse"), None)
    if refused is not None:
        yield refused
        for number in range(2, TIMES + 1):
            yield replace(refused, key=f"{refused.key}/{number}", repeat=True)


def refusals(scope: Scope) -> Iterator[Probe]:
    """Requests that have to be refused for what they say."""
    yield from probes.any_answer(scope)
    if scope.task is None:
        yield _start(scope)


def _base(scope: Scope) -> Iterator[Probe]:
    """The first task's base; none for an operation that polls."""
    if scope.task is not None:
        yield from probes.base(scope, scope.task)


def _start(scope: Scope) -> Probe:
    """The request that the others are made from: the first task's base, or a poll of a task that nobody submitted."""
    if scope.task is None:
        parameters = dict.fromkeys(scope.operation.path_parameters, UNKNOWN_TASK)
        request = TaskRequest(next(iter(scope.provider.profile.tasks)))
        return Probe("task/unknown", scope.operation_id, request, "refuse", path=parameters, change="a task that nobody submitted")
    return Probe(scope.task, scope.operation_id, scope.base_request(scope.task), base=f"{scope.task}/base")


def _refused(start: Probe, key: str, change: str, **altered: object) -> Probe:
    return replace(start, key=f"{start.key}/{key}", expects="refuse", change=change, level="should", **altered)  # type: ignore[arg-type]


def _wire(scope: Scope) -> WireRequest | None:
    """The first task's base request as bytes, for no particular host; None where the operation takes no body."""
    if scope.task is None:
        return None
    try:
        fields = wire_fields(scope.provider, scope.base_request(scope.task), scope.operation_id)
    except ContractViolation:
        return None
    return build(scope.provider, fields, base_url="", api_key=None)


def _content_type(wire: WireRequest) -> str:
    return next((value for name, value in wire.headers if name == "content-type"), "")
