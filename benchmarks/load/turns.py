"""A turn as one process takes it: its part of the arrivals or users, what happens in it, and its record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from testcard.benchmarks.load.lateness import p99
from testcard.benchmarks.plan.asks import seed_stream
from testcard.benchmarks.plan.job import BlockJob, Job
from testcard.harness.runs.records import Block


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

    def key(self, seed: int) -> str:
        """What its arrivals and seeds are drawn from. Nothing in it tells how many processes there are: each takes its part."""
        return self.block.key(seed, again=self.instead_of is not None)


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
        self.scheduled = self.sent = self.held = self.cursor = 0
        self.lags: list[float] = []
        self.latencies: list[float] = []
        self.key = turn.key(job.seed)
        self.seeds: Iterator[bytes] = islice(seed_stream(self.key), turn.part, None, turn.parts)
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
            duration_s=planned_s if complete else max(0.0, min(planned_s, sent_until_s - self.warm_until_s)),
            scheduled=self.scheduled,
            sent=self.sent,
            held=self.held,
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
        send_lag_p99_s=send_lag_p99_s,
        send_lag_max_s=send_lag_max_s,
        latency_p50_s=latency_p50_s,
        busy_percent=busy_percent,
        cpu_percent=cpu_percent,
        complete=complete,
    )
