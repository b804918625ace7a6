"""What the statistics cannot see in samples: how long stages were, and how the generator itself did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from testcard.benchmarks.load.turns import counted, p99
from testcard.harness.runs.records import Block
from testcard.harness.statistics.summary import GeneratorLimit, RowKey, StageFacts

if TYPE_CHECKING:
    import pandas as pd

#: An event loop busier than this delays what it measures, in the closed loop too, where no send lag can show it.
BUSY_PERCENT = 90.0
#: More of the requests that were due and never sent make a stage something else than what was planned.
MISSING_SHARE = 0.01


def stage_facts(samples: pd.DataFrame, blocks: Sequence[Block], *, capped: bool) -> dict[RowKey | str, StageFacts]:
    """Facts of each row from its blocks (all rounds, all workers) and samples: seconds, p99 send lag, CPU, arrivals never sent."""
    groups: dict[RowKey, list[Block]] = {}
    for block in counted(blocks):
        groups.setdefault((block.provider, block.model, block.operation, block.stage, block.target), []).append(block)
    lags = _lags(samples, by_target=any(block.target is not None for block in blocks))
    return {key: _facts(rows, sorted(lags.get(key, ())), capped) for key, rows in groups.items()}


def _lags(samples: pd.DataFrame, *, by_target: bool) -> dict[RowKey, list[float]]:
    counting = samples[~samples["warmup"].fillna(False).to_numpy(dtype=bool)]
    found: dict[RowKey, list[float]] = {}
    names = ["provider", "model", "operation", "stage", *(["target"] if by_target else [])]
    for (provider, model, operation, stage, *target), part in counting.groupby(names, observed=True, dropna=False):
        place = int(str(target[0])) if target else None
        key = (str(provider), model if isinstance(model, str) else None, str(operation), str(stage), place)
        found[key] = part["lag_s"].dropna().tolist()
    return found


def _facts(blocks: list[Block], lags: list[float], capped: bool) -> StageFacts:
    turns: dict[int, list[Block]] = {}  # the parts that several workers had in one turn
    for block in blocks:
        turns.setdefault(block.sequence, []).append(block)
    workers = {block.worker for block in blocks}
    rounds: dict[int, float] = {}
    for turn in turns.values():
        number = turn[0].round
        rounds[number] = rounds.get(number, 0.0) + max(block.duration_s for block in turn)
    users = [sum(block.users for block in turn if block.users is not None) for turn in turns.values()]
    return StageFacts(
        duration_s=sum(max(block.duration_s for block in turn) for turn in turns.values()) or None,
        rounds_s=rounds,
        users=max(users) if blocks[0].users is not None else None,
        capped=capped,
        send_lag_p99_s=p99(lags),
        cpu_percent=max(_mean(blocks, worker, lambda block: block.cpu_percent) for worker in workers),
        dropped=sum(block.dropped for block in blocks),
        sent_again=sum(block.sent_again for block in blocks),
        saturated=_saturated(blocks, max(_mean(blocks, worker, lambda block: block.busy_percent) for worker in workers)),
    )


def _mean(blocks: Sequence[Block], worker: int, value: Callable[[Block], float]) -> float:
    """A worker's mean over its blocks, by their lengths."""
    mine = [(value(block), max(block.ended_s - block.started_s, 1e-9)) for block in blocks if block.worker == worker]
    return sum(each * span for each, span in mine) / sum(span for _, span in mine)


def _saturated(blocks: Sequence[Block], busy: float) -> tuple[GeneratorLimit, str] | None:
    """Why the load was not what was planned, for the generator's sake; None where it was."""
    scheduled = sum(block.scheduled for block in blocks)
    missing = sum(block.dropped - block.held for block in blocks)
    if missing > MISSING_SHARE * scheduled:
        return "unsent", f"{missing} of {scheduled} requests were due and never sent: the load generator lost a part of itself"
    if busy >= BUSY_PERCENT:
        return "busy", f"the load generator was busy {busy:.0f} % of the time: what it measured is partly itself"
    return None


def notes(blocks: Sequence[Block]) -> dict[RowKey, str]:
    """For each row with turns that were taken again, or requests that were held back, a sentence that says so."""
    again: dict[RowKey, set[int]] = {}
    held: dict[RowKey, int] = {}
    for block in blocks:
        key = (block.provider, block.model, block.operation, block.stage, block.target)
        if block.instead_of is not None:
            again.setdefault(key, set()).add(block.sequence)
        if block.held:
            held[key] = held.get(key, 0) + block.held
    found: dict[RowKey, list[str]] = {}
    for key, turns in again.items():
        count = f"{len(turns)} turn{'s' if len(turns) > 1 else ''}"
        found.setdefault(key, []).append(f"{count} taken again because the generator was late; the first try is recorded and left out")
    for key, number in held.items():
        found.setdefault(key, []).append(f"{number} requests were due while the server had asked to wait (Retry-After) and were not sent")
    return {key: "; ".join(texts) for key, texts in found.items()}
