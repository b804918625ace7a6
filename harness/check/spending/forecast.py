"""What of a plan fits into its limits, said before anything is sent: which rules stay not-run, and which exit code follows if all goes well.

Reckoned for a target that keeps its contract: it carries out what it must accept, at the most that it can cost, and refuses the rest,
which is free. What may be refused counts as carried out. Pictures to be downloaded are requests too; the polls of a task cannot be
foreseen.
"""

from __future__ import annotations

from dataclasses import dataclass

from testcard.harness.check.generation.plan import Plan, PlanStep
from testcard.harness.check.judging.levels import level_of, softer
from testcard.harness.check.spending.allowance import MOST_IMAGES
from testcard.harness.check.spending.budget import SpendingLimits
from testcard.specs.profile import Level

_ORDER: tuple[Level, ...] = ("must", "should", "info")


@dataclass(frozen=True, slots=True)
class OpenRule:
    """A rule that stays not-run on an operation: at which level (that of its strongest request that is left out), and how many are."""

    operation: str
    rule: str
    level: Level
    unsent: int


@dataclass(frozen=True, slots=True)
class FittingPlan:
    """`fitting` of the plan's steps fit; `rules` stay not-run, musts first. `enough`: as many requests as leave no must open."""

    planned: int
    fitting: int
    rules: tuple[OpenRule, ...]
    enough: int

    @property
    def leaves_must_open(self) -> bool:
        """Whether a must is not judged, so that a check in which all goes well exits with 5."""
        return any(one.level == "must" for one in self.rules)


def forecast(plan: Plan, limits: SpendingLimits) -> FittingPlan:
    """What of the plan fits into the limits, in its order."""
    requests, images, cost, enough, fitting = 0, 0, 0.0, 0, 0
    of_operation: dict[str, int] = {}
    left: list[PlanStep] = []
    full = 0  # requests of the whole plan up to here
    for step in plan.steps:
        taken = step.billed and step.expects in ("accept", "may-refuse")
        spent = of_operation.get(step.operation, 0)
        if step.spare and spent + step.weight > MOST_IMAGES:
            continue  # shows nothing that others do not show
        led_to = step.leads_to if taken or not step.billed else 0
        full += 1 + led_to
        if not step.spare and _strongest(plan, step) == "must":
            enough = full
        price = step.cost_usd if taken else 0.0
        fits = (
            (limits.max_requests is None or requests + 1 + led_to <= limits.max_requests)
            and (limits.max_images is None or not step.billed or images + step.images <= limits.max_images)
            and (limits.max_cost_usd is None or not step.billed or cost + (step.cost_usd or 0.0) <= limits.max_cost_usd + 1e-9)
        )
        if not fits:
            left.append(step)
            continue
        fitting += 1
        requests += 1 + led_to
        if taken:
            images, cost = images + step.images, cost + (price or 0.0)
            of_operation[step.operation] = spent + step.weight
    return FittingPlan(len(plan.steps), fitting, _open_rules(plan, left), enough)


def _strongest(plan: Plan, step: PlanStep) -> Level:
    """The strongest level at which a step counts for one of its rules."""
    return min((_level(plan, step, operation, rule) for operation, rule in step.serves), key=_ORDER.index, default="info")


def _level(plan: Plan, step: PlanStep, operation: str, rule: str) -> Level:
    scope = next(one for one in plan.scopes if one.operation_id == operation)
    known = next(one for one in plan.rules if one.id == rule)
    return softer(level_of(scope, known), step.softest)  # type: ignore[arg-type] # a level by name


def _open_rules(plan: Plan, left: list[PlanStep]) -> tuple[OpenRule, ...]:
    levels: dict[tuple[str, str], list[Level]] = {}
    for step in left:
        if not step.spare:
            for operation, rule in step.serves:
                levels.setdefault((operation, rule), []).append(_level(plan, step, operation, rule))
    found = [OpenRule(operation, rule, min(each, key=_ORDER.index), len(each)) for (operation, rule), each in levels.items()]
    return tuple(sorted(found, key=lambda one: _ORDER.index(one.level)))
