"""Ranks that do not pretend: rows whose intervals overlap share one."""

from __future__ import annotations

from collections.abc import Sequence

from testcard.harness.runs.records import Estimate


def ranks(estimates: Sequence[Estimate | None], *, lower_is_better: bool = True) -> list[int | None]:
    """For each row 1 + the number of rows that are wholly better: whose interval ends before this one's begins.

    None for a row without a figure or without an interval; such a row is better than nobody and worse than nobody. Where the
    end away from "better" is unknown (timeouts), the row can still be beaten, and beats nobody.
    """
    spans: list[tuple[float, float] | None] = []
    for estimate in estimates:
        if estimate is None or estimate.low is None or (estimate.value is None and estimate.high is not None):
            spans.append(None)
            continue
        low, high = estimate.low, float("inf") if estimate.high is None else estimate.high
        spans.append((low, high) if lower_is_better else (-high, -low))
    return [None if mine is None else 1 + sum(1 for other in spans if other is not None and other[1] < mine[0]) for mine in spans]
