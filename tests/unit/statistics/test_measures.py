"""The parts of a summary row beside latency: by hand, from small samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from testcard.harness.statistics.summary import summarise


def samples(n: int = 400, **columns: Any) -> pd.DataFrame:
    """n requests, ten a second, each answered after one second with one sound picture of a quarter of a megapixel, a cent each."""
    at = np.arange(n) / 10.0
    base: dict[str, Any] = {
        "provider": "p", "model": "m", "operation": "o", "round": 1, "stage": "s", "scheduled_s": at, "sent_s": at, "first_byte_s": at + 0.5,
        "last_byte_s": at + 1.0, "done_s": at + 1.0, "outcome": "ok", "images": 1, "pictures": 1, "megapixels": 0.25, "cost_usd": 0.01,
    }  # fmt: skip
    return pd.DataFrame({**base, **columns})


def row_of(frame: pd.DataFrame, **options: Any) -> Any:
    (row,) = summarise(frame, **options).rows
    return row


EVERY_FOURTH = np.arange(400) % 4 == 3


def test_what_came_and_what_was_valid_are_two_rates() -> None:
    """Every fourth answer holds a sound picture of the wrong size and a file that is none: delivered, not valid."""
    flawed = np.where(EVERY_FOURTH, "invalid-picture", "ok")
    row = row_of(samples(outcome=flawed, pictures=np.where(EVERY_FOURTH, 2, 1), flaw=np.where(EVERY_FOURTH, "size", None)))
    assert row.delivery.delivered_images_per_s.value == pytest.approx(12.5)
    assert row.delivery.valid_images_per_s.value == pytest.approx(7.5)
    assert row.delivery.delivered_megapixels_per_s.value == pytest.approx(2.5)
    assert row.delivery.valid_megapixels_per_s.value == pytest.approx(1.875)
    assert 7.0 < row.delivery.valid_images_per_s.low < 7.5 < row.delivery.valid_images_per_s.high < 8.0  # of 400 requests that were due
    assert row.delivery.valid_images_per_s.n == 400
    assert row.images_per_s == pytest.approx(row.delivery.valid_images_per_s.value)
    assert row.megapixels_per_s == pytest.approx(row.delivery.valid_megapixels_per_s.value)
    assert row.invalid_pictures == {"size": 100}
    assert row.delivery.tokens_per_s is None


def test_what_never_came_has_an_upper_end_in_its_own_unit() -> None:
    """400 answers with four pictures of the wrong size each, 0.3 megapixels together: none is valid, and at most what came could have
    been; where no picture came at all, nobody knows how many megapixels one would have had."""
    row = row_of(samples(outcome="invalid-picture", pictures=4, images=4, megapixels=0.3))
    share = row.error_rate.n / 400 * (1.0 - row.error_rate.low)
    assert row.delivery.valid_images_per_s.high == pytest.approx(share * row.delivery.delivered_images_per_s.value, rel=1e-6)
    assert row.delivery.valid_megapixels_per_s.high == pytest.approx(share * row.delivery.delivered_megapixels_per_s.value, rel=1e-6)
    nothing = row_of(samples(outcome="server-error", pictures=0, images=0, megapixels=0.0))
    assert nothing.delivery.delivered_images_per_s.high == pytest.approx(10.0 * share)
    assert (nothing.delivery.valid_megapixels_per_s.value, nothing.delivery.valid_megapixels_per_s.high) == (0.0, None)


def test_samples_of_older_versions_count_their_sound_pictures() -> None:
    """Without the later columns the rates are those of sound pictures, and nothing else is claimed."""
    row = row_of(samples().drop(columns=["pictures"]))
    assert row.delivery.delivered_images_per_s.value == pytest.approx(10)
    assert (row.stream, row.tasks, row.rate_limits, row.invalid_pictures) == (None, None, None, {})


def test_streams_have_tokens_a_second_first_token_and_inter_token_times() -> None:
    """Of answers that hold text: medians and tails over requests, tokens over the time in which they came."""
    first = np.where(np.arange(400) < 200, 0.2, 0.4)
    row = row_of(
        samples(
            images=0,
            pictures=0,
            megapixels=0.0,
            tokens=50,
            first_token_s=first[np.random.default_rng(1).permutation(400)],
            inter_token_s=0.01,
        )
    )
    assert row.delivery.tokens_per_s.value == pytest.approx(500)
    assert row.stream.first_token_s["p50"].value == 0.2
    assert row.stream.first_token_s["p95"].value == 0.4
    assert row.stream.inter_token_s["p99"].value == pytest.approx(0.01)
    assert row.stream.inter_token_s["p50"].n == 400


def test_a_tasks_wait_stands_beside_its_generation() -> None:
    """Accepted after 0.1 s, 0.3 s in the queue, fetched in 0.2 s: 0.4 s of the whole second are the generation."""
    at = np.arange(400) / 10.0
    row = row_of(samples(last_byte_s=at + 0.1, queue_s=0.3, download_s=0.2))
    assert row.tasks.queue_s["p50"].value == pytest.approx(0.3)
    assert row.tasks.generation_s["p95"].value == pytest.approx(0.4)
    assert row.tasks.generation_s["p95"].n == 400


def test_tasks_that_were_done_at_once_are_counted_apart() -> None:
    """Done at the first poll after 0.7 s: nobody saw when it began, so the task is in neither time."""
    at = np.arange(400) / 10.0
    row = row_of(samples(last_byte_s=at + 0.1, done_s=at + 0.8, queue_s=np.where(EVERY_FOURTH, 0.4, 0.7)))
    assert row.tasks.unseen == 300
    assert (row.tasks.queue_s["p50"].value, row.tasks.queue_s["p50"].n) == (pytest.approx(0.4), 100)
    assert row.tasks.generation_s["p50"].value == pytest.approx(0.3)


def test_rate_limits_say_how_often_how_long_and_what_came_after() -> None:
    """By hand, one request a second: 429 at 1 s (wait 3 s) and 2 s (nothing said), refused again at 3 s (no wait), accepted at 4 s."""
    at = np.arange(8.0)
    refused = np.isin(at, [1.0, 2.0, 3.0])
    row = row_of(
        samples(8).assign(
            scheduled_s=at, sent_s=at, done_s=at + 0.5, outcome=np.where(refused, "rate-limited", "ok"),
            retry_after_s=[None, 2.5, None, None, None, None, None, None],
        )
    )  # fmt: skip
    limits = row.rate_limits
    assert (limits.share.value, limits.share.n) == (3 / 8, 8)
    assert limits.share.low < 3 / 8 < limits.share.high
    assert (limits.retry_after_given.value, limits.retry_after_given.n) == (pytest.approx(1 / 3), 3)
    assert (limits.retry_after_s["shortest"].value, limits.retry_after_s["longest"].value) == (2.5, 2.5)
    assert limits.retry_after_s["p50"].value is None  # of one
    assert (limits.refused_early.value, limits.refused_early.n) == (1.0, 2)  # sent at 2 and 3 s; the wait was over at 4 s
    assert (limits.accepted_after.value, limits.accepted_after.n) == (1.0, 1)  # sent at 4 s


def test_waits_that_overlap_are_one_wait() -> None:
    """The longest of several waits counts, and the first request after it is one."""
    at = np.arange(10.0)
    row = row_of(
        samples(10).assign(
            scheduled_s=at, sent_s=at, done_s=at + 0.1, outcome=["rate-limited"] * 2 + ["ok"] * 3 + ["rate-limited"] + ["ok"] * 4,
            retry_after_s=[4.0, 1.0, None, None, None, 1.5, None, None, None, None],
        )
    )  # fmt: skip
    assert row.rate_limits.refused_early.n == 5  # at 1, 2, 3, 4 s and at 6 s, after the 429 of 5 s
    assert row.rate_limits.refused_early.value == pytest.approx(1 / 5)
    assert (row.rate_limits.accepted_after.value, row.rate_limits.accepted_after.n) == (0.5, 2)  # at 5 s refused, at 7 s not


def test_without_a_wait_nothing_is_said_of_what_came_after() -> None:
    """A 429 without Retry-After promises nothing."""
    row = row_of(samples(outcome=np.where(EVERY_FOURTH, "rate-limited", "ok")))
    assert row.rate_limits.retry_after_given.value == 0.0
    assert row.rate_limits.retry_after_s == {}
    assert (row.rate_limits.refused_early, row.rate_limits.accepted_after) == (None, None)


def test_money_that_was_wasted_has_a_share_with_an_interval() -> None:
    """Every fourth picture is invalid and billed: a quarter of four dollars, over the megapixels of the others."""
    some = np.random.default_rng(6).permutation(EVERY_FOURTH)
    row = row_of(samples(outcome=np.where(some, "invalid-picture", "ok")))
    money = row.money
    assert (money.spent_usd, money.wasted_usd, money.wasted_requests) == (pytest.approx(4), pytest.approx(1), 100)
    assert money.wasted_share.value == pytest.approx(0.25)
    assert money.wasted_share.low < 0.25 < money.wasted_share.high
    assert money.cost_usd_per_megapixel.value == pytest.approx(4 / 75)
    assert row.wasted_usd == pytest.approx(money.wasted_usd)


def test_late_pictures_are_wasted_too_and_unknown_prices_are_no_money() -> None:
    """Beyond the SLO a picture is not good; without a price there is no figure."""
    assert row_of(samples(), objectives=["p95<500ms"]).money.wasted_share.value == 1.0
    assert row_of(samples(cost_usd=None)).money is None


def test_a_drift_is_a_warning_and_nothing_is_trimmed() -> None:
    """Latency that doubles over the stage is said in the note; every request stays in every figure."""
    frame = samples()
    noise = np.random.default_rng(2).normal(0.0, 0.1, 400)
    steady = row_of(frame.assign(done_s=frame["scheduled_s"] + np.exp(noise)))
    drifting = row_of(frame.assign(done_s=frame["scheduled_s"] + np.exp(noise) * np.linspace(1.0, 2.0, 400)))
    assert (steady.steadiness.verdict, steady.note) == ("steady", None)
    assert steady.steadiness.change.low < 0.0 < steady.steadiness.change.high
    assert drifting.steadiness.verdict == "drifting"
    assert drifting.steadiness.change.low < 1.0 < drifting.steadiness.change.high
    assert "not steady: latency rises by" in drifting.note
    assert (drifting.requests, drifting.ok, drifting.outcome) == (400, 400, "pass")


def test_too_few_answers_are_not_called_steady() -> None:
    """Below 100 answers, and where nothing was answered, nothing is claimed."""
    few = row_of(samples(60))
    assert (few.steadiness.verdict, few.steadiness.change.value) == ("unknown", None)
    assert row_of(samples(outcome="server-error")).steadiness.verdict == "unknown"
