"""Whether a percentile holds its limit, by the share of requests over it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from testcard.harness.statistics.limit_share import judge_limit
from testcard.harness.statistics.percentiles import needed
from testcard.harness.statistics.rates import share_ends

ROUNDS = 8


def rounds(n: int) -> np.ndarray:
    return np.arange(n) * ROUNDS // n


def some(n: int, over: int, *, seed: int = 1, tail: float = 0.1) -> np.ndarray:
    """n latencies around 1 s in no order, `over` of them at 9 s."""
    generator = np.random.default_rng(seed)
    values = generator.lognormal(0.0, tail, n)
    values[generator.permutation(n)[:over]] = 9.0
    return values


def test_a_server_far_over_its_limit_breaks_with_sixty_requests() -> None:
    """44 % over the limit of a p95: broken for sure, wherever exactly the p95 lies."""
    found = judge_limit(some(60, 26), rounds(60), limit=2.0, allowed=0.05)
    assert (found.verdict, found.over, found.n, found.more) == ("breaks", 26, 60, None)
    assert found.share.low is not None
    assert found.share.low > 0.05


def test_enough_quick_requests_hold_it_and_too_few_say_how_many_more() -> None:
    """With none over the limit 72 independent requests show that fewer than 5 % are; 60 need about 12 more."""
    assert judge_limit(some(120, 0), rounds(120), limit=2.0, allowed=0.05).verdict == "holds"
    short = judge_limit(some(60, 0), rounds(60), limit=2.0, allowed=0.05)
    assert (short.verdict, short.more) == ("undecided", needed(0.95) - 60)


def test_what_lies_at_the_limit_is_decided_by_no_number_of_requests() -> None:
    """Exactly as many over as may be: more like these would say the same."""
    found = judge_limit(some(100, 5), rounds(100), limit=2.0, allowed=0.05)
    assert (found.verdict, found.more) == ("undecided", None)


def test_the_requests_that_are_said_to_decide_would() -> None:
    """With so many more of the same kind, independent ones, the same share is decided."""
    found = judge_limit(some(100, 8), rounds(100), limit=2.0, allowed=0.05)
    assert found.more is not None
    whole = 100 + found.more
    assert share_ends(0.08 * whole, whole, whole)[0] > 0.05
    assert share_ends(0.08 * (whole - 2), whole - 2, whole - 2)[0] <= 0.05


def test_a_timeout_is_over_every_limit() -> None:
    """What was given up after 0.5 s did not keep 2 s."""
    values, censored = np.full(60, 0.5), np.zeros(60, dtype=bool)
    censored[::2] = True
    assert judge_limit(values, rounds(60), limit=2.0, allowed=0.05, censored=censored).verdict == "breaks"


@pytest.mark.parametrize(("inclusive", "over"), [(True, 0), (False, 60)])
def test_a_value_equal_to_the_limit_keeps_it_where_it_may(inclusive: bool, over: int) -> None:
    """`<=` is kept by equality, `<` is not."""
    assert judge_limit(np.full(60, 2.0), rounds(60), limit=2.0, allowed=0.05, inclusive=inclusive).over == over


def test_a_burst_of_long_requests_does_not_count_as_so_many() -> None:
    """Thirty long requests of one freeze among 400 leave p95 open; thirty that are spread out over the run break it."""
    together, apart = np.full(400, 1.0), np.full(400, 1.0)
    together[100:130] = 9.0
    apart[np.random.default_rng(2).permutation(400)[:40]] = 9.0
    assert judge_limit(together, rounds(400), limit=2.0, allowed=0.05).verdict == "undecided"
    assert judge_limit(apart, rounds(400), limit=2.0, allowed=0.05).verdict == "breaks"


def test_far_below_is_far_enough_whatever_the_correlation() -> None:
    """A series that creeps up and down by itself holds a limit ten times its longest, and not one just above it."""
    creeping = 0.5 + 0.3 * np.sin(np.arange(80) / 15.0)
    assert judge_limit(creeping, rounds(80), limit=8.0, allowed=0.05).verdict == "holds"
    assert judge_limit(creeping, rounds(80), limit=0.81, allowed=0.05).verdict == "undecided"
    assert judge_limit(creeping[:60], rounds(60), limit=8.0, allowed=0.05).verdict == "undecided"


def test_far_below_is_enough_with_as_many_as_the_percentile_takes() -> None:
    """A median needs fewer requests than a p95: nineteen that creep hold p50 below sixty times the longest, as the plan said; five do not."""
    creeping = 0.5 - 0.01 * np.arange(19)
    assert judge_limit(creeping, rounds(19), limit=30.0, allowed=0.5).verdict == "holds"
    assert judge_limit(creeping, rounds(19), limit=1.0, allowed=0.5).verdict == "undecided"
    assert judge_limit(creeping[:5], rounds(5), limit=30.0, allowed=0.5).verdict == "undecided"


def test_more_looks_ask_for_more() -> None:
    """Each of four looks is as careful as 1/√4 of the tails: what one look would just decide, one of four does not."""
    values = some(75, 0)
    assert judge_limit(values, rounds(75), limit=2.0, allowed=0.05).verdict == "holds"
    assert judge_limit(values, rounds(75), limit=2.0, allowed=0.05, looks=4).verdict == "undecided"


def test_nothing_measured_decides_nothing() -> None:
    """No requests: undecided, of none."""
    found = judge_limit(np.empty(0), np.empty(0), limit=1.0, allowed=0.05)
    assert (found.verdict, found.n, found.share.value) == ("undecided", 0, None)
    assert math.isnan(found.share.value or math.nan)
