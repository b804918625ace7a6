"""What a load process works on: cells with their requests encoded, the attempts that come of them, and how both are made from a job."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from testcard.benchmarks.net.receive import Reply
from testcard.benchmarks.net.transport import Prepared, Timeouts, Transport
from testcard.benchmarks.plan.asks import Ask, asks, task_requests
from testcard.benchmarks.plan.job import CellJob, Job
from testcard.benchmarks.plan.workload import Workload
from testcard.harness.config import PricesSection
from testcard.harness.pricing import Pricing
from testcard.harness.wire.billing import worst_case
from testcard.harness.wire.course import Conditions, Download
from testcard.harness.wire.decode import HEADER
from testcard.harness.wire.model import Answer
from testcard.specs.loader import Provider, load_provider
from testcard.specs.prices import Price

#: What an address in JSON has and nothing else is likely to: ":" is no letter of base64, and between values no slash follows it.
_ADDRESS = rb":(?:\\?/|\\u)"
#: Bodies above these are neither lists of addresses nor acceptances of tasks, but pictures; they are not searched.
_ADDRESSES_BYTES, _ACCEPTANCE_BYTES = 256 * 1024, 16 * 1024


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

    @cached_property
    def conditions(self) -> Conditions:
        """Under what conditions its requests are followed; the time that a task has is the workload's, not the document's."""
        return Conditions(self.provider, self.operation, self.base_url, self.api_key, live=self.may_leave_machine, limit_s=math.inf)

    @cached_property
    def leads_on(self) -> tuple[tuple[re.Pattern[bytes], int], ...]:
        """What stands in every answer that leads on, to a picture's address or a task, and in how many bytes at most.

        Such an answer has one of these; none where no answer leads on.
        """
        protocol = self.provider.protocol(self.operation)
        found = [(_ADDRESS, _ADDRESSES_BYTES)] if self.provider.operation_profile(self.operation).response.url is not None else []
        if protocol is not None:
            places = (*protocol.task_reference, *([protocol.poll_url] if protocol.poll_url else []))
            names = b"|".join(re.escape(place.rpartition("/")[2].encode()) for place in places if not place.startswith(HEADER))
            found.append((b'"(?:' + names + b')"', _ACCEPTANCE_BYTES))
        return tuple((re.compile(pattern), most) for pattern, most in found)

    @cached_property
    def accepted_statuses(self) -> tuple[int, ...]:
        """The statuses that accept a task; none where there are no tasks."""
        protocol = self.provider.protocol(self.operation)
        return protocol.status if protocol is not None else ()


@dataclass(slots=True)
class Attempt:
    """One request on its way and what came of it; seconds of `clock`.

    `failure`: why what followed the answer led to none (`task-failed`, `task-moderated`, or as in `Reply`).
    """

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
    downloads: Sequence[Download[Reply]] = ()
    seed: int | None = None  # where it was drawn for this attempt

    @property
    def size(self) -> int:
        """Bytes of the answer and its downloads."""
        size = len(self.reply.body) if self.reply is not None else 0
        return size + sum(len(found.reply.body) for found in self.downloads if found.reply is not None) if self.downloads else size


def build_cell(job: Job, index: int, wanted: CellJob, workload: Workload, transport: Transport) -> Cell:
    """A cell with its requests encoded. Raises `ContractViolation` where the contract does not allow what the workload asks."""
    target = job.targets[wanted.target]
    provider = load_provider(target.provider, [Path(folder) for folder in job.search])
    pricing = Pricing(provider, target.illustrative_prices, PricesSection.model_validate(target.prices))
    requests = task_requests(provider, wanted.operation, wanted.task, wanted.model, workload, wanted.sizes)  # type: ignore[arg-type]
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
