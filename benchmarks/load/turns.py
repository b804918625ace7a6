"""Turns: when their requests are due, what happens in one, its record, in what order a run takes them, and which are worth taking again.

A turn is taken by one process, or by several of which each has its part of the arrivals or users. Whether the generator itself was
late is decided here, from values; nothing here opens a socket or waits.
"""

from __future__ import annotations

import math
import random
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from testcard.benchmarks.plan.asks import seed_stream
from testcard.benchmarks.plan.job import BlockJob, Job
from testcard.harness.runs.records import Block
from testcard.harness.statistics.percentiles import nearest
from testcard.harness.statistics.slo import lag_limit_s

ArrivalKind = Literal["poisson", "constant"]
#: Turns of more Poisson arrivals are not drawn only to be counted.
DRAWN_TO_COUNT = 100_000


def schedule(kind: ArrivalKind, rate_rps: float, duration_s: float, seed: str) -> array[float]:
    """Offsets in seconds, ascending, in [0, duration_s).

    `constant`: every 1/rate seconds from 0. `poisson`: exponential gaps of mean 1/rate, drawn from `seed`. Deadlines are
    absolute: a late request never moves the ones after it.
    """
    if rate_rps <= 0 or duration_s <= 0:
        return array("d")
    if kind == "constant":
        count = int(rate_rps * duration_s - 1e-9) + 1
        return array("d", (index / rate_rps for index in range(count)))
    draw = random.Random(seed)
    offsets = array("d")
    now = draw.expovariate(rate_rps)
    while now < duration_s:
        offsets.append(now)
        now += draw.expovariate(rate_rps)
    return offsets


def offsets_of(kind: ArrivalKind, block: BlockJob, seed: str) -> array[float]:
    """When the requests of a turn are due, in seconds from its start, warm-up first.

    An `exact` turn has as many Poisson arrivals as its rate says, in the warm-up and after it: the process given its count
    (independent uniform times). A search compares rates that differ by less than chance makes them differ in a short turn.
    """
    rate = block.rate_rps or 0.0
    if kind == "constant" or not block.exact:
        return schedule(kind, rate, block.whole_s, seed)
    draw = random.Random(seed)
    found: list[float] = []
    for begin, length in ((0.0, block.warmup_s), (block.warmup_s, block.duration_s)):
        found += sorted(begin + draw.random() * length for _ in range(round(rate * length)))
    return array("d", found)


def p99(ascending: Sequence[float]) -> float | None:
    """The 99th percentile of values in ascending order (nearest rank), or None for none."""
    return nearest(ascending, 0.99) if ascending else None


def limit_s(blocks: Iterable[Block]) -> float:
    """The send lag that a row may have at its 99th percentile: 10 ms, or 1 % of its median latency where that is more."""
    medians = sorted(block.latency_p50_s for block in blocks if block.latency_p50_s is not None)
    return lag_limit_s(medians[len(medians) // 2] if medians else None)


def counted(blocks: Iterable[Block]) -> list[Block]:
    """The blocks that were not taken again: those whose samples count."""
    found = list(blocks)
    replaced = {block.instead_of for block in found if block.instead_of is not None}
    return [block for block in found if block.sequence not in replaced]


def worth_repeating(blocks: Sequence[Block], lags: Mapping[int, Sequence[float]]) -> Block | None:
    """The block with the most late requests of the first row in which the generator was late; None where it was on time.

    `lags` holds the send lags of each block, by its sequence.
    """
    rows: dict[tuple[int, str], list[Block]] = {}
    for block in counted(blocks):
        rows.setdefault((block.cell, block.stage), []).append(block)
    for row in rows.values():
        limit = limit_s(row)
        lag = p99(sorted(lag for block in row for lag in lags[block.sequence]))
        if lag is not None and lag > limit:
            return max(row, key=lambda block: sum(lag > limit for lag in lags[block.sequence]))
    return None


def due(kind: ArrivalKind, block: BlockJob, seed: str) -> int:
    """How many requests of a turn are due: exactly what `offsets_of` draws; of very many Poisson arrivals, more than chance ever draws."""
    rate = block.rate_rps or 0.0
    mean = rate * block.whole_s
    if kind == "constant" and not block.exact:
        return int(mean - 1e-9) + 1 if mean > 0 else 0
    if not block.exact and mean > DRAWN_TO_COUNT:
        return math.ceil(mean + 5.0 * math.sqrt(mean))
    return len(offsets_of(kind, block, seed))


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, or this process's part of one: every `parts`-th arrival from `part` on, or its share of the users.

    `start_s` on the load clock; None: in a moment. `instead_of`: the sequence of the turn that this one is taken again for.
    """

    block: BlockJob
    sequence: int
    instead_of: int | None = None
    start_s: float | None = None
    part: int = 0
    parts: int = 1

    def share(self, whole: int) -> int:
        """This part's share of so many users or places."""
        return whole // self.parts + (self.part < whole % self.parts)

    def money(self, whole_usd: float, worst_usd: float) -> float:
        """This part's share of so much money: that of whole requests, for each of a few equal parts could be too little for one."""
        requests = max(1, int(whole_usd / worst_usd + 1e-9)) if worst_usd > 0.0 else self.parts
        return whole_usd * self.share(requests) / requests

    def seeds_key(self, seed: int) -> str:
        """What its picture seeds are drawn from. Nothing in it tells how many processes there are: each takes its part."""
        return self.block.seeds_key(seed, again=self.instead_of is not None)


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a turn: its record, and the send lags of its counting requests, ascending."""

    record: Block
    lags: list[float]


class Course:
    """A turn under way since `start_s` (load clock): requests that were due, sent, and held back, and how late and how long they were."""

    def __init__(self, turn: Turn, job: Job, start_s: float) -> None:
        self.turn = turn
        self.block = turn.block
        self.start_s = start_s
        self.warm_until_s = start_s + turn.block.warmup_s
        self.end_s = start_s + turn.block.whole_s
        self.scheduled = self.sent = self.sent_again = self.held = self.cursor = 0
        self.paused_s = 0.0  # in which an open loop waited for a first answer that a tight budget had to see
        self.ended_early = False  # nothing more was needed of it, or its share of the budget was used up
        self.lags: list[float] = []
        self.latencies: list[float] = []
        self.arrivals_key = turn.block.arrivals_key(job.seed)
        self.seeds: Iterator[bytes] = islice(seed_stream(turn.seeds_key(job.seed)), turn.part, None, turn.parts)
        self._job = job

    def taken(self, *, sent_until_s: float, ended_s: float, complete: bool, busy_percent: float, cpu_percent: float) -> Taken:
        """What came of it, once nothing more is sent and everything has ended."""
        zero, planned_s = self._job.started_s, self.block.duration_s
        lags, latencies = sorted(self.lags), sorted(self.latencies)
        record = block_record(
            self.turn,
            self._job,
            worker=self._job.worker,
            started_s=self.start_s - zero,
            ended_s=ended_s - zero,
            duration_s=planned_s
            if complete and not self.ended_early
            else max(0.0, min(planned_s, sent_until_s - self.warm_until_s - self.paused_s)),
            scheduled=self.scheduled,
            sent=self.sent,
            held=self.held,
            sent_again=self.sent_again,
            send_lag_p99_s=p99(lags),
            send_lag_max_s=lags[-1] if lags else None,
            latency_p50_s=latencies[len(latencies) // 2] if latencies else None,
            busy_percent=busy_percent,
            cpu_percent=cpu_percent,
            complete=complete,
        )
        return Taken(record, lags)


def block_record(
    turn: Turn,
    job: Job,
    *,
    worker: int,
    started_s: float,
    ended_s: float,
    duration_s: float,
    scheduled: int,
    sent: int,
    complete: bool,
    held: int = 0,
    sent_again: int = 0,
    send_lag_p99_s: float | None = None,
    send_lag_max_s: float | None = None,
    latency_p50_s: float | None = None,
    busy_percent: float = 0.0,
    cpu_percent: float = 0.0,
) -> Block:
    """The record of a turn's part, with what its block and its cell say filled in. Times in seconds of the run."""
    block, cell = turn.block, job.cells[turn.block.cell]
    return Block(
        sequence=turn.sequence,
        instead_of=turn.instead_of,
        cell=block.cell,
        provider=cell.provider,
        model=cell.model,
        operation=cell.operation,
        stage=block.stage,
        round=block.round,
        worker=worker,
        started_s=started_s,
        ended_s=ended_s,
        warmup_s=block.warmup_s,
        duration_s=duration_s,
        offered_rps=None if block.rate_rps is None else block.rate_rps / turn.parts,
        users=None if block.users is None else turn.share(block.users),
        scheduled=scheduled,
        sent=sent,
        dropped=max(0, scheduled - sent),
        held=held,
        sent_again=sent_again,
        send_lag_p99_s=send_lag_p99_s,
        send_lag_max_s=send_lag_max_s,
        latency_p50_s=latency_p50_s,
        busy_percent=busy_percent,
        cpu_percent=cpu_percent,
        complete=complete,
        target=cell.target,
    )


#: Takes a turn: the block, its sequence, the sequence of the turn it is taken again for. What came of it, one for each process.
Take = Callable[[BlockJob, int, int | None], Sequence[Taken]]


class Conductor:
    """Runs a job's turns. `passed_s` of `planned_s` seconds are over; `block` is the present turn's.

    `sent` says how many requests went out so far: a turn may end with its share of them before its time does.
    """

    def __init__(
        self, job: Job, take: Take, stopped: Callable[[], bool], on_block: Callable[[Block], None], sent: Callable[[], int] = lambda: 0
    ) -> None:
        self.job = job
        self.planned_s = sum(block.whole_s for block in job.blocks)
        self.passed_s = 0.0
        self.block: BlockJob | None = None
        self._began_s = 0.0
        self._resting = True
        self._sent = sent
        self._sent_before = 0
        self._first_s: float | None = None
        self._shared = any(block.max_requests is not None or block.max_cost_usd is not None for block in job.blocks)
        self._take = take
        self._stopped = stopped
        self._on_block = on_block
        self._records: list[Block] = []
        self._lags: dict[int, list[float]] = {}
        self._turns = 0

    def present_s(self) -> float:
        """Seconds of the plan that are over by now; a turn whose share of the requests is half used up is half over."""
        block = self.block
        if self._resting or block is None:
            return min(self.passed_s, self.planned_s)
        within = max(time.monotonic() - self._began_s, 0.0)
        if block.max_requests:
            within = max(within, block.whole_s * (self._sent() - self._sent_before) / block.max_requests)
        return min(self.passed_s + min(within, block.whole_s), self.planned_s)

    def left_s(self) -> float:
        """Seconds that the rest will take: as planned; where turns end with their share, at the pace of those so far."""
        done = self.present_s()
        if not self._shared or self._first_s is None or done <= 0.0:
            return self.planned_s - done
        return (self.planned_s - done) * (time.monotonic() - self._first_s) / done

    def run(self, more: Callable[[], list[BlockJob]] | None = None) -> None:
        """All turns until the last or a stop; then, as long as `more` gives any, further ones."""
        self._run(self.job.blocks)
        self._again()
        while more is not None and not self._stopped() and (further := more()):
            self.planned_s += sum(block.whole_s for block in further)
            self._run(further)

    def _run(self, blocks: Sequence[BlockJob]) -> None:
        for block in blocks:
            if self._stopped():
                return
            self._turn(block, None)

    def _again(self) -> None:
        for _ in range(self.job.repeats):
            late = worth_repeating(self._records, self._lags)
            if late is None or self._stopped():
                return
            again = next(
                block for block in self.job.blocks if (block.cell, block.stage, block.round) == (late.cell, late.stage, late.round)
            )
            self.planned_s += again.whole_s
            self._turn(again, late.sequence)

    def _turn(self, block: BlockJob, instead_of: int | None) -> None:
        self.block, self._began_s, self._resting = block, time.monotonic(), False
        self._first_s = self._began_s if self._first_s is None else self._first_s
        self._sent_before = self._sent()
        sequence = self._turns
        self._turns += 1
        taken = self._take(block, sequence, instead_of)
        self._resting = True
        self.passed_s += block.whole_s
        self._lags[sequence] = [lag for one in taken for lag in one.lags]
        for one in taken:
            self._records.append(one.record)
            self._on_block(one.record)
