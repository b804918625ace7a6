"""Rules about work that is accepted now and fetched later: the acceptance, its reference, the task's states, its result, and references of nobody's."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from testcard.harness.rules import probes
from testcard.harness.rules.evidence import Observation, SeenExchange
from testcard.harness.rules.rule import Probe, http_clause, rule
from testcard.harness.rules.schema_judge import judge_response
from testcard.harness.rules.scope import PROMPTS, Scope
from testcard.harness.wire.decode import Phase, told
from testcard.harness.wire.encode import json_bytes
from testcard.harness.wire.fields import asked_record
from testcard.harness.wire.model import AsyncTask
from testcard.specs.pointers import at
from testcard.specs.profile import AsyncProtocol, Clause

#: Of a task that was followed for its whole time, the last poll comes this near to the end of it at least.
_WHOLE_TIME = 0.99
_CLAUSE = Clause(document="RFC 9110", heading="15.3.3 202 Accepted", source="http")


def _protocol(scope: Scope) -> AsyncProtocol:
    protocol = scope.provider.protocol(scope.operation_id)
    assert protocol is not None
    return protocol


def _submits(scope: Scope) -> bool:
    protocol = scope.provider.protocol(scope.operation_id)
    return scope.task is not None and protocol is not None and (protocol.flag is None or scope.field("async") is not None)


def _always(scope: Scope) -> bool:
    """Whether every request becomes a task, because there is nothing to ask for one with."""
    return _submits(scope) and scope.field("async") is None


def _submits_repeatably(scope: Scope) -> bool:
    return _submits(scope) and _protocol(scope).idempotency_header is not None


def submission(scope: Scope) -> Iterator[Probe]:
    """The base request once more, to be carried out later."""
    if scope.task is None or not _submits(scope):
        return
    yield from probes.base(scope, scope.task)
    if _always(scope):
        yield from probes.another_prompt(scope)
        return
    request = replace(scope.base_request(scope.task), asynchronous=True)
    yield probes.variant(scope, "async:true", request, change=f"{scope.profile.wire_name('async')} = true")


def _submission_pair(scope: Scope) -> Iterator[Probe]:
    """One submission sent twice under one idempotency key: billed once by a server that keeps the promise.

    The key is made of the request, so that the same check sends the same key and never one key with two requests.
    """
    header = _protocol(scope).idempotency_header if _submits(scope) else None
    if scope.task is None or header is None:
        return
    yield from probes.base(scope, scope.task)
    asked = None if _always(scope) else True
    request = replace(scope.base_request(scope.task), asynchronous=asked, prompt=PROMPTS[(scope.seed + 1) % len(PROMPTS)])
    content = json.dumps([scope.operation_id, scope.seed, asked_record(request)], sort_keys=True)
    headers = ((header.lower(), "testcard-" + hashlib.sha256(content.encode()).hexdigest()[:32]),)
    first = probes.variant(scope, "async-keyed", request, change=f"a submission with {header}", expects="may-refuse")
    yield replace(first, headers=headers)
    again = probes.variant(scope, "async-again", request, change=f"the same submission with the same {header}", expects="may-refuse")
    yield replace(again, headers=headers, repeat=True, after=first.key)


def _asks(scope: Scope, one: SeenExchange) -> bool:
    """Whether a request asks to be carried out later."""
    return _always(scope) or one.asked.get("asynchronous") is True


def _submitted(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[SeenExchange]:
    """Requests that asked to be carried out later and were answered with a success."""
    for one in seen:
        if one.carried_out and _asks(scope, one):
            yield one


def _accepted(scope: Scope, seen: Sequence[SeenExchange]) -> Iterator[tuple[SeenExchange, AsyncTask]]:
    """Those of them that were accepted, with what the acceptance says."""
    for one in _submitted(scope, seen):
        if one.answer is not None and one.answer.task is not None:
            yield one, one.answer.task


@rule("async.accepted", level="must", clause=_CLAUSE, applies=_submits, asks=submission)
def accepted(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A request to be carried out later is answered with the documented status (202), and no other request is.

    A refusal is judged by request.accepts-valid. A task that nobody asked for counts as a deviation.
    """
    wanted, name = _protocol(scope).status, scope.profile.wire_name("async")
    asked = f"{name} = true" if name is not None else "a request for a task"
    for one in seen:
        if not one.sent_by_check or one.repeatable or one.case.expects == "refuse":
            continue
        if not _asks(scope, one):
            if one.carried_out and one.answer is not None and one.answer.task is not None:
                detail = f"a task came with status {one.status} although {name} was not asked for"
                yield Observation("broken", detail, (one.id,), level="should")
        elif one.out_of_reach is not None:
            yield Observation("unproven", f"{asked}: {one.out_of_reach}", (one.id,))
        elif one.carried_out and one.status not in wanted:
            expected = " or ".join(map(str, wanted))
            yield Observation("broken", f"{asked} was answered with status {one.status}, not {expected}", (one.id,))
        elif one.carried_out:
            yield Observation("pass", exchanges=(one.id,))


@rule("async.reference", level="should", clause=_CLAUSE, applies=_submits, asks=submission)
def reference(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """An accepted request gets a reference of its own to poll by, under any of the names that are known for it."""
    places = _protocol(scope).task_reference
    first: dict[str, SeenExchange] = {}
    for one, task in _accepted(scope, seen):
        if one.answer is None or not isinstance(one.answer.json, dict):
            continue  # schema.response's
        if not task.reference:
            other = f"; there is only an address, {task.poll_url[:80]}" if task.poll_url else ""
            yield Observation("broken", f"there is no task reference at {' or '.join(places)}{other}", (one.id,), places[0])
        elif task.reference in first:
            ids = (first[task.reference].id, one.id)
            yield Observation("broken", f"two submissions got the same reference {task.reference[:80]}", ids, places[0])
        else:
            first[task.reference] = one
            yield Observation("pass", exchanges=(one.id,))


def _rank(protocol: AsyncProtocol, state: str | None) -> int | None:
    phase = protocol.phase(state) or (state if protocol.state is None else None)
    return None if phase is None else {"queued": 0, "running": 1}.get(phase, 2)


def _word(task: AsyncTask) -> str | None:
    """What an answer says of a task's state: the wire's word, or what its status stands for."""
    return task.state or task.phase


def _states(protocol: AsyncProtocol, one: SeenExchange) -> list[tuple[str, str]]:
    """The documented states that the acceptance and the polls name, each with its exchange's id, in order."""
    heard = [
        (_word(answer.task), exchange.id)
        for exchange in (one, *one.polls)
        if exchange.accepted and (answer := exchange.answer) and answer.task
    ]
    return [(state, where) for state, where in heard if state is not None and _rank(protocol, state) is not None]


@rule("async.forward", level="should", clause=_CLAUSE, applies=_submits, asks=submission)
def forward(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A task's states only move forward, and its end is final."""
    protocol = _protocol(scope)
    for one, _ in _accepted(scope, seen):
        states = _states(protocol, one)
        back = next(((old, new) for old, new in itertools.pairwise(states) if _turned_back(protocol, old[0], new[0])), None)
        if back is not None:
            (was, before), (became, after) = back
            yield Observation("broken", f"the task was {was} and then {became}", (one.id, before, after))
        elif len(states) > 1:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("unproven", "the task's state was seen less than twice", (one.id,))


def _turned_back(protocol: AsyncProtocol, old: str, new: str) -> bool:
    before, after = _rank(protocol, old), _rank(protocol, new)
    return before is not None and after is not None and (after < before or (before == after == 2 and old != new))


def _end(protocol: AsyncProtocol, one: SeenExchange) -> tuple[SeenExchange, AsyncTask] | None:
    """The first poll that says that the task is over, with what it says."""
    for poll in one.polls:
        task = poll.answer.task if poll.accepted and poll.answer is not None else None
        if task is not None and told(protocol, task).over:
            return poll, task
    return None


@rule("async.terminal", level="should", clause=_CLAUSE, applies=_submits, asks=submission)
def terminal(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A task ends, completed or failed, within the documented time."""
    protocol = _protocol(scope)
    for one, _ in _accepted(scope, seen):
        end = _end(protocol, one)
        heard = [poll for poll in one.polls if poll.accepted and poll.answer and poll.answer.task and _word(poll.answer.task)]
        if end is not None:
            yield Observation("pass", exchanges=(one.id, end[0].id))
        elif not heard:
            yield Observation("unproven", one.waiting or "no poll named a state", (one.id,))
        else:
            yield _unended(protocol, one, heard[-1])


def _unended(protocol: AsyncProtocol, one: SeenExchange, last: SeenExchange) -> Observation:
    state = _word(last.answer.task) if last.answer and last.answer.task else None
    took_s, ids = last.exchange.done_s - one.exchange.done_s, (one.id, last.id)
    if took_s < _WHOLE_TIME * protocol.timeout_s:
        return Observation("unproven", f"the task was followed for {took_s:.1f} s and was {str(state)[:40]} at last", ids)
    return Observation("broken", f"the task was still {str(state)[:40]} after {took_s:.1f} s; documented are {protocol.timeout_s:g} s", ids)


@rule("async.result", level="should", clause=_CLAUSE, applies=_submits, asks=submission)
def result(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A completed task returns what the request would have returned at once, in the same shape.

    A task that fails breaks it where the same request is carried out at once.
    """
    protocol = _protocol(scope)
    for one, _ in _accepted(scope, seen):
        end = _end(protocol, one)
        if end is None:
            yield Observation("unproven", one.waiting or "the task did not end", (one.id,))
            continue
        poll, task = end
        ids = (one.id, poll.id)
        if told(protocol, task).phase is not Phase.COMPLETED:
            yield _failed(scope, one, task, ids)
            continue
        problem = _brought(scope, one) if _always(scope) else _shape(scope, task.result)
        if problem == _NOT_FETCHED:
            yield Observation("unproven", problem[1], ids)
            continue
        if problem is None:
            yield Observation("pass", exchanges=ids)
        else:
            yield Observation("broken", problem[1], ids, protocol.result + problem[0])


def _failed(scope: Scope, one: SeenExchange, task: AsyncTask, ids: tuple[str, str]) -> Observation:
    said = task.error if isinstance(task.error, str) else at(task.error, "/message")
    detail = "the task failed" + (f" ({said[:120]})" if isinstance(said, str) else "")
    if _always(scope):
        if one.case.expects == "accept" and told(_protocol(scope), task).phase is Phase.FAILED:
            return Observation("broken", f"{detail} although the contract allows its request", ids)
        return Observation("unproven", detail, ids)
    if one.base_accepted and one.case.expects == "accept":
        return Observation("broken", f"{detail} although the same request is carried out at once", ids)
    return Observation("unproven", detail, ids)


_NOT_FETCHED = ("", "the result lies where it was not asked for")


def _brought(scope: Scope, one: SeenExchange) -> tuple[str, str] | None:
    """Why a completed task brought no picture; None when it did. Such a task has no answer at once to be compared with."""
    if any(picture.picture.carried or picture.picture.url or picture.picture.data for picture in one.pictures):
        return None
    protocol = _protocol(scope)
    if protocol.result_url is not None and not any(poll.exchange.operation == scope.operation_id for poll in one.polls):
        return _NOT_FETCHED
    return "", "the task is completed and brought no picture"


def _shape(scope: Scope, value: object) -> tuple[str, str] | None:
    """Place and sentence of the first thing in which a result is not the body of a 200; None when it is one."""
    if not isinstance(value, dict):
        return "", "the completed task has no result" if value is None else "the completed task's result is no object"
    found = judge_response(
        scope.provider, scope.operation_id, status=200, headers=(("content-type", "application/json"),), body=json_bytes(value)
    )
    hard = next((problem for problem in found if not problem.null_for_optional), None)
    if hard is not None:
        return hard.place, f"in the result, {hard.place or 'the body'} {hard.message}"
    holder = (scope.profile.response.pictures or "").partition("/*")[0]
    if holder and at(value, holder) is None:
        return holder, f"the result has no {holder}, where the answer at once has its pictures"
    return None


@rule("async.repeatable-submit", level="should", clause=_CLAUSE, applies=_submits_repeatably, asks=_submission_pair)
def repeatable_submit(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A submission repeated under the same idempotency key leads to the same task.

    A refusal of the second one (409) is only noted: nothing is done or paid twice, but the reference is not told again.
    """
    protocol = _protocol(scope)
    groups: dict[str, list[SeenExchange]] = {}
    for one in seen:
        key = protocol.idempotency_key(one.exchange.request.headers)
        if one.sent_by_check and key is not None:
            groups.setdefault(key, []).append(one)
    for first, *others in groups.values():
        before = _reference(first)
        for other in others:
            ids = (first.id, other.id)
            after = _reference(other)
            if before is not None and other.status == 409:
                yield Observation("note", "the same submission was refused with status 409", ids)
            elif before is None or after is None:
                shown = first if before is None else other
                yield Observation("unproven", f"{shown.case.change}: {shown.out_of_reach or f'status {shown.status}, no reference'}", ids)
            elif before == after:
                yield Observation("pass", exchanges=ids)
            else:
                yield Observation("broken", f"one submission led to two tasks: {before[:50]} and {after[:50]}", ids)


def _reference(one: SeenExchange) -> str | None:
    task = one.answer.task if one.accepted and one.answer is not None else None
    return task.reference or None if task is not None else None


# ── references of tasks that nobody submitted ─────────────────────────────────────────────────────────────────────────


UNKNOWN_TASK = "async.unknown-task"


def _polls(scope: Scope) -> bool:
    protocol = scope.provider.protocol(scope.operation_id)
    return protocol is not None and scope.operation_id == protocol.operation


def _strangers(scope: Scope) -> Iterator[Probe]:
    yield from probes.unknown_task(scope)
    yield from probes.malformed_tasks(scope)


@rule(UNKNOWN_TASK, level="should", clause=http_clause("15.5.5 404 Not Found"), applies=_polls, asks=_strangers)
def unknown_task(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """A poll of a task that nobody submitted is answered with 404.

    Another refusal is only noted: a server may see by its form that a reference is not its own. Of references that look like no
    server's, any refusal is right; that none of them leads to a 5xx is judged by http.no-server-error.
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


CANCEL = "async.cancel"


def _cancels(scope: Scope) -> bool:
    protocol = scope.provider.protocol(scope.operation_id)
    return protocol is not None and protocol.cancel is not None and scope.operation_id == protocol.cancel.operation


@rule(CANCEL, level="info", clause=http_clause("15.5.5 404 Not Found"), applies=_cancels, asks=probes.unknown_cancellation)
def cancel(scope: Scope, seen: Sequence[SeenExchange]) -> Iterable[Observation]:
    """Calling off a task that nobody submitted is refused, so that who mistakes a reference hears of it.

    Judged where the document has an operation that calls tasks off. No task of the check is called off: whether one still can be
    depends on how fast the server works.
    """
    for one in seen:
        if not one.sent_by_check or one.case.expects != "refuse" or CANCEL not in one.case.rules:
            continue
        if one.out_of_reach is not None or one.status in (401, 403):
            yield Observation("unproven", one.out_of_reach or f"status {one.status}", (one.id,))
        elif one.refused:
            yield Observation("pass", exchanges=(one.id,))
        else:
            yield Observation("broken", f"{one.case.change} was answered with status {one.status}", (one.id,))


RULES = (
    accepted,
    reference,
    forward,
    terminal,
    result,
    repeatable_submit,
    unknown_task,
    cancel,
)
