"""The requests that rules ask for. Rules share them: the same key always stands for the same request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from testcard.harness.errors import ContractViolation
from testcard.harness.rules.rule import KeyUse, Probe
from testcard.harness.rules.scope import PROMPTS, Scope
from testcard.harness.wire.encode import build
from testcard.harness.wire.fields import pixel_size, wire_fields
from testcard.harness.wire.model import TaskRequest, WireRequest
from testcard.specs.profile import Task

#: No server that gives out references gives out this one.
UNKNOWN_REFERENCE = "0x" + "7e57ca4d" * 5
MALFORMED_TASK = "task/malformed"
_MALFORMED_REFERENCES = (
    ("not-a-task", "a word for a task"),
    ("t\u00e2che-\U0001f98a", "a task in letters that are not ASCII"),
    ("0x" + "f" * 400, "a task of 402 letters"),
)


def base(scope: Scope, task: Task | None = None) -> Iterator[Probe]:
    """The base request of the task (default: of every task of the operation), sent before everything else.

    An operation that polls tasks has none: it is reached by submitting a task to another.
    """
    if scope.profile.kind == "task":
        yield from _task_to_poll(scope)
        return
    for wanted in (task,) if task is not None else scope.profile.tasks:
        request = scope.base_request(wanted)
        yield Probe(f"{wanted}/base", scope.operation_id, request, "may-refuse" if scope.tolerates(request) else "accept", first=True)


def _task_to_poll(scope: Scope) -> Iterator[Probe]:
    """A request that submits an async task, to the first operation that can (the default one, where it can)."""
    profile = scope.provider.profile
    preferred = [default.operation for default in profile.tasks.values()]
    for operation_id in dict.fromkeys((*preferred, *profile.operations)):
        other = replace(scope, operation_id=operation_id)
        protocol = scope.provider.protocol(operation_id)
        if other.task is None or protocol is None or scope.operation_id not in protocol.operations:
            continue
        if protocol.flag is None:
            yield from base(other, other.task)
            return
        if other.field("async") is not None:
            request = replace(other.base_request(other.task), asynchronous=True)
            yield variant(other, "async:true", request, change=f"{other.profile.wire_name('async')} = true")
            return


def variant(scope: Scope, key: str, request: TaskRequest, *, change: str, expects: str | None = None, place: str | None = None) -> Probe:
    """A request that differs from its task's base in terms that the contract allows."""
    tolerated = scope.tolerates(request) or expects == "may-refuse"
    return Probe(
        f"{request.task}/{key}",
        scope.operation_id,
        request,
        "may-refuse" if tolerated else "accept",
        base=f"{request.task}/base",
        change=change,
        place=place,
    )


def several(scope: Scope) -> Iterator[Probe]:
    """A request for more than one picture, where the operation has a field for that: the smallest number that is documented."""
    if scope.task is None:
        return
    yield from base(scope, scope.task)
    if scope.field("n") is None:
        return
    promised = [n for n in scope.must_accept("n") if isinstance(n, int) and n > 1]
    tried = [n for n in scope.may_refuse("n") if isinstance(n, int) and n > 1]
    number = min(promised or tried or [2])
    request = replace(scope.base_request(scope.task), n=number)
    yield variant(scope, f"n:{number}", request, change=f"n = {number}", expects=None if promised or tried else "may-refuse")


def another_prompt(scope: Scope) -> Iterator[Probe]:
    """The base request of the first task, and the same with another prompt."""
    if scope.task is None or scope.field("prompt") is None:
        return
    yield from base(scope, scope.task)
    prompt = PROMPTS[(scope.seed + 1) % len(PROMPTS)]
    yield variant(scope, "prompt:another", replace(scope.base_request(scope.task), prompt=prompt), change="another prompt")


def sizes(scope: Scope) -> Iterator[Probe]:
    """The documented sizes, and one that may be refused where they are fewer than two; of width and height, a wide and a high pair."""
    if scope.task is None:
        return
    yield from base(scope, scope.task)
    request = scope.base_request(scope.task)
    if scope.field("size") is not None:
        promised = [size for size in map(pixel_size, scope.must_accept("size")) if size]
        tried = [size for size in map(pixel_size, scope.may_refuse("size")) if size]
        for size in (*_spread(promised), *(tried[:1] if len(promised) < 2 else ())):
            yield variant(scope, f"size:{size[0]}x{size[1]}", replace(request, size=size), change=f"size {size[0]}x{size[1]}")
    elif scope.field("width") is not None and scope.field("height") is not None:
        widths = [value for value in (*scope.must_accept("width"), *scope.may_refuse("width")) if isinstance(value, int)]
        heights = [value for value in (*scope.must_accept("height"), *scope.may_refuse("height")) if isinstance(value, int)]
        for size in _apart(widths, heights):
            yield variant(scope, f"size:{size[0]}x{size[1]}", replace(request, size=size), change=f"size {size[0]}x{size[1]}")


def _spread(sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The sizes, of a long list the smallest, the largest and some between: each is a picture that is paid for."""
    if len(sizes) <= _MOST_SIZES:
        return sizes
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return [ordered[round(number * (len(ordered) - 1) / (_MOST_SIZES - 1))] for number in range(_MOST_SIZES)]


def _apart(widths: list[int], heights: list[int]) -> list[tuple[int, int]]:
    """The smallest pairs that show each field at work: one wide, one high, so that swapped fields are seen."""
    pairs = sorted(((w, h) for w in widths for h in heights), key=lambda pair: (pair[0] * pair[1], pair))
    wide = next((pair for pair in pairs if pair[0] > pair[1]), None)
    high = next((pair for pair in pairs if pair[0] < pair[1]), None)
    return [pair for pair in (wide, high) if pair] or pairs[:1]


def formats(scope: Scope) -> Iterator[Probe]:
    """Each documented picture format, and the first that may be refused."""
    if scope.task is None:
        return
    yield from base(scope, scope.task)
    if scope.field("format") is None:
        return
    request = scope.base_request(scope.task)
    for word in (*scope.must_accept("format"), *scope.may_refuse("format")[:1]):
        if isinstance(word, str):
            yield variant(scope, f"format:{word}", replace(request, format=word), change=f"format {word}")


def deliveries(scope: Scope) -> Iterator[Probe]:
    """Pictures as base64 and as URLs, as far as the operation lets one choose."""
    if scope.task is None:
        return
    yield from base(scope, scope.task)
    request = scope.base_request(scope.task)
    accept = scope.profile.response.accept
    for way in accept if len(accept) > 1 else ():
        yield variant(scope, f"delivery:{way}", replace(request, delivery=way), change=f"Accept: {accept[way]}")
    if scope.field("delivery") is None:
        return
    for word in dict.fromkeys((*scope.must_accept("delivery"), *scope.may_refuse("delivery"))):
        if word in ("base64", "url"):
            yield variant(scope, f"delivery:{word}", replace(request, delivery=word), change=f"pictures as {word}")


def seed_pair(scope: Scope) -> Iterator[Probe]:
    """One seeded request sent twice: the only billed repetition there is."""
    if scope.task is None or scope.field("seed") is None:
        return
    yield from base(scope, scope.task)
    again = variant(scope, "seed-again", scope.base_request(scope.task), change="nothing: the same request again")
    yield replace(again, repeat=True)


def keys(scope: Scope) -> Iterator[Probe]:
    """The base request without a key and with a wrong one."""
    yield from no_key(scope)
    yield from wrong_key(scope)


def no_key(scope: Scope) -> Iterator[Probe]:
    """The base request without a key."""
    yield from _with_key(scope, "none", "no key")


def wrong_key(scope: Scope) -> Iterator[Probe]:
    """The base request with a key that nobody was given."""
    yield from _with_key(scope, "wrong", "a wrong key")


def _with_key(scope: Scope, use: KeyUse, change: str) -> Iterator[Probe]:
    if scope.task is None or scope.keyless:
        return
    yield from base(scope, scope.task)
    key, request = f"{scope.task}/{change.removeprefix('a ').replace(' ', '-')}", scope.base_request(scope.task)
    yield Probe(key, scope.operation_id, request, "unauthorised", key_use=use, base=f"{scope.task}/base", change=change)


def missing(scope: Scope) -> Iterator[Probe]:
    """The base request of each task without each of the fields that it cannot do without."""
    for task in scope.profile.tasks:
        bases = list(base(scope, task))
        yield from bases
        request = scope.base_request(task)
        for name in scope.operation.required:
            yield Probe(
                f"{task}/missing:{name}",
                scope.operation_id,
                request,
                "refuse",
                remove=(name,),
                base=f"{task}/base",
                change=f"without {name}",
                place=f"/{name}",
            )


def any_answer(scope: Scope) -> Iterator[Probe]:
    """A request of each kind of answer: carried out, refused for its key, refused for what it says."""
    yield from base(scope)
    yield from keys(scope)
    yield from missing(scope)
    yield from malformed_tasks(scope)


def unknown_task(scope: Scope) -> Iterator[Probe]:
    """A poll of a task that nobody submitted; it costs nothing."""
    yield from _poll(scope, "task/unknown", UNKNOWN_REFERENCE, "a task that nobody submitted")


def unknown_cancellation(scope: Scope) -> Iterator[Probe]:
    """Calling off a task that nobody submitted; it costs nothing."""
    protocol = scope.provider.protocol(scope.operation_id)
    if protocol is not None and protocol.cancel is not None and scope.operation_id == protocol.cancel.operation:
        request = TaskRequest(task=next(iter(scope.provider.profile.tasks), "generate"))
        path = {protocol.cancel.parameter: UNKNOWN_REFERENCE}
        yield Probe(
            "task/cancel-unknown", scope.operation_id, request, "refuse", path=path, change="calling off a task that nobody submitted"
        )


def malformed_tasks(scope: Scope) -> Iterator[Probe]:
    """Polls by references that no server gives out: a word, one of other letters than ASCII's, one that is far too long."""
    for number, (reference, what) in enumerate(_MALFORMED_REFERENCES, 1):
        yield from _poll(scope, f"{MALFORMED_TASK}-{number}", reference, what)


def _poll(scope: Scope, key: str, reference: str, change: str) -> Iterator[Probe]:
    protocol = scope.provider.protocol(scope.operation_id)
    if protocol is not None and protocol.parameter is not None and scope.operation_id == protocol.operation:
        request = TaskRequest(task=next(iter(scope.provider.profile.tasks), "generate"))
        yield Probe(key, scope.operation_id, request, "refuse", path={protocol.parameter: reference}, change=change)


def unfinished_modes(scope: Scope) -> Iterator[Probe]:
    """A mode that works on a picture, asked for without one."""
    found = scope.field("mode")
    if found is None or scope.task is None:
        return
    name, _ = found
    request = scope.base_request(scope.task)
    for mode, meanings in scope.profile.needs.items():
        if mode in scope.profile.tasks or not {"image", "mask"} & set(meanings):
            continue
        yield Probe(
            f"{scope.task}/missing-for:{mode}",
            scope.operation_id,
            request,
            "refuse",
            put={name: mode},
            base=f"{scope.task}/base",
            change=f"{name} = {mode} without {' and '.join(meanings)}",
            place=f"/{name}",
            level="should",
        )


# ── HTTP itself: other methods, bodies that cannot be read, the same request again ────────────────────────────────────


#: A media type that no operation documents; the bytes stay those of the documented one.
OTHER_MEDIA_TYPE = "application/xml"
#: How often a request that costs nothing is sent to see whether it is always answered alike.
TIMES = 5
_MOST_SIZES = 8


def other_methods(scope: Scope) -> Iterator[Probe]:
    """The operation's path with methods that the document does not give it: without a body, and the base request under another."""
    yield from _base(scope)
    here = scope.provider.openapi.methods(scope.operation.path)
    start = _start(scope)
    bare = next((method for method in ("GET", "POST", "PUT", "PATCH", "DELETE") if method not in here), None)
    same = next((method for method in ("PUT", "PATCH") if method not in here), None)
    if bare is not None:
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
        yield from seed_pair(scope)
    else:
        yield from _base(scope)
        again = variant(scope, "again", scope.base_request(scope.task), change="nothing: the same request again")
        yield replace(again, repeat=True)
    refused = next((probe for probe in missing(scope) if probe.expects == "refuse"), None)
    if refused is not None:
        yield refused
        for number in range(2, TIMES + 1):
            yield replace(refused, key=f"{refused.key}/{number}", repeat=True)


def refusals(scope: Scope) -> Iterator[Probe]:
    """Requests that have to be refused for what they say."""
    yield from any_answer(scope)
    if scope.task is None:
        yield _start(scope)


def _base(scope: Scope) -> Iterator[Probe]:
    """The first task's base; none for an operation that polls."""
    if scope.task is not None:
        yield from base(scope, scope.task)


def _start(scope: Scope) -> Probe:
    """The request that the others are made from: the first task's base, or a poll of a task that nobody submitted."""
    if scope.task is None:
        named = [name for name, entry in scope.profile.query.items() if entry.means == "task_id"]
        parameters = dict.fromkeys([*scope.operation.path_parameters, *named], UNKNOWN_REFERENCE)
        request = TaskRequest(next(iter(scope.provider.profile.tasks), "generate"))
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
