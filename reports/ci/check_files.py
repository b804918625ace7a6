"""What a check leaves in its own run folder beside its verdicts: report, JUnit, SARIF, job summary, badge."""

from __future__ import annotations

from dataclasses import dataclass

from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.reports.ci.github import workflow_commands
from testcard.reports.ci.job_summary import summary_md
from testcard.reports.ci.junit import junit_xml
from testcard.reports.ci.sarif import sarif_json
from testcard.reports.content.evidence import Evidence, gather
from testcard.reports.pages.html import render_html
from testcard.reports.pages.page import compose


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
    texts = {("report", "report.html"): render_html(page), ("job_summary", "summary.md"): summary, **ci_texts(evidence)}
    for (kind, name), text in texts.items():
        writer.add_file(kind, name).write_text(text, encoding="utf-8", newline="\n")
    writer.write("badge", "badge.json", page.overall.badge)
    return CheckFiles(workflow_commands(evidence), summary)


def ci_texts(evidence: Evidence) -> dict[tuple[str, str], str]:
    """JUnit and SARIF by kind and name of file; nothing where nothing was checked."""
    if not any(party.verdicts is not None for party in evidence.parties):
        return {}
    return {("junit", "junit.xml"): junit_xml(evidence), ("sarif", "results.sarif"): sarif_json(evidence)}
