"""summary.md: what a CI job shows. The verdict, how each operation stands, the first findings, the waivers that need a hand."""

from __future__ import annotations

from testcard.harness.text.verdicts import GLYPHS
from testcard.harness.text.words import count, shortened
from testcard.reports.pages.markdown import comparison_part, escaped, table, verdict_part, waivers_part
from testcard.reports.pages.page import Page

#: GitHub refuses a job summary of more than 1 MiB a step, and other steps may have written to it.
MOST_BYTES = 900_000
MOST_FINDINGS = 10


def summary_md(page: Page) -> str:
    """The summary, under 900 kB whatever a server said; equal runs give equal text."""
    parts = [f"## Testcard: {page.overall.word.upper()}", *verdict_part(page), *_standing(page), *_findings(page), *waivers_part(page)]
    text = "\n\n".join(parts) + "\n"
    return text if len(text.encode()) < MOST_BYTES else "\n\n".join(parts[:2]) + "\n\nThe rest is in the report.\n"


def _standing(page: Page) -> list[str]:
    """Measured figures where there are any; otherwise how each checked operation stands."""
    if any(row.series for row in page.comparison.rows):
        return ["### Comparison", *comparison_part(page)]
    rows = []
    for row in page.comparison.rows:
        judged = row.conformance
        if judged is not None:
            counts = (f"{judged.passed}/{judged.total}", judged.broken, judged.deviated, judged.open, judged.waived)
            rows.append((escaped(row.party.label), escaped(row.operation), *map(str, counts)))
    header = ("target", "operation", "musts passed", "musts broken", "shoulds deviating", "not decided", "waived")
    return ["### Conformance", table(header, rows, right=range(2, len(header)))] if rows else []


def _findings(page: Page) -> list[str]:
    findings = page.judgement.findings
    if not findings:
        return []
    lines = [
        f"- {GLYPHS[finding.verdict.verdict]} **{escaped(finding.party.label)}** · {escaped(finding.verdict.operation)} · "
        f"{escaped(finding.verdict.rule)}: {escaped(shortened(finding.verdict.detail, 300))}"
        for finding in findings[:MOST_FINDINGS]
    ]
    parts = [f"### {count(len(findings), 'finding')}", "\n".join(lines)]
    if len(findings) > MOST_FINDINGS:
        parts.append(f"{len(findings) - MOST_FINDINGS} more are in the report.")
    return parts
