"""Rules about what is accepted and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.rule import Observation, Probe, http_clause, rule
from testcard.harness.rules.scope import Scope


def _takes_a_body(scope: Scope) -> bool:
    return scope.task is not None


def _said(one: Seen) -> str:
    message = one.answer.error_message if one.answer else None
    return f" ({message[:120]})" if message else ""


@rule(
    "request.accepts-valid",
    level="must",
    clause=http_clause("15.5 Client Error 4xx"),
    applies=_takes_a_body,
    asks=probes.documented_values,
)
def accepts_valid(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Requests with the values that the document states are carried out.

    Values that a model may not know are tried as well; a 4xx to those is `unsupported`, not a violation.
    """
    for one in seen:
        if not one.sent_by_check or one.case.expects not in ("accept", "may-refuse"):
            continue
        what = one.case.change or "the base request"
        if one.accepted:
            yield Observation("pass", exchanges=(one.id,))
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"{what}: {one.out_of_reach}", (one.id,))
        elif one.refused and one.case.expects == "may-refuse":
            yield Observation("unsupported", f"{what}: status {one.status}{_said(one)}", (one.id,), one.case.place)
        elif one.refused and one.case.base is not None and one.base_accepted is False:
            yield Observation("unproven", f"{what}: the base request was not carried out either", (one.id,))
        elif one.refused and one.status == 403 and one.case.base is None:
            yield Observation("unproven", f"{what}: status 403{_said(one)}", (one.id,))
        else:
            yield Observation(
                "broken", f"{what}: refused with status {one.status}{_said(one)}", (one.id,), one.case.place, level=one.case.level
            )


def _broken_requests(scope: Scope) -> Iterator[Probe]:
    yield from probes.missing(scope)
    yield from probes.unfinished_modes(scope)


@rule(
    "request.refuses-invalid",
    level="must",
    clause=http_clause("15.5.1 400 Bad Request"),
    applies=_takes_a_body,
    asks=_broken_requests,
)
def refuses_invalid(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """Requests that break the documented schema are refused with a 4xx.

    A missing required field counts at the rule's level; a wrong type, bound or enumerated value as a deviation, since
    servers that coerce are lenient, not broken. Counts only when the request it was made from was carried out.
    """
    for one in seen:
        if not one.sent_by_check or one.case.expects != "refuse":
            continue
        if one.case.base is not None and not one.base_accepted:
            yield Observation("unproven", f"{one.case.change}: the request it was made from was not carried out", (one.id,))
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"{one.case.change}: {one.out_of_reach}", (one.id,))
        elif one.refused:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation(
                "broken", f"{one.case.change}: answered with status {one.status}", (one.id,), one.case.place, level=one.case.level
            )


RULES = (accepts_valid, refuses_invalid)
