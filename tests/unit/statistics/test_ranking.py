"""What one run says of several targets: which is faster and by how much, who shares a rank, what nothing beats."""

from __future__ import annotations

import numpy as np
import pytest

from testcard.harness.runs.records import Estimate
from testcard.harness.statistics.ranking import Times, frontier, pairs, ranks, ranks_by_rounds
from testcard.harness.statistics.rounds import RoundValues


def times(generator: np.random.Generator, factor: float, *, rounds: int = 8, each: int = 8, sigma: float = 0.4) -> Times:
    """Log-normal latencies of a target in its rounds."""
    return Times(factor * generator.lognormal(0.0, sigma, rounds * each), np.repeat(np.arange(rounds), each))


def test_a_slower_target_is_found_with_its_ratio_and_twins_share_a_rank() -> None:
    """Sixty-four requests each: 1.6 times slower is found, with the ratio in its interval; two alike cannot be told apart."""
    generator = np.random.default_rng(3)
    targets = [times(generator, 1.0), times(generator, 1.0), times(generator, 1.6)]
    found = pairs(targets)
    assert [(pair.one, pair.other) for pair in found] == [(0, 1), (0, 2), (1, 2)]
    assert [pair.differs for pair in found] == [False, True, True]
    for pair in found[1:]:
        assert pair.ratio.low is not None
        assert pair.ratio.high is not None
        assert 1.0 < pair.ratio.low <= 1.6 <= pair.ratio.high
    assert ranks(3, found) == [1, 1, 3]


def test_the_interval_never_denies_what_the_test_found() -> None:
    """Without a correction (two targets) the test finds a difference exactly where the interval leaves out 1."""
    generator = np.random.default_rng(4)
    for factor in (1.0, 1.15, 1.3, 0.8):
        for _ in range(10):
            (pair,) = pairs([times(generator, 1.0), times(generator, factor)])
            assert pair.ratio.low is not None
            assert pair.ratio.high is not None
            assert pair.differs == (not pair.ratio.low <= 1.0 <= pair.ratio.high)


def test_a_run_of_one_round_is_cut_into_pieces() -> None:
    """One round of 60 is compared in eight pieces; three requests decide nothing, and say what is missing."""
    generator = np.random.default_rng(5)
    whole = [times(generator, factor, rounds=1, each=60) for factor in (1.0, 2.0)]
    (pair,) = pairs(whole)
    assert (pair.rounds, pair.differs) == (8, True)
    (few,) = pairs([times(generator, 1.0, rounds=1, each=3), whole[1]])
    assert few.p is None
    assert "needs 4" in few.reason
    assert ranks(2, [few]) == [None, None]


def test_timeouts_are_longer_than_anything() -> None:
    """A target half of whose requests time out is the slower one, by an unknown factor."""
    generator = np.random.default_rng(6)
    late = times(generator, 1.0)
    late.seconds[::2] = np.inf
    (pair,) = pairs([times(generator, 1.0), late])
    assert pair.differs
    assert ranks(2, [pair]) == [1, 2]
    assert pair.ratio.high is None or pair.ratio.high > 2.0


def test_all_equal_latencies_are_no_difference() -> None:
    """Two constant servers alike: ratio 1, no difference; one constant and slower: surely so."""
    flat = Times(np.full(80, 0.5), np.repeat(np.arange(8), 10))
    (same,) = pairs([flat, flat])
    assert not same.differs
    (slower,) = pairs([flat, Times(np.full(80, 1.0), flat.rounds)])
    assert slower.differs
    assert slower.ratio.value == pytest.approx(2.0, rel=0.01)


def test_round_values_rank_by_a_test_with_holm() -> None:
    """Three targets by goodput: two apart, two alike; too few rounds have no rank."""
    generator = np.random.default_rng(7)
    values = [RoundValues(generator.normal(mean, 0.3, 8), np.full(8, 30.0)) for mean in (10.0, 10.0, 6.0)]
    assert ranks_by_rounds(values, False, lower_is_better=False) == [1, 1, 3]
    assert ranks_by_rounds(values, False, lower_is_better=True) == [2, 2, 1]
    short = RoundValues(np.array([1.0, 2.0]), np.full(2, 30.0))
    assert ranks_by_rounds([*values, short], False, lower_is_better=False)[3] is None


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
