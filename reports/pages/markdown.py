"""report.md, the same content as the page, and summary.md, what a CI job shows. Everything from a run is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from testcard.harness.text.sources import cited
from testcard.harness.text.words import GLYPHS, MEANINGS, clean, count, listing, shortened, waiver_line
from testcard.reports.content.answer import Card
from testcard.reports.content.comparison import ComparisonCell, ComparisonRow, compared_at
from testcard.reports.content.definitions import DEFINITIONS
from testcard.reports.content.exhibits import Table
from testcard.reports.content.findings import Finding
from testcard.reports.content.measures import VOLUME_NOTE, forecast_table
from testcard.reports.pages.page import FIGURES_OF, Page

_BLOCK_START = re.compile(r"^(\d*)([-+*#=.)])")
#: GitHub refuses a job summary of more than 1 MiB a step, and other steps may have written to it.
MOST_BYTES = 900_000
MOST_FINDINGS = 10


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: no markup, link, mention, picture, table cell or HTML comes out of it."""
    flat = " ".join(clean(text).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    flat = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", flat)
    flat = re.sub(r"@(?=\w)", "@\u200b", flat)  # no mention of a stranger's choosing
    flat = re.sub(r"(https?|ftp):(?=//)", "\\1\u200b:", flat)  # nor a live link
    return _BLOCK_START.sub(r"\1\\\2", flat)


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any run of backticks in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """A Markdown table; cells are taken as they are, so they must be escaped already."""
    lines = [
        "| " + " | ".join(header) + " |",
        "| " + " | ".join("---:" if place in right else "---" for place in range(len(header))) + " |",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def report_md(page: Page) -> str:
    """The whole report; pictures of the figures are read from figures/."""
    parts = [f"# {escaped(page.title)}", escaped(page.subtitle)]
    for anchor, name in page.sections:
        parts += [f"## {name}", *_SECTION_WRITERS[anchor](page)]
    return "\n\n".join(parts) + "\n"


def verdict_part(page: Page) -> list[str]:
    """The verdict in a sentence, the ribbon, the gates."""
    parts = [f"**{page.overall.word.upper()}** {escaped(page.overall.sentence)}", *(escaped(text) for text in page.answer.paragraphs)]
    parts += [f"Workload: {escaped(line)}" for line in page.workloads]
    parts += ["\n".join(_card(card) for card in page.cards)] if page.cards else []
    if page.overall.ribbon:
        parts.append(f"> {escaped(page.overall.ribbon)}")
    rows = [
        (
            f"{GLYPHS[gate.verdict]} {gate.verdict}",
            escaped(gate.target),
            escaped(gate.subject),
            escaped(gate.threshold),
            escaped(gate.observed + (f" ({gate.detail})" if gate.detail else "")),
            gate.n,
        )
        for gate in page.overall.gates
    ]
    parts.append(
        table(("verdict", "target", "about", "threshold", "observed [95 % interval]", "n"), rows, right=(5,))
        if rows
        else "Nothing was gated."
    )
    return parts


def _card(card: Card) -> str:
    """A target in a line of a list."""
    word = f": {GLYPHS[card.word]} {card.word}" if card.word is not None else ""
    parts = [card.musts]
    for each in card.measured:
        figures = ", ".join(f"{name} {value}" for name, value in each.figures)
        parts.append(f"{each.what}: {figures}" if len(card.measured) > 1 else figures)
    said = "; ".join(escaped(part) for part in [*parts, *card.broken] if part)
    return f"- **{escaped(card.party.label)}**{word}{f'; {said}' if said else ''}"


def comparison_part(page: Page) -> list[str]:
    """The comparison as a table, every stage a row."""
    stage = ["stage"] if page.comparison.several_stages else []
    header = [
        "target",
        "operation",
        "model",
        *stage,
        "group",
        "musts",
        *(f"{column.title}, {column.unit.name}" for column in page.comparison.shown),
        "n",
    ]
    body = table(header, [_line(row, page) for row in page.comparison.rows], right=range(4 + len(stage), len(header)))
    at = [f"Compared at {escaped(listing(compared_at(page.comparison)))} (→); every stage is ranked by itself."] if stage else []
    ratios = [f"- {escaped(group)}: {escaped(said)}" for group, said in page.answer.ratios]
    return [
        body,
        *at,
        *(["\n".join(ratios)] if ratios else []),
        "Bold is best; ≈: a wide interval, or one whose upper end lies beyond the longest request (≥); “n &lt; 100”: no sample lies beyond it, so no figure; ranks are within a group by a test over rounds. A good image is valid and within the SLO; it says nothing about beauty.",
    ]


def _line(row: ComparisonRow, page: Page) -> list[str]:
    judged = row.conformance
    musts = (
        "not checked" if judged is None else f"{judged.passed}/{judged.total}" + (f", {judged.deviated} deviate" if judged.deviated else "")
    )
    cells = [_cell(row.cells[column.key]) for column in page.comparison.shown]
    arrow = "" if row.further or not row.series else "→ "
    stage = [f"{arrow}{escaped(row.stage or '–')}"] if page.comparison.several_stages else []
    moving = " (latency not steady)" if row.unsteady else ""
    moving += f" (async: exact to {row.poll_s} s, the time between polls)" if row.poll_s else ""
    return [
        escaped(row.party.label),
        escaped(row.operation) + moving,
        escaped(row.model or "–"),
        *stage,
        escaped(row.group or "–"),
        musts,
        *cells,
        f"{row.n:,}" if row.series else "–",
    ]


def _cell(cell: ComparisonCell) -> str:
    text = f"**{cell.text}**" if cell.best else escaped(cell.text)
    spread = f" [{cell.interval}]" if cell.interval else ""
    place = f", rank {cell.rank}" if cell.rank else ""
    note = f" ({cell.note})" if cell.note else ""
    return text + spread + place + note


def _conformance(page: Page) -> list[str]:
    findings = page.findings
    header = ("rule", "level", *(escaped(party.label) for party in findings.columns))
    rows = [
        (
            escaped(row.rule),
            row.level,
            *("" if cell is None else f"{GLYPHS[cell.word]} {cell.word}{f' {cell.counts}' if cell.counts else ''}" for cell in row.cells),
        )
        for row in findings.matrix
    ]
    legend = "; ".join(f"{GLYPHS[name]} {name}: {meaning}" for name, meaning in MEANINGS.items())
    return [table(header, rows), f"Rule set {escaped(page.ruleset)}. {legend}."]


def _findings(page: Page) -> list[str]:
    parts = []
    for group in page.findings.groups:
        parts.append(f"### {escaped(group.rule)}")
        parts += [part for finding in group.findings for part in _finding(finding)]
    if not parts:
        parts = ["No rule that was judged was broken."]
    if page.gaps is not None:
        parts += ["### Spec gaps", _data(page.gaps)]
    return [*parts, *waivers_part(page)]


def waivers_part(page: Page) -> list[str]:
    """What became of the waivers; nothing without any."""
    lines = [f"- {escaped(party.label)}: {escaped(waiver_line(note))}" for party, note in page.waivers]
    return ["### Waivers", "\n".join(lines)] if lines else []


def _finding(finding: Finding) -> list[str]:
    verdict = finding.verdict
    lines = [
        f"- Promised: {escaped(verdict.title)} ({escaped(cited(verdict.clause))})",
        f"- Seen: {escaped(shortened(verdict.detail, 1200)) or 'no detail recorded'}",
    ]
    lines += [f"- Where: {escaped(verdict.place)}"] if verdict.place else []
    lines += [f"- Exchange {escaped(witness.id)}: {escaped(witness.line)} → {escaped(witness.answer)}" for witness in finding.witnesses]
    lines += [f"- Redirects: {escaped(witness.route)}" for witness in finding.witnesses if witness.route]
    parts = [
        f"#### {GLYPHS[verdict.verdict]} {escaped(finding.party.label)} · {escaped(verdict.operation)} ({verdict.verdict}, {verdict.level})",
        "\n".join(lines),
    ]
    for witness in finding.witnesses[:1]:
        parts.append(fenced(shortened(witness.curl, 4000), "sh"))
    return parts


def _figures(anchor: str, page: Page) -> list[str]:
    parts = []
    for name in FIGURES_OF[anchor]:
        drawing = page.gallery.drawings.get(name)
        if drawing is None:
            continue
        parts += [
            f"### {drawing.title}",
            escaped(drawing.caption),
            f"![{escaped(drawing.title)}](figures/{name}.png)",
            _data(drawing.table),
        ]
    for panel in page.panels.get(anchor, ()):
        parts += [f"### {panel.title}", escaped(panel.sentence), _data(panel.table)]
    if anchor == "cost" and page.forecasts:
        parts += ["### What other volumes would cost", escaped(VOLUME_NOTE), _data(forecast_table(page.forecasts))]
    if anchor == "load" and page.notes:
        parts.append("\n".join(f"- {escaped(note)}" for note in page.notes))
    return list(dict.fromkeys(parts))


def _data(data: Table) -> str:
    return table([escaped(name) for name in data.header], [[escaped(cell) for cell in row] for row in data.rows])


def _baseline(page: Page) -> list[str]:
    parts = []
    if page.baseline is not None:
        parts.append(escaped(page.baseline.sentence))
        for name, lines in (*((group.name, group.lines) for group in page.baseline.groups), ("Rules", page.baseline.rules)):
            if lines:
                parts += [f"### {escaped(name)}", "\n".join(f"- {line.glyph} {escaped(shortened(line.text, 600))}" for line in lines)]
        if page.baseline.notes:
            parts += ["### Worth knowing", "\n".join(f"- {escaped(note)}" for note in page.baseline.notes)]
    for name in ("baseline-ratios", "history"):
        drawing = page.gallery.drawings.get(name)
        if drawing is not None:
            picture = f"![{escaped(drawing.title)}](figures/{name}.png)"
            parts += [f"### {drawing.title}", escaped(drawing.caption), picture, _data(drawing.table)]
    return parts


def _pictures(page: Page) -> list[str]:
    rows = [
        (
            escaped(strip.party.label),
            escaped(strip.operation),
            escaped(thumb.exchange),
            f"{thumb.measures} {escaped(thumb.format)}",
            escaped(thumb.asked) or "–",
            f"{thumb.size_bytes:,}",
            escaped(thumb.problem or ""),
        )
        for strip in page.strips
        for thumb in strip.thumbs
    ]
    same = [
        (
            escaped(f"{row.task}: {row.prompt}"),
            escaped(shot.party.label),
            escaped(shot.model) or "–",
            shot.time,
            escaped(shot.price),
            f"{shot.thumb.measures} {escaped(shot.thumb.format)}",
        )
        for row in page.same_prompts
        for shot in row.shots
    ]
    together = [table(("the same prompt", "target", "model", "time", "price", "decoded"), same)] if same else []
    voted = [
        part for panel in page.panels.get("pictures", ()) for part in (f"### {panel.title}", escaped(panel.sentence), _data(panel.table))
    ]
    return [*voted, *together, table(("target", "operation", "exchange", "decoded", "asked", "bytes", "problem"), rows, right=(5,))]


def _method(page: Page) -> list[str]:
    parts = ["\n".join(f"- **{name}**: {escaped(meaning)}" for name, meaning in DEFINITIONS)]
    return [*parts, "\n".join(f"- {escaped(line)}" for line in page.left_out) or "Nothing was left out."]


def _provenance(page: Page) -> list[str]:
    return [_data(page.runs), _data(page.targets), _data(page.environment)]


_SECTION_WRITERS = {
    "verdict": verdict_part,
    "comparison": comparison_part,
    "conformance": _conformance,
    "findings": _findings,
    "latency": lambda page: _figures("latency", page),
    "load": lambda page: _figures("load", page),
    "errors": lambda page: _figures("errors", page),
    "cost": lambda page: _figures("cost", page),
    "baseline": lambda page: _baseline(page),
    "pictures": _pictures,
    "method": _method,
    "provenance": _provenance,
}


# ── summary.md: the verdict, how each operation stands, the first findings, the waivers that need a hand ──────────────


def summary_md(page: Page) -> str:
    """The summary, under 900 kB whatever a server said; equal runs give equal text."""
    parts = [
        f"## Testcard: {page.overall.word.upper()}",
        *verdict_part(page),
        *_standings(page),
        *_first_findings(page),
        *waivers_part(page),
    ]
    text = "\n\n".join(parts) + "\n"
    return text if len(text.encode("utf-8", "replace")) < MOST_BYTES else "\n\n".join(parts[:2]) + "\n\nThe rest is in the report.\n"


def _standings(page: Page) -> list[str]:
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


def _first_findings(page: Page) -> list[str]:
    findings = page.findings.each
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
