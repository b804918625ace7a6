"""The requests that rules ask for. Rules share them: the same key always stands for the same request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from testcard.harness.rules.asked import parse_size
from testcard.harness.rules.rule import KeyUse, Probe
from testcard.harness.rules.scope import PROMPTS, Scope
from testcard.harness.wire.model import TaskRequest
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
        if other.task is not None and other.field("async") is not None:
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
        promised = [size for size in map(parse_size, scope.must_accept("size")) if size]
        tried = [size for size in map(parse_size, scope.may_refuse("size")) if size]
        for size in (*promised, *(tried[:1] if len(promised) < 2 else ())):
            yield variant(scope, f"size:{size[0]}x{size[1]}", replace(request, size=size), change=f"size {size[0]}x{size[1]}")
    elif scope.field("width") is not None and scope.field("height") is not None:
        widths = [value for value in (*scope.must_accept("width"), *scope.may_refuse("width")) if isinstance(value, int)]
        heights = [value for value in (*scope.must_accept("height"), *scope.may_refuse("height")) if isinstance(value, int)]
        for size in _apart(widths, heights):
            yield variant(scope, f"size:{size[0]}x{size[1]}", replace(request, size=size), change=f"size {size[0]}x{size[1]}")


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
    if scope.field("delivery") is None:
        return
    request = scope.base_request(scope.task)
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


def malformed_tasks(scope: Scope) -> Iterator[Probe]:
    """Polls by references that no server gives out: a word, one of other letters than ASCII's, one that is far too long."""
    for number, (reference, what) in enumerate(_MALFORMED_REFERENCES, 1):
        yield from _poll(scope, f"{MALFORMED_TASK}-{number}", reference, what)


def _poll(scope: Scope, key: str, reference: str, change: str) -> Iterator[Probe]:
    protocol = scope.provider.profile.asynchronous
    if protocol is not None and scope.operation_id == protocol.operation:
        request = TaskRequest(task=next(iter(scope.provider.profile.tasks)))
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
