"""The kill matrix: every fault that a mock can tell against every rule, in this process, without a socket.

A fault is caught when the rule it is named after breaks; what else breaks has to be among the rules that the fault says it
cannot help tripping. The conforming mock has to break none.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from testcard.harness.check.budget import NO_LIMITS, Limits
from testcard.harness.check.in_process import InProcess
from testcard.harness.check.levels import level_of
from testcard.harness.check.plan import Plan, make_plan
from testcard.harness.check.runner import Settings
from testcard.harness.check.session import carry_out, judge_records
from testcard.harness.check.verdicts import Judged
from testcard.harness.lazy import resolve
from testcard.harness.pricing import Pricing
from testcard.harness.rules import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Body, Exchange, Verdict
from testcard.specs.loader import Provider

BASE_URL = "http://mock.invalid"
API_KEY = "selftest-key-7c1f6a0e"
#: The mocks' tasks move on by this clock, so that no run waits for them.
FASTER = 200.0
POLL_INTERVAL_S = 0.002
LONGEST_WAIT_S = 10.0


class LeapingTime:
    """Monotonic seconds in which long waits take no time: whoever sleeps for minutes moves the clock on instead."""

    def __init__(self) -> None:
        self._ahead_s = 0.0

    def __call__(self) -> float:
        """The time now."""
        return time.monotonic() + self._ahead_s

    async def sleep(self, seconds: float) -> None:
        """Waits, or leaps where waiting would take longer than a person waits for a test."""
        if seconds < LONGEST_WAIT_S:
            await asyncio.sleep(seconds)
        else:
            self._ahead_s += seconds


class Memory:
    """Keeps a run's exchanges and bodies in memory."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self._bodies: dict[str, bytes] = {}

    def body(self, content: bytes) -> Body:
        """The record of a body, by its hash."""
        digest = hashlib.sha256(content).hexdigest()
        self._bodies[digest] = content
        return Body(size=len(content), sha256=digest)

    def append(self, exchange: Exchange) -> None:
        """Keeps one exchange."""
        self.exchanges.append(exchange)

    def bytes_of(self, body: Body) -> bytes:
        """The content of a body."""
        return self._bodies[body.sha256 or ""]


@dataclass(frozen=True, slots=True)
class FaultRun:
    """One fault on one provider's mock: which rules broke, against which it may break.

    `missed`: operations on which the fault was told and its rule did not break. An operation that polls is reached only
    through others, which tell the fault first, and is not counted.
    """

    provider: str
    fault: str
    rule: str
    allowed: tuple[str, ...]
    broke: tuple[str, ...]
    operations: tuple[str, ...]
    missed: tuple[str, ...] = ()

    @property
    def caught(self) -> bool:
        """Whether the fault's own rule broke on every operation that told the fault."""
        return self.rule in self.broke and not self.missed

    @property
    def unexpected(self) -> tuple[str, ...]:
        """Rules that broke although the fault does not list them."""
        return tuple(rule for rule in self.broke if rule != self.rule and rule not in self.allowed)


@dataclass(frozen=True)
class Matrix:
    """All runs. `conforming` lists, by provider, the rules that broke on the mock without a fault (there should be none)."""

    runs: tuple[FaultRun, ...]
    conforming: Mapping[str, tuple[str, ...]]
    errors: tuple[str, ...]
    complete: bool = True

    @property
    def caught(self) -> int:
        """How many faults were caught."""
        return sum(run.caught for run in self.runs)

    @property
    def unproved_rules(self) -> tuple[str, ...]:
        """Rules without a fault."""
        have = {run.rule for run in self.runs}
        return tuple(rule for rule in RULES if rule not in have) if self.complete else ()

    @property
    def stale(self) -> tuple[str, ...]:
        """`fault: rule` for each listed rule that the fault trips nowhere."""
        if not self.complete:
            return ()
        tripped = {(run.fault, rule) for run in self.runs for rule in run.broke}
        listed = dict.fromkeys((run.fault, rule) for run in self.runs for rule in run.allowed)
        return tuple(f"{fault}: {rule}" for fault, rule in listed if (fault, rule) not in tripped)

    @property
    def full(self) -> bool:
        """Whether everything is as it has to be."""
        return (
            all(run.caught and not run.unexpected for run in self.runs)
            and not any(self.conforming.values())
            and not self.unproved_rules
            and not self.stale
            and not self.errors
        )


def faults_of(provider: Provider) -> list[Any]:
    """The faults that the provider's mock can tell."""
    return [fault for fault in resolve("testcard.mocks.faults:FAULTS").values() if provider.id in fault.providers]


def hastened(provider: Provider) -> Provider:
    """The provider with the time that its tasks have, as fast as the mocks' clock."""
    profile = provider.profile
    if profile.asynchronous is None:
        return provider
    protocol = profile.asynchronous.model_copy(update={"timeout_s": profile.asynchronous.timeout_s / FASTER})
    return replace(provider, profile=profile.model_copy(update={"asynchronous": protocol}))


def full_plan(provider: Provider, seed: int) -> Plan:
    """Everything that a check of the provider's mock sends."""
    provider = hastened(provider)
    return make_plan(
        provider, Pricing(provider, mock=True), rules=tuple(RULES.values()), operations=tuple(provider.profile.operations), seed=seed
    )


def narrowed(plan: Plan, operations: Iterable[str], rule: str) -> Plan:
    """The part of a plan that a rule needs on these operations, with the base requests it is proved against."""
    wanted = set(operations)
    serving = [step for step in plan.steps if any(operation in wanted and name == rule for operation, name in step.serves)]
    bases = {(step.operation, step.base) for step in serving}
    kept = {step.number for step in serving}
    steps = [step for step in plan.steps if step.number in kept or (step.operation, step.probe) in bases]
    scopes = tuple(scope for scope in plan.scopes if scope.operation_id in wanted)
    return replace(plan, steps=tuple(steps), scopes=scopes)


async def judge_mock(plan: Plan, faults: Sequence[str]) -> Judged:
    """The verdicts on the provider's mock with these faults, served in this process."""
    create_app = resolve("testcard.mocks.app:create_app")
    time_here = LeapingTime()
    app = create_app([plan.provider], faults=list(faults), api_key=API_KEY, timer=lambda: time.monotonic() * FASTER, sleep=time_here.sleep)
    return await judge_app(plan, app, timer=time_here)


async def judge_app(
    plan: Plan, app: Any, *, limits: Limits = NO_LIMITS, concurrency: int = 8, timer: Callable[[], float] = time.monotonic
) -> Judged:
    """The verdicts on an ASGI application that takes `API_KEY`, without a socket."""
    memory = Memory()
    carried = await carry_out(
        plan,
        Settings(BASE_URL, API_KEY, concurrency=concurrency, poll_interval_s=POLL_INTERVAL_S, patience_s=0.0),
        Pricing(plan.provider, mock=True),
        memory,
        limits=limits,
        transport=InProcess(app),
        timer=timer,
    )
    return judge_records(
        plan.scopes, plan.rules, memory.exchanges, memory.bytes_of, not_sent=carried.not_sent(plan), started=carried.started
    )


def broken_rules(provider: Provider, judged: Judged) -> tuple[str, ...]:
    """The rules that broke on any operation: musts, shoulds, and those that only inform, which no gate counts."""
    found = {one.rule for one in judged.verdicts if _broke(provider, one)}
    return tuple(rule for rule in RULES if rule in found)


def _broke(provider: Provider, verdict: Verdict) -> bool:
    if verdict.verdict in ("fail", "deviates"):
        return True
    return verdict.verdict == "info" and level_of(Scope(provider, verdict.operation), RULES[verdict.rule]) == "info"


def _missed(provider: Provider, judged: Judged, rule: str, operations: Iterable[str]) -> tuple[str, ...]:
    broke = {one.operation for one in judged.verdicts if one.rule == rule and _broke(provider, one)}
    return tuple(name for name in operations if name not in broke and provider.profile.operations[name].kind != "task")


async def kill_matrix(
    providers: Sequence[Provider], *, seed: int = 0, complete: bool = True, watch: Callable[[int, int], None] | None = None
) -> Matrix:
    """Runs the conforming mock and every fault of each provider. `watch` hears how many runs are done, of how many."""
    work = [(provider, fault) for provider in providers for fault in (None, *faults_of(provider))]
    plans = {provider.id: full_plan(provider, seed) for provider in providers}
    runs: list[FaultRun] = []
    conforming: dict[str, tuple[str, ...]] = {}
    errors: list[str] = []
    for done, (provider, fault) in enumerate(work):
        if watch is not None:
            watch(done, len(work))
        plan = plans[provider.id]
        if fault is None:
            judged = await judge_mock(plan, ())
            conforming[provider.id] = broken_rules(provider, judged)
        else:
            operations = tuple(name for name in provider.profile.operations if fault.applies(provider.id, name))
            judged = await judge_mock(narrowed(plan, operations, fault.rule), (fault.name,))
            missed = _missed(provider, judged, fault.rule, operations)
            broke = broken_rules(provider, judged)
            runs.append(FaultRun(provider.id, fault.name, fault.rule, tuple(fault.also), broke, operations, missed))
        errors += [f"{provider.id}, {fault.name if fault else 'no fault'}: {one.rule} raised {one.message}" for one in judged.errors]
    if watch is not None:
        watch(len(work), len(work))
    return Matrix(tuple(runs), conforming, tuple(errors), complete)
