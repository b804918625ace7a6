"""What intervals let one say of several figures: which can be told apart, which share a rank, which nothing beats on two counts."""

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


def told_apart(one: Estimate | None, other: Estimate | None) -> bool:
    """Whether two estimates have intervals that do not overlap."""
    if one is None or other is None or None in (one.low, one.high, other.low, other.high):
        return False
    low, high = sorted((one, other), key=lambda estimate: estimate.low or 0.0)
    return (low.high or 0.0) < (high.low or 0.0)


def frontier(points: Sequence[tuple[Estimate, Estimate]]) -> list[int]:
    """Places of the points that nothing beats, from left to right (lower is better on both axes).

    A point is beaten by one that is wholly better on an axis (its interval ends before the other begins) and not wholly worse on
    the other axis, so that chance differences neither put a point on the frontier nor take one off it.
    """
    spans = [tuple(_span(estimate) for estimate in point) for point in points]
    unbeaten = [place for place, mine in enumerate(spans) if not any(_beats(other, mine) for other in spans)]
    return sorted(unbeaten, key=lambda place: (points[place][0].value or 0.0, points[place][1].value or 0.0))


def _span(estimate: Estimate) -> tuple[float, float]:
    value = estimate.value or 0.0
    return (value if estimate.low is None else estimate.low, value if estimate.high is None else estimate.high)


def _beats(one: tuple[tuple[float, float], ...], other: tuple[tuple[float, float], ...]) -> bool:
    better = any(mine[1] < yours[0] for mine, yours in zip(one, other, strict=True))
    worse = any(mine[0] > yours[1] for mine, yours in zip(one, other, strict=True))
    return better and not worse
