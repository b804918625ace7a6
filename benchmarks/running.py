"""A whole benchmark: targets opened, load applied, samples sealed, summary written, exit code decided."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec

from testcard.benchmarks import plan
from testcard.benchmarks.asks import asks, task_requests
from testcard.benchmarks.job import CellJob, FleetJob, Job, TargetJob
from testcard.benchmarks.saturation import SaturationSearch
from testcard.benchmarks.search import SearchPlan
from testcard.benchmarks.session import BLOCKS_FILE, Session
from testcard.benchmarks.workload import Workload
from testcard.harness.config import Config, PricesSection, TargetSection
from testcard.harness.embedded import MOCK_LATENCY, embedded_mocks, mock_name
from testcard.harness.errors import Exit, TargetUnreachable, UsageError, worst
from testcard.harness.pricing import Pricing
from testcard.harness.progress import Progress
from testcard.harness.runs.folder import RunWriter, default_folder
from testcard.harness.runs.records import Outcome, Summary
from testcard.harness.targets import Target, is_loopback, open_target
from testcard.harness.wire.billing import worst_case
from testcard.specs.loader import bundled_ids, load_provider

REACH_S = 5.0


def run_bench(
    *,
    config: Config,
    workload: Workload,
    targets: Sequence[str],
    key_envs: Sequence[str],
    models: Sequence[str],
    operations: Sequence[str],
    seed: int,
    fleet: FleetJob | None = None,
    search: SearchPlan | None = None,
    live: bool,
    max_requests: int | None,
    max_cost: float | None,
    out: Path | None,
    key_file: Path | None,
    as_json: bool,
) -> int:
    """The exit code of a benchmark whose options are resolved. Prints the result; raises `TestcardError`s before anything is sent."""
    bounded = max_requests is not None or max_cost is not None
    with ExitStack() as stack:
        sections = _sections(targets, key_envs, config, live)
        opened = stack.enter_context(_opened(sections, config, bounded, key_file))
        cells = plan.cells(opened, models, operations, workload, sections)
        blocks = plan.blocks(len(cells), workload, seed) if search is None else []
        _say_plan(opened, cells, workload, max_cost, search)
        for target in opened:
            _reach(target)
        folder = out if out is not None else default_folder("bench")
        finder = None
        if search is not None:
            finder = SaturationSearch(workload, cells, folder, plan=search, say=lambda text: click.echo(text, err=True))
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
                "live": live,
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
            search=[str(path) for path in config.providers.path],
            workload=workload.model_dump(mode="json"),
            targets=[_target_job(target, section.live, section.key_env) for target, section in zip(opened, sections, strict=True)],
            cells=cells,
            blocks=blocks,
            max_requests=max_requests,
            max_cost_usd=max_cost,
            # Taking a turn again costs requests: only where all targets are on this machine and nobody set a limit.
            repeats=workload.rounds * len(workload.stage)
            if finder is None and not bounded and all(is_loopback(target.base_url) for target in opened)
            else 0,
        )
        writer.add_file("blocks", BLOCKS_FILE)
        session = Session(job, folder)
        if finder is not None:
            finder.attach(session)
        with Progress("bench", unit="s") as progress:
            session.run(progress)
        return _finish(writer, session, workload, opened, as_json, finder)


def _finish(
    writer: RunWriter, session: Session, workload: Workload, targets: Sequence[Target], as_json: bool, finder: SaturationSearch | None
) -> int:
    """Seals the samples, writes the summary, prints it, and decides."""
    from testcard.benchmarks.facts import notes, stage_facts
    from testcard.benchmarks.lateness import counted
    from testcard.benchmarks.recorder import seal
    from testcard.benchmarks.table import render
    from testcard.harness.runs.folder import RunReader
    from testcard.harness.runs.samples import read
    from testcard.harness.statistics.summary import summarise

    kept = {id(block) for block in counted(session.blocks)}
    seal(writer.folder, [(block.worker, block.started_s, block.ended_s) for block in session.blocks if id(block) not in kept])
    writer.add_file("samples", "samples.parquet")
    frame = read(RunReader(writer.folder))
    try:
        summary = summarise(
            frame,
            objectives=list(workload.slo),
            facts=stage_facts(frame, session.blocks, capped=workload.max_in_flight is not None),
            workload=workload.model_dump(mode="json"),
            seed=writer.run.seed or 0,
        )
    except Exception as error:
        writer.finish("error", Exit.INTERNAL, f"the samples could not be summarised: {type(error).__name__}: {error}")
        raise
    summary = _with_notes(summary, notes(session.blocks))
    if finder is not None:
        summary = finder.as_measured(summary)
        writer.write("saturation", "saturation.json", finder.result())
    writer.write("summary", "summary.json", summary)
    code, outcome, reason = _decide(session, summary, finder)
    writer.finish(outcome, code, reason)
    if as_json:
        name = "summary.json" if finder is None else "saturation.json"
        click.echo((writer.folder / name).read_text(encoding="utf-8"), nl=False)
    else:
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
        render(summary, console, illustrative=any(target.pricing.origin == "illustrative" for target in targets), folder=writer.folder)
        for found in finder.result().results if finder is not None else []:
            console.print(f"{found.provider} {found.operation}: {found.sentence}", soft_wrap=True, markup=False)
    if session.fatal is not None:
        raise session.fatal
    if reason:
        click.echo(f"{outcome}: {reason}", err=True)
    if code is Exit.INCONCLUSIVE:
        click.echo(f"next: {_next_step(session, summary, finder)}", err=True)
    return code


def _with_notes(summary: Summary, said: Mapping[tuple[str, str | None, str, str], str]) -> Summary:
    """The summary with what the run says about rows added to their notes."""
    rows = []
    for row in summary.rows:
        further = said.get((row.provider, row.model, row.operation, row.stage))
        note = "; ".join(text for text in (row.note, further) if text)
        rows.append(msgspec.structs.replace(row, note=note or None))
    return msgspec.structs.replace(summary, rows=rows)


def _decide(session: Session, summary: Summary, finder: SaturationSearch | None = None) -> tuple[Exit, Outcome, str | None]:
    """Exit code, outcome and reason; when several hold, the order of the exit codes decides."""
    if session.interrupted:
        return Exit.INTERRUPTED, "interrupted", "interrupted; everything recorded so far is kept"
    if session.fatal is not None:
        return Exit(int(session.fatal.exit_code)), "error", session.fatal.message
    codes: list[Exit] = []
    reasons: list[str] = []
    if session.stop_reason is not None:
        codes.append(Exit.INCONCLUSIVE)
        reasons.append(session.stop_reason)
    for found in finder.result().results if finder is not None else []:
        if found.holds_rps is None and found.breaks_rps is not None:
            codes.append(Exit.GATE_FAILED)
            reasons.append(f"{found.provider} {found.operation} {found.sentence}")
        elif not found.conclusive:
            codes.append(Exit.INCONCLUSIVE)
            reasons.append(f"{found.provider} {found.operation} {found.sentence}")
    for row in summary.rows if finder is None else []:
        name = f"{row.provider} {row.operation} {row.stage}"
        if row.outcome == "fail":
            codes.append(Exit.GATE_FAILED)
            broken = [gate.expression for gate in row.gates if gate.verdict == "fail"]
            reasons.append(f"{name}: {' and '.join(broken) + ' failed' if broken else row.note or 'failed'}")
        elif row.outcome == "inconclusive":
            codes.append(Exit.INCONCLUSIVE)
            reasons.append(f"{name}: {row.note or 'too few samples to judge its objectives'}")
    if not summary.rows:
        codes.append(Exit.INCONCLUSIVE)
        reasons.append("no request was sent")
    code = worst(codes)
    words: dict[Exit, Outcome] = {Exit.PASS: "pass", Exit.GATE_FAILED: "fail", Exit.INCONCLUSIVE: "inconclusive"}
    return code, words[code], "; ".join(reasons) or None


def _next_step(session: Session, summary: Summary, finder: SaturationSearch | None = None) -> str:
    """What would make an inconclusive run conclusive."""
    if session.stop_reason is not None:
        if "worker" in session.stop_reason:
            return "run it again; what the lost worker had sent on is in this run"
        if "answered" in session.stop_reason:
            return "look at the account with the provider"
        return "allow more with --max-requests or --max-cost, or plan less with --rate and --duration"
    if finder is not None:
        return "a longer --duration, more --max-stages, or --processes where the load generator was the limit"
    if any("generator" in (row.note or "") for row in summary.rows if row.outcome == "inconclusive"):
        return "a lower --rate (or fewer --users), or a machine with nothing else to do"
    return "more samples: a longer --duration"


def _sections(names: Sequence[str], key_envs: Sequence[str], config: Config, live: bool) -> list[TargetSection]:
    """The targets that the flags name, else those of the configuration, else every bundled provider on its mock."""
    if names:
        found = []
        for name, key_env in zip_longest(names, key_envs[: len(names)]):
            provider, _, url = name.partition("=")
            found.append(TargetSection(provider=provider, base_url=url or None, live=live, key_env=key_env))
        return found
    if config.target:
        return [target.model_copy(update={"live": live or target.live}) for target in config.target]
    return [TargetSection(provider=name) for name in bundled_ids()]


@contextmanager
def _opened(wanted: Sequence[TargetSection], config: Config, bounded: bool, key_file: Path | None) -> Iterator[list[Target]]:
    """The targets in the order they were named, those without a URL on one embedded mock."""
    providers = [load_provider(entry.provider, config.providers.path) for entry in wanted]  # wrong names are told before a mock starts
    embedded = {provider.id: mock_name(provider) for entry, provider in zip(wanted, providers, strict=True) if entry.base_url is None}
    with ExitStack() as stack:
        mocks = None
        if embedded:
            click.echo(
                f"no URL given for {', '.join(embedded)}: loading mocks on this machine, whose latency ({MOCK_LATENCY} s) and prices are made up",
                err=True,
            )
            mocks = stack.enter_context(embedded_mocks(list(embedded.values()), options=["--latency", MOCK_LATENCY]))
        found = []
        for entry, provider in zip(wanted, providers, strict=True):
            if entry.base_url is not None:
                opened = open_target(
                    entry.provider,
                    entry.base_url,
                    config=config,
                    live=entry.live,
                    bounded=bounded,
                    key_file=key_file,
                    key_env=entry.key_env,
                )
                found.append(stack.enter_context(opened))
                continue
            assert mocks is not None
            pricing = Pricing(provider, True, config.prices.get(provider.id, PricesSection()))
            found.append(Target(provider, mocks.base_urls[provider.id], mocks.api_key, True, pricing))
        yield found


def _target_job(target: Target, live: bool, key_env: str | None) -> TargetJob:
    return TargetJob(
        provider=mock_name(target.provider),
        base_url=target.base_url,
        api_key=target.api_key,
        key_env=key_env,
        digests=[target.provider.spec_digest, target.provider.profile_digest],
        illustrative_prices=target.pricing.mock,
        may_leave_machine=live,
        prices=target.pricing.section.model_dump(mode="json"),
    )


def _reach(target: Target) -> None:
    """Connects once, sends nothing; `TargetUnreachable` when nobody listens."""
    parts = urlsplit(target.base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=REACH_S).close()
    except OSError as error:
        raise TargetUnreachable(
            f"nothing answers at {target.base_url}: {error.strerror or error}",
            hint=f"is the server running, and the address right? A mock: testcard mock {target.provider.id}",
        ) from None


def _say_plan(
    targets: Sequence[Target], cells: Sequence[CellJob], workload: Workload, max_cost: float | None, search: SearchPlan | None
) -> None:
    """Says how many requests are planned and what they can cost; `UsageError` for a cost limit on a model without a price."""
    requests = 0.0
    dollars = 0.0
    unpriced: list[str] = []
    for cell in cells:
        target = targets[cell.target]
        requested = task_requests(target.provider, cell.operation, cell.task, cell.model, workload)  # type: ignore[arg-type]
        # Encoded here too, so that what the contract does not allow is told before a run exists.
        ready = asks(
            target.provider, cell.operation, requested, base_url=target.base_url, api_key=None, fresh_seeds=workload.seeds == "fresh"
        )
        ask = ready[0].request
        price = target.pricing.price(cell.model, cell.operation)
        each = None if price is None else price.usd(worst_case(target.provider, cell.operation, ask))
        if each is None:
            unpriced.append(f"{cell.provider} {cell.model or cell.operation}")
            if max_cost is not None:
                raise UsageError(
                    f"--max-cost cannot be kept: there is no price for {cell.model or cell.operation} of {cell.provider}",
                    hint="set " + target.pricing.missing_key(cell.model),
                )
        for stage in workload.stage:
            if stage.rate_rps is not None and search is None:
                count = stage.rate_rps * (stage.duration_s + workload.warmup_s * workload.rounds)
                requests += count
                dollars += count * (each or 0.0)
    seconds = sum(stage.duration_s + workload.warmup_s * workload.rounds for stage in workload.stage) * len(cells)
    amount = f"about {requests:.0f} requests" if requests else "as many requests as the users get through"
    if search is not None:
        amount = f"up to {search.max_stages} stages each, from {search.start_rps:g}/s on, as many requests as that takes"
    cost = f", at most about ${dollars:.2f}" if requests and dollars else ""
    missing = f" (no price: {', '.join(unpriced)})" if unpriced else ""
    if any(not is_loopback(target.base_url) for target in targets):
        click.echo("live: check that the provider's terms allow load tests; every request below can cost money", err=True)
    click.echo(
        f"plan: workload {workload.name or 'of the flags'}, {len(cells)} × {len(workload.stage)} stage(s), {workload.rounds} round(s), "
        f"{seconds:.0f} s, {amount}{cost}{missing}"
        if search is None
        else f"plan: search of {len(cells)} × saturation, {amount}{missing}",
        err=True,
    )
