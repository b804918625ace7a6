"""The end of a run: samples sealed, summary written, result printed, exit code decided."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click
import msgspec

from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.run.session import Session
from testcard.benchmarks.search.saturation import SaturationSearch
from testcard.harness.errors import Exit, worst
from testcard.harness.runs.folder import RunWriter
from testcard.harness.runs.records import Outcome, Summary
from testcard.harness.stops import next_step, sentence
from testcard.harness.targets import OpenTarget

if TYPE_CHECKING:
    from testcard.harness.statistics.summary import RowKey


def finish(
    writer: RunWriter, session: Session, workload: Workload, targets: Sequence[OpenTarget], as_json: bool, finder: SaturationSearch | None
) -> int:
    """Seals the samples, writes the summary, prints it, and decides."""
    from testcard.benchmarks.judging.recorder import seal
    from testcard.benchmarks.load.facts import notes, stage_facts
    from testcard.benchmarks.load.turns import counted
    from testcard.benchmarks.show.table import render
    from testcard.harness.runs.folder import RunReader
    from testcard.harness.statistics.samples import read
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
    writer.finish(outcome, code, reason, session.stops)
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


def _with_notes(summary: Summary, said: Mapping[RowKey, str]) -> Summary:
    """The summary with what the run says about rows added to their notes."""
    rows = []
    for row in summary.rows:
        further = said.get((row.provider, row.model, row.operation, row.stage, row.target))
        note = "; ".join(text for text in (row.note, further) if text)
        rows.append(msgspec.structs.replace(row, note=note or None))
    return msgspec.structs.replace(summary, rows=rows)


def _decide(session: Session, summary: Summary, finder: SaturationSearch | None = None) -> tuple[Exit, Outcome, str | None]:
    """Exit code, outcome and reason; when several hold, the order of the exit codes decides."""
    if session.interrupted:
        return Exit.INTERRUPTED, "interrupted", "stopped early; everything recorded so far is kept"
    if session.fatal is not None:
        return Exit(int(session.fatal.exit_code)), "error", session.fatal.message
    codes: list[Exit] = []
    reasons: list[str] = []
    for stop in session.stops:
        codes.append(Exit.INCONCLUSIVE)
        reasons.append(sentence(stop))
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
    for stop in session.stops:
        if (step := next_step(stop)) is not None:
            return step
    if finder is not None:
        return "a longer --duration, more --max-stages, or --processes where the load generator was the limit"
    if any(row.generator.limit is not None for row in summary.rows if row.outcome == "inconclusive"):
        return "a lower --rate (or fewer --users), or a machine with nothing else to do"
    return "more samples: a longer --duration"
