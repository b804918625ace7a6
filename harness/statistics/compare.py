"""Two runs compared: for each row and metric one verdict, with the ratio new / old and its 95 % interval.

A change is called better or worse where both hold: the rounds differ (Welch's t on the logarithms of round values, p < 5 %
after Holm's correction over the rows of a metric), and it is more than noise with 90 % confidence (one-sided): 5 % where both
runs met mocks, 15 % where they met real services. The second question matters where rounds drift: two runs of one server whose
drift outlasts a round differ truly, a little. In simulation it takes the false alarms of 8 such rounds from 13 % to 4 %, and
leaves a server that is 15 % slower found in 38 of 40 pairs or more where rounds scatter by 5 %. An error rate has zeros, which have no logarithm: there the shares themselves are
compared, the change is in percentage points, noise is half a point (1.5 points live), and the error is never taken to be
smaller than counts of that size have. Fewer than 8 rounds on a side decide nothing.

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
from testcard.harness.statistics.columns import Columns, Floats, RowName, columns
from testcard.harness.statistics.columns import rows as grouped
from testcard.harness.statistics.matching import Pair, Side, differences, matched, target_of, warnings
from testcard.harness.statistics.rounds import Difference, RoundValues, difference, holm, log_difference, round_values

if TYPE_CHECKING:
    import pandas as pd

#: Fewest rounds a side that a comparison rests on.
MIN_ROUNDS = 8
ALPHA = 0.05
#: The chance that a change called better or worse is only noise after all.
BEYOND = 0.10
#: Relative change that is noise: against mocks, against real services.
NOISE_MOCK, NOISE_LIVE = 0.05, 0.15
#: The same for a change of a share, as a part of the relative one: half a percentage point, one and a half.
SHARE_OF_NOISE = 0.1
#: A p95 of rounds this much longer is another figure, unless each round has enough requests for it.
UNEQUAL, ENOUGH = 1.5, 72

_Places = Sequence[tuple[RowName, npt.NDArray[np.intp]]]
Word = Literal["better", "worse", "within noise", "no decision", "not comparable"]
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
    the requests behind it as n; `new` and `old` are the sides' figures (means of round values: geometric ones of ratios).

    `p` is Holm's, of no change at all; `p_beyond` of one that is only noise. `reason` says why nothing is decided or comparable.
    """

    target: str
    model: str | None
    operation: str
    stage: str
    metric: Metric
    verdict: Word
    noise: float
    reason: str = ""
    change: Estimate | None = None
    new: float | None = None
    old: float | None = None
    rounds: tuple[int, int] = (0, 0)
    p: float | None = None
    p_beyond: float | None = None


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
    that both sides have a verdict on, whether broken or kept."""

    changes: list[Change]
    rules: list[RuleChange]
    refused: list[Refusal]
    alone: list[str]
    warnings: list[str]
    judged: int = 0

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


def compare(new: Side, old: Side) -> Comparison:
    """The comparison of a run with its baseline. Pure; `UsageError`s are the caller's (see `Comparison.empty`)."""
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
        changes += _changes(pair, places)
        if pair.new.summary.slo != pair.old.summary.slo:
            notes.append("the SLO differs: both runs' goodput and cost are counted by the new run's")
    rules = rule_changes(new.checks, old.checks)
    said = [*warnings(new.runs, old.runs), *dict.fromkeys(notes)]
    return Comparison(_decided(changes), rules, refused, alone, said, judged_on_both(new.checks, old.checks))


def _changes(pair: Pair, places: Mapping[int, _Places]) -> list[Change]:
    """The row's metrics; where there is a p it is not yet corrected, and the verdict not yet given."""
    limit = slo.limit_s([slo.parse(text) for text in pair.new.summary.slo])
    rates = [row.offered_rps for row in (pair.row, pair.counterpart) if row.offered_rps is not None and row.users is None]
    offered = sum(rates) / 2 if len(rates) == 2 else None
    mine, theirs = (
        _values(_data(bench.samples, row, places[id(bench)]), row, limit, offered)
        for bench, row in ((pair.new, pair.row), (pair.old, pair.counterpart))
    )
    targets = [target_of(pair.new.run, pair.row), target_of(pair.old.run, pair.counterpart)]
    noise = NOISE_MOCK if all(target is not None and target.mock for target in targets) else NOISE_LIVE
    late = next((why for row, side in ((pair.row, "new run"), (pair.counterpart, "baseline")) if (why := _in_doubt(row, side))), "")
    found = []
    for metric in METRICS:
        one, other = mine.get(metric.name), theirs.get(metric.name)
        if one is None or other is None:
            empty = Change(pair.target, pair.row.model, pair.row.operation, pair.row.stage, metric, "no decision", noise)
            found.append(replace(empty, reason="the run holds no samples of it"))
            continue
        if metric.name == "cost" and one.barred and other.barred and one.reason == other.reason:
            continue  # no price on both sides, or no pictures: nothing that could have changed
        found.append(_change(pair, metric, one, other, noise, late))
    return found


def _change(pair: Pair, metric: Metric, one: RoundValues, other: RoundValues, noise: float, late: str) -> Change:
    new, old = one.known, other.known
    rounds = (len(new), len(old))
    base = Change(pair.target, pair.row.model, pair.row.operation, pair.row.stage, metric, "no decision", noise, rounds=rounds)
    base = replace(base, new=_middle(new, metric), old=_middle(old, metric))
    if one.barred != other.barred and metric.name == "cost" and "no price is known" in (one.reason, other.reason):
        return replace(base, verdict="not comparable", reason=f"no price is known in the {'new run' if one.barred else 'baseline'}")
    if min(rounds) < MIN_ROUNDS:
        if one.reason or other.reason:
            why = "; ".join(f"{side}: {values.reason}" for side, values in (("new run", one), ("baseline", other)) if values.reason)
        else:
            why = f"{rounds[0]} rounds against {rounds[1]}; a decision needs {MIN_ROUNDS} on each side"
        return replace(base, reason=why)
    few = min(float(np.median(one.requests)), float(np.median(other.requests)))
    many = max(float(np.median(one.requests)), float(np.median(other.requests)))
    if metric.name == "p95" and many > UNEQUAL * few and few < ENOUGH:
        return replace(base, verdict="not comparable", reason=f"rounds of about {few:.0f} and {many:.0f} requests estimate different tails")
    found, estimate = _difference(metric, one, other)
    if found is None or estimate is None:
        return replace(base, reason="the baseline delivered none")
    if late:
        return replace(base, change=estimate, reason=late)
    return replace(base, verdict="within noise", change=estimate, p=found.p_differs, p_beyond=found.p_beyond(_bound(metric, noise)))


def _difference(metric: Metric, one: RoundValues, other: RoundValues) -> tuple[Difference | None, Estimate | None]:
    new, old = one.known, other.known
    n = int(min(one.requests.sum(), other.requests.sum()))
    if metric.share:
        found = difference(new, old, least_error=_counting_error(one, other))
        return found, Estimate(value=found.value, low=found.low, high=found.high, n=n)
    if (new > 0).all() and (old > 0).all():
        found = log_difference(new, old)
        return found, Estimate(value=math.exp(found.value), low=math.exp(found.low), high=math.exp(found.high), n=n)
    middle = float(old.mean())  # a round that delivered nothing has no logarithm
    if middle <= 0:
        return None, None
    found = difference(new / middle, old / middle)
    return found, Estimate(value=max(0.0, 1 + found.value), low=max(0.0, 1 + found.low), high=1 + found.high, n=n)


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
            change = changes[place]
            if p is None or change.p_beyond is None or change.change is None or change.change.value is None:
                continue
            verdict: Word = "within noise"
            if p < ALPHA and change.p_beyond < BEYOND:
                rose = change.change.value > (0.0 if metric.share else 1.0)
                verdict = "worse" if rose == metric.lower_is_better else "better"
            found[place] = replace(change, verdict=verdict, p=p)
    return found


def _bound(metric: Metric, noise: float) -> float:
    return noise * SHARE_OF_NOISE if metric.share else math.log1p(noise)


def _middle(values: Floats, metric: Metric) -> float | None:
    if not len(values):
        return None
    if metric.share or (values <= 0).any():
        return float(values.mean())
    return float(np.exp(np.log(values).mean()))


def _in_doubt(row: SummaryRow, side: str) -> str:
    """Why the row's own measurement proves nothing (the generator was the bottleneck, say); empty where it does."""
    open_gates = any(gate.verdict == "inconclusive" for gate in row.gates)
    why = (row.note or "its measurement is in doubt").partition(";")[0]  # the first is what made it inconclusive
    return f"{side}: {why}" if row.outcome == "inconclusive" and not open_gates else ""


def _values(data: Columns | None, row: SummaryRow, limit_s: float | None, offered_rps: float | None) -> dict[str, RoundValues]:
    return {} if data is None or not len(data.scheduled) else round_values(data, row, limit_s=limit_s, offered_rps=offered_rps)


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
