"""The budget is kept to the cent, whatever the order of reservations and settlements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testcard.benchmarks.load.budget import Budget
from testcard.benchmarks.load.turns import Turn
from testcard.benchmarks.plan.job import BlockJob
from testcard.harness.stops import Stop, StopReason


def test_requests_are_counted_before_they_are_sent() -> None:
    """The limit's last request is allowed, the next one is not, and the refusal says why."""
    budget = Budget(max_requests=2)
    assert budget.reserve(None)
    assert budget.reserve(None)
    assert not budget.reserve(None)
    assert budget.refusal == Stop(reason=StopReason.REQUESTS_SPENT, limit=2)


@given(
    limit=st.floats(0, 1),
    steps=st.lists(st.tuples(st.floats(0.001, 0.1), st.sampled_from(["settle", "keep", "unknown"]), st.floats(0, 1)), max_size=60),
)
def test_reservations_and_spending_never_exceed_the_limit(limit: float, steps: list[tuple[float, str, float]]) -> None:
    """With worst cases that hold, what is spent and reserved stays within the limit after every step."""
    budget = Budget(max_cost_usd=limit)
    for worst, what, share in steps:
        if budget.reserve(worst):
            if what == "settle":
                budget.settle(worst, worst * share)
            elif what == "unknown":
                budget.settle(worst, None)
        assert budget.spent_usd + budget.reserved_usd <= limit + 1e-9


def test_an_unknown_cost_keeps_its_worst_case() -> None:
    """A timed-out request may have been billed: its reservation becomes spending."""
    budget = Budget(max_cost_usd=1.0)
    budget.reserve(0.4)
    budget.settle(0.4, None)
    assert (budget.spent_usd, budget.reserved_usd) == (pytest.approx(0.4), 0.0)


def test_a_request_that_was_never_sent_gives_its_reservation_back() -> None:
    """Released: neither counted nor reserved."""
    budget = Budget(max_requests=1, max_cost_usd=0.5)
    assert budget.reserve(0.5)
    budget.release(0.5)
    assert budget.reserve(0.5)


def test_a_target_that_charges_more_is_expected_to_do_it_again() -> None:
    """The price says $0.01 and an answer costs $0.03: the next reservation is $0.03, and so is what is under way."""
    budget = Budget(max_cost_usd=0.10)
    assert budget.reserve(0.01)
    assert budget.reserve(0.01)
    budget.settle(0.01, 0.03)
    assert budget.reserved_usd == pytest.approx(0.03)
    assert budget.reserve(0.01)
    assert not budget.reserve(0.01)
    budget.settle(0.01, None)
    assert budget.spent_usd == pytest.approx(0.06)
    budget.settle(0.01, 1e300)
    assert not budget.reserve(0.01)
    assert budget.refusal is not None


def test_what_was_never_answered_counts_as_others_did() -> None:
    """Two are lost before a first answer costs three times the price: they may have been billed like it."""
    budget = Budget(max_cost_usd=0.12)
    for cost_usd in (None, None, 0.03):
        assert budget.reserve(0.01)
        budget.settle(0.01, cost_usd)
    assert budget.spent_usd == pytest.approx(0.09)
    assert budget.reserve(0.01)
    assert not budget.reserve(0.01)


@given(parts=st.integers(1, 9), requests=st.integers(1, 60), worst=st.floats(0.001, 0.1), spare=st.floats(0, 0.99))
def test_money_of_a_turn_is_shared_in_whole_requests(parts: int, requests: int, worst: float, spare: float) -> None:
    """Several processes can afford together as many requests as one could, however few: half of one request pays for none."""
    block = BlockJob(cell=0, round=1, stage="s", rate_rps=None, users=9, warmup_s=0.0, duration_s=1.0)
    whole = worst * (requests + spare)
    shares = [Turn(block, 0, part=part, parts=parts).money(whole, worst) for part in range(parts)]
    assert sum(shares) == pytest.approx(whole)
    assert sum(int(share / worst + 1e-9) for share in shares) >= requests


def test_nothing_waits_for_answers_of_requests_that_have_ended() -> None:
    """What the sums of their prices leave over is no request under way: an open loop waited for its answer for ever."""
    budget = Budget(max_cost_usd=0.5)
    budget.is_sure = False
    for _ in range(12):
        assert budget.reserve(0.014)
    assert budget.must_wait(0.1)
    for _ in range(12):
        budget.settle(0.014, None)
    assert not budget.must_wait(0.1)
    assert budget.lacks_usd(0.1, 4) > 0
