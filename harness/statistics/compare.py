"""Two runs compared: for each row and metric one verdict, with the ratio new / old and its 95 % interval.

What is compared are round values (`rounds`): at least 4 rounds a side, rounds with fewer than 3 answers merged with their neighbours,
and where the two sides' rounds differ much in size, the smaller ones merged until they are alike. Then

- better or worse: the rounds surely differ (Welch's t on the logarithms of round values, p < 5 % after Holm's correction over the
  rows of a metric), and by more than the margin with 90 % confidence (one-sided): 5 % where both runs met mocks, 15 % where they
  met real services, or what the user says;
- below the margin: they surely differ, and not surely by more than the margin;
- no difference: none was found. The sentence says whether the whole interval lies within the margin, or what cannot be excluded;
- no decision: too few rounds or answers, or an interval so wide that twice as much cannot be excluded.

The margin matters where rounds drift: two runs of one server whose drift outlasts a round differ truly, a little. An error rate
has zeros, which have no logarithm: there the shares themselves are compared, the change is in percentage points, the margin is a
tenth of the other (half a point, 1.5 points live), and the error is never taken to be smaller than counts of that size have.
Measured: docs/decisions/0030-small-rounds-and-pairs-of-targets.md.

Of checks it says which rules are newly broken, still broken or fixed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from testcard.harness.runs.records import SEVERITY, Estimate, Run, SummaryRow, Verdicts
from testcard.harness.statistics import slo
from testcard.harness.statistics.columns import Columns, RowName, columns
from testcard.harness.statistics.columns import rows as grouped
from testcard.harness.statistics.matching import Pair, Side, differences, matched, target_of, warnings
from testcard.harness.statistics.rates import wilson
from testcard.harness.statistics.rounds import MeanDifference, RoundValues, answers_a_round, difference, holm, log_difference, round_values

if TYPE_CHECKING:
    import pandas as pd

#: Fewest rounds (merged ones) a side that a comparison rests on.
MIN_ROUNDS = 4
ALPHA = 0.05
#: The chance that a change called better or worse is within the margin after all.
BEYOND = 0.10
#: Relative change that does not matter, where the user names none: against mocks, against real services.
MARGIN_MOCK, MARGIN_LIVE = 0.05, 0.15
#: A ratio that cannot be told from this much more is no finding.
TOO_WIDE = 2.0
#: The same for a change of a share, as a part of the relative one: half a percentage point, one and a half.
SHARE_OF_MARGIN = 0.1
#: Rounds this much larger estimate another tail, unless the smaller ones have enough requests for it.
UNEQUAL, ALIKE, ENOUGH = 1.5, 0.8, 72

_Places = Sequence[tuple[RowName, npt.NDArray[np.intp]]]
Word = Literal["better", "worse", "below the margin", "no difference", "no decision", "not comparable"]
_BROKEN = ("fail", "deviates")
_KEPT = ("pass", "info", "unsupported")

Kind = Literal["newly broken", "broken, not judged before", "still broken", "fixed", "no longer shown"]
RuleKey = tuple[str, str, str]  # provider, operation, rule


@dataclass(frozen=True, slots=True)
class Metric:
    """What is compared: its name, its title in sentences, which end is better, and whether the change is a difference of shares."""

    name: str
    title: str
    lower_is_better: bool
    share: bool = False


METRICS = (
    Metric("p50", "p50 latency", True),
    Metric("p95", "p95 latency", True),
    Metric("throughput", "throughput", False),
    Metric("goodput", "goodput", False),
    Metric("error_rate", "error rate", True, share=True),
    Metric("cost", "cost of a good image", True),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One metric of one row. `change` is new / old, or new − old of an error rate (`metric.share`), with its 95 % interval and
    the requests behind it as n; `new` and `old` are the sides' figures, as their summaries have them, of `requests` each.

    `margin` is relative (of an error rate: of shares). `p` is Holm's, of no change at all; `p_beyond` of one within the margin.
    `reason` says why nothing is decided or comparable.
    """

    target: str
    model: str | None
    operation: str
    stage: str
    metric: Metric
    verdict: Word
    margin: float
    reason: str = ""
    change: Estimate | None = None
    new: float | None = None
    old: float | None = None
    rounds: tuple[int, int] = (0, 0)
    requests: tuple[int, int] = (0, 0)
    p: float | None = None
    p_beyond: float | None = None

    @property
    def within_margin(self) -> bool:
        """Whether the whole interval lies within the margin: no change that matters."""
        if self.change is None or self.change.low is None or self.change.high is None:
            return False
        if self.metric.share:
            return -self.margin < self.change.low and self.change.high < self.margin
        return 1.0 / (1.0 + self.margin) < self.change.low and self.change.high < 1.0 + self.margin


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that has a counterpart in the baseline and must not be compared with it, with the reasons."""

    target: str
    model: str | None
    operation: str
    stage: str
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that two runs say about each other. `alone`: rows that only one of the two holds, in words; `judged`: rules
    that both sides have a verdict on, whether broken or kept; `itself`: both sides are one and the same run."""

    changes: list[Change]
    rules: list[RuleChange]
    refused: list[Refusal]
    alone: list[str]
    warnings: list[str]
    judged: int = 0
    itself: bool = False

    @property
    def regressions(self) -> int:
        """Metrics that got worse and musts that are newly broken."""
        return sum(change.verdict == "worse" for change in self.changes) + sum(rule.regression for rule in self.rules)

    @property
    def undecided(self) -> int:
        """Metrics that nothing could be said about."""
        return sum(change.verdict == "no decision" for change in self.changes)

    @property
    def empty(self) -> bool:
        """Whether nothing at all could be compared."""
        return not self.changes and not self.judged


def compare(new: Side, old: Side, *, margin: float | None = None, metrics: Sequence[str] = ()) -> Comparison:
    """The comparison of a run with its baseline. Pure; `UsageError`s are the caller's (see `Comparison.empty`).

    `margin`: the relative change that does not matter, None: 5 % between mocks, else 15 %. `metrics`: names of those to compare, all
    where none is named.
    """
    itself = bool(new.runs) and new.runs == old.runs and [b.summary for b in new.benches] == [b.summary for b in old.benches]
    pairs, alone = matched(new.benches, old.benches)
    changes: list[Change] = []
    refused: list[Refusal] = []
    notes: list[str] = []
    places = {id(bench): grouped(bench.samples) for bench in (*new.benches, *old.benches)}
    for pair in pairs:
        reasons = differences((pair.new.run, pair.new.summary, pair.row), (pair.old.run, pair.old.summary, pair.counterpart))
        if reasons:
            refused.append(Refusal(pair.target, pair.row.model, pair.row.operation, pair.row.stage, reasons))
            continue
        wanted = [metric for metric in METRICS if not metrics or metric.name in metrics]
        changes += _changes(pair, places, margin, wanted, doubts=not itself)
        if pair.new.summary.slo != pair.old.summary.slo:
            notes.append("the SLO differs: both runs' goodput and cost are counted by the new run's")
    rules = rule_changes(new.checks, old.checks)
    said = [*warnings(new.runs, old.runs), *dict.fromkeys(notes)]
    return Comparison(_decided(changes), rules, refused, alone, said, judged_on_both(new.checks, old.checks), itself)


def _changes(
    pair: Pair, places: Mapping[int, _Places], margin: float | None, metrics: Sequence[Metric], *, doubts: bool = True
) -> list[Change]:
    """The row's metrics; where there is a p it is not yet corrected, and the verdict not yet given. `doubts`: a side whose measurement is
    in doubt decides nothing."""
    limit = slo.limit_s([slo.parse(text) for text in pair.new.summary.slo])
    rates = [row.offered_rps for row in (pair.row, pair.counterpart) if row.offered_rps is not None and row.users is None]
    offered = sum(rates) / 2 if len(rates) == 2 else None
    data = [_data(bench.samples, row, places[id(bench)]) for bench, row in ((pair.new, pair.row), (pair.old, pair.counterpart))]
    groups = _groups(data)
    mine, theirs = (
        {} if each is None else round_values(each, row, limit_s=limit, offered_rps=offered, groups=many)
        for each, row, many in zip(data, (pair.row, pair.counterpart), groups, strict=True)
    )
    targets = [target_of(pair.new.run, pair.row), target_of(pair.old.run, pair.counterpart)]
    mocks = all(target is not None and target.mock for target in targets)
    wide = margin if margin is not None else MARGIN_MOCK if mocks else MARGIN_LIVE
    sides = ((pair.row, "new run"), (pair.counterpart, "baseline")) if doubts else ()
    late = next((why for row, side in sides if (why := _in_doubt(row, side))), "")
    found = []
    for metric in metrics:
        base = Change(
            pair.target,
            pair.row.model,
            pair.row.operation,
            pair.row.stage,
            metric,
            "no decision",
            wide * SHARE_OF_MARGIN if metric.share else wide,
            requests=(pair.row.requests, pair.counterpart.requests),
        )
        one, other = mine.get(metric.name), theirs.get(metric.name)
        if one is None or other is None:
            found.append(replace(base, reason="the run holds no samples of it"))
            continue
        if metric.name == "cost" and one.barred and other.barred and one.reason == other.reason:
            continue  # no price on both sides, or no pictures: nothing that could have changed
        alike = pair.new.summary.slo == pair.old.summary.slo
        base = replace(base, new=_figure(pair.row, metric, one, alike), old=_figure(pair.counterpart, metric, other, alike))
        found.append(_change(base, one, other, late))
    return found


def _groups(sides: Sequence[Columns | None]) -> tuple[int | None, int | None]:
    """Into how many groups each side's rounds are merged, so that the groups of both are about alike in size; None: as they are.

    Never into fewer than a decision needs: twice as slow leaves half as many answers, and half as many groups would be too few.
    """
    counts = [answers_a_round(data) if data is not None and len(data.scheduled) else np.empty(0) for data in sides]
    sizes = [float(np.mean(each)) if len(each) else 0.0 for each in counts]
    few, many = min(sizes), max(sizes)
    if few <= 0.0 or few >= ENOUGH or many <= UNEQUAL * few:
        return None, None
    smaller = sizes.index(few)
    groups = max(MIN_ROUNDS, int(float(counts[smaller].sum()) // (ALIKE * many)))
    return (groups, None) if smaller == 0 else (None, groups)


def _change(base: Change, one: RoundValues, other: RoundValues, late: str) -> Change:
    metric = base.metric
    rounds = (len(one.known), len(other.known))
    base = replace(base, rounds=rounds)
    if one.barred != other.barred and metric.name == "cost" and "no price is known" in (one.reason, other.reason):
        return replace(base, verdict="not comparable", reason=f"no price is known in the {'new run' if one.barred else 'baseline'}")
    if min(rounds) < MIN_ROUNDS:
        if one.reason or other.reason:
            why = "; ".join(f"{side}: {values.reason}" for side, values in (("new run", one), ("baseline", other)) if values.reason)
        else:
            why = f"{rounds[0]} rounds of alike size against {rounds[1]}; a decision needs {MIN_ROUNDS} on each side"
        return replace(base, reason=why)
    few, many = sorted(float(np.median(side.requests)) for side in (one, other))
    if metric.name == "p95" and many > UNEQUAL * few and few < ENOUGH:
        why = f"rounds of about {few:.0f} and {many:.0f} answers estimate different tails"
        return replace(base, verdict="not comparable", reason=why)
    found, estimate = _difference(metric, one, other)
    if found is None or estimate is None:
        return replace(base, reason="the baseline delivered none")
    if late:
        return replace(base, change=estimate, reason=late)
    return replace(base, verdict="no difference", change=estimate, p=found.p_differs, p_beyond=found.p_beyond(_bound(base)))


def _difference(metric: Metric, one: RoundValues, other: RoundValues) -> tuple[MeanDifference | None, Estimate | None]:
    new, old = one.known, other.known
    n = int(min(one.requests.sum(), other.requests.sum()))
    if metric.share:
        found = difference(new, old, least_error=_counting_error(one, other))
        low, high = found.low, found.high
        if low <= 0.0 <= high:  # none against none in every round has no spread, and excludes only what counts of that size exclude
            under, over = _counts_allow(one, other)
            low, high = min(low, found.value - under), max(high, found.value + over)
        return found, Estimate(value=found.value, low=low, high=high, n=n)
    if (new > 0).all() and (old > 0).all():
        found = log_difference(new, old)
        return found, Estimate(value=math.exp(found.value), low=math.exp(found.low), high=math.exp(found.high), n=n)
    middle = float(old.mean())  # a round that delivered nothing has no logarithm
    if middle <= 0:
        return None, None
    found = difference(new / middle, old / middle)
    return found, Estimate(value=max(0.0, 1 + found.value), low=max(0.0, 1 + found.low), high=1 + found.high, n=n)


def _counts_allow(one: RoundValues, other: RoundValues) -> tuple[float, float]:
    """How far below and above its value the difference of two shares can lie by Wilson's intervals of both (Newcombe 1998)."""
    ends = []
    for side in (one, other):
        requests, failed = float(side.requests.sum()), float(np.nansum(side.values * side.requests))
        share = wilson(min(failed, requests), requests)
        value, low, high = share.value or 0.0, share.low or 0.0, 1.0 if share.high is None else share.high
        ends.append((value - low, high - value))
    (below, above), (other_below, other_above) = ends
    return math.hypot(below, other_above), math.hypot(above, other_below)


def _counting_error(one: RoundValues, other: RoundValues) -> float:
    """The standard error that a difference of shares has from counting alone, were both the same share."""
    requests = one.requests.sum(), other.requests.sum()
    failed = sum(float(np.nansum(side.values * side.requests)) for side in (one, other))
    share = failed / sum(requests)
    return math.sqrt(share * (1.0 - share) * sum(1.0 / n for n in requests))


def _decided(changes: list[Change]) -> list[Change]:
    """The verdicts, after Holm's correction over the rows of each metric."""
    found = list(changes)
    for metric in METRICS:
        places = [place for place, change in enumerate(changes) if change.metric is metric and change.p is not None]
        for place, p in zip(places, holm([changes[place].p for place in places]), strict=True):
            if p is not None:
                found[place] = _verdict(replace(changes[place], p=p))
    return found


def _verdict(change: Change) -> Change:
    estimate, metric = change.change, change.metric
    if change.p is None or change.p_beyond is None or estimate is None or estimate.value is None:
        return change
    if change.p < ALPHA:
        if change.p_beyond >= BEYOND:
            return replace(change, verdict="below the margin")
        rose = estimate.value > (0.0 if metric.share else 1.0)
        return replace(change, verdict="worse" if rose == metric.lower_is_better else "better")
    if not metric.share and estimate.low is not None and estimate.high is not None:
        worst = estimate.high if metric.lower_is_better else 1.0 / estimate.low if estimate.low > 0.0 else math.inf
        if worst > TOO_WIDE:
            why = f"the rounds differ too much from each other: {worst:.1f} times as {'much' if metric.lower_is_better else 'little'}"
            return replace(change, verdict="no decision", reason=f"{why} cannot be excluded")
    return change


def _bound(change: Change) -> float:
    return change.margin if change.metric.share else math.log1p(change.margin)


def _figure(row: SummaryRow, metric: Metric, values: RoundValues, alike: bool) -> float | None:
    """The side's figure as its summary has it; where the summary counts good requests by another limit, or has none, from rounds."""
    known = values.known
    if metric.name in ("p50", "p95"):
        estimate = row.latency_s.get(metric.name)
        stated = estimate.value if estimate is not None else None
    elif metric.name == "throughput":
        stated = row.achieved_rps
    elif metric.share:
        stated = row.error_rate.value if row.error_rate is not None else None
    elif metric.name == "goodput":
        stated = row.goodput_rps if alike else None
    else:
        good = row.cost_usd_per_1000_good_images
        stated = good.value / 1000.0 if alike and good is not None and good.value is not None else None
    if stated is not None or not len(known):
        return stated
    if metric.share or (known <= 0).any():
        return float(known.mean())
    return float(np.exp(np.log(known).mean()))


def _in_doubt(row: SummaryRow, side: str) -> str:
    """Why the row's own measurement proves nothing (the generator was the bottleneck, say); empty where it does."""
    open_gates = any(gate.verdict == "inconclusive" for gate in row.gates)
    why = (row.note or "its measurement is in doubt").partition(";")[0]  # the first is what made it inconclusive
    return f"{side}: {why}" if row.outcome == "inconclusive" and not open_gates else ""


def _data(samples: pd.DataFrame, row: SummaryRow, known: _Places) -> Columns | None:
    for name, places in known:
        if name.key == (row.provider, row.model, row.operation, row.stage) and (row.target is None or name.target == row.target):
            return columns(samples, places)
    return None


@dataclass(frozen=True, slots=True)
class RuleChange:
    """One rule on one operation that is broken on at least one side. `first_seen`: start of the first run known to show it (UTC).

    `no longer shown`: broken in the baseline, and not proven either way now.
    """

    provider: str
    operation: str
    rule: str
    level: str
    kind: Kind
    before: str | None
    now: str | None
    detail: str
    first_seen: str

    @property
    def regression(self) -> bool:
        """Whether a must that was kept is broken now."""
        return self.kind == "newly broken" and self.now == "fail"


def rule_changes(
    new: Sequence[tuple[Run, Verdicts]], old: Sequence[tuple[Run, Verdicts]], *, first_seen: Mapping[RuleKey, str] | None = None
) -> list[RuleChange]:
    """The rules that are broken on either side, newly broken ones first. Empty where a side holds no check.

    `first_seen` may know of earlier runs than these two (see `testcard history`).
    """
    if not new or not old:
        return []
    now, before = _standing(new), _standing(old)
    found = []
    for key, (word, level, detail, started) in now.items():
        earlier = before.get(key)
        was = earlier[0] if earlier else None
        if word in _BROKEN:
            kind: Kind = "still broken" if was in _BROKEN else "newly broken" if was in _KEPT else "broken, not judged before"
            since = min(started, earlier[3]) if earlier and was in _BROKEN else started
            found.append(RuleChange(*key, level, kind, was, word, detail, min(since, (first_seen or {}).get(key, since))))
        elif was in _BROKEN and earlier is not None:
            kind = "fixed" if word in _KEPT else "no longer shown"
            found.append(RuleChange(*key, level, kind, was, word, detail, min(earlier[3], (first_seen or {}).get(key, earlier[3]))))
    order: tuple[Kind, ...] = ("newly broken", "broken, not judged before", "still broken", "no longer shown", "fixed")
    return sorted(
        found, key=lambda change: (order.index(change.kind), change.now != "fail", change.provider, change.rule, change.operation)
    )


def judged_on_both(new: Sequence[tuple[Run, Verdicts]], old: Sequence[tuple[Run, Verdicts]]) -> int:
    """How many rules (each on an operation of a provider) both sides have a verdict on."""
    return len(_standing(new).keys() & _standing(old).keys())


def _standing(checks: Sequence[tuple[Run, Verdicts]]) -> dict[RuleKey, tuple[str, str, str, str]]:
    """For each rule on each operation the worst word, its level, its detail and the start of its run."""
    found: dict[RuleKey, tuple[str, str, str, str]] = {}
    for run, verdicts in checks:
        for verdict in verdicts.verdicts:
            key = (verdicts.provider, verdict.operation, verdict.rule)
            known = found.get(key)
            if known is None or SEVERITY.index(verdict.verdict) < SEVERITY.index(known[0]):
                found[key] = (verdict.verdict, verdict.level, verdict.detail, run.started)
    return found
