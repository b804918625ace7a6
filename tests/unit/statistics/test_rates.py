"""Achieved is what a server kept up with: never more than was offered, its own rate where it fell behind."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from testcard.harness.runs.records import SummaryRow
from testcard.harness.statistics.summary import StageFacts, summarise

Floats = npt.NDArray[np.float64]


def a_row(
    scheduled: Floats,
    done: Floats,
    rounds: npt.NDArray[np.int_],
    *,
    outcome: str | Floats = "ok",
    objectives: tuple[str, ...] = (),
    **facts: float | int,
) -> SummaryRow:
    samples = pd.DataFrame({
        "provider": "p", "model": "m", "operation": "o", "stage": "s", "round": rounds, "scheduled_s": scheduled, "sent_s": scheduled,
        "first_byte_s": done, "done_s": done, "outcome": outcome, "images": 1, "megapixels": 0.25, "cost_usd": 0.01, "warmup": False,
    })  # fmt: skip
    return summarise(samples, objectives=objectives, facts={"s": StageFacts(**facts)}).rows[0]  # type: ignore[arg-type]


def poisson(generator: np.random.Generator, rate: float, length: float, rounds: int) -> tuple[Floats, npt.NDArray[np.int_]]:
    counts = generator.poisson(rate * length, rounds)
    starts = [np.sort(generator.uniform(0, length, count)) + 100 * number for number, count in enumerate(counts)]
    return np.concatenate(starts), np.repeat(np.arange(rounds), counts)


@pytest.mark.parametrize(("median_s", "spread"), [(0.06, 0.3), (0.5, 0.6), (3.0, 1.0)])
def test_a_healthy_open_loop_achieves_what_is_offered(median_s: float, spread: float) -> None:
    """Six rounds of 0.6 s at 34 a second, latencies from a tenth of a round to five rounds: within 5 % of offered, and never above it."""
    generator = np.random.default_rng(3)
    ratios = []
    for _ in range(150):
        scheduled, rounds = poisson(generator, 34, 0.6, 6)
        row = a_row(scheduled, scheduled + median_s * generator.lognormal(0, spread, len(scheduled)), rounds, duration_s=3.6)
        assert row.offered_rps is not None
        ratios.append(row.achieved_rps / row.offered_rps)
    print(f"achieved / offered: median {np.median(ratios):.3f}, lowest {min(ratios):.3f}, highest {max(ratios):.3f}")
    assert max(ratios) <= 1.0 + 1e-9
    assert np.mean(np.array(ratios) < 0.95) <= 0.03


@pytest.mark.parametrize("load", [1.25, 2.0, 4.0])
def test_a_saturated_queue_shows_its_own_rate(load: float) -> None:
    """A single server with random service times, offered `load` times what it can do: achieved is its own rate within 10 %."""
    generator = np.random.default_rng(5)
    scheduled, rounds = poisson(generator, 10 * load, 30, 8)
    done = np.empty(len(scheduled))
    for number in range(8):
        free = 0.0
        for index in np.flatnonzero(rounds == number):
            free = max(free, scheduled[index]) + generator.gamma(4, 0.025)
            done[index] = free
    row = a_row(scheduled, done, rounds, duration_s=240)
    assert row.achieved_rps == pytest.approx(10, rel=0.10)
    assert row.offered_rps == pytest.approx(10 * load, rel=0.1)


def test_goodput_counts_by_the_time_that_answers_took() -> None:
    """Offered 100/s, done 50/s: what is good comes in at 50/s at most, with its interval, and a gate for more than 90/s fails."""
    scheduled = np.tile(np.arange(400) / 100.0, 8) + np.repeat(np.arange(8) * 100.0, 400)
    rounds = np.repeat(np.arange(8), 400)
    done = np.tile((np.arange(400) + 1) / 50.0, 8) + np.repeat(np.arange(8) * 100.0, 400)
    row = a_row(scheduled, done, rounds, objectives=("goodput_rps>90",), duration_s=32)
    assert row.offered_rps == pytest.approx(100)
    assert row.achieved_rps == pytest.approx(50, rel=0.02)
    assert row.goodput_rps == pytest.approx(50, rel=0.02)
    assert row.goodput is not None
    assert row.goodput.value == pytest.approx(50, rel=0.02)
    assert row.goodput.high is not None
    assert row.goodput.high < 60
    assert [gate.verdict for gate in row.gates] == ["fail"]


@pytest.mark.parametrize("load", [0.5, 0.9, 1.25, 3.0])
def test_nothing_is_good_faster_than_it_is_achieved(load: float) -> None:
    """A single server under a bound on latency, below and above what it can do: goodput is never above the achieved rate."""
    generator = np.random.default_rng(7)
    scheduled, rounds = poisson(generator, 10 * load, 20, 8)
    done = np.empty(len(scheduled))
    for number in range(8):
        free = 0.0
        for index in np.flatnonzero(rounds == number):
            free = max(free, scheduled[index]) + generator.gamma(4, 0.025)
            done[index] = free
    row = a_row(scheduled, done, rounds, objectives=("p95<2s",), duration_s=160)
    assert 0 < row.goodput_rps <= row.achieved_rps + 1e-9


def test_what_timed_out_was_not_achieved() -> None:
    """A queue that delivers only its first third and then times out has delivered a third."""
    scheduled = np.arange(300) / 10.0
    latency = np.minimum(scheduled, 10.0) + 0.1
    outcome = np.where(scheduled < 10, "ok", "timeout")
    row = a_row(scheduled, scheduled + latency, np.zeros(300, dtype=int), outcome=outcome, duration_s=30)
    assert row.achieved_rps == pytest.approx(10 / 3, rel=0.01)


@pytest.mark.parametrize("warm", [True, False])
def test_a_closed_loop_shows_users_over_latency(warm: bool) -> None:
    """Five users, requests of 20 s, rounds of 50 s: 0.25 a second, whether the users had begun before or with the round."""
    generator = np.random.default_rng(8)
    scheduled, done, rounds = [], [], []
    for number in range(40):
        for _ in range(5):
            at = -200.0 if warm else 0.0
            while at < 50:
                took = 20 * generator.uniform(0.7, 1.3)
                if at >= 0:
                    scheduled.append(at + 1000 * number), done.append(at + took + 1000 * number), rounds.append(number)
                at += took
    order = np.lexsort((scheduled, rounds))
    row = a_row(np.array(scheduled)[order], np.array(done)[order], np.array(rounds)[order], duration_s=2000, users=5)
    assert row.offered_rps is None
    assert row.achieved_rps == pytest.approx(0.25, rel=0.05)


def test_two_targets_of_one_provider_are_two_rows() -> None:
    """The same provider at two addresses: samples say which target, rows carry it, and no figure mixes them."""
    scheduled = np.arange(200) / 10.0
    samples = pd.DataFrame({
        "provider": "p", "model": "m", "operation": "o", "stage": "s", "round": 1, "scheduled_s": scheduled, "sent_s": scheduled,
        "first_byte_s": scheduled, "done_s": scheduled + np.where(np.arange(200) % 2, 1.0, 3.0), "outcome": "ok", "images": 1,
        "megapixels": 0.25, "cost_usd": 0.01, "warmup": False, "target": np.arange(200) % 2,
    })  # fmt: skip
    rows = summarise(samples).rows
    assert [(row.target, row.requests, row.latency_s["p50"].value) for row in rows] == [
        (0, 100, pytest.approx(3)),
        (1, 100, pytest.approx(1)),
    ]
