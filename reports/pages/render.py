"""Run folders in, files out: a folder of kind `report`, or what a check leaves in its own folder beside its verdicts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testcard.harness.errors import Exit, worst
from testcard.harness.redaction import redacted_bytes
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder
from testcard.reports.ci.github import workflow_commands
from testcard.reports.ci.junit import junit_xml
from testcard.reports.ci.sarif import sarif_json
from testcard.reports.content.evidence import Evidence, gather
from testcard.reports.pages.html import render_html
from testcard.reports.pages.markdown import report_md, summary_md
from testcard.reports.pages.page import Page, compose
from testcard.reports.pages.tables import comparison_csv, measures_csv, verdicts_csv

if TYPE_CHECKING:
    from testcard.harness.history.reading import History
    from testcard.reports.content.votes import Ballots


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
            texts["answer", "answer.txt"] = page.answer.text + "\n"
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
    """Writes the files of a check that is sealed, and lists them in its run.json."""
    evidence = gather([RunReader(writer.folder)])
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
