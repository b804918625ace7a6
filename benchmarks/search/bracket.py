"""The search for the highest rate that holds: which rate to try next, and what the steps so far say. Pure.

The rate doubles until it breaks (or halves until it holds), then the gap is halved on a logarithmic scale until its ends lie
within `RESOLUTION` of each other and the upper one has broken in two turns together, in at most `max_stages` stages, those that are taken again included.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from testcard.benchmarks.plan.workload import HIGHEST_RPS
from testcard.harness.stops import Stop, StopReason
from testcard.harness.stops import sentence as stop_sentence
from testcard.harness.text.words import significant

#: Ends so close are close enough: what lies between is less than what one run differs from the next.
RESOLUTION = 1.05
MAX_STAGES = 20
#: A rate that is not sure is tried so many times in all.
TRIES = 3


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """The rate to begin with, and how many stages a search may take."""

    start_rps: float
    max_stages: int = MAX_STAGES


@dataclass(frozen=True, slots=True)
class Step:
    """A stage that was tried. `sure`: chance cannot have decided it (see `stage_verdict`). `why`: what broke, or why unsure.

    `tries`: of how many turns it was judged.
    """

    rate_rps: float
    held: bool
    sure: bool
    why: str = ""
    tries: int = 1


@dataclass
class Search:
    """One search. `limit` says what ended it other than the target (the generator, a budget); None: nothing did.

    `turns` counts the stages that were taken; `again` is a rate to take once more; `excuses` counts stages that may have broken
    for the generator's sake and are tried again.
    """

    start_rps: float
    max_stages: int = MAX_STAGES
    steps: list[Step] = field(default_factory=list)
    limit: Stop | None = None
    excuses: int = 0
    turns: int = 0
    again: float | None = None

    def take(self, step: Step, tries: int) -> bool:
        """Counts a stage, judged by all of its `tries`. False: it is not sure, and its rate comes again; else it is a step."""
        self.turns += 1
        if not step.sure and tries < TRIES and self.turns < self.max_stages:
            self.again = step.rate_rps
            return False
        self.steps = [other for other in self.steps if other.rate_rps != step.rate_rps] + [replace(step, tries=tries)]
        return True

    @property
    def broke(self) -> Step | None:
        """The lowest rate that broke."""
        return min((step for step in self.steps if not step.held), key=lambda step: step.rate_rps, default=None)

    @property
    def held(self) -> Step | None:
        """The highest rate below it that held."""
        broke = self.broke
        held = [step for step in self.steps if step.held and (broke is None or step.rate_rps < broke.rate_rps)]
        return max(held, key=lambda step: step.rate_rps, default=None)

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Where the highest rate that holds lies for sure: from the highest that surely held to the lowest that surely broke."""
        broke = min((step.rate_rps for step in self.steps if step.sure and not step.held), default=None)
        held = [step.rate_rps for step in self.steps if step.sure and step.held and (broke is None or step.rate_rps < broke)]
        return max(held, default=None), broke

    @property
    def _is_close(self) -> bool:
        held, broke = self.held, self.broke
        return held is not None and broke is not None and broke.rate_rps <= held.rate_rps * RESOLUTION

    @property
    def found(self) -> bool:
        """Whether both ends are there and close enough, and the upper one did not break by a single bad moment."""
        return self._is_close and self.broke is not None and (self.broke.tries > 1 or self.turns >= self.max_stages)

    def next_rps(self) -> float | None:
        """The rate to try next, to three digits; None when the search is over."""
        if self.limit is not None or self.found or self.turns >= self.max_stages:
            return None
        if self.again is not None:
            rate, self.again = self.again, None
            return rate
        held, broke = self.held, self.broke
        if self._is_close and broke is not None:
            return broke.rate_rps  # once more: what broke by chance, or by a moment's trouble, may hold
        if held is None and broke is None:
            wanted = self.start_rps
        elif broke is None:
            assert held is not None
            wanted = 2.0 * held.rate_rps
        elif held is None:
            wanted = broke.rate_rps / 2.0
        else:
            wanted = (held.rate_rps * broke.rate_rps) ** 0.5
        rate = min(float(f"{wanted:.3g}"), HIGHEST_RPS)
        if held is not None and held.rate_rps >= HIGHEST_RPS:
            self.limit = Stop(reason=StopReason.HIGHEST_RATE, limit=HIGHEST_RPS)
            return None
        return None if any(step.rate_rps == rate for step in self.steps) else rate


def sentence(search: Search) -> str:
    """What the search found, in one sentence."""
    held, broke = search.held, search.broke
    low, high = search.interval
    limit = stop_sentence(search.limit) if search.limit is not None else None
    sure = f", surely within {_rate(low)} to {_rate(high)}" if (low, high) != (held and held.rate_rps, broke and broke.rate_rps) else ""
    if held is None and broke is None:
        return f"nothing was found out: {limit or 'no stage was measured'}"
    if held is None:
        assert broke is not None
        return f"breaks even at {_rate(broke.rate_rps)}: {broke.why}"
    if broke is None:
        return f"holds {_rate(held.rate_rps)} and was not broken: {limit or f'the search ended after {search.turns} stages'}"
    end = f"; the search ended early: {limit}" if limit is not None else ""
    return f"holds {_rate(held.rate_rps)}, breaks at {_rate(broke.rate_rps)}{sure}. What broke first: {broke.why}{end}"


def _rate(value: float | None) -> str:
    return "?" if value is None else f"{significant(value)}/s"
