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
_ADDRESS = re.compile(rb":(?:\\?/|\\u)")
#: Bodies above this are no acceptances of tasks, but pictures; they are not searched for one.
_ACCEPTANCE_BYTES = 16 * 1024
#: From this size on a body is mostly base64, which has no colon: they are looked at one by one, which is ten times as fast.
_LARGE_BYTES = 64 * 1024
_MOST_COLONS = 2000


def holds_an_address(body: bytes) -> bool:
    """Whether there is something in a JSON body that may be the beginning of an address."""
    if len(body) < _LARGE_BYTES:
        return _ADDRESS.search(body) is not None
    place = body.find(b":")
    for _ in range(_MOST_COLONS):
        if place < 0:
            return False
        if _ADDRESS.match(body, place) is not None:
            return True
        place = body.find(b":", place + 1)
    return _ADDRESS.search(body, place) is not None if place >= 0 else False


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
    def names_pictures_by_address(self) -> bool:
        """Whether an answer may give a picture's address instead of its bytes."""
        return self.provider.operation_profile(self.operation).response.url is not None

    @cached_property
    def task_names(self) -> re.Pattern[bytes] | None:
        """What stands in every acceptance of a task; None where no answer is one."""
        protocol = self.provider.protocol(self.operation)
        if protocol is None:
            return None
        places = (*protocol.task_reference, *([protocol.poll_url] if protocol.poll_url else []))
        names = b"|".join(re.escape(place.rpartition("/")[2].encode()) for place in places if not place.startswith(HEADER))
        return re.compile(b'"(?:' + names + b')"')

    def may_lead_on(self, status: int | None, body: bytes) -> bool:
        """Whether an answer may lead on, to a picture's address or a task, and is worth taking apart at once; most of a load's are not."""
        if status in self.accepted_statuses or (self.names_pictures_by_address and holds_an_address(body)):
            return True
        return self.task_names is not None and len(body) <= _ACCEPTANCE_BYTES and self.task_names.search(body) is not None

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
    place: int = 0  # in the order in which its row's requests are sent, until one is delivered

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
