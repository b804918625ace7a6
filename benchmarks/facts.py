"""What the statistics cannot see in samples: how long stages were, and how the generator itself did."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from testcard.benchmarks.lateness import counted, p99
from testcard.harness.runs.records import Block
from testcard.harness.statistics.summary import RowKey, StageFacts

if TYPE_CHECKING:
    import pandas as pd

#: An event loop busier than this delays what it measures, in the closed loop too, where no send lag can show it.
BUSY_PERCENT = 90.0


def stage_facts(samples: pd.DataFrame, blocks: Sequence[Block], *, capped: bool) -> dict[RowKey | str, StageFacts]:
    """Facts of each row from its blocks (all rounds, all workers) and samples: seconds, p99 send lag, CPU, arrivals never sent."""
    groups: dict[RowKey, list[Block]] = {}
    for block in counted(blocks):
        groups.setdefault((block.provider, block.model, block.operation, block.stage), []).append(block)
    lags = _lags(samples)
    return {key: _facts(rows, sorted(lags.get(key, ())), capped) for key, rows in groups.items()}


def _lags(samples: pd.DataFrame) -> dict[RowKey, list[float]]:
    counting = samples[~samples["warmup"].fillna(False).to_numpy(dtype=bool)]
    found: dict[RowKey, list[float]] = {}
    for (provider, model, operation, stage), part in counting.groupby(
        ["provider", "model", "operation", "stage"], observed=True, dropna=False
    ):
        key = (str(provider), model if isinstance(model, str) else None, str(operation), str(stage))
        found[key] = part["lag_s"].dropna().tolist()
    return found


def _facts(blocks: list[Block], lags: list[float], capped: bool) -> StageFacts:
    first = blocks[0].worker
    spans = [max(block.ended_s - block.started_s, 1e-9) for block in blocks]

    def mean(values: Iterable[float]) -> float:
        return sum(value * span for value, span in zip(values, spans, strict=True)) / sum(spans)

    busy = mean(block.busy_percent for block in blocks)
    return StageFacts(
        duration_s=sum(block.duration_s for block in blocks if block.worker == first) or None,
        users=blocks[0].users,
        capped=capped,
        send_lag_p99_s=p99(lags),
        cpu_percent=mean(block.cpu_percent for block in blocks),
        dropped=sum(block.dropped for block in blocks),
        saturated=f"the load generator was busy {busy:.0f} % of the time: what it measured is partly itself"
        if busy >= BUSY_PERCENT
        else None,
    )


def notes(blocks: Sequence[Block]) -> dict[RowKey, str]:
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
