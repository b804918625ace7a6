"""Rules about what requests may say: what is accepted and what is refused, awkward text, and what holds for a field that is left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Observation, SeenExchange, late_gateway_timeout, said_by, same_picture
from testcard.harness.rules.rule import Probe, http_clause, openai_clause, rule
from testcard.harness.rules.scope import PROMPTS, Scope
from testcard.harness.rules.sent_pictures import edit_mask
from testcard.harness.wire.fields import pixel_size, task_value, wire_fields
from testcard.harness.wire.model import TaskRequest
from testcard.specs.profile import Level, Task, WireField

# ── requests for what the documents state and no combination of schema cases shows ────────────────────────────────────


_TERMS = {field.name for field in fields(TaskRequest)}


def documented_values(scope: Scope) -> Iterator[Probe]:
    """The bases and the barest request; on top of the base a mask, the bounds of n, a task to come back for, and what may be refused."""
    task = scope.task
    if task is None:
        return
    yield from probes.base(scope)
    yield bare(scope, task)
    request = scope.base_request(task)
    for name, entry in scope.profile.fields.items():
        entry = scope.provider.field(scope.operation_id, name, request.model) or entry
        yield from _on_top(scope, request, name, entry)


def bare(scope: Scope, task: Task) -> Probe:
    """The base request with required fields only."""
    needed = [name for name, entry in scope.profile.fields.items() if entry.means in scope.profile.needs.get(task, ())]
    only = (*scope.operation.required, *needed)
    return Probe(
        f"{task}/bare", scope.operation_id, scope.base_request(task), only=only, base=f"{task}/base", change="required fields only"
    )


def _on_top(scope: Scope, request: TaskRequest, name: str, entry: WireField) -> Iterator[Probe]:
    meaning = entry.means
    if meaning == "mask" and request.images:
        yield probes.variant(scope, "mask", replace(request, mask=edit_mask(entry.edits)), change=f"with {name}")
    elif meaning == "n":
        numbers = [value for value in scope.accepted_values(name, entry) if isinstance(value, int)]
        for value in dict.fromkeys((min(numbers), max(numbers))) if numbers else ():
            yield probes.variant(scope, f"n:{value}", replace(request, n=value), change=f"{name} = {value}")
    elif meaning == "async":
        yield probes.variant(scope, "async:true", replace(request, asynchronous=True), change=f"{name} = true")
    elif meaning not in ("prompt", "model", "messages", "image", "mask", "mode", "task_id", "width", "height", "size"):
        yield from _tolerated(scope, request, name, entry)


def _tolerated(scope: Scope, request: TaskRequest, name: str, entry: WireField) -> Iterator[Probe]:
    """The first value of a field of which no value has to be accepted."""
    if scope.accepted_values(name, entry) or not entry.may_refuse:
        return
    value: Any = task_value(entry, entry.may_refuse[0])
    if entry.means in _TERMS:
        changed = replace(request, **{entry.means: value})
    else:
        changed = replace(request, extra={**request.extra, name: entry.values.get(str(value), value)})
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    key = f"{entry.means if entry.means != 'other' else name}:{shown}"
    yield probes.variant(scope, key, changed, change=f"{name} = {shown}", expects="may-refuse")


# ── what is accepted, what is refused ─────────────────────────────────────────────────────────────────────────────────


ACCEPTS, REFUSES = "request.accepts-valid", "request.refuses-invalid"
STEP, N_RANGE = "request.step", "request.n-range"
_MOST_SUSPECTS = 3


def _takes_a_body(scope: Scope) -> bool:
    return scope.task is not None


def _has_a_step(scope: Scope) -> bool:
    return scope.task is not None and any("multipleOf" in schema for schema in scope.operation.properties.values())


def _bounds_n(scope: Scope) -> bool:
    found = scope.field("n") if scope.task is not None else None
    return found is not None and not {"minimum", "maximum"}.isdisjoint(scope.operation.properties.get(found[0], {}))


@rule(ACCEPTS, level="must", clause=http_clause("15.5 Client Error 4xx"), applies=_takes_a_body, asks=documented_values)
def accepts_valid(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Requests with the values that the document states are carried out.

    Values that a model may not know are tried as well; a 4xx to those is `unsupported`, not a violation. Of a refused request,
    the values that appear in no successful request are named. A value that several requests were answered with 5xx for, and none was
    carried out with, is not accepted either; a 5xx that no value explains is http.no-server-error's alone. A value that is the only
    suspect of one request is named alone for every other that has it. Where the very same request was carried out and refused
    (http.steady), no value explains a refusal, and none is named.
    """
    known = _values_carried_out(seen)
    failing = _values_that_fail(scope, seen, known)
    alone = _values_refused_alone(seen, known)
    unsteady = _unsteady(seen)
    for one in seen:
        if not one.sent_by_check or one.case.expects not in ("accept", "may-refuse"):
            continue
        what = one.case.change or "the base request"
        if one.accepted and one.error_as_success is None:
            yield Observation("pass", exchanges=(one.id,))
        elif (named := [pair for pair in _values(one.asked) if pair in failing]) and _fails(scope, one):
            values = ", ".join(f"{name} {value}" for name, value in ([pair for pair in named if pair in alone] or named)[:_MOST_SUSPECTS])
            yield Observation("broken", f"{values}: status {one.status}{said_by(one)}", (one.id,), one.case.place, level=one.case.level)
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"{what}: {one.out_of_reach}", (one.id,))
        elif one.accepted and one.case.expects == "accept":
            yield Observation("broken", f"{what}: status {one.status} came with an error", (one.id,), one.case.place, one.case.level)
        elif (one.refused or one.accepted) and one.case.expects == "may-refuse":
            yield Observation("unsupported", f"{what}: status {one.status}{said_by(one)}", (one.id,), one.case.place)
        elif one.refused and one.case.base is not None and one.base_accepted is False:
            yield Observation("unproven", f"{what}: the base request was not carried out either", (one.id,))
        elif one.refused and not scope.lists_model:
            yield Observation(
                "unproven", f"{what}: status {one.status}{said_by(one)}; nobody says that the model is served there", (one.id,)
            )
        elif one.status in (401, 403):
            # Whose key, account or plan it is, is asked there; not whether the request is valid.
            yield Observation("unproven", f"{what}: status {one.status}{said_by(one)}", (one.id,))
        else:
            detail = f"{what if unsteady else _suspects(one, known, alone) or what}: refused with status {one.status}{said_by(one)}"
            yield Observation("broken", detail, (one.id,), one.case.place, level=one.case.level)


def _values_carried_out(seen: Sequence[SeenExchange]) -> set[tuple[str, str]]:
    return {pair for one in seen if one.carried_out for pair in _values(one.asked)}


def _fails(scope: Scope, one: SeenExchange) -> bool:
    """Whether a request that has to be accepted was answered with a 5xx that no document announces."""
    has_to = one.sent_by_check and one.case.expects == "accept" and one.status is not None and one.status >= 500
    return has_to and not late_gateway_timeout(scope, one)


def _values_that_fail(scope: Scope, seen: Sequence[SeenExchange], known: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Values of at least two requests, all of which were answered with 5xx, while others were carried out: it is not chance, nor all."""
    if not known:
        return set()
    met = Counter(pair for one in seen if _fails(scope, one) for pair in set(_values(one.asked)))
    return {pair for pair, times in met.items() if times > 1 and pair not in known}


def _values(asked: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in asked.items():
        if name == "extra" and isinstance(value, Mapping):
            yield from _values(value)
        elif name not in ("task", "prompt", "images", "mask", "messages"):
            yield name, str(value)


def _unsteady(seen: Sequence[SeenExchange]) -> bool:
    """Whether a request was refused whose equal was carried out: what is refused then depends on no value."""
    words: dict[tuple[object, ...], set[bool]] = {}
    for one in seen:
        if (
            one.sent_by_check
            and one.case.expects in ("accept", "may-refuse")
            and (one.accepted or (one.refused and one.out_of_reach is None))
        ):
            request = one.exchange.request
            asked = json.dumps(one.asked, sort_keys=True, default=str)
            key = (request.url, tuple(request.headers), request.body.text or request.body.base64 or request.body.sha256, asked)
            words.setdefault(key, set()).add(one.accepted)
    return any(len(found) == 2 for found in words.values())


def _values_refused_alone(seen: Sequence[SeenExchange], known: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Values that are by themselves what a refused or failed request has that none carried out had: they explain it."""
    found: set[tuple[str, str]] = set()
    for one in seen:
        if (
            not one.sent_by_check
            or one.case.expects != "accept"
            or one.status is None
            or one.status < 400
            or one.status in (401, 402, 403, 429)
        ):
            continue
        suspects = set(_values(one.asked)) - known
        if len(suspects) == 1:
            found |= suspects
    return found


def _suspects(one: SeenExchange, known: set[tuple[str, str]], alone: set[tuple[str, str]]) -> str | None:
    """The values of a refused request that no other request was carried out with, where they are few; those that explain another alone go first.

    A request with one change says it itself.
    """
    if one.exchange.source != "schema-case":
        return None
    unknown = [pair for pair in _values(one.asked) if pair not in known]
    found = [f"{name} {value}" for name, value in ([pair for pair in unknown if pair in alone] or unknown)]
    return ", ".join(found) if 0 < len(found) <= _MOST_SUSPECTS else None


def _broken_requests(scope: Scope) -> Iterator[Probe]:
    yield from probes.missing(scope)
    yield from probes.unfinished_modes(scope)


def _refusals(rule_id: str, seen: Sequence[SeenExchange]) -> Iterator[Observation]:
    """What the answers to the broken requests that a rule asked for say; one counts only when its base was carried out."""
    for one in seen:
        if not one.sent_by_check or one.case.expects != "refuse" or rule_id not in one.case.rules:
            continue
        what = one.case.change
        if one.case.base is not None and not one.base_accepted:
            yield Observation("unproven", f"{what}: the request it was made from was not carried out", (one.id,))
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"{what}: {one.out_of_reach}", (one.id,))
        elif one.refused:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("broken", f"{what}: answered with status {one.status}", (one.id,), one.case.place, level=one.case.level)


@rule(REFUSES, level="must", clause=http_clause("15.5.1 400 Bad Request"), applies=_takes_a_body, asks=_broken_requests)
def refuses_invalid(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Requests that break the documented schema are refused with a 4xx.

    A missing required field counts at the rule's level; a wrong type, bound or enumerated value counts as a deviation, since a
    server that converts values is lenient, not broken. Null for a field that may be left out is only noted. Judged only where the request it was made from was carried out.
    """
    return _refusals(REFUSES, seen)


def _base(scope: Scope) -> Iterator[Probe]:
    assert scope.task is not None
    return probes.base(scope, scope.task)


@rule(STEP, level="should", clause=http_clause("15.5.1 400 Bad Request"), applies=_has_a_step, asks=_base)
def step(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A number that is not on its documented step is refused with a 4xx.

    The requests come from the schema cases; each is judged only where the request it was made from was carried out.
    """
    return _refusals(STEP, seen)


@rule(N_RANGE, level="should", clause=http_clause("15.5.1 400 Bad Request"), applies=_bounds_n, asks=_base)
def n_range(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Fewer or more pictures than the documented bounds of n allow are refused with a 4xx.

    The requests come from the schema cases; each is judged only where the request it was made from was carried out.
    """
    return _refusals(N_RANGE, seen)


# ── text that breaks servers ──────────────────────────────────────────────────────────────────────────────────────────


SURVIVES = "request.text-survives"
LONG_CHARACTERS = 10_000
_SCRIPTS = (
    "a sign that says Zürich, Łódź, Ελλάδα, 東京 and \N{ROCKET}\N{WOMAN}\u200d\N{PERSONAL COMPUTER}\N{MATHEMATICAL SCRIPT CAPITAL A}, below it שלום and مرحبا, "
    "\u202eand back\u202c, framed by \"double\", 'single' and `back' quotes, \\n, </b>, {0}, %s, ${x} and ;--"
)
_CONTROLS = "a grey wall\x00\x01\x07\x08\x0b\x0c\x1b[31m\x7f\x9f\ufeff behind a red door"


def texts(seed: int = 0) -> dict[str, tuple[str, str]]:
    """Three texts that servers trip over, by a name: what is special about each, and the text."""
    sentence = PROMPTS[seed % len(PROMPTS)] + "; "
    return {
        "scripts": ("other scripts, astral characters, right-to-left text and quotes", _SCRIPTS),
        "controls": ("control characters", _CONTROLS),
        "long": (f"{LONG_CHARACTERS:,} characters", (sentence * (LONG_CHARACTERS // len(sentence) + 1))[:LONG_CHARACTERS]),
    }


def _takes_text(scope: Scope) -> bool:
    return scope.task is not None and _term(scope) is not None


def _term(scope: Scope) -> str | None:
    """The task's term that carries free text: the prompt, else whatever else does."""
    means = {entry.means for entry in scope.profile.fields.values()}
    if {"prompt", "messages"} & means:
        return "prompt"
    return next((term for term in ("negative_prompt", "user") if term in means), None)


def _awkward_texts(scope: Scope) -> Iterator[Probe]:
    task, term = scope.task, _term(scope)
    if task is None or term is None:
        return
    yield from probes.base(scope, task)
    request: TaskRequest = scope.base_request(task)
    for name, (what, text) in texts(scope.seed).items():
        changed = replace(request, **{term: text})  # type: ignore[arg-type] # the terms that `_term` names are text
        yield probes.variant(scope, f"text:{name}", changed, change=f"a {term.replace('_', ' ')} with {what}", expects="may-refuse")


@rule(SURVIVES, level="must", clause=http_clause("15.6 Server Error 5xx"), applies=_takes_text, asks=_awkward_texts)
def text_survives(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """No text makes the server fail: every request is carried out, or refused with a 4xx.

    Tried are other scripts, characters beyond 16 bits, right-to-left text, quotes, control characters, and 10,000 characters.
    """
    for one in seen:
        if SURVIVES not in one.case.rules or one.case.base is None or not one.sent_by_check:
            continue
        if one.status is None and one.exchange.failure == "broken":
            yield Observation("broken", f"{one.case.change}: the connection closed before an answer", (one.id,))
        elif one.status is not None and one.status >= 500 and not late_gateway_timeout(scope, one):
            yield Observation("broken", f"{one.case.change}: status {one.status} was answered", (one.id,))
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"{one.case.change}: {one.out_of_reach}", (one.id,))
        else:
            yield Observation("pass", exchanges=(one.id,))


# ── documented defaults ───────────────────────────────────────────────────────────────────────────────────────────────


_MOST_NAMED = 4


def _defaults(scope: Scope) -> dict[str, Any]:
    """The documented defaults of optional fields by wire name; without that of the model where the user names one."""
    return {
        name: schema["default"]
        for name, schema in scope.operation.properties.items()
        if "default" in schema
        and name not in scope.operation.required
        and not (scope.model is not None and name == scope.profile.wire_name("model"))
    }


def _shows_defaults(scope: Scope) -> bool:
    return scope.gives_pictures and scope.task is not None and scope.field("seed") is not None and bool(_defaults(scope))


def _with_and_without_defaults(scope: Scope) -> Iterator[Probe]:
    """A seeded request without any field that has a default, the same with all of them stated, and a pair that shows that the seed repeats.

    Defaults of fields that only some models know are stated in a request of their own, which may be refused.
    """
    task = scope.task
    if task is None:
        return
    yield from probes.seed_pair(scope)
    request, defaults = scope.base_request(task), _defaults(scope)
    sent = wire_fields(scope.provider, request, scope.operation_id)
    left_out = tuple(name for name in sent.body if name in defaults)
    kept = replace(sent, body={name: value for name, value in sent.body.items() if name not in left_out})
    if left_out:
        may_refuse = scope.tolerates_fields(kept, request.model)
        yield Probe(
            f"{task}/defaults:omitted",
            scope.operation_id,
            request,
            "may-refuse" if may_refuse else "accept",
            remove=left_out,
            base=f"{task}/base",
            change=f"without {', '.join(left_out)}",
        )
    known = {name: value for name, value in defaults.items() if not _model_specific(scope, name)}
    if known:
        yield probes.variant(scope, "defaults:stated", _stated(scope, request, known), change="every documented default stated")
    if len(known) < len(defaults):
        stated = _stated(scope, request, defaults)
        yield probes.variant(scope, "defaults:model", stated, change="every documented default stated, of fields that some models know too")


def _model_specific(scope: Scope, name: str) -> bool:
    entry = scope.provider.field(scope.operation_id, name, scope.asked_model(scope.task))
    return entry is not None and entry.model_specific


def _stated(scope: Scope, request: TaskRequest, defaults: Mapping[str, Any]) -> TaskRequest:
    """The request with every default in place of what it had."""
    terms: dict[str, Any] = {}
    extra = dict(request.extra)
    sides: dict[str, Any] = {}
    for name, value in defaults.items():
        entry = scope.profile.fields.get(name)
        if entry is None:
            continue
        if entry.means in ("width", "height"):
            sides[entry.means] = task_value(entry, value)
        elif entry.means == "size":
            terms["size"] = pixel_size(value) or value
        elif entry.means in TaskRequest.__dataclass_fields__:
            terms[entry.means] = task_value(entry, value)
        else:
            extra[name] = value
    if len(sides) == 2:
        terms["size"] = (sides["width"], sides["height"])
    return replace(request, **terms, extra=extra)


@rule(
    "request.default-applied",
    level="should",
    clause=openai_clause("Request body"),
    applies=_shows_defaults,
    asks=_with_and_without_defaults,
    evidence="pictures",
)
def default_applied(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Leaving a field out gives the same picture as sending its documented default.

    Judged where a seed is sent, and where the same request with the same seed gave the same picture in the same run. For a field
    that only some models know, another picture counts as a deviation at most: the model may have a default of its own.
    """
    defaults = _defaults(scope)
    groups: dict[str, list[tuple[SeenExchange, dict[str, Any]]]] = {}
    for one in seen:
        if one.carried_out and one.waiting is None and one.asked.get("seed") is not None:
            body = _object(one.sent())
            if body is not None:
                key = json.dumps([one.exchange.request.url, {**defaults, **body}], sort_keys=True)
                groups.setdefault(key, []).append((one, body))
    repeats = [same_picture(one, other) for group in groups.values() for one, other in _equal(group)]
    for group in groups.values():
        yield from _compared(scope, group, defaults, repeats)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _equal(group: Sequence[tuple[SeenExchange, dict[str, Any]]]) -> Iterator[tuple[SeenExchange, SeenExchange]]:
    first, body = group[0]
    yield from ((first, other) for other, same in group[1:] if same == body)


def _compared(
    scope: Scope, group: Sequence[tuple[SeenExchange, dict[str, Any]]], defaults: Mapping[str, Any], repeats: Sequence[bool | None]
) -> Iterator[Observation]:
    """What requests say that differ only in which defaults they state."""
    first, body = group[0]
    for other, another in group[1:]:
        apart = [name for name in defaults if (name in body) != (name in another)]
        if not apart:
            continue
        ids = (first.id, other.id)
        same = same_picture(first, other)
        named = ", ".join(f"{name} {json.dumps(defaults[name])}" for name in apart[:_MOST_NAMED])
        named += f" and {len(apart) - _MOST_NAMED} more" if len(apart) > _MOST_NAMED else ""
        if same is None:
            yield Observation("unproven", "the pictures with and without stated defaults could not be compared", ids)
        elif same:
            yield Observation("pass", exchanges=ids)
        elif False in repeats or True not in repeats:
            yield Observation("unproven", "the same request with the same seed was not seen to repeat", ids)
        else:
            level: Level = "should" if any(_model_specific(scope, name) for name in apart) else "must"
            yield Observation("broken", f"stating {named} gives another picture than leaving it out", ids, level=level)


RULES = (
    accepts_valid,
    refuses_invalid,
    step,
    n_range,
    text_survives,
    default_applied,
)
