"""A run against its baseline: the comparison with the gates that follow from it, ready to be shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from testcard.harness.errors import Exit, UsageError, worst
from testcard.harness.runs.folder import RunReader
from testcard.harness.statistics import samples, sentences
from testcard.harness.statistics.compare import Change, Comparison, compare
from testcard.harness.statistics.matching import Bench, Side
from testcard.harness.text.words import clean, count, listing
from testcard.reports.content.answer import GateLine
from testcard.reports.content.evidence import Evidence, leaves

THRESHOLD = "no worse than the baseline"
#: What a comparison reads of the samples: a fraction of their columns.
COLUMNS = (
    "provider", "model", "operation", "round", "stage", "scheduled_s", "sent_s", "first_byte_s", "done_s", "outcome", "images",
    "megapixels", "cost_usd", "warmup", "target",
)  # fmt: skip
_STYLES = {
    "worse": "fail",
    "better": "pass",
    "below the margin": "info",
    "no difference": "info",
    "no decision": "unproven",
    "not comparable": "unsupported",
}
_GLYPHS = {"worse": "✗", "better": "✓", "below the margin": "△", "no difference": "≈", "no decision": "?", "not comparable": "–"}


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence with its verdict word, the class it is coloured by, and a glyph for those who see no colour."""

    word: str
    style: str
    glyph: str
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """What is said of one row; `quiet` where nothing in it needs a look."""

    name: str
    lines: list[Line]
    quiet: bool


@dataclass(frozen=True, slots=True)
class Baseline:
    """The comparison with a baseline as a report shows it, and the exit code that it means."""

    name: str
    comparison: Comparison
    sentence: str
    groups: list[Group]
    rules: list[Line]
    notes: list[str]
    gates: list[GateLine]
    exit: Exit


def side(runs: Sequence[RunReader], evidence: Evidence | None = None) -> Side:
    """The benchmarks and checks of these runs; samples that the evidence holds already are not read again."""
    read = {}
    if evidence is not None:
        benches = [run for run in evidence.runs if run.path("summary") is not None]
        read = {run.folder.resolve(): frame for run, frame in zip(benches, evidence.frames, strict=True)}
    found, checks = [], []
    for run in leaves(runs):
        summary, verdicts = run.summary(), run.verdicts()
        if summary is not None:
            frame = read.get(run.folder.resolve())
            found.append(Bench(run.run, summary, samples.read(run, columns=COLUMNS) if frame is None else frame))
        if verdicts is not None:
            checks.append((run.run, verdicts))
    return Side(found, checks)


def against(
    runs: Sequence[RunReader],
    baseline: Sequence[RunReader],
    *,
    evidence: Evidence | None = None,
    margin: float | None = None,
    metrics: Sequence[str] = (),
) -> Baseline:
    """The runs compared with their baseline; `margin` and `metrics` as in `compare`. `UsageError` where the two have nothing in common that could be compared at all."""
    new, old = side(runs, evidence), side(baseline)
    name = listing([run.folder.name for run in baseline])
    if not (old.benches or old.checks):
        raise UsageError(f"{name} holds no benchmark and no check", hint="name a run that check, bench or evaluate wrote")
    comparison = compare(new, old, margin=margin, metrics=metrics)
    if comparison.empty and not comparison.refused:
        kinds = (
            "the one was checked, the other benchmarked" if bool(new.benches) != bool(old.benches) else "they share no target and operation"
        )
        raise UsageError(f"there is nothing to compare: {kinds}", hint="compare runs of the same targets, operations and workload")
    return Baseline(
        name=name,
        comparison=comparison,
        sentence=f"Against the baseline {clean(name)}: {_decapitalised(sentences.verdict_line(comparison))}",
        groups=_groups(comparison),
        rules=_rules(comparison),
        notes=[clean(text) for text in [*comparison.warnings, *comparison.alone]],
        gates=_gates(comparison),
        exit=exit_code(comparison),
    )


def exit_code(comparison: Comparison) -> Exit:
    """1 for a regression, 2 where a row must not be compared, 5 where nothing was decided on a metric, else 0; the design's order."""
    codes = [Exit.PASS]
    codes += [Exit.GATE_FAILED] if comparison.regressions else []
    codes += [Exit.USAGE] if comparison.refused else []
    codes += [Exit.INCONCLUSIVE] if comparison.undecided else []
    return worst(codes)


def _groups(comparison: Comparison) -> list[Group]:
    found: dict[str, list[Line]] = {}
    still: dict[str, list[Change]] = {}
    unknown: dict[tuple[str, str], list[Change]] = {}
    for change in comparison.changes:
        name = clean(sentences.place(change))
        lines = found.setdefault(name, [])
        if change.verdict == "no difference":
            still.setdefault(name, []).append(change)
        elif change.verdict == "no decision":
            unknown.setdefault((name, change.reason), []).append(change)
        else:
            lines.append(Line(change.verdict, _STYLES[change.verdict], _GLYPHS[change.verdict], clean(sentences.sentence(change))))
    for (name, _), open_ones in unknown.items():  # what is undecided for one reason is one line
        found[name].append(Line("no decision", _STYLES["no decision"], _GLYPHS["no decision"], clean(sentences.undecided(open_ones))))
    for name, unchanged in still.items():  # what did not move is one line
        if comparison.itself:
            text = sentences.TWICE
        else:
            text = sentences.sentence(unchanged[0]) if len(unchanged) == 1 else sentences.unchanged(unchanged)
        found[name].append(Line("no difference", _STYLES["no difference"], _GLYPHS["no difference"], clean(text)))
    for refused in comparison.refused:
        line = Line("not comparable", _STYLES["not comparable"], _GLYPHS["not comparable"], clean(sentences.refusal(refused)))
        found.setdefault(clean(sentences.place(refused)), []).append(line)
    return [Group(name, lines, all(line.word == "no difference" for line in lines)) for name, lines in found.items()]


def _rules(comparison: Comparison) -> list[Line]:
    styles: Mapping[str, tuple[str, str]] = {
        "newly broken": ("fail", "✗"),
        "broken, not judged before": ("fail", "✗"),
        "still broken": ("deviates", "≈"),
        "no longer shown": ("unproven", "?"),
        "fixed": ("pass", "✓"),
    }
    return [Line(rule.kind, *styles[rule.kind], clean(f"{rule.provider}: {sentences.rule_sentence(rule)}")) for rule in comparison.rules]


def _gates(comparison: Comparison) -> list[GateLine]:
    """A line for each target that was measured on both sides, and one for each whose rules were judged on both."""
    found: dict[str, list[Change]] = {}
    for change in comparison.changes:
        found.setdefault(change.target, []).append(change)
    lines = []
    for target, changes in found.items():
        bad = [change for change in changes if change.verdict == "worse"]
        open_ones = [change for change in changes if change.verdict == "no decision"]
        n = f"{sum(change.change.n for change in changes[:1] if change.change):,}"
        shown = bad or open_ones
        observed = ", ".join(dict.fromkeys(f"{change.metric.title} {_short(change)}" for change in shown[:3])) or "nothing worse"
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        word = "fail" if bad else "inconclusive" if open_ones else "pass"
        lines.append(GateLine(clean(target), f"{count(len(changes), 'metric')}", THRESHOLD, observed + more, n, word, "", "#baseline"))  # type: ignore[arg-type]
    for refused in comparison.refused:
        why = clean("; ".join(refused.reasons))
        lines.append(
            GateLine(clean(refused.target), clean(refused.operation), THRESHOLD, "not comparable", "–", "inconclusive", why, "#baseline")
        )
    broken: dict[str, list[str]] = {}
    for rule in comparison.rules:
        if rule.regression:
            broken.setdefault(rule.provider, []).append(f"{rule.rule} on {rule.operation}")
    for provider, names in broken.items():
        text = clean(listing(names, 3))
        lines.append(GateLine(clean(provider), "rules", "no must newly broken", text, f"{len(names)}", "fail", "", "#baseline"))
    return lines


def _short(change: Change) -> str:
    return sentences.extent(change) if change.verdict == "worse" else "undecided"


def _decapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]
