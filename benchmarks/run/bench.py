"""`bench(options)`: one benchmark, as events in the order in which they happen.

    with bench(BenchOptions(targets=(TargetSection(provider="nanogpt", base_url="http://127.0.0.1:8000"),), max_requests=500)) as run:
        for event in run:
            ...
    run.finished.summary.rows

The load is put on by a process of its own (`load_process`), so that a slow consumer of the events falsifies nothing, and so that it
works in a notebook: importing Locust changes a process. Events of requests come twice a second, each for all since the last.

Ctrl-C and SIGTERM stop the sending and give what is in flight its grace; what is there is then judged, and the events go on to
`Finished`. A second one gives up what is in flight. That holds for a loop in the main thread; in any other, `stop()` does the same.
Leaving the `with` block early aborts: the run is sealed as interrupted. Errors are raised by the loop, after the run was sealed with
them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from testcard.benchmarks.load.tally import RunState
from testcard.benchmarks.plan.job import Job
from testcard.benchmarks.plan.targets import opened_targets, reach, sections_of, target_job
from testcard.benchmarks.run.finishing import charged_more, conclude, write_down
from testcard.benchmarks.run.options import BenchOptions
from testcard.benchmarks.run.planning import BenchPlan, make_plan
from testcard.benchmarks.run.session import BLOCKS_FILE, Session
from testcard.benchmarks.search.bracket import LEAST_REQUESTS
from testcard.benchmarks.search.saturation import SaturationSearch
from testcard.harness.errors import UsageError
from testcard.harness.events import Answered, Event, Finished, Judged, Noted, Planned, PlannedTarget, Sent, Spent, Stopped
from testcard.harness.intake.limits import differing
from testcard.harness.pricing import PriceOrigin
from testcard.harness.runs.folder import RunWriter, default_folder, require_free
from testcard.harness.runs.records import Spend
from testcard.harness.stops import Stop
from testcard.harness.targets import OpenTarget, is_loopback
from testcard.harness.wire.addresses import allowed_hosts


def bench(options: BenchOptions) -> BenchRun:
    """The benchmark that the options ask for. Nothing is sent before its events are read; `UsageError` for options that cannot be."""
    return BenchRun(options)


class BenchRun:
    """One benchmark: read its events once.

    `plan` says what it sends, from `Planned` on; `finished` is the last event, once it was read.
    """

    def __init__(self, options: BenchOptions) -> None:
        self.options = options if options.targets else replace(options, targets=tuple(sections_of((), (), options.config, live=False)))
        self.workload = options.load
        if options.find_saturation is not None:
            _refuse_too_small(options)
        if options.out is not None:
            require_free(options.out)  # before a mock is started for it
        self.plan: BenchPlan | None = None
        self.finished: Finished | None = None
        self._events: Iterator[Event] | None = None
        self._session: Session | None = None
        self._stopped = False
        self._told = RunState.nothing()

    def __iter__(self) -> Iterator[Event]:
        """The events. A run is carried out once: a second loop goes on where the first one ended."""
        if self._events is None:
            self._events = self._carried_out()
        return self._events

    def look(self) -> Planned:
        """What it would send; nothing is sent, and no folder made (the event names where one would be). `plan` holds the rest of it."""
        with opened_targets(self.options.targets, self.options.config, self.options.bounded, self.options.key_file) as targets:
            self.plan = make_plan(self.options, self.workload, targets)
            return _planned(self.options, self.plan, targets, self.options.out or Path("testcard-runs"))

    def finish(self) -> Finished:
        """Carries the benchmark out to its end, and gives that."""
        for _ in self:
            pass
        if self.finished is None:
            raise RuntimeError("the benchmark was left before its end")
        return self.finished

    def stop(self) -> bool:
        """Sends nothing more and judges what is there, as Ctrl-C does; from any thread. False where it was stopped, or had ended, before."""
        if self._stopped or self.finished is not None:
            return False
        self._stopped = True
        return self._session is None or self._session.stop()

    def close(self) -> None:
        """Aborts the run where it has not ended. What was answered is in its folder, which is sealed as interrupted."""
        events = self._events
        if events is not None:
            events.close()  # type: ignore[attr-defined] # it is a generator

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _carried_out(self) -> Iterator[Event]:
        options = self.options
        with ExitStack() as stack:
            targets = stack.enter_context(opened_targets(options.targets, options.config, options.bounded, options.key_file))
            plan = self.plan = make_plan(options, self.workload, targets)
            for target in targets:
                reach(target)
            writer = RunWriter.create(
                options.out if options.out is not None else default_folder("bench"),
                "bench",
                targets=[target.record(_models(plan, index)) for index, target in enumerate(targets)],
                config=self._config(plan),
                seed=options.seed,
            )
            stack.enter_context(writer)  # however it ends, run.json says how
            yield _planned(options, plan, targets, writer.folder)
            yield from self._load(plan, targets, writer)

    def _load(self, plan: BenchPlan, targets: Sequence[OpenTarget], writer: RunWriter) -> Iterator[Event]:
        """Puts the load on, and judges what came of it."""
        notes: list[str] = []
        finder = self._finder(plan, writer.folder, notes.append)
        job = self._job(plan, targets, writer.folder, finder)
        writer.add_file("blocks", BLOCKS_FILE)
        session = Session(
            job,
            writer.folder,
            more=None if finder is None else lambda: finder.more(session.blocks),
            look=None if finder is None else lambda: finder.look(session.blocks),
        )
        self._session = session
        if self._stopped:
            session.stop()
        told: list[Stop] = []
        with session.signals_heard() if self.options.signals else nullcontext():
            for said in session.lines():
                if isinstance(said, Stop):
                    told.append(said)
                    yield Stopped(stop=said)
                elif said.progress is not None:
                    yield from self._going(said.progress, time.monotonic() - job.started_s, priced=not plan.unpriced)
                elif said.message is not None:
                    yield Noted(sentence=said.message)
                yield from (Noted(sentence=note) for note in notes)
                notes.clear()
        yield from (Stopped(stop=stop) for stop in session.stops if stop not in told)
        left_out = [each.objective.expression for each in plan.left_out]
        recorded = write_down(writer, session.blocks, plan.workload, finder, plan.asked, session.stops, left_out)
        planned = plan.rows if finder is None else ()
        end = conclude(
            recorded,
            session.stops,
            interrupted=session.interrupted,
            fatal=session.fatal,
            planned=planned,
            remark=charged_more(plan, recorded.spend, self.options.max_cost_usd),
        )
        writer.finish(end.outcome, end.code, end.reason, session.stops)
        yield from (Judged(row=row) for row in recorded.summary.rows)
        if session.fatal is not None and not session.interrupted:
            raise session.fatal
        self.finished = Finished(
            outcome=end.outcome,
            exit_code=end.code,
            folder=writer.folder,
            spend=recorded.spend,
            reason=end.reason,
            stop=session.stops[0] if session.stops else None,
            prices=_strongest(targets),
            stops=tuple(session.stops),
            summary=recorded.summary,
            saturations=recorded.saturations,
        )
        yield self.finished

    def _going(self, state: RunState, at_s: float, *, priced: bool) -> Iterator[Event]:
        """What has happened since the last time."""
        before, self._told = self._told, state
        sent, answered = state.requests - before.requests, state.answered - before.answered
        if sent > 0:
            yield Sent(at_s=at_s, requests=sent)
        yield Answered(at_s=at_s, requests=max(answered, 0), surprising=max(state.failed - before.failed, 0), load=state.load)
        yield from (Noted(sentence=text, failure=True) for kind, text in state.failures.items() if kind not in before.failures)
        cost = state.spent_usd if priced else None
        spend = Spend(requests=state.requests, billed_requests=state.requests, images=state.images, cost_usd=cost)
        yield Spent(spend=spend, done=state.load.passed_s, total=state.load.planned_s)

    def _finder(self, plan: BenchPlan, folder: Path, say: Callable[[str], None]) -> SaturationSearch | None:
        wanted = self.options.find_saturation
        if wanted is None:
            return None
        wanted = replace(wanted, budget=self.options.max_requests)
        return SaturationSearch(plan.workload, plan.cells, folder, plan=wanted, say=say)

    def _job(self, plan: BenchPlan, targets: Sequence[OpenTarget], folder: Path, finder: SaturationSearch | None) -> Job:
        options = self.options
        return Job(
            folder=str(folder.resolve()),
            started_s=time.monotonic(),
            seed=options.seed,
            fleet=options.fleet,
            more=finder is not None,
            web=options.web,
            search=[str(path) for path in options.search],
            workload=plan.workload.model_dump(mode="json"),
            targets=[target_job(target, section.live, section.key_env) for target, section in zip(targets, options.targets, strict=True)],
            cells=list(plan.cells),
            blocks=list(plan.blocks) if finder is None else finder.first(),
            max_requests=options.max_requests,
            max_downloads=options.max_downloads,
            max_cost_usd=options.max_cost_usd,
            repeats=plan.repeats,
            limits=differing(),
            allowed_hosts=allowed_hosts(),
        )

    def _config(self, plan: BenchPlan) -> dict[str, Any]:
        """What run.json keeps of the options."""
        options = self.options
        return {
            "workload": plan.workload.model_dump(mode="json"),
            "max_requests": options.max_requests,
            "max_downloads": options.max_downloads,
            "max_cost_usd": options.max_cost_usd,
            "live": options.live,
            "processes": options.fleet.workers if options.fleet is not None else 1,
            "cells": [msgspec.to_builtins(cell) for cell in plan.cells],
            "asked": [
                {"target": target, "operation": operation, "model": model, "asked": said}
                for (target, operation, model), said in plan.asked.items()
            ],
        }


def _refuse_too_small(options: BenchOptions) -> None:
    """`UsageError` for a budget that not even one stage of a search fits in, with what it takes."""
    least = LEAST_REQUESTS
    if options.max_requests is not None and options.max_requests < least:
        raise UsageError(
            f"--max-requests {options.max_requests} is too small for a search: the ramp and one stage take about {least} requests",
            hint=f"allow {least} or more (at 1 s a picture about {least / 60:.0f} minutes at most, at 10 s {least / 6:.0f}); a whole search takes about 1,500",
        )


def _models(plan: BenchPlan, target: int) -> list[str]:
    return [cell.model for cell in plan.cells if cell.target == target and cell.model is not None]


def _planned(options: BenchOptions, plan: BenchPlan, targets: Sequence[OpenTarget], folder: Path) -> Planned:
    return Planned(
        kind="bench",
        targets=tuple(
            PlannedTarget(
                provider=target.provider.id,
                name=target.provider.profile.name,
                base_url=target.base_url,
                mock=target.mock,
                embedded=section.base_url is None,
                on_this_machine=is_loopback(target.base_url),
            )
            for target, section in zip(targets, options.targets, strict=True)
        ),
        requests=plan.requests,
        images=plan.images,
        cost_usd=plan.cost_usd,
        folder=folder,
        duration_s=plan.duration_s if options.find_saturation is None else None,
    )


def _strongest(targets: Sequence[OpenTarget]) -> PriceOrigin:
    """Where prices come from: made-up ones are said to be, whatever the others are."""
    origins = [target.pricing.origin for target in targets]
    order: tuple[PriceOrigin, ...] = ("illustrative", "list", "config")
    return next((origin for origin in order if origin in origins), "none")
