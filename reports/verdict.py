"""The verdict on top of the report: one word, one sentence, the gates behind it, and the ribbon that says what was talked to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from testcard.harness.runs.records import Badge, Gate
from testcard.harness.statistics import slo
from testcard.reports.comparison import conformance
from testcard.reports.evidence import Evidence, Series, clean
from testcard.reports.words import DOLLARS, PER_SECOND, PERCENT, SECONDS, Unit, count, listing

Word = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class GateLine:
    """One line of the gate table."""

    target: str
    subject: str
    threshold: str
    observed: str
    n: str
    verdict: Word
    detail: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Overall:
    """The verdict of the whole report."""

    word: Word
    sentence: str
    gates: list[GateLine]
    ribbon: str | None
    badge: Badge


def overall(evidence: Evidence) -> Overall:
    """The verdict over all runs: fail where any gate failed, else inconclusive where any is open, else pass."""
    gates = [*_conformance_gates(evidence), *_measured_gates(evidence)]
    gates.sort(key=lambda gate: ("fail", "inconclusive", "pass").index(gate.verdict))
    troubled = [run for run in evidence.runs if run.run.outcome in ("error", "interrupted", "running")]
    undecided = [run for run in evidence.runs if run.run.outcome == "inconclusive"]
    words = {gate.verdict for gate in gates} | {run.run.outcome for run in evidence.runs}
    word: Word = "fail" if "fail" in words else "inconclusive" if "inconclusive" in words or troubled else "pass"
    reasons = [
        f"{run.folder.name}: {clean(run.run.reason or run.run.outcome)}"
        for run in [*troubled, *undecided]
        if run.run.reason or run in troubled
    ]
    sentence = _sentence(evidence, gates, word, reasons)
    return Overall(word, sentence, gates, _ribbon(evidence), _badge(evidence, gates, word))


def _conformance_gates(evidence: Evidence) -> list[GateLine]:
    lines = []
    for party in evidence.parties:
        counts = conformance(party.judged())
        if counts is None:
            continue
        verdict: Word = "fail" if counts.broken else "inconclusive" if counts.open else "pass"
        observed = f"{counts.broken} broken, {counts.passed} of {counts.total} kept"
        detail = f"{counts.open} not run or unproven" if counts.open else ""
        lines.append(
            GateLine(party.label, "conformance", "musts broken = 0", observed, f"{counts.total}", verdict, detail, f"#matrix-{party.key}")
        )
    return lines


def _measured_gates(evidence: Evidence) -> list[GateLine]:
    stages = len({(series.bench, series.row.stage) for series in evidence.series}) > len(evidence.summaries)
    lines = []
    for series in evidence.series:
        for gate in series.row.gates:
            subject = clean(series.row.operation) + (f" · {clean(series.row.stage)}" if stages else "")
            observed = _observed(gate)
            lines.append(
                GateLine(
                    series.party.label, subject, clean(gate.expression), observed, f"{gate.observed.n:,}", gate.verdict, clean(gate.detail)
                )
            )
    return lines


def _observed(gate: Gate) -> str:
    unit = _unit(gate.expression)
    estimate = gate.observed
    if estimate.value is None and estimate.low is not None:
        return f"at least {unit.text(estimate.low)} {unit.name}"
    return unit.full(estimate)


def _unit(expression: str) -> Unit:
    metric = slo.parse(expression).metric
    if metric.endswith("_rate"):
        return PERCENT
    if metric.startswith("usd"):
        return DOLLARS
    return PER_SECOND if metric.endswith(("_rps", "_per_s")) else SECONDS


def _sentence(evidence: Evidence, gates: list[GateLine], word: Word, reasons: list[str]) -> str:
    targets = count(len(evidence.parties), "target")
    if word == "pass":
        kept = [
            part
            for part, present in (("keeps every must that was checked", "conformance"), ("holds every threshold", "measured"))
            if _has(gates, present)
        ]
        return f"{'The target' if len(evidence.parties) == 1 else f'Each of the {targets}'} {' and '.join(kept) or 'ran to its end; nothing was gated'}."
    parts = []
    failed = "fail" if word == "fail" else "inconclusive"
    for party in evidence.parties:
        mine = [gate for gate in gates if gate.target == party.label and gate.verdict == failed]
        counts = conformance(party.judged())
        said = []
        if counts and any(gate.subject == "conformance" for gate in mine):
            said.append(f"breaks {count(counts.broken, 'must')}" if word == "fail" else f"leaves {count(counts.open, 'must')} unproven")
        missed = list(dict.fromkeys(gate.threshold for gate in mine if gate.subject != "conformance"))
        if missed:
            said.append(("misses " if word == "fail" else "cannot be judged on ") + listing(missed, 3))
        if said:
            parts.append(f"{party.label} {' and '.join(said)}")
    rest = len(evidence.parties) - len(parts)
    tail = f"; the other {count(rest, 'target')} {'passes' if rest == 1 else 'pass'}" if parts and rest and word == "fail" else ""
    if not parts:
        return f"The run is not conclusive: {listing(reasons, 3)}." if reasons else "A run ended without a pass; its own messages say why."
    return "; ".join(parts) + tail + "." + (f" Also open: {listing(reasons, 3)}." if reasons and word == "inconclusive" else "")


def _has(gates: list[GateLine], kind: str) -> bool:
    return any((gate.subject == "conformance") == (kind == "conformance") for gate in gates)


def _ribbon(evidence: Evidence) -> str | None:
    mocks = [party for party in evidence.parties if party.target.mock]
    if not mocks:
        return None
    whom = "every target" if len(mocks) == len(evidence.parties) else listing([party.label for party in mocks])
    is_are = "is a mock on this machine" if len(mocks) == 1 or whom == "every target" else "are mocks on this machine"
    prices = " Prices are illustrative." if any(party.target.prices == "illustrative" for party in mocks) else ""
    return f"Mock run: {whom} {is_are}. Speed, errors and cost say nothing about the real service.{prices}"


def _badge(evidence: Evidence, gates: list[GateLine], word: Word) -> Badge:
    bad = {gate.target for gate in gates if gate.verdict != "pass"}
    total = len(evidence.parties)
    message = {"pass": "pass", "fail": "fail", "inconclusive": "inconclusive"}[word] + f" ({total - len(bad)} of {total})"
    return Badge(label="testcard", message=message, color={"pass": "brightgreen", "fail": "red", "inconclusive": "lightgrey"}[word])


def saturated(evidence: Evidence) -> list[Series]:
    """The rows whose figures the load generator, not the target, may have decided."""
    return [series for series in evidence.series if series.row.outcome == "inconclusive" and series.row.note]
