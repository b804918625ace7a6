"""What one operation may be billed for in a check, beside the limits that a user sets: at most forty pictures, whatever the server takes.

Most requests of a plan are sent in any case. Two kinds are sent only while there is room: generated requests that have to be
refused (a server that takes everything bills each of them), and spare ones that show combinations of values. Of broken
requests, enough is enough: once two of a kind were carried out, the verdict stands and more of them would only cost.
Decisions follow from the answers alone, not from their timing, so the same answers always lead to the same requests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from testcard.harness.check.generation.plan import MOST_IMAGES, PlanStep

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
