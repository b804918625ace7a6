"""A whole benchmark: targets opened, load applied, samples sealed, summary written, exit code decided."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from testcard.benchmarks.plan import turn_order as plan
from testcard.benchmarks.plan.job import FleetJob, Job
from testcard.benchmarks.plan.targets import are_live, opened_targets, reach, target_job
from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.run.announcing import say_plan
from testcard.benchmarks.run.finishing import finish
from testcard.benchmarks.run.session import BLOCKS_FILE, Session
from testcard.benchmarks.search.bracket import SearchPlan
from testcard.benchmarks.search.saturation import SaturationSearch
from testcard.harness.config import Config, TargetSection
from testcard.harness.progress import Progress
from testcard.harness.runs.folder import RunWriter, default_folder
from testcard.harness.targets import is_loopback


def run_bench(
    *,
    config: Config,
    workload: Workload,
    sections: Sequence[TargetSection],
    models: Sequence[str],
    operations: Sequence[str],
    seed: int,
    fleet: FleetJob | None = None,
    search: SearchPlan | None = None,
    max_requests: int | None,
    max_cost: float | None,
    out: Path | None,
    key_file: Path | None,
    web: str | None = None,
    quiet: bool = False,
    as_json: bool,
) -> int:
    """The exit code of a benchmark whose options are resolved. Prints the result; raises `TestcardError`s before anything is sent."""
    say: Callable[[str], None] = (lambda text: None) if quiet else (lambda text: click.echo(text, err=True))
    bounded = max_requests is not None or max_cost is not None
    with ExitStack() as stack:
        opened = stack.enter_context(opened_targets(sections, config, bounded, key_file, say))
        cells = plan.cells(opened, models, operations, workload, sections)
        blocks = plan.blocks(len(cells), workload, seed) if search is None else []
        say_plan(opened, cells, workload, max_cost, search, say, live=are_live(sections))
        for target in opened:
            reach(target)
        folder = out if out is not None else default_folder("bench")
        finder = None
        if search is not None:
            finder = SaturationSearch(workload, cells, folder, plan=search, say=say)
            blocks = finder.first()
        writer = RunWriter.create(
            folder,
            "bench",
            targets=[
                target.record([cell.model for cell in cells if cell.target == index and cell.model is not None])
                for index, target in enumerate(opened)
            ],
            config={
                "workload": workload.model_dump(mode="json"),
                "max_requests": max_requests,
                "max_cost_usd": max_cost,
                "live": are_live(sections),
                "processes": fleet.workers if fleet is not None else 1,
                "cells": [msgspec.to_builtins(cell) for cell in cells],
            },
            seed=seed,
        )
        job = Job(
            folder=str(folder.resolve()),
            started_s=time.monotonic(),
            seed=seed,
            fleet=fleet,
            more=finder is not None,
            web=web,
            search=[str(path) for path in config.providers.path],
            workload=workload.model_dump(mode="json"),
            targets=[target_job(target, section.live, section.key_env) for target, section in zip(opened, sections, strict=True)],
            cells=cells,
            blocks=blocks,
            max_requests=max_requests,
            max_cost_usd=max_cost,
            # Taking a turn again costs requests: only where all targets are on this machine and nobody set a limit.
            repeats=workload.rounds * len(workload.stage)
            if finder is None and not bounded and all(is_loopback(target.base_url) for target in opened)
            else 0,
        )
        stack.enter_context(writer)  # however it ends, run.json says how
        writer.add_file("blocks", BLOCKS_FILE)
        session = Session(job, folder)
        if finder is not None:
            session.more = lambda: finder.more(session.blocks)
        with Progress("bench", unit="s", view=lambda: session.view, refresh_hz=2, quiet=quiet) as progress:
            session.run(progress)
        return finish(writer, session, workload, opened, as_json, finder)
