"""`rejudge(options)`: a recorded check judged again, with today's rules and contract, into a run folder of its own; nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from testcard.harness.check.generation.plan import choose_operations, choose_rules
from testcard.harness.check.judging.levels import Unsent
from testcard.harness.check.judging.verdicts import Conclusion, judge_records
from testcard.harness.check.judging.waivers import waive
from testcard.harness.check.options import RejudgeOptions
from testcard.harness.check.running.target_health import INTERRUPTED
from testcard.harness.check.sealing import day_of, openapi_place, sealed, started_of
from testcard.harness.config import WaiverSection
from testcard.harness.errors import UsageError
from testcard.harness.events import Event, Noted
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.rule import Rule
from testcard.harness.rules.scope import Scope
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder, require_free
from testcard.harness.runs.reading import CHANGED
from testcard.harness.runs.records import Exchange, Level, Spend, Verdicts
from testcard.harness.stops import sentence
from testcard.specs.loader import Provider, load_provider


def rejudge(options: RejudgeOptions) -> Iterator[Event]:
    """The verdicts on a recorded run as events, from `Judged` to `Finished`, with what is to be noted before; the new run holds the same evidence.

    `UsageError` for a run of another provider, or of no check.
    """
    provider = load_provider(options.provider, options.search)
    rules = choose_rules(options.rules) if options.rules else None
    operations = choose_operations(provider, options.operations, None) if options.operations else ()
    if options.out is not None:
        require_free(options.out)
    run = RunReader(options.run)
    conclusion = judge_again(provider, run, rules=rules, operations=operations, strict=options.strict, waivers=options.waivers)
    target, before = run.run.targets[0], run.verdicts()
    now = msgspec.structs.replace(target, spec_digest=provider.spec_digest, profile_digest=provider.profile_digest)
    why = _stopped(run)
    config: dict[str, Any] = {
        **run.run.config,
        "strict": conclusion.strict,
        "openapi": openapi_place(provider),
        "replay_of": run.folder.name,
        "day": day_of(run.run).isoformat(),
        "stopped": why,
    }
    if rules is not None:
        config["rules"] = [rule.id for rule in rules]
    if operations:
        config["operations"] = list(operations)
    if options.waivers is not None:
        config["waivers"] = [one.model_dump(mode="json") for one in options.waivers if one.provider == provider.id]
    writer = RunWriter.create(options.out or default_folder("check"), "check", targets=[now], seed=run.run.seed, config=config)
    exchanges = list(run.exchanges())
    _copy(run, exchanges, writer)
    if conclusion.told_left_out is not None:
        yield Noted(sentence=conclusion.told_left_out)
    yield from sealed(writer, conclusion, now, before.spend if before is not None else _spent(exchanges), reason=why, stops=run.run.stops)


def judge_again(
    provider: Provider,
    run: RunReader,
    *,
    rules: Sequence[Rule] | None = None,
    operations: Sequence[str] = (),
    strict: bool | None = None,
    waivers: Sequence[WaiverSection] | None = None,
) -> Conclusion:
    """The verdicts on a recorded run, with today's rules. `UsageError` for a run of another provider or kind.

    What is None or empty is taken from the run, its waivers too; they have to hold on the day of the run.
    """
    record = run.run
    if record.kind != "check" or not record.targets:
        raise UsageError(f"{run.folder} is no run of a check", hint="name a folder that testcard check wrote")
    if record.targets[0].provider != provider.id:
        raise UsageError(f"{run.folder} is a check of {record.targets[0].provider}, not of {provider.id}")
    config = record.config
    provider = provider.for_model(config.get("model") if isinstance(config.get("model"), str) else None)
    try:
        msgspec.convert(config, _CheckConfig)
    except msgspec.ValidationError as error:
        raise UsageError(f"{run.folder / 'run.json'}: config: {error}", hint=CHANGED) from None
    recorded = [name for name in config.get("operations", ()) if name in provider.profile.operations]
    chosen = tuple(operations) or tuple(recorded) or tuple(provider.profile.operations)
    model, keyless, seed = config.get("model"), bool(config.get("no_auth")), record.seed or 0
    scopes = [Scope(provider, operation, seed, model, keyless) for operation in chosen]
    known = [RULES[name] for name in config.get("rules", ()) if name in RULES]
    missing = {(entry["operation"], entry["rule"]): _unsent(entry) for entry in config.get("not_sent", ())}
    judging = rules if rules is not None else known or tuple(RULES.values())
    conclusion = judge_records(
        scopes,
        judging,
        list(run.exchanges()),
        run.bytes_of,
        not_sent=missing,
        strict=bool(config.get("strict")) if strict is None else strict,
        stopped=_stopped(run) is not None,
        started=started_of(record),
        live=bool(config.get("live")),
    )
    try:
        day = day_of(record)
        if waivers is None:
            waivers = [WaiverSection.model_validate(one) for one in config.get("waivers", ())]
    except (TypeError, ValueError):
        raise UsageError(f"{run.folder}: run.json holds no usable day or waivers", hint="the run was changed by hand") from None
    return waive(conclusion, waivers, scopes=scopes, rules=[rule.id for rule in judging], on=day)


class _NotSent(msgspec.Struct, frozen=True):
    operation: str
    rule: str
    reasons: list[str]
    levels: list[Level] | None = None

    def __post_init__(self) -> None:
        """`ValueError` where not each reason has its level."""
        if self.levels and len(self.levels) != len(self.reasons):
            raise ValueError("it holds not as many levels as reasons")


class _CheckConfig(msgspec.Struct, frozen=True):
    """What of a recorded check's config is used when it is judged again."""

    operations: list[str] = []
    rules: list[str] = []
    model: str | None = None
    no_auth: bool = False
    strict: bool = False
    live: bool = False
    not_sent: list[_NotSent] = []
    waivers: list[dict[str, Any]] = []


def _unsent(entry: Mapping[str, Any]) -> list[Unsent]:
    """A recorded rule's requests that were not sent; runs of before did not say at which level they count."""
    reasons = entry["reasons"]
    return [Unsent(reason, level) for reason, level in zip(reasons, entry.get("levels") or ["must"] * len(reasons), strict=True)]


def recovered_verdicts(provider: Provider, run: RunReader) -> Verdicts:
    """The verdicts on a check that was cut short before it wrote them, by what is recorded; nothing is written."""
    target = run.run.targets[0] if run.run.targets else None
    conclusion = judge_again(provider, run)
    assert target is not None, "judge_again refuses a run without a target"
    return conclusion.record(target.provider, target.base_url, target.mock, _spent(list(run.exchanges())))


def _stopped(run: RunReader) -> str | None:
    """Why the recorded run sent nothing more. One that never came to its verdicts counts as interrupted: it says nothing of what it did not come to send."""
    why = run.run.config.get("stopped")
    if why is not None:
        return str(why)
    return sentence(INTERRUPTED) if not run.is_whole and run.path("verdicts") is None else None


def _spent(exchanges: Sequence[Exchange]) -> Spend:
    """What the recorded answers cost, where the run did not come to say it; what was under way when it was killed, nobody knows."""
    billed = [one for one in exchanges if one.billed]
    costs = [one.cost_usd for one in billed]
    known = [cost for cost in costs if cost is not None]
    total = round(sum(known), 9) if len(known) == len(costs) else None
    fetched = sum(one.source == "fetch" for one in exchanges)
    return Spend(
        requests=len(exchanges), billed_requests=len(billed), images=sum(one.images for one in billed), cost_usd=total, downloads=fetched
    )


def _copy(run: RunReader, exchanges: Sequence[Exchange], writer: RunWriter) -> None:
    """The evidence, into the new run."""
    for exchange in exchanges:
        for body in (exchange.request.body, exchange.response.body if exchange.response is not None else None):
            if body is not None and body.sha256 is not None:
                writer.body(run.bytes_of(body))
        writer.append(exchange)
