"""`testcard check --replay`: a recorded run judged again, without a request, into a run folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from testcard.harness.check.session import day_of, judge_again, openapi_place
from testcard.harness.cli import say
from testcard.harness.cli.check_result import conclude
from testcard.harness.config import WaiverSection
from testcard.harness.rules.rule import Rule
from testcard.harness.runs.folder import RunReader, RunWriter, default_folder
from testcard.harness.runs.records import Spend
from testcard.specs.loader import Provider


def replay(
    provider: Provider,
    run: RunReader,
    *,
    rules: Sequence[Rule] | None,
    operations: Sequence[str],
    strict: bool | None,
    waivers: Sequence[WaiverSection] | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Judges the run with today's rules and contract, keeps it as a new run, prints the verdicts; the exit code.

    None, or no operations, means what the run itself was made with.
    """
    judged = judge_again(provider, run, rules=rules, operations=operations, strict=strict, waivers=waivers)
    target, before = run.run.targets[0], run.verdicts()
    if target.spec_digest != provider.spec_digest or target.profile_digest != provider.profile_digest:
        say("openapi.yaml or profile.yaml has changed since the run was recorded: judging by what they say now")
    now = msgspec.structs.replace(target, spec_digest=provider.spec_digest, profile_digest=provider.profile_digest)
    config = {
        **run.run.config,
        "strict": judged.strict,
        "openapi": openapi_place(provider),
        "replay_of": run.folder.name,
        "day": day_of(run.run).isoformat(),
    }
    if rules is not None:
        config["rules"] = [rule.id for rule in rules]
    if operations:
        config["operations"] = list(operations)
    if waivers is not None:
        config["waivers"] = [one.model_dump(mode="json") for one in waivers if one.provider == provider.id]
    writer = RunWriter.create(out or default_folder("check"), "check", targets=[now], seed=run.run.seed, config=config)
    exchanges = list(run.exchanges())
    for exchange in exchanges:
        for body in (exchange.request.body, exchange.response.body if exchange.response is not None else None):
            if body is not None and body.sha256 is not None:
                writer.body(run.bytes_of(body))
        writer.append(exchange)
    record = judged.record(provider.id, target.base_url, target.mock, before.spend if before is not None else Spend())
    stopped = run.run.config.get("stopped")
    return conclude(
        writer,
        judged,
        record,
        {one.id: one for one in exchanges},
        target.prices,
        as_json=as_json,
        stopped=str(stopped) if stopped else None,
    )
