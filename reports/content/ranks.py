"""Which measured rows may be ranked with each other, for they were asked for the same under the same load; and which of those are surely better
than which: their ranks, column by column, by tests over rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from testcard.harness.statistics import slo
from testcard.harness.statistics.columns import DELIVERED, Columns, columns
from testcard.harness.statistics.ranking import TargetPair, Times, pairs, ranks, ranks_by_rounds
from testcard.harness.statistics.rounds import NO_ROUNDS, RoundValues, round_values
from testcard.harness.text.words import clean, count, significant
from testcard.reports.content.evidence import Evidence, Series


@dataclass(frozen=True, slots=True)
class Likeness:
    """What has to be equal before two rows are ranked together, each in words and empty where nothing was said."""

    task: str
    size: str
    n: str
    terms: str  # quality, steps and further parameters
    delivery: str
    load: str
    objective: str

    @property
    def words(self) -> str:
        """The group in a line: "generate · 1024×1024 · 2/s · p95<8s"."""
        return " · ".join(part for part in self.parts if part)

    @property
    def parts(self) -> tuple[str, ...]:
        """Everything in the order in which it is said."""
        return (self.task, self.size, self.n, self.terms, self.delivery, self.load, self.objective)


def likeness(evidence: Evidence, series: Series) -> Likeness:
    """What this row was asked for. Older runs do not record it: there size and delivery are read from what came back."""
    summary, row = evidence.summaries[series.bench], series.row
    workload, asked = summary.workload, row.asked
    n = asked.get("n") or (str(workload["n"]) if not asked and (workload.get("n") or 1) != 1 else "")
    extra = workload.get("extra") or {}
    terms = [f"{name} {clean(asked[name])}" for name in ("quality", "steps") if name in asked]
    terms += [f"{clean(str(name))} {clean(str(value))}" for name, value in sorted(extra.items())]
    return Likeness(
        task=asked.get("task") or evidence.task(series.party, row.operation, row),
        size=clean(asked.get("size", "")) or _size(evidence, series, workload),
        n=f"{n} pictures a request" if n else "",
        terms=", ".join(terms),
        delivery=_delivery(evidence, series),
        load=_load(series, workload),
        objective=", ".join(clean(text) for text in summary.slo),
    )


def _size(evidence: Evidence, series: Series, workload: Mapping[str, Any]) -> str:
    named = workload.get("sizes") or [workload.get("size")]
    if all(isinstance(size, str) and "x" in size for size in named):
        return " / ".join(clean(size).replace("x", "×") for size in named)
    frame = evidence.samples(series)
    images = frame["images"].fillna(0).to_numpy(dtype=float)
    some = images > 0
    if not some.any():
        return ""
    pixels = float(np.median(frame["megapixels"].fillna(0).to_numpy(dtype=float)[some] / images[some])) * 1e6
    side = round(pixels**0.5)
    if abs(side * side - pixels) < 1.0:  # samples hold the area only; as many pixels as a square has are as much work
        return f"{side}×{side}"
    return f"{significant(pixels / 1e6)} megapixels"


def _delivery(evidence: Evidence, series: Series) -> str:
    if series.row.tasks is not None:
        return "as a task"
    if series.row.stream is not None:
        return "streamed"
    fetched = evidence.samples(series)["download_s"].notna()
    return "by URL" if bool(fetched.any()) else ""


def _load(series: Series, workload: Mapping[str, Any]) -> str:
    row = series.row
    stages = workload.get("stage") or []
    declared: Mapping[str, Any] = next((one for one in stages if isinstance(one, dict) and row.stage in _labels(one)), {})
    if row.users is not None:
        return count(row.users, "user")
    rate = declared.get("rate_rps")
    return f"{significant(rate)}/s" if isinstance(rate, int | float) else f"stage {clean(row.stage)}"


def _labels(stage: Mapping[str, Any]) -> tuple[str, ...]:
    """The names that a stage can have in samples: its own, else its rate or users."""
    rate = stage.get("rate_rps")
    return tuple(str(each) for each in (stage.get("name"), f"{rate:g}/s" if isinstance(rate, int | float) else None) if each)


#: A column's metric in round values; p50 has the rank test of all latencies, and percentiles further out than p95 too few a round.
_BY_ROUNDS = {"p95": "p95", "goodput": "goodput", "errors": "error_rate", "cost": "cost"}


def ranks_of(evidence: Evidence, rows: Sequence[Series], lower_is_better: Mapping[str, bool]) -> dict[str, list[int | None]]:
    """For each column (with which end is better) the rank of each row: 1 + the number of rows that are surely better; None where
    nothing is compared. The rows have to be alike in what was asked of them."""
    values: list[dict[str, RoundValues]] = [_rounds(evidence, series) for series in rows]
    found: dict[str, list[int | None]] = {}
    for key, lower in lower_is_better.items():
        if key == "p50":
            found[key] = ranks(len(rows), pairs_of(evidence, rows))
        elif key in _BY_ROUNDS:
            metric = _BY_ROUNDS[key]
            found[key] = ranks_by_rounds([each.get(metric, NO_ROUNDS) for each in values], metric == "error_rate", lower_is_better=lower)
        else:
            found[key] = [None] * len(rows)
    return found


def pairs_of(evidence: Evidence, rows: Sequence[Series]) -> list[TargetPair]:
    """Every two of the rows compared by their latencies: "B is 22 % faster than A [5 to 36 %]"."""
    return pairs([times_of(evidence, series) for series in rows])


def times_of(evidence: Evidence, series: Series) -> Times:
    """A row's latencies in time order, infinite where a request timed out."""
    data = data_of(evidence, series)
    late = data.ended(("timeout",))
    latency = np.where(late, np.inf, data.done - data.scheduled)
    known = (data.ended(DELIVERED) | late) & ~np.isnan(latency)
    return Times(latency[known], data.rounds[known])


def data_of(evidence: Evidence, series: Series) -> Columns:
    """The row's samples outside its warm-up."""
    frame = evidence.samples(series)
    return columns(frame, np.arange(len(frame)))


def _rounds(evidence: Evidence, series: Series) -> dict[str, RoundValues]:
    row = series.row
    limit = slo.limit_s([slo.parse(text) for text in evidence.summaries[series.bench].slo])
    return round_values(data_of(evidence, series), row, limit_s=limit, offered_rps=None if row.users is not None else row.offered_rps)
