"""What a plan can cost at most: no more pictures than one operation is billed for, and of all requests the dearest that fit in.

A server may refuse what is cheap and carry out what is dear, so the worst case is a choice, not a sum: a knapsack for each
operation, filled with the requests that bring the most for the pictures that it has room for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testcard.harness.check.generation.plan import PlanStep


def most_images(steps: Sequence[PlanStep], room: int, limit: int | None = None) -> int:
    """Pictures at most: of each operation those of its certain steps, or what it has room for; in all no more than the limit."""
    found = 0
    for own in _by_operation(steps):
        certain = sum(step.images for step in own if not step.elastic)
        found += max(certain, min(room, sum(step.images for step in _sendable(own, room))))
    return found if limit is None else min(found, limit)


def most_usd(steps: Sequence[PlanStep], room: int, limit: int | None = None) -> float | None:
    """USD at most, with `limit` on the pictures of all operations together; None where a price is missing."""
    found = 0.0
    sendable = [step for own in _by_operation(steps) for step in _sendable(own, room)]
    if any(step.cost_usd is None for step in sendable):
        return None
    for own in _by_operation(sendable):
        # Once one of the elastic steps is carried out, all together stay within the room (see `Allowance`).
        certain = sum(_usd(step) for step in own if not step.elastic)
        found += max(certain, _dearest([(step.weight, _usd(step)) for step in own], room))
    if limit is None or limit >= sum(step.images for step in sendable):
        return found
    # A chat's answer is no picture: it is billed for within any limit on pictures.
    texts = sum(_usd(step) for step in sendable if not step.images)
    return min(found, texts + _dearest([(step.images, _usd(step)) for step in sendable if step.images], limit))


def _by_operation(steps: Iterable[PlanStep]) -> list[list[PlanStep]]:
    found: dict[str, list[PlanStep]] = {}
    for step in steps:
        if step.billed:
            found.setdefault(step.operation, []).append(step)
    return list(found.values())


def _sendable(own: Sequence[PlanStep], room: int) -> list[PlanStep]:
    """Without those that no room is ever left for."""
    return [step for step in own if not step.elastic or step.weight <= room]


def _usd(step: PlanStep) -> float:
    return step.cost_usd or 0.0


def _dearest(items: Sequence[tuple[int, float]], capacity: int) -> float:
    """The greatest sum of costs whose weights fit in (exact: dynamic programming over the capacity)."""
    if sum(weight for weight, _ in items) <= capacity:
        return sum(cost for _, cost in items)
    best = [0.0] * (capacity + 1)
    for weight, cost in items:
        for left in range(capacity, weight - 1, -1):
            best[left] = max(best[left], best[left - weight] + cost)
    return best[capacity]
