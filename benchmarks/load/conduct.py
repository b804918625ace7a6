"""The order of a run: its turns one after another, those worth taking again, further ones that are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from testcard.benchmarks.load.lateness import worth_repeating
from testcard.benchmarks.load.turns import Taken
from testcard.benchmarks.plan.job import BlockJob, Job
from testcard.harness.runs.records import Block

#: Takes a turn: the block, its sequence, the sequence of the turn it is taken again for. What came of it, one for each process.
Take = Callable[[BlockJob, int, int | None], Sequence[Taken]]


class Conductor:
    """Runs a job's turns. `passed_s` of `planned_s` seconds are over; `block` is the present turn's."""

    def __init__(self, job: Job, take: Take, stopped: Callable[[], bool], on_block: Callable[[Block], None]) -> None:
        self.job = job
        self.planned_s = sum(block.whole_s for block in job.blocks)
        self.passed_s = 0.0
        self.block: BlockJob | None = None
        self._began_s = 0.0
        self._resting = True
        self._take = take
        self._stopped = stopped
        self._on_block = on_block
        self._records: list[Block] = []
        self._lags: dict[int, list[float]] = {}
        self._turns = 0

    def present_s(self) -> float:
        """Seconds of the plan that are over by now."""
        within = 0.0 if self._resting or self.block is None else min(max(time.monotonic() - self._began_s, 0.0), self.block.whole_s)
        return min(self.passed_s + within, self.planned_s)

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
        sequence = self._turns
        self._turns += 1
        taken = self._take(block, sequence, instead_of)
        self._resting = True
        self.passed_s += block.whole_s
        self._lags[sequence] = [lag for one in taken for lag in one.lags]
        for one in taken:
            self._records.append(one.record)
            self._on_block(one.record)
