"""`check(options)`: one check, as events in the order in which they happen.

    with check(CheckOptions(provider="nanogpt", base_url="http://127.0.0.1:8000", max_requests=60)) as run:
        for event in run:
            ...
    run.finished.exit_code

An iterable, because a loop serves everybody: the command line hands each event to its consumers, a pytest plugin waits for the end,
a test collects them in a list, and whoever wants a callback calls it in the loop. The requests are sent, and the answers timed, in a
thread of their own, so that a slow consumer falsifies nothing, and so that it works beside a running event loop, as in a notebook.

Ctrl-C and SIGTERM stop the sending; what is there is then judged, and the events go on to `Finished`. A second one aborts: the run is
sealed as interrupted and `KeyboardInterrupt` is raised. That holds for a loop in the main thread; in any other, `stop()` does the same.
Leaving the `with` block early aborts too, and so does `abort()`, from any thread. Errors are raised by the loop, after the run was sealed with them.
"""

from __future__ import annotations

import asyncio
import math
import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from types import FrameType, TracebackType
from typing import Any, Self

from testcard.harness.check.generation.plan import Plan, choose_operations, choose_rules, make_plan
from testcard.harness.check.judging.verdicts import judge_records
from testcard.harness.check.judging.waivers import waive
from testcard.harness.check.options import CheckOptions
from testcard.harness.check.running.runner import Carried, Runner, carry_out
from testcard.harness.check.running.target_health import INTERRUPTED, LIVE_MAX_TIME_S, MAX_TIME_S, CheckSettings
from testcard.harness.check.running.transport import TIMEOUT_S
from testcard.harness.check.sealing import day_of, run_config, sealed, started_of
from testcard.harness.check.spending.allowance import at_most
from testcard.harness.config import PricesSection
from testcard.harness.errors import Exit, TestcardError, UsageError
from testcard.harness.events import Event, Finished, Noted, Planned, PlannedTarget
from testcard.harness.extras import require
from testcard.harness.intake.limits import limits
from testcard.harness.pricing import PriceOrigin, Pricing
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder, require_free
from testcard.harness.targets import OpenTarget, checked_base_url, is_loopback, open_target
from testcard.harness.wire.contract import unlisted
from testcard.specs.loader import load_provider

LOOPBACK_CONCURRENCY = 8
LIVE_CONCURRENCY = 1
#: Where a person has asked for the end: seconds for decoding pictures, bytes of large answers that are judged, and seconds that an abort
#: waits for what cannot be broken off.
_HURRIED_DECODING_S, _HURRIED_BYTES, _ABORT_S = 0.5, 8 << 20, 1.0
#: So many bytes of large answers a second are judged on a slow machine.
_JUDGED_PER_S = 50e6
#: Of the time that a check may take so much is kept for judging, and no less than this is for sending.
_JUDGING_S, _JUDGING_SHARE, _LEAST_TO_SEND_S = 5.0, 0.1, 1.0
#: On this machine a task is asked for so often, whatever its profile says: nobody there minds.
LOOPBACK_POLL_S = 0.05


def check(options: CheckOptions) -> CheckRun:
    """The check that the options ask for. Nothing is sent before its events are read; `UsageError` for options that cannot be carried out."""
    return CheckRun(options)


class CheckRun:
    """One check: read its events once. `plan` says what it would send; `finished` is the last event, once it was read."""

    def __init__(self, options: CheckOptions) -> None:
        require(("check",), "a check")
        self.options = options
        self.rules = choose_rules(options.rules)
        self.provider = load_provider(options.provider, options.search).for_model(options.model)
        self.operations = choose_operations(self.provider, options.operations, options.model)
        self.finished: Finished | None = None
        if options.out is not None:
            require_free(options.out)  # before a mock is started for it
        if options.base_url is not None:
            checked_base_url(options.base_url)
        self._events: Iterator[Event] | None = None
        self._plan: tuple[Pricing, Plan] | None = None
        self._lock = threading.RLock()  # a signal may come while this thread holds it
        self._runner: Runner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False
        self._sent = False
        self._aborted = False
        self._work: _Work | None = None

    @property
    def plan(self) -> Plan:
        """What is sent, with what it costs at most; nothing was sent to find out. A target on this machine counts as a mock of ours here."""
        if self._plan is not None:
            return self._plan[1]
        options = self.options
        mock = options.base_url is None or is_loopback(checked_base_url(options.base_url))
        return self.plan_at(mock=mock)

    def plan_at(self, *, mock: bool) -> Plan:
        """`plan`, by whoever knows whether the target is a mock of ours, whose made-up prices count. `UsageError` as of the run itself."""
        return self._planned(Pricing(self.provider, mock, self.options.prices.get(self.provider.id, PricesSection())))

    @property
    def prices(self) -> PriceOrigin:
        """Where the plan's prices come from."""
        return self._plan[0].origin if self._plan is not None else "none"

    def __iter__(self) -> Iterator[Event]:
        """The events. A run is carried out once: a second loop goes on where the first one ended."""
        if self._events is None:
            self._events = self._carried_out()
        return self._events

    def finish(self) -> Finished:
        """Carries the check out to its end, and gives that."""
        for _ in self:
            pass
        if self.finished is None:
            raise RuntimeError("the check was left before its end")
        return self.finished

    def stop(self) -> bool:
        """Sends nothing more and judges what is there, as Ctrl-C does; from any thread. False where it was stopped, or had ended, before."""
        with self._lock:
            if self._stopped or self._sent:
                return False
            self._stopped = True
            if self._loop is not None and self._runner is not None:
                self._loop.call_soon_threadsafe(self._runner.stop, INTERRUPTED)
            return True

    def abort(self) -> None:
        """Gives up, also what is being judged; from any thread. The loop raises `KeyboardInterrupt`, and the run is sealed as interrupted."""
        with self._lock:
            self._aborted = True
            if self._work is not None:
                self._work.told.put(KeyboardInterrupt())

    @property
    def is_aborted(self) -> bool:
        """Whether `abort` was called."""
        return self._aborted

    def close(self) -> None:
        """Aborts the run where it has not ended. What was answered is in its folder, which is sealed as interrupted."""
        events = self._events
        if events is not None:
            events.close()  # type: ignore[attr-defined] # it is a generator

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _planned(self, pricing: Pricing) -> Plan:
        if self._plan is not None and self._plan[0] == pricing:
            return self._plan[1]
        options = self.options
        if options.max_cost_usd is not None:
            self._require_price(pricing)
        plan = make_plan(
            self.provider,
            pricing,
            rules=self.rules,
            operations=self.operations,
            seed=options.seed,
            model=options.model,
            keyless=options.no_auth,
        )
        if not plan.steps:
            raise UsageError("nothing is to be sent: none of the chosen rules applies to the chosen operations", hint="see: testcard rules")
        self._plan = (pricing, plan)
        return plan

    def _require_price(self, pricing: Pricing) -> None:
        """`UsageError` when cost is limited and something has no price: without one, nothing of it could be sent."""
        for operation in self.operations:
            profile = self.provider.profile.operations[operation]
            for task in profile.tasks if profile.billed else ():
                asked = self.options.model or self.provider.default_model(operation, task)
                if pricing.price(asked, operation) is None:
                    raise UsageError(
                        f"--max-cost needs a price for {asked or operation}, and none is known",
                        hint=f"set {pricing.missing_key(asked)}, or limit with --max-requests or --max-images",
                    )

    def _carried_out(self) -> Iterator[Event]:
        options, began_s = self.options, time.monotonic()
        with ExitStack() as stack:
            target = stack.enter_context(
                open_target(
                    options.provider,
                    options.base_url,
                    config=options.config,
                    live=options.live,
                    bounded=options.bounded,
                    key_file=options.key_file,
                    key_env=options.key_env,
                    no_auth=options.no_auth,
                )
            )
            plan = self._planned(target.pricing)
            local = is_loopback(target.base_url)
            max_time_s = options.max_time_s or (MAX_TIME_S if local else LIVE_MAX_TIME_S)
            settings = CheckSettings(
                target.base_url,
                target.api_key,
                options.concurrency or (LOOPBACK_CONCURRENCY if local else LIVE_CONCURRENCY),
                LOOPBACK_POLL_S if local else None,
                live=options.live,
                timeout_s=options.timeout_s or TIMEOUT_S,
                max_time_s=_time_to_send(max_time_s, time.monotonic() - began_s),
                told_max_time_s=max_time_s,
            )
            models = dict.fromkeys(step.model for step in plan.steps if step.model is not None)
            writer = RunWriter.create(
                options.out or default_folder("check"),
                "check",
                targets=[target.record(list(models))],
                seed=plan.seed,
                config=run_config(options, plan, settings.concurrency),
            )
            most = at_most(plan.steps, options.limits)
            try:
                yield Planned(
                    kind="check",
                    targets=(_planned_target(target, embedded=options.base_url is None),),
                    requests=min(each for each in (len(plan.steps), options.max_requests) if each is not None),
                    images=most.images,
                    cost_usd=most.cost_usd,
                    folder=writer.folder,
                )
                unknown = unlisted(self.provider, self.operations, options.model) if options.model is not None else None
                if unknown is not None:
                    yield Noted(sentence=unknown)
                yield from self._heard(_Work(self, target, plan, settings, writer, began_s))
            except TestcardError as error:
                writer.finish("error", error.exit_code, error.message)
                raise
            except (KeyboardInterrupt, GeneratorExit):
                if self.finished is None:
                    writer.finish("interrupted", Exit.INTERRUPTED, "interrupted")
                raise
            except BaseException as error:
                with suppress(OSError):  # such as a full disk, which is the error
                    writer.finish("error", Exit.INTERNAL, f"{type(error).__name__}: {error}")
                raise

    def _heard(self, work: _Work) -> Iterator[Event]:
        """What the work tells, from its thread to this one; its error, if it ends with one."""
        thread = threading.Thread(target=work.do, name="testcard-check", daemon=True)
        with self._lock:
            self._work = work
            if self._aborted:
                raise KeyboardInterrupt
        with self._signals():
            thread.start()
            try:
                while True:
                    told = work.told.get()
                    if told is None:
                        return
                    if isinstance(told, BaseException):
                        raise told
                    if isinstance(told, Finished):
                        self.finished = told
                    yield told
            finally:
                work.abort()
                thread.join(_ABORT_S if self._sent else None)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Lets the first Ctrl-C or SIGTERM stop the sending; the second does what it did before."""
        if not self.options.signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

        def first(number: int, frame: FrameType | None) -> None:
            restore()
            if not self.stop():
                raise KeyboardInterrupt

        for number in numbers:
            signal.signal(number, first)
        try:
            yield
        finally:
            restore()


class _Work:
    """What is done in a thread of its own: the plan carried out, judged, sealed. `told` holds events, an error, and None at the end."""

    def __init__(self, run: CheckRun, target: OpenTarget, plan: Plan, settings: CheckSettings, writer: RunWriter, began_s: float) -> None:
        self.told: queue.SimpleQueue[Event | BaseException | None] = queue.SimpleQueue()
        self._run = run
        self._target = target
        self._plan = plan
        self._settings = settings
        self._writer = writer
        self._began_s = began_s
        self._task: asyncio.Task[Any] | None = None
        self._aborted = False

    def do(self) -> None:
        """Does it; never raises."""
        try:
            carried = asyncio.run(self._sent())
            if not self._aborted:
                self._judged(carried)
            self.told.put(None)
        except BaseException as error:  # noqa: BLE001 (raised again by whoever reads the events)
            self.told.put(error)

    def abort(self) -> None:
        """Gives up what is under way; nothing of it is judged. Without effect at the end."""
        run = self._run
        with run._lock:
            self._aborted = True
            if run._loop is not None and self._task is not None:
                run._loop.call_soon_threadsafe(self._task.cancel)

    async def _sent(self) -> Carried:
        run = self._run
        with run._lock:
            run._loop = asyncio.get_running_loop()
            self._task = asyncio.current_task()
        try:
            return await carry_out(
                self._plan,
                self._settings,
                self._target.pricing,
                self._writer,
                limits=run.options.limits,
                tell=self.told.put,
                started_as=self._started_as,
            )
        finally:
            with run._lock:
                run._loop, self._task, run._sent = None, None, True

    def _started_as(self, runner: Runner) -> None:
        run = self._run
        with run._lock:
            run._runner = runner
            stopped = run._stopped
        if stopped:
            runner.stop(INTERRUPTED)

    def _judging_s(self) -> float:
        """How long judging large answers, and decoding their pictures, may take: for what is left of the check's time, and for the part of it that was kept for that in any case."""
        max_time_s = self._settings.told_max_time_s
        if max_time_s is None:
            return math.inf
        kept_s = _JUDGING_SHARE * max_time_s if self._run.options.max_time_s is None else min(_JUDGING_S, _JUDGING_SHARE * max_time_s)
        return max(kept_s, max_time_s - (time.monotonic() - self._began_s))

    def _judged(self, carried: Carried) -> None:
        run, plan, options, outcome = RunReader(self._writer.folder), self._plan, self._run.options, carried.outcome
        judging_s = _HURRIED_DECODING_S if outcome.interrupted else self._judging_s()
        conclusion = judge_records(
            plan.scopes,
            plan.rules,
            list(run.exchanges()),
            run.bytes_of,
            not_sent=carried.not_sent(plan),
            strict=options.strict,
            stopped=outcome.stopped is not None,
            started=started_of(run.run),
            live=options.live,
            decoding_s=judging_s,
            judged_bytes=_HURRIED_BYTES if outcome.interrupted else _judged_bytes(judging_s),
        )
        if self._aborted:
            return
        if conclusion.told_left_out is not None:
            self.told.put(Noted(sentence=conclusion.told_left_out))
        told = {name for one in conclusion.errors for name in one.exchanges}
        mistakes = [one for one in outcome.mistakes if told.isdisjoint(one.exchanges)]
        conclusion = replace(conclusion, errors=(*conclusion.errors, *mistakes))
        rules = [rule.id for rule in plan.rules]
        conclusion = waive(conclusion, options.waivers, scopes=plan.scopes, rules=rules, on=day_of(run.run))
        self._writer.update(config=run_config(options, plan, self._settings.concurrency, carried))
        target, spend = self._writer.run.targets[0], carried.budget.spend
        not_sent = list(outcome.not_sent.values())
        for event in sealed(self._writer, conclusion, target, spend, stop=outcome.stopped, planned=len(plan.steps), not_sent=not_sent):
            self.told.put(event)


def _judged_bytes(judging_s: float) -> int | None:
    """How many bytes of large answers are judged in so many seconds, one of any size at least; None for as many as the limit of that name allows."""
    return None if judging_s == math.inf else max(limits().body_bytes, int(judging_s * _JUDGED_PER_S))


def _time_to_send(max_time_s: float, gone_s: float) -> float:
    """Seconds that are left for sending, when planning has taken some and judging will take some; enough for a request at least."""
    return max(_LEAST_TO_SEND_S, max_time_s - gone_s - min(_JUDGING_S, _JUDGING_SHARE * max_time_s))


def _planned_target(target: OpenTarget, *, embedded: bool) -> PlannedTarget:
    return PlannedTarget(
        provider=target.provider.id,
        name=target.provider.profile.name,
        base_url=target.base_url,
        mock=target.mock,
        embedded=embedded,
        on_this_machine=is_loopback(target.base_url),
    )
