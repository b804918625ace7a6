"""A comparison in words: one plain sentence for each metric and rule, the same on a terminal and in a report."""

from __future__ import annotations

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.compare import Change, Comparison, Metric, Refusal, RuleChange
from testcard.harness.statistics.rounds import ROUNDING
from testcard.harness.text.words import NONE, count, fixed, listing

_LATENCIES = ("p50", "p95")
_UNITS = {"p50": "s", "p95": "s", "throughput": "/s", "goodput": "/s", "cost": "USD"}


def place(change: Change | Refusal) -> str:
    """Which row it is about: target, model, operation, stage."""
    return " · ".join(part for part in (change.target, change.model, change.operation, change.stage) if part)


def sentence(change: Change) -> str:
    """What is said of one metric of one row, without the row: "p50 latency is worse: 71 ms against 62 ms, 15 % more [+11 to +19 %]."."""
    title = change.metric.title
    if change.verdict == "no decision":
        return f"{title}: no decision, because {change.reason}."
    if change.verdict == "not comparable":
        return f"{title} is not comparable: {change.reason}."
    new, old = figures(change)
    said = f"{new} against {old}, {extent(change)}"
    if change.verdict == "within noise":
        return f"{title} is within noise: {said}{_hidden(change)}."
    return f"{title} is {change.verdict}: {said}."


def refusal(refused: Refusal) -> str:
    """Why a row is not compared."""
    return f"not comparable because {'; '.join(refused.reasons)}."


def rule_sentence(rule: RuleChange) -> str:
    """What is said of one rule."""
    detail = f" ({rule.detail})" if rule.detail and rule.kind != "fixed" else ""
    was = "" if rule.before is None or rule.kind in ("still broken", "fixed") else f", {rule.before} before"
    since = f", first seen {rule.first_seen[:10]}"
    return f"{rule.rule} on {rule.operation} is {rule.kind}{was}{since if rule.kind != 'fixed' else ''}{detail}."


def figures(change: Change) -> tuple[str, str]:
    """The new and the old figure with their unit: latencies in milliseconds where both are under 2 s."""
    known = [value for value in (change.new, change.old) if value is not None]
    short = change.metric.name in _LATENCIES and max(known, default=0.0) < 2.0
    return _figure(change.metric, change.new, short), _figure(change.metric, change.old, short)


def _figure(metric: Metric, value: float | None, short: bool) -> str:
    if value is None:
        return NONE
    if metric.share:
        return f"{100 * value:.2g} %" if value else "0 %"
    return f"{fixed(1000 * value)} ms" if short else f"{fixed(value)} {_UNITS[metric.name]}"


def extent(change: Change) -> str:
    """How much more or less, with the 95 % interval: "15 % more [11 to 19 %]", "2.1 points more [0.4 to 3.8]"."""
    estimate = change.change
    if estimate is None or estimate.value is None:
        return NONE
    still = 0.0 if change.metric.share else 1.0
    if all(end is not None and abs(end - still) < ROUNDING for end in (estimate.low, estimate.high)):
        return "the same in every round"
    if change.metric.share:
        value, spread = 100 * estimate.value, _spread(estimate, 100.0, 0.0)
        return f"{abs(value):.2g} points {'more' if value >= 0 else 'less'} [{spread}]" if value else f"no change [{spread}]"
    value = 100 * (estimate.value - 1)
    size = f"{_percent(abs(value))} % {'more' if value >= 0 else 'less'}" if abs(value) >= 0.05 else "no change"
    return f"{size} [{_spread(estimate, 100.0, 1.0)} %]"


def verdict_line(comparison: Comparison) -> str:
    """The comparison in one sentence."""
    worse = [change for change in comparison.changes if change.verdict == "worse"]
    better = sum(change.verdict == "better" for change in comparison.changes)
    broken = [rule for rule in comparison.rules if rule.regression]
    parts = []
    if worse:
        parts.append(f"{count(len(worse), 'metric')} got worse ({_named([f'{c.metric.title} of {c.target}' for c in worse])})")
    if broken:
        parts.append(f"{count(len(broken), 'must')} newly broken ({_named([rule.rule for rule in broken])})")
    if not parts:
        parts.append("nothing could be compared" if comparison.empty else "nothing got worse")
    if better:
        parts.append(f"{count(better, 'metric')} got better")
    if comparison.undecided:
        parts.append(f"{count(comparison.undecided, 'metric')} without a decision")
    if comparison.refused:
        parts.append(f"{count(len(comparison.refused), 'row')} not comparable")
    text = ", ".join(parts)
    return text[0].upper() + text[1:] + "."


def _hidden(change: Change) -> str:
    """What a wide interval leaves possible: a verdict within noise must not be taken for "no change" then."""
    estimate = change.change
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    worst = estimate.high if change.metric.lower_is_better else estimate.low
    if change.metric.share:
        return f"; up to {100 * worst:.2g} points more cannot be excluded" if worst > change.noise else ""
    far = worst - 1 if change.metric.lower_is_better else 1 - worst
    return f"; {_percent(100 * far)} % worse cannot be excluded" if far > 2 * change.noise else ""


def _spread(estimate: Estimate, factor: float, origin: float) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval"
    low, high = (factor * (end - origin) for end in (estimate.low, estimate.high))
    return f"{_signed(low)} to {_signed(high)}"


def _signed(value: float) -> str:
    text = _percent(abs(value))
    return text if text == "0" else f"{'+' if value > 0 else '−'}{text}"


def _percent(value: float) -> str:
    if value < 0.05:
        return "0"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}".removesuffix(".0")


def _named(names: list[str]) -> str:
    return listing(list(dict.fromkeys(names)), 3)
