"""A worker as its master sees it: who it is, what it has sent home, what it was given to do."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

import pyarrow as pa

from testcard.benchmarks.fleet import messages as m
from testcard.benchmarks.fleet.shipping import batch_of
from testcard.benchmarks.judging.recorder import Shard
from testcard.benchmarks.load.arrivals import offsets_of
from testcard.benchmarks.load.turns import Taken, Turn, block_record
from testcard.benchmarks.plan.job import Job
from testcard.benchmarks.plan.workload import Workload


class Member:
    """One worker as its master sees it."""

    def __init__(self, client_id: str, index: int, hello: m.Hello, folder: Path) -> None:
        self.client_id = client_id
        self.index = index
        self.hello = hello
        self.shard = Shard(folder, index)
        self.batches = 0
        self.ready = False
        self.gone = False
        self.left = False
        self.state: dict[str, Any] | None = None
        self.turned: m.Turned | None = None
        self._turn: Turn | None = None
        self._rows_before = 0

    def __str__(self) -> str:
        return f"worker {self.index} ({self.hello.host}, process {self.hello.pid})"

    def keep(self, message: m.Samples) -> pa.RecordBatch | None:
        """Writes a batch of samples that comes next and returns it; None for one that is there already or is none."""
        if message.number != self.batches:
            return None  # sent again because its confirmation was lost; what lies before it comes first
        try:
            batch = batch_of(message)
        except pa.ArrowInvalid:
            return None
        self.shard.write(batch)
        self.batches += 1
        return batch

    def begin(self, turn: Turn) -> None:
        """It is given its part of a turn."""
        self._turn, self.turned, self._rows_before = turn, None, self.shard.rows_written

    def taken(self, job: Job, workload: Workload, now_s: float) -> Taken:
        """What came of its part: as it said, or, where it was lost, what was due by the schedule and what is known to have been sent."""
        if self.turned is not None:
            lags = array("f")
            lags.frombytes(self.turned.lags)
            return Taken(self.turned.record, lags.tolist())
        turn = self._turn
        assert turn is not None
        assert turn.start_s is not None
        due = len(range(turn.part, len(offsets_of(workload.arrival, turn.block, turn.key(job.seed))), turn.parts))
        sent = self.shard.rows_written - self._rows_before
        record = block_record(
            turn,
            job,
            worker=self.index,
            started_s=turn.start_s - job.started_s,
            ended_s=now_s - job.started_s,
            duration_s=turn.block.duration_s,
            scheduled=max(due, sent),
            sent=sent,
            complete=False,
        )
        return Taken(record, [])
