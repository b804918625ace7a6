"""On top of the report: the verdict in one word and one sentence, the gates behind it, the ribbon that says what was talked to; a card a target
(verdict, speed, errors, price, what is broken), and the workload in one line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from testcard.harness.runs.records import Badge
from testcard.harness.statistics import slo
from testcard.harness.text.words import DOLLARS, GLYPHS, PERCENT, clean, count, listing, shortened, time_span
from testcard.reports.content.comparison import ComparisonRow, ComparisonTable, Conformance, conformance, too_few
from testcard.reports.content.evidence import Evidence, Party

Word = Literal["pass", "fail", "inconclusive"]
CONFORMANCE = "conformance"
SOUND = "sound measurement"
WAIVERS = "waivers"
ORDER: tuple[Word, ...] = ("fail", "inconclusive", "pass")


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


def overall(evidence: Evidence, further: Sequence[GateLine] = (), remark: str = "") -> Overall:
    """The verdict over all runs: fail where any gate failed, else inconclusive where any is open, else pass.

    `further` gates (those against a baseline) count too; `remark` is the sentence about them.
    """
    gates = [*_conformance_gates(evidence), *_measured_gates(evidence)]
    gates.sort(key=lambda gate: ORDER.index(gate.verdict))
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
    own, word = word, min((word, *(gate.verdict for gate in further)), key=ORDER.index)
    every = sorted([*gates, *further], key=lambda gate: ORDER.index(gate.verdict))
    badge = _badge(evidence, gates, word)
    if word != own:
        badge = msgspec.structs.replace(badge, message=f"{word} (against the baseline)")
    return Overall(word, f"{sentence} {remark}".rstrip(), every, _ribbon(evidence), badge)


def _conformance_gates(evidence: Evidence) -> list[GateLine]:
    lines = []
    for party in evidence.parties:
        counts = conformance(party.judged())
        if counts is None:
            continue
        broken, what = counts.broken, "musts"
        if party.strict:
            broken, what = counts.broken + counts.deviated, "musts and shoulds"
        # With --strict an open should is undecided as well; the run's own outcome knows.
        undecided = counts.open or (party.verdicts is not None and party.verdicts.outcome == "inconclusive")
        verdict: Word = "fail" if broken else "inconclusive" if undecided else "pass"
        details = [f"{counts.open} not run or unproven"] if counts.open else []
        details += [f"{counts.waived} waived"] if counts.waived else []
        lines.append(
            GateLine(
                party.label,
                CONFORMANCE,
                f"{what} broken = 0",
                f"{broken} broken, {counts.passed} of {counts.total} musts kept",
                f"{counts.total}",
                verdict,
                ", ".join(details),
                f"#matrix-{party.key}",
            )
        )
        expired = [note for note in party.waivers if note.state == "expired" and note.findings]
        if expired:
            names = listing([clean(note.rule) for note in expired], 3)
            lines.append(GateLine(party.label, WAIVERS, "expired = 0", f"{len(expired)} expired", f"{len(party.waivers)}", "fail", names))
    return lines


def _measured_gates(evidence: Evidence) -> list[GateLine]:
    stages = len({(series.bench, series.row.stage) for series in evidence.series}) > len(evidence.summaries)
    lines = []
    for series in sorted(evidence.series, key=lambda entry: entry.index):
        gates = slo.counted(series.row)
        for gate in gates:
            subject = clean(series.row.operation) + (f" · {clean(series.row.stage)}" if stages else "")
            observed = slo.parse(gate.expression).unit.full(gate.observed)
            lines.append(
                GateLine(
                    series.party.label, subject, clean(gate.expression), observed, f"{gate.observed.n:,}", gate.verdict, clean(gate.detail)
                )
            )
        if series.row.outcome == "inconclusive" and all(gate.verdict == "pass" for gate in gates):
            # The figures hold the thresholds, but the measurement itself is in doubt (the generator was the bottleneck, say).
            note = clean(series.row.note or "no reason recorded")
            subject = clean(series.row.operation) + (f" · {clean(series.row.stage)}" if stages else "")
            lines.append(GateLine(series.party.label, subject, SOUND, "in doubt", f"{series.row.requests:,}", "inconclusive", note))
    return lines


def _sentence(evidence: Evidence, gates: list[GateLine], word: Word, reasons: list[str]) -> str:
    if word == "pass":
        kept = [part for part, kind in ((_kept(evidence), True), ("holds every threshold", False)) if _has(gates, kind)]
        whom = "The target" if len(evidence.parties) == 1 else f"Each of the {count(len(evidence.parties), 'target')}"
        return f"{whom} {' and '.join(kept) or 'ran to the end; nothing was gated'}."
    said: dict[str, list[str]] = {}
    rest = [party for party in evidence.parties if not _note(evidence, party, gates, "fail", said)]
    rest = [party for party in rest if not _note(evidence, party, gates, "inconclusive", said)]
    parts = []
    for text, names in said.items():
        single = len(names) == 1
        ending = (
            text.replace("{s}", "s" if single else "")
            .replace("{es}", "es" if single else "")
            .replace("{ies}", "ies" if single else "y")
            .replace("{each}", "" if single else " each")
        )
        parts.append(f"{listing(names)} {ending}")
    if parts:
        tail = f"; the other {'target passes' if len(rest) == 1 else f'{len(rest)} targets pass'}" if rest else ""
        return "; ".join(parts) + tail + "."
    return (
        f"Not conclusive: {shortened(listing(reasons, 3), 300)}." if reasons else "A run ended without passing; its own messages say why."
    )


def _note(evidence: Evidence, party: Party, gates: list[GateLine], word: Word, said: dict[str, list[str]]) -> bool:
    """Adds the target to what is said of it; whether there is anything to say."""
    text = _trouble(evidence, party, gates, word)
    if text:
        said.setdefault(text, []).append(party.label)
    return bool(text)


def _trouble(evidence: Evidence, party: Party, gates: list[GateLine], word: Word) -> str:
    """What keeps one target from passing, as the end of a sentence; `{s}` and the like depend on how many it is said of."""
    mine = [gate for gate in gates if gate.target == party.label and gate.verdict == word]
    counts = conformance(party.judged())
    said = []
    if counts and any(gate.subject == CONFORMANCE for gate in mine):
        said.append(_broken(counts, party.strict) if word == "fail" else _open(counts))
    if any(gate.subject == WAIVERS for gate in mine):
        said.append("rel{ies} on an expired waiver")
    missed = list(dict.fromkeys(gate.threshold for gate in mine if gate.subject not in (CONFORMANCE, WAIVERS) and gate.threshold != SOUND))
    if missed:
        said.append(("miss{es} " if word == "fail" else "cannot be judged on ") + listing(missed, 3))
    if not said and word == "inconclusive":
        open_rows = [series.row for series in evidence.series if series.party is party and series.row.outcome == "inconclusive"]
        if open_rows:
            said.append(f"cannot be judged ({shortened(clean((open_rows[0].note or 'no reason recorded').partition(';')[0]), 140)})")
    return " and ".join(said)


def _kept(evidence: Evidence) -> str:
    judged = [party for party in evidence.parties if party.verdicts is not None]
    what = "must and should" if judged and all(party.strict for party in judged) else "must"
    waived = sum(verdict.verdict == "waived" for party in judged for verdict in party.judged())
    return f"keeps every {what} that was checked" + (f" but {count(waived, 'waived finding')}" if waived else "")


def _broken(counts: Conformance, strict: bool) -> str:
    parts = [count(counts.broken, "must")] if counts.broken or not strict else []
    parts += [count(counts.deviated, "should")] if strict and counts.deviated else []
    return f"break{{s}} {listing(parts)}{{each}}"


def _open(counts: Conformance) -> str:
    return f"leave{{s}} {count(counts.open, 'must')} unproven{{each}}" if counts.open else "cannot be judged"


def _has(gates: list[GateLine], judged: bool) -> bool:
    return any((gate.subject == CONFORMANCE) == judged for gate in gates)


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


#: So many broken rules are named on a card.
MOST = 4


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured row of a target's card: what was asked for, and its figures in words by their names."""

    what: str
    group: str
    figures: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Card:
    """One target: `word` is the worst of its gates, None where nothing was gated; `musts` in words; `broken` what is wrong, most important first."""

    party: Party
    word: Word | None
    musts: str
    measured: list[Measured]
    broken: list[str]

    @property
    def lines(self) -> list[str]:
        """The card as plain text: the target with its verdict, what was measured of it, and what is wrong."""
        word = f"  {GLYPHS[self.word]} {self.word}" if self.word is not None else ""
        found = [f"{self.party.label}{word}{f', {self.musts}' if self.musts else ''}"]
        for each in self.measured:
            figures = ", ".join(f"{name} {value}" for name, value in each.figures)
            found.append(f"  {each.what}: {figures}" if len(self.measured) > 1 else f"  {figures}")
        return [*found, *(f"  {said}" for said in self.broken)]


def cards(evidence: Evidence, comparison: ComparisonTable, gates: Sequence[GateLine]) -> list[Card]:
    """A card for each target, in the order of the comparison."""
    found = []
    for party in evidence.parties:
        mine = [gate for gate in gates if gate.target == party.label]
        words: list[Word] = [word for word in ("fail", "inconclusive", "pass") if any(gate.verdict == word for gate in mine)]
        rows = [row for row in comparison.rows if row.party is party and row.series is not None and not row.further]
        several = len(rows) > 1
        judged = [gate for gate in mine if gate.link]
        found.append(
            Card(
                party,
                words[0] if words else None,
                judged[0].observed if judged else "",
                [_measured(row, comparison, several) for row in rows],
                _broken_rules(party, mine),
            )
        )
    return found


def _measured(row: ComparisonRow, comparison: ComparisonTable, several: bool) -> Measured:
    assert row.series is not None
    unit, measured = comparison.latency, row.series.row
    figures = []
    for name in ("p50", "p95"):
        estimate = measured.latency_s.get(name)
        if estimate is None or (estimate.value is None and estimate.low is None):
            figures.append((name, too_few(name, estimate.n) if estimate is not None else "not measured"))
        else:
            figures.append((name, unit.full(estimate)))
    figures.append(("errors", PERCENT.full(measured.error_rate) if measured.error_rate is not None else "not measured"))
    cost = measured.cost_usd_per_1000_good_images
    each = measured.money.cost_usd_per_megapixel if measured.money is not None else None
    if cost is not None and cost.value is not None:
        kind = f" ({row.party.target.prices} price)" if row.party.target.prices in ("illustrative", "list") else ""
        figures.append((f"1,000 good pictures{kind}", DOLLARS.full(cost)))
    elif measured.images_per_s:
        figures.append(("1,000 good pictures", "no price"))
    if each is not None and each.value is not None:
        figures.append(("a megapixel", DOLLARS.full(each)))
    figures.append(("requests", f"{measured.requests:,}"))
    what = " · ".join(part for part in (clean(row.operation), row.model or "") if part)
    return Measured(what if several or row.model else clean(row.operation), row.group, figures)


def _broken_rules(party: Party, gates: Sequence[GateLine]) -> list[str]:
    said = []
    for level, word, noun in (("must", "fail", "must"), ("should", "deviates", "should")):
        broken = dict.fromkeys((one.operation, clean(one.rule)) for one in party.judged() if one.verdict == word and one.level == level)
        rules = list(dict.fromkeys(rule for _, rule in broken))
        if rules:  # counted as everywhere, once for each operation
            said.append(f"{count(len(broken), noun)} broken: {listing(rules, MOST)}")
    said += [f"misses {gate.threshold} ({gate.observed})" for gate in gates if gate.verdict == "fail" and not gate.link]
    said += [f"undecided: {gate.threshold}" for gate in gates if gate.verdict == "inconclusive" and not gate.link]
    return said


def workloads(evidence: Evidence, comparison: ComparisonTable) -> list[str]:
    """The workload of each benchmark in one line: what was asked for, how often, in how many rounds, with which objectives."""
    lines = []
    for bench, summary in enumerate(evidence.summaries):
        rows = [row for row in comparison.rows if row.series is not None and row.series.bench == bench]
        line = _workload(summary.workload, rows, summary.slo)
        if line and line not in lines:
            lines.append(line)
    return lines


def _workload(workload: Mapping[str, Any], rows: Sequence[ComparisonRow], slo: Sequence[str]) -> str:
    likes = [row.likeness for row in rows if row.likeness is not None]
    loads = list(dict.fromkeys(like.load for like in likes))
    parts = [
        clean(str(workload.get("name") or "")),
        listing(list(dict.fromkeys(like.task for like in likes if like.task))),
        listing(list(dict.fromkeys(like.size for like in likes if like.size))),
        listing(loads) + (f" {_ARRIVALS[arrival]}" if (arrival := workload.get("arrival")) in _ARRIVALS and "/s" in "".join(loads) else ""),
        _length(workload),
        _SEEDS.get(str(workload.get("seeds")), ""),
        f"objectives {', '.join(clean(text) for text in slo)}" if slo else "",
    ]
    return " · ".join(part for part in parts if part)


_ARRIVALS = {"poisson": "at random moments (Poisson)", "constant": "evenly spaced"}
_SEEDS = {"fresh": "a fresh seed each", "fixed": "one seed for all", "none": "no seeds"}


def _length(workload: Mapping[str, Any]) -> str:
    stages = [stage for stage in workload.get("stage") or [] if isinstance(stage, dict)]
    seconds = sum(float(stage.get("duration_s") or 0.0) for stage in stages)
    rounds = workload.get("rounds")
    said = f"{time_span(seconds)} a target" if seconds else ""
    return f"{said} in {count(int(rounds), 'round')}" if said and isinstance(rounds, int) else said
