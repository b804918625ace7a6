"""The report's numbers as CSV, for a spreadsheet or a script: plain figures in the units that the header names, empty where unknown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from testcard.harness.runs.records import Estimate
from testcard.reports.comparison import Comparison
from testcard.reports.evidence import Evidence, clean

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ESTIMATES = ("p50_s", "p95_s", "p99_s", "goodput_rps", "error_rate", "cost_usd_per_1000_good_images")


def comparison_csv(comparison: Comparison) -> str:
    """One line for each row of the comparison; every estimate as value, low and high; latencies in seconds."""
    spread = [f"{name}{part}" for name in _ESTIMATES for part in ("", "_low", "_high")]
    header = [
        "provider",
        "target",
        "model",
        "operation",
        "task",
        "stage",
        "musts_passed",
        "musts",
        "musts_broken",
        "shoulds_deviated",
        "n",
        *spread,
        "prices",
    ]
    lines: list[list[object]] = []
    for row in comparison.rows:
        judged, series = row.conformance, row.series
        counts: list[object] = [judged.passed, judged.total, judged.broken, judged.deviated] if judged else [None] * 4
        figures: list[object] = []
        for column in comparison.columns:
            estimate = column.read(series.row) if series else None
            figures += _three(estimate)
        lines.append(
            [
                row.party.target.provider,
                row.party.label,
                row.model,
                clean(row.operation),
                row.task,
                clean(series.row.stage) if series else None,
                *counts,
                series.row.requests if series else None,
                *figures,
                row.party.target.prices,
            ]
        )
    return written(header, lines)


def verdicts_csv(evidence: Evidence) -> str:
    """One line for each verdict."""
    header = ["provider", "target", "rule", "operation", "level", "verdict", "detail", "place", "document", "heading", "exchanges"]
    lines = [
        [
            party.target.provider,
            party.label,
            clean(verdict.rule),
            clean(verdict.operation),
            verdict.level,
            verdict.verdict,
            clean(verdict.detail),
            clean(verdict.place or ""),
            clean(verdict.clause.document),
            clean(verdict.clause.heading),
            " ".join(verdict.exchanges),
        ]
        for party in evidence.parties
        for verdict in party.judged()
    ]
    return written(header, lines)


def written(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """CSV text. Text that a spreadsheet would run as a formula gets an apostrophe in front; None is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    for line in lines:
        writer.writerow([_safe(value) for value in line])
    return buffer.getvalue()


def _safe(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return "" if value is None else value


def _three(estimate: Estimate | None) -> list[object]:
    return [None] * 3 if estimate is None else [estimate.value, estimate.low, estimate.high]
