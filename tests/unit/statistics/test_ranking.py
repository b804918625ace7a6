"""What intervals let one say: ranks, what can be told apart, what nothing beats."""

from __future__ import annotations

import pytest

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.ranking import frontier, ranks, told_apart


def span(low: float | None, high: float | None) -> Estimate:
    return Estimate(value=low if high is not None else None, low=low, high=high, n=9)


def test_rows_that_overlap_share_a_rank() -> None:
    """Only a row that is wholly better pushes another down."""
    rows = [span(1, 2), span(1.5, 3), span(2.5, 4), span(5, 6)]
    assert ranks(rows) == [1, 1, 2, 4]
    assert ranks(rows, lower_is_better=False) == [3, 2, 2, 1]


def test_a_row_without_a_figure_has_no_rank() -> None:
    """No price and too few samples are no rank; a row lost in timeouts can be beaten and beats nobody."""
    assert ranks([None, Estimate(value=None, n=3), span(1, 2), span(9, None)]) == [None, None, 1, 2]
    assert ranks([span(9, None), span(20, 30)]) == [1, 1]


def test_captions_claim_no_difference_that_intervals_do_not_show() -> None:
    """Overlapping or unknown intervals are not told apart."""

    def of(low: float | None, high: float | None) -> Estimate:
        return Estimate(value=1.0, low=low, high=high, n=9)

    assert told_apart(of(1, 2), of(3, 4))
    assert told_apart(of(3, 4), of(1, 2))
    assert not told_apart(of(1, 3), of(2, 4))
    assert not told_apart(of(1, None), of(2, 4))
    assert not told_apart(None, of(2, 4))


def _point(*spans: tuple[float, float]) -> tuple[Estimate, ...]:
    return tuple(Estimate(value=(low + high) / 2, low=low, high=high, n=9) for low, high in spans)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([_point((1, 1), (1, 1))], [0]),
        ([_point((1, 1), (5, 5)), _point((2, 2), (3, 3)), _point((3, 3), (4, 4)), _point((4, 4), (1, 1))], [0, 1, 3]),
        ([_point((2, 2), (2, 2)), _point((1, 1), (1, 1))], [1]),
        ([_point((1, 3), (5, 5)), _point((2, 4), (1, 1))], [1]),  # a speed that cannot be told apart does not pay for the price
        ([_point((1, 3), (4, 6)), _point((2, 4), (5, 7))], [0, 1]),  # nothing can be told apart
    ],
)
def test_frontier_is_what_nothing_beats(points: list[tuple[Estimate, Estimate]], expected: list[int]) -> None:
    """From left to right; overlapping intervals decide nothing."""
    assert frontier(points) == expected
