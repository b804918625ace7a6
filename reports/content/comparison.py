"""The comparison: one row for each provider, model and operation, with what was judged and what was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testcard.harness.runs.records import PERCENTILES, Estimate, SummaryRow, Verdict
from testcard.harness.text.words import DOLLARS, NONE, PER_SECOND, PERCENT, Unit, clean, time_unit, worst_word
from testcard.reports.content.evidence import Evidence, Party, Series

if TYPE_CHECKING:
    from testcard.reports.content.ranks import Likeness

#: Verdict words of a must that count in "musts passed / total".
_Line = tuple[Party, str, Series | None]  # with its operation
_COUNTED = ("pass", "fail", "unproven", "not-run")


@dataclass(frozen=True, slots=True)
class Conformance:
    """How one operation stands: rules, not cases. `total` leaves out what the contract does not offer and what is waived."""

    passed: int
    total: int
    broken: int
    deviated: int
    open: int
    waived: int = 0

    @property
    def share(self) -> float:
        """Share of the musts that passed; 0 without musts."""
        return self.passed / self.total if self.total else 0.0


@dataclass(frozen=True, slots=True)
class ComparisonCell:
    """A figure of the comparison, written out. `sort` is None where there is nothing to sort by; such rows come last."""

    text: str
    interval: str = ""
    sort: float | None = None
    rank: int | None = None
    best: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A measured column: its title, unit, how to read it from a row, and which end is better."""

    key: str
    title: str
    unit: Unit
    read: Callable[[SummaryRow], Estimate | None]
    lower_is_better: bool
    absent: str


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One line of the comparison. `further`: at another stage than the one that is compared at; its ranks are among that stage's rows."""

    party: Party
    model: str | None
    operation: str
    task: str
    conformance: Conformance | None
    series: Series | None
    cells: dict[str, ComparisonCell]
    further: bool = False
    likeness: Likeness | None = None

    @property
    def group(self) -> str:
        """What it is alike in with all that it is ranked with, in words; empty for an operation that was not measured."""
        return self.likeness.words if self.likeness is not None else ""

    @property
    def stage(self) -> str:
        """The stage that was measured, empty for an operation that was not."""
        return clean(self.series.row.stage) if self.series else ""

    @property
    def unsteady(self) -> bool:
        """Whether its latency was seen to move after the warm-up."""
        steady = self.series.row.steadiness if self.series else None
        return steady is not None and steady.verdict in ("drifting", "settling")

    @property
    def poll_s(self) -> str:
        """The seconds between polls of a row of async tasks, the resolution of its latencies; empty for others."""
        row = self.series.row if self.series else None
        return row.asked.get("poll_s", "") if row is not None and row.tasks is not None else ""

    @property
    def n(self) -> int:
        """Measured requests, 0 for an operation that was not benchmarked."""
        return self.series.row.requests if self.series else 0


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """All lines, the columns they have, and the stage that targets are compared at."""

    columns: list[Column]
    rows: list[ComparisonRow]
    latency: Unit
    stages: dict[int, str]  # bench → the stage compared
    several_stages: bool

    @property
    def shown(self) -> list[Column]:
        """The columns in which some row has a figure."""
        return [column for column in self.columns if any(row.cells[column.key].sort is not None for row in self.rows)]

    @property
    def groups(self) -> int:
        """How many groups of rows there are that are ranked apart."""
        return len({row.group for row in self.rows if row.series is not None})

    @property
    def compared(self) -> list[Series]:
        """What was measured at the stage compared: one series for each target, model and operation."""
        return [row.series for row in self.rows if row.series is not None and not row.further]


def conformance(verdicts: list[Verdict]) -> Conformance | None:
    """The counts of these verdicts by rule (the worst word of each rule counts once for each operation); None without any."""
    if not verdicts:
        return None
    words: dict[tuple[str, str, str], list[str]] = {}
    for verdict in verdicts:
        words.setdefault((verdict.operation, verdict.rule, verdict.level), []).append(verdict.verdict)
    musts = Counter(worst_word(found) for (_, _, level), found in words.items() if level == "must")
    deviated = sum(worst_word(found) == "deviates" for found in words.values())
    total = sum(musts[word] for word in _COUNTED)
    waived = sum(worst_word(found) == "waived" for found in words.values())
    return Conformance(musts["pass"], total, musts["fail"], deviated, musts["unproven"] + musts["not-run"], waived)


def compared(evidence: Evidence) -> ComparisonTable:
    """The comparison of everything in the evidence, what was measured first, in the order of the targets."""
    stages = _compared_stages(evidence)
    unit = time_unit(max((top for series in evidence.series if (top := _longest(series.row)) is not None), default=None))
    shown = _columns(unit)
    lines: list[_Line] = [(series.party, series.row.operation, series) for series in evidence.series]
    covered = {(party.key, operation) for party, operation, _ in lines}
    for party in evidence.parties:
        for operation in dict.fromkeys(verdict.operation for verdict in party.judged()):
            if (party.key, operation) not in covered:
                lines.append((party, operation, None))

    def further(series: Series | None) -> bool:
        return series is not None and series.row.stage != stages[series.bench]

    # The stages of a row stand together, the compared one first.
    lines.sort(key=lambda line: (line[2] is None, line[0].key, line[2].index if line[2] else 0, further(line[2])))
    tasks = [evidence.task(party, operation, series.row if series else None) for party, operation, series in lines]
    rivals = [_likeness(evidence, series) for _, _, series in lines]
    cells = _cells(shown, lines, rivals, evidence)
    rows = []
    for (party, operation, series), task, measures, group in zip(lines, tasks, cells, rivals, strict=True):
        judged = conformance([verdict for verdict in party.judged() if verdict.operation == operation])
        model = clean(series.row.model) if series and series.row.model else None
        rows.append(ComparisonRow(party, model, operation, task, judged, series, measures, further(series), group))
    return ComparisonTable(shown, rows, unit, stages, any(row.further for row in rows))


def _likeness(evidence: Evidence, series: Series | None) -> Likeness | None:
    if series is None:
        return None
    from testcard.reports.content.ranks import likeness  # numpy, which a check has no use for

    return likeness(evidence, series)


def _compared_stages(evidence: Evidence) -> dict[int, str]:
    """For each benchmark the stage to compare at: the last one in which most rows hold their objectives, else the first."""
    chosen = {}
    for bench, _ in enumerate(evidence.summaries):
        held: dict[str, int] = {}
        for series in evidence.series:
            if series.bench == bench:
                held[series.row.stage] = held.get(series.row.stage, 0) + (series.row.outcome == "pass")
        if held:
            most = max(held.values())
            passing = [stage for stage, number in held.items() if number == most and most > 0]
            chosen[bench] = passing[-1] if passing else next(iter(held))
    return chosen


def _longest(row: SummaryRow) -> float | None:
    return max((estimate.value for estimate in row.latency_s.values() if estimate.value is not None), default=None)


def _columns(unit: Unit) -> list[Column]:
    def latency(name: str) -> Callable[[SummaryRow], Estimate | None]:
        return lambda row: row.latency_s.get(name)

    def goodput(row: SummaryRow) -> Estimate | None:
        return row.goodput or Estimate(value=row.goodput_rps, n=row.requests)

    def megapixel(row: SummaryRow) -> Estimate | None:
        return row.money.cost_usd_per_megapixel if row.money is not None else None

    return [
        Column("p50", "p50", unit, latency("p50"), True, "not measured"),
        Column("p90", "p90", unit, latency("p90"), True, "not measured"),
        Column("p95", "p95", unit, latency("p95"), True, "not measured"),
        Column("p99", "p99", unit, latency("p99"), True, "not measured"),
        Column("goodput", "Goodput", PER_SECOND, goodput, False, "not measured"),
        Column("errors", "Error rate", PERCENT, lambda row: row.error_rate, True, "not measured"),
        Column("cost", "Cost of 1,000 good images", DOLLARS, lambda row: row.cost_usd_per_1000_good_images, True, "no price"),
        Column("megapixel", "Cost of a megapixel", DOLLARS, megapixel, True, "no price"),
    ]


def _cells(shown: list[Column], lines: list[_Line], rivals: list[Likeness | None], evidence: Evidence) -> list[dict[str, ComparisonCell]]:
    """Every line's cells. Only lines of one entry in `rivals` are ranked with each other."""
    cells: list[dict[str, ComparisonCell]] = [{} for _ in lines]
    places: dict[str, list[int | None]] = {column.key: [None] * len(lines) for column in shown}
    for group in dict.fromkeys(rivals):  # only like is ranked with like: describing a picture is no rival of generating one
        members = [place for place, other in enumerate(rivals) if other == group and lines[place][2] is not None]
        rows = [series for place in members if (series := lines[place][2]) is not None]
        if len(rows) < 2:
            continue
        from testcard.reports.content.ranks import ranks_of  # pandas, which a check has no use for

        found = ranks_of(evidence, rows, {column.key: column.lower_is_better for column in shown})
        for column in shown:
            for place, value in zip(members, found[column.key], strict=True):
                places[column.key][place] = value
    for column in shown:
        # A column in which everybody shares the first rank has no best.
        ranked = places[column.key]
        worst = {
            group: max((r for r, g in zip(ranked, rivals, strict=True) if g == group and r is not None), default=1) for group in set(rivals)
        }
        for place, (_, _, series) in enumerate(lines):
            estimate = column.read(series.row) if series else None
            cells[place][column.key] = _cell(column, series, estimate, ranked[place], worst[rivals[place]] > 1)
    return cells


def _cell(column: Column, series: Series | None, estimate: Estimate | None, place: int | None, distinct: bool) -> ComparisonCell:
    if series is None:
        return ComparisonCell(NONE, note="not measured")
    row = series.row
    if estimate is None or (estimate.value is None and estimate.low is None):
        if estimate is not None and column.key in row.latency_s:
            return ComparisonCell(NONE, note=too_few(column.key, estimate.n))
        absent = "delivers no pictures" if column.key in ("cost", "megapixel") and row.ok and not row.images_per_s else column.absent
        return ComparisonCell(NONE, note=absent)
    rank = place if distinct else None
    if estimate.value is None or estimate.at_least:
        return ComparisonCell(column.unit.value(estimate), note="among timeouts", sort=float("inf"), rank=rank)
    note = ""
    if column.key == "cost" and series.party.target.prices in ("illustrative", "list"):
        note = f"{series.party.target.prices} price"
    text, spread = column.unit.value(estimate), column.unit.interval(estimate)
    if spread == f"{text}–{text}":
        spread = ""
    return ComparisonCell(text, spread, estimate.value * column.unit.factor, rank, distinct and place == 1, note)


def compared_at(comparison: ComparisonTable) -> list[str]:
    """The stages that targets are compared at, one for each benchmark that has another."""
    return list(dict.fromkeys(clean(stage) for stage in comparison.stages.values()))


def too_few(percentile: str, n: int) -> str:
    """Why a percentile has no value: none of its samples lies beyond it."""
    fewest = round(1.0 / (1.0 - PERCENTILES[percentile]))
    return f"n\u00a0<\u00a0{fewest}"
