"""Requests for what the documents state and no combination of values shows: bounds of n, fields that a model may not know, the barest request.

Every other documented value is in one of the combinations that the schema cases choose (`harness.check.schema_domain`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from testcard.harness.rules import probes
from testcard.harness.rules.asked import task_value
from testcard.harness.rules.inputs import edit_mask
from testcard.harness.rules.rule import Probe
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.model import TaskRequest
from testcard.specs.profile import Task, WireField

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
