"""What a benchmark is going to do: cells, turns, and what they come to in requests, pictures, seconds and dollars. Nothing is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from testcard.benchmarks.load.turns import due
from testcard.benchmarks.plan import turn_order
from testcard.benchmarks.plan.asks import asks, stated, task_requests
from testcard.benchmarks.plan.job import BlockJob, CellJob
from testcard.benchmarks.plan.sizes import settled
from testcard.benchmarks.plan.turn_order import divided
from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.run.options import BenchOptions
from testcard.harness.errors import UsageError
from testcard.harness.statistics.decidable import Outlook, outlook
from testcard.harness.statistics.slo import parse
from testcard.harness.targets import OpenTarget, is_loopback
from testcard.harness.wire.billing import worst_case

if TYPE_CHECKING:
    from testcard.harness.statistics.summary import RowKey

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class CellCost:
    """What each ask of a cell can come to at most: pictures, and dollars (None: there is no price). Asks are sent in turn."""

    images: tuple[int, ...]
    usd: tuple[float, ...] | None

    def of(self, requests: int, begin: int = 0) -> tuple[int, float]:
        """Pictures and dollars of so many requests of one turn, which begins with the ask at that place."""
        whole = begin + requests
        images = _in_turn(self.images, whole) - _in_turn(self.images, begin)
        return images, _in_turn(self.usd or (), whole) - _in_turn(self.usd or (), begin)

    def within(self, usd: float | None) -> int:
        """How many requests of one turn so many dollars surely pay for; 0 where that is no bound."""
        if usd is None or not self.usd or not sum(self.usd):
            return 0
        number = int(usd / max(self.usd))
        while self.of(number + 1)[1] <= usd + 1e-9:
            number += 1
        return number


def _in_turn(each: Sequence[Number], requests: int) -> Number | int:
    if not each:
        return 0
    whole, rest = divmod(requests, len(each))
    return whole * sum(each) + sum(each[:rest])


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchPlan:
    """What is going to be sent. `requests`, `images` and `cost_usd` are the most that it can come to; None where nobody can say.

    `said`: what size is asked for and why, for a person. `asked`: by target, operation and model, what a cell's requests ask for in words. `blocks` are the turns in their order (none in a search, which makes its own); `repeats`: so many of them may be taken again, where
    the generator was late; they are not counted. `priced_usd`: as `cost_usd`, but of what has a price; `unpriced` names the rest.
    `row_requests` are the fewest that a row gets, `outlooks` what each objective can decide with them; `left_out`: objectives that
    nobody named and that these cannot show to be kept: they count only where they are broken. `takes`: instead of `outlooks`, where
    users get through as many requests as they do and nobody knows how many that is.
    """

    workload: Workload
    cells: tuple[CellJob, ...]
    blocks: tuple[BlockJob, ...]
    repeats: int
    requests: int | None
    images: int | None
    cost_usd: float | None
    priced_usd: float | None
    unpriced: tuple[str, ...]
    duration_s: float
    asked: Mapping[tuple[int | None, str, str | None], dict[str, str]] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    row_requests: int | None = None
    outlooks: tuple[Outlook, ...] = ()
    left_out: tuple[Outlook, ...] = ()
    takes: tuple[Outlook, ...] = ()

    @property
    def is_divided(self) -> bool:
        """Whether a limit cuts turns down to shares of it."""
        return any(block.max_requests is not None or block.max_cost_usd is not None for block in self.blocks)

    @property
    def answer_s(self) -> float | None:
        """Seconds that an answer may take on average for every share of a closed loop to be used up in its time; None: no bound."""
        found = [
            block.whole_s * block.users / block.max_requests
            for block in self.blocks
            if block.users is not None and block.max_requests is not None
        ]
        return min(found, default=None)

    @property
    def rows(self) -> tuple[RowKey, ...]:
        """The rows of the summary that the turns make: provider, model, operation, stage and target of each."""
        cells = ((self.cells[block.cell], block.stage) for block in self.blocks)
        return tuple(dict.fromkeys((cell.provider, cell.model, cell.operation, stage, cell.target) for cell, stage in cells))


def make_plan(options: BenchOptions, workload: Workload, targets: Sequence[OpenTarget]) -> BenchPlan:
    """The plan of the options over opened targets; `workload` is the one that holds.

    `UsageError` for what a target does not offer, and for a cost limit on a model without a price; `ContractViolation` for a request
    that a contract does not allow.
    """
    chosen = turn_order.cells(targets, options.models, options.operations, workload, options.targets)
    sized = settled([target.provider for target in targets], chosen, workload.sizes)
    cells = sized.cells
    costs = [_cost(options, targets[cell.target], cell, workload) for cell in cells]
    searched = options.find_saturation is not None
    blocks = turn_order.blocks(len(cells), workload, options.seed) if not searched else []
    unpriced = tuple(f"{cell.provider} {cell.model or cell.operation}" for cell, cost in zip(cells, costs, strict=True) if cost.usd is None)
    blocks = divided(
        blocks,
        [_due(options, workload, block) for block in blocks],
        max_requests=options.max_requests,
        max_cost_usd=options.max_cost_usd,
        cost=lambda cell, begin, requests: costs[cell].of(requests, begin)[1],
    )
    known = not searched and all(block.users is None or block.max_requests is not None for block in blocks)
    counts = [block.max_requests if block.max_requests is not None else _due(options, workload, block) for block in blocks]
    sums = [costs[block.cell].of(count, block.begin) for block, count in zip(blocks, counts, strict=True)]
    sure = [number or costs[block.cell].within(block.max_cost_usd) for block, number in zip(blocks, counts, strict=True)]
    fewest = _fewest(blocks, sure) if blocks and all(sure) else None
    outlooks = [] if fewest is None else [outlook(parse(text), fewest) for text in workload.slo]
    kept = outlooks
    if options.bounded and (options.objectives_by_default or options.workload is None):
        kept = [each for each in outlooks if each.passes is not None]
    most = options.max_requests
    priced = _least(
        sum(usd for _, usd in sums) if known else None,
        None if most is None else most * max((max(cost.usd, default=0.0) for cost in costs if cost.usd is not None), default=0.0),
        options.max_cost_usd,
    )
    return BenchPlan(
        workload=workload,
        cells=tuple(cells),
        blocks=tuple(blocks),
        repeats=_repeats(options, targets, workload),
        requests=_least(sum(counts) if known else None, most),
        images=_least(
            sum(images for images, _ in sums) if known else None,
            None if most is None else most * max((max(cost.images) for cost in costs), default=0),
        ),
        cost_usd=None if unpriced else priced,
        priced_usd=priced,
        unpriced=unpriced,
        duration_s=sum(block.whole_s for block in blocks),
        said=tuple(sized.said),
        asked={(cell.target, cell.operation, cell.model): _asked(targets[cell.target], cell, workload) for cell in cells},
        row_requests=fewest,
        outlooks=tuple(kept),
        left_out=tuple(each for each in outlooks if each not in kept),
        takes=tuple(outlook(parse(text), 0) for text in workload.slo) if blocks and fewest is None else (),
    )


def _fewest(blocks: Sequence[BlockJob], counts: Sequence[int]) -> int:
    """Requests of the row that has the fewest, over all its rounds."""
    rows: dict[tuple[int, str], int] = {}
    for block, number in zip(blocks, counts, strict=True):
        rows[block.cell, block.stage] = rows.get((block.cell, block.stage), 0) + number
    return min(rows.values(), default=0)


def _due(options: BenchOptions, workload: Workload, block: BlockJob) -> int:
    """Requests of a turn that are due by its rate; 0 in a closed loop."""
    return due(workload.arrival, block, block.arrivals_key(options.seed)) if block.users is None else 0


def _asked(target: OpenTarget, cell: CellJob, workload: Workload) -> dict[str, str]:
    asked = stated(task_requests(target.provider, cell.operation, cell.task, cell.model, workload, cell.sizes))  # type: ignore[arg-type]
    protocol = target.provider.protocol(cell.operation)
    return asked if protocol is None else {**asked, "poll_s": f"{protocol.poll_interval_s:g}"}


def _least(*known: Number | None) -> Number | None:
    """The least of the bounds that are there; None for none."""
    return min((each for each in known if each is not None), default=None)


def _cost(options: BenchOptions, target: OpenTarget, cell: CellJob, workload: Workload) -> CellCost:
    """What the cell's asks can come to. They are encoded for it, so that what the contract does not allow is told before a run exists."""
    provider = target.provider
    requested = task_requests(provider, cell.operation, cell.task, cell.model, workload, cell.sizes)  # type: ignore[arg-type]
    ready = asks(provider, cell.operation, requested, base_url=target.base_url, api_key=None, fresh_seeds=workload.seeds == "fresh")
    most = [worst_case(provider, cell.operation, ask.request) for ask in ready]
    price = target.pricing.price(cell.model, cell.operation)
    usd = [None if price is None else price.usd(each) for each in most]
    known = tuple(each for each in usd if each is not None)
    if len(known) < len(usd) and options.max_cost_usd is not None:
        raise UsageError(
            f"--max-cost cannot be kept: there is no price for {cell.model or cell.operation} of {cell.provider}",
            hint="set " + target.pricing.missing_key(cell.model),
        )
    return CellCost(tuple(int(each.images or 0) for each in most), known if len(known) == len(usd) else None)


def _repeats(options: BenchOptions, targets: Iterable[OpenTarget], workload: Workload) -> int:
    """How many turns may be taken again. It costs requests: only where all targets are on this machine and nobody set a limit."""
    if options.find_saturation is not None or options.bounded or not all(is_loopback(target.base_url) for target in targets):
        return 0
    return workload.rounds * len(workload.stage)
