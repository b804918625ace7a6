"""`--find-saturation`: looks at each stage while it is under way and when it is over (`stage_verdict`), and gives the load process the next one.

The ramp and the order of the rates are `bracket`'s; here is what they need of the disk, and what is said about them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from testcard.benchmarks.load.facts import stage_facts
from testcard.benchmarks.plan.job import BlockJob, CellJob
from testcard.benchmarks.plan.workload import Stage, Workload
from testcard.benchmarks.search.bracket import LOOKS, MOST_USERS, Search, SearchPlan, Step, sentence
from testcard.benchmarks.search.stage_verdict import (
    Figure,
    figures_of,
    judge_stage,
    may_be_the_generators_doing,
    settled,
    told_by_latencies,
)
from testcard.harness.runs.records import Block, Saturation, Saturations, SaturationStage, Summary, SummaryRow
from testcard.harness.runs.samples import SHARD_PATTERN
from testcard.harness.statistics import slo
from testcard.harness.stops import Stop, StopReason
from testcard.harness.text.words import significant

if TYPE_CHECKING:
    import pandas as pd

#: A stage that may have broken for the generator's sake is tried again, so many times in a search.
EXCUSES = 3


class SaturationSearch:
    """The searches of a run, one for each cell, in turns. It gives a load process its further blocks."""

    def __init__(self, workload: Workload, cells: Sequence[CellJob], folder: Path, *, plan: SearchPlan, say: Callable[[str], None]) -> None:
        self.workload = workload
        self.cells = list(cells)
        # Each search has its share of the budget; targets that are held to few in flight are ramped to as many.
        share = replace(plan, budget=None if plan.budget is None else plan.budget // len(self.cells))
        most = workload.max_in_flight or MOST_USERS
        self.searches = [Search(share, most, bool(workload.slo)) for _ in cells]
        self.rows: dict[tuple[int, str], SummaryRow] = {}
        self._objectives = [slo.parse(text) for text in workload.slo]
        self._folder = folder
        self._say = say
        self._waiting: list[BlockJob] = []
        self._tries: dict[tuple[int, str], int] = {}
        self._looks = 0  # at the stage under way
        self._looked_at: BlockJob | None = None
        self._foretold: set[int] = set()

    def first(self) -> list[BlockJob]:
        """The blocks to begin with: a stage for each cell."""
        return self._next_blocks()

    def more(self, blocks: Sequence[Block]) -> list[BlockJob]:
        """The next stage of every search that is not over, once the last ones are judged by all that is on disk."""
        for job in self._waiting:
            self._judge(job, _of(job, blocks))
        return self._next_blocks()

    def look(self, blocks: Sequence[Block]) -> BlockJob | None:
        """The stage under way, where what has come of it is sure already; None where it has to go on."""
        job = next((job for job in self._waiting if not _of(job, blocks)), None)
        if job is None or job.rate_rps is None or not told_by_latencies(self._objectives, job.duration_s):
            return None
        if job is not self._looked_at:
            self._looked_at, self._looks = job, 0
        if not any(self._folder.glob(SHARD_PATTERN)):
            return None
        frame = self._samples(job)
        measured = frame[~frame["warmup"].fillna(False).astype(bool)]
        if not len(measured):
            return None
        passed = float(measured["done_s"].max() - measured["scheduled_s"].min())
        look = min(int(LOOKS * passed / job.duration_s), LOOKS - 1)
        if look <= self._looks:
            return None
        self._looks = look
        limit = max((objective.threshold for objective in self._objectives if objective.latency_limit_s is not None), default=0.0)
        kept = measured[settled(measured["scheduled_s"].to_numpy(dtype=float), measured["done_s"].to_numpy(dtype=float), limit)]
        figures = figures_of(kept, self._objectives)
        if len(figures) < len(self._objectives):
            return None  # another objective, or refusals, are judged by the whole stage
        surely_broke = any(figure.sure and not figure.held for figure in figures.values())
        return job if surely_broke or all(figure.sure for figure in figures.values()) else None

    def end(self, blocks: Sequence[Block], stops: Sequence[Stop]) -> None:
        """The run is over: what of the last stages is sure counts, and a search without its answer says what ended it."""
        for job in self._waiting:
            own = _of(job, blocks)
            search = self.searches[job.cell]
            if own and all(block.complete for block in own):
                self._judge(job, own)
            elif own and job.rate_rps is not None and (step := self._partial(job, own)) is not None:
                search.take(step)
        self._waiting = []
        for search in self.searches:
            if stops and search.limit is None and not search.found:
                search.limit = stops[0]

    def _next_blocks(self) -> list[BlockJob]:
        self._waiting = []
        for index, search in enumerate(self.searches):
            trial = search.next_trial()
            if trial is None:
                continue
            label = Stage(rate_rps=trial.rate_rps, users=trial.users, duration_s=1.0).label
            number = self._tries[index, label] = self._tries.get((index, label), 0) + 1  # its arrivals are drawn from it
            self._waiting.append(
                BlockJob(
                    cell=index,
                    round=number,
                    stage=label,
                    rate_rps=trial.rate_rps,
                    users=trial.users,
                    warmup_s=trial.warmup_s,
                    duration_s=trial.duration_s,
                    exact=True,
                )
            )
        return self._waiting

    def _judge(self, job: BlockJob, blocks: Sequence[Block]) -> None:
        search, name = self.searches[job.cell], self._name(job)
        if not blocks or not all(block.complete for block in blocks):
            search.limit = Stop(reason=StopReason.STAGE_CUT, target=job.stage)
            return
        frame = self._samples(job)
        if job.users is not None:
            self._ramped(job, search, frame)
            return
        found = self._step(job, blocks, frame)
        if found is None:
            search.limit = Stop(reason=StopReason.NOTHING_SENT, target=job.stage)
            return
        step, row, figures = found
        if not step.held and row.generator.limit is not None and may_be_the_generators_doing(row, self._objectives, figures):
            # A late generator only adds to latencies: what held all the same held. What broke may have broken for its sake.
            search.excuses += 1
            search.requests += len(frame)
            if search.excuses > EXCUSES:
                how = (row.note or "").partition(";")[0]
                search.limit = Stop(reason=StopReason.GENERATOR_SATURATED, target=job.stage, detail=how)
                return
            self._say(f"{name}: once more, because the load generator was late ({step.why})")
            return
        search.take(step, len(frame))
        why = f": {step.why}" if step.why else ""
        self._say(f"{name}: {'holds' if step.held else 'breaks'}{'' if step.sure else ' (not sure)'}{why}")

    def _ramped(self, job: BlockJob, search: Search, frame: pd.DataFrame) -> None:
        """A window of the ramp is over."""
        answered = frame[~frame["outcome"].isin(("interrupted", "connect", "tls"))]
        if not len(answered) or job.users is None:
            search.limit = Stop(reason=StopReason.NOTHING_SENT, target=job.stage)
            return
        failed = int((~answered["outcome"].isin(("ok", "slow"))).sum())
        search.ramped(job.users, answered["scheduled_s"].to_numpy(dtype=float), answered["done_s"].to_numpy(dtype=float), failed)
        window = search.windows[-1]
        self._say(f"{self._name(job)}: completes {significant(window.rps)}/s, {window.latency_s:.3g} s each")
        if search.ramp_is_over and search.plateau_rps is None and job.cell not in self._foretold:
            self._foretold.add(job.cell)
            seconds, requests = search.expected()
            self._say(
                f"{self._name(job)}: the stages take about {seconds:.0f} s and {requests:,} requests more, less where they are soon sure"
            )

    def _name(self, job: BlockJob) -> str:
        cell = self.cells[job.cell]
        return f"{cell.provider} {cell.operation} {job.stage}"

    def _step(self, job: BlockJob, blocks: Sequence[Block], frame: pd.DataFrame) -> tuple[Step, SummaryRow, dict[str, Figure]] | None:
        """The verdict on a stage, from its samples; None where nothing was sent."""
        from testcard.harness.statistics.summary import summarise

        capped = self.workload.max_in_flight is not None
        summary = summarise(frame, objectives=self._objectives, facts=stage_facts(frame, blocks, capped=capped))
        if not summary.rows or job.rate_rps is None:
            return None
        row = summary.rows[0]
        self.rows[job.cell, job.stage] = row
        figures = figures_of(frame, self._objectives)
        return judge_stage(job.rate_rps, row, self._objectives, figures), row, figures

    def _partial(self, job: BlockJob, blocks: Sequence[Block]) -> Step | None:
        """The verdict on a stage that was cut short, where it is sure and no doing of the generator's; else None."""
        found = self._step(job, blocks, self._samples(job))
        return found[0] if found is not None and found[0].sure and found[1].generator.limit is None else None

    def _samples(self, job: BlockJob) -> pd.DataFrame:
        """The samples of the turn so far, in order."""
        import pyarrow as pa

        from testcard.harness.runs.samples import read_shard
        from testcard.harness.statistics.samples import duplicates_marked

        cell = self.cells[job.cell]
        shards = [read_shard(shard) for shard in sorted(self._folder.glob(SHARD_PATTERN))]
        frame: pd.DataFrame = duplicates_marked(pa.concat_tables(shards)).to_pandas()
        mine = (frame["stage"] == job.stage) & (frame["target"] == cell.target) & (frame["operation"] == cell.operation)
        model = frame["model"].isna() if cell.model is None else frame["model"] == cell.model
        kept: pd.DataFrame = frame[mine & model & (frame["round"] == job.round)].sort_values("scheduled_s", ignore_index=True)
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
                rows.append(msgspec.structs.replace(row, gates=[], outcome="pass"))  # the ramp's
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
                    holds_rps=search.answer_rps,
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


def _of(job: BlockJob, blocks: Sequence[Block]) -> list[Block]:
    """The records of a turn."""
    return [block for block in blocks if (block.cell, block.stage, block.round) == (job.cell, job.stage, job.round)]


def _label(rate_rps: float) -> str:
    return Stage(rate_rps=rate_rps, duration_s=1.0).label
