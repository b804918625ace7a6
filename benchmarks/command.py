"""`testcard bench`: what to load, from flags over file; then the run, its summary, its exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from testcard.benchmarks.plan.job import FleetJob, WorkerJob
from testcard.benchmarks.plan.workload import Stage, Workload, load_workload, parse_workload
from testcard.benchmarks.search.bracket import MAX_STAGES, SearchPlan
from testcard.harness.config import Config, load_config
from testcard.harness.errors import UsageError

DEFAULT_SEED = 1
#: The port of Locust's own masters.
DEFAULT_PORT = 5557
#: The port of Locust's own web page.
WEB_PORT = 8089


@click.command(short_help="Measure latency, throughput and cost under load.")
@click.option(
    "--target", "targets", multiple=True, metavar="PROVIDER[=URL]", help="What to load; again for more. Without a URL: its embedded mock."
)
@click.option("--target-section", "raw_sections", multiple=True, hidden=True)  # a [[target]] as JSON: what evaluate hands over
@click.option("--model", "models", multiple=True, metavar="M", help="Model to ask for; again for more. Default: the operation's own.")
@click.option("--operation", "operations", multiple=True, metavar="ID", help="Operation to load; again for more. Default: the task's own.")
@click.option(
    "--workload",
    "workload_name",
    metavar="FILE|NAME",
    help="A TOML file, or one of those bundled: quick (default), standard, live (default with --live).",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="R",
    help="Requests per second, open loop: sent when due, whatever the server does.",
)
@click.option("--arrival", type=click.Choice(["poisson", "constant"]), help="How open-loop requests are spaced.")
@click.option(
    "--max-in-flight", type=click.IntRange(min=1), metavar="N", help="Open loop: at most N at once; waiting for a place counts as latency."
)
@click.option("--users", type=click.IntRange(min=1), metavar="N", help="Closed loop: N users, each sends when its last answer is in.")
@click.option(
    "--duration",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Measured seconds for each target and stage, all rounds together.",
)
@click.option(
    "--warmup", type=click.FloatRange(min=0), metavar="S", help="Seconds before each turn that are recorded and left out of figures."
)
@click.option("--rounds", type=click.IntRange(min=1, max=1000), metavar="K", help="How often the targets take turns.")
@click.option(
    "--slo",
    "slos",
    multiple=True,
    metavar="EXPR",
    help="Objective, such as 'p95<8s', 'error_rate<1%', 'usd_per_image<0.05'; again for more.",
)
@click.option(
    "--find-saturation", is_flag=True, help="Find the highest rate that keeps the objectives, from --rate on, in stages of --duration."
)
@click.option(
    "--max-stages",
    type=click.IntRange(min=2, max=60),
    metavar="N",
    help=f"With --find-saturation: at most N stages a row (default {MAX_STAGES}).",
)
@click.option("--seed", type=int, metavar="N", help=f"Fixes arrivals, order, prompts and picture seeds (default {DEFAULT_SEED}).")
@click.option("--processes", type=click.IntRange(min=1, max=256), metavar="N", help="Put the load on from N processes of this machine.")
@click.option("--master", is_flag=True, help="Lead: wait for --expect-workers workers, from any machine, and put the load on from them.")
@click.option(
    "--expect-workers", type=click.IntRange(min=1, max=1000), metavar="N", help="With --master: start when N are there (default 1)."
)
@click.option("--bind", metavar="HOST", help="With --master: listen on this address only (default: all; the connection is not encrypted).")
@click.option("--worker", is_flag=True, help="Work for a master: it says what to do; the key comes from this machine.")
@click.option("--master-host", metavar="HOST", help="With --worker: where the master is (default 127.0.0.1).")
@click.option(
    "--master-port",
    type=click.IntRange(0, 65535),
    metavar="P",
    help=f"Port that the master listens on (default {DEFAULT_PORT}; 0: a free one).",
)
@click.option(
    "--live",
    is_flag=True,
    help="Allow targets off this machine, one request at a time. Needs --max-cost or --max-requests; check the provider's terms first.",
)
@click.option(
    "--max-requests",
    type=click.IntRange(min=1),
    metavar="N",
    help="Never send more than N requests (polls and downloads belong to theirs).",
)
@click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Never spend more, reserved at worst case before sending.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the run (new or empty). Default: testcard-runs/bench-…"
)
@click.option("--config", "config_path", type=click.Path(path_type=Path), metavar="F", help="Default: ./testcard.toml where it exists.")
@click.option("--api-key-file", type=click.Path(path_type=Path), metavar="F", help="File with the key, where no variable holds it.")
@click.option("--web", is_flag=True, help="Show the run on Locust's web page, on this machine only; it ends with the run.")
@click.option("--web-port", type=click.IntRange(0, 65535), metavar="P", help=f"Port of the web page (default {WEB_PORT}; 0: a free one).")
@click.option("--quiet", is_flag=True, help="No progress and no talk on stderr; errors, and why a run is no pass, are still told.")
@click.option("--json", "as_json", is_flag=True, help="Print summary.json instead of a table.")
def bench(
    targets: tuple[str, ...],
    raw_sections: tuple[str, ...],
    models: tuple[str, ...],
    operations: tuple[str, ...],
    workload_name: str | None,
    rate: float | None,
    arrival: str | None,
    max_in_flight: int | None,
    users: int | None,
    duration: float | None,
    warmup: float | None,
    rounds: int | None,
    slos: tuple[str, ...],
    find_saturation: bool,
    max_stages: int | None,
    seed: int | None,
    processes: int | None,
    master: bool,
    expect_workers: int | None,
    bind: str | None,
    worker: bool,
    master_host: str | None,
    master_port: int | None,
    live: bool,
    max_requests: int | None,
    max_cost: float | None,
    out: Path | None,
    config_path: Path | None,
    api_key_file: Path | None,
    web: bool,
    web_port: int | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Measure latency, throughput and cost under load.

    Without --target, all bundled providers are loaded, on mocks that are started for it. Several targets take turns in
    rounds. Latency counts from when a request was due, so a server that stalls cannot hide it.
    """
    if find_saturation and (users is not None or rounds is not None):
        raise UsageError("--find-saturation goes with neither --users nor --rounds", hint="it looks for a rate, and makes its own turns")
    if max_stages is not None and not find_saturation:
        raise UsageError("--max-stages belongs to --find-saturation")
    if web_port is not None and not web:
        raise UsageError("--web-port belongs to --web")
    config = load_config(config_path)
    if worker:
        from testcard.benchmarks.fleet.processes import join_master

        if processes is not None or master:
            raise UsageError("--worker goes with neither --processes nor --master", hint="start one worker for each core")
        if web:
            raise UsageError("--web belongs to the master", hint="a worker shows nothing of its own")
        order = WorkerJob(
            master_host=master_host or "127.0.0.1",
            master_port=DEFAULT_PORT if master_port is None else master_port,
            key_file=str(api_key_file) if api_key_file is not None else None,
            live=live,
            search=[str(path) for path in config.providers.path],
        )
        return join_master(order)
    from testcard.benchmarks.plan.targets import are_live, sections_of
    from testcard.benchmarks.run.running import run_bench

    sections = sections_of(targets, raw_sections, config, live)
    fleet = resolve_fleet(config, processes=processes, master=master, expect_workers=expect_workers, bind=bind, master_port=master_port)
    workload = resolve_workload(
        config,
        workload_name,
        rate=rate,
        arrival=arrival,
        max_in_flight=max_in_flight,
        users=users,
        duration=duration,
        warmup=warmup,
        rounds=rounds,
        slos=slos,
        live=are_live(sections) and not find_saturation,
    )
    if are_live(sections):
        workload = one_at_a_time(workload)
    return run_bench(
        config=config,
        workload=workload,
        sections=sections,
        models=models,
        operations=operations,
        seed=DEFAULT_SEED if seed is None else seed,
        fleet=fleet,
        search=SearchPlan(rate or 1.0, max_stages or MAX_STAGES) if find_saturation else None,
        max_requests=max_requests if max_requests is not None else config.bench.max_requests,
        max_cost=max_cost if max_cost is not None else config.bench.max_cost,
        out=out,
        key_file=api_key_file,
        web=f"127.0.0.1:{WEB_PORT if web_port is None else web_port}" if web else None,
        quiet=quiet,
        as_json=as_json,
    )


def resolve_fleet(
    config: Config, *, processes: int | None, master: bool, expect_workers: int | None, bind: str | None, master_port: int | None
) -> FleetJob | None:
    """Who puts the load on: None for this one process. `UsageError` for flags that clash."""
    if not master:
        if expect_workers is not None or bind is not None or master_port is not None:
            raise UsageError(
                "--expect-workers, --bind and --master-port belong to --master", hint="or give --processes to stay on this machine"
            )
        count = processes or config.bench.processes or 1
        return FleetJob(workers=count, spawn=True) if count > 1 else None
    if processes is not None:
        raise UsageError(
            "--processes and --master exclude each other", hint="start workers with: testcard bench --worker --master-host HOST"
        )
    return FleetJob(workers=expect_workers or 1, spawn=False, host=bind or "*", port=DEFAULT_PORT if master_port is None else master_port)


def resolve_workload(
    config: Config,
    name: str | None,
    *,
    rate: float | None,
    arrival: str | None,
    max_in_flight: int | None,
    users: int | None,
    duration: float | None,
    warmup: float | None,
    rounds: int | None,
    slos: Sequence[str],
    live: bool = False,
) -> Workload:
    """The workload that holds: the named one (flag over file over `quick`, or over `live` for live targets), changed by the flags.

    `UsageError` for flags that clash.
    """
    if rate is not None and users is not None:
        raise UsageError("--rate and --users exclude each other", hint="--rate is the open loop, --users the closed one")
    if users is not None and (arrival is not None or max_in_flight is not None):
        raise UsageError("--arrival and --max-in-flight belong to the open loop", hint="give --rate instead of --users")
    workload = load_workload(name or config.bench.workload or ("live" if live else "quick"))
    changes: dict[str, Any] = {}
    if rate is not None or users is not None:
        changes["stage"] = [Stage(rate_rps=rate, users=users, duration_s=duration or workload.stage[0].duration_s).model_dump()]
    elif duration is not None:
        changes["stage"] = [{**stage.model_dump(), "duration_s": duration} for stage in workload.stage]
    for key, value in (("arrival", arrival), ("max_in_flight", max_in_flight), ("warmup_s", warmup), ("rounds", rounds)):
        if value is not None:
            changes[key] = value
    if objectives := (slos or config.bench.slo):
        changes["slo"] = objectives
    return parse_workload({**workload.model_dump(), **changes}, "the flags") if changes else workload


def one_at_a_time(workload: Workload) -> Workload:
    """The workload for a live target: an open loop that states no `max_in_flight` has one request in flight at most, and this is said."""
    if workload.max_in_flight is not None or all(stage.users is not None for stage in workload.stage):
        return workload
    click.echo("live: at most 1 request in flight, and waiting for its turn counts as latency; --max-in-flight N allows more", err=True)
    return workload.model_copy(update={"max_in_flight": 1})


__all__ = ["bench", "one_at_a_time", "resolve_workload"]
