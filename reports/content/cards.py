"""On top of the report: a card a target (verdict, speed, errors, price, what is broken) and the workload in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from testcard.harness.text.words import DOLLARS, PERCENT, clean, count, listing, time_span
from testcard.reports.content.answer import GateLine, Word
from testcard.reports.content.comparison import ComparisonRow, ComparisonTable, too_few
from testcard.reports.content.evidence import Evidence, Party

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
                _broken(party, mine),
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


def _broken(party: Party, gates: Sequence[GateLine]) -> list[str]:
    said = []
    for level, word, noun in (("must", "fail", "must"), ("should", "deviates", "should")):
        rules = list(dict.fromkeys(clean(one.rule) for one in party.judged() if one.verdict == word and one.level == level))
        if rules:
            said.append(f"{count(len(rules), noun)} broken: {listing(rules, MOST)}")
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
