"""`--find-saturation`: judges each stage as soon as it is over (see `stage_verdict`), and gives the load process the next one.

A stage that is not sure, or broke and would end the search, is taken again with other arrivals and judged by all of its turns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from testcard.benchmarks.load.facts import stage_facts
from testcard.benchmarks.plan.job import BlockJob, CellJob
from testcard.benchmarks.plan.workload import Stage, Workload
from testcard.benchmarks.search.bracket import Search, SearchPlan, sentence
from testcard.benchmarks.search.stage_verdict import figures_of, judge_stage, may_be_the_generators_doing
from testcard.harness.runs.records import Block, Saturation, Saturations, SaturationStage, Summary, SummaryRow
from testcard.harness.statistics import slo
from testcard.harness.stops import Stop, StopReason

if TYPE_CHECKING:
    import pandas as pd

#: A stage is as long as the workload's first one, but has so many requests where that many times its length suffices.
ENOUGH = 150
STRETCH = 8.0
#: A queue near its limit takes time to fill: so much of each stage is warm-up, at least.
WARMUP_SHARE = 0.25
#: A stage that may have broken for the generator's sake is tried again, so many times in a search.
EXCUSES = 3


class SaturationSearch:
    """The searches of a run, one for each cell, in turns. It gives a load process its further blocks."""

    def __init__(self, workload: Workload, cells: Sequence[CellJob], folder: Path, *, plan: SearchPlan, say: Callable[[str], None]) -> None:
        self.workload = workload
        self.cells = list(cells)
        self.searches = [Search(plan.start_rps, plan.max_stages) for _ in cells]
        self.rows: dict[tuple[int, str], SummaryRow] = {}
        self._objectives = [slo.parse(text) for text in workload.slo]
        self._folder = folder
        self._say = say
        self._waiting: list[BlockJob] = []
        self._tries: dict[tuple[int, str], int] = {}
        self._left_out: set[tuple[int, str, int]] = set()  # cell, stage and round of turns in which the generator was late

    def first(self) -> list[BlockJob]:
        """The blocks to begin with: a stage for each cell."""
        return self._next_blocks()

    def more(self, blocks: Sequence[Block]) -> list[BlockJob]:
        """The next stage of every search that is not over, once the last ones are judged by all that is on disk."""
        for job in self._waiting:
            self._judge(job, [block for block in blocks if (block.cell, block.stage) == (job.cell, job.stage)])
        return self._next_blocks()

    def _next_blocks(self) -> list[BlockJob]:
        self._waiting = []
        for index, search in enumerate(self.searches):
            rate = search.next_rps()
            if rate is None:
                continue
            length = self.workload.stage[0].duration_s
            seconds = min(max(length, ENOUGH / rate), STRETCH * length)
            label = _label(rate)
            warmup = max(self.workload.warmup_s, WARMUP_SHARE * seconds)
            number = self._tries[index, label] = self._tries.get((index, label), 0) + 1  # its arrivals are drawn from it
            self._waiting.append(
                BlockJob(cell=index, round=number, stage=label, rate_rps=rate, users=None, warmup_s=warmup, duration_s=seconds, exact=True)
            )
        return self._waiting

    def _judge(self, job: BlockJob, blocks: Sequence[Block]) -> None:
        from testcard.harness.statistics.summary import summarise

        search = self.searches[job.cell]
        if not blocks or not all(block.complete for block in blocks):
            search.limit = Stop(reason=StopReason.STAGE_CUT, target=job.stage)
            return
        blocks = [block for block in blocks if (block.cell, block.stage, block.round) not in self._left_out]
        turns = len({block.round for block in blocks})
        frame = self._samples(job, {block.round for block in blocks})
        capped = self.workload.max_in_flight is not None
        summary = summarise(frame, objectives=self._objectives, facts=stage_facts(frame, blocks, capped=capped))
        assert job.rate_rps is not None
        if not summary.rows:
            search.limit = Stop(reason=StopReason.NOTHING_SENT, target=job.stage)
            return
        row = summary.rows[0]
        self.rows[job.cell, job.stage] = row
        figures = figures_of(frame, [objective.metric for objective in self._objectives], turns)
        step = judge_stage(job.rate_rps, row, self._objectives, figures)
        cell = self.cells[job.cell]
        name = f"{cell.provider} {cell.operation} {job.stage}"
        if not step.held and row.generator.limit is not None and may_be_the_generators_doing(row, self._objectives, figures):
            # A late generator only adds to latencies: what held all the same held. What broke may have broken for its sake.
            search.turns += 1
            search.excuses += 1
            if search.excuses > EXCUSES:
                how = (row.note or "").partition(";")[0]
                search.limit = Stop(reason=StopReason.GENERATOR_SATURATED, target=job.stage, detail=how)
                return
            self._left_out.add((job.cell, job.stage, job.round))
            search.again = job.rate_rps
            self._say(f"{name}: once more, because the load generator was late ({step.why})")
        elif search.take(step, turns):
            why = f": {step.why}" if step.why else ""
            self._say(f"{name}: {'holds' if step.held else 'breaks'}{'' if step.sure else ' (not sure)'}{why}")
        else:
            self._say(f"{name}: not sure yet, once more ({step.why})")

    def _samples(self, job: BlockJob, rounds: set[int]) -> pd.DataFrame:
        """The samples of the stage's turns that count, in order."""
        import pyarrow as pa

        from testcard.harness.runs.samples import SHARD_PATTERN, read_shard
        from testcard.harness.statistics.samples import duplicates_marked

        cell = self.cells[job.cell]
        shards = [read_shard(shard) for shard in sorted(self._folder.glob(SHARD_PATTERN))]
        frame: pd.DataFrame = duplicates_marked(pa.concat_tables(shards)).to_pandas()
        mine = (frame["stage"] == job.stage) & (frame["target"] == cell.target) & (frame["operation"] == cell.operation)
        model = frame["model"].isna() if cell.model is None else frame["model"] == cell.model
        kept: pd.DataFrame = frame[mine & model & frame["round"].isin(rounds)].sort_values("scheduled_s", ignore_index=True)
        return kept

    def as_measured(self, summary: Summary) -> Summary:
        """The summary of a search: its stages are there to break, so no gate is set on them; each says whether it held."""
        steps = {}
        for cell, search in zip(self.cells, self.searches, strict=True):
            for step in search.steps:
                steps[cell.target, cell.model, cell.operation, _label(step.rate_rps)] = step
        rows = []
        for row in summary.rows:
            tried = steps.get((row.target or 0, row.model, row.operation, row.stage))
            if tried is None:
                rows.append(msgspec.structs.replace(row, gates=[]))
                continue
            note = f"{'held' if tried.held else 'broke'}{'' if tried.sure else ' (not sure)'}{f': {tried.why}' if tried.why else ''}"
            rows.append(msgspec.structs.replace(row, gates=[], outcome="pass", note=note))
        return msgspec.structs.replace(summary, rows=rows)

    def result(self) -> Saturations:
        """What was found, for saturation.json."""
        found = []
        for index, (cell, search) in enumerate(zip(self.cells, self.searches, strict=True)):
            low, high = search.interval
            found.append(
                Saturation(
                    provider=cell.provider,
                    model=cell.model,
                    operation=cell.operation,
                    target=cell.target,
                    holds_rps=search.held.rate_rps if search.held else None,
                    breaks_rps=search.broke.rate_rps if search.broke else None,
                    low_rps=low,
                    high_rps=high,
                    broke_first=search.broke.why if search.broke else None,
                    conclusive=search.found,
                    sentence=sentence(search),
                    stop=search.limit,
                    stages=[
                        SaturationStage(
                            rate_rps=step.rate_rps,
                            held=step.held,
                            sure=step.sure,
                            why=step.why,
                            achieved_rps=row.achieved_rps if row else None,
                            requests=row.requests if row else 0,
                        )
                        for step in search.steps
                        for row in (self.rows.get((index, _label(step.rate_rps))),)
                    ],
                )
            )
        return Saturations(results=found, slo=list(self.workload.slo))


def _label(rate_rps: float) -> str:
    return Stage(rate_rps=rate_rps, duration_s=1.0).label
