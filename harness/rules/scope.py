"""What a rule is judged in: one operation of one provider, with the base request of each of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testcard.harness.errors import ContractViolation
from testcard.harness.rules.sent_pictures import input_mask, input_picture
from testcard.harness.wire.fields import WireFields, pixel_size, schema_of, task_value, wire_fields
from testcard.harness.wire.model import TaskRequest
from testcard.specs.loader import Provider
from testcard.specs.openapi import Operation, Schema
from testcard.specs.profile import Meaning, OperationProfile, Task, WireField

#: Prompts without people, brands or words a filter could mind; the run's seed picks one.
PROMPTS = (
    "a red boat on a calm lake, early morning",
    "a stone bridge over a narrow river",
    "three green apples in a wooden bowl",
    "a lighthouse on a cliff under a cloudy sky",
    "a yellow tent beside a pine forest",
    "an old bicycle leaning on a brick wall",
    "a snow-covered mountain above a small village",
    'a shop window with a wooden sign that says "OPEN"',
)
QUESTION = "Describe this picture in one short sentence."
REQUEST_SEED = 42
ANSWER_TOKENS = 16
#: Terms whose cheapest documented value a base request carries, so that checking costs as little as it can.
_CHEAP_TERMS = {
    "n": "n", "steps": "steps", "quality": "quality", "tier": "tier", "aspect_ratio": "aspect_ratio", "format": "format",
    "delivery": "delivery", "background": "background", "max_tokens": "max_tokens", "guidance": "guidance", "strength": "strength",
}  # fmt: skip


@dataclass(frozen=True)
class Scope:
    """One operation under check. `seed` is the run's seed, `model` the one the user asked for, `keyless` is --no-auth.

    `started`: Unix seconds at which the run's clock stood at 0, where they are known. `elsewhere`: from when to when requests of
    other operations were under way that may have been billed, in seconds of that clock.
    """

    provider: Provider
    operation_id: str
    seed: int = 0
    model: str | None = None
    keyless: bool = False
    started: float | None = None
    elsewhere: tuple[tuple[float, float], ...] = ()

    @property
    def profile(self) -> OperationProfile:
        """The operation's part of the profile."""
        return self.provider.operation_profile(self.operation_id)

    @property
    def operation(self) -> Operation:
        """The operation in the OpenAPI file."""
        return self.provider.operation(self.operation_id)

    @property
    def task(self) -> Task | None:
        """The operation's first task; None for an operation that polls."""
        return self.profile.tasks[0] if self.profile.tasks else None

    @property
    def gives_pictures(self) -> bool:
        """Whether an answer of this operation carries pictures."""
        where = self.profile.response
        return self.profile.kind == "images" and (where.pictures is not None or bool(where.binary) or where.events is not None)

    def field(self, meaning: Meaning) -> tuple[str, WireField] | None:
        """Wire name and profile entry (narrowed by the model) of the body field with this meaning."""
        name = self.profile.wire_name(meaning)
        if name is None:
            return None
        entry = self.provider.field(self.operation_id, name, self.asked_model(self.task) if self.task else None)
        return (name, entry) if entry is not None else None

    @property
    def lists_model(self) -> bool:
        """Whether the model that requests ask for is one that the provider names: of any other nobody says that it is served."""
        return self.model is None or self.model in self.provider.models(self.operation_id)

    def asked_model(self, task: Task | None) -> str | None:
        """The model that requests for a task name."""
        return self.model or self.provider.default_model(self.operation_id, task)

    def base_request(self, task: Task) -> TaskRequest:
        """The cheapest request that the documents promise to carry out, with a seed where there is one."""
        terms: dict[str, Any] = {}
        means = {entry.means for entry in self.profile.fields.values()} | {entry.means for entry in self.profile.path.values()}
        needed = set(self.profile.needs.get(task, ()))
        needed |= {self.profile.fields[name].means for name in self.operation.required if name in self.profile.fields}
        if "messages" in means:
            terms["prompt"] = QUESTION
        elif "prompt" in means:
            terms["prompt"] = PROMPTS[self.seed % len(PROMPTS)]
        if task in ("edit", "variation", "describe") or "image" in needed:
            terms["images"] = (input_picture(),)
        if "mask" in needed:
            terms["mask"] = input_mask()
        if "model" in means:
            terms["model"] = self.asked_model(task)
        if "seed" in means:
            terms["seed"] = next((value for value in self.must_accept("seed") if isinstance(value, int)), REQUEST_SEED)
        for term, meaning in _CHEAP_TERMS.items():
            value = self.cheapest(meaning)  # type: ignore[arg-type] # the table holds meanings
            if value is not None:
                terms[term] = value
        if "max_tokens" in means and "max_tokens" not in terms:
            terms["max_tokens"] = ANSWER_TOKENS
        size = self.cheapest_size()
        if size is not None:
            terms["size"] = size
        return TaskRequest(task=task, **terms, extra=self._further_required(terms))

    def _further_required(self, terms: Mapping[str, Any]) -> dict[str, Any]:
        """Required fields that no term of the task fills, by wire name, with their cheapest or first documented value."""
        found = {}
        for name in self.operation.required:
            entry = self.provider.field(self.operation_id, name, terms.get("model"))
            if entry is not None and entry.means in ("other", "style", "megapixels") and entry.send is None:
                values = (entry.cheapest,) if entry.cheapest is not None else self.accepted_values(name, entry)
                if values:
                    found[name] = entry.values.get(str(values[0]), values[0])
        return found

    def cheapest(self, meaning: Meaning) -> Any:
        """The task value that costs least: the profile's `cheapest`, else base64 for the delivery where that is documented."""
        found = self.field(meaning)
        if found is None:
            return None
        _, entry = found
        if entry.cheapest is not None:
            return task_value(entry, entry.cheapest)
        if meaning == "delivery":
            return next((word for word in (task_value(entry, value) for value in entry.must_accept) if word == "base64"), None)
        return None

    def cheapest_size(self) -> tuple[int, int] | str | None:
        """The cheapest documented size, from a size field or from width and height."""
        size = self.cheapest("size")
        if size is not None:
            return pixel_size(size) or str(size)
        width, height = self.cheapest("width"), self.cheapest("height")
        return (width, height) if isinstance(width, int) and isinstance(height, int) else None

    def must_accept(self, meaning: Meaning) -> tuple[Any, ...]:
        """Task values that the documents state for a meaning: the profile's list, else the schema's enum or bounds."""
        found = self.field(meaning)
        return () if found is None else self.accepted_values(*found)

    def accepted_values(self, name: str, entry: WireField) -> tuple[Any, ...]:
        """As `must_accept`, for one field by its wire name."""
        if entry.model_specific:
            return ()
        schema = schema_of(self.operation.properties, name)
        values = entry.must_accept or tuple(value for value in schema.get("enum", ()) if value is not None)
        if not values and isinstance(schema.get("minimum"), int | float) and isinstance(schema.get("maximum"), int | float):
            values = (schema["minimum"], schema["maximum"])
        return tuple(task_value(entry, value) for value in values if value not in entry.may_refuse)

    def may_refuse(self, meaning: Meaning) -> tuple[Any, ...]:
        """Task values worth trying that a server may refuse."""
        found = self.field(meaning)
        return () if found is None else tuple(task_value(found[1], value) for value in found[1].may_refuse)

    def tolerates(self, request: TaskRequest) -> bool:
        """Whether the documents leave the server free to refuse one of the values that the request sends."""
        try:
            fields = wire_fields(self.provider, request, self.operation_id)
        except ContractViolation:
            return False
        return self.tolerates_fields(fields, request.model or self.asked_model(request.task))

    def tolerates_fields(self, fields: WireFields, model: str | None) -> bool:
        """As `tolerates`, of a request in wire names: a mode that follows from the pictures counts as well."""
        properties, parameters = self.operation.properties, self.operation.path_parameters
        sent = [
            (self.provider.field(self.operation_id, name, model), properties.get(name, {}), value) for name, value in fields.body.items()
        ]
        sent += [(self.profile.path.get(name), parameters.get(name, {}), value) for name, value in fields.path.items()]
        return any(entry is not None and _refusable(entry, schema, value) for entry, schema, value in sent)


def _refusable(entry: WireField, schema: Schema, value: Any) -> bool:
    """Whether a value is one that the document does not state, where the profile says which ones it does.

    Stated are the profile's `must_accept`, enumerated values, and whatever lies between two bounds; nothing of a field that only
    some models know.
    """
    if entry.model_specific or _among(value, entry.may_refuse):
        return True
    if _among(value, entry.must_accept) or _among(value, schema.get("enum", ())) or _within(value, schema):
        return False
    return bool(entry.must_accept)


def _within(value: Any, schema: Schema) -> bool:
    low, high = schema.get("minimum"), schema.get("maximum")
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (low, value, high))
    return numbers and low <= value <= high


def _among(value: Any, values: Sequence[Any]) -> bool:
    """Whether the value is one of them; true is not 1 here, and 1.0 is."""
    return any(isinstance(value, bool) is isinstance(other, bool) and value == other for other in values)
