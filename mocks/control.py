"""Puts conditions in force in every provider of a mock: those it started with, those of a scenario's phases, those set over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from testcard.mocks.conditions import Conditions, InForce, Scenario, Timeline


class Controlled(Protocol):
    """One provider's mock, as far as conditions go."""

    @property
    def id(self) -> str:
        """The provider's id."""

    @property
    def live(self) -> InForce:
        """The conditions in force there."""

    def put_in_force(self, conditions: Conditions) -> None:
        """Keeps these from the next request on."""


class Control:
    """What is in force; `first` is what the mock started with. `timer` is monotonic seconds."""

    def __init__(self, conditions: Conditions, timer: Callable[[], float]) -> None:
        self.first = conditions
        self._timer = timer
        self._mocks: list[Controlled] = []
        self.conditions = conditions
        self.timeline: Timeline | None = None

    def add(self, mock: Controlled) -> None:
        """One more provider."""
        self._mocks.append(mock)

    @property
    def providers(self) -> list[str]:
        """The ids of those that are served."""
        return [mock.id for mock in self._mocks]

    @property
    def phase(self) -> str | None:
        """The name of the scenario's phase; None without a scenario."""
        return self.timeline.phase.name if self.timeline is not None else None

    def set(self, conditions: Conditions) -> None:
        """Puts conditions in force, and ends a scenario."""
        self.timeline = None
        self._put(conditions)

    def play(self, scenario: Scenario | None) -> None:
        """Begins a scenario; None ends it, and everything is as it was at the start, what was used up of a quota too."""
        self.timeline = Timeline(scenario, self._timer) if scenario is not None else None
        if scenario is None:
            self._put(Conditions())  # what stays the same goes on as far as it has got; here it begins again
        self._put(scenario.phases[0].conditions if scenario is not None else self.first)

    def before_work(self) -> None:
        """Called before each request for work: a scenario may go on to its next phase."""
        if self.timeline is not None and self.timeline.next():
            self._put(self.timeline.phase.conditions)

    def standing(self) -> dict[str, dict[str, Any]]:
        """What is left of each provider's quota."""
        return {mock.id: {"quota_left": mock.live.left} for mock in self._mocks}

    def _put(self, conditions: Conditions) -> None:
        self.conditions = conditions
        for mock in self._mocks:
            mock.put_in_force(conditions)
