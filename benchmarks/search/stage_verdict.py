"""Whether a stage of a search for saturation held its objectives, and how sure that is. Pure: samples in, a step out.

A stage breaks when an objective fails, when the server falls behind (it achieves less than 99 % of what was offered), or when
more than 1 % of its requests fail and no objective says how many may.

Near its limit a queue makes successive latencies alike, and a short stage sees only a few of its busy spells. A percentile
therefore decides by itself, and counts as sure only when it is far from its threshold: on a logarithmic scale by more than the
half-width of a block bootstrap's 95 % interval and a margin besides, `MARGIN` × (1 + `FEW` / n). Searches of simulated queues
(`tests/unit/benchmarks/search/test_search_queues.py`) set both: with M/D/4, M/G/4 and stages of 8 s, 96 to 100 % of 200 searches
surely place the knee where it is, and all find it within 10 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from testcard.benchmarks.search.bracket import Step
from testcard.harness.runs.records import PERCENTILES, SummaryRow
from testcard.harness.statistics import slo
from testcard.harness.statistics.percentiles import nearest, nearest_rank
from testcard.harness.text.words import significant

if TYPE_CHECKING:
    import pandas as pd

KEEPS_UP, SURELY_BEHIND = 0.99, 0.97
FAILURES = 0.01
#: Blocks of a turn that the bootstrap draws, how often, and the 97.5 % point of Student's t with one degree of freedom less.
BLOCKS, RESAMPLES, STUDENT_T = 10, 200, 2.262
MARGIN, FEW = 0.2, 600
#: Another figure without an interval decides for sure when it is so far from its threshold.
CLEAR = 0.2


@dataclass(frozen=True, slots=True)
class Figure:
    """A percentile of a stage: its value, the standard error of its logarithm, and of how many requests it is."""

    value_s: float
    spread: float
    n: int

    def is_clear(self, threshold_s: float) -> bool:
        """Whether chance cannot have put the value on its side of the threshold."""
        if self.value_s <= 0 or threshold_s <= 0:
            return True
        return abs(math.log(self.value_s / threshold_s)) > STUDENT_T * self.spread + MARGIN * (1.0 + FEW / self.n)


def figure_of(latencies_s: npt.NDArray[np.float64], q: float, turns: int = 1) -> Figure:
    """The q-quantile (nearest rank) of latencies in order of their schedule, from so many turns, with its spread."""
    n = len(latencies_s)
    length = max(1, n // (BLOCKS * turns))
    begins = np.random.default_rng(0).integers(0, n - length + 1, size=(RESAMPLES, n // length))
    drawn = latencies_s[(begins[:, :, None] + np.arange(length)).reshape(RESAMPLES, -1)]
    rank = nearest_rank(drawn.shape[1], q) - 1
    drawn.partition(rank, axis=1)
    spread = float(np.log(np.maximum(drawn[:, rank], 1e-9)).std())
    return Figure(nearest(np.sort(latencies_s), q), spread, n)


def figures_of(frame: pd.DataFrame, names: Sequence[str], turns: int = 1) -> dict[str, Figure]:
    """Those of the named percentiles (`p95`, `service_p95`) that the delivered requests' latencies outside the warm-up give."""
    kept = frame[~frame["warmup"].fillna(False).astype(bool) & frame["outcome"].isin(("ok", "slow", "timeout"))]
    found = {}
    for prefix, begin in (("", "scheduled_s"), ("service_", "sent_s")):
        for name, q in PERCENTILES.items():
            if prefix + name in names and len(kept):
                found[prefix + name] = figure_of((kept["done_s"] - kept[begin]).to_numpy(dtype=np.float64), q, turns)
    return found


def judge_stage(rate: float, row: SummaryRow, objectives: Sequence[slo.Objective], figures: Mapping[str, Figure]) -> Step:
    """Whether a stage of that planned rate held, and how sure that is."""
    broken, unsure = [], []
    for objective, gate in zip(objectives, row.gates, strict=True):
        figure = figures.get(objective.metric)
        value = figure.value_s if figure is not None else gate.observed.value
        words = f"{objective.expression} ({_shown(value)})"
        if figure is None and gate.verdict != "inconclusive":
            broken += [words] if gate.verdict == "fail" else []
        elif value is None:
            unsure.append(f"{objective.expression} could not be judged")
        else:
            clear = figure.is_clear(objective.threshold) if figure is not None else _is_clear(objective, value)
            if not objective.keeps(value):
                broken.append(words)
            if not clear:
                unsure.append(words if not objective.keeps(value) else f"{objective.expression} just holds ({_shown(value)})")
    failed = row.requests - row.ok
    if (kept_up := _kept_up(row)) < KEEPS_UP:
        broken.append(
            f"the server falls behind: {significant(row.achieved_rps)} of {significant(row.offered_rps or 0.0)} requests a second"
        )
        unsure = [] if kept_up < SURELY_BEHIND else [*unsure, broken[-1]]
    if failed > FAILURES * row.requests and not any(objective.metric in ("error_rate", "ok_rate") for objective in objectives):
        kinds = ", ".join(f"{count} {name}" for name, count in row.errors.items())
        broken.append(f"{failed} of {row.requests} requests failed ({kinds})")
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
    found = [(objective, figures.get(objective.metric)) for objective in objectives]
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
