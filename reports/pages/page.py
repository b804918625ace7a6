"""Everything that the report's templates show, in the order they show it; the same for HTML and Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import WaiverNote
from testcard.harness.text.words import DOLLARS, NONE, clean, count, listing
from testcard.reports.content.answer import Card, Overall, cards, overall, workloads
from testcard.reports.content.comparison import ComparisonTable, compared
from testcard.reports.content.evidence import Evidence, Party
from testcard.reports.content.exhibits import AnswerText, Drawing, Panel, Table
from testcard.reports.content.findings import Findings, arranged
from testcard.reports.content.measures import Forecast, forecasts, panels
from testcard.reports.content.pictures import SamePrompt, Strip, same_prompts, strips
from testcard.reports.figures.gallery import Gallery, hang

if TYPE_CHECKING:
    from testcard.harness.history.index import History
    from testcard.reports.content.baseline import Baseline
    from testcard.reports.content.votes import Ballots

#: Anchor and heading of each section, in reading order.
SECTIONS = (
    ("verdict", "Verdict"),
    ("comparison", "Comparison"),
    ("conformance", "Conformance"),
    ("findings", "Findings"),
    ("latency", "Latency"),
    ("load", "Load and goodput"),
    ("errors", "Errors and rate limits"),
    ("cost", "Cost"),
    ("baseline", "Against the baseline"),
    ("pictures", "Pictures"),
    ("method", "Method"),
    ("provenance", "Provenance"),
)


#: The figures of each section, in reading order.
FIGURES_OF = {
    "latency": ("latency-ecdf", "latency-tail", "latency-percentiles", "time-split", "latency-over-time"),
    "load": ("latency-against-rate", "throughput", "send-lag"),
    "errors": ("outcomes",),
    "cost": ("cost-against-latency",),
}


@dataclass(frozen=True, slots=True)
class Page:
    """One report, ready to be written out."""

    title: str
    subtitle: str
    overall: Overall
    answer: AnswerText
    cards: list[Card]
    workloads: list[str]
    comparison: ComparisonTable
    findings: Findings
    gallery: Gallery
    strips: list[Strip]
    same_prompts: list[SamePrompt]
    gaps: Table | None
    waivers: list[tuple[Party, WaiverNote]]
    notes: list[str]
    left_out: list[str]
    runs: Table
    targets: Table
    environment: Table
    ruleset: str
    panels: dict[str, list[Panel]]
    forecasts: list[Forecast]
    baseline: Baseline | None = None

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Anchor and heading of the sections that have something to say."""
        drawn = self.gallery.drawings
        kept = {
            "verdict": True,
            "comparison": bool(self.comparison.rows),
            "conformance": bool(self.findings.matrix),
            "findings": bool(self.findings.matrix or self.gaps or self.waivers),
            "latency": any(name in drawn for name in FIGURES_OF["latency"]),
            "load": any(name in drawn for name in FIGURES_OF["load"]) or bool(self.notes),
            "errors": any(name in drawn for name in FIGURES_OF["errors"]),
            "cost": any(name in drawn for name in FIGURES_OF["cost"]) or any(line.each for line in self.forecasts),
            "baseline": self.baseline is not None or "history" in drawn,
            "pictures": bool(self.strips),
            "method": True,
            "provenance": True,
        }
        return [(anchor, name) for anchor, name in SECTIONS if kept[anchor] or self.panels.get(anchor)]


def compose(
    evidence: Evidence,
    baseline: Baseline | None = None,
    histories: Sequence[History] = (),
    ballots: Ballots | None = None,
    *,
    facts: bool = False,
) -> Page:
    """The report of this evidence, against a baseline and with the figures' history where these are given."""
    comparison = compared(evidence)
    gallery = hang(evidence, comparison)
    if baseline is not None or histories:
        gallery = replace(gallery, drawings={**gallery.drawings, **_against_others(baseline, histories)})
    verdict = overall(evidence, baseline.gates if baseline else (), baseline.sentence if baseline else "")
    versions = sorted({run.run.ruleset_version for run in evidence.runs})
    return Page(
        title=" · ".join(party.label for party in evidence.parties)
        if len(evidence.parties) < 3
        else f"{len(evidence.parties)} image APIs compared",
        subtitle=_subtitle(evidence),
        overall=verdict,
        answer=_answer(evidence, comparison),
        cards=cards(evidence, comparison, verdict.gates),
        workloads=workloads(evidence, comparison),
        comparison=comparison,
        findings=arranged(evidence),
        gallery=gallery,
        strips=strips(evidence),
        same_prompts=same_prompts(evidence),
        gaps=_gaps(evidence),
        waivers=[(party, note) for party in evidence.parties for note in party.waivers],
        notes=_notes(evidence),
        left_out=[*_left_out(evidence), *_not_drawn(evidence, gallery)],
        runs=_runs(evidence),
        targets=_targets(evidence),
        environment=_environment(evidence),
        ruleset=", ".join(versions),
        panels=panels(evidence, comparison) | _of_pictures(evidence, ballots, facts=facts),
        forecasts=forecasts(comparison),
        baseline=baseline,
    )


def _answer(evidence: Evidence, comparison: ComparisonTable) -> AnswerText:
    if not comparison.compared:
        return AnswerText([], [])
    from testcard.reports.content.paragraph import answered  # scipy, which a check has no use for

    return answered(evidence, comparison)


def _against_others(baseline: Baseline | None, histories: Sequence[History]) -> dict[str, Drawing]:
    from testcard.reports.figures import over_runs
    from testcard.reports.figures.style import render

    sketches = (over_runs.new_over_old(baseline.comparison) if baseline else None, over_runs.over_the_runs(histories))
    return {sketch.name: render(sketch) for sketch in sketches if sketch is not None}


def _of_pictures(evidence: Evidence, ballots: Ballots | None, *, facts: bool) -> dict[str, list[Panel]]:
    found = []
    if ballots is not None:
        from testcard.reports.content.votes import counted

        found.append(counted(evidence, ballots))
    if facts:
        from testcard.reports.content.picture_facts import facts_panel

        found.append(facts_panel(evidence))
    return {"pictures": found} if found else {}


def _gaps(evidence: Evidence) -> Table | None:
    """What documents leave out: a row for each status (or other gap), a column for each target; None where nothing is."""
    parties = [party for party in evidence.parties if party.verdicts is not None and party.verdicts.spec_gaps]
    found: dict[str, dict[str, dict[str, list[str]]]] = {}  # gap → target → what it answered → operations
    for party in parties:
        for gap in party.verdicts.spec_gaps if party.verdicts else ():
            what = clean(gap.detail) if gap.status is None else f"status {gap.status}"
            answered = "" if gap.status is None else clean(gap.answered or "")
            operations = found.setdefault(what, {}).setdefault(party.key, {}).setdefault(answered, [])
            if clean(gap.operation) not in operations:
                operations.append(clean(gap.operation))

    def cell(answers: dict[str, list[str]]) -> str:
        said = [
            f"{answered} ({listing(operations, 2)})" if answered else listing(operations, 2) for answered, operations in answers.items()
        ]
        return "; ".join(said) or NONE

    rows = [(what, *(cell(each.get(party.key, {})) for party in parties)) for what, each in sorted(found.items())]
    return Table(("left out", *(party.label for party in parties)), tuple(rows)) if rows else None


def _not_drawn(evidence: Evidence, gallery: Gallery) -> list[str]:
    """Which sections have nothing to say, and why a figure is not there, each reason once."""
    said = [] if any(party.verdicts for party in evidence.parties) else ["No check is among the runs: testcard check judges conformance."]
    return [*said, *(f"Not drawn: {reason}" for reason in dict.fromkeys(gallery.missing.values()))]


def _subtitle(evidence: Evidence) -> str:
    begun = min(run.run.started for run in evidence.runs)
    exchanges = sum(party.verdicts.spend.requests for party in evidence.parties if party.verdicts)
    measured = sum(series.row.requests for series in evidence.series)
    parts = [begun[:16].replace("T", " ") + " UTC", count(len(evidence.parties), "target")]
    parts += [f"{count(exchanges, 'exchange')} judged"] if exchanges else []
    parts += [f"{count(measured, 'request')} measured"] if measured else []
    return " · ".join(parts)


def _notes(evidence: Evidence) -> list[str]:
    return [f"{series.label}, stage {clean(series.row.stage)}: {clean(series.row.note)}" for series in evidence.series if series.row.note]


def _left_out(evidence: Evidence) -> list[str]:
    said = []
    warm = sum(int(frame["warmup"].fillna(False).sum()) for frame in evidence.frames)
    late = sum(series.row.errors.get("timeout", 0) for series in evidence.series)
    if warm:
        said.append(f"{count(warm, 'warm-up request')}: declared before the run; plotted, but counted in no figure.")
    if late:
        said.append(f"{count(late, 'timeout')} kept as “at least this long”: none was dropped.")
    for party in evidence.parties:
        idle = [verdict for verdict in party.judged() if verdict.verdict == "not-run"]
        if idle:
            said.append(f"{party.label}: {count(len(idle), 'verdict')} not run ({clean(idle[0].detail) or 'no reason recorded'}).")
    return said


def _runs(evidence: Evidence) -> Table:
    rows = [
        (
            run.folder.name,
            run.run.kind,
            run.run.outcome,
            run.run.started,
            run.run.ended or NONE,
            str(run.run.seed) if run.run.seed is not None else NONE,
            run.run.tool_version,
            run.run.ruleset_version,
        )
        for run in evidence.runs
    ]
    return Table(("run", "kind", "outcome", "started", "ended", "seed", "Testcard", "rule set"), tuple(rows))


def _targets(evidence: Evidence) -> Table:
    rows = []
    for party in evidence.parties:
        target = party.target
        spend = party.verdicts.spend if party.verdicts else None
        spent = (
            NONE
            if spend is None
            else f"{spend.requests:,} requests, {spend.images:,} images"
            + (f", {spend.downloads:,} downloads" if spend.downloads else "")
            + (f", {DOLLARS.said(spend.cost_usd)}" if spend.cost_usd is not None else "")
        )
        rows.append(
            (
                party.label,
                clean(target.base_url) or NONE,
                "mock" if target.mock else "live",
                clean(", ".join(target.models)) or NONE,
                target.prices,
                spent,
                ", ".join(digest[:12] or NONE for digest in (target.spec_digest, target.profile_digest)),
            )
        )
    return Table(("target", "base URL", "kind", "models", "prices", "check spent", "digests of openapi.yaml, profile.yaml"), tuple(rows))


def _environment(evidence: Evidence) -> Table:
    found: dict[tuple[str, ...], list[str]] = {}
    for run in evidence.runs:
        machine = run.run.environment
        packages = ", ".join(f"{name} {version}" for name, version in sorted(machine.packages.items()))
        found.setdefault((machine.python, machine.platform, str(machine.cpu_count), run.run.region or NONE, packages), []).append(
            _name(run)
        )
    rows = tuple((", ".join(names), *facts) for facts, names in found.items())
    return Table(("runs", "Python", "platform", "CPUs", "region", "packages"), rows)


def _name(run: RunReader) -> str:
    return run.folder.name
