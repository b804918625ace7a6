"""`testcard bench`: from flags and testcard.toml to `BenchOptions`; what hears the run's events is in `run.output`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import click

from testcard.benchmarks.fleet.messages import given_secret
from testcard.benchmarks.plan.job import FleetJob, WorkerJob
from testcard.benchmarks.plan.workload import Workload, bundled, is_workload, load_workload, parse_workload
from testcard.benchmarks.run.options import DEFAULT_SEED, BenchOptions, default_workload
from testcard.benchmarks.search.bracket import MAX_STAGES, SearchPlan
from testcard.harness.cli.options import (
    MODEL,
    OPERATION,
    PATH,
    PROVIDER,
    SECONDS,
    USD,
    Finite,
    config_option,
    json_option,
    limit_option,
    option,
    takes,
)
from testcard.harness.config import Config, load_config
from testcard.harness.errors import UsageError
from testcard.specs.wrong_keys import nearest

#: The port of Locust's own masters.
DEFAULT_PORT = 5557
#: The port of Locust's own web page.
WEB_PORT = 8089


@dataclass(frozen=True, slots=True)
class TargetFlags:
    """What is loaded, and how it is paid for; None and empty: not given."""

    targets: Annotated[
        tuple[str, ...],
        option(
            "--target",
            type=PROVIDER,
            multiple=True,
            metavar="PROVIDER[=URL]",
            help="What to load; again for more. Without a URL: its embedded mock.",
        ),
    ] = ()
    sections: Annotated[tuple[str, ...], option("--target-section", multiple=True, hidden=True)] = ()  # [[target]] as JSON, from evaluate
    models: Annotated[
        tuple[str, ...],
        option("--model", type=MODEL, multiple=True, metavar="M", help="Model to ask for; again for more. Default: the operation's own."),
    ] = ()
    operations: Annotated[
        tuple[str, ...],
        option(
            "--operation", type=OPERATION, multiple=True, metavar="ID", help="Operation to load; again for more. Default: the task's own."
        ),
    ] = ()


@dataclass(frozen=True, slots=True)
class LoadFlags:
    """What load is applied; None and empty: as the workload has it."""

    workload: Annotated[
        str | None,
        option(
            "--workload",
            metavar="FILE|NAME",
            help="A TOML file, or one of those bundled: quick (default), standard, live (default with --live).",
        ),
    ] = None
    rate: Annotated[
        float | None,
        option("--rate", type=SECONDS, metavar="R", help="Requests per second, open loop: sent when due, whatever the server does."),
    ] = None
    arrival: Annotated[
        str | None, option("--arrival", type=click.Choice(["poisson", "constant"]), help="How open-loop requests are spaced.")
    ] = None
    max_in_flight: Annotated[
        int | None,
        option(
            "--max-in-flight",
            type=click.IntRange(min=1),
            metavar="N",
            help="Open loop: at most N at once; waiting for a place counts as latency.",
        ),
    ] = None
    users: Annotated[
        int | None,
        option("--users", type=click.IntRange(min=1), metavar="N", help="Closed loop: N users, each sends when its last answer is in."),
    ] = None
    duration: Annotated[
        float | None,
        option("--duration", type=SECONDS, metavar="S", help="Measured seconds for each target and stage, all rounds together."),
    ] = None
    warmup: Annotated[
        float | None,
        option(
            "--warmup",
            type=Finite("number of seconds", min=0),
            metavar="S",
            help="Seconds before each turn that are recorded and left out of figures.",
        ),
    ] = None
    rounds: Annotated[
        int | None, option("--rounds", type=click.IntRange(min=1, max=1000), metavar="K", help="How often the targets take turns.")
    ] = None
    sizes: Annotated[
        tuple[str, ...],
        option(
            "--size",
            multiple=True,
            metavar="WxH",
            help="Size of the pictures, for all targets; again for more, in turn. Default: 1024x1024, else the nearest that all document.",
        ),
    ] = ()
    slos: Annotated[
        tuple[str, ...],
        option(
            "--slo",
            multiple=True,
            metavar="EXPR",
            help="Objective, such as 'p95<8s', 'error_rate<1%', 'usd_per_image<0.05'; again for more.",
        ),
    ] = ()
    find_saturation: Annotated[
        bool,
        option(
            "--find-saturation",
            is_flag=True,
            help="Find the highest rate that keeps the objectives (without any: that is completed). A closed-loop ramp tells where to look (--rate: begin there instead); stages last 80 answers' time, at least 4 s and 150 requests (--duration: at most so long), and end when sure.",
        ),
    ] = False
    max_stages: Annotated[
        int | None,
        option(
            "--max-stages",
            type=click.IntRange(min=2, max=60),
            metavar="N",
            help=f"With --find-saturation: at most N stages a row (default {MAX_STAGES}).",
        ),
    ] = None
    seed: Annotated[
        int | None,
        option("--seed", type=int, metavar="N", help=f"Fixes arrivals, order, prompts and picture seeds (default {DEFAULT_SEED})."),
    ] = None


@dataclass(frozen=True, slots=True)
class FleetFlags:
    """Who puts the load on; None and False: this process."""

    processes: Annotated[
        int | None,
        option("--processes", type=click.IntRange(min=1, max=256), metavar="N", help="Put the load on from N processes of this machine."),
    ] = None
    master: Annotated[
        bool,
        option(
            "--master",
            is_flag=True,
            help="Lead: wait for --expect-workers workers, from any machine, and put the load on from them.",
        ),
    ] = False
    expect_workers: Annotated[
        int | None,
        option(
            "--expect-workers",
            type=click.IntRange(min=1, max=1000),
            metavar="N",
            help="With --master: start when N are there (default 1).",
        ),
    ] = None
    bind: Annotated[
        str | None,
        option(
            "--bind",
            metavar="HOST",
            help="With --master: listen on this address only (default: all; the connection is not encrypted).",
        ),
    ] = None
    worker: Annotated[
        bool, option("--worker", is_flag=True, help="Work for a master: it says what to do; the key comes from this machine.")
    ] = False
    master_host: Annotated[
        str | None, option("--master-host", metavar="HOST", help="With --worker: where the master is (default 127.0.0.1).")
    ] = None
    master_port: Annotated[
        int | None,
        option(
            "--master-port",
            type=click.IntRange(0, 65535),
            metavar="P",
            help=f"Port that the master listens on (default {DEFAULT_PORT}; 0: a free one).",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class LimitFlags:
    """What the run may reach and spend, and where it goes."""

    live: Annotated[
        bool,
        option(
            "--live",
            is_flag=True,
            help="Allow targets off this machine, one request at a time. Needs --max-cost or --max-requests; check the provider's terms first.",
        ),
    ] = False
    max_requests: Annotated[
        int | None,
        option(
            "--max-requests",
            type=click.IntRange(min=0),
            metavar="N",
            help="Never send more than N requests (polls and downloads belong to theirs).",
        ),
    ] = None
    max_downloads: Annotated[
        int | None,
        option(
            "--max-downloads",
            type=click.IntRange(min=0),
            metavar="N",
            help="Never fetch pictures behind addresses more than N times, redirects included; then the run ends.",
        ),
    ] = None
    max_cost: Annotated[
        float | None, option("--max-cost", type=USD, metavar="USD", help="Never spend more, reserved at worst case before sending.")
    ] = None
    out: Annotated[
        Path | None,
        option("--out", type=PATH, metavar="DIR", help="Folder of the run (new or empty). Default: testcard-runs/bench-…"),
    ] = None
    key_file: Annotated[
        Path | None,
        option("--api-key-file", type=PATH, metavar="FILE", help="Read the key from a file instead of from a variable."),
    ] = None


@dataclass(frozen=True, slots=True)
class ShownFlags:
    """What is shown while it runs."""

    web: Annotated[
        bool, option("--web", is_flag=True, help="Show the run on Locust's web page, on this machine only; it ends with the run.")
    ] = False
    web_port: Annotated[
        int | None,
        option(
            "--web-port",
            type=click.IntRange(0, 65535),
            metavar="P",
            help=f"Port of the web page (default {WEB_PORT}; 0: a free one).",
        ),
    ] = None
    only_plan: Annotated[
        bool,
        option(
            "--plan", is_flag=True, help="Print what would be sent, what the objectives can decide with it, and its price; send nothing."
        ),
    ] = False
    quiet: Annotated[
        bool,
        option("--quiet", is_flag=True, help="No progress and no talk on stderr; errors, and why a run is no pass, are still told."),
    ] = False


@click.command("bench", short_help="Measure latency, throughput and cost under load.")
@click.argument("names", metavar="[PROVIDER[=URL]]...", nargs=-1)
@takes("targets", TargetFlags)
@takes("load", LoadFlags)
@takes("fleet", FleetFlags)
@takes("limits", LimitFlags)
@config_option
@limit_option
@takes("shown", ShownFlags)
@json_option("summary.json (with --plan: the plan)")
def command(
    names: tuple[str, ...],
    targets: TargetFlags,
    load: LoadFlags,
    fleet: FleetFlags,
    limits: LimitFlags,
    config_file: Path | None,
    shown: ShownFlags,
    as_json: bool,
) -> int:
    """Measure latency, throughput and cost under load.

    Without a target, those of testcard.toml, else all bundled providers are loaded, each without a URL on a mock that is started for
    it. Several take turns in rounds. Latency counts from when a request was due, so a server that stalls cannot hide it.

    Example: testcard bench nanogpt=http://127.0.0.1:8000 --rate 2 --duration 60 --slo 'p95<8s'
    """
    targets = replace(targets, targets=(*names, *targets.targets))
    _refuse_clashes(load, fleet, shown)
    config = load_config(config_file)
    if fleet.worker:
        from testcard.benchmarks.fleet.processes import join_master

        return join_master(worker_order(config, fleet, limits))
    from testcard.benchmarks.run.bench import bench
    from testcard.benchmarks.run.output import BenchOutput

    if shown.only_plan:
        from testcard.benchmarks.run.output import show_plan

        return show_plan(bench(bench_options(config, targets, load, fleet, limits, shown)), as_json=as_json)
    with bench(bench_options(config, targets, load, fleet, limits, shown)) as run:
        with BenchOutput(run, as_json=as_json, quiet=shown.quiet) as output:
            for event in run:
                output(event)
        return output.exit_code


def _refuse_clashes(load: LoadFlags, fleet: FleetFlags, shown: ShownFlags) -> None:
    """`UsageError` for flags that do not go together."""
    if load.find_saturation and (load.users is not None or load.rounds is not None):
        raise UsageError("--find-saturation goes with neither --users nor --rounds", hint="it looks for a rate, and makes its own turns")
    if load.max_stages is not None and not load.find_saturation:
        raise UsageError("--max-stages belongs to --find-saturation")
    if shown.web_port is not None and not shown.web:
        raise UsageError("--web-port belongs to --web")
    if fleet.worker and (fleet.processes is not None or fleet.master):
        raise UsageError("--worker goes with neither --processes nor --master", hint="start one worker for each core")
    if fleet.worker and shown.web:
        raise UsageError("--web belongs to the master", hint="a worker shows nothing of its own")


def bench_options(
    config: Config, targets: TargetFlags, load: LoadFlags, fleet: FleetFlags, limits: LimitFlags, shown: ShownFlags
) -> BenchOptions:
    """What the flags and testcard.toml ask for together; flags win. `UsageError` for what clashes."""
    from testcard.benchmarks.plan.targets import are_live, sections_of

    sections = sections_of(targets.targets, targets.sections, config, limits.live)
    search = SearchPlan(load.rate, load.max_stages or MAX_STAGES, load.duration) if load.find_saturation else None
    workload = resolve_workload(config, load, default_workload(are_live(sections), search))
    if search is not None and load.workload is None and not (load.slos or config.bench.slo or config.bench.workload):
        workload = workload.model_copy(update={"slo": ()})  # nobody named an objective: what it completes is looked for
    return BenchOptions(
        targets=tuple(sections),
        models=targets.models,
        operations=targets.operations,
        workload=workload,
        seed=DEFAULT_SEED if load.seed is None else load.seed,
        objectives_by_default=not (load.workload or load.slos or config.bench.workload or config.bench.slo),
        find_saturation=search,
        fleet=resolve_fleet(config, fleet),
        max_requests=limits.max_requests if limits.max_requests is not None else config.bench.max_requests,
        max_downloads=limits.max_downloads if limits.max_downloads is not None else config.bench.max_downloads,
        max_cost_usd=limits.max_cost if limits.max_cost is not None else config.bench.max_cost,
        out=limits.out,
        key_file=limits.key_file,
        search=config.providers.path,
        prices=config.prices,
        web=f"127.0.0.1:{WEB_PORT if shown.web_port is None else shown.web_port}" if shown.web else None,
    )


def worker_order(config: Config, fleet: FleetFlags, limits: LimitFlags) -> WorkerJob:
    """What a worker is told: where its master is, and what it may do and read here."""
    return WorkerJob(
        master_host=fleet.master_host or "127.0.0.1",
        master_port=DEFAULT_PORT if fleet.master_port is None else fleet.master_port,
        secret=given_secret(),
        key_file=str(limits.key_file) if limits.key_file is not None else None,
        live=limits.live,
        search=[str(path) for path in config.providers.path],
    )


def resolve_fleet(config: Config, flags: FleetFlags) -> FleetJob | None:
    """Who puts the load on: None for one process. `UsageError` for flags that clash."""
    if not flags.master:
        if flags.expect_workers is not None or flags.bind is not None or flags.master_port is not None:
            raise UsageError(
                "--expect-workers, --bind and --master-port belong to --master", hint="or give --processes to stay on this machine"
            )
        count = flags.processes or config.bench.processes or 1
        return FleetJob(workers=count, spawn=True) if count > 1 else None
    if flags.processes is not None:
        raise UsageError(
            "--processes and --master exclude each other", hint="start workers with: testcard bench --worker --master-host HOST"
        )
    port = DEFAULT_PORT if flags.master_port is None else flags.master_port
    return FleetJob(workers=flags.expect_workers or 1, spawn=False, secret=given_secret(), host=flags.bind or "*", port=port)


def resolve_workload(config: Config, flags: LoadFlags, default: str = "quick") -> Workload:
    """The workload that holds: the named one (flag over file over `default`), changed by the flags. `UsageError` for flags that clash."""
    if flags.rate is not None and flags.users is not None:
        raise UsageError("--rate and --users exclude each other", hint="--rate is the open loop, --users the closed one")
    if flags.users is not None and (flags.arrival is not None or flags.max_in_flight is not None):
        raise UsageError("--arrival and --max-in-flight belong to the open loop", hint="give --rate instead of --users")
    named = config.bench.workload
    if flags.workload is None and named is not None and not is_workload(named):
        raise config.wrong([(("bench", "workload"), f"there is no workload {named}; {nearest(named, bundled())} or name a TOML file")])
    workload = load_workload(flags.workload or named or default)
    changes: dict[str, Any] = {}
    if flags.rate is not None or flags.users is not None:
        length = flags.duration or workload.stage[0].duration_s
        changes["stage"] = [{"rate_rps": flags.rate, "users": flags.users, "duration_s": length}]
    elif flags.duration is not None:
        changes["stage"] = [{**stage.model_dump(), "duration_s": flags.duration} for stage in workload.stage]
    given = {"arrival": flags.arrival, "max_in_flight": flags.max_in_flight, "warmup_s": flags.warmup, "rounds": flags.rounds}
    changes |= {key: value for key, value in given.items() if value is not None}
    if flags.sizes:
        changes["sizes"] = flags.sizes
    if objectives := (flags.slos or config.bench.slo):
        changes["slo"] = objectives
    return parse_workload({**workload.model_dump(), **changes}, "the flags") if changes else workload
