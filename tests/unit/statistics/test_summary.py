"""Summary rows say what the samples say: nothing dropped, nothing invented."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from testcard.harness.runs.records import OUTCOMES, SAMPLE_COLUMNS
from testcard.harness.statistics.steadiness import sentence
from testcard.harness.statistics.summary import StageFacts, summarise


def some_samples(n: int = 400, *, rate: float = 10.0, latency: float = 1.0, **columns: Any) -> pd.DataFrame:
    """n requests at a constant rate, all ok, latency as given, sent 1 ms after they were scheduled."""
    scheduled = np.arange(n) / rate
    base: dict[str, Any] = {
        "provider": "nanogpt", "model": "hidream", "operation": "createImage", "round": 1, "stage": "steady", "scheduled_s": scheduled,
        "sent_s": scheduled + 0.001, "first_byte_s": scheduled + 0.9 * latency, "last_byte_s": scheduled + latency,
        "done_s": scheduled + latency, "status": 200, "outcome": "ok", "bytes": 1000, "images": 1, "megapixels": 0.25, "tokens": None,
        "cost_usd": 0.01, "warmup": False,
    }  # fmt: skip
    return pd.DataFrame({**base, **columns})


def only_row(samples: pd.DataFrame, **options: Any) -> Any:
    rows = summarise(samples, **options).rows
    assert len(rows) == 1
    return rows[0]


def test_a_steady_stage_by_hand() -> None:
    """10 requests a second for 40 s, 1 s each: every figure as one would compute it on paper."""
    row = only_row(some_samples(), facts={"steady": StageFacts(duration_s=40.0, cpu_percent=12.0)})
    assert (row.provider, row.model, row.operation, row.stage) == ("nanogpt", "hidream", "createImage", "steady")
    assert (row.requests, row.ok, row.errors, row.rounds, row.duration_s) == (400, 400, {}, 1, 40.0)
    assert row.offered_rps == pytest.approx(10)
    assert row.achieved_rps == pytest.approx(10)
    assert row.images_per_s == pytest.approx(10)
    assert row.megapixels_per_s == pytest.approx(2.5)
    assert row.goodput_rps == pytest.approx(10)
    assert row.latency_s["p95"].value == pytest.approx(1.0)
    assert row.service_s["p50"].value == pytest.approx(0.999)
    assert row.ttfb_s["p50"].value == pytest.approx(0.899)
    assert row.cost_usd_per_image.value == pytest.approx(0.01)
    assert row.cost_usd_per_1000_good_images.value == pytest.approx(10)
    assert row.wasted_usd == 0.0
    assert row.generator.send_lag_p99_s == pytest.approx(0.001)
    assert row.generator.cpu_percent == 12.0
    assert row.outcome == "pass"


def test_without_facts_the_span_of_the_starts_is_the_length() -> None:
    """n starts lie n − 1 gaps apart, and the offered rate is still the rate."""
    assert only_row(some_samples()).offered_rps == pytest.approx(10, rel=1e-6)


def test_latency_counts_from_the_scheduled_start() -> None:
    """A server that freezes cannot hide behind a client that waits to send: service time stays short, latency does not."""
    samples = some_samples(200)
    samples.loc[100:149, "sent_s"] += 5.0
    samples.loc[100:149, ["first_byte_s", "done_s"]] += 5.0
    row = only_row(samples, facts={"steady": StageFacts(capped=True)})
    assert row.latency_s["p90"].low is None or row.latency_s["p90"].low > 5.0
    assert row.service_s["p90"].value == pytest.approx(0.999)


def test_warm_up_is_left_out() -> None:
    """Declared warm-up requests appear in no figure."""
    samples = some_samples(400, warmup=np.arange(400) < 100)
    samples.loc[:99, "done_s"] += 100.0
    samples.loc[:99, "outcome"] = "server-error"
    row = only_row(samples)
    assert (row.requests, row.ok, row.errors) == (300, 300, {})
    assert row.latency_s["p50"].high == pytest.approx(1.0)


def test_timeouts_are_censored_and_other_failures_are_errors() -> None:
    """8 % timeouts push p95 out of sight but not p50; fast refusals do not flatter the latency."""
    samples = some_samples(1000)
    generator = np.random.default_rng(1)
    kinds = generator.permutation(np.repeat(["timeout", "refused", "ok"], [80, 300, 620]))
    samples["outcome"] = kinds
    samples.loc[kinds == "timeout", "done_s"] = samples["scheduled_s"] + 30.0
    samples.loc[kinds == "refused", "done_s"] = samples["scheduled_s"] + 0.002
    row = only_row(samples)
    assert row.errors == {"refused": 300, "timeout": 80}
    assert row.error_rate.value == pytest.approx(0.38)
    assert row.latency_s["p50"].n == 700
    assert row.latency_s["p50"].value == pytest.approx(1.0)
    tail = row.latency_s["p95"]
    assert (tail.value, tail.high, tail.at_least) == (pytest.approx(30.0), None, True)
    assert row.latency_spread.at_least


def test_a_200_without_a_picture_is_no_success() -> None:
    """`200 {"data": []}` throughout: 0 % ok, no goodput, its cost wasted, no cost per image, the row fails."""
    row = only_row(some_samples(outcome="invalid-picture", images=0, megapixels=0.0))
    assert (row.ok, row.goodput_rps, row.images_per_s, row.achieved_rps) == (0, 0.0, 0.0, 0.0)
    assert row.error_rate.value == 1.0
    assert row.wasted_usd == pytest.approx(4.0)
    assert row.cost_usd_per_image is None
    assert row.outcome == "fail"
    assert row.note == "no request delivered what was asked for"


def test_good_is_delivered_within_the_slo() -> None:
    """Slow but delivered requests count as ok, not as good; their cost is wasted and makes good images dearer."""
    samples = some_samples(400)
    slow = np.arange(400) % 4 == 0
    samples.loc[slow, "done_s"] += 9.0
    row = only_row(samples, objectives=["p95<8s"], facts={"steady": StageFacts(duration_s=40.0)})
    assert row.ok == 400
    assert row.goodput_rps == pytest.approx(7.5)
    assert row.wasted_usd == pytest.approx(1.0)
    assert row.cost_usd_per_1000_good_images.value == pytest.approx(1000 * 4.0 / 300)
    assert row.cost_usd_per_image.value == pytest.approx(0.01)
    assert row.goodput.low <= 7.5 <= row.goodput.high
    assert (row.gates[0].verdict, row.outcome) == ("fail", "fail")


def test_an_unknown_price_is_none_and_never_zero() -> None:
    """One delivered request without a cost means the cost figures are not known."""
    samples = some_samples()
    samples.loc[7, "cost_usd"] = np.nan
    row = only_row(samples, objectives=["usd_per_image<1"])
    assert (row.cost_usd_per_image, row.cost_usd_per_1000_good_images, row.wasted_usd) == (None, None, None)
    assert row.gates[0].verdict == "inconclusive"
    assert row.outcome == "inconclusive"


def test_a_failed_request_whose_cost_is_not_known_is_said() -> None:
    """A timeout may have been charged; the row says how many such there are."""
    samples = some_samples()
    samples.loc[:4, "outcome"] = "timeout"
    samples.loc[:4, "cost_usd"] = np.nan
    row = only_row(samples)
    assert row.cost_usd_per_image.value == pytest.approx(0.01)
    assert "5 failed requests" in row.note


def test_a_late_generator_makes_the_stage_inconclusive() -> None:
    """Lag above 10 ms and 1 % of p50 is the generator's fault; whatever the gates say, the stage proves nothing."""
    samples = some_samples()
    samples["sent_s"] = samples["scheduled_s"] + 0.05
    row = only_row(samples, objectives=["p95<8s"])
    assert row.gates[0].verdict == "pass"
    assert row.outcome == "inconclusive"
    assert "50.0 ms" in row.note
    assert only_row(samples, facts={"steady": StageFacts(send_lag_p99_s=0.002)}).outcome == "pass"
    assert only_row(samples, facts={"steady": StageFacts(capped=True)}).generator.send_lag_p99_s is None


def test_a_closed_loop_offers_no_rate() -> None:
    """With N users nothing is scheduled from outside, so there is no offered rate and no send lag."""
    row = only_row(some_samples(), facts={"steady": StageFacts(users=4)})
    assert (row.offered_rps, row.users, row.generator.send_lag_p99_s) == (None, 4, None)


def test_dropped_arrivals_are_still_offered() -> None:
    """Offered load is what was scheduled, sent or not."""
    row = only_row(some_samples(), facts={"steady": StageFacts(duration_s=40.0, dropped=40)})
    assert row.offered_rps == pytest.approx(11)


def test_a_saturated_server_achieves_less_than_is_offered() -> None:
    """10 a second offered, 5 a second served: achieved says 5 although every request was answered in the end."""
    samples = some_samples(400)
    samples["done_s"] = 1.0 + np.arange(400) / 5.0
    row = only_row(samples, facts={"steady": StageFacts(duration_s=40.0)})
    assert row.ok == 400
    assert row.offered_rps == pytest.approx(10)
    assert row.achieved_rps == pytest.approx(5, rel=0.05)


def test_rounds_with_gaps_between_them_do_not_dilute_the_rate() -> None:
    """Other targets had their turn in between; the rate is over this target's own time."""
    samples = some_samples(400, round=np.repeat(np.arange(4), 100))
    gap = np.repeat(np.arange(4), 100) * 1000.0
    for name in ("scheduled_s", "sent_s", "first_byte_s", "done_s"):
        samples[name] += gap
    row = only_row(samples)
    assert row.rounds == 4
    assert row.duration_s == pytest.approx(40.0)
    assert row.offered_rps == pytest.approx(10)
    assert row.achieved_rps == pytest.approx(10, rel=0.02)


def test_rows_by_provider_model_operation_and_stage() -> None:
    """Each combination is a row of its own, in the order met; a missing model is None; no request is in two rows or none."""
    parts = [
        some_samples(10, provider="b", model=None),
        some_samples(20, provider="a"),
        some_samples(30, provider="a", stage="ramp"),
        some_samples(40, provider="b", model="other", operation="edit"),
    ]
    samples = pd.concat(parts, ignore_index=True)
    for frame in (samples, samples.astype(dict.fromkeys(("provider", "model", "operation", "stage", "outcome"), "category"))):
        rows = summarise(frame).rows
        assert [(r.provider, r.model, r.operation, r.stage, r.requests) for r in rows] == [
            ("b", None, "createImage", "steady", 10),
            ("a", "hidream", "createImage", "steady", 20),
            ("a", "hidream", "createImage", "ramp", 30),
            ("b", "other", "edit", "steady", 40),
        ]


def test_facts_of_a_row_win_over_those_of_its_stage() -> None:
    """A key of all names is more exact than the stage's name."""
    facts = {"steady": StageFacts(users=1), ("nanogpt", "hidream", "createImage", "steady", None): StageFacts(users=2)}
    assert only_row(some_samples(), facts=facts).users == 2


def test_the_order_of_samples_does_not_matter() -> None:
    """Shards of several workers arrive in any order; the figures are the same."""
    samples = some_samples(500, latency=1.0)
    samples["done_s"] += np.random.default_rng(0).exponential(size=500)
    assert only_row(samples) == only_row(samples.sample(frac=1.0, random_state=1))


def test_one_request_and_none() -> None:
    """The smallest runs make no claims and raise nothing."""
    row = only_row(some_samples(1), objectives=["p95<8s"])
    assert row.latency_s["p50"].value is None
    assert row.outcome == "inconclusive"
    assert summarise(some_samples(0)).rows == []
    everything_warm = only_row(some_samples(5, warmup=True))
    assert (everything_warm.requests, everything_warm.outcome) == (0, "inconclusive")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_way_to_end_is_counted_once(outcome: str) -> None:
    """requests = ok + errors, whatever happened, also where times are missing."""
    samples = some_samples(50, outcome=outcome)
    if outcome in ("connect", "tls"):
        samples[["sent_s", "first_byte_s", "last_byte_s"]] = np.nan
    row = only_row(samples)
    assert row.ok + sum(row.errors.values()) == row.requests == 50


def test_waves_widen_an_interval_and_keep_the_figure() -> None:
    """Latencies that come in waves of 25: the percentile is this run's all the same, its interval open, and the gate says what would help."""
    wave = np.repeat(np.random.default_rng(4).exponential(size=40), 25)
    samples = some_samples(1000)
    samples["done_s"] += wave
    row = only_row(samples, objectives=["p95<4.5s"])
    found = row.latency_s["p95"]
    assert found.value == np.sort((samples["done_s"] - samples["scheduled_s"]).to_numpy())[949]
    assert found.quality in ("wide", "lower-bound")
    assert row.note is None
    assert row.gates[0].verdict == "inconclusive"
    assert row.gates[0].more_requests is not None
    assert "more would decide it" in row.gates[0].detail
    assert only_row(samples, objectives=["p95<80s"]).gates[0].verdict == "pass"


def test_a_freeze_is_one_spell() -> None:
    """Thirty requests that wait for the end of one stop are one event of thirty, not thirty slow requests."""
    samples = some_samples(600)
    held = slice(200, 230)
    samples.loc[samples.index[held], "done_s"] = samples["scheduled_s"].to_numpy()[230] + 9.0
    row = only_row(samples)
    assert [spell.requests for spell in row.spells] == [30]
    assert row.spells_over_s == pytest.approx(4.0 * row.latency_s["p50"].value)
    assert sentence(row.spells, over="4 s") == "one spell: 30 requests in a row over 4 s"
    apart = some_samples(600)
    apart.loc[apart.index[::20], "done_s"] += 9.0
    assert only_row(apart).spells == []


def test_a_budget_that_ends_early_leaves_the_rate_as_it_was() -> None:
    """Two users on a server of 2 s: 1/s, whether the last round was whole or ended after two requests."""
    rows = []
    for last in (30, 2):
        start, number = [], []
        for place, each in enumerate((30, 30, last)):
            start += [100.0 * place + 2.0 * (k // 2) for k in range(each)]
            number += [place] * each
        samples = some_samples(len(start))
        samples["scheduled_s"] = samples["sent_s"] = np.array(start)
        samples["done_s"] = samples["scheduled_s"] + 2.0
        samples["round"] = number
        facts = StageFacts(users=2, duration_s=60.0 + last, rounds_s={0: 30.0, 1: 30.0, 2: float(last)})
        rows.append(only_row(samples, objectives=["p95<8s"], facts={"steady": facts}))
    for row in rows:
        assert row.achieved_rps == pytest.approx(1.0)
        assert row.goodput_rps == pytest.approx(1.0)
        assert row.goodput.value == pytest.approx(1.0)


def test_users_that_overshoot_a_short_round_do_not_flatter_it() -> None:
    """Two users on a server of 2 s in rounds of 3 s: each sends two requests and takes 4 s, so 1/s and not 1.33."""
    start = [10.0 * place + at for place in range(8) for at in (0.0, 0.0, 2.0, 2.0)]
    samples = some_samples(32)
    samples["scheduled_s"] = samples["sent_s"] = np.array(start)
    samples["done_s"] = samples["scheduled_s"] + 2.0
    samples["round"] = np.repeat(np.arange(8), 4)
    row = only_row(samples, objectives=["p95<8s", "goodput_rps>1.1"], facts={"steady": StageFacts(users=2, duration_s=24.0)})
    assert (row.achieved_rps, row.goodput_rps) == (pytest.approx(1.0), pytest.approx(1.0))
    assert row.gates[1].verdict == "fail"


def test_the_columns_used_are_columns_of_the_format() -> None:
    """The helper above writes what a benchmark writes."""
    assert set(some_samples(1).columns) <= set(SAMPLE_COLUMNS)


def test_a_single_late_request_of_a_few_does_not_make_the_generator_the_bottleneck() -> None:
    """Of 60 requests p99 is the longest: one that was sent 50 ms late is no pattern, two are; of 400 the percentile decides."""

    def summed(n: int, late: int) -> str | None:
        lags = np.full(n, 0.001)
        lags[5 : 5 + late] = 0.05
        frame = some_samples(n, lag_s=lags, sent_s=np.arange(n) / 10.0 + lags)
        return summarise(frame, objectives=["p50<9s"]).rows[0].generator.limit

    assert (summed(60, 1), summed(60, 2), summed(400, 4), summed(400, 8)) == (None, "late", None, "late")
