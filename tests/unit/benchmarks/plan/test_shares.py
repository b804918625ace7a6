"""The budget divided over targets, stages and rounds before anything is sent: equal shares, never more than the limit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testcard.benchmarks.load.turns import due, offsets_of
from testcard.benchmarks.plan.job import BlockJob
from testcard.benchmarks.plan.turn_order import blocks, divided, split
from testcard.benchmarks.plan.workload import Workload
from testcard.harness.errors import UsageError


def workload(*stages: dict[str, Any], rounds: int = 8) -> Workload:
    return Workload.model_validate({"stage": stages or [{"users": 1, "duration_s": 480}], "rounds": rounds, "warmup_s": 1})


def shares(
    cells: int, load: Workload, requests: int | None = None, usd: float | None = None, price: tuple[float, ...] = (0.0,)
) -> list[BlockJob]:
    turns = blocks(cells, load, 1)
    counts = [due(load.arrival, turn, turn.arrivals_key(1)) if turn.users is None else 0 for turn in turns]
    return divided(turns, counts, max_requests=requests, max_cost_usd=usd, cost=lambda cell, begin, n: n * price[cell % len(price)])


def of(turns: list[BlockJob], cell: int, stage: str | None = None) -> list[int | None]:
    return [turn.max_requests for turn in turns if turn.cell == cell and stage in (None, turn.stage)]


def test_sixty_requests_for_three_targets_are_twenty_each() -> None:
    """In eight rounds, the first four of which have one more; without a warm-up that would throw paid requests away."""
    turns = shares(3, workload(), 60)
    assert [of(turns, cell) for cell in range(3)] == [[3, 3, 3, 3, 2, 2, 2, 2]] * 3
    assert {turn.warmup_s for turn in turns} == {0.0}
    assert {turn.warmup_s for turn in shares(3, workload(), 3 * 8 * 50)} == {1.0}  # enough to leave some out
    assert [of(shares(3, workload(), 62), cell) for cell in range(3)] == [of(turns, cell) for cell in range(3)]  # two are left over


def test_rounds_for_which_nothing_is_left_are_not_begun() -> None:
    """Five requests each: five rounds of one, in each of which every target has its turn."""
    turns = shares(2, workload(), 10)
    assert [turn.round for turn in turns] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert {turn.max_requests for turn in turns} == {1}


def test_a_budget_too_small_for_a_request_each_is_refused_with_what_it_takes() -> None:
    """Nothing is sent to the first targets only; a limit of 0 stays what it is: nothing is sent at all."""
    with pytest.raises(UsageError, match="--max-requests 5 does not give each of 6 rows one") as told:
        shares(3, workload({"users": 1, "duration_s": 9}, {"users": 2, "duration_s": 9}), 5)
    assert "6 or more" in (told.value.hint or "")
    with pytest.raises(UsageError, match=r"--max-cost 0\.05 does not give each of 2 rows one") as told:
        shares(2, workload(), usd=0.05, price=(0.04, 0.02))
    assert (told.value.hint or "").startswith("allow $0.06 or more")
    with pytest.raises(UsageError) as told:
        shares(3, workload(), usd=0.003, price=(0.00114,))
    assert (told.value.hint or "").startswith("allow $0.00342 or more")  # rounded down it would be refused again
    assert shares(3, workload(), usd=0.00342, price=(0.00114,))
    assert shares(2, workload(), 0) == shares(2, workload())


def test_money_is_divided_by_what_each_can_cost() -> None:
    """As many requests of the expensive target as of the other; all of the money is in the shares."""
    turns = shares(2, workload(), usd=1.0, price=(0.04, 0.01))
    money = [sum(turn.max_cost_usd or 0.0 for turn in turns if turn.cell == cell) for cell in (0, 1)]
    assert sum(money) == pytest.approx(1.0)
    assert money[0] == pytest.approx(4 * money[1])
    assert {turn.max_requests for turn in turns} == {None}
    both = shares(2, workload(), 12, usd=1.0, price=(0.04, 0.01))
    assert [of(both, 0), of(both, 1)] == [[1] * 6] * 2


def test_an_open_loop_that_is_cut_down_keeps_its_rate() -> None:
    """Fewer arrivals, in as much less time: exactly the share is due; a limit that leaves room changes nothing."""
    load = workload({"rate_rps": 34, "duration_s": 3.6})
    turns = shares(3, load, 60)
    assert [of(turns, cell) for cell in range(3)] == [[3, 3, 3, 3, 2, 2, 2, 2]] * 3
    for turn in turns:
        assert len(offsets_of("poisson", turn, "key")) == len(offsets_of("constant", turn, "key")) == turn.max_requests
        assert (turn.duration_s, turn.warmup_s, turn.rate_rps) == (pytest.approx((turn.max_requests or 0) / 34), 0.0, 34)
    assert shares(3, load, 5000) == blocks(3, load, 1)


def test_what_one_stage_does_not_need_goes_to_the_other() -> None:
    """0.5/s for 40 s are about 20 requests; of 100 the faster stage has what is left."""
    load = workload({"rate_rps": 0.5, "duration_s": 40}, {"rate_rps": 5, "duration_s": 40}, rounds=4).model_copy(
        update={"arrival": "constant", "warmup_s": 0.0}
    )
    turns = shares(1, load, 100)
    assert of(turns, 0, "0.5/s") == [None] * 4
    assert of(turns, 0, "5/s") == [20] * 4


@given(
    st.integers(1, 6),
    st.integers(1, 9),
    st.integers(0, 400),
    st.lists(st.sampled_from([(1.0, None), (5.0, None), (None, 2)]), min_size=1, max_size=3),
)
def test_shares_never_come_to_more_than_the_limit(
    cells: int, rounds: int, limit: int, stages: list[tuple[float | None, int | None]]
) -> None:
    """And no target has more than another at the same stage of the same round."""
    load = workload(
        *({"name": str(number), "rate_rps": rate, "users": users, "duration_s": 8} for number, (rate, users) in enumerate(stages)),
        rounds=rounds,
    )
    try:
        turns = shares(cells, load, limit)
    except UsageError:
        assert limit < cells * len(stages)
        return
    if not limit:
        return
    same: dict[tuple[str, int], set[int | None]] = {}
    for turn in turns:
        same.setdefault((turn.stage, turn.round), set()).add(turn.max_requests)
    assert all(len(found) == 1 for found in same.values())
    sent = sum(turn.max_requests if turn.max_requests is not None else due("poisson", turn, turn.arrivals_key(1)) for turn in turns)
    assert sent <= limit


def test_short_turns_together_ask_for_every_prompt_and_size() -> None:
    """Each begins where the one of the round before ended; every target of a round asks for the same."""
    turns = shares(2, workload(), 40)
    assert [turn.begin for turn in turns if turn.cell == 0] == [0, 3, 6, 9, 12, 14, 16, 18]
    assert [turn.begin for turn in turns if turn.cell == 1] == [turn.begin for turn in turns if turn.cell == 0]
    assert {turn.begin for turn in blocks(2, workload(), 1)} == {0}


def test_a_share_is_split_evenly() -> None:
    """The first rounds have one more."""
    assert split(20, 8) == [3, 3, 3, 3, 2, 2, 2, 2]
    assert split(2, 3) == [1, 1, 0]
