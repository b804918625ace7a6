"""Rules about what is accepted and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from testcard.harness.rules import probes
from testcard.harness.rules.documented import documented_values
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.rule import Observation, Probe, http_clause, rule
from testcard.harness.rules.scope import Scope

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


def _said(one: Seen) -> str:
    message = one.answer.error_message if one.answer else None
    return f" ({message[:120]})" if message else ""


@rule(ACCEPTS, level="must", clause=http_clause("15.5 Client Error 4xx"), applies=_takes_a_body, asks=documented_values)
def accepts_valid(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Requests with the values that the document states are carried out.

    Values that a model may not know are tried as well; a 4xx to those is `unsupported`, not a violation. Of a request that
    was refused, the values that no request carried out had are named.
    """
    known = _values_carried_out(seen)
    for one in seen:
        if not one.sent_by_check or one.case.expects not in ("accept", "may-refuse"):
            continue
        what = one.case.change or "the base request"
        if one.accepted and one.error_as_success is None:
            yield Observation("pass", exchanges=(one.id,))
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"{what}: {one.out_of_reach}", (one.id,))
        elif one.accepted and one.case.expects == "accept":
            yield Observation("broken", f"{what}: status {one.status} came with an error", (one.id,), one.case.place, one.case.level)
        elif (one.refused or one.accepted) and one.case.expects == "may-refuse":
            yield Observation("unsupported", f"{what}: status {one.status}{_said(one)}", (one.id,), one.case.place)
        elif one.refused and one.case.base is not None and one.base_accepted is False:
            yield Observation("unproven", f"{what}: the base request was not carried out either", (one.id,))
        elif one.status in (401, 403):
            # Whose key, account or plan it is, is asked there; not whether the request is valid.
            yield Observation("unproven", f"{what}: status {one.status}{_said(one)}", (one.id,))
        else:
            detail = f"{_suspects(one, known) or what}: refused with status {one.status}{_said(one)}"
            yield Observation("broken", detail, (one.id,), one.case.place, level=one.case.level)


def _values_carried_out(seen: Sequence[Seen]) -> set[tuple[str, str]]:
    return {pair for one in seen if one.carried_out for pair in _values(one.asked)}


def _values(asked: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in asked.items():
        if name == "extra" and isinstance(value, Mapping):
            yield from _values(value)
        elif name not in ("task", "prompt", "images", "mask", "messages"):
            yield name, str(value)


def _suspects(one: Seen, known: set[tuple[str, str]]) -> str | None:
    """The values of a refused request that no other request was carried out with, where they are few; a request with one change says it itself."""
    if one.exchange.source != "schema-case":
        return None
    found = [f"{name} {value}" for name, value in _values(one.asked) if (name, value) not in known]
    return ", ".join(found) if 0 < len(found) <= _MOST_SUSPECTS else None


def _broken_requests(scope: Scope) -> Iterator[Probe]:
    yield from probes.missing(scope)
    yield from probes.unfinished_modes(scope)


def _refusals(rule_id: str, seen: Sequence[Seen]) -> Iterator[Observation]:
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
def refuses_invalid(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Requests that break the documented schema are refused with a 4xx.

    A missing required field counts at the rule's level; a wrong type, bound or enumerated value as a deviation, since
    servers that coerce are lenient, not broken. Counts only when the request it was made from was carried out.
    """
    return _refusals(REFUSES, seen)


def _base(scope: Scope) -> Iterator[Probe]:
    assert scope.task is not None
    return probes.base(scope, scope.task)


@rule(STEP, level="should", clause=http_clause("15.5.1 400 Bad Request"), applies=_has_a_step, asks=_base)
def step(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Numbers off their documented step are refused with a 4xx.

    The requests come from the schema cases; each counts only when the request it was made from was carried out.
    """
    return _refusals(STEP, seen)


@rule(N_RANGE, level="should", clause=http_clause("15.5.1 400 Bad Request"), applies=_bounds_n, asks=_base)
def n_range(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Fewer or more pictures than the documented bounds of n allow are refused with a 4xx.

    The requests come from the schema cases; each counts only when the request it was made from was carried out.
    """
    return _refusals(N_RANGE, seen)


RULES = (accepts_valid, refuses_invalid, step, n_range)
