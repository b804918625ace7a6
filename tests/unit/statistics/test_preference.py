"""Bradley–Terry strengths: recovered from votes, with intervals that cover, finite where one wins all."""

import itertools

import numpy as np
import pytest

from testcard.harness.statistics.ranking import Vote, strengths


def drawn(theta: list[float], each: int, seed: int) -> list[Vote]:
    """So many votes for each pair, by the model."""
    random = np.random.default_rng(seed)
    found = []
    for one, other in itertools.combinations(range(len(theta)), 2):
        chance = 1 / (1 + np.exp(theta[other] - theta[one]))
        found += [Vote(one, other, float(random.random() < chance)) for _ in range(each)]
    return found


@pytest.mark.parametrize("each", [12, 40])
def test_intervals_cover_and_narrow_with_votes(each: int) -> None:
    """Four targets of unlike strength, 300 polls: the 95 % intervals hold the truth in 93 % of them or more."""
    theta = np.array([0.9, 0.3, -0.2, -1.0])
    truth = 1 / (1 + np.exp(-(theta - theta.mean())))
    held, widths = [], []
    for seed in range(300):
        found = strengths(4, drawn(list(theta), each, seed))
        held += [one.low <= value <= one.high for one, value in zip(found, truth, strict=True)]
        widths += [one.high - one.low for one in found]
    assert np.mean(held) >= 0.93
    assert np.mean(widths) < (0.36 if each == 12 else 0.22)


def test_who_wins_every_vote_is_not_infinitely_good() -> None:
    first, second = strengths(2, [Vote(0, 1, 1.0)] * 12)
    assert 0.5 < first.preferred < first.high < 1.0
    assert first.low > 0.5 > second.high
    assert (first.won, second.lost, first.votes) == (12, 12, 12)


def test_ties_make_even_and_no_votes_say_nothing() -> None:
    """All ties: one half, and the interval is around it. Without a vote the prior is all there is: nearly everything is possible."""
    one, other = strengths(2, [Vote(0, 1, 0.5)] * 20)
    assert one.preferred == pytest.approx(0.5)
    assert other.tied == 20
    alone, _ = strengths(2, [])
    assert alone.low < 0.1
    assert alone.high > 0.9


def test_a_vote_of_nobody_is_refused() -> None:
    for vote in (Vote(0, 0, 1.0), Vote(0, 2, 1.0)):
        with pytest.raises(ValueError, match="two contestants"):
            strengths(2, [vote])
