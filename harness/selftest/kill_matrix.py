"""The kill matrix: every fault that a mock can tell against every rule.

A fault is caught when the rule it is named after breaks; what else breaks has to be among the rules that the fault says it
cannot help tripping. The conforming mock has to break none. Normally each fault meets the requests of its own rule and of
those it lists, in memory; thoroughly, it meets everything that a check sends, over a socket.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from testcard.harness.check.generation.plan import CASE_RULES, Plan
from testcard.harness.check.judging.levels import level_of
from testcard.harness.check.judging.verdicts import Conclusion
from testcard.harness.extras import resolve
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.records import Verdict
from testcard.harness.selftest.mock_runs import Place, confined, full_plan, judge_mock, narrowed, place
from testcard.specs.loader import Provider, load_provider

#: Seeds of a thorough run.
SEEDS = (0, 1, 2)


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
    seed: int = 0

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
    """All runs. `conforming` lists, by provider, the rules that broke on the mock without a fault (there should be none).

    `applying` are the rules that apply to any of the providers (None: all): of the others, faults on providers of a user's own are the proof.
    """

    runs: tuple[FaultRun, ...]
    conforming: Mapping[str, tuple[str, ...]]
    errors: tuple[str, ...]
    complete: bool = True
    seeds: tuple[int, ...] = (0,)
    applying: frozenset[str] | None = None

    def faults(self, provider: str | None = None) -> dict[tuple[str, str], bool]:
        """Each provider and fault (of one provider, or of all), and whether it was caught under every seed."""
        found: dict[tuple[str, str], bool] = {}
        for run in self.runs:
            if provider in (None, run.provider):
                key = (run.provider, run.fault)
                found[key] = found.get(key, True) and run.caught
        return found

    @property
    def unproved_rules(self) -> tuple[str, ...]:
        """Rules that apply and have no fault."""
        have = {run.rule for run in self.runs}
        wanted = [rule for rule in RULES if self.applying is None or rule in self.applying]
        return tuple(rule for rule in wanted if rule not in have) if self.complete else ()

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


@dataclass(frozen=True, slots=True)
class MockRun:
    """One run of one mock: without a fault, or with one. Small enough to be handed to another process."""

    folder: str
    fault: str | None
    seed: int
    thorough: bool


@dataclass(frozen=True, slots=True)
class _Done:
    job: MockRun
    run: FaultRun | None
    broke: tuple[str, ...]
    errors: tuple[str, ...]


def kill_matrix(
    providers: Sequence[Provider],
    *,
    seeds: Sequence[int] = (0,),
    thorough: bool = False,
    complete: bool = True,
    only: Sequence[str] = (),
    processes: int = 1,
    watch: Callable[[int, int], None] | None = None,
) -> Matrix:
    """Runs the conforming mock and every fault of each provider under each seed. `watch` hears how many runs are done, of how many.

    `only` are globs of faults, all for none. `complete` says that no fault is left out, so that every rule has to have one.
    """
    jobs = [
        MockRun(str(provider.folder), fault, seed, thorough)
        for seed in seeds
        for provider in providers
        for fault in (None, *(one.name for one in faults_of(provider)))
        if fault is None or not only or any(fnmatchcase(fault, glob) for glob in only)
    ]
    done: dict[MockRun, _Done] = {}
    for number, result in enumerate(_results(jobs, processes), 1):
        done[result.job] = result
        if watch is not None:
            watch(number, len(jobs))
    results = [done[job] for job in jobs]
    conforming = {
        provider.id: _union(one.broke for one in results if one.job.folder == str(provider.folder) and one.job.fault is None)
        for provider in providers
    }
    runs = tuple(one.run for one in results if one.run is not None)
    return Matrix(runs, conforming, tuple(error for one in results for error in one.errors), complete, tuple(seeds), _applying(providers))


def _applying(providers: Sequence[Provider]) -> frozenset[str]:
    """The rules that apply to an operation of any of these providers."""
    scopes = [Scope(provider, operation, 0, None, False) for provider in providers for operation in provider.profile.operations]
    return frozenset(rule.id for rule in RULES.values() if any(level_of(scope, rule) != "none" and rule.applies(scope) for scope in scopes))


def _results(jobs: Sequence[MockRun], processes: int) -> Iterator[_Done]:
    """The results as they come. Neighbouring jobs stay together, so that few processes plan the same provider."""
    if processes <= 1:
        yield from _carried_out(jobs)
        return
    size = max(1, min(16, len(jobs) // (4 * processes)))
    shares = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    # Started afresh, not forked: this process may have threads.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent) as pool:
        futures = [pool.submit(_all_carried_out, share) for share in shares]
        try:
            for future in as_completed(futures):
                yield from future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _end_with_parent() -> None:
    """Lets this process end when the one that started it ends, however it does, and leaves Ctrl-C to that one."""
    parent = multiprocessing.parent_process()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _all_carried_out(jobs: Sequence[MockRun]) -> list[_Done]:
    return list(_carried_out(jobs))


def _carried_out(jobs: Sequence[MockRun]) -> Iterator[_Done]:
    """The results of jobs in this process, one after the other; those that want a socket share its address."""
    with place() if any(job.thorough for job in jobs) else nullcontext() as somewhere:
        for job in jobs:
            yield _one_carried_out(job, somewhere if job.thorough else None)


def _one_carried_out(job: MockRun, at: Place | None) -> _Done:
    provider = load_provider(job.folder)
    if job.fault is None:
        judged = asyncio.run(judge_mock(_plan(job.folder, job.seed, True), (), at=at))
        return _Done(job, None, broken_rules(provider, judged), _errors(job, provider, judged))
    fault = next(one for one in faults_of(provider) if one.name == job.fault)
    operations = tuple(name for name in provider.profile.operations if fault.told_at(provider, name))
    rules = (fault.rule, *fault.also)
    plan = _plan(job.folder, job.seed, job.thorough or not CASE_RULES.isdisjoint(rules))
    plan = confined(plan, operations) if job.thorough else narrowed(plan, operations, rules)
    judged = asyncio.run(judge_mock(plan, (fault.name,), at=at))
    broke, missed = broken_rules(provider, judged), _missed(provider, judged, fault.rule, operations)
    run = FaultRun(provider.id, fault.name, fault.rule, tuple(fault.also), broke, operations, missed, job.seed)
    return _Done(job, run, broke, _errors(job, provider, judged))


@lru_cache(maxsize=4)
def _plan(folder: str, seed: int, cases: bool) -> Plan:
    """A provider's plan, made once in a process."""
    return full_plan(load_provider(folder), seed, cases=cases)


def faults_of(provider: Provider) -> list[Any]:
    """The faults that the provider's mock can tell."""
    return [fault for fault in resolve("testcard.mocks.faults:FAULTS").values() if fault.told_by(provider)]


def broken_rules(provider: Provider, judged: Conclusion) -> tuple[str, ...]:
    """The rules that broke on any operation: musts, shoulds, and those that only inform, which no gate counts."""
    found = {one.rule for one in judged.verdicts if _broke(provider, one)}
    return tuple(rule for rule in RULES if rule in found)


def _broke(provider: Provider, verdict: Verdict) -> bool:
    if verdict.verdict in ("fail", "deviates"):
        return True
    return verdict.verdict == "info" and level_of(Scope(provider, verdict.operation), RULES[verdict.rule]) == "info"


def _missed(provider: Provider, judged: Conclusion, rule: str, operations: Iterable[str]) -> tuple[str, ...]:
    broke = {one.operation for one in judged.verdicts if one.rule == rule and _broke(provider, one)}
    return tuple(name for name in operations if name not in broke and provider.profile.operations[name].kind != "task")


def _errors(job: MockRun, provider: Provider, judged: Conclusion) -> tuple[str, ...]:
    return tuple(f"{provider.id}, {job.fault or 'no fault'}: {one.rule} raised {one.message}" for one in judged.errors)


def _union(found: Iterable[Iterable[str]]) -> tuple[str, ...]:
    broke = {rule for rules in found for rule in rules}
    return tuple(rule for rule in RULES if rule in broke)
