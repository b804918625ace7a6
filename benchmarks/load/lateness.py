"""Whether the generator itself was late, and which turns are worth taking again for it. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from testcard.harness.runs.records import Block

#: As in `harness.statistics.summary`, which the load process does not import because it brings pandas.
LAG_LIMIT_S = 0.010


def p99(ascending: Sequence[float]) -> float | None:
    """The 99th percentile of values in ascending order (nearest rank), or None for none."""
    return ascending[max(0, -(-99 * len(ascending) // 100) - 1)] if ascending else None


def limit_s(blocks: Iterable[Block]) -> float:
    """The send lag that a row may have at its 99th percentile: 10 ms, or 1 % of its median latency where that is more."""
    medians = sorted(block.latency_p50_s for block in blocks if block.latency_p50_s is not None)
    return max(LAG_LIMIT_S, 0.01 * medians[len(medians) // 2]) if medians else LAG_LIMIT_S


def counted(blocks: Iterable[Block]) -> list[Block]:
    """The blocks that were not taken again: those whose samples count."""
    found = list(blocks)
    replaced = {block.instead_of for block in found if block.instead_of is not None}
    return [block for block in found if block.sequence not in replaced]


def worth_repeating(blocks: Sequence[Block], lags: Mapping[int, Sequence[float]]) -> Block | None:
    """The block with the most late requests of the first row in which the generator was late; None where it was on time.

    `lags` holds the send lags of each block, by its sequence.
    """
    rows: dict[tuple[int, str], list[Block]] = {}
    for block in counted(blocks):
        rows.setdefault((block.cell, block.stage), []).append(block)
    for row in rows.values():
        limit = limit_s(row)
        lag = p99(sorted(lag for block in row for lag in lags[block.sequence]))
        if lag is not None and lag > limit:
            return max(row, key=lambda block: sum(lag > limit for lag in lags[block.sequence]))
    return None
