"""Lies about work that is accepted now and fetched later."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from testcard.mocks.exchange import Answer, Call, Problem
from testcard.mocks.faults.register import RELAY_PICTURES, TASK, fault

#: the submission says that it lies and the polls do
_FOLLOWED = (*RELAY_PICTURES, *TASK)
_KEPT = 10_000
_looks: OrderedDict[str, int] = OrderedDict()


def _look(call: Call) -> int:
    """How often the task was asked for, this time included."""
    reference = next(iter(call.path.values()))
    _looks[reference] = _looks.pop(reference, 0) + 1
    while len(_looks) > _KEPT:
        _looks.popitem(last=False)
    return _looks[reference]


def _is_poll(call: Call) -> bool:
    return (call.provider, call.operation) in TASK


@fault("problems", "async.accepted", RELAY_PICTURES)
def _carried_out_at_once(call: Call, problems: list[Problem]) -> list[Problem]:
    """Carries a request out at once although it is to be fetched later."""
    if isinstance(call.fields, dict):
        call.fields.pop("async", None)
    return problems


@fault("answer", "async.accepted/200", RELAY_PICTURES)
def _accepted_with_200(call: Call, answer: Answer) -> Answer:
    """Accepts a task with 200 where the documents say 202."""
    if answer.status == 202:
        answer.status = 200
    return answer


@fault("problems", "async.accepted/unasked", RELAY_PICTURES)
def _accepted_unasked(call: Call, problems: list[Problem]) -> list[Problem]:
    """Makes a task of every request, whether it asks for one or not."""
    if isinstance(call.fields, dict):
        call.fields["async"] = True
    return problems


@fault("answer", "async.reference", RELAY_PICTURES)
def _no_reference(call: Call, answer: Answer) -> Answer:
    """Accepts a task without telling its reference; only the address to ask at is there."""
    if answer.status == 202 and isinstance(answer.json, dict):
        answer.json = {name: value for name, value in answer.json.items() if name not in ("task_id", "task_address")}
    return answer


@fault("body", "async.forward", _FOLLOWED)
def _back_to_the_queue(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Says that a task runs, then that it is queued, and then the truth."""
    look = _look(call) if _is_poll(call) else 3
    if look > 2:
        return body
    return {**{name: value for name, value in body.items() if name not in ("result", "error")}, "status": ("running", "queued")[look - 1]}


@fault("body", "async.forward/after-end", _FOLLOWED)
def _runs_again(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Says that a completed task runs again, when it is asked for once more."""
    if not _is_poll(call) or body.get("status") != "completed" or _look(call) == 1:
        return body
    return {**{name: value for name, value in body.items() if name != "result"}, "status": "running"}


@fault("body", "async.terminal", _FOLLOWED)
def _never_ends(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Says for ever that the task runs."""
    if not _is_poll(call):
        return body
    return {**{name: value for name, value in body.items() if name not in ("result", "error")}, "status": "running"}


def _with_result(call: Call, body: dict[str, Any], result: Any) -> dict[str, Any]:
    return {**body, "result": result} if _is_poll(call) and body.get("status") == "completed" else body


@fault("body", "async.result", _FOLLOWED, also=("image.count",))
def _result_in_another_shape(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Wraps a task's result, so that it has not the shape of the answer at once."""
    return _with_result(call, body, {"output": body.get("result")})


@fault("body", "async.result/missing", _FOLLOWED, also=("image.count",))
def _no_result(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Says that a task is completed and leaves its result out."""
    return _with_result(call, body, None)


@fault("body", "async.result/failed", _FOLLOWED)
def _every_task_fails(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Lets every task fail whose request is carried out when it does not wait."""
    if not _is_poll(call) or body.get("status") != "completed":
        return body
    return {**{name: value for name, value in body.items() if name != "result"}, "status": "failed", "error": "the worker was lost"}


@fault("parameters", "async.repeatable-submit", RELAY_PICTURES)
def _every_submission_anew(call: Call, parameters: Any) -> Any:
    """Makes a new task of every submission, whatever its idempotency key."""
    call.headers = {name: value for name, value in call.headers.items() if name != "idempotency-key"}
    return parameters


@fault("answer", "async.unknown-task", TASK)
def _unknown_task_queued(call: Call, answer: Answer) -> Answer:
    """Says of a task that nobody submitted that it is queued."""
    return _told(call, answer, {"status": "queued"})


@fault("answer", "async.unknown-task/failed", TASK)
def _unknown_task_failed(call: Call, answer: Answer) -> Answer:
    """Says with 200 of a task that nobody submitted that it failed."""
    return _told(call, answer, {"status": "failed", "error": "there is no such task"})


def _told(call: Call, answer: Answer, state: dict[str, str]) -> Answer:
    if answer.status != 404:
        return answer
    return Answer(200, {"task_id": next(iter(call.path.values())), "elapsed_seconds": 0.0, **state})
