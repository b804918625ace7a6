"""A handful of the runs that `budgets.py` beside this draws by the hundred: 64 requests at a time never use more than a budget allows."""

from __future__ import annotations

import asyncio
import random

import pytest
from crash.budgets import checked, drawn


@pytest.mark.parametrize("seed", range(6))
def test_what_the_mock_counts_is_within_the_limit(seed: int) -> None:
    """Whatever faults it has and whatever its answers state as their cost; and something is used, or nothing would be shown."""
    one = drawn(random.Random(seed), bench=False)
    counted = asyncio.run(checked(one))
    assert counted["requests"] > 0
    assert one.over(counted["requests"], counted["images"]) == "", one
