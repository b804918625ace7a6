"""What an objective can decide with so many requests agrees with what judges it afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from testcard.harness.statistics.decidable import outlook
from testcard.harness.statistics.limit_share import judge_limit
from testcard.harness.statistics.rates import wilson
from testcard.harness.statistics.slo import parse


@pytest.mark.parametrize("n", [5, 20, 60, 72, 125, 400])
def test_a_percentile_passes_and_fails_where_its_samples_would(n: int) -> None:
    """One more slower request than it says does not pass; one fewer than it says does not fail."""
    found = outlook(parse("p95<2s"), n)

    def verdict(over: int) -> str:
        values = np.full(n, 0.1)
        values[:: max(1, n // max(over, 1))][:over] = 9.0
        slow = np.count_nonzero(values > 2.0)
        assert slow == over
        return judge_limit(values, np.arange(n) % 8, limit=2.0, allowed=0.05).verdict

    if found.passes is None:
        assert verdict(0) == "undecided"
        assert found.least == 72
    else:
        assert verdict(0) == "holds"
        assert verdict(found.passes + 1) != "holds"
    assert found.fails is not None
    assert verdict(found.fails) == "breaks"
    assert verdict(found.fails - 1) != "breaks"


def test_an_error_rate_passes_and_fails_by_its_interval() -> None:
    """Wilson's, as afterwards: 20 requests allow no error below 20 %, and eight fail it."""
    found = outlook(parse("error_rate<20%"), 20)
    assert (found.passes, found.fails, found.least) == (0, 8, 16)
    assert found.words == "error_rate<20% passes with no error of 20 and fails from 8"
    assert (wilson(0, 20).high or 1) < 0.2 < (wilson(1, 20).high or 0)
    assert (wilson(7, 20).low or 0) < 0.2 < (wilson(8, 20).low or 0)
    assert outlook(parse("ok_rate>80%"), 20).passes == 0


def test_what_cannot_pass_says_how_many_it_takes() -> None:
    """Whatever comes of the requests."""
    assert outlook(parse("p95<8s"), 20).words == "p95<8s cannot pass with 20 (that takes 72) and fails from 4"
    assert outlook(parse("p50<8s"), 5).words == "p50<8s cannot pass with 5 (that takes 6) nor fail"
    assert outlook(parse("usd_per_image<1"), 3).words == "usd_per_image<1 needs 6 requests"
    assert outlook(parse("usd_per_image<1"), 30).passes == 0
    assert outlook(parse("error_rate<0%"), 500).least is None
    assert outlook(parse("p95<8s"), 0).passes is None
