"""One check from plan to verdicts, and a recorded one judged again."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import httpx

from testcard.harness.check.generation.plan import Plan
from testcard.harness.check.judging.verdicts import Conclusion, judge_all
from testcard.harness.check.judging.waivers import waive
from testcard.harness.check.running.early_answers import listen_while_sending
from testcard.harness.check.running.recording import Recorder
from testcard.harness.check.running.runner import CheckSettings, PlanOutcome, Runner, Watch
from testcard.harness.check.running.transport import CONNECT_TIMEOUT_S, TIMEOUT_S, Clock
from testcard.harness.check.spending.budget import NO_LIMITS, CheckBudget, SpendingLimits
from testcard.harness.config import WaiverSection
from testcard.harness.errors import UsageError
from testcard.harness.pricing import Pricing
from testcard.harness.proxies import direct
from testcard.harness.rules.evidence import BytesOf, Inspect, see
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.rule import Rule
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.folder import RunReader, tool_version
from testcard.harness.runs.records import Exchange, Run
from testcard.harness.wire.pictures import inspect
from testcard.specs.loader import BUNDLED, Provider


@dataclass(frozen=True)
class Carried:
    """A plan that was carried out: how it ended and what it cost; `started` is when, in Unix seconds."""

    outcome: PlanOutcome
    budget: CheckBudget
    started: float | None = None

    def not_sent(self, plan: Plan) -> dict[tuple[str, str], list[str]]:
        """The reasons why requests were not sent, by operation and rule that asked for them."""
        found: dict[tuple[str, str], list[str]] = {}
        for step in plan.steps:
            reason = self.outcome.not_sent.get(step.number)
            if reason is not None:
                for pair in step.serves:
                    found.setdefault(pair, []).append(reason)
        return found


def http_client(concurrency: int, transport: httpx.AsyncBaseTransport | None = None, *, base_url: str | None = None) -> httpx.AsyncClient:
    """A client that never follows redirects by itself, never retries, and waits as long as the slowest documented answer takes.

    It asks this machine without a proxy, and reads while it sends a large body.
    """
    client = httpx.AsyncClient(
        transport=transport,
        timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        limits=httpx.Limits(max_connections=concurrency + 2, max_keepalive_connections=concurrency + 2),
        headers={"user-agent": f"testcard/{tool_version()}"},
        follow_redirects=False,
        mounts=direct(base_url),
    )
    listen_while_sending(client)
    return client


async def carry_out(
    plan: Plan,
    settings: CheckSettings,
    pricing: Pricing,
    recorder: Recorder,
    *,
    limits: SpendingLimits = NO_LIMITS,
    transport: httpx.AsyncBaseTransport | None = None,
    watch: Watch | None = None,
    on_interrupt: Callable[[], None] | None = None,
    timer: Clock = time.monotonic,
) -> Carried:
    """Sends the plan. With `on_interrupt`, Ctrl-C and SIGTERM stop the sending and keep what is there; a second one aborts.

    `timer` gives the seconds by which answers are timed.
    """
    budget = CheckBudget(limits)
    start, started = timer(), time.time()
    async with http_client(settings.concurrency, transport, base_url=settings.base_url) as client:
        runner = Runner(
            plan,
            settings,
            client=client,
            budget=budget,
            pricing=pricing,
            recorder=recorder,
            clock=lambda: timer() - start,
            watch=watch,
        )
        with _signals(runner, on_interrupt):
            outcome = await runner.run()
    return Carried(outcome, budget, started)


@contextmanager
def _signals(runner: Runner, on_interrupt: Callable[[], None] | None) -> Iterator[None]:
    if on_interrupt is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def first() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        on_interrupt()
        runner.stop("interrupted", interrupted=True)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, first)
    except (NotImplementedError, RuntimeError, ValueError):
        # No such handlers on this platform, or not in the main thread: the default Ctrl-C stays.
        yield
        return
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(ValueError, RuntimeError):
                loop.remove_signal_handler(number)


def judge_records(
    scopes: Sequence[Scope],
    rules: Sequence[Rule],
    exchanges: Sequence[Exchange],
    bytes_of: BytesOf,
    *,
    not_sent: Mapping[tuple[str, str], Sequence[str]] | None = None,
    strict: bool = False,
    stopped: bool = False,
    started: float | None = None,
    looking: Inspect = inspect,
    live: bool = False,
) -> Conclusion:
    """The verdicts on recorded exchanges. `started`: Unix seconds at which the run's clock stood at 0; `live` as in the run's settings."""
    provider = scopes[0].provider if scopes else None
    scopes = [replace(scope, started=started) for scope in scopes]
    seen = see(provider, exchanges, bytes_of, looking=looking, live=live) if provider is not None else []
    return judge_all(scopes, rules, seen, not_sent=not_sent, strict=strict, stopped=stopped)


def started_of(run: Run) -> float | None:
    """When a recorded run's clock stood at 0, in Unix seconds; None where run.json does not say it."""
    try:
        return datetime.fromisoformat(run.started).timestamp()
    except ValueError:
        return None


def day_of(run: Run) -> date:
    """The day (UTC) on which a run's waivers have to hold: that of the first request, so that judging it again later says the same."""
    return date.fromisoformat(str(run.config.get("day") or run.started[:10]))


def run_config(
    plan: Plan,
    carried: Carried | None,
    *,
    keyless: bool,
    strict: bool,
    model: str | None,
    limits: SpendingLimits,
    concurrency: int,
    live: bool = False,
    waivers: Sequence[WaiverSection] = (),
) -> dict[str, Any]:
    """What run.json keeps of a check: enough to judge it again in the same way."""
    missing = carried.not_sent(plan) if carried is not None else {}
    return {
        "operations": [scope.operation_id for scope in plan.scopes],
        "rules": [rule.id for rule in plan.rules],
        "model": model,
        "no_auth": keyless,
        "strict": strict,
        "live": live,
        "waivers": [one.model_dump(mode="json") for one in waivers if one.provider == plan.provider.id],
        "openapi": openapi_place(plan.provider),
        "concurrency": concurrency,
        "max_requests": limits.max_requests,
        "max_images": limits.max_images,
        "max_cost_usd": limits.max_cost_usd,
        "planned": len(plan.steps),
        "spared": len(carried.outcome.spared) if carried is not None else 0,
        "stopped": carried.outcome.stopped if carried is not None else None,
        "not_sent": [{"operation": operation, "rule": rule, "reasons": reasons} for (operation, rule), reasons in missing.items()],
    }


def judge_again(
    provider: Provider,
    run: RunReader,
    *,
    rules: Sequence[Rule] | None = None,
    operations: Sequence[str] = (),
    strict: bool | None = None,
    waivers: Sequence[WaiverSection] | None = None,
) -> Conclusion:
    """The verdicts on a recorded run, with today's rules; nothing is sent. `UsageError` for a run of another provider or kind.

    What is None or empty is taken from the run, its waivers too; they have to hold on the day of the run.
    """
    record = run.run
    if record.kind != "check" or not record.targets:
        raise UsageError(f"{run.folder} is no run of a check", hint="name a folder that testcard check wrote")
    if record.targets[0].provider != provider.id:
        raise UsageError(f"{run.folder} is a check of {record.targets[0].provider}, not of {provider.id}")
    config = record.config
    recorded = [name for name in config.get("operations", ()) if name in provider.profile.operations]
    chosen = tuple(operations) or tuple(recorded) or tuple(provider.profile.operations)
    model, keyless, seed = config.get("model"), bool(config.get("no_auth")), record.seed or 0
    scopes = [Scope(provider, operation, seed, model, keyless) for operation in chosen]
    known = [RULES[name] for name in config.get("rules", ()) if name in RULES]
    missing = {(entry["operation"], entry["rule"]): entry["reasons"] for entry in config.get("not_sent", ())}
    judging = rules if rules is not None else known or tuple(RULES.values())
    judged = judge_records(
        scopes,
        judging,
        list(run.exchanges()),
        run.bytes_of,
        not_sent=missing,
        strict=bool(config.get("strict")) if strict is None else strict,
        stopped=config.get("stopped") is not None,
        started=started_of(record),
        live=bool(config.get("live")),
    )
    try:
        day = day_of(record)
        if waivers is None:
            waivers = [WaiverSection.model_validate(one) for one in config.get("waivers", ())]
    except (TypeError, ValueError):
        raise UsageError(f"{run.folder}: run.json holds no usable day or waivers", hint="the run was changed by hand") from None
    return waive(judged, waivers, scopes=scopes, rules=[rule.id for rule in judging], on=day)


def openapi_place(provider: Provider) -> str:
    """The contract's file as a person would name it from here: below specs/ for a bundled provider, else relative where it can be."""
    if provider.folder.parent == BUNDLED:
        return f"specs/providers/{provider.id}/openapi.yaml"
    path = provider.folder / "openapi.yaml"
    here = Path.cwd().resolve()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()
