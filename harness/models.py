"""Which operations may be asked for a model that no profile lists: those whose document does not close its list of models. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from testcard.harness.errors import UsageError
from testcard.harness.wire.fields import schema_of
from testcard.specs.loader import Provider
from testcard.specs.openapi import Schema


@dataclass(frozen=True, slots=True)
class ModelList:
    """All models that an operation knows, by its document; `closed_by` says where the list is closed."""

    models: tuple[str, ...]
    closed_by: str


def closed_list(provider: Provider, operation_id: str) -> ModelList | None:
    """All models of an operation, where its document lists them all; None where it leaves others open.

    A list is closed by the schema of the field that names the model, or by there being no such field: then the operation has its own.
    Models that a description gives as examples, and those of a profile, close nothing.
    """
    operation, profile = provider.operation(operation_id), provider.operation_profile(operation_id)
    name = profile.wire_name("model")
    if name is None:
        if any(entry.means == "model" for entry in profile.path.values()):
            return None
        return ModelList(provider.models(operation_id), f"no field of {operation_id} names one")
    allowed = _closed(schema_of(operation.properties, name))
    if allowed is None:
        return None
    others = [value for one in operation.alternatives for value in one.values.get(name, ())]
    return ModelList(
        tuple(dict.fromkeys(map(str, [*allowed, *others]))),
        f"the values of {name} in {operation.document.source.path.name}, {operation_id}, line {operation.line()}",
    )


def open_to(provider: Provider, operations: Sequence[str], model: str) -> tuple[str, ...]:
    """Those of the operations that may know the model; `UsageError` where every one closes its list, saying where."""
    lists = {operation: closed_list(provider, operation) for operation in operations}
    found = tuple(operation for operation, closed in lists.items() if closed is None or model in closed.models)
    if found or not operations:
        return found
    closed = [one for one in lists.values() if one is not None]
    models = dict.fromkeys(name for one in closed for name in one.models)
    places = "; ".join(dict.fromkeys(one.closed_by for one in closed))
    raise UsageError(
        f"{provider.profile.name} has no model {model} there: its document closes the list ({places})",
        hint="the models are: " + (", ".join(models) or "(none named)"),
    )


def unlisted(provider: Provider, operations: Sequence[str], model: str) -> str | None:
    """What to say where a model is asked for that no profile lists; None for one that is listed."""
    listed = list(dict.fromkeys(name for operation in operations for name in provider.models(operation)))
    if model in listed:
        return None
    near = get_close_matches(model, listed, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"{provider.profile.name} lists no model {model}{meant}; its document leaves the list open, so it is asked for"


def _closed(schema: Schema) -> list[Any] | None:
    """All values that a schema allows, where it lists them; None where others may be meant too."""
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    for word in ("anyOf", "oneOf"):
        branches = [_closed(one) for one in schema.get(word, ()) if isinstance(one, Mapping)]
        if branches and all(branch is not None for branch in branches):
            return [value for branch in branches for value in branch or ()]
    return next((found for one in schema.get("allOf", ()) if (found := _closed(one)) is not None), None)
