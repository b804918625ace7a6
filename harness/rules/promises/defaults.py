"""The rule about documented defaults: a field that is left out is as if its default had been sent. A seed makes that visible."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from testcard.harness.rules import probes
from testcard.harness.rules.asked import parse_size, task_value
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.pictures import same_picture
from testcard.harness.rules.rule import Observation, Probe, openai_clause, rule
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.fields import wire_fields
from testcard.harness.wire.model import TaskRequest
from testcard.specs.profile import Level

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


def _asks(scope: Scope) -> Iterator[Probe]:
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
            sides[entry.means] = value
        elif entry.means == "size":
            terms["size"] = parse_size(value) or value
        elif entry.means in TaskRequest.__dataclass_fields__:
            terms[entry.means] = task_value(entry, value)
        else:
            extra[name] = value
    if len(sides) == 2:
        terms["size"] = (sides["width"], sides["height"])
    return replace(request, **terms, extra=extra)


@rule("request.default-applied", level="should", clause=openai_clause("Request body"), applies=_shows_defaults, asks=_asks)
def default_applied(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Leaving a field out gives the same picture as sending its documented default.

    Seen where a seed is sent, and where the same request with the same seed gives the same picture in the same run. For a field
    that only some models know, another picture counts as a deviation at most: the model may have a default of its own.
    """
    defaults = _defaults(scope)
    groups: dict[str, list[tuple[Seen, dict[str, Any]]]] = {}
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


def _equal(group: Sequence[tuple[Seen, dict[str, Any]]]) -> Iterator[tuple[Seen, Seen]]:
    first, body = group[0]
    yield from ((first, other) for other, same in group[1:] if same == body)


def _compared(
    scope: Scope, group: Sequence[tuple[Seen, dict[str, Any]]], defaults: Mapping[str, Any], repeats: Sequence[bool | None]
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


RULES = (default_applied,)
