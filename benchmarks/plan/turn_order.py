"""From targets and a workload to cells (rows of the comparison) and blocks (turns), in a balanced order.

The budget is the plan: `--max-requests` and `--max-cost` divided over targets, stages and rounds before anything is sent. Pure.

Every target gets as many requests as every other, at every stage that can use them, spread evenly over the rounds; rounds for which
nothing is left are not begun. So a run that ends with its budget ends where its plan does. A share of money is counted at worst
cases; a closed loop whose answers turn out cheaper sends more for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from testcard.benchmarks.plan.asks import task_of
from testcard.benchmarks.plan.job import BlockJob, CellJob
from testcard.benchmarks.plan.workload import Workload
from testcard.harness.config import TargetSection
from testcard.harness.errors import UsageError
from testcard.harness.text.words import amount
from testcard.harness.wire.contract import open_to
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


#: A closed loop's turn of fewer requests has no warm-up, for it could be all of it.
WARMED = 50
#: (cell, place of the first ask, so many requests from there on) → what they can cost at most, in USD.
Cost = Callable[[int, int, int], float]


def divided(
    blocks: Sequence[BlockJob],
    due: Sequence[int],
    *,
    max_requests: int | None,
    max_cost_usd: float | None,
    cost: Cost,
) -> list[BlockJob]:
    """The turns, each with its share. Those that nothing bounds, or that the limits leave room for, come back as they are.

    `due` says how many requests of each turn are due (of an open loop). A turn of an open loop that is cut down keeps its rate and
    has exactly its share of arrivals, and no warm-up; nor has a small share of a closed loop: every request that is paid for counts.
    A limit of 0 divides nothing: the run sends nothing and says so. `UsageError` where a limit does not give every row one request.
    """
    if not blocks or not (max_requests or max_cost_usd):
        return list(blocks)
    cells, rounds = 1 + max(block.cell for block in blocks), max(block.round for block in blocks)
    needs = _needs(blocks, due, rounds)

    def requests(level: int) -> float:
        return cells * sum(_least(level, need) for need in needs.values())

    def usd(level: int) -> float:
        return sum(cost(cell, 0, _least(level, need)) for cell in range(cells) for need in needs.values())

    by_count, by_cost = _level(requests, needs, max_requests), _level(usd, needs, max_cost_usd)
    rows = cells * len(needs)
    if by_count == 0:
        raise UsageError(
            f"--max-requests {max_requests} does not give {_each(rows)} one request",
            hint=f"allow {rows} or more, or name fewer targets, models or stages",
        )
    if by_cost == 0:
        raise UsageError(
            f"--max-cost {max_cost_usd:g} does not give {_each(rows)} one request, which can cost {amount(usd(1))}{' together' if rows > 1 else ''}",
            hint=f"allow {amount(usd(1))} or more, or name fewer targets, models or stages",
        )
    factor = max(1.0, max_cost_usd / usd(by_cost)) if max_cost_usd and by_cost is not None and usd(by_cost) > 0 else 1.0
    found = []
    for block in blocks:
        need = needs[block.stage]

        def share(level: int | None, block: BlockJob = block, need: int | None = need) -> int | None:
            return None if level is None else split(_least(level, need), rounds)[block.round - 1]

        counted, paid = share(by_count), share(by_cost)
        level = min((each for each in (by_count, by_cost) if each is not None), default=0)
        begin = sum(split(_least(level, need), rounds)[: block.round - 1])
        if counted == 0 or paid == 0:
            continue
        if block.rate_rps is None:
            money = None if paid is None else cost(block.cell, begin, paid) * factor
            few = any(part is not None and part < WARMED for part in (counted, paid))
            warmup_s = 0.0 if few else block.warmup_s
            found.append(msgspec.structs.replace(block, warmup_s=warmup_s, max_requests=counted, max_cost_usd=money or None, begin=begin))
            continue
        if all(level is None or need is None or level >= need for level in (by_count, by_cost)):
            found.append(block)
            continue
        most = min(part for part in (counted, paid) if part is not None)
        found.append(
            msgspec.structs.replace(block, warmup_s=0.0, duration_s=most / block.rate_rps, exact=True, max_requests=most, begin=begin)
        )
    return found


def _each(rows: int) -> str:
    return "the row" if rows == 1 else f"each of {rows} rows"


def split(whole: int, rounds: int) -> list[int]:
    """So many requests over so many rounds, the earlier ones getting one more where they do not divide evenly."""
    each, rest = divmod(whole, rounds)
    return [each + (number < rest) for number in range(rounds)]


def _needs(blocks: Sequence[BlockJob], due: Sequence[int], rounds: int) -> dict[str, int | None]:
    """Stage → as many requests as the target with the most arrivals has there; None: as many as the users get through."""
    found: dict[str, int | None] = {}
    sums: dict[tuple[str, int], int] = {}
    for block, number in zip(blocks, due, strict=True):
        key = (block.stage, block.cell)
        sums[key] = sums.get(key, 0) + number
        found[block.stage] = None if block.rate_rps is None else max(found.get(block.stage) or 0, sums[key])
    return found


def _least(level: int, need: int | None) -> int:
    return level if need is None else min(level, need)


def _level(taken: Callable[[int], float], needs: dict[str, int | None], limit: float | None) -> int | None:
    """The most requests a row that a limit allows, where `taken` says what so many come to; None where it bounds nothing."""
    if not limit:
        return None
    most = max((need for need in needs.values() if need is not None), default=0)
    if None not in needs.values() and taken(most) <= limit + 1e-9:
        return None
    low, high = 0, 1
    while taken(high) <= limit + 1e-9:
        low, high = high, 2 * high
        if low > 10**12:  # nothing costs anything
            return None
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if taken(middle) <= limit + 1e-9 else (low, middle)
    return low
