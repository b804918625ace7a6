"""At which line of the OpenAPI file a finding is to be shown: at the property or schema that broke, else at the operation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from testcard.harness.rules.evidence import Observation, SeenExchange
from testcard.harness.rules.schema_judge import located
from testcard.specs.openapi import Operation
from testcard.specs.pointers import parts_of
from testcard.specs.yaml_lines import Pointer

_BRANCHES = ("oneOf", "anyOf", "allOf")


def line_of(operation: Operation, observation: Observation, one: SeenExchange | None, *, result: str | None = None) -> int:
    """The line for one observation; `one` is the exchange that it is about, as far as there is one.

    A place is a pointer into the file, into the request (where the exchange was made to break there), or into the answer, or
    names a header of it. `result` is where a task's state keeps what the operation itself would have answered.
    """
    if observation.line is not None:
        return observation.line
    place = observation.place
    if place and result and place.startswith(result + "/"):
        place = place.removeprefix(result)
    parts = parts_of(place or "")
    if place and parts:
        for pointer in _candidates(operation, parts, place, one):
            return located(operation.document, pointer)[1]
    return operation.line()


def _candidates(operation: Operation, parts: Sequence[str], place: str, one: SeenExchange | None) -> Iterator[Pointer]:
    if place.startswith("header:"):
        yield from _header(operation, place.removeprefix("header:"), one)
        return
    if parts[0] in ("paths", "components"):
        if _node(operation, tuple(parts)) is not None:
            yield tuple(parts)
        return
    asked = list(_schemas(operation, ("requestBody",)))
    answered = [schema for status in _statuses(operation, one) for schema in _schemas(operation, ("responses", status))]
    sent_so = one is not None and one.case.place == place
    for schema in [*asked, *answered] if sent_so else [*answered, *asked]:
        found = _below(operation, schema, parts)
        if found is not None:
            yield found


def _header(operation: Operation, name: str, one: SeenExchange | None) -> Iterator[Pointer]:
    """Where the answer's headers are described; of its content type, where the media types are."""
    for status in _statuses(operation, one)[:1]:
        response = (*operation.pointer, "responses", status)
        documented = _node(operation, (*response, "headers")) or {}
        yield from ((*response, "headers", each) for each in documented if each.lower() == name.lower())
        if name.lower() == "content-type" and _node(operation, (*response, "content")):
            yield (*response, "content")


def _statuses(operation: Operation, one: SeenExchange | None) -> list[str]:
    """The documented entries for the answer's status; then 200, whose body the result of a task has."""
    status = one.status if one is not None else None
    keys = [str(status), f"{status // 100}XX", "default"] if status is not None else []
    return [key for key in dict.fromkeys([*keys, "200"]) if key in operation.responses]


def _schemas(operation: Operation, below: tuple[str, ...]) -> Iterator[Pointer]:
    content = _node(operation, (*operation.pointer, *below, "content"))
    for media_type in content if isinstance(content, dict) else ():
        yield (*operation.pointer, *below, "content", media_type, "schema")


def _below(operation: Operation, schema: Pointer, parts: Sequence[str]) -> Pointer | None:
    """Where the schema says what stands at a place of its value; None where it says nothing about the whole of it."""
    if not parts:
        return schema
    node = _node(operation, schema)
    if not isinstance(node, dict):
        return None
    first, rest = parts[0], parts[1:]
    if first in node.get("properties", {}):
        return _below(operation, (*schema, "properties", first), rest)
    if (first == "*" or first.isdigit()) and "items" in node:
        return _below(operation, (*schema, "items"), rest)
    branches = ((*schema, word, index) for word in _BRANCHES for index in range(len(node.get(word, ()))))
    return next((found for branch in branches if (found := _below(operation, branch, parts)) is not None), None)


def _node(operation: Operation, pointer: Pointer) -> Any:
    """What stands at the pointer, references followed; None where nothing does."""
    node: Any = operation.document.raw
    for part in pointer:
        node = operation.document.deref(node)
        if isinstance(node, list):
            node = node[int(part)] if str(part).isdigit() and int(part) < len(node) else None
        else:
            node = node.get(part) if isinstance(node, dict) else None
        if node is None:
            return None
    return operation.document.deref(node)
