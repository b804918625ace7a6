"""What changed in the contract's keeping between two runs: rules newly broken, fixed, still broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from testcard.harness.runs.records import SEVERITY, Run, Verdicts

_BROKEN = ("fail", "deviates")
_KEPT = ("pass", "info", "unsupported")

Kind = Literal["newly broken", "broken, not judged before", "still broken", "fixed", "no longer shown"]
RuleKey = tuple[str, str, str]  # provider, operation, rule


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
