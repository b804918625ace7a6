"""At which level a rule counts for an operation, and where its promise is made: the profile's word first, then the document's own place, then the rule's.

Where in the provider's own document a rule's promise is made, for profiles that do not say it: the operation, and the part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from testcard.harness.rules.rule import Rule
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import ClauseRef
from testcard.harness.text.sources import reference
from testcard.specs.profile import Clause, Level, Meaning

#: Fields whose description a rule's promise is, by the rule's id or its area; the first that the operation has counts.
_FIELDS: dict[str, tuple[Meaning, ...]] = {
    "image.count": ("n",),
    "image.distinct": ("n",),
    "image.size": ("size", "width", "aspect_ratio"),
    "image.format": ("format",),
    "image.follows-prompt": ("prompt",),
    "image.transparent": ("background",),
    "image.mask-respected": ("mask",),
    "image.mask-polarity": ("mask",),
    "image.unmasked-survives": ("mask",),
    "seed": ("seed",),
    "delivery.as-asked": ("delivery",),
    "input": ("image",),
    "stream": ("stream",),
    "vision": ("messages",),
}
_REQUEST = {"request.accepts-valid", "request.refuses-invalid", "request.default-applied"}
_ANSWER = {"schema", "answer", "image", "delivery", "http.status-documented", "http.media-type"}


def documented_clause(scope: Scope, rule: Rule) -> Clause | None:
    """The place in the document for a rule that is about what the document promises; None for what HTTP or a convention does.

    Profiles that name their document's headings themselves, by a clause of the operation, are not spoken for.
    """
    if scope.profile.clause is not None:
        return None
    operation = scope.operation
    area = rule.id.partition(".")[0]
    for meaning in _FIELDS.get(rule.id, _FIELDS.get(area, ())):
        name = scope.profile.wire_name(meaning)
        if name is not None:
            return _clause(scope, f"requestBody · {name}")
    if rule.id == "auth.required":
        return _clause(scope, "security")
    if rule.id in _REQUEST:
        return _clause(scope, "requestBody")
    if rule.id in _ANSWER or area in _ANSWER:
        status = next((status for status in operation.responses if status.startswith("2")), "200")
        return _clause(scope, f"responses · {status}")
    if rule.id == "http.error-shape":
        refused = next(
            (status for status, response in operation.responses.items() if not status.startswith("2") and response.get("content")), None
        )
        return _clause(scope, f"responses · {refused}") if refused is not None else None
    return None


def _clause(scope: Scope, part: str) -> Clause:
    return Clause(document=scope.provider.profile.document, heading=f"{scope.operation.method} {scope.operation.path} · {part}")


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


def softness(level: Level) -> int:
    """How little a broken promise of this level does: 0 for a must."""
    return _SOFTNESS[level]


def softer(one: Level, other: Level) -> Level:
    """The softer of two levels."""
    return max(one, other, key=softness)
