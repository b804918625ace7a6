"""The report's numbers as CSV, for a spreadsheet or a script: plain figures in the units that the header names, empty where unknown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from testcard.harness.runs.records import Estimate, SummaryRow
from testcard.harness.text.sources import title_of
from testcard.harness.text.words import clean
from testcard.reports.content.comparison import ComparisonTable
from testcard.reports.content.evidence import Evidence

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_ESTIMATES = ("p50_s", "p90_s", "p95_s", "p99_s", "goodput_rps", "error_rate", "cost_usd_per_1000_good_images", "cost_usd_per_megapixel")


def comparison_csv(comparison: ComparisonTable) -> str:
    """One line for each row of the comparison; every estimate as value, low and high; latencies in seconds.

    `compared` is yes at the stage that the report compares targets at, no at the others.
    """
    spread = [f"{name}{part}" for name in _ESTIMATES for part in ("", "_low", "_high")]
    header = [
        "provider",
        "target",
        "model",
        "operation",
        "task",
        "stage",
        "group",
        "compared",
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
                row.stage or None,
                row.group or None,
                None if series is None else "no" if row.further else "yes",
                *counts,
                series.row.requests if series else None,
                *figures,
                row.party.target.prices,
            ]
        )
    return written(header, lines)


def verdicts_csv(evidence: Evidence) -> str:
    """One line for each verdict."""
    header = [
        "provider",
        "target",
        "rule",
        "operation",
        "level",
        "verdict",
        "detail",
        "place",
        "document",
        "heading",
        "exchanges",
        "title",
        "address",
    ]
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
            clean(title_of(verdict.clause)),
            clean(verdict.clause.address or ""),
        ]
        for party in evidence.parties
        for verdict in party.judged()
    ]
    return written(header, lines)


def measures_csv(evidence: Evidence) -> str:
    """One line for each measured row and metric: value, low, high, n and how sure a percentile is ("at-least": it lies among timeouts);
    times in seconds, shares as such, money in US dollars."""
    header = ["provider", "target", "model", "operation", "stage", "metric", "value", "low", "high", "n", "quality"]
    lines: list[list[object]] = []
    for series in evidence.series:
        row = series.row
        place: list[object] = [row.provider, series.party.label, clean(row.model or ""), clean(row.operation), clean(row.stage)]
        lines += [[*place, name, *_three(estimate), estimate.n, _quality(estimate)] for name, estimate in readings(row).items()]
    return written(header, lines)


def readings(row: SummaryRow) -> dict[str, Estimate]:
    """Every estimate that a row holds, by the name that measures.csv gives it; times in seconds, shares as such."""
    found: dict[str, Estimate | None] = {}
    for series in ("latency_s", "service_s", "ttfb_s"):
        found |= {f"{series.removesuffix('_s')}_{name}_s": each for name, each in getattr(row, series).items()}
        each = getattr(row, f"{series.removesuffix('_s')}_spread")
        for name in ("mean", "min", "max", "sd") if each is not None else ():
            value = getattr(each, name)
            found[f"{series.removesuffix('_s')}_{name}_s"] = (
                None if value is None else Estimate(value=value, n=each.n, at_least=each.at_least)
            )
    for part, names in (
        (row.stream, ("first_token_s", "inter_token_s")),
        (row.tasks, ("queue_s", "generation_s")),
        (row.rate_limits, ("retry_after_s",)),
    ):
        for series in names if part is not None else ():
            found |= {f"{series.removesuffix('_s')}_{name}_s": each for name, each in getattr(part, series).items()}
    found |= {
        "achieved_per_s": row.achieved,
        "error_rate": row.error_rate,
        "goodput_per_s": row.goodput,
        "cost_usd_per_image": row.cost_usd_per_image,
    }
    found["cost_usd_per_1000_good_images"] = row.cost_usd_per_1000_good_images
    if row.delivery is not None:
        found |= {name: getattr(row.delivery, name) for name in row.delivery.__struct_fields__}
    if row.rate_limits is not None:
        limits = row.rate_limits
        found |= {
            "rate_limited": limits.share,
            "retry_after_given": limits.retry_after_given,
            "refused_early": limits.refused_early,
            "accepted_after": limits.accepted_after,
        }
    if row.money is not None:
        found |= {
            "wasted_share": row.money.wasted_share,
            "cost_usd_per_megapixel": row.money.cost_usd_per_megapixel,
            "cost_usd_per_delivered_image": row.money.cost_usd_per_delivered_image,
        }
    if row.steadiness is not None:
        found |= {"latency_change": row.steadiness.change, "latency_change_within_turns": row.steadiness.turn_change}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _quality(estimate: Estimate) -> str | None:
    return "at-least" if estimate.at_least else estimate.quality


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
