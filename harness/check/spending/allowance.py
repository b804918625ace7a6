"""What one operation may be billed for in a check, beside the limits that a user sets, and what a whole plan can come to.

At most forty pictures, whatever the server takes. Most requests of a plan are sent in any case. Two kinds are sent only while
there is room: generated requests that have to be refused (a server that takes everything bills each of them), and spare ones
that show combinations of values. Of broken requests, enough is enough: once two of a kind were carried out, the verdict
stands and more of them would only cost. Decisions follow from the answers alone, not from their timing, so the same answers
always lead to the same requests.

What the plan can cost at most is a choice, not a sum: a server may refuse what is cheap and carry out what is expensive. It
is a knapsack for each operation, filled with the requests that bring the most for the pictures that it has room for.

What of a plan fits into its limits, said before anything is sent: which rules stay not-run, and which exit code follows if all goes well.

Reckoned for a target that keeps its contract: it carries out what it must accept, at the most that it can cost, and refuses the rest,
which is free. What may be refused counts as carried out. Pictures to be downloaded are requests too; the polls of a task cannot be
foreseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from testcard.harness.check.generation.plan import Plan, PlanStep
from testcard.harness.check.judging.levels import level_of, softer
from testcard.harness.check.spending.budget import NO_LIMITS, SpendingLimits
from testcard.specs.profile import Level

#: Pictures (of a chat: answers) that one operation is billed for at most, as long as its answers hold what was asked for.
MOST_IMAGES = 40
#: Broken requests of one kind that are carried out at most.
ENOUGH = 2

#: `go` · `wait` until a request that is under way has been answered · `enough` of its kind were carried out · no `room` is left
Admission = Literal["go", "wait", "enough", "room"]


class Allowance:
    """Counts what each operation was billed for, what it still will be, and how many broken requests of each kind were carried out."""

    def __init__(self, steps: Iterable[PlanStep]) -> None:
        self._due: Counter[str] = Counter()
        self._spent: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._trying: Counter[tuple[str, str]] = Counter()
        self._carried_out: Counter[tuple[str, str]] = Counter()
        for step in steps:
            if not step.elastic:
                self._due[step.operation] += step.weight

    def admission(self, step: PlanStep) -> Admission:
        """Whether the step may be sent now. Steps are asked for in the order of the plan."""
        if not step.elastic:
            return "go"
        if step.kind is not None:
            kind = (step.operation, step.kind)
            if self._carried_out[kind] >= ENOUGH:
                return "enough"
            if self._carried_out[kind] + self._trying[kind] >= ENOUGH:
                return "wait"
        if self._spent[step.operation] + self._due[step.operation] + step.weight <= MOST_IMAGES:
            return "go"
        return "wait" if self._under_way[step.operation] else "room"

    def begin(self, step: PlanStep) -> None:
        """The step is about to be sent."""
        self._under_way[step.operation] += 1
        if step.elastic:
            self._due[step.operation] += step.weight
        if step.kind is not None:
            self._trying[step.operation, step.kind] += 1

    def end(self, step: PlanStep, billed: int, carried_out: bool) -> None:
        """The step was answered, and billed for so many pictures (or answers of a chat)."""
        self._under_way[step.operation] -= 1
        self._due[step.operation] -= step.weight
        self._spent[step.operation] += billed
        if step.kind is not None:
            self._trying[step.operation, step.kind] -= 1
            self._carried_out[step.operation, step.kind] += carried_out

    def skip(self, step: PlanStep) -> None:
        """The step is not sent: what it might have cost is due no more."""
        if not step.elastic:
            self._due[step.operation] -= step.weight


@dataclass(frozen=True, slots=True)
class AtMost:
    """What a plan can come to: pictures, and USD (None where a price is missing)."""

    images: int
    cost_usd: float | None


def at_most(steps: Sequence[PlanStep], limits: SpendingLimits = NO_LIMITS) -> AtMost:
    """The most that these steps can come to within the limits, at a target that brings no more than it was asked for."""
    cost = most_usd(steps, limits.max_images)
    return AtMost(
        most_images(steps, limits.max_images), cost if cost is None or limits.max_cost_usd is None else min(cost, limits.max_cost_usd)
    )


def most_images(steps: Sequence[PlanStep], limit: int | None = None) -> int:
    """Pictures at most: of each operation those of its certain steps, or what it has room for; in all no more than the limit."""
    found = 0
    for own in _by_operation(steps):
        certain = sum(step.images for step in own if not step.elastic)
        found += max(certain, min(MOST_IMAGES, sum(step.images for step in _sendable(own))))
    return found if limit is None else min(found, limit)


def most_usd(steps: Sequence[PlanStep], limit: int | None = None) -> float | None:
    """USD at most, with `limit` on the pictures of all operations together; None where a price is missing."""
    found = 0.0
    sendable = [step for own in _by_operation(steps) for step in _sendable(own)]
    if any(step.cost_usd is None for step in sendable):
        return None
    for own in _by_operation(sendable):
        # Once one of the elastic steps is carried out, all together stay within the room (see `Allowance`).
        certain = sum(_usd(step) for step in own if not step.elastic)
        found += max(certain, _most_expensive([(step.weight, _usd(step)) for step in own], MOST_IMAGES))
    if limit is None or limit >= sum(step.images for step in sendable):
        return found
    # A chat's answer is no picture: it is billed for within any limit on pictures.
    texts = sum(_usd(step) for step in sendable if not step.images)
    return min(found, texts + _most_expensive([(step.images, _usd(step)) for step in sendable if step.images], limit))


def _by_operation(steps: Iterable[PlanStep]) -> list[list[PlanStep]]:
    found: dict[str, list[PlanStep]] = {}
    for step in steps:
        if step.billed:
            found.setdefault(step.operation, []).append(step)
    return list(found.values())


def _sendable(own: Sequence[PlanStep]) -> list[PlanStep]:
    """Without those that no room is ever left for."""
    return [step for step in own if not step.elastic or step.weight <= MOST_IMAGES]


def _usd(step: PlanStep) -> float:
    return step.cost_usd or 0.0


def _most_expensive(items: Sequence[tuple[int, float]], capacity: int) -> float:
    """The greatest sum of costs whose weights fit in (exact: dynamic programming over the capacity)."""
    if sum(weight for weight, _ in items) <= capacity:
        return sum(cost for _, cost in items)
    best = [0.0] * (capacity + 1)
    for weight, cost in items:
        for left in range(capacity, weight - 1, -1):
            best[left] = max(best[left], best[left - weight] + cost)
    return best[capacity]


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
