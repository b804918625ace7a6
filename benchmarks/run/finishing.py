"""The end of a run, from what is on disk: samples sealed, summary and saturation written, exit code and reasons decided."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from testcard.benchmarks.plan.workload import Workload, parse_workload
from testcard.benchmarks.search.saturation import SaturationSearch
from testcard.harness.errors import Exit, TestcardError, UsageError, worst
from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.reading import CHANGED, decoded, lines
from testcard.harness.runs.records import Block, Outcome, Saturations, Spend, Summary
from testcard.harness.stops import BUDGET, Stop, StopReason, sentence
from testcard.harness.text.words import count, significant

if TYPE_CHECKING:
    import pandas as pd

    from testcard.benchmarks.run.planning import BenchPlan
    from testcard.harness.statistics.summary import RowKey


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a load came to: its summary, what a search found, what was spent."""

    summary: Summary
    saturations: Saturations | None
    spend: Spend


#: Target, operation and model of a cell → what its requests ask for, in words.
Asked = Mapping[tuple[int | None, str, str | None], dict[str, str]]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: exit code, outcome, and in a sentence why it is no pass."""

    code: Exit
    outcome: Outcome
    reason: str | None


def write_down(
    writer: RunWriter,
    blocks: Sequence[Block],
    workload: Workload,
    finder: SaturationSearch | None,
    asked: Asked,
    stops: Sequence[Stop] = (),
    left_out: Collection[str] = (),
) -> Recorded:
    """Seals the samples, and writes the summary, with what each cell asked for, and what a search found before the stops.

    Objectives in `left_out` count only where they are broken: nobody asked for them, and the budget cannot show that they are kept.
    """
    from testcard.benchmarks.judging.recorder import seal
    from testcard.harness.statistics.samples import read

    if finder is not None:
        finder.end(blocks, stops)  # while the shards are there
    writer.add_file("samples", "samples.parquet")  # listed first: a kill between the two leaves nothing that nobody lists
    seal(writer.folder, _taken_again(blocks))
    frame = read(RunReader(writer.folder))
    summary = _without(_measured(frame, blocks, workload, asked, stops, writer.run.seed or 0), left_out)
    found = None
    if finder is not None:
        summary = finder.as_measured(summary)
        found = finder.result()
        writer.write("saturation", "saturation.json", found)
    writer.write("summary", "summary.json", summary)
    return Recorded(summary, found, _spend(frame))


def recovered_summary(run: RunReader) -> Summary:
    """The summary of a run that was cut short before it wrote one, from the samples and the turns that are there.

    A turn that was under way when the run ended has samples and no length, so its rates are those between its answers.
    `UsageError` for a folder whose files do not fit.
    """
    from testcard.harness.runs.samples import is_sealed
    from testcard.harness.statistics.samples import read

    place = run.folder / "run.json"
    config = run.run.config
    given = config.get("workload")
    if not isinstance(given, dict):
        raise UsageError(f"{place}: config.workload is missing", hint=CHANGED)
    workload = parse_workload(given, str(place))
    try:
        asked = {
            (one["target"], one["operation"], one["model"]): {str(key): str(value) for key, value in one["asked"].items()}
            for one in config.get("asked", ())
        }
    except (TypeError, KeyError, AttributeError):
        raise UsageError(f"{place}: config.asked cannot be read", hint=CHANGED) from None
    blocks = recorded_blocks(run)
    frame = read(run)
    if not is_sealed(run):
        for worker, begin, end in _taken_again(blocks):
            again = (frame["worker"] == worker) & frame["scheduled_s"].between(begin, end, inclusive="left")
            frame["warmup"] = frame["warmup"].fillna(False) | again
    return _measured(frame, blocks, workload, asked, run.run.stops, run.run.seed or 0)


def recorded_blocks(run: RunReader) -> list[Block]:
    """The turns of a run's blocks.jsonl, without a last line that a kill cut off."""
    path = run.evidence("blocks")
    if path is None:
        return []
    decoder = msgspec.json.Decoder(Block)
    return [decoded(line, decoder, path, number) for number, line in lines(path) if line.endswith(b"\n")]


def _taken_again(blocks: Sequence[Block]) -> list[tuple[int, float, float]]:
    """The times (worker, from, to) of turns that were taken again, whose samples count as warm-up."""
    from testcard.benchmarks.load.turns import counted

    kept = {id(block) for block in counted(blocks)}
    return [(block.worker, block.started_s, block.ended_s) for block in blocks if id(block) not in kept]


def _measured(frame: pd.DataFrame, blocks: Sequence[Block], workload: Workload, asked: Asked, stops: Sequence[Stop], seed: int) -> Summary:
    from testcard.benchmarks.load.facts import notes, stage_facts
    from testcard.harness.statistics.summary import summarise

    summary = summarise(
        frame,
        objectives=list(workload.slo),
        facts=stage_facts(frame, blocks, capped=workload.max_in_flight is not None),
        workload=workload.model_dump(mode="json"),
        seed=seed,
    )
    return _with_notes(_refused(_with_asked(summary, asked), stops), notes(blocks))


def _without(summary: Summary, left_out: Collection[str]) -> Summary:
    """The summary without the gates of those objectives that are undecided."""
    rows = []
    for row in summary.rows:
        gates = [gate for gate in row.gates if gate.verdict != "inconclusive" or gate.expression not in left_out]
        open_ = any(gate.verdict == "inconclusive" for gate in gates)
        by_gates = len(gates) < len(row.gates) and row.ok > 0 and row.generator.limit is None and not open_
        outcome = "pass" if row.outcome == "inconclusive" and by_gates else row.outcome
        rows.append(msgspec.structs.replace(row, gates=gates, outcome=outcome))
    return msgspec.structs.replace(summary, rows=rows)


def _spend(frame: pd.DataFrame) -> Spend:
    """What the recorded requests came to. Warm-up and turns that were taken again cost as others do."""
    known = bool(frame["cost_usd"].notna().all())
    pictures = int(frame["pictures"].fillna(0).sum())
    return Spend(
        requests=len(frame),
        billed_requests=int((~frame["outcome"].isin(("connect", "tls"))).sum()),  # nothing was asked for where nobody was reached
        images=pictures,
        cost_usd=float(frame["cost_usd"].sum()) if known else None,
    )


def _with_asked(summary: Summary, asked: Asked) -> Summary:
    rows = [msgspec.structs.replace(row, asked=asked.get((row.target, row.operation, row.model), {})) for row in summary.rows]
    return msgspec.structs.replace(summary, rows=rows)


def _refused(summary: Summary, stops: Sequence[Stop]) -> Summary:
    """Rows of a target that refused everything say nothing of it: what was asked for was wrong, or it was not ready to answer."""
    said = {stop.target: sentence(stop) for stop in stops if stop.reason is StopReason.ALL_REFUSED}
    rows = [
        msgspec.structs.replace(row, outcome="inconclusive", note=said[row.provider]) if row.ok == 0 and row.provider in said else row
        for row in summary.rows
    ]
    return msgspec.structs.replace(summary, rows=rows)


def _with_notes(summary: Summary, said: Mapping[RowKey, str]) -> Summary:
    """The summary with what the run says about rows added to their notes."""
    rows = []
    for row in summary.rows:
        further = said.get((row.provider, row.model, row.operation, row.stage, row.target))
        note = "; ".join(text for text in (row.note, further) if text)
        rows.append(msgspec.structs.replace(row, note=note or None))
    return msgspec.structs.replace(summary, rows=rows)


def conclude(
    recorded: Recorded,
    stops: Sequence[Stop],
    *,
    interrupted: bool,
    fatal: TestcardError | None,
    planned: Collection[RowKey] = (),
    remark: str | None = None,
) -> Ending:
    """How the run ended; when several hold, the order of the exit codes decides. `remark`: what explains that something is undecided.

    A stop that cut the run leaves it inconclusive. A budget that was used up does not (but for that of downloads): what it left undecided the
    rows say, or that one of those `planned` is not there.
    """
    if interrupted:
        return Ending(Exit.INTERRUPTED, "interrupted", "stopped early; everything recorded so far is kept")
    if fatal is not None:
        return Ending(Exit(int(fatal.exit_code)), "error", fatal.message)
    codes: list[Exit] = []
    reasons: list[str] = []
    for stop in stops:
        # Every address that is not fetched is an answer that nothing is known of; other budgets end what is asked for, and no more.
        if stop.reason not in BUDGET or stop.reason is StopReason.DOWNLOADS_SPENT:
            codes.append(Exit.INCONCLUSIVE)
            reasons.append(sentence(stop))
    for found in recorded.saturations.results if recorded.saturations is not None else []:
        if found.holds_rps is None and found.high_rps is not None:  # even the lowest rate surely broke
            codes.append(Exit.GATE_FAILED)
            reasons.append(f"{found.provider} {found.operation} {found.sentence}")
        elif not found.conclusive:
            codes.append(Exit.INCONCLUSIVE)
            reasons.append(f"{found.provider} {found.operation} {found.sentence}")
    for row in recorded.summary.rows if recorded.saturations is None else []:
        name = f"{row.provider} {row.operation} {row.stage}"
        if row.outcome == "fail":
            codes.append(Exit.GATE_FAILED)
            broken = [gate.expression for gate in row.gates if gate.verdict == "fail"]
            reasons.append(f"{name}: {' and '.join(broken) + ' failed' if broken else row.note or 'failed'}")
        elif row.outcome == "inconclusive":
            codes.append(Exit.INCONCLUSIVE)
            undecided = [f"{gate.expression} is undecided: {gate.detail}" for gate in row.gates if gate.verdict == "inconclusive"]
            # A remark beside figures (turns taken again) is no reason; a late generator, or a row without an answer, is.
            explains = row.note and (row.ok == 0 or row.generator.limit is not None)
            because = row.note if explains or not undecided else "; ".join(undecided)
            if because not in reasons:
                reasons.append(f"{name}: {because}")
    there = {(row.provider, row.model, row.operation, row.stage, row.target) for row in recorded.summary.rows}
    missing = [key for key in planned if key not in there]
    if not there:
        codes.append(Exit.INCONCLUSIVE)
        reasons.append("no request was sent")
    elif missing:
        codes.append(Exit.INCONCLUSIVE)
        reasons += [f"{provider} {operation} {stage}: no request was sent" for provider, _, operation, stage, _ in missing]
    if worst(codes) == Exit.INCONCLUSIVE:
        reasons = [*dict.fromkeys([*(sentence(stop) for stop in stops if stop.reason in BUDGET), *([remark] if remark else []), *reasons])]
    code = worst(codes)
    outcomes: dict[Exit, Outcome] = {Exit.PASS: "pass", Exit.GATE_FAILED: "fail", Exit.INCONCLUSIVE: "inconclusive"}
    return Ending(code, outcomes[code], "; ".join(reasons) or None)


def charged_more(plan: BenchPlan, spend: Spend, max_cost_usd: float | None) -> str | None:
    """That answers cost more than the prices say, so that the money paid for fewer requests than were planned; None where it did not."""
    planned = (plan.row_requests or 0) * len(plan.rows)
    if not max_cost_usd or not spend.cost_usd or not spend.requests or spend.requests >= planned:
        return None
    each = spend.cost_usd / spend.requests
    if spend.cost_usd + each <= max_cost_usd or each * planned <= max_cost_usd:
        return None
    return (
        f"answers cost ${significant(each)} on average, more than the prices say, so ${significant(max_cost_usd)} paid for "
        f"{count(spend.requests, 'request')} instead of {planned:,}"
    )
