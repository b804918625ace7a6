"""Which figures a report has, and what to say where one cannot be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from testcard.reports.content.comparison import ComparisonTable
from testcard.reports.content.evidence import Evidence
from testcard.reports.content.exhibits import Drawing

if TYPE_CHECKING:
    from testcard.reports.figures.style import Sketch

#: Names of all figures, in the order of the report.
FIGURES = (
    "latency-ecdf",
    "latency-tail",
    "latency-percentiles",
    "time-split",
    "latency-over-time",
    "latency-against-rate",
    "throughput",
    "send-lag",
    "outcomes",
    "cost-against-latency",
)


@dataclass(frozen=True, slots=True)
class Gallery:
    """Drawings by name, and for each one that is missing the reason in one line."""

    drawings: dict[str, Drawing]
    missing: dict[str, str]


def hang(evidence: Evidence, comparison: ComparisonTable) -> Gallery:
    """All figures that this evidence allows. Nothing that draws is loaded where nothing was measured."""
    if not evidence.summaries:
        return Gallery({}, dict.fromkeys(FIGURES, "No benchmark is among the runs: testcard bench measures latency, load and cost."))
    from testcard.reports.figures import cost, distribution, load, timing
    from testcard.reports.figures.style import render

    rows = comparison.compared
    unit = comparison.latency
    stages = sorted(evidence.series, key=lambda series: series.index)
    answered = sum(row.row.ok for row in rows)
    why = (
        f"{answered} {'request was' if answered == 1 else 'requests were'} answered as asked: too few for this figure."
        if answered
        else "No request was answered as asked."
    )
    wanted: dict[str, tuple[Sketch | None, str]] = {
        "latency-ecdf": (distribution.ecdf(evidence, rows, unit), why),
        "latency-tail": (distribution.tail(evidence, rows, unit), "No row has enough answers for a tail: it needs more than 10 beyond it."),
        "latency-percentiles": (distribution.percentiles(evidence, rows, unit), why),
        "time-split": (timing.time_split(evidence, rows, unit), "No answered request has the times that make up its latency."),
        "latency-over-time": (timing.latency_over_time(evidence, rows, unit), "The runs hold no samples."),
        "latency-against-rate": (
            load.latency_against_rate(stages, unit),
            "Each row was offered one rate only, so there is no curve of latency over load.",
        ),
        "throughput": (load.throughput(stages), why),
        "send-lag": (load.send_lag(evidence, stages), "The samples do not record how late the generator was."),
        "outcomes": (load.outcomes(stages), why if not rows else "No measured request failed."),
        "cost-against-latency": (
            cost.sketch(rows, unit, {row.series.key: row.group for row in comparison.rows if row.series is not None and not row.further}),
            why if not rows else "No price is known, so no cost is shown: set one under [prices] in testcard.toml.",
        ),
    }
    drawings = {name: render(sketch) for name, (sketch, _) in wanted.items() if sketch is not None}
    return Gallery(drawings, {name: reason for name, (sketch, reason) in wanted.items() if sketch is None})
