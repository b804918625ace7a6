"""Which operation carries out a task, where a provider has several."""

from __future__ import annotations

from dataclasses import dataclass, replace

from testcard.harness.errors import ContractViolation
from testcard.harness.wire.contract import check_contract
from testcard.harness.wire.fields import WireFields, wire_fields
from testcard.harness.wire.model import TaskRequest
from testcard.specs.loader import Provider


@dataclass(frozen=True, slots=True)
class Choice:
    """An operation with the request as it will be sent there (model filled in) and its checked wire fields.

    `note` says why it is not the default operation.
    """

    operation: str
    request: TaskRequest
    fields: WireFields
    model: str | None
    note: str | None = None


def choose(provider: Provider, request: TaskRequest, operation: str | None = None) -> Choice:
    """The operation to use: the one named, else the task's default, unless that one lacks the model or cannot make the size.

    Then the first operation of the task, in the profile's order, that can. Other breaches never move a request: they are
    the caller's to mend. Raises `ContractViolation` as the default operation (or the one named) would.
    """
    default = operation or provider.default_operation(request.task)
    others = [] if operation else [name for name, profile in provider.profile.operations.items() if request.task in profile.tasks]
    if request.model is not None and others and request.model not in provider.models(default):
        owners = [name for name in others if request.model in provider.models(name)]
        if owners:
            default, others = owners[0], owners
    try:
        choice = _prepared(provider, request, default)
    except ContractViolation as violation:
        size_fields = {name for name, entry in provider.operation_profile(default).fields.items() if entry.means in _SIZE_MEANINGS}
        if request.size is None or violation.field not in {"size", *size_fields}:
            raise
        for other in others:
            try:
                choice = _prepared(provider, request, other)
            except ContractViolation:
                continue
            size = request.size if isinstance(request.size, str) else f"{request.size[0]}x{request.size[1]}"
            return replace(choice, note=f"{default} cannot make {size}, so {other} does it")
        raise
    if operation is None and default != provider.default_operation(request.task):
        return replace(choice, note=f"{request.model} belongs to {default}")
    return choice


_SIZE_MEANINGS = ("size", "width", "height", "aspect_ratio", "tier")


def _prepared(provider: Provider, request: TaskRequest, operation: str) -> Choice:
    model = request.model or provider.default_model(operation, request.task)
    profile = provider.operation_profile(operation)
    if profile.wire_name("model") is not None or any(entry.means == "model" for entry in profile.path.values()):
        request = replace(request, model=model)
    fields = wire_fields(provider, request, operation)
    check_contract(provider, fields, request)
    return Choice(operation, request, fields, model)
