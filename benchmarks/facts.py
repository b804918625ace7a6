"""What the statistics cannot see in samples: how long stages were, and how the generator itself did."""

from __future__ import annotations

from collections.abc import Sequence

from testcard.benchmarks.job import BlockRecord
from testcard.benchmarks.lateness import counted, p99
from testcard.harness.statistics.summary import RowKey, StageFacts


def stage_facts(blocks: Sequence[BlockRecord], *, capped: bool) -> dict[RowKey | str, StageFacts]:
    """Facts of each row from its blocks (all rounds, all workers): measured seconds, p99 send lag, mean CPU, arrivals never sent."""
    groups: dict[RowKey, list[BlockRecord]] = {}
    for block in counted(blocks):
        groups.setdefault((block.provider, block.model, block.operation, block.stage), []).append(block)
    return {key: _facts(rows, capped) for key, rows in groups.items()}


def _facts(blocks: list[BlockRecord], capped: bool) -> StageFacts:
    first = blocks[0].worker
    lags = sorted(lag for block in blocks for lag in block.send_lags_s)
    spans = [block.ended_s - block.started_s for block in blocks]
    return StageFacts(
        duration_s=sum(block.duration_s for block in blocks if block.worker == first) or None,
        users=blocks[0].users,
        capped=capped,
        send_lag_p99_s=p99(lags),
        cpu_percent=sum(block.cpu_percent * span for block, span in zip(blocks, spans, strict=True)) / max(sum(spans), 1e-9),
        dropped=sum(block.dropped for block in blocks),
    )


def notes(blocks: Sequence[BlockRecord]) -> dict[RowKey, str]:
    """For each row with turns that were taken again, a sentence that says so."""
    found: dict[RowKey, int] = {}
    for block in blocks:
        if block.instead_of is not None:
            key = (block.provider, block.model, block.operation, block.stage)
            found[key] = found.get(key, 0) + 1
    return {
        key: f"{count} turn{'s' if count > 1 else ''} taken again because the generator was late; the first try is recorded and left out"
        for key, count in found.items()
    }
