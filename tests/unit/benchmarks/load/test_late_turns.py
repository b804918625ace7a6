"""The generator watches itself: who was late, which turn is taken again, what is left out."""

from typing import Any

import pandas as pd
import pytest

from testcard.benchmarks.load.facts import notes, stage_facts
from testcard.benchmarks.load.turns import Conductor, Taken, counted, limit_s, p99, worth_repeating
from testcard.benchmarks.plan.job import BlockJob, Job
from testcard.harness.runs.records import Block


def block(sequence: int, **changes: Any) -> Block:
    values: dict[str, Any] = {
        "sequence": sequence, "instead_of": None, "cell": 0, "provider": "p", "model": "m", "operation": "o", "stage": "s", "round": sequence + 1,
        "worker": 0, "started_s": 0.0, "ended_s": 2.0, "warmup_s": 0.0, "duration_s": 1.0, "offered_rps": 5.0, "users": None, "scheduled": 20,
        "sent": 20, "dropped": 0, "send_lag_p99_s": None, "send_lag_max_s": None, "latency_p50_s": 0.1, "busy_percent": 5.0, "cpu_percent": 10.0,
        "complete": True,
    }  # fmt: skip
    return Block(**{**values, **changes})


def test_p99_is_the_nearest_rank() -> None:
    """The smallest value that at least 99 % do not exceed."""
    assert p99([]) is None
    assert p99([1.0]) == 1.0
    assert p99([float(value) for value in range(1, 101)]) == 99.0
    assert p99([float(value) for value in range(1, 11)]) == 10.0


def test_nobody_is_late_within_ten_milliseconds() -> None:
    """The limit that the summary judges by: a lag of 9 ms is fine; 1 % of a median of 3 s is 30 ms and fine too."""
    assert worth_repeating([block(0)], {0: [0.001] * 50 + [0.009]}) is None
    slow = block(0, latency_p50_s=3.0)
    assert limit_s([slow]) == pytest.approx(0.03)
    assert worth_repeating([slow], {0: [0.02] * 50}) is None


def test_the_turn_with_the_most_late_requests_is_taken_again_once() -> None:
    """Of a row that was late the worst block is picked; taken again on time, the row is fine and the first try is left out."""
    blocks = [block(0), block(1), block(2)]
    lags = {0: [0.001] * 20, 1: [0.001] * 17 + [0.03, 0.04, 0.05], 2: [0.001] * 19 + [0.02]}
    late = worth_repeating(blocks, lags)
    assert late is not None
    assert late.sequence == 1
    blocks.append(block(3, instead_of=1, round=2))
    lags[3] = [0.001] * 60
    assert [kept.sequence for kept in counted(blocks)] == [0, 2, 3]
    assert worth_repeating(blocks, lags) is None
    assert "1 turn taken again" in notes(blocks)[("p", "m", "o", "s", None)]


def frame(lag_s: float, warmup: bool = False) -> pd.DataFrame:
    return pd.DataFrame({"provider": "p", "model": "m", "operation": "o", "stage": "s", "warmup": warmup, "lag_s": lag_s}, index=range(20))


def test_facts_leave_out_what_was_taken_again() -> None:
    """Durations come from the blocks that count, lags from the samples that count."""
    blocks = [block(0), block(1, instead_of=0, cpu_percent=30.0)]
    facts = stage_facts(pd.concat([frame(0.05, warmup=True), frame(0.002)]), blocks, capped=True)[("p", "m", "o", "s", None)]
    assert (facts.duration_s, facts.send_lag_p99_s, facts.cpu_percent, facts.capped) == (1.0, 0.002, pytest.approx(30.0), True)
    assert facts.saturated is None


def test_a_busy_event_loop_is_said_to_be_the_bottleneck() -> None:
    """Also in a closed loop, where a request is sent when its user is free and never late."""
    facts = stage_facts(frame(0.0), [block(0, users=8, offered_rps=None, busy_percent=97.0)], capped=False)[("p", "m", "o", "s", None)]
    assert facts.saturated is not None
    assert facts.saturated[0] == "busy"
    assert "97 %" in facts.saturated[1]


def test_a_turn_whose_share_is_half_used_up_is_half_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four turns of 60 s that end after 5 requests each: after the first and half of the second, 15 s in, 25 s are left."""
    now = [100.0]
    monkeypatch.setattr("testcard.benchmarks.load.turns.time.monotonic", lambda: now[0])
    blocks = [
        BlockJob(cell=0, round=number, stage="1 user", rate_rps=None, users=1, warmup_s=0.0, duration_s=60.0, max_requests=5)
        for number in range(1, 5)
    ]
    sent, seen = [0], []

    def take(block: BlockJob, sequence: int, instead_of: int | None) -> list[Taken]:
        for _ in range(5):
            sent[0] += 1
            now[0] += 2.0
            seen.append((round(conductor.present_s()), round(conductor.left_s())))
        return []

    job = Job(folder="", started_s=100.0, seed=1, blocks=blocks)
    conductor = Conductor(job, take, lambda: False, lambda record: None, lambda: sent[0])
    conductor.run()
    assert seen[4] == (60, 30)
    assert seen[9] == (120, 20)
    assert (conductor.present_s(), conductor.left_s()) == (240.0, 0.0)
