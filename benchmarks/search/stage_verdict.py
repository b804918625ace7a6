"""Whether a stage of a search for saturation held its objectives, and how sure that is. Pure: samples in, a step out.

A stage breaks when an objective fails, when the server falls behind (it achieves less than 99 % of what was offered), or when
more than 1 % of its requests fail and no objective says how many may.

A limit on a percentile is judged by the share of requests that took longer (`harness/statistics/limit_share`), with the tails that so
many looks allow. Where that is not sure, the count leans one way: one request more over the limit is assumed than was seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from testcard.benchmarks.search.bracket import LOOKS, Step
from testcard.harness.runs.records import PERCENTILES, SummaryRow
from testcard.harness.statistics import slo
from testcard.harness.statistics.limit_share import LimitVerdict, judge_limit
from testcard.harness.statistics.percentiles import nearest
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
