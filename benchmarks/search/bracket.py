"""The search for the highest rate that holds: what to try next, and what was found. Pure: it is fed what was seen and opens no socket.

First a closed-loop ramp (1, 2, 4 … users, short windows) until throughput gains less than `GAIN`: that is about what the server can
complete. Then open-loop stages at rates of a grid of `GRID` between half and all of it, by halving. A stage is looked at up to
`LOOKS` times, every `LOOK_SERVICES` service times, and ends at the first look that is sure. The answer is the
highest rate that held, one grid step less where that was not sure. Without an objective the answer is what the ramp's plateau
completes. Simulated searches and real ones run this code (`tests/statistics/search_simulation.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from testcard.benchmarks.plan.workload import HIGHEST_RPS
from testcard.harness.stops import Stop, StopReason
from testcard.harness.stops import sentence as stop_sentence
from testcard.harness.text.words import significant

Floats = npt.NDArray[np.float64]

#: Twice the users that bring less than this have found the plateau.
GAIN = 1.10
#: From one rate of the grid to the next.
GRID = 1.03
#: Half of what the server completes is so many grid steps below all of it.
HALF = round(math.log(2.0) / math.log(GRID))
#: The first open-loop rate lies so many steps below what the ramp completed: queues hold about that much.
FIRST = 5
#: Further steps where the range turns out not to hold the limit.
WIDER = 8
LOOKS = 4
LOOK_SERVICES = 20.0
#: Before a stage is measured its queue has this share of its length to fill.
WARMUP_SHARE = 0.25
#: A stage has so many requests at least (with fewer a p95 says little), and so many seconds (a busy machine stands still for half a one).
ENOUGH, LEAST_S = 150, 4.0
#: Where a budget leaves less than that, so many are still worth sending: a p95 can be decided with 72.
WORTH = 72
#: A ramp to two users and one such stage with its warm-up: with less a search finds out nothing.
LEAST_REQUESTS = math.ceil((1.0 + WARMUP_SHARE) * WORTH) + 30
#: A short stage may end before its queue has filled: what surely held is claimed to hold so many grid steps lower.
SURE_STEPS = 2
#: A window of the ramp: so many service times; the first one, when nothing is known yet, in seconds.
WINDOW_SERVICES, FIRST_WINDOW_S = 10.0, 1.0
MOST_USERS = 1024
MAX_STAGES = 20


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """`start_rps`: an open-loop rate to begin with instead of the ramp. `stage_s`: the most measured seconds of a stage, instead of
    `LOOKS` × `LOOK_SERVICES` service times. `max_stages`: open-loop stages in all. `budget`: requests of one search; None: no limit.
    """

    start_rps: float | None = None
    max_stages: int = MAX_STAGES
    stage_s: float | None = None
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What to try next: a window of the ramp (`users`) or a stage (`rate_rps`), in seconds."""

    users: int | None
    rate_rps: float | None
    warmup_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """A window of the ramp: users, good answers a second, the median latency of one, and the share that failed."""

    users: int
    rps: float
    latency_s: float
    failed: float


@dataclass(frozen=True, slots=True)
class Step:
    """A stage that was tried. `sure`: chance cannot have decided it. `why`: what broke, or why unsure."""

    rate_rps: float
    held: bool
    sure: bool
    why: str = ""


def _throughput(users: int, begun_s: Floats, done_s: Floats) -> float:
    """Answers a second of so many users, once each has had one (the first ones found no queue), until nothing more is begun."""
    done = np.sort(done_s)
    end = float(begun_s.max())
    if len(done) <= users or done[users - 1] >= end:
        return users / float((done_s - begun_s).mean())
    first = float(done[users - 1])
    return int(np.count_nonzero((done > first) & (done <= end))) / (end - first)


@dataclass
class Search:
    """One search. `limit` says what ended it other than the target (the generator, a budget); None: nothing did.

    `most_users`: the places in flight that are allowed. `objectives`: whether there is one to hold. `excuses` counts stages that may
    have broken for the generator's sake and are tried again.
    """

    plan: SearchPlan = field(default_factory=SearchPlan)
    most_users: int = MOST_USERS
    objectives: bool = True
    windows: list[Window] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    limit: Stop | None = None
    excuses: int = 0
    turns: int = 0
    requests: int = 0
    _top: float | None = None

    # What was seen.

    def ramped(self, users: int, begun_s: Floats, done_s: Floats, failed: int) -> None:
        """A window of the ramp is over: when each of its requests was begun and done, and how many of them failed."""
        latencies = done_s - begun_s
        share = failed / len(latencies)
        self.requests += len(latencies)
        self.windows.append(Window(users, (1.0 - share) * _throughput(users, begun_s, done_s), float(np.median(latencies)), share))
        if self.ramp_is_over:
            self._top = max(window.rps for window in self.windows)

    def take(self, step: Step, requests: int = 0) -> None:
        """A stage is over, with so many requests, those of its warm-up included."""
        self.turns += 1
        self.requests += requests
        if self._top is None:
            self._top = step.rate_rps
        self.steps.append(step)

    @property
    def ramp_is_over(self) -> bool:
        """Whether more users bring no more, are refused, or are not allowed."""
        if not self.windows:
            return False
        last = self.windows[-1]
        if len(self.windows) > 1 and last.users == self.windows[-2].users:
            return True
        gained = len(self.windows) < 2 or last.rps >= GAIN * self.windows[-2].rps
        return not gained or last.failed > 0 or self._leaves_too_little(2 * last.users) or 2 * last.users > min(self.most_users, MOST_USERS)

    def _leaves_too_little(self, users: int) -> bool:
        """Whether a window of so many users would leave less than one stage of the budget."""
        if self.plan.budget is None or not self.objectives:
            return False
        window = users * (WINDOW_SERVICES + 1.0)
        return self.requests + window + (1.0 + WARMUP_SHARE) * WORTH > self.plan.budget

    # What is known.

    @property
    def service_s(self) -> float:
        """How long a request takes where it need not wait: the median of the ramp's first windows."""
        return self.windows[0].latency_s if self.windows else self._unknown_service_s

    @property
    def _unknown_service_s(self) -> float:
        """With a rate to begin with and no ramp: such that a stage has as many requests as four places give."""
        rate = self.plan.start_rps or 1.0
        return 4.0 / rate

    def stage_s(self, rate: float) -> float:
        """The most measured seconds of a stage."""
        return self.plan.stage_s or max(LOOKS * LOOK_SERVICES * self.service_s, ENOUGH / rate, LEAST_S)

    def expected(self) -> tuple[float, int]:
        """About how many more seconds and requests the search takes: stages to halve the range, at most."""
        assert self._top is not None
        rate = self._rate(FIRST)
        stages = min(self.plan.max_stages, math.ceil(math.log2(HALF)))
        seconds = stages * (1.0 + WARMUP_SHARE) * self.stage_s(rate)
        requests = round(seconds * rate)
        left = None if self.plan.budget is None else max(0, self.plan.budget - self.requests)
        if left is None or requests <= left:
            return seconds, requests
        return left / rate, left

    @property
    def refuses(self) -> bool:
        """Whether the ramp itself met refusals or failures."""
        return bool(self.windows) and self.windows[-1].failed > 0

    def _place(self, rate: float) -> int:
        assert self._top is not None
        return round(math.log(self._top / rate) / math.log(GRID))

    def _rate(self, place: int) -> float:
        assert self._top is not None
        return min(float(f"{self._top * GRID**-place:.3g}"), HIGHEST_RPS)

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
    def plateau_rps(self) -> float | None:
        """What the server completes, where that is the answer: no objective, and nothing refused."""
        return self.windows[-1].rps if not self.objectives and self._plateau_is_seen and not self.refuses else None

    @property
    def _plateau_is_seen(self) -> bool:
        """Whether the last number of users had a second, long window."""
        return self.ramp_is_over and len(self.windows) > 1 and self.windows[-1].users == self.windows[-2].users

    @property
    def answer_rps(self) -> float | None:
        """The highest rate that holds: the one that held, one grid step less where that was not sure; None: none did."""
        if self.plateau_rps is not None:
            return float(f"{self.plateau_rps:.3g}")
        held = self.held
        if held is None:
            return None
        return held.rate_rps if held.sure else float(f"{held.rate_rps / GRID:.3g}")

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Where the highest rate that holds lies for sure: from the highest that surely held to the lowest that surely broke."""
        broke = min((step.rate_rps for step in self.steps if step.sure and not step.held), default=None)
        held = [step.rate_rps for step in self.steps if step.sure and step.held and (broke is None or step.rate_rps < broke)]
        return max((float(f"{rate / GRID**SURE_STEPS:.3g}") for rate in held), default=None), broke

    @property
    def found(self) -> bool:
        """Whether both ends are there and next to each other on the grid."""
        if self.plateau_rps is not None:
            return self.limit is None
        held, broke = self.held, self.broke
        return held is not None and broke is not None and broke.rate_rps <= held.rate_rps * GRID * 1.01

    # What is next.

    def next_trial(self) -> Trial | None:
        """What to try next; None when the search is over."""
        if self.limit is not None or self.found:
            return None
        if self.plan.start_rps is None and not self.ramp_is_over:
            users = 2 * self.windows[-1].users if self.windows else 1
            seconds = WINDOW_SERVICES * self.service_s if self.windows else FIRST_WINDOW_S
            return Trial(users, None, 0.0, seconds)
        if self.plan.start_rps is None and not self.objectives and not self.refuses:
            return Trial(self.windows[-1].users, None, 0.0, max(LOOKS * LOOK_SERVICES * self.service_s, LEAST_S))
        if self.turns >= self.plan.max_stages:
            self.limit = Stop(reason=StopReason.STAGES_SPENT, limit=self.plan.max_stages)
            return None
        rate = self._next_rate()
        if rate is None:
            return None
        seconds = self.stage_s(rate)
        if self.plan.budget is not None and (left := self.plan.budget - self.requests) < (1.0 + WARMUP_SHARE) * seconds * rate + 1:
            if left < (1.0 + WARMUP_SHARE) * WORTH + 1:
                self.limit = Stop(reason=StopReason.REQUESTS_SPENT, limit=self.plan.budget)
                return None
            if not self.steps:
                rate = self._rate(HALF // 2)  # the only stage: at a rate that it can be sure of
            seconds = (left - 1) / (rate * (1.0 + WARMUP_SHARE))
        return Trial(None, rate, WARMUP_SHARE * seconds, seconds)

    def _next_rate(self) -> float | None:
        held, broke = self.held, self.broke
        if held is not None and held.rate_rps >= HIGHEST_RPS:
            self.limit = Stop(reason=StopReason.HIGHEST_RATE, limit=HIGHEST_RPS)
            return None
        if self._top is None:
            assert self.plan.start_rps is not None
            return min(float(f"{self.plan.start_rps:.3g}"), HIGHEST_RPS)
        if held is None and broke is None:
            return self._rate(FIRST)
        blind = self.plan.start_rps is not None
        if broke is None:
            assert held is not None
            place = self._place(held.rate_rps)
            if blind:
                return self._rate(place - HALF)
            high = 0 if place > 1 else place - WIDER  # a queue cannot hold much more than the ramp completed, unless that was wrong
        else:
            high = self._place(broke.rate_rps)
        if held is None:
            if blind or high >= HALF - 1:  # not even about half of it holds: further down
                return self._rate(high + HALF)
            low = HALF
        else:
            low = self._place(held.rate_rps)
        if low - high <= 1:
            return None
        return self._rate((low + high) // 2)


def sentence(search: Search) -> str:
    """What the search found, in one sentence; `probably`, where the stage at that rate was not sure of it."""
    held, broke = search.held, search.broke
    low, high = search.interval
    limit = stop_sentence(search.limit) if search.limit is not None else None
    if search.plateau_rps is not None:
        users = search.windows[-1].users
        return f"completes {_rate(search.answer_rps)}, with {users} in flight; more of them bring less than {GAIN - 1:.0%} more"
    if held is None and broke is None:
        ramp = f" (the ramp completed {_rate(search.windows[-1].rps)} with {search.windows[-1].users} in flight)" if search.windows else ""
        return f"nothing was found out{ramp}: {limit or 'no stage was measured'}"
    sure = "" if low is None and high is None else f", surely within {_rate(low)} to {_rate(high)}"
    if (low is None) != (high is None):
        sure = f", surely above {_rate(low)}" if low is not None else f", surely below {_rate(high)}"
    holds = "holds" if held is not None and held.sure else "probably holds"
    breaks = "breaks" if broke is not None and broke.sure else "probably breaks"
    if held is None:
        assert broke is not None
        return f"{breaks} even at {_rate(broke.rate_rps)}{sure}: {broke.why}" + (f"; the search ended early: {limit}" if limit else "")
    if broke is None:
        return f"{holds} {_rate(search.answer_rps)}{sure} and was not broken: {limit or f'the search ended after {search.turns} stages'}"
    end = f"; the search ended early: {limit}" if limit is not None else ""
    return f"{holds} {_rate(search.answer_rps)}, {breaks} at {_rate(broke.rate_rps)}{sure}. What broke first: {broke.why}{end}"


def _rate(value: float | None) -> str:
    return "?" if value is None else f"{significant(value)}/s"
