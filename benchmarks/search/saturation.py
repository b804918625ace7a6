"""`--find-saturation`: looks at each stage while it is under way and when it is over, and gives the load process the next one.

The ramp and the order of the rates are `bracket`'s; here is what they need of the disk, and what is said about them.

Whether a stage of a search for saturation held its objectives, and how sure that is. Pure: samples in, a step out.

A stage breaks when an objective fails, when the server falls behind (it achieves less than 99 % of what was offered), or when
more than 1 % of its requests fail and no objective says how many may.

A limit on a percentile is judged by the share of requests that took longer (`harness/statistics/limit_share`), with the tails that so
many looks allow. Where that is not sure, the count leans one way: one request more over the limit is assumed than was seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from testcard.benchmarks.load.facts import stage_facts
from testcard.benchmarks.plan.job import BlockJob, CellJob
from testcard.benchmarks.plan.workload import Stage, Workload
from testcard.benchmarks.search.bracket import LOOKS, MOST_USERS, Search, SearchPlan, Step, sentence
from testcard.harness.runs.records import PERCENTILES, Block, Saturation, Saturations, SaturationStage, Summary, SummaryRow
from testcard.harness.runs.samples import SHARD_PATTERN
from testcard.harness.statistics import slo
from testcard.harness.statistics.limit_share import LimitVerdict, judge_limit
from testcard.harness.statistics.percentiles import nearest
from testcard.harness.stops import Stop, StopReason
from testcard.harness.text.words import significant

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

KEEPS_UP, SURELY_BEHIND = 0.99, 0.97
FAILURES = 0.01
#: Limits beyond this share of a stage are not what a growing queue meets first.
LIMIT_SHARE = 0.25
#: Another figure without an interval decides for sure when it is so far from its threshold.
CLEAR = 0.2


#: Busy spells are rare and long: a short stage more often misses one than meets one, so one more is counted where nothing is sure.
ONE_MORE = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """A percentile of a stage: its value in seconds, and the verdict on its limit."""

    value_s: float
    limit: LimitVerdict

    @property
    def held(self) -> bool:
        """Whether it kept its limit, or leans that way."""
        if self.limit.verdict != "undecided":
            return self.limit.verdict == "holds"
        return self.limit.over + ONE_MORE <= self.limit.allowed * self.limit.n

    @property
    def sure(self) -> bool:
        """Whether chance cannot have decided it."""
        return self.limit.verdict != "undecided"


def figure_of(latencies_s: Floats, q: float, limit_s: float, *, inclusive: bool = False, censored: Mask | None = None) -> Figure:
    """The q-quantile (nearest rank) of a stage's latencies in order of their schedule, judged against its limit."""
    verdict = judge_limit(
        latencies_s,
        np.zeros(len(latencies_s), dtype=np.int64),
        limit=limit_s,
        allowed=1.0 - q,
        censored=censored,
        inclusive=inclusive,
        looks=LOOKS,
    )
    return Figure(nearest(np.sort(latencies_s), q), verdict)


def figures_of(frame: pd.DataFrame, objectives: Sequence[slo.Objective]) -> dict[str, Figure]:
    """Those of the objectives' percentiles (`p95`, `service_p95`) that the delivered requests outside the warm-up give, by expression."""
    kept = frame[~frame["warmup"].fillna(False).astype(bool) & frame["outcome"].isin(("ok", "slow", "timeout"))]
    found: dict[str, Figure] = {}
    if not len(kept):
        return found
    censored = (kept["outcome"] == "timeout").to_numpy(dtype=bool)
    for objective in objectives:
        for prefix, begin in (("", "scheduled_s"), ("service_", "sent_s")):
            name = objective.metric.removeprefix(prefix)
            if objective.operator in ("<", "<=") and objective.metric == prefix + name and name in PERCENTILES:
                values = (kept["done_s"] - kept[begin]).to_numpy(dtype=np.float64)
                inclusive = objective.operator == "<="
                found[objective.expression] = figure_of(
                    values, PERCENTILES[name], objective.threshold, inclusive=inclusive, censored=censored
                )
    return found


def settled(due_s: Floats, done_s: Floats, limit_s: float) -> Mask:
    """Of a stage under way, those that were due so long before the last answer that they have had the limit's time to end."""
    return due_s <= float(done_s.max(initial=0.0)) - limit_s


def told_by_latencies(objectives: Sequence[slo.Objective], stage_s: float) -> bool:
    """Whether a queue that grows in a stage of so many seconds breaks an objective before its end."""
    limits = [objective.threshold for objective in objectives if objective.latency_limit_s is not None]
    return bool(limits) and min(limits) <= stage_s * LIMIT_SHARE


def judge_stage(rate: float, row: SummaryRow, objectives: Sequence[slo.Objective], figures: Mapping[str, Figure]) -> Step:
    """Whether a stage of that planned rate held, and how sure that is."""
    broken, unsure = [], []
    for objective, gate in zip(objectives, row.gates, strict=True):
        figure = figures.get(objective.expression)
        value = figure.value_s if figure is not None else gate.observed.value
        words = f"{objective.expression} ({_shown(value)})"
        if figure is not None:
            broken += [] if figure.held else [words]
            if not figure.sure:
                unsure.append(f"{objective.expression} just holds ({_shown(value)})" if figure.held else words)
        elif gate.verdict != "inconclusive":
            broken += [words] if gate.verdict == "fail" else []
        elif value is None:
            unsure.append(f"{objective.expression} could not be judged")
        else:
            broken += [] if objective.keeps(value) else [words]
            if not _is_clear(objective, value):
                unsure.append(words if not objective.keeps(value) else f"{objective.expression} just holds ({_shown(value)})")
    failed = row.requests - row.ok
    # A server that falls behind shows it in its latencies soon; only where their limits are long, in what it has answered by the end.
    if not told_by_latencies(objectives, row.duration_s or 0.0) and (kept_up := _kept_up(row)) < KEEPS_UP:
        broken.append(
            f"the server falls behind: {significant(row.achieved_rps)} of {significant(row.offered_rps or 0.0)} requests a second"
        )
        unsure = [] if kept_up < SURELY_BEHIND else [*unsure, broken[-1]]
    if failed > FAILURES * row.requests and not any(objective.metric in ("error_rate", "ok_rate") for objective in objectives):
        kinds = ", ".join(f"{count} {name}" for name, count in row.errors.items())
        refused = row.errors.get("rate-limited", 0)
        begins = f": 429 begins at {significant(rate)}/s or below" if refused > failed / 2 else ""
        broken.append(f"{failed} of {row.requests} requests failed ({kinds}){begins}")
        unsure = [] if failed > 2 else [*unsure, broken[-1]]
    held = not broken
    return Step(rate, held, not unsure if held else bool(set(broken) - set(unsure)), "; ".join(broken or unsure))


def may_be_the_generators_doing(row: SummaryRow, objectives: Sequence[slo.Objective], figures: Mapping[str, Figure]) -> bool:
    """Whether a stage that broke might have held but for the generator's lag: what fell behind by less than five times the lag,
    or missed an objective by less than it. Without a known lag, or with arrivals that were never sent, it might.
    """
    lag = row.generator.send_lag_p99_s
    if lag is None or row.generator.limit == "unsent":
        return True
    if (kept_up := _kept_up(row)) < KEEPS_UP and (1.0 / kept_up - 1.0) * row.duration_s > 5.0 * lag:
        return False
    found = [(objective, figures.get(objective.expression)) for objective in objectives]
    return not any(figure is not None and not objective.keeps(max(0.0, figure.value_s - lag)) for objective, figure in found)


def _kept_up(row: SummaryRow) -> float:
    """The share of the offered rate at which answers came in. What failed was answered too."""
    if not row.ok or not row.offered_rps:
        return 1.0
    return row.achieved_rps / (row.offered_rps * row.ok / row.requests)


def _is_clear(objective: slo.Objective, figure: float) -> bool:
    ratio = figure / objective.threshold if objective.threshold else math.inf
    return ratio >= 1.0 + CLEAR or ratio <= 1.0 / (1.0 + CLEAR)


def _shown(figure: float | None) -> str:
    return "not measured" if figure is None else significant(figure)


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
