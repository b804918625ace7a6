"""`testcard check`: judge whether a target keeps its documented contract."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import click

from testcard.harness.check.generation.plan import Plan, describe
from testcard.harness.check.generation.planning import choose_operations, choose_rules, make_plan
from testcard.harness.check.spending.allowance import at_most
from testcard.harness.check.spending.budget import SpendingLimits
from testcard.harness.cli import check_text as present
from testcard.harness.cli import say
from testcard.harness.cli.check_replay import replay as judge_recorded
from testcard.harness.cli.check_run import CheckRun
from testcard.harness.config import CheckSection, Config, PricesSection, load_config, load_waivers
from testcard.harness.errors import Exit, UsageError
from testcard.harness.pricing import Pricing
from testcard.harness.runs.folder import RunReader, require_free
from testcard.harness.targets import checked_base_url, is_loopback, open_target
from testcard.specs.loader import Provider, load_provider

LOOPBACK_CONCURRENCY = 8
LIVE_CONCURRENCY = 1


@click.command()
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
@click.option("--replay", type=click.Path(path_type=Path), default=None, metavar="RUN", help="Judge a recorded run again; send nothing.")
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
def check(
    provider: str,
    base_url: str | None,
    operations: tuple[str, ...],
    model: str | None,
    rules: tuple[str, ...],
    seed: int | None,
    concurrency: int | None,
    no_auth: bool,
    max_requests: int | None,
    max_images: int | None,
    max_cost: float | None,
    strict: bool | None,
    live: bool,
    only_plan: bool,
    replay: Path | None,
    waivers: Path | None,
    out: Path | None,
    api_key_file: Path | None,
    config_file: Path | None,
    as_json: bool,
) -> int:
    """Judge whether PROVIDER (an id, or a folder with openapi.yaml and profile.yaml) keeps its documented contract.

    Exits with 0 when every must is kept, 1 when one is broken, 5 when some could not be judged.
    """
    config = load_config(config_file)
    defaults = config.check
    limits = SpendingLimits(
        max_requests if max_requests is not None else defaults.max_requests,
        max_images if max_images is not None else defaults.max_images,
        max_cost if max_cost is not None else defaults.max_cost,
    )
    loaded = load_provider(provider, config.providers.path)
    chosen_rules = choose_rules(rules)
    chosen_operations = choose_operations(loaded, operations, model)
    strictly = bool(strict) or defaults.strict
    chosen_waivers = load_waivers(waivers) if waivers is not None else config.waiver
    if out is not None and not only_plan:
        require_free(out)  # before a mock is started for it
    if replay is not None:
        return judge_recorded(
            loaded,
            RunReader(replay),
            rules=chosen_rules if rules else None,
            operations=chosen_operations if operations else (),
            strict=True if strictly else None,
            waivers=chosen_waivers if waivers is not None or chosen_waivers else None,
            out=out,
            as_json=as_json,
        )

    def planned(pricing: Pricing) -> Plan:
        _require_price(loaded, pricing, limits, model, chosen_operations)
        return make_plan(
            loaded,
            pricing,
            rules=chosen_rules,
            operations=chosen_operations,
            seed=_seed(seed, defaults),
            model=model,
            keyless=no_auth,
        )

    if only_plan:
        pricing = _plan_pricing(loaded, base_url, config)
        return _show_plan(planned(pricing), pricing, limits, as_json)
    bounded = limits.max_cost_usd is not None or limits.max_requests is not None
    with ExitStack() as stack:
        target = stack.enter_context(
            open_target(provider, base_url, config=config, live=live, bounded=bounded, key_file=api_key_file, no_auth=no_auth)
        )
        if base_url is None:
            say(f"No base URL is given: checking a mock of {loaded.profile.name} on this machine.")
        local = is_loopback(target.base_url)
        at_once = concurrency or defaults.concurrency or (LOOPBACK_CONCURRENCY if local else LIVE_CONCURRENCY)
        plan = planned(target.pricing)
        if not plan.steps:
            raise UsageError("nothing is to be sent: none of the chosen rules applies to the chosen operations", hint="see: testcard rules")
        return CheckRun(target, plan, limits, strictly, at_once, no_auth, model, out, as_json, chosen_waivers, live).run()


def _seed(seed: int | None, defaults: CheckSection) -> int:
    return seed if seed is not None else defaults.seed if defaults.seed is not None else 0


def _plan_pricing(provider: Provider, base_url: str | None, config: Config) -> Pricing:
    mock = base_url is None or is_loopback(checked_base_url(base_url))
    return Pricing(provider, mock, config.prices.get(provider.id, PricesSection()))


def _require_price(provider: Provider, pricing: Pricing, limits: SpendingLimits, model: str | None, operations: tuple[str, ...]) -> None:
    """`UsageError` for a cost limit on a model without a price, with the key that sets one."""
    if limits.max_cost_usd is None:
        return
    for operation in operations:
        profile = provider.profile.operations[operation]
        if not profile.billed:
            continue
        for task in profile.tasks:
            asked = model or provider.default_model(operation, task)
            if pricing.price(asked, operation) is None:
                raise UsageError(
                    f"--max-cost needs a price for {asked or operation}, and none is known",
                    hint=f"set {pricing.missing_key(asked)}, or limit with --max-requests or --max-images",
                )


def _show_plan(plan: Plan, pricing: Pricing, limits: SpendingLimits, as_json: bool) -> int:
    if as_json:
        most = at_most(plan.steps, limits)
        record = {"steps": describe(plan), "images": most.images, "cost_usd": most.cost_usd, "prices": pricing.origin}
        click.echo(json.dumps(record, indent=2, ensure_ascii=False))
    else:
        for line in present.plan_lines(plan, pricing.origin, limits):
            click.echo(line)
    return Exit.PASS
