"""What a load process works on: cells with their requests encoded, the attempts that come of them, and how both are made from a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testcard.benchmarks.net.reply import Reply
from testcard.benchmarks.net.transport import Prepared, Timeouts, Transport
from testcard.benchmarks.plan.asks import Ask, asks, task_requests
from testcard.benchmarks.plan.job import CellJob, Job
from testcard.benchmarks.plan.workload import Workload
from testcard.harness.config import PricesSection
from testcard.harness.pricing import Pricing
from testcard.harness.wire.billing import worst_case
from testcard.harness.wire.model import Answer
from testcard.specs.loader import Provider, load_provider
from testcard.specs.prices import Price


@dataclass(frozen=True)
class Cell:
    """A row of the comparison at work: a model on an operation of a target, its asks and its price."""

    index: int
    target: int
    label: str  # the provider's name in samples
    provider: Provider
    operation: str
    model: str | None
    base_url: str
    api_key: str | None
    may_leave_machine: bool
    pricing: Pricing
    asks: list[Ask]
    prepared: list[tuple[Prepared, bytes, bytes]]  # (connection, bytes before the seed, bytes after it)
    worst_usd: list[float | None]
    decode_share: float

    @property
    def price(self) -> Price | None:
        """The price that counts for the cell, or None."""
        return self.pricing.price(self.model, self.operation)


@dataclass(slots=True)
class Attempt:
    """One request on its way and what came of it; seconds of `clock`."""

    cell: Cell
    ask: int
    round: int
    stage: str
    warmup: bool
    scheduled_s: float
    sent_s: float = 0.0
    done_s: float = 0.0
    lag_s: float = 0.0
    reply: Reply | None = None
    answer: Answer | None = None
    failure: str | None = None
    queue_s: float | None = None
    download_s: float | None = None
    downloads: Sequence[Reply] = ()
    seed: int | None = None  # where it was drawn for this attempt

    @property
    def size(self) -> int:
        """Bytes of the answer and its downloads."""
        size = len(self.reply.body) if self.reply is not None else 0
        return size + sum(len(download.body) for download in self.downloads) if self.downloads else size


def build_cell(job: Job, index: int, wanted: CellJob, workload: Workload, transport: Transport) -> Cell:
    """A cell with its requests encoded. Raises `ContractViolation` where the contract does not allow what the workload asks."""
    target = job.targets[wanted.target]
    provider = load_provider(target.provider, [Path(folder) for folder in job.search])
    pricing = Pricing(provider, target.illustrative_prices, PricesSection.model_validate(target.prices))
    requests = task_requests(provider, wanted.operation, wanted.task, wanted.model, workload)  # type: ignore[arg-type]
    ready = asks(
        provider,
        wanted.operation,
        requests,
        base_url=target.base_url,
        api_key=target.api_key,
        fresh_seeds=workload.seeds == "fresh",
    )
    price = pricing.price(wanted.model, wanted.operation)
    prepared = []
    for ask in ready:
        connection = transport.prepare(ask.wire)
        before, after = ask.pieces
        head = connection.data[: len(connection.data) - len(ask.wire.body)]
        prepared.append((connection, head + before, after))
    return Cell(
        index=index,
        target=wanted.target,
        label=wanted.provider,
        provider=provider,
        operation=wanted.operation,
        model=wanted.model,
        base_url=target.base_url,
        api_key=target.api_key,
        may_leave_machine=target.may_leave_machine,
        pricing=pricing,
        asks=ready,
        prepared=prepared,
        worst_usd=[None if price is None else price.usd(worst_case(provider, wanted.operation, ask.request)) for ask in ready],
        decode_share=workload.decode,
    )


def build_cells(job: Job, workload: Workload, transport: Transport) -> list[Cell]:
    """The job's cells, ready to be sent."""
    return [build_cell(job, index, cell, workload, transport) for index, cell in enumerate(job.cells)]


def make_transport(workload: Workload) -> Transport:
    """A transport with the workload's timeouts."""
    limits = workload.timeouts
    return Transport(Timeouts(limits.connect_s, limits.first_byte_s, limits.whole_s))
