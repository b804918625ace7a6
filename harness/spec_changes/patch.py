"""Changes written into the text of a YAML or JSON document, so that everything around them stays as its author wrote it.

A document is never written anew from its data: that would lose comments, order and style, and drown what was changed. Values that are
put in are JSON on one line, which is YAML as well.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from testcard.specs.reading import Pointer

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Put:
    """A key that a mapping gets, in place of a value that it has."""

    at: Pointer
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class Append:
    """A value that a list gets, as its last."""

    at: Pointer
    value: Any


@dataclass(frozen=True, slots=True)
class Remove:
    """A value that a list loses; with its last one, the mapping around loses the list."""

    at: Pointer
    value: Any


Edit = Put | Append | Remove


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made, one after the other. `LookupError` where an edit's place is not there."""
    for edit in edits:
        text = _edited(text, edit)
    return text


def unified(before: str, after: str, name: str) -> str:
    """What changed as a unified diff that `patch -p1` and `git apply` take; "" for nothing."""
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _edited(text: str, edit: Edit) -> str:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
    finally:
        loader.dispose()
    node = _at(root, edit.at)
    if isinstance(edit, Put):
        return _put(text, node, edit.key, edit.value)
    if isinstance(edit, Append):
        return _appended(text, node, edit.value)
    return _removed(text, root, node, edit)


def _at(node: Any, pointer: Pointer) -> Any:
    for key in pointer:
        if isinstance(node, yaml.SequenceNode):
            node = node.value[int(key)]
        else:
            node = next((value for name, value in getattr(node, "value", ()) if name.value == str(key)), None)
        if node is None:
            raise LookupError(key)
    return node


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _plain(value: Any) -> str:
    """A value as YAML has it on one line; plain words without quotes."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_plain(str(key))}: {_plain(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_plain, value)) + "]"
    if (
        isinstance(value, str)
        and value.replace("_", "").replace("-", "").isalpha()
        and value.isascii()
        and value not in _WORDS
        and not value.startswith("-")
    ):
        return value
    return _json(value)


_WORDS = (
    "null",
    "Null",
    "NULL",
    "true",
    "True",
    "TRUE",
    "false",
    "False",
    "FALSE",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "Yes",
    "No",
    "On",
    "Off",
)


def _spelt(text: str, value: Any) -> str:
    return _json(value) if text.lstrip().startswith("{") else _plain(value)


def _end(node: Any) -> int:
    """Where the text of a node ends: of one in block style, where its last value does."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _put(text: str, node: Any, key: str, value: Any) -> str:
    if not isinstance(node, yaml.MappingNode):
        raise LookupError(key)
    for name, there in node.value:
        if name.value == key:
            return text[: there.start_mark.index] + _spelt(text, value) + text[_end(there) :]
    entry = f"{_spelt(text, key)}: {_spelt(text, value)}"
    if not node.value:
        return text[: node.start_mark.index] + "{" + entry + "}" + text[node.end_mark.index :]
    if node.flow_style:
        return _after(text, node, entry)
    return _line_after(text, node, node.value[0][0].start_mark.column, entry)


def _appended(text: str, node: Any, value: Any) -> str:
    if not isinstance(node, yaml.SequenceNode):
        raise LookupError(value)
    if not node.value:
        return text[: node.start_mark.index] + f"[{_spelt(text, value)}]" + text[node.end_mark.index :]
    if node.flow_style:
        return _after(text, node, _spelt(text, value))
    dash = text.rindex("-", 0, node.value[0].start_mark.index)
    return _line_after(text, node, dash - (text.rfind("\n", 0, dash) + 1), f"- {_spelt(text, value)}")


def _after(text: str, node: Any, entry: str) -> str:
    """The entry behind the last one of a list or mapping in flow style; on a line of its own where that one is."""
    last = node.value[-1]
    first = last[0] if isinstance(last, tuple) else last
    end = _end(last[1] if isinstance(last, tuple) else last)
    before = text[text.rfind("\n", 0, first.start_mark.index) + 1 : first.start_mark.index]
    own_line = not before.strip() and "\n" in text[node.start_mark.index : end]
    return text[:end] + (",\n" + before if own_line else ", ") + entry + text[end:]


def _line_after(text: str, node: Any, indent: int, entry: str) -> str:
    """The entry on a line of its own behind the last line of a list or mapping in block style."""
    end = _end(node)
    if text[end - 1 : end] == "\n":  # a block of text ends with its line
        return text[:end] + " " * indent + entry + "\n" + text[end:]
    stop = text.find("\n", end)
    stop = len(text) if stop < 0 else stop
    return text[:stop] + "\n" + " " * indent + entry + text[stop:]


def _removed(text: str, root: Any, node: Any, edit: Remove) -> str:
    index = next((place for place, one in enumerate(node.value) if getattr(one, "value", None) == str(edit.value)), None)
    if index is None:
        raise LookupError(edit.value)
    if len(node.value) == 1:
        owner = _at(root, edit.at[:-1])
        place = next(place for place, (name, _) in enumerate(owner.value) if name.value == str(edit.at[-1]))
        spans = [(name.start_mark.index, _end(value)) for name, value in owner.value]
        return _without(text, spans, place, flow=bool(owner.flow_style), opening=owner.start_mark.index)
    spans = [(one.start_mark.index, _end(one)) for one in node.value]
    if not node.flow_style:
        spans = [(text.rindex("-", 0, start), end) for start, end in spans]
    return _without(text, spans, index, flow=bool(node.flow_style), opening=node.start_mark.index)


def _without(text: str, spans: Sequence[tuple[int, int]], place: int, *, flow: bool, opening: int) -> str:
    """The text without one entry of a list or mapping, and without the comma or the line that was its."""
    start, end = spans[place]
    if flow:
        if place:
            return text[: spans[place - 1][1]] + text[end:]
        return text[:start] + (text[spans[1][0] :] if len(spans) > 1 else text[end:])
    if place + 1 < len(spans):
        return text[:start] + text[spans[place + 1][0] :]
    if place:  # whole lines, from the line behind the entry before
        first = text.rfind("\n", 0, start) + 1
        stop = text.find("\n", end)
        return text[:first] + ("" if stop < 0 else text[stop + 1 :])
    return text[:start] + "{}" + text[end:]
