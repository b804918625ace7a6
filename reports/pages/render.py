"""`write_report`: run folders in, a folder of kind `report` out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from testcard.harness.errors import Exit
from testcard.harness.history.reading import History
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder
from testcard.reports.ci.check_files import ci_texts
from testcard.reports.ci.job_summary import summary_md
from testcard.reports.content.baseline import against
from testcard.reports.content.evidence import Evidence, gather
from testcard.reports.pages.html import render_html
from testcard.reports.pages.markdown import report_md
from testcard.reports.pages.page import Page, compose
from testcard.reports.pages.tables import comparison_csv, measures_csv, verdicts_csv


def write_report(
    runs: Sequence[RunReader], out: Path | None = None, *, baseline: Sequence[RunReader] = (), histories: Sequence[History] = ()
) -> Path:
    """Writes the report of these runs into the new folder `out` (None: one named after the time) and returns its report.html.

    An `evaluate` run stands for its children. The folder is a run itself: run.json lists every file, and its outcome is the
    report's verdict. Against a `baseline`, that verdict counts regressions too. Equal runs give equal bytes in every other
    file. `UsageError` where nothing can be reported on, or where run and baseline have nothing in common.
    """
    return write_page(*composed(runs, baseline=baseline, histories=histories), out)


def composed(runs: Sequence[RunReader], *, baseline: Sequence[RunReader] = (), histories: Sequence[History] = ()) -> tuple[Evidence, Page]:
    """What the runs hold, and the page that says so."""
    evidence = gather(runs)
    return evidence, compose(evidence, against(runs, baseline, evidence=evidence) if baseline else None, histories)


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
            **ci_texts(evidence),
        }
        for (kind, name), text in texts.items():
            writer.add_file(kind, name).write_text(text, encoding="utf-8", newline="\n")
        (out / "figures").mkdir(exist_ok=True)
        for name, drawing in page.gallery.drawings.items():
            writer.add_file(f"figure_{name}_svg", f"figures/{name}.svg").write_bytes(drawing.svg)
            writer.add_file(f"figure_{name}_png", f"figures/{name}.png").write_bytes(drawing.png)
        writer.write("badge", "badge.json", page.overall.badge)
        writer.finish(page.overall.word, page.baseline.exit if page.baseline else Exit.PASS, page.overall.sentence)
    return path


def _relative(folder: Path, out: Path) -> str:
    """The run's folder as seen from the report, so that both can be moved together and no path of this machine is kept."""
    try:
        return Path(os.path.relpath(folder.resolve(), out.resolve())).as_posix()
    except ValueError:
        return folder.name  # another drive, on Windows
