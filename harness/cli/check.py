"""`testcard check`: judge whether a target keeps its documented contract."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict, TypeVar, Unpack

import click

from testcard.harness.check.generation.plan import describe
from testcard.harness.check.options import CheckOptions, RejudgeOptions
from testcard.harness.check.rejudge import rejudge
from testcard.harness.check.run import CheckRun, check
from testcard.harness.check.spending.allowance import at_most
from testcard.harness.cli import check_text as present
from testcard.harness.cli import say
from testcard.harness.cli.check_output import CheckOutput
from testcard.harness.config import Config, load_config, load_waivers
from testcard.harness.errors import Exit
from testcard.harness.events import Event
from testcard.harness.runs.folder import RunReader
from testcard.specs.loader import load_provider

_Value = TypeVar("_Value")


class Flags(TypedDict):
    """The flags as click hands them over; None and empty where they were not given."""

    base_url: str | None
    operations: tuple[str, ...]
    model: str | None
    rules: tuple[str, ...]
    seed: int | None
    concurrency: int | None
    no_auth: bool
    max_requests: int | None
    max_images: int | None
    max_cost: float | None
    strict: bool | None
    live: bool
    only_plan: bool
    rejudged: Path | None
    replayed: Path | None
    waivers: Path | None
    out: Path | None
    api_key_file: Path | None
    config_file: Path | None
    as_json: bool


@click.command("check")
@click.argument("provider")
@click.option("--base-url", default=None, help="Where the target is. Without it: a mock on this machine.")
@click.option("--operation", "operations", multiple=True, metavar="ID", help="Check only this operation (repeatable).")
@click.option("--model", default=None, help="The model that requests ask for. Default: the cheapest documented one.")
@click.option("--rule", "rules", multiple=True, metavar="GLOB", help="Judge only rules that match (repeatable).")
@click.option("--seed", type=int, default=None, help="Same seed, same requests. Default: 0.")
@click.option(
    "--concurrency", type=click.IntRange(1, 256), default=None, help="Requests at a time. Default: 8 on this machine, 1 elsewhere."
)
@click.option("--no-auth", is_flag=True, help="Send no key: the target needs none.")
@click.option("--max-requests", type=click.IntRange(0), default=None, help="Never send more requests than this.")
@click.option("--max-images", type=click.IntRange(0), default=None, help="Never be billed for more pictures than this.")
@click.option("--max-cost", type=click.FloatRange(0), default=None, metavar="USD", help="Never spend more than this.")
@click.option("--strict", is_flag=True, default=None, help="Let broken shoulds fail as well.")
@click.option("--live", is_flag=True, help="Allow a target that is not on this machine, and answers that lead off it.")
@click.option("--plan", "only_plan", is_flag=True, help="Print what would be sent, why, and its price; send nothing.")
@click.option(
    "--rejudge",
    "rejudged",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Judge a recorded run again with today's rules; send nothing.",
)
@click.option("--replay", "replayed", type=click.Path(path_type=Path), metavar="RUN", hidden=True)
@click.option(
    "--waivers",
    type=click.Path(path_type=Path),
    default=None,
    metavar="FILE",
    help="Read [[waiver]] entries from this file instead of from testcard.toml.",
)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="Folder for the run (new). Default: testcard-runs/check-<time>.")
@click.option("--api-key-file", type=click.Path(path_type=Path), default=None, help="Read the key from this file.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), default=None, help="Read defaults from this testcard.toml.")
@click.option("--json", "as_json", is_flag=True, help="Print verdicts.json (with --plan: the plan) instead of a table.")
def command(provider: str, **flags: Unpack[Flags]) -> int:
    """Judge whether PROVIDER (an id, or a folder with openapi.yaml and profile.yaml) keeps its documented contract.

    Exits with 0 when every must is kept, 1 when one is broken, 5 when some could not be judged.
    """
    config = load_config(flags["config_file"])
    recorded = flags["rejudged"] or flags["replayed"]
    if recorded is not None:
        if flags["rejudged"] is None:
            say("--replay is called --rejudge now: it judges again and sends nothing (testcard replay sends an exchange again)")
        return _rejudged(rejudge_options(provider, recorded, flags, config), as_json=flags["as_json"])
    run = check(check_options(provider, flags, config))
    if flags["only_plan"]:
        return _show_plan(run, flags["as_json"])
    with run:
        return _shown(run.provider.id, run, as_json=flags["as_json"])


def check_options(provider: str, flags: Flags, config: Config) -> CheckOptions:
    """What the flags and testcard.toml ask for together; flags win."""
    defaults = config.check
    return CheckOptions(
        provider=provider,
        base_url=flags["base_url"],
        operations=flags["operations"],
        model=flags["model"],
        rules=flags["rules"],
        seed=_first(flags["seed"], defaults.seed) or 0,
        concurrency=_first(flags["concurrency"], defaults.concurrency),
        no_auth=flags["no_auth"],
        max_requests=_first(flags["max_requests"], defaults.max_requests),
        max_images=_first(flags["max_images"], defaults.max_images),
        max_cost_usd=_first(flags["max_cost"], defaults.max_cost),
        strict=bool(flags["strict"]) or defaults.strict,
        live=flags["live"],
        waivers=load_waivers(flags["waivers"]) if flags["waivers"] is not None else config.waiver,
        out=flags["out"] if not flags["only_plan"] else None,
        key_file=flags["api_key_file"],
        search=config.providers.path,
        prices=config.prices,
    )


def rejudge_options(provider: str, recorded: Path, flags: Flags, config: Config) -> RejudgeOptions:
    """What the flags and testcard.toml ask for where a recorded run is judged again."""
    waivers = load_waivers(flags["waivers"]) if flags["waivers"] is not None else config.waiver or None
    return RejudgeOptions(
        provider=provider,
        run=recorded,
        operations=flags["operations"],
        rules=flags["rules"],
        strict=True if flags["strict"] or config.check.strict else None,
        waivers=waivers,
        out=flags["out"],
        search=config.providers.path,
    )


def _first(*given: _Value | None) -> _Value | None:
    """The first that was given."""
    return next((one for one in given if one is not None), None)


def _shown(provider: str, events: Iterable[Event], *, as_json: bool) -> int:
    with CheckOutput(provider, as_json=as_json) as output:
        for event in events:
            output(event)
    return output.exit_code


def _rejudged(options: RejudgeOptions, *, as_json: bool) -> int:
    before = RunReader(options.run).run.targets
    provider = load_provider(options.provider, options.search)
    changed = any((one.spec_digest, one.profile_digest) != (provider.spec_digest, provider.profile_digest) for one in before[:1])
    if changed and before[0].provider == provider.id:
        say("openapi.yaml or profile.yaml has changed since the run was recorded: judging by what they say now")
    return _shown(provider.id, rejudge(options), as_json=as_json)


def _show_plan(run: CheckRun, as_json: bool) -> int:
    plan, limits = run.plan, run.options.limits
    if as_json:
        most = at_most(plan.steps, limits)
        record = {"steps": describe(plan), "images": most.images, "cost_usd": most.cost_usd, "prices": run.prices}
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        for line in present.plan_lines(plan, run.prices, limits):
            click.echo(line)
    return Exit.PASS
