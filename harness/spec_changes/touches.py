"""What a change of a document concerns: the rules that judge what it is about, the fields that a mock reads and fills, the cases of a check.

Rules are found by where their clause stands (a heading that names the field) and by what they judge at such a place whatever its name.
Cases are found by planning a check by both documents: those that come, go, or send something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from testcard.harness.check.generation.plan import Plan, PlanStep, choose_rules, make_plan
from testcard.harness.check.judging.levels import clause_of, level_of
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.spec_changes.compare import SpecChange
from testcard.specs.loader import Provider
from testcard.specs.profile import OperationProfile

#: Rules that judge every request, and every answer, of an operation by its document.
_REQUEST = ("request.accepts-valid", "request.refuses-invalid")
_ANSWER = ("schema.response",)
_STATUS = ("http.status-documented", "http.media-type", "schema.response")
_DEFAULTS = ("request.default-applied",)


@dataclass(frozen=True, slots=True)
class Touched:
    """What one change concerns. `mock`: what a mock reads or fills there, in words; `cases`: probes of a check's plan."""

    rules: tuple[str, ...] = ()
    mock: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """Cases of a check that only the newer document leads to, that only the older one did, and that send something else.

    `before`: all cases of the older one, where the newer one allows no plan, so that nobody can say which of them stay.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    before: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.added, *self.removed, *self.changed)


def touched(change: SpecChange, provider: Provider, plans: PlanChanges) -> Touched:
    """What a change concerns of a provider (the newer one, or the older one for what is gone)."""
    profile = provider.profile.operations.get(change.operation)
    if profile is None:
        return Touched()
    scope = Scope(provider, change.operation)
    return Touched(tuple(_rules(change, scope)), tuple(_mock(change, profile)), tuple(_cases(change, profile, plans)))


def plan_changes(old: Provider, new: Provider) -> PlanChanges:
    """How the plan of a check changes from one provider's files to the other's. `SpecError` where one of them allows no plan."""
    before, after = (_steps(_plan(provider)) for provider in (old, new))
    return PlanChanges(
        tuple(f"{one[0]} {one[1]}" for one in after if one not in before),
        tuple(f"{one[0]} {one[1]}" for one in before if one not in after),
        tuple(f"{one[0]} {one[1]}" for one in after if one in before and _sent(before[one]) != _sent(after[one])),
    )


def plan_before(old: Provider) -> PlanChanges:
    """The cases of the older document alone."""
    return PlanChanges(before=tuple(f"{one[0]} {one[1]}" for one in _steps(_plan(old))))


def _plan(provider: Provider) -> Plan:
    return make_plan(provider, Pricing(provider, True), rules=choose_rules(()), operations=tuple(provider.profile.operations))


def _steps(plan: Plan) -> Mapping[tuple[str, str], PlanStep]:
    return {(step.operation, step.probe): step for step in plan.steps}


def _sent(step: PlanStep) -> tuple[object, ...]:
    return step.fields, step.expects, step.media_type, step.method, step.headers


def _rules(change: SpecChange, scope: Scope) -> Iterable[str]:
    if change.side == "operation":
        return (rule.id for rule in RULES.values() if level_of(scope, rule) != "none" and rule.applies(scope))
    always: set[str] = set()
    if change.side == "request":
        always.update(("auth.required", "auth.wrong-refused") if change.place == "security" else _REQUEST)
        if "without it" in change.what:
            always.update(_DEFAULTS)
    else:
        always.update(_ANSWER if change.field else _STATUS)
        if not change.status.startswith("2"):
            always.add("http.error-shape")
        elif change.field:
            always.add("answer.required-fields")
    word = re.compile(rf"(?:^|[^\w]){re.escape(change.field)}(?:$|[^\w])") if change.field else None
    found = []
    for rule in RULES.values():
        if level_of(scope, rule) == "none" or not rule.applies(scope):
            continue
        if rule.id in always or (word is not None and word.search(clause_of(scope, rule).heading)):
            found.append(rule.id)
    return found


def _mock(change: SpecChange, profile: OperationProfile) -> Iterable[str]:
    if change.side == "operation":
        return [f"serves {change.endpoint}"]
    if change.side == "request":
        found = []
        for where in (profile.fields, profile.path, profile.query, profile.headers):
            for name, entry in where.items():
                if change.field in (name, name.strip("/").split("/")[0]):
                    found.append(f"reads {name} as {entry.means}")
        return found
    if not change.status.startswith("2"):
        return [f"answers {change.status}"] if not change.field else []
    response = profile.response.model_dump(exclude_defaults=True)
    return [
        f"fills {key} at {value}"
        for key, value in response.items()
        if isinstance(value, str) and change.field in value.split("/") and change.field
    ]


def _cases(change: SpecChange, profile: OperationProfile, plans: PlanChanges) -> Iterable[str]:
    """Cases named after the field, or after what it means: that is how a check names what a case is about."""
    entry = profile.fields.get(change.field) or profile.path.get(change.field)
    words = {change.field, *((entry.means,) if entry is not None else ())} - {"", "other"}
    for name in plans.names or plans.before:
        operation, _, probe = name.partition(" ")
        named = set(re.split(r"[:/]", re.sub(r"-\d+$", "", probe)))
        if operation == change.operation and (change.side == "operation" or (change.side == "request" and words & named)):
            yield probe
