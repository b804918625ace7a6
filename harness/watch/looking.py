"""One look at a target: a cheap check of everything that few requests can show, or a probe, which is one request and how long it took.

Both are checks like any other, with a run folder each, so that a finding of a watch can be judged and shown like every other one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from testcard.harness.check.generation.plan import Plan, PlanStep, choose_rules, make_plan
from testcard.harness.check.options import CheckOptions
from testcard.harness.check.run import CheckRun
from testcard.harness.check.spending.allowance import at_most
from testcard.harness.errors import TargetUnreachable, TestcardError
from testcard.harness.events import Finished, Spent
from testcard.harness.pricing import Pricing
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Spend, Verdict
from testcard.harness.stops import StopReason
from testcard.harness.targets import answers, is_loopback
from testcard.specs.loader import load_provider

LookKind = Literal["check", "probe"]
#: pass, fail (a must is broken), inconclusive, unreachable (nothing answered, or the key was refused), error (of ours)
WatchWord = Literal["pass", "fail", "inconclusive", "unreachable", "error"]
#: Requests that must be refused, and that a rule may ask for beside the base requests and still count as cheap.
_MOST_REFUSED = 4
#: What a probe is judged by: that there is a whole answer, and what is in it.
PROBE_RULES = ("http.answered", "http.no-server-error", "http.status-documented", "http.body-complete", "schema.response", "image.decodes")
#: Polls and downloads that one request of a look may lead to.
_FURTHER = 4


class WatchLook(msgspec.Struct, frozen=True, kw_only=True):
    """One line of history.jsonl: what a look found. `at`: UTC, ISO 8601. `broken`: rule and operation of each broken must.

    `latency_s`: of a probe that was answered, from sending to the whole answer.
    """

    at: str
    target: str
    kind: LookKind
    word: WatchWord
    reason: str | None = None
    broken: list[tuple[str, str]] = []
    deviating: int = 0
    latency_s: float | None = None
    spend: Spend = Spend()
    run: str | None = None


@dataclass(frozen=True, slots=True)
class Watched:
    """A target of a watch: its name in metrics and history, and how it is checked (limits and folder are set for each look)."""

    name: str
    options: CheckOptions


@dataclass(frozen=True, slots=True)
class PlannedLook:
    """A look that has been planned: what it asks for, and the most that it can cost. `cost_usd` None: a price is not known."""

    kind: LookKind
    options: CheckOptions
    requests: int
    cost_usd: float | None


def prepare(watched: Watched, kind: LookKind, *, mock: bool | None = None) -> PlannedLook:
    """What a look would send, without sending it. `UsageError` for options that cannot be carried out.

    `mock`: whether the target is one of ours, so that made-up prices count; None: it is taken for one where it is on this machine.
    """
    options = watched.options
    provider = load_provider(options.provider, options.search)
    if kind == "probe":
        known = {rule.id for rule in choose_rules(())}
        operation = options.operations[:1] or (next(iter(provider.profile.tasks.values())).operation,)
        options = replace(options, operations=operation, rules=tuple(rule for rule in PROBE_RULES if rule in known))
    else:
        named = tuple(dict.fromkeys(default.operation for default in provider.profile.tasks.values()))
        options = replace(options, operations=options.operations or named)
        options = replace(options, rules=options.rules or cheap_rules(options))
    run = CheckRun(options)
    plan = run.plan if mock is None else run.plan_at(mock=mock)
    if kind == "probe":
        first = plan.steps[0]
        further = _further(plan, first)
        requests, cost = 1 + further, first.cost_usd if first.billed else 0.0
        if further:  # a second request would fit among the further ones, but not its pictures
            options = replace(options, max_images=first.images)
    else:
        most = at_most(plan.steps, options.limits)
        requests, cost = sum(1 + _further(plan, step) for step in plan.steps), most.cost_usd
    return PlannedLook(kind, options, requests, cost)


def _further(plan: Plan, step: PlanStep) -> int:
    """Requests that a step's answer may lead to by itself: polls of a task, the download of a picture that comes as an address."""
    profile = plan.provider.operation_profile(step.operation)
    protocol = plan.provider.protocol(step.operation)
    leads_on = (protocol is not None and protocol.flag is None and profile.kind != "task") or profile.response.default_delivery == "url"
    return _FURTHER if leads_on and step.expects in ("accept", "may-refuse") else 0


def cheap_rules(options: CheckOptions) -> tuple[str, ...]:
    """The rules that a base request of each task shows, with at most four requests beside it, which a server refuses."""
    provider = load_provider(options.provider, options.search)
    operations = options.operations
    plan = make_plan(
        provider, Pricing(provider, True), rules=choose_rules(()), operations=operations, model=options.model, keyless=options.no_auth
    )
    further: dict[str, int] = {}
    costly: set[str] = set()
    for step in plan.steps:
        for rule in step.rules:
            further.setdefault(rule, 0)
            if step.probe.endswith("/base"):
                continue
            further[rule] += 1
            if step.expects not in ("refuse", "unauthorised"):
                costly.add(rule)
    return tuple(rule for rule, count in further.items() if rule not in costly and count <= _MOST_REFUSED * len(operations))


def look(
    watched: Watched,
    prepared: PlannedLook,
    *,
    requests: int,
    cost_usd: float | None,
    folder: Path,
    at: str,
    started: Callable[[CheckRun], None],
) -> WatchLook:
    """Carries a prepared look out within these limits; never raises for what a target or a network does. `started` gets the run, to stop it.

    One that is aborted while it judges found nothing: its folder is sealed, and `check --rejudge` judges it.
    """
    options = replace(prepared.options, max_requests=requests, max_cost_usd=cost_usd, out=folder, signals=False)
    if prepared.kind == "probe":
        options = replace(options, concurrency=1)
    spend, word, interrupted = Spend(), "error", False
    reason: str | None = None
    verdicts: list[Verdict] = []
    found: list[Verdict] = []
    run: CheckRun | None = None
    try:
        with CheckRun(options) as run:
            started(run)
            for event in run:
                if isinstance(event, Spent | Finished):
                    spend = event.spend
            done = run.finished
            assert done is not None
            word = {"pass": "pass", "fail": "fail"}.get(done.outcome, "inconclusive")
            reason = done.reason
            interrupted = done.stop is not None and done.stop.reason is StopReason.INTERRUPTED
            verdicts = done.verdicts.verdicts if done.verdicts is not None else []
            found = [one for one in verdicts if one.verdict == "fail"]
            if done.exit_code == 3:
                word = "unreachable"
    except TestcardError as error:
        url = str(options.base_url)
        word, reason = ("unreachable" if error.exit_code == TargetUnreachable.exit_code else "error"), error.message
        if word == "error" and is_loopback(url) and not answers(url):  # of a mock that is down, say, that it has no price comes first
            word, reason = "unreachable", f"nothing answers at {url}"
    except KeyboardInterrupt:
        if run is None or not run.is_aborted:
            raise
        word, reason, interrupted = "inconclusive", "interrupted", True
    latency = None
    if prepared.kind == "probe":
        latency = _latency(folder)
        if word == "inconclusive" and not interrupted:  # a rule that one request cannot decide says nothing about a probe
            word, reason = ("pass", None) if latency is not None else ("unreachable", reason or "no answer")
    return WatchLook(
        at=at,
        target=watched.name,
        kind=prepared.kind,
        word=word,  # type: ignore[arg-type] # built from the words above
        reason=reason,
        broken=[(one.rule, one.operation) for one in found],
        deviating=sum(one.verdict == "deviates" for one in verdicts),
        latency_s=latency,
        spend=spend,
        run=folder.name if folder.is_dir() else None,
    )


def _latency(folder: Path) -> float | None:
    """How long the probe's request took; None where no answer came."""
    try:
        first = next((one for one in RunReader(folder).exchanges() if one.source in ("probe", "schema-case")), None)
    except TestcardError:
        return None
    return first.done_s - first.sent_s if first is not None and first.response is not None else None


def describe(looks: Sequence[PlannedLook]) -> tuple[int, float | None]:
    """Requests and US dollars that one round of these looks costs at most; None where a price is not known."""
    costs = [one.cost_usd for one in looks]
    known = [one for one in costs if one is not None]
    return sum(one.requests for one in looks), sum(known) if len(known) == len(costs) else None
