"""Run folders in, files out: a folder of kind `report`, or what a check leaves in its own folder beside its verdicts.

The report's numbers as CSV, for a spreadsheet or a script: plain figures in the units that the header names, empty where unknown.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testcard.harness.errors import Exit, worst
from testcard.harness.redaction import redacted_bytes
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder
from testcard.harness.runs.records import Estimate, SummaryRow
from testcard.harness.text.sources import title_of
from testcard.harness.text.words import clean
from testcard.reports.ci.github import workflow_commands
from testcard.reports.ci.junit import junit_xml
from testcard.reports.ci.sarif import sarif_json
from testcard.reports.content.comparison import ComparisonTable
from testcard.reports.content.evidence import Evidence, gather
from testcard.reports.pages.html import render_html
from testcard.reports.pages.markdown import report_md, summary_md
from testcard.reports.pages.page import Page, compose

if TYPE_CHECKING:
    from testcard.harness.history.index import History
    from testcard.reports.content.votes import Ballots

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
    """One line for each measured row and metric, with the group that it may be ranked in: value, low, high, n and how sure a percentile is ("at-least": it lies among timeouts);
    times in seconds, shares as such, money in US dollars."""
    header = ["provider", "target", "model", "operation", "stage", "group", "metric", "value", "low", "high", "n", "quality"]
    lines: list[list[object]] = []
    for series in evidence.series:
        from testcard.reports.content.ranks import likeness  # numpy, which a check has no use for

        row = series.row
        place: list[object] = [row.provider, series.party.label, clean(row.model or ""), clean(row.operation), clean(row.stage)]
        place.append(likeness(evidence, series).words)
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


def write_report(
    runs: Sequence[RunReader],
    out: Path | None = None,
    *,
    baseline: Sequence[RunReader] = (),
    histories: Sequence[History] = (),
    ballots: Ballots | None = None,
    facts: bool = False,
) -> Path:
    """Writes the report of these runs into the new folder `out` (None: one named after the time) and returns its report.html.

    An `evaluate` run stands for its children. The folder is a run itself: run.json lists every file, and its outcome is the
    report's verdict. Against a `baseline`, that verdict counts regressions too. `ballots` are votes on the pictures, `facts` measures them. Equal runs give equal bytes in every other
    file. `UsageError` where nothing can be reported on, or where run and baseline have nothing in common.
    """
    return write_page(*composed(runs, baseline=baseline, histories=histories, ballots=ballots, facts=facts), out)


def composed(
    runs: Sequence[RunReader],
    *,
    baseline: Sequence[RunReader] = (),
    histories: Sequence[History] = (),
    margin: float | None = None,
    metrics: Sequence[str] = (),
    ballots: Ballots | None = None,
    facts: bool = False,
) -> tuple[Evidence, Page]:
    """What the runs hold, and the page that says so."""
    evidence = gather(runs)
    compared = None
    if baseline:
        from testcard.reports.content.baseline import against  # pandas and more, which a check has no use for

        compared = against(runs, baseline, evidence=evidence, margin=margin, metrics=metrics)
    return evidence, compose(evidence, compared, histories, ballots, facts=facts)


def write_page(evidence: Evidence, page: Page, out: Path | None = None) -> Path:
    """Writes a report's folder and returns its report.html."""
    html = render_html(page)
    out = out if out is not None else default_folder("report")
    writer = RunWriter.create(
        out,
        "report",
        targets=[party.target for party in evidence.parties],
        config={"runs": [_relative(run.folder, out) for run in evidence.runs]},
    )
    with writer:
        path = writer.add_file("report", "report.html")
        texts = {
            ("report", "report.html"): html,
            ("report_markdown", "report.md"): report_md(page),
            ("job_summary", "summary.md"): summary_md(page),
            ("comparison_csv", "comparison.csv"): comparison_csv(page.comparison),
            ("measures_csv", "measures.csv"): measures_csv(evidence),
            ("verdicts_csv", "verdicts.csv"): verdicts_csv(evidence),
            **_ci_texts(evidence),
        }
        if page.answer.paragraphs:
            targets = "\n".join(line for card in page.cards for line in card.lines)
            texts["answer", "answer.txt"] = f"{page.answer.text}\n\n{targets}\n"
        for (kind, name), text in texts.items():
            writer.write_text(kind, name, text)
        (out / "figures").mkdir(exist_ok=True)
        for name, drawing in page.gallery.drawings.items():
            writer.add_file(f"figure_{name}_svg", f"figures/{name}.svg").write_bytes(redacted_bytes(drawing.svg))
            writer.add_file(f"figure_{name}_png", f"figures/{name}.png").write_bytes(drawing.png)
        writer.write("badge", "badge.json", page.overall.badge)
        writer.finish(page.overall.word, _exit(page), page.overall.sentence)
    return path


def _exit(page: Page) -> Exit:
    """Of a report alone 0: the runs have gated already. Against a baseline what its one verdict means, or 2 where rows are not comparable."""
    if page.baseline is None:
        return Exit.PASS
    own = {"pass": Exit.PASS, "fail": Exit.GATE_FAILED, "inconclusive": Exit.INCONCLUSIVE}[page.overall.word]
    return worst([own, page.baseline.exit])


@dataclass(frozen=True, slots=True)
class CheckFiles:
    """What goes out of the folder: annotations for GitHub Actions, a line each, and the text of a job summary."""

    annotations: list[str]
    summary: str


def write_check_files(writer: RunWriter) -> CheckFiles:
    """Writes the files of a check that is sealed, and lists them in its run.json. Of one that was interrupted only those for machines:
    a page shows pictures, and to decode them takes time when the end was asked for.
    """
    evidence = gather([RunReader(writer.folder)])
    if writer.run.outcome == "interrupted":
        for (kind, name), text in _ci_texts(evidence).items():
            writer.write_text(kind, name, text)
        return CheckFiles(workflow_commands(evidence), "")
    page = compose(evidence)
    summary = summary_md(page)
    texts = {("report", "report.html"): render_html(page), ("job_summary", "summary.md"): summary, **_ci_texts(evidence)}
    for (kind, name), text in texts.items():
        writer.write_text(kind, name, text)
    writer.write("badge", "badge.json", page.overall.badge)
    return CheckFiles(workflow_commands(evidence), summary)


def _ci_texts(evidence: Evidence) -> dict[tuple[str, str], str]:
    """JUnit and SARIF by kind and name of file; nothing where nothing was checked."""
    if not any(party.verdicts is not None for party in evidence.parties):
        return {}
    return {("junit", "junit.xml"): junit_xml(evidence), ("sarif", "results.sarif"): sarif_json(evidence)}


def _relative(folder: Path, out: Path) -> str:
    """The run's folder as seen from the report, so that both can be moved together and no path of this machine is kept."""
    try:
        return Path(os.path.relpath(folder.resolve(), out.resolve())).as_posix()
    except ValueError:
        return folder.name  # another drive, on Windows
