"""Objectives are read as a person writes them and judged with their interval."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from testcard.harness.errors import UsageError
from testcard.harness.runs.records import AsyncTasks, Delivery, Estimate, Generator, Money, RateLimits, Stream, SummaryRow
from testcard.harness.statistics.limit_share import judge_limit
from testcard.harness.statistics.slo import judge, limit_s, parse, percentile_of


def a_row(**changes: object) -> SummaryRow:
    row = SummaryRow(
        provider="p", model="m", operation="o", stage="s", offered_rps=5.0, achieved_rps=5.0, requests=200, ok=200, errors={}, latency_s={},
        service_s={}, ttfb_s={}, images_per_s=5.0, megapixels_per_s=1.0, goodput_rps=5.0, cost_usd_per_image=None,
        generator=Generator(send_lag_p99_s=None, cpu_percent=None), outcome="pass",
    )  # fmt: skip
    return msgspec.structs.replace(row, **changes)


@pytest.mark.parametrize(
    ("text", "metric", "operator", "threshold"),
    [
        ("p95<8s", "p95", "<", 8.0),
        (" p99.9 <= 900 ms ", "p99.9", "<=", 0.9),
        ("latency_p50<1.5s", "p50", "<", 1.5),
        ("service_p90<250ms", "service_p90", "<", 0.25),
        ("error_rate<1%", "error_rate", "<", 0.01),
        ("ok_rate>=0.99", "ok_rate", ">=", 0.99),
        ("usd_per_image<0.05", "usd_per_image", "<", 0.05),
        ("usd_per_1000_good_images<=40USD", "usd_per_1000_good_images", "<=", 40.0),
        ("goodput_rps>2", "goodput_rps", ">", 2.0),
        ("first_token_p95<500ms", "first_token_p95", "<", 0.5),
        ("inter_token_p50<=0.05s", "inter_token_p50", "<=", 0.05),
        ("queue_p99<2s", "queue_p99", "<", 2.0),
        ("rate_limited<1%", "rate_limited", "<", 0.01),
        ("wasted<5%", "wasted", "<", 0.05),
        ("usd_per_megapixel<0.1usd", "usd_per_megapixel", "<", 0.1),
        ("tokens_per_s>=100", "tokens_per_s", ">=", 100.0),
    ],
)
def test_objectives_are_read(text: str, metric: str, operator: str, threshold: float) -> None:
    """Metric, operator and threshold in seconds, shares, USD or per second; the text is kept as written."""
    found = parse(text)
    assert (found.metric, found.operator, found.expression) == (metric, operator, text)
    assert found.threshold == pytest.approx(threshold)


@pytest.mark.parametrize(
    "text", ["", "p95", "p95<8", "p95=8s", "p95<8h", "p97<1s", "speed<1", "error_rate<150%", "goodput_rps>2%", "p95<-1s", "p95<nan s"]
)
def test_what_is_no_objective_is_answered_with_right_ones(text: str) -> None:
    """A mistake is a usage error that quotes it and shows what works."""
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert repr(text) in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "estimate", "verdict"),
    [
        ("p95<8s", Estimate(value=5.0, low=4.0, high=7.9, n=99), "pass"),
        ("p95<8s", Estimate(value=5.0, low=4.0, high=8.0, n=99), "inconclusive"),
        ("p95<=8s", Estimate(value=5.0, low=4.0, high=8.0, n=99), "pass"),
        ("p95<8s", Estimate(value=9.0, low=8.5, high=12.0, n=99), "fail"),
        ("p95<8s", Estimate(value=9.0, low=7.0, high=12.0, n=99), "inconclusive"),
        ("p95<8s", Estimate(value=None, n=20), "inconclusive"),
        ("p95<8s", Estimate(value=None, low=30.0, n=99), "fail"),  # among timeouts of 30 s
        ("p95<60s", Estimate(value=None, low=30.0, n=99), "inconclusive"),
        ("p95>1s", Estimate(value=None, low=30.0, n=99), "pass"),
        ("p95>8s", Estimate(value=5.0, low=4.0, high=7.9, n=99), "fail"),
    ],
)
def test_the_interval_decides(text: str, estimate: Estimate, verdict: str) -> None:
    """Wholly inside passes, wholly outside fails, everything else is inconclusive and says why."""
    gate = judge(parse(text), a_row(latency_s={"p95": estimate}))
    assert gate.verdict == verdict
    assert gate.observed == estimate
    assert bool(gate.detail) == (verdict != "pass")


def test_every_metric_finds_its_figure() -> None:
    """Each kind of objective looks at the right figure of the row."""
    low, high = Estimate(value=0.01, low=0.0, high=0.02, n=200), Estimate(value=4.0, low=3.0, high=5.0, n=200)
    row = a_row(
        error_rate=low,
        cost_usd_per_image=low,
        cost_usd_per_1000_good_images=high,
        goodput=high,
        service_s={"p50": high},
        ttfb_s={"p50": low},
    )
    for text in (
        "error_rate<3%", "ok_rate>97%", "usd_per_image<0.05", "usd_per_1000_good_images<6", "goodput_rps>2", "achieved_rps>4",
        "images_per_s>4", "megapixels_per_s<2", "service_p50<6s", "ttfb_p50<1s",
    ):  # fmt: skip
        assert judge(parse(text), row).verdict == "pass", text


def test_no_price_is_never_a_pass() -> None:
    """A cost objective without a price is inconclusive and says so."""
    gate = judge(parse("usd_per_image<0.05"), a_row())
    assert (gate.verdict, gate.detail) == ("inconclusive", "no price is known")


def test_a_rate_without_an_interval_proves_nothing() -> None:
    """Fewer than six rounds or blocks give no interval, so the gate does not pass on the point alone."""
    assert judge(parse("goodput_rps>2"), a_row(goodput=Estimate(value=9.0, n=30))).verdict == "inconclusive"


def test_one_request_is_good_within_the_loosest_latency_bound() -> None:
    """p50<2s lets half of the requests take longer; p95<8s is what a single one must keep."""
    assert limit_s([parse("p50<2s"), parse("p95<8s"), parse("error_rate<1%")]) == 8.0
    assert limit_s([parse("service_p95<3s"), parse("p95>1s")]) is None


def test_a_percentile_is_judged_by_the_share_over_its_limit() -> None:
    """What the samples say of the limit decides, and the detail says how many took longer, of how many that may."""
    row = a_row(latency_s={"p95": Estimate(value=9.0, low=7.0, high=None, n=60)})
    words = {}
    for over, verdict in ((26, "fail"), (4, "inconclusive"), (0, "inconclusive")):
        values = np.concatenate([np.full(60 - over, 1.0), np.full(over, 9.0)])
        values = np.random.default_rng(1).permutation(values)
        gate = judge(parse("p95<8s"), row, judge_limit(values, np.repeat(np.arange(6), 10), limit=8.0, allowed=0.05))
        assert gate.verdict == verdict
        assert gate.over_share is not None
        assert gate.over_share.value == over / 60
        words[over] = gate
    assert words[26].detail == "26 of 60 took longer (43 %), surely more than the 5 % that may"
    assert "4 of 60 took longer (6.7 %)" in words[4].detail
    assert words[4].more_requests is not None
    assert f"about {words[0].more_requests or 0:,} more would decide it" in words[0].detail


def test_only_upper_bounds_of_percentiles_are_judged_by_a_share() -> None:
    """Which series and level; everything else goes by its interval."""
    assert percentile_of(parse("p95<8s")) == ("latency_s", 0.95)
    assert percentile_of(parse("queue_p50<=8s")) == ("queue_s", 0.5)
    assert percentile_of(parse("p95>8s")) is None
    assert percentile_of(parse("error_rate<8%")) is None


def test_streams_tasks_limits_and_waste_can_be_gated() -> None:
    """Each further metric is read from its part of the row; where a row has no such part, nothing was measured."""
    sure = Estimate(value=0.3, low=0.2, high=0.4, n=500)
    row = a_row(
        stream=Stream(first_token_s={"p95": sure}, inter_token_s={"p50": sure}),
        tasks=AsyncTasks(queue_s={"p99": sure}, generation_s={"p90": sure}),
        money=Money(spent_usd=1.0, wasted_usd=0.3, wasted_requests=3, wasted_share=sure, cost_usd_per_megapixel=sure),
        rate_limits=RateLimits(share=sure, retry_after_given=sure, retry_after_s={}),
        delivery=Delivery(
            delivered_images_per_s=sure,
            valid_images_per_s=sure,
            delivered_megapixels_per_s=sure,
            valid_megapixels_per_s=sure,
            tokens_per_s=sure,
        ),
    )
    times = ("first_token_p95", "inter_token_p50", "queue_p99", "generation_p90")
    for name, unit in [*((each, "s") for each in times), *((each, "") for each in ("wasted", "rate_limited", "usd_per_megapixel"))]:
        assert judge(parse(f"{name}<0.5{unit}"), row).verdict == "pass"
        assert judge(parse(f"{name}<0.1{unit}"), row).verdict == "fail"
        assert judge(parse(f"{name}<0.3{unit}"), row).verdict == "inconclusive"
    for name in ("tokens_per_s", "images_per_s", "megapixels_per_s"):
        assert judge(parse(f"{name}>0.1"), row).verdict == "pass"
    bare = a_row()
    for name in times:
        assert judge(parse(f"{name}<1s"), bare).verdict == "inconclusive"
    assert judge(parse("wasted<5%"), bare).detail == "no price is known"
    assert judge(parse("rate_limited<5%"), bare).verdict == "pass"  # 0 of 200


def test_an_undecided_share_says_how_many_more_would_decide() -> None:
    """One error of 20 against 20 %: with 27 of as many the interval ends below; a share at the limit is never decided."""
    from testcard.harness.statistics.rates import wilson

    row = a_row(requests=20, error_rate=wilson(1, 20))
    gate = judge(parse("error_rate<20%"), row)
    assert (gate.verdict, gate.more_requests) == ("inconclusive", 8)
    assert gate.detail == "the 95 % interval holds the threshold (n = 20); about 8 more would decide it"
    assert (wilson(28 / 20, 28).high or 1) < 0.2 <= (wilson(27 / 20, 27).high or 0)
    never = judge(parse("error_rate<20%"), msgspec.structs.replace(row, error_rate=wilson(4, 20)))
    assert (never.verdict, never.more_requests) == ("inconclusive", None)


def test_errors_in_a_spell_take_more_requests_to_decide() -> None:
    """Ten errors in a row are worth fewer requests than ten here and there, so that more of the like have to come."""
    from testcard.harness.statistics.rates import clustered, wilson

    hits = np.zeros(400, dtype=bool)
    hits[40:50] = True
    figure = clustered(hits, np.repeat(np.arange(8), 50))
    assert figure.low is not None
    assert figure.high is not None
    worth = next(n for n in range(1, 401) if (wilson(10, 400, worth=n).high or 1.0) <= figure.high)
    more = judge(parse("error_rate<7%"), a_row(requests=400, error_rate=figure)).more_requests
    assert worth < 100
    assert more is not None
    whole = 400 + more
    assert (wilson(whole / 40, whole, worth=whole * (worth + 1) / 400).high or 1.0) < 0.07
    assert (wilson(whole / 40, whole, worth=whole * (worth - 1) / 400).high or 0.0) >= 0.07
