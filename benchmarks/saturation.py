"""`--find-saturation`: judges each stage as soon as it is over, and gives the load process the next one.

A stage breaks when an objective fails, when the server falls behind (it achieves less than 99 % of what was offered), or when
more than 1 % of its requests fail and no objective says how many may. Where the 95 % interval of a figure holds its threshold,
or there is none (queues make successive latencies alike), the figure itself decides, and the stage counts as unsure unless the
figure is a fifth away from the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from testcard.benchmarks.facts import stage_facts
from testcard.benchmarks.job import BlockJob, CellJob
from testcard.benchmarks.search import Search, SearchPlan, Step, sentence
from testcard.benchmarks.session import Session
from testcard.benchmarks.workload import Stage, Workload
from testcard.harness.errors import UsageError
from testcard.harness.runs.records import Block, Saturation, Saturations, SaturationStage, Summary, SummaryRow
from testcard.harness.statistics import slo

if TYPE_CHECKING:
    import pandas as pd

#: A stage is as long as the workload's first one, but has so many requests where that many times its length suffices.
ENOUGH = 150
STRETCH = 8.0
#: A queue near its limit takes time to fill: so much of each stage is warm-up, at least.
WARMUP_SHARE = 0.25
KEEPS_UP, SURELY_BEHIND = 0.99, 0.97
FAILURES = 0.01
#: A figure without an interval decides for sure when it is so far from its threshold.
CLEAR = 0.2
#: A stage that may have broken for the generator's sake is tried again, so many times in a search.
EXCUSES = 3


class SaturationSearch:
    """The searches of a run, one for each cell, in turns. It gives a session its further blocks."""

    def __init__(self, workload: Workload, cells: Sequence[CellJob], folder: Path, *, plan: SearchPlan, say: Callable[[str], None]) -> None:
        if not workload.slo:
            raise UsageError("--find-saturation needs an objective to hold", hint="such as --slo 'p95<2s' --slo 'error_rate<1%'")
        self.workload = workload
        self.cells = list(cells)
        self.searches = [Search(plan.start_rps, plan.max_stages) for _ in cells]
        self.rows: dict[tuple[int, str], SummaryRow] = {}
        self._objectives = [slo.parse(text) for text in workload.slo]
        self._folder = folder
        self._say = say
        self._waiting: list[BlockJob] = []

    def first(self) -> list[BlockJob]:
        """The blocks to begin with: a stage for each cell."""
        return self._next_blocks()

    def attach(self, session: Session) -> None:
        """Lets the session ask for further blocks here."""
        session.more = lambda: self.more(session.blocks)

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
            self._waiting.append(
                BlockJob(cell=index, round=1, stage=label, rate_rps=rate, users=None, warmup_s=warmup, duration_s=seconds, exact=True)
            )
        return self._waiting

    def _judge(self, job: BlockJob, blocks: Sequence[Block]) -> None:
        from testcard.harness.statistics.summary import summarise

        search = self.searches[job.cell]
        if not blocks or not all(block.complete for block in blocks):
            search.limit = "the run was stopped, or a worker lost, in the middle of a stage"
            return
        blocks = [block for block in blocks if block.sequence == max(block.sequence for block in blocks)]
        frame = self._samples(job, blocks)
        capped = self.workload.max_in_flight is not None
        summary = summarise(frame, objectives=self._objectives, facts=stage_facts(frame, blocks, capped=capped))
        assert job.rate_rps is not None
        if not summary.rows:
            return
        row = summary.rows[0]
        self.rows[job.cell, job.stage] = row
        percentiles = raw_percentiles(frame)
        step = judge_stage(job.rate_rps, row, self._objectives, percentiles)
        late = (
            row.outcome == "inconclusive"
            and "load generator" in (row.note or "")
            and may_be_the_generators_doing(row, self._objectives, percentiles)
        )
        if not step.held and (late or not step.sure):
            # A late generator only adds to latencies: what held all the same held. What broke may have broken for its sake, or
            # by chance: it gets another try.
            search.excuses += 1
            if search.excuses <= EXCUSES:
                self._say(f"{self.cells[job.cell].provider} {self.cells[job.cell].operation} {job.stage}: once more ({step.why})")
                return
            if late:
                search.limit = f"at {job.stage} {(row.note or '').partition(';')[0]}"
                return
        search.steps.append(step)
        words = "holds" if step.held else "breaks"
        cell = self.cells[job.cell]
        self._say(
            f"{cell.provider} {cell.operation} {job.stage}: {words}{'' if step.sure else ' (not sure)'}{f': {step.why}' if step.why else ''}"
        )

    def _samples(self, job: BlockJob, job_blocks: Sequence[Block]) -> pd.DataFrame:
        """The samples of the stage's last turn."""
        import pyarrow as pa

        from testcard.harness.runs.repeats import duplicates_marked
        from testcard.harness.runs.samples import SHARD_PATTERN, read_shard

        cell = self.cells[job.cell]
        shards = [read_shard(shard) for shard in sorted(self._folder.glob(SHARD_PATTERN))]
        frame: pd.DataFrame = duplicates_marked(pa.concat_tables(shards)).to_pandas()
        mine = (frame["stage"] == job.stage) & (frame["target"] == cell.target) & (frame["operation"] == cell.operation)
        model = frame["model"].isna() if cell.model is None else frame["model"] == cell.model
        began = min(block.started_s for block in job_blocks)
        kept: pd.DataFrame = frame[mine & model & (frame["scheduled_s"] >= began - 1e-6)].sort_values("scheduled_s", ignore_index=True)
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


def judge_stage(rate: float, row: SummaryRow, objectives: Sequence[slo.Objective], percentiles: dict[str, float]) -> Step:
    """Whether a stage of that planned rate held, and how sure that is. `percentiles`: the stage's own, where the row has too few samples to state one."""
    broken, unsure = [], []
    for objective, gate in zip(objectives, row.gates, strict=True):
        figure = gate.observed.value if gate.observed.value is not None else percentiles.get(objective.metric)
        if gate.verdict == "fail":
            broken.append(f"{objective.expression} ({_shown(figure)})")
        elif gate.verdict == "inconclusive":
            if figure is None:
                unsure.append(f"{objective.expression} could not be judged")
            elif objective.keeps(figure):
                if not _is_clear(objective, figure):
                    unsure.append(f"{objective.expression} just holds ({_shown(figure)})")
            else:
                broken.append(f"{objective.expression} ({_shown(figure)})")
                if not _is_clear(objective, figure):
                    unsure.append(objective.expression)
    offered = row.offered_rps or 0.0
    failed = row.requests - row.ok
    if (kept_up := _kept_up(row)) < KEEPS_UP:
        broken.append(f"the server falls behind: {row.achieved_rps:.3g} of {offered:.3g} requests a second")
        unsure = [] if kept_up < SURELY_BEHIND else [*unsure, *broken]
    if failed > FAILURES * row.requests and not any(objective.metric in ("error_rate", "ok_rate") for objective in objectives):
        kinds = ", ".join(f"{count} {name}" for name, count in row.errors.items())
        broken.append(f"{failed} of {row.requests} requests failed ({kinds})")
        unsure = [] if failed > 2 else unsure
    held = not broken
    return Step(rate, held, not unsure if held else len(broken) > len(unsure), "; ".join(broken or unsure))


def _kept_up(row: SummaryRow) -> float:
    """The share of the offered rate at which answers came in. What failed was answered too."""
    if not row.ok or not row.offered_rps:
        return 1.0
    return row.achieved_rps / (row.offered_rps * row.ok / row.requests)


def may_be_the_generators_doing(row: SummaryRow, objectives: Sequence[slo.Objective], percentiles: dict[str, float]) -> bool:
    """Whether a stage that broke might have held but for the generator's lag: what fell behind by less than five times the lag,
    or missed an objective by less than it. Without a known lag, or with arrivals that were never sent, it might.
    """
    lag = row.generator.send_lag_p99_s
    if lag is None or "never sent" in (row.note or ""):
        return True
    if (kept_up := _kept_up(row)) < KEEPS_UP and (1.0 / kept_up - 1.0) * row.duration_s > 5.0 * lag:
        return False
    figures = [(objective, percentiles.get(objective.metric)) for objective in objectives]
    return not any(figure is not None and not objective.keeps(max(0.0, figure - lag)) for objective, figure in figures)


def _is_clear(objective: slo.Objective, figure: float) -> bool:
    """Whether a figure lies clearly on its side of the threshold, where no interval can say so."""
    ratio = figure / objective.threshold if objective.threshold else math.inf
    return ratio >= 1.0 + CLEAR or ratio <= 1.0 / (1.0 + CLEAR)


def raw_percentiles(frame: pd.DataFrame) -> dict[str, float]:
    """Percentiles of the delivered requests' latencies (and service times) outside the warm-up, by the names that objectives use."""
    kept = frame[~frame["warmup"].fillna(False).astype(bool) & frame["outcome"].isin(("ok", "slow", "timeout"))]
    if not len(kept):
        return {}
    found = {}
    for prefix, values in (("", kept["done_s"] - kept["scheduled_s"]), ("service_", kept["done_s"] - kept["sent_s"])):
        ascending = sorted(values)
        for name, q in slo.PERCENTILES.items():
            found[prefix + name] = ascending[max(0, int(-(-q * len(ascending) // 1)) - 1)]
    return found


def _label(rate_rps: float) -> str:
    return Stage(rate_rps=rate_rps, duration_s=1.0).label


def _shown(figure: float | None) -> str:
    return "not measured" if figure is None else f"{figure:.3g}"
