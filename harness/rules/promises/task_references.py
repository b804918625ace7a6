"""The rule about references of tasks that nobody submitted: unknown ones, and ones that no server gives out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Seen
from testcard.harness.rules.rule import Observation, Probe, http_clause, rule
from testcard.harness.rules.scope import Scope

UNKNOWN_TASK = "async.unknown-task"


def _polls(scope: Scope) -> bool:
    protocol = scope.provider.profile.asynchronous
    return protocol is not None and scope.operation_id == protocol.operation


def _strangers(scope: Scope) -> Iterator[Probe]:
    yield from probes.unknown_task(scope)
    yield from probes.malformed_tasks(scope)


@rule(UNKNOWN_TASK, level="should", clause=http_clause("15.5.5 404 Not Found"), applies=_polls, asks=_strangers)
def unknown_task(scope: Scope, seen: Sequence[Seen]) -> Iterable[Observation]:
    """A poll of a task that nobody submitted is answered with 404.

    Another refusal is noted: a server may see by its form that a reference is none of its own. Of references that look like
    nobody's, any refusal will do; that none of them is answered with a 5xx is http.no-server-error's.
    """
    for one in seen:
        if not one.sent_by_check or one.case.expects != "refuse" or UNKNOWN_TASK not in one.case.rules:
            continue
        if one.out_of_reach is not None or one.status in (401, 403):
            yield Observation("unproven", one.out_of_reach or f"status {one.status}", (one.id,))
        elif one.status in (404, 410) or (one.refused and one.exchange.probe.startswith(probes.MALFORMED_TASK)):
            yield Observation("pass", exchanges=(one.id,))
        elif one.refused:
            yield Observation("note", f"{one.case.change} was refused with status {one.status} rather than 404", (one.id,))
        else:
            state = one.answer.task.state if one.answer and one.answer.task else None
            detail = f"{one.case.change} was answered with status {one.status}" + (f", {state[:40]}" if state else "")
            yield Observation("broken", detail, (one.id,))


RULES = (unknown_task,)
