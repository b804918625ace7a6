"""What a measured row was asked for and under what load: only rows that are alike in all of it are ranked with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

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
