"""The safe domain of an operation: for each thing a request can choose, the values that the contract promises to accept.

A *factor* is one such choice (`size`, `seed`, width and height together, the pictures sent along); its *levels* are what
can be chosen, in the task's own terms. Generators only ever combine levels, so junk cannot appear where a prompt, a model
or a picture belongs. Left out on purpose: asynchronous submission (a sequence of its own), more than one picture back
(n stays 1), and values that the profile lists as may-refuse.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from testcard.harness.rules.scope import PROMPTS, Scope
from testcard.harness.rules.sent_pictures import input_mask, input_picture
from testcard.harness.wire.fields import WireFields, pixel_size, wire_fields
from testcard.harness.wire.model import TaskRequest
from testcard.specs.profile import Task, WireField

_TERMS = {field.name for field in fields(TaskRequest)}
_OWN = {"prompt", "messages", "image", "mask", "async", "task_id", "n", "model", "size", "width", "height", "mode"}
#: Ordinary values for documented fields whose values the document leaves open.
_ORDINARY: Mapping[str, Any] = {"user": "testcard", "negative_prompt": "fog", "guidance": 5, "temperature": 0}
_MAX_PICTURES = 4
_MOST_LEVELS = 12

Row = dict[str, int]


@dataclass(frozen=True, slots=True)
class FieldChoice:
    """One choice of a factor: `terms` replace those of the base request (`extra` is merged), `label` says it in words."""

    label: str
    terms: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Factor:
    """One thing a request can choose. `without`: the terms of a request that leaves it out (None: it is always sent)."""

    name: str
    levels: tuple[FieldChoice, ...]
    without: Mapping[str, Any] | None


@dataclass(frozen=True)
class Domain:
    """One task of one operation: its base request, the barest one, and the factors that vary it."""

    scope: Scope
    task: Task
    base: TaskRequest
    factors: tuple[Factor, ...]

    def request(self, row: Row, prompt: int = 0) -> TaskRequest:
        """The request that chooses these levels; factors that the row lacks are left out where they can be. `prompt` counts on from the base's."""
        terms: dict[str, Any] = {}
        extra: dict[str, Any] = dict(self.base.extra)
        for factor in self.factors:
            chosen = factor.levels[row[factor.name]].terms if factor.name in row else factor.without
            for term, value in (chosen or {}).items():
                if term == "extra":
                    extra.update(value)
                else:
                    terms[term] = value
        if prompt and self.base.prompt in PROMPTS:
            terms["prompt"] = PROMPTS[(PROMPTS.index(self.base.prompt) + prompt) % len(PROMPTS)]
            if "messages" in extra:
                return replace(self.base, **{key: value for key, value in terms.items() if key != "prompt"}, extra=extra)
        return replace(self.base, **terms, extra=extra)

    def label(self, row: Row) -> str:
        """The row in words: `size 512x512, seed 42`."""
        return ", ".join(factor.levels[row[factor.name]].label for factor in self.factors if factor.name in row) or "nothing optional"

    def narrowed(self) -> dict[str, Any]:
        """The domain as a JSON Schema of its own: a property per factor, an enum of its levels. Its values are rows."""
        properties = {factor.name: {"type": "integer", "enum": list(range(len(factor.levels)))} for factor in self.factors}
        required = [factor.name for factor in self.factors if factor.without is None]
        return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}

    def smallest_row(self) -> Row:
        """The row that leaves out all it can and otherwise takes first levels."""
        return {factor.name: 0 for factor in self.factors if factor.without is None}

    def shown(self) -> set[tuple[str, int]]:
        """The levels that the base request shows, as pairs of a factor's name and the level's number."""
        return {
            (factor.name, number)
            for factor in self.factors
            for number, level in enumerate(factor.levels)
            if all(value == (self.base.extra if term == "extra" else getattr(self.base, term)) for term, value in level.terms.items())
        }

    def fields(self, request: TaskRequest) -> WireFields:
        """The request in wire names."""
        return wire_fields(self.scope.provider, request, self.scope.operation_id)

    def barest(self) -> TaskRequest:
        """What the schema and the task require and nothing else (a chat keeps its token limit, which bounds what it costs)."""
        kept = {"task", "prompt", "images", "extra"} | ({"mask"} if self._needs("mask") else set())
        if self.scope.model is not None or self._required("model") or any(f.means == "model" for f in self.scope.profile.path.values()):
            kept.add("model")
        if self.scope.profile.kind == "chat":
            kept.add("max_tokens")
        for name in self.scope.operation.required:
            entry = self.scope.profile.fields.get(name)
            if entry is not None:
                kept |= {"size"} if entry.means in ("width", "height") else {entry.means}
        dropped: dict[str, Any] = dict.fromkeys(_TERMS - kept - {"images", "extra"})
        return replace(self.base, **dropped)

    def _needs(self, meaning: str) -> bool:
        return meaning in self.scope.profile.needs.get(self.task, ())

    def _required(self, meaning: str) -> bool:
        return any(entry.means == meaning for name, entry in self.scope.profile.fields.items() if name in self.scope.operation.required)


def domains(scope: Scope) -> list[Domain]:
    """The operation's domains, one a task. All factors vary in the first; in the others only what sets them apart, the pictures."""
    found = []
    for index, task in enumerate(scope.profile.tasks):
        base = scope.base_request(task)
        factors = list(_picture_factors(scope, task, base))
        if index == 0:
            factors = [*_field_factors(scope, base), *factors]
        found.append(Domain(scope, task, base, tuple(factors)))
    return found


def _field_factors(scope: Scope, base: TaskRequest) -> Iterator[Factor]:
    sizes = False
    for name, entry in scope.profile.fields.items():
        entry = scope.provider.field(scope.operation_id, name, base.model) or entry
        optional = name not in scope.operation.required
        if entry.means == "model":
            yield from _model_factor(scope, name, entry, base, optional)
        elif entry.means in ("size", "width", "height"):
            if not sizes:
                yield from _size_factor(scope, base)
            sizes = True
        elif entry.means == "mode":
            words = [word for word in scope.accepted_values(name, entry) if _word_of(entry, word) not in scope.profile.needs]
            levels = tuple(FieldChoice(f"{name} {_word_of(entry, word)}", {"extra": {name: _word_of(entry, word)}}) for word in words)
            yield from _factor(name, levels, {} if optional else None)
        elif entry.means == "messages":
            yield _turns(scope, name, base)
        elif entry.means not in _OWN:
            yield from _plain_factor(scope, name, entry, base, optional)


def _plain_factor(scope: Scope, name: str, entry: WireField, base: TaskRequest, optional: bool) -> Iterator[Factor]:
    values = scope.accepted_values(name, entry)
    if not values and not entry.may_refuse:
        default = scope.operation.properties.get(name, {}).get("default", _ORDINARY.get(entry.means))
        values = () if default is None else (default,)
    if entry.means not in _TERMS:
        levels = tuple(FieldChoice(f"{name} {_shown(value)}", {"extra": {name: entry.values.get(str(value), value)}}) for value in values)
        yield from _factor(name, levels, {} if optional else None)
        return
    cheap = getattr(base, entry.means)
    # A field whose cheapest value the base sends is always sent; the barest request is the one without it.
    always = not optional or (entry.cheapest is not None and cheap is not None)
    ordered = sorted(dict.fromkeys(values), key=lambda value: value != cheap)
    levels = tuple(FieldChoice(f"{name} {_shown(_word_of(entry, value))}", {entry.means: value}) for value in ordered)
    yield from _factor(name, levels, None if always else {entry.means: None})


def _model_factor(scope: Scope, name: str, entry: WireField, base: TaskRequest, optional: bool) -> Iterator[Factor]:
    """With a model named by the user there is nothing to choose: leaving it out would bill another."""
    if scope.model is not None or base.model is None:
        return
    models = dict.fromkeys((base.model, *(str(value) for value in scope.accepted_values(name, entry))))
    levels = tuple(FieldChoice(f"{name} {model}", {"model": model}) for model in models)
    yield from _factor(name, levels, {"model": None} if optional else None)


def _size_factor(scope: Scope, base: TaskRequest) -> Iterator[Factor]:
    """Sizes of a size field; or squares of width and height, which move together so that no odd shape is asked for."""
    sizes: list[Any] = []
    if scope.field("size") is not None:
        sizes = [pixel_size(value) or str(value) for value in scope.must_accept("size")]
    elif scope.field("width") is not None and scope.field("height") is not None:
        both = set(scope.must_accept("height"))
        sizes = [(value, value) for value in scope.must_accept("width") if value in both and isinstance(value, int)]
    ordered = sorted(dict.fromkeys(sizes), key=lambda size: size != base.size)
    levels = tuple(FieldChoice(f"size {_spelt(size)}", {"size": size}) for size in ordered)
    yield from _factor("size", levels, None if base.size is not None else {"size": None})


def _turns(scope: Scope, name: str, base: TaskRequest) -> Factor:
    """One question with a picture; the same after a system message; the same after an earlier answer."""
    asked = list(wire_fields(scope.provider, base, scope.operation_id).body[name])
    text = [{"type": "text", "text": "Answer briefly."}]
    earlier = [{"role": "user", "content": text}, {"role": "assistant", "content": [{"type": "text", "text": "I will."}]}]
    levels = (
        FieldChoice("one user message", {}),
        FieldChoice("a system message first", {"extra": {name: [{"role": "system", "content": text}, *asked]}}),
        FieldChoice("an earlier turn first", {"extra": {name: [*earlier, *asked]}}),
    )
    return Factor(name, levels, None)


def _picture_factors(scope: Scope, task: Task, base: TaskRequest) -> Iterator[Factor]:
    if not base.images or scope.profile.kind == "chat":
        return
    entries = [entry for entry in scope.profile.fields.values() if entry.means == "image"]
    room = _MAX_PICTURES if any(entry.many for entry in entries) else len(entries)
    if any(entry.many for entry in entries):
        room = 2
    levels = tuple(
        FieldChoice(f"{count} picture{'s' if count > 1 else ''}", {"images": (input_picture(),) * count}) for count in range(1, room + 1)
    )
    yield from _factor("pictures", levels, None)
    if base.mask is None and scope.profile.wire_name("mask") is not None and _mask_is_free(scope):
        yield Factor("mask", (FieldChoice("a mask", {"mask": input_mask()}),), {"mask": None})


def _mask_is_free(scope: Scope) -> bool:
    """Whether sending a mask changes nothing else: where a mode field tells inpainting apart, it is that mode's own matter."""
    found = scope.field("mode")
    return found is None or not any("mask" in needs for needs in scope.profile.needs.values())


def _factor(name: str, levels: tuple[FieldChoice, ...], without: Mapping[str, Any] | None) -> Iterator[Factor]:
    if len(levels) > _MOST_LEVELS:
        # Of a long list the first, the last, and what lies evenly between: each level is a request that is billed.
        places = sorted({round(number * (len(levels) - 1) / (_MOST_LEVELS - 1)) for number in range(_MOST_LEVELS)})
        levels = tuple(levels[place] for place in places)
    if levels:
        yield Factor(name, levels, without)


def _word_of(entry: WireField, value: Any) -> Any:
    return entry.values.get(str(value), value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _spelt(size: Any) -> str:
    return f"{size[0]}x{size[1]}" if isinstance(size, tuple) else str(size)
