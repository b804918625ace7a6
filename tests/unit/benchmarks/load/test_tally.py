"""What is shown while a run goes on comes from buckets: close to the exact figures, and the same from one process or several."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testcard.benchmarks.load.tally import WIDTH, EngineState, Tally, key_of, quantile_s, shown_s, together, total


@given(latencies=st.lists(st.floats(1e-4, 400), min_size=1, max_size=200), q=st.sampled_from([0.5, 0.95, 1.0]))
def test_a_percentile_is_within_one_bucket_of_the_exact_one(latencies: list[float], q: float) -> None:
    """For any latencies, by nearest rank."""
    tally = Tally()
    tally.begin(0, "10/s")
    for latency in latencies:
        tally.add(latency)
    exact = sorted(latencies)[max(1, -(-int(q * 100) * len(latencies) // 100)) - 1]
    shown = quantile_s(tally.state()[1], q)
    assert shown is not None
    assert 1 / WIDTH <= shown / exact <= WIDTH


def test_a_stage_goes_on_in_its_next_round_and_others_are_apart() -> None:
    """Rounds of one stage add up; another stage and another cell start from nothing; no answers, no percentile."""
    tally = Tally()
    for cell, stage, latency in ((0, "10/s", 1.0), (0, "20/s", 5.0), (1, "10/s", 9.0), (0, "10/s", 1.0)):
        tally.begin(cell, stage)
        tally.add(latency)
    key, buckets = tally.state()
    assert (key, sum(buckets.values())) == (key_of(0, "10/s"), 2)
    assert quantile_s(buckets, 0.95) == pytest.approx(1.0, rel=0.02)
    assert quantile_s({}, 0.5) is None


def state(stage: str, latencies: list[float], **outcomes: int) -> EngineState:
    tally = Tally()
    tally.begin(0, stage)
    for latency in latencies:
        tally.add(latency)
    said = EngineState(
        requests=sum(outcomes.values()), in_flight=1, images=1, rate_rps=5.0, spent_usd=0.25, outcomes=outcomes, tally=tally.state(), cpu_s=1.0
    )  # fmt: skip
    return msgspec.msgpack.decode(msgspec.msgpack.encode(said), type=EngineState)  # as a worker's state reaches its master


def test_workers_are_put_together_and_one_that_is_at_another_stage_is_left_out_of_its_percentiles() -> None:
    """Counts and outcomes are sums over all; latencies are those of the stage."""
    both = together(
        [state("10/s", [1.0] * 18 + [3.0], ok=9), state("10/s", [3.0], ok=1, timeout=2), state("20/s", [99.0], ok=1)], key_of(0, "10/s")
    )
    assert (both.requests, both.in_flight, both.images, both.spent_usd) == (13, 3, 3, 0.75)
    assert both.outcomes == {"ok": 11, "timeout": 2}
    buckets = both.tally[1]
    assert sum(buckets.values()) == 20
    assert shown_s(buckets, 0.5) == pytest.approx(1.0, rel=0.02)
    assert shown_s(buckets, 0.95) == pytest.approx(3.0, rel=0.02)
    few = together([state("10/s", [1.0] * 9, ok=9)], key_of(0, "10/s")).tally[1]
    assert (shown_s(few, 0.5), shown_s(few, 0.95)) == (pytest.approx(1.0, rel=0.02), None)  # none of nine answers lies beyond a p95
    assert total([("0/a", {1: 2}), ("0/b", {1: 5})], "0/a") == {1: 2}


def test_first_failures_of_two_targets_at_one_host_are_both_told() -> None:
    """Their names differ in the port alone; what two workers see of one target is told once, by the first of them."""
    one, other = "first refused of p@host:8001 o: status 400", "first refused of p@host:8002 o: status 400"
    states = [
        msgspec.structs.replace(state("10/s", [], refused=2), failures=failures)
        for failures in ({"0 refused": one, "1 refused": other}, {"0 refused": f"{one}, later"})
    ]
    assert together(states).failures == {"0 refused": one, "1 refused": other}
