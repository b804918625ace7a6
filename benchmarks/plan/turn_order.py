"""From targets and a workload to cells (rows of the comparison) and blocks (turns), in a balanced order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from testcard.benchmarks.plan.asks import task_of
from testcard.benchmarks.plan.job import BlockJob, CellJob
from testcard.benchmarks.plan.workload import Workload
from testcard.harness.config import TargetSection
from testcard.harness.errors import UsageError
from testcard.harness.models import open_to
from testcard.specs.loader import Provider


class Placed(Protocol):
    """A provider at a base URL."""

    @property
    def provider(self) -> Provider:
        """What it documents."""

    @property
    def base_url(self) -> str:
        """Where it is."""


def cells(
    targets: Sequence[Placed], models: Sequence[str], operations: Sequence[str], workload: Workload, own: Sequence[TargetSection] = ()
) -> list[CellJob]:
    """A cell for each target × operation × model.

    Operations named by the user go to the targets that have them; without any, each target gets the workload's task. Models
    named by the user go to the operations that list them; with a single target others too, unless its document closes the list. `own` holds, target
    by target, what the configuration names for it, where the user names none. `UsageError` for a name that no target knows, and
    for a target that is left with nothing to do.
    """
    for operation in operations:
        if not any(operation in target.provider.profile.operations for target in targets):
            known = sorted({name for target in targets for name in target.provider.profile.operations})
            raise UsageError(f"no target has an operation {operation}", hint="operations: " + ", ".join(known))
    if len(targets) > 1:
        for model in models:
            if not any(model in target.provider.models(name) for target in targets for name in target.provider.profile.operations):
                raise UsageError(f"no target lists the model {model}", hint="testcard providers shows the models")
    labels = _labels(targets)
    found: list[CellJob] = []
    for index, target in enumerate(targets):
        provider = target.provider
        before = len(found)
        mine = own[index] if own else None
        asked_operations = [name for name in operations if name in provider.profile.operations]
        if not operations:
            asked_operations = list(mine.operations) if mine and mine.operations else [_default(target, workload)]
        asked_models = list(models) or (list(mine.models) if mine else [])
        as_they_are = len(targets) == 1 or not models
        for operation in asked_operations:
            profile = provider.operation_profile(operation)
            if profile.kind == "task" or not profile.tasks:
                raise UsageError(f"{operation} of {provider.id} is no operation to put under load: it asks for no work")
            task = task_of(provider, operation, workload.task)
            elsewhere = {model for name in asked_operations if name != operation for model in provider.models(name)}
            wanted: list[str | None] = [
                model for model in asked_models if model in provider.models(operation) or (as_they_are and model not in elsewhere)
            ]
            for unlisted in wanted:
                if unlisted is not None and unlisted not in provider.models(operation):
                    open_to(provider, (operation,), unlisted)
            if not asked_models:
                wanted = [provider.default_model(operation, task)]
            found += [CellJob(target=index, provider=labels[index], operation=operation, task=task, model=model) for model in wanted]
        if len(found) == before:
            raise UsageError(
                f"there is nothing to do for {labels[index]}: it has none of the named operations and models", hint="leave the target out"
            )
    return found


def _default(target: Placed, workload: Workload) -> str:
    tasks = target.provider.profile.tasks
    if workload.task != "auto":
        return target.provider.default_operation(workload.task)
    return target.provider.default_operation("generate" if "generate" in tasks else next(iter(tasks)))


def _labels(targets: Sequence[Placed]) -> list[str]:
    """The targets' names in samples: the provider's id; with its address where a provider is there twice."""
    ids = [target.provider.id for target in targets]
    return [
        name if ids.count(name) == 1 else f"{name}@{urlsplit(target.base_url).netloc}" for name, target in zip(ids, targets, strict=True)
    ]


def blocks(number_of_cells: int, workload: Workload, seed: int) -> list[BlockJob]:
    """Every cell's turn at every stage in every round; a stage's duration is split evenly over the rounds.

    The order of cells is drawn once from `seed` and rotated from round to round, each second round backwards, so that no
    cell always follows the same one or always comes first.
    """
    order = list(range(number_of_cells))
    random.Random(f"{seed}/order").shuffle(order)
    found = []
    for number in range(workload.rounds):
        shift = (number // 2) * max(1, number_of_cells // max(1, (workload.rounds + 1) // 2)) % number_of_cells
        turn = order[shift:] + order[:shift]
        if number % 2:
            turn.reverse()
        for stage in workload.stage:
            found += [
                BlockJob(
                    cell=cell,
                    round=number + 1,
                    stage=stage.label,
                    rate_rps=stage.rate_rps,
                    users=stage.users,
                    warmup_s=workload.warmup_s,
                    duration_s=stage.duration_s / workload.rounds,
                )
                for cell in turn
            ]
    return found
