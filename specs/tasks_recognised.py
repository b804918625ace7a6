"""What a document says of work that is fetched later: the operation that is asked, the task's reference, its states in the provider's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from testcard.specs.openapi import Operation
from testcard.specs.recognition import answer_schema, bare, field_data, leaves, picture_places, written
from testcard.specs.schemas import Schema, type_of

Data = dict[str, Any]
_ERRORS = ("failurereason", "error", "errormessage", "taskstatusmsg", "failuremessage", "statusmessage", "reason")
_REFERENCES = ("taskid", "requestid", "generationid", "jobid", "predictionid", "id", "uuid", "reference", "taskaddress")
_POLL_URLS = ("pollingurl", "pollurl", "statusurl")
_POLL_HEADERS = ("operationlocation", "location", "azureasyncoperation", "contentlocation")
_RESULT_URLS = ("responseurl", "resulturl")
_STATES = ("status", "state", "taskstatus", "phase")
#: Flags that say that a task is over, and those that say that it came to nothing.
_DONE = ("done", "isdone", "completed", "iscompleted", "finished", "isfinished", "ready", "isready", "complete", "iscomplete")
_FAULTED = ("faulted", "failed", "isfailed", "haserror")
#: How a description calls what a task is asked for by, whatever its name is.
_REFERENCE_TOLD = re.compile(
    r"^(?:the |a |unique )*(?:task|job|request|generation|prediction)(?:'s)?[ _-]?(?:id|uuid|identifier)\b|\bid of the (?:task|job)", re.I
)
#: Words for how far a task is. They are looked for in this order, as whole words or the beginnings of some.
_PHASES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("moderated", re.compile(r"moderat|nsfw|safety|blocked|flagged|content_filter", re.I)),
    ("cancelled", re.compile(r"cancel|abort", re.I)),
    ("failed", re.compile(r"fail|error|timeout|expired|not.?found|rejected", re.I)),
    ("completed", re.compile(r"complete|succe|ready|done|finish|^ok$", re.I)),
    ("running", re.compile(r"run|process|progress|start|generat|working|dreaming", re.I)),
    ("queued", re.compile(r"queue|pend|wait|creat|submit|schedul|accept|init|new", re.I)),
)


def phase_of(word: str) -> str | None:
    """The phase that a provider's word for a task's state stands for; None for a word that says nothing to us."""
    return next((phase for phase, pattern in _PHASES if pattern.search(word)), None)


def states_of(words: Iterable[str]) -> dict[str, list[str]]:
    """A provider's words by the phase that each stands for."""
    found: dict[str, list[str]] = {}
    for word in words:
        phase = phase_of(word)
        if phase is not None:
            found.setdefault(phase, []).append(word)
    return found


def polls(operation: Operation) -> bool:
    """Whether an operation asks how a task is doing: a GET with one reference of a task."""
    return operation.method == "GET" and _reference_parameter(operation) is not None


def _reference_parameter(operation: Operation) -> str | None:
    parameters = {**operation.path_parameters, **operation.query_parameters}
    known = [name for name, schema in parameters.items() if field_data(name, schema, location="path")["means"] == "task_id"]
    if known:
        return known[0]
    paths = list(operation.path_parameters)
    return paths[0] if len(paths) == 1 and re.search(r"task|job|generation|request|prediction|id$", paths[0], re.I) else None


def gives_reference(submit: Operation) -> bool:
    """Whether an operation's answer holds what a task can be asked for by."""
    places = [(place, one) for place, one in leaves(answer_schema(submit) or {}) if place and "*" not in place]
    return _reference(places) is not None or _first(places, _POLL_URLS) is not None or poll_header(submit) is not None


def _reference(places: list[tuple[tuple[str, ...], Any]]) -> tuple[str, ...] | None:
    """The place of what a task is asked for by: one that is named so, else one whose description says so."""
    told = (place for place, one in places if type_of(one) == "string" and _REFERENCE_TOLD.search(str(one.get("description", ""))))
    return _first(places, _REFERENCES) or next(told, None)


def poll_header(submit: Operation) -> str | None:
    """The place of the header in which an operation's success says where to ask for a task; None where it documents none."""
    headers = [str(name) for status in submit.success_statuses for name in (submit.responses.get(str(status)) or {}).get("headers") or ()]
    return next((f"header:{name.lower()}" for name in headers if bare(name) in _POLL_HEADERS), None)


def task_data(submit: Operation, others: Sequence[Operation]) -> Data | None:
    """The async protocol of an operation whose answer holds no picture but a task's reference; None where it has none.

    `others` are the operations among which the one that is polled is looked for.
    """
    schema = answer_schema(submit) or {}
    places = [(place, one) for place, one in leaves(schema) if place and "*" not in place and type_of(one) in ("string", None, "integer")]
    reference = _reference(places)
    told, result_url = _first(places, _POLL_URLS), _first(places, _RESULT_URLS)
    poll_url = written(told) if told is not None else poll_header(submit)
    if reference is None and poll_url is None:
        return None
    status = list(submit.success_statuses)
    found: Data = {"status": status}
    if reference is not None:
        found["task_reference"] = [written(reference)]
    poll = _poll(submit, others)
    if poll is None and poll_url is None:
        return None
    if poll is not None:
        found |= {"operation": poll.id, "parameter": _reference_parameter(poll)}
        answer = answer_schema(poll) or {}
        state = _state(answer)
        if state is not None:
            found["state"], found["states"] = state
        progress = _first([(place, one) for place, one in leaves(answer) if place and "*" not in place], ("progress",))
        if progress is not None:
            found["progress"] = written(progress)
        texts = [(place, one) for place, one in leaves(answer) if place and "*" not in place and type_of(one) == "string"]
        error = _first(texts, _ERRORS)
        if state is not None and True in state[1].get("completed", ()):
            # A flag does not say how a task ended: what stands at an error's place does.
            inner = [
                (place, one)
                for place, one in leaves(answer)
                if place and "*" not in place and type_of(one) in ("object", "boolean", "string")
            ]
            error = _first(inner, _FAULTED) or _first(inner, _ERRORS)
        if error is not None:
            found["error"] = written(error)
    if poll_url is not None:
        found["poll_url"] = poll_url
        if poll is None:
            found["poll_by"] = "address"
    if result_url is not None:
        found["result_url"] = written(result_url)
    result = _result(poll, others) if poll is not None else None
    if result is not None:
        found["result_from"] = {"operation": result.id, "parameter": _reference_parameter(result)}
    cancel = next((one for one in others if cancels(one)), None)
    if cancel is not None:
        found["cancel"] = {"operation": cancel.id, "parameter": _reference_parameter(cancel)}
    return found


def cancels(operation: Operation) -> bool:
    """Whether an operation calls a task off: no GET, with the task's reference, and named so."""
    words = f"{operation.path} {operation.id}"
    if operation.method == "DELETE":
        words += f" {operation.raw.get('summary', '')} {operation.raw.get('description', '')}"
    named = re.search(r"cancel|abort", words, re.I) is not None
    return named and operation.method != "GET" and not operation.properties and _reference_parameter(operation) is not None


def submits(submit: Operation, others: Iterable[Operation]) -> bool:
    """Whether an operation whose answer has places for pictures gives a task all the same: its answer says how far that is, and another
    operation is there to ask."""
    answer = answer_schema(submit) or {}
    return _state(answer) is not None and gives_reference(submit) and _poll(submit, others) is not None


def _poll(submit: Operation, others: Iterable[Operation]) -> Operation | None:
    """The operation that tells how far a task is: of those that take its reference, one that names a state, nearest by its path."""
    known = [one for one in others if polls(one)]

    def distance(one: Operation) -> tuple[bool, int]:
        shared = sum(1 for here, there in zip(one.path.split("/"), submit.path.split("/"), strict=False) if here == there)
        return _state(answer_schema(one) or {}) is None, -shared

    return min(known, key=distance, default=None)


def _result(poll: Operation, others: Iterable[Operation]) -> Operation | None:
    """The operation that gives a finished task's pictures, where the one that is polled has none."""
    if result_pictures(poll) or _untyped(answer_schema(poll) or {}):
        return None
    return next((one for one in others if one.id != poll.id and polls(one) and result_pictures(one)), None)


def _untyped(answer: Any) -> bool:
    """Whether an answer has a place of which nothing is said, where pictures may be."""
    return any(place and bare(place[-1]) in ("result", "output", "data") and not one.keys() & _SAYING for place, one in leaves(answer))


_SAYING = {"type", "properties", "items", "enum", "$ref", "anyOf", "oneOf", "allOf"}


def _first(places: list[tuple[tuple[str, ...], Any]], names: tuple[str, ...]) -> tuple[str, ...] | None:
    for name in names:
        for place, _ in sorted(places, key=lambda entry: len(entry[0])):
            if bare(place[-1]) == name:
                return place
    return None


def _state(answer: Any) -> tuple[str, dict[str, list[Any]]] | None:
    by_place: dict[str, list[str]] = {}
    for place, one in state_places(answer):
        listed = [one["const"]] if "const" in one else one.get("enum") or ()
        words = [word for word in listed if isinstance(word, str)] or _words_told(one)
        by_place.setdefault(written(place), []).extend(words)  # each alternative may have its own word
    for at, words in by_place.items():
        states = states_of(dict.fromkeys(words))
        if "completed" in states:
            return at, dict(states)
    flags = [(place, one) for place, one in leaves(answer) if place and "*" not in place and type_of(one) == "boolean"]
    done = _first(flags, _DONE)
    return (written(done), {"completed": [True], "running": [False]}) if done is not None else None


def state_places(answer: Any) -> list[tuple[tuple[str, ...], Schema]]:
    """The places of an answer that are named as if they say how far a task is, each with its schema; the outermost first."""
    found = [(place, one) for place, one in leaves(answer) if place and "*" not in place and bare(place[-1]) in _STATES]
    return sorted(found, key=lambda entry: len(entry[0]))


def _words_told(schema: Any) -> list[str]:
    """The words for states that a description sets apart, by quotes or as one of a list."""
    said = str(schema.get("description", ""))
    quoted = re.findall(r"[`'\"]([A-Za-z][A-Za-z_-]*)[`'\"]", said)
    listed = [word for word in re.findall(r"[A-Za-z][A-Za-z_]+", said) if phase_of(word) is not None] if "," in said or "|" in said else []
    return list(dict.fromkeys(quoted or listed))


def result_pictures(poll: Operation) -> Data:
    """Where the answer of a finished task keeps its pictures."""
    return picture_places(answer_schema(poll) or {})
