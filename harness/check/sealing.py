"""The end of a check, whether it was sent just now or judged again: what run.json keeps of it, its verdicts, and its outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

from testcard.harness.check.generation.plan import Plan
from testcard.harness.check.judging.verdicts import Conclusion
from testcard.harness.check.options import CheckOptions
from testcard.harness.check.running.runner import Carried
from testcard.harness.errors import Exit, worst
from testcard.harness.events import Event, Finished, Judged
from testcard.harness.runs.folder import RunWriter
from testcard.harness.runs.records import Outcome, Run, Spend, TargetRecord
from testcard.harness.stops import Stop, StopReason, sentence
from testcard.specs.loader import BUNDLED, PUBLIC, Provider


def run_config(options: CheckOptions, plan: Plan, concurrency: int, carried: Carried | None = None) -> dict[str, Any]:
    """What run.json keeps of a check: enough to judge it again in the same way."""
    missing = carried.not_sent(plan) if carried is not None else {}
    stopped = carried.outcome.stopped if carried is not None else None
    return {
        "operations": [scope.operation_id for scope in plan.scopes],
        "rules": [rule.id for rule in plan.rules],
        "model": options.model,
        "no_auth": options.no_auth,
        "strict": options.strict,
        "live": options.live,
        "waivers": [one.model_dump(mode="json") for one in options.waivers if one.provider == plan.provider.id],
        "openapi": openapi_place(plan.provider),
        "concurrency": concurrency,
        "max_requests": options.max_requests,
        "max_images": options.max_images,
        "max_downloads": options.max_downloads,
        "max_cost_usd": options.max_cost_usd,
        "planned": len(plan.steps),
        "spared": len(carried.outcome.spared) if carried is not None else 0,
        "stopped": sentence(stopped) if stopped is not None else None,
        "not_sent": [
            {"operation": operation, "rule": rule, "reasons": [one.reason for one in unsent], "levels": [one.level for one in unsent]}
            for (operation, rule), unsent in missing.items()
        ],
    }


def sealed(
    writer: RunWriter,
    conclusion: Conclusion,
    target: TargetRecord,
    spend: Spend,
    *,
    stop: Stop | None = None,
    reason: str | None = None,
    planned: int = 0,
    not_sent: Sequence[Stop] = (),
    stops: Sequence[Stop] = (),
) -> Iterator[Event]:
    """Writes verdicts.json and seals the run; gives a `Judged` for each verdict, then `Finished`.

    `stop` says why the run was stopped, and `not_sent` why each request that was left out was. `reason`: the sentence that run.json keeps,
    where it is not that of the stop; `stops`: those of a recorded run.
    """
    interrupted = stop is not None and stop.reason is StopReason.INTERRUPTED
    record = conclusion.record(target.provider, target.base_url, target.mock, spend)
    code = worst([*conclusion.exit_codes, *([Exit.INTERRUPTED] if interrupted else [])])
    outcome: Outcome = "interrupted" if interrupted else "error" if conclusion.errors else conclusion.outcome
    reason = reason or (sentence(stop) if stop is not None else reason_of(conclusion))
    writer.write("verdicts", "verdicts.json", record)
    open_reasons = tuple({(one.reason, one.target): one for one in not_sent}.values())
    writer.finish(
        outcome, code, reason, list({(one.reason, one.target): one for one in (*([stop] if stop else []), *open_reasons, *stops)}.values())
    )
    for verdict in conclusion.verdicts:
        yield Judged(verdict=verdict)
    yield Finished(
        outcome=outcome,
        exit_code=code,
        folder=writer.folder,
        spend=spend,
        reason=reason,
        stop=stop,
        prices=target.prices,
        planned=planned,
        not_sent=len(not_sent),
        stops=open_reasons,
        verdicts=record,
    )


def reason_of(conclusion: Conclusion) -> str | None:
    """Why the run is no pass, where a sentence can say it that is no verdict."""
    if conclusion.errors:
        first = conclusion.errors[0]
        return f"{first.what} raised {first.message}" + (f" on exchange {first.exchanges[0]}" if first.exchanges else "")
    expired = [note for note in conclusion.waivers if note.state == "expired" and note.findings]
    if expired:
        return f"the waiver of {expired[0].rule} {expired[0].detail}"
    return "nothing was judged: whatever was asked for is unsupported" if conclusion.empty else None


def started_of(run: Run) -> float | None:
    """When a recorded run's clock stood at 0, in Unix seconds; None where run.json does not say it."""
    try:
        return datetime.fromisoformat(run.started).timestamp()
    except ValueError:
        return None


def day_of(run: Run) -> date:
    """The day (UTC) on which a run's waivers have to hold: that of the first request, so that judging it again later says the same."""
    return date.fromisoformat(str(run.config.get("day") or run.started[:10]))


def openapi_place(provider: Provider) -> str:
    """The contract's file as a person would name it from here: below specs/ for a bundled provider, else relative where it can be."""
    if provider.folder.parent in (BUNDLED, PUBLIC):
        return f"specs/{provider.folder.parent.name}/{provider.id}/openapi.yaml"
    path = provider.openapi.source.path
    here = Path.cwd().resolve()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()
