"""A comparison in words: one plain sentence for each metric and rule, the same on a terminal and in a report."""

from __future__ import annotations

from collections.abc import Sequence

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.compare import Change, Comparison, Metric, Refusal, RuleChange
from testcard.harness.statistics.rates import wilson
from testcard.harness.statistics.rounds import ROUNDING
from testcard.harness.text.words import DOLLARS, MILLISECONDS, NONE, PER_SECOND, SECONDS, count, listing

#: In the place of what is said of a row's metrics where both sides are one run: an interval of that would hide what cannot be there.
TWICE = "the figures of one run, twice."
_LATENCIES = ("p50", "p95")
_UNITS = {"p50": SECONDS, "p95": SECONDS, "throughput": PER_SECOND, "goodput": PER_SECOND, "cost": DOLLARS}


def place(change: Change | Refusal) -> str:
    """Which row it is about: target, model, operation, stage."""
    return " · ".join(part for part in (change.target, change.model, change.operation, change.stage) if part)


def sentence(change: Change) -> str:
    """What is said of one metric of one row, without the row: "p50 latency is worse: 71 ms against 62 ms, 15 % more [+11 to +19 %],
    beyond the margin of 5 %."."""
    title, margin = change.metric.title, margin_text(change)
    if change.verdict == "no decision":
        return f"{title}: no decision, because {change.reason}."
    if change.verdict == "not comparable":
        return f"{title} is not comparable: {change.reason}."
    new, old = figures(change)
    if change.verdict == "below the margin":
        above = "below" if _size(change) < change.margin else "not surely above"
        return f"{title} is {_moved(change)}, {above} the margin of {margin}: {new} against {old}."
    said = f"{new} against {old}, {extent(change)}"
    if change.verdict == "no difference":
        if change.within_margin:
            return f"{title}: no difference beyond the margin of {margin}: {said}."
        return f"{title}: no difference found: {said}{_hidden(change)}."
    return f"{title} is {change.verdict}: {said}, beyond the margin of {margin}."


def unchanged(changes: Sequence[Change]) -> str:
    """One line for all metrics of a row in which no difference was found: "no difference in throughput [−1 to +1 %], error rate …"."""
    parts = []
    for change in changes:
        estimate = change.change
        same = estimate is None or _is_same(change, estimate)
        spread = "" if same or estimate is None else f" [{_spread(estimate, 100.0, 0.0 if change.metric.share else 1.0)}{_unit(change)}]"
        shown = f" {figures(change)[0]}" if change.metric.share else ""
        parts.append(f"{change.metric.title}{shown}{spread}{'' if change.within_margin or same else _hidden(change).replace(';', ',')}")
    margins = ", ".join(dict.fromkeys(margin_text(change) for change in changes))
    sure = all(change.within_margin for change in changes)
    return f"no difference {f'beyond the margin ({margins})' if sure else f'found (margin {margins})'}: {'; '.join(parts)}."


def undecided(changes: Sequence[Change]) -> str:
    """One line for all metrics of a row that are undecided for one reason."""
    return f"{listing([change.metric.title for change in changes])}: no decision, because {changes[0].reason}."


def margin_text(change: Change) -> str:
    """The margin with its unit: "15 %", "1.5 points"."""
    return f"{_percent(100 * change.margin)} {'points' if change.metric.share else '%'}"


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
    new, old = change.requests
    return _figure(change.metric, change.new, short, new), _figure(change.metric, change.old, short, old)


def _figure(metric: Metric, value: float | None, short: bool, n: int) -> str:
    if value is None:
        return NONE
    if metric.share:  # none of so few proves little, and the figure says how little
        most = wilson(0, n).high
        return f"{100 * value:.2g} %" if value or not n or most is None else f"0 of {n:,} (≤ {100 * most:.2g} %)"
    return (MILLISECONDS if short else _UNITS[metric.name]).said(value)


def extent(change: Change) -> str:
    """How much more or less, with the 95 % interval: "15 % more [11 to 19 %]", "2.1 points more [0.4 to 3.8]"."""
    estimate = change.change
    if estimate is None or estimate.value is None:
        return NONE
    if _is_same(change, estimate):
        return "the same in every round"
    if change.metric.share:
        value, spread = 100 * estimate.value, _spread(estimate, 100.0, 0.0)
        return f"{abs(value):.2g} points {'more' if value >= 0 else 'less'} [{spread}]" if value else f"no change [{spread}]"
    value = 100 * (estimate.value - 1)
    size = f"{_percent(abs(value))} % {'more' if value >= 0 else 'less'}" if abs(value) >= 0.05 else "no change"
    return f"{size} [{_spread(estimate, 100.0, 1.0)} %]"


def verdict_line(comparison: Comparison) -> str:
    """The comparison in one sentence."""
    if comparison.itself:
        return "Both are the same run: it cannot differ from itself, so this says nothing."
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
    small = sum(change.verdict == "below the margin" for change in comparison.changes)
    if small:
        parts.append(f"{count(small, 'metric')} changed by less than the margin")
    if better:
        parts.append(f"{count(better, 'metric')} got better")
    if comparison.undecided:
        parts.append(f"{count(comparison.undecided, 'metric')} without a decision")
    if comparison.refused:
        parts.append(f"{count(len(comparison.refused), 'row')} not comparable")
    text = ", ".join(parts)
    return text[0].upper() + text[1:] + "."


def _is_same(change: Change, estimate: Estimate) -> bool:
    still = 0.0 if change.metric.share else 1.0
    return all(end is not None and abs(end - still) < ROUNDING for end in (estimate.low, estimate.high))


def _size(change: Change) -> float:
    """How far the change is from none, as the margin is counted."""
    value = change.change.value if change.change is not None and change.change.value is not None else 1.0
    return abs(value) if change.metric.share else max(value, 1.0 / value if value > 0 else 0.0) - 1.0


def _moved(change: Change) -> str:
    """Which way and how far a sure change went: "slower by 12 to 18 %"."""
    estimate = change.change
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return "changed"
    still = 0.0 if change.metric.share else 1.0
    up = estimate.value > still
    words = {"p50": ("slower", "faster"), "p95": ("slower", "faster"), "cost": ("more expensive", "cheaper")}
    word = words.get(change.metric.name, ("higher", "lower"))[0 if up else 1]
    near, far = sorted(abs(100 * (end - still)) for end in (estimate.low, estimate.high))
    return f"{word} by {_percent(near)} to {_percent(far)}{_unit(change)}"


def _unit(change: Change) -> str:
    return " points" if change.metric.share else " %"


def _hidden(change: Change) -> str:
    """What a wide interval leaves possible: "no difference found" must not be taken for "no change"."""
    estimate = change.change
    if estimate is None or estimate.low is None or estimate.high is None or change.within_margin:
        return ""
    worst = estimate.high if change.metric.lower_is_better else estimate.low
    far = worst if change.metric.share else worst - 1 if change.metric.lower_is_better else 1 - worst
    if far <= change.margin:
        return ""
    words = {"p50": "slower", "p95": "slower", "cost": "more expensive"}
    word = words.get(change.metric.name, "more" if change.metric.lower_is_better else "less")
    return f"; up to {_percent(100 * far)}{_unit(change)} {word} cannot be excluded"


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
