"""A handful of the runs that `budgets.py` beside this draws by the hundred: 64 requests at a time never use more than a budget allows."""

from __future__ import annotations

import asyncio
import random

import pytest
from crash.budgets import LOADS, USD_EACH, Drawn, checked, drawn, loaded

from testcard.harness.check.spending.budget import SpendingLimits


@pytest.mark.parametrize("seed", range(6))
def test_what_the_mock_counts_is_within_the_limit(seed: int) -> None:
    """Whatever faults it has and whatever its answers state as their cost; and something is used, or nothing would be shown."""
    one = drawn(random.Random(seed), bench=False)
    counted = asyncio.run(checked(one))
    assert counted["requests"] > 0
    assert one.over(counted["requests"], counted["images"]) == "", one


@pytest.mark.parametrize("load", LOADS, ids=["users", "rate", "processes"])
def test_a_first_wave_at_a_target_that_counts_more_is_within_the_limit(load: tuple[str, ...]) -> None:
    """A benchmark with money for nine pictures, 64 requests at once, at a server that sends one more than it is asked for: that is learnt in time."""
    one = Drawn("nanogpt", ("image.count/extra",), None, SpendingLimits(max_cost_usd=9.5 * USD_EACH))
    counted = loaded(one, load)
    assert counted["images"] > 0
    assert one.over(counted["requests"], counted["images"]) == "", counted
