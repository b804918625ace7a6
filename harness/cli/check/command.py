"""`testcard check`: judge whether a target keeps its documented contract."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

import click

from testcard.harness.check.generation.plan import describe
from testcard.harness.check.options import CheckOptions, RejudgeOptions
from testcard.harness.check.rejudge import rejudge
from testcard.harness.check.run import CheckRun, check
from testcard.harness.check.spending.allowance import at_most, forecast
from testcard.harness.cli import say
from testcard.harness.cli.check import text as present
from testcard.harness.cli.check.output import CheckOutput
from testcard.harness.cli.options import (
    MODEL,
    OPERATION,
    PATH,
    PROVIDER,
    RULE,
    SECONDS,
    USD,
    Duration,
    WhereAndKey,
    config_option,
    json_option,
    limit_option,
    option,
    takes,
)
from testcard.harness.config import Config, load_config, load_waivers, providers_of
from testcard.harness.errors import Exit, UsageError
from testcard.harness.events import Event
from testcard.harness.runs.folder import RunReader
from testcard.harness.targets import checked_base_url, named_target, require_live, wait_until_ready
from testcard.specs.loader import load_provider

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class CheckFlags:
    """What is asked of the target, how much of it may be spent, and what becomes of the result; None and empty: not given."""

    operations: Annotated[
        tuple[str, ...], option("--operation", type=OPERATION, multiple=True, metavar="ID", help="Check only this operation (repeatable).")
    ] = ()
    model: Annotated[
        str | None, option("--model", type=MODEL, help="The model that requests ask for. Default: the cheapest documented one.")
    ] = None
    rules: Annotated[
        tuple[str, ...], option("--rule", type=RULE, multiple=True, metavar="GLOB", help="Judge only rules that match (repeatable).")
    ] = ()
    seed: Annotated[int | None, option("--seed", type=int, help="Same seed, same requests. Default: 0.")] = None
    concurrency: Annotated[
        int | None,
        option("--concurrency", type=click.IntRange(1, 256), help="Requests at a time. Default: 8 on this machine, 1 elsewhere."),
    ] = None
    max_requests: Annotated[int | None, option("--max-requests", type=click.IntRange(0), help="Never send more requests than this.")] = None
    max_images: Annotated[
        int | None, option("--max-images", type=click.IntRange(0), help="Never be billed for more pictures than this.")
    ] = None
    max_downloads: Annotated[
        int | None,
        option(
            "--max-downloads",
            type=click.IntRange(0),
            help="Never fetch pictures behind addresses more often than this, redirects included.",
        ),
    ] = None
    max_cost: Annotated[float | None, option("--max-cost", type=USD, metavar="USD", help="Never spend more than this.")] = None
    wait_s: Annotated[
        float | None,
        option("--wait-for", type=Duration(), metavar="T", help="Wait so long (60s, 2m) for a server that is starting."),
    ] = None
    timeout_s: Annotated[
        float | None,
        option(
            "--timeout",
            type=SECONDS,
            metavar="S",
            help="Seconds that an answer is waited for; once one has not come, a few times what the others took. Default: 330.",
        ),
    ] = None
    max_time_s: Annotated[
        float | None,
        option(
            "--max-time",
            type=Duration(),
            metavar="T",
            help="Send for so long at most (90s, 15m), then judge what is there. Default: 15m; with --live 60m.",
        ),
    ] = None
    strict: Annotated[bool, option("--strict", is_flag=True, help="Let broken shoulds fail as well.")] = False
    quiet: Annotated[
        bool, option("--quiet", is_flag=True, help="No progress and no talk; of the result only what is broken, and the summary.")
    ] = False
    only_plan: Annotated[bool, option("--plan", is_flag=True, help="Print what would be sent, why, and its price; send nothing.")] = False
    rejudged: Annotated[
        Path | None,
        option("--rejudge", type=PATH, metavar="RUN", help="Judge a recorded run again with today's rules; send nothing."),
    ] = None
    replayed: Annotated[Path | None, option("--replay", type=PATH, metavar="RUN", hidden=True)] = None
    waivers: Annotated[
        Path | None,
        option("--waivers", type=PATH, metavar="FILE", help="Read [[waiver]] entries from this file instead of from testcard.toml."),
    ] = None
    out: Annotated[
        Path | None, option("--out", type=PATH, metavar="DIR", help="Folder for the run (new). Default: testcard-runs/check-<time>.")
    ] = None


@click.command("check")
@click.argument("provider", type=PROVIDER, metavar="PROVIDER[=URL]", required=False)
@takes("where", WhereAndKey)
@takes("flags", CheckFlags)
@config_option
@limit_option
@json_option("verdicts.json (with --plan: the plan)")
def command(provider: str | None, where: WhereAndKey, flags: CheckFlags, config_file: Path | None, as_json: bool) -> int:
    """Judge whether PROVIDER (an id, or a folder with a document and profile.yaml) keeps its documented contract.

    Without a URL it is asked of a mock on this machine; without PROVIDER, of the one target in testcard.toml.
    Exits with 0 when every must is kept, 1 when one is broken, 5 when some could not be judged.

    Example: testcard check nanogpt=http://127.0.0.1:8000 --wait-for 60s
    """
    _free_large_blocks()
    config = load_config(config_file)
    recorded = flags.rejudged or flags.replayed
    if provider is None and recorded is not None:
        provider = _recorded_provider(recorded)
    provider, where, flags, key_env = _target(provider, where, flags, config)
    if recorded is not None:
        if flags.rejudged is None:
            say("--replay is called --rejudge now: it judges again and sends nothing (testcard replay sends an exchange again)")
        return _rejudged(rejudge_options(provider, recorded, flags, config), as_json=as_json, quiet=flags.quiet)
    run = check(replace(check_options(provider, where, flags, config), key_env=key_env))
    if flags.only_plan:
        return _show_plan(run, as_json)
    if flags.wait_s is not None and where.base_url is not None:
        require_live(checked_base_url(where.base_url), where.live, bounded=run.options.bounded)
        wait_until_ready(checked_base_url(where.base_url), flags.wait_s)
    with run:
        return _shown(run.provider.id, run, as_json=as_json, quiet=flags.quiet)


#: glibc's name for the size from which on a block of memory is given back to the system once it is free.
_M_MMAP_THRESHOLD = -3


def _free_large_blocks() -> None:
    """Lets glibc give each block above 1 MB back once it is free: by itself it keeps blocks of up to 32 MB, where nothing else fits in later."""
    with suppress(OSError, AttributeError):  # another C library: more memory, and no other difference
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _target(provider: str | None, where: WhereAndKey, flags: CheckFlags, config: Config) -> tuple[str, WhereAndKey, CheckFlags, str | None]:
    """What is checked: the argument's target, else the only one of testcard.toml, with what that says of it; flags win."""
    if provider is not None:
        name, url = named_target(provider)
        if url is not None and where.base_url is not None:
            raise UsageError("the base URL is given twice", hint=f"leave --base-url out, or write {name} alone")
        return name, replace(where, base_url=url or where.base_url), flags, None
    if len(config.target) != 1:
        known = " or ".join(f"testcard check {one.provider}" + (f"={one.base_url}" if one.base_url else "") for one in config.target)
        hint = known or "for instance: testcard check nanogpt=http://127.0.0.1:8000; testcard providers lists what there is"
        raise UsageError("testcard.toml names several targets" if config.target else "no target is named", hint=hint)
    providers_of(config)  # what is wrong there is told with its line
    (section,) = config.target
    where = replace(where, base_url=where.base_url or section.base_url, live=where.live or section.live)
    model = flags.model or next(iter(section.models), None)
    return section.provider, where, replace(flags, model=model, operations=flags.operations or section.operations), section.key_env


def _recorded_provider(recorded: Path) -> str | None:
    """The provider that a recorded check is of; None where its folder names none."""
    return next((one.provider for one in RunReader(recorded).run.targets), None)


def check_options(provider: str, where: WhereAndKey, flags: CheckFlags, config: Config) -> CheckOptions:
    """What the flags and testcard.toml ask for together; flags win."""
    defaults = config.check
    return CheckOptions(
        provider=provider,
        base_url=where.base_url,
        operations=flags.operations,
        model=flags.model,
        rules=flags.rules,
        seed=_first(flags.seed, defaults.seed) or 0,
        concurrency=_first(flags.concurrency, defaults.concurrency),
        no_auth=where.no_auth,
        timeout_s=_first(flags.timeout_s, defaults.timeout),
        max_time_s=_first(flags.max_time_s, defaults.max_time),
        max_requests=_first(flags.max_requests, defaults.max_requests),
        max_images=_first(flags.max_images, defaults.max_images),
        max_downloads=_first(flags.max_downloads, defaults.max_downloads),
        max_cost_usd=_first(flags.max_cost, defaults.max_cost),
        strict=flags.strict or defaults.strict,
        live=where.live,
        waivers=load_waivers(flags.waivers) if flags.waivers is not None else config.waiver,
        out=flags.out if not flags.only_plan else None,
        key_file=where.api_key_file,
        search=config.providers.path,
        prices=config.prices,
    )


def rejudge_options(provider: str, recorded: Path, flags: CheckFlags, config: Config) -> RejudgeOptions:
    """What the flags and testcard.toml ask for where a recorded run is judged again."""
    waivers = load_waivers(flags.waivers) if flags.waivers is not None else config.waiver or None
    return RejudgeOptions(
        provider=provider,
        run=recorded,
        operations=flags.operations,
        rules=flags.rules,
        strict=True if flags.strict or config.check.strict else None,
        waivers=waivers,
        out=flags.out,
        search=config.providers.path,
    )


def _first(*given: _Value | None) -> _Value | None:
    """The first that was given."""
    return next((one for one in given if one is not None), None)


def _shown(provider: str, events: Iterable[Event], *, as_json: bool, quiet: bool) -> int:
    with CheckOutput(provider, as_json=as_json, quiet=quiet) as output:
        for event in events:
            output(event)
    return output.exit_code


def _rejudged(options: RejudgeOptions, *, as_json: bool, quiet: bool) -> int:
    before = RunReader(options.run).run.targets
    provider = load_provider(options.provider, options.search)
    changed = any((one.spec_digest, one.profile_digest) != (provider.spec_digest, provider.profile_digest) for one in before[:1])
    if changed and before[0].provider == provider.id:
        say("openapi.yaml or profile.yaml has changed since the run was recorded: judging by what they say now")
    return _shown(provider.id, rejudge(options), as_json=as_json, quiet=quiet)


def _show_plan(run: CheckRun, as_json: bool) -> int:
    plan, limits = run.plan, run.options.limits
    if as_json:
        most = at_most(plan.steps, limits)
        fits = forecast(plan, limits)
        record = {
            "steps": describe(plan),
            "images": most.images,
            "cost_usd": most.cost_usd,
            "prices": run.prices,
            "fits": fits.fitting,
            "not_run": [asdict(one) for one in fits.rules],
            "exit_code_if_all_goes_well": Exit.INCONCLUSIVE if fits.leaves_must_open else Exit.PASS,
        }
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        for line in present.plan_lines(plan, run.prices, limits):
            click.echo(line)
    return Exit.PASS
