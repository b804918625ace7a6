"""Builds what a load process works on from its job: cells with their requests encoded, and the transport they go through."""

from __future__ import annotations

from pathlib import Path

from testcard.benchmarks.load.drive import Cell
from testcard.benchmarks.net.transport import Timeouts, Transport
from testcard.benchmarks.plan.asks import asks, task_requests
from testcard.benchmarks.plan.job import CellJob, Job
from testcard.benchmarks.plan.workload import Workload
from testcard.harness.config import PricesSection
from testcard.harness.pricing import Pricing
from testcard.harness.wire.billing import worst_case
from testcard.specs.loader import load_provider


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
