"""At which level a rule counts for an operation, and where its promise is made: the profile's word first, then the document's own place, then the rule's."""

from __future__ import annotations

from dataclasses import dataclass

from testcard.harness.rules.documented import documented_clause
from testcard.harness.rules.rule import Rule
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import ClauseRef
from testcard.harness.text.sources import reference
from testcard.specs.profile import Clause, Level

_SOFTNESS: dict[str, int] = {"must": 0, "should": 1, "info": 2, "none": 3}


@dataclass(frozen=True, slots=True)
class Unsent:
    """A request of a rule that was planned and not sent: why, in a sentence, and at which level it would have counted at most."""

    reason: str
    level: Level = "must"


def level_of(scope: Scope, rule: Rule, status: int | None = None) -> Level:
    """The rule's level for the operation (for answers with `status`, where the profile tells them apart)."""
    entry = scope.provider.rule_entry(rule.id, scope.operation_id, status)
    return entry.level if entry is not None and entry.level is not None else rule.level


def clause_of(scope: Scope, rule: Rule, status: int | None = None) -> Clause:
    """Where the promise is made."""
    entry = scope.provider.rule_entry(rule.id, scope.operation_id, status)
    if entry is not None and entry.clause is not None:
        return entry.clause
    return documented_clause(scope, rule) or rule.clause


def reference_of(scope: Scope, rule: Rule, status: int | None = None) -> ClauseRef:
    """The same with the document's title and address."""
    return reference(clause_of(scope, rule, status), scope.provider.profile.documents)


def softer(one: Level, other: Level) -> Level:
    """The softer of two levels."""
    return max(one, other, key=_SOFTNESS.__getitem__)
