"""What a calibration takes for true, which rates it tries, and whether its servers keep what they promise."""

from __future__ import annotations

import http.client
import math
import time
from statistics import NormalDist
from urllib.parse import urlsplit

import pytest

from testcard.benchmarks.calibration.command import Ladder, Timing, compare, lognormal_delays_s, replay_s, rounded, timings
from testcard.benchmarks.calibration.record import Answers, Calibration, Level, Machine, sentences
from testcard.benchmarks.calibration.servers import ServerCount, ServerPlan, answer_body, serving
from testcard.benchmarks.load.turns import schedule
from testcard.harness.statistics.percentiles import nearest
from testcard.harness.wire.pictures import look


def test_the_freeze_of_the_design_has_the_percentiles_that_the_design_states() -> None:
    """50 ms, constant 100/s for 9 s, frozen in [4 s, 5 s): about 160 and 610 ms uncapped, 580 and 810 ms at 10 in flight."""
    due = schedule("constant", 100, 9, "")
    for cap, p90, p95 in ((None, 0.16, 0.61), (10, 0.58, 0.81)):
        truth = sorted(replay_s(due, [0.05], freeze_s=(4.0, 5.0), cap=cap))
        assert nearest(truth, 0.90) == pytest.approx(p90, abs=0.011)
        assert nearest(truth, 0.95) == pytest.approx(p95, abs=0.011)
        assert nearest(truth, 0.5) == pytest.approx(0.05)


def test_a_cap_makes_requests_wait_in_order() -> None:
    """One at a time, 1 s each, all due at once: the n-th is done after n seconds."""
    assert replay_s([0.0, 0.0, 0.0], [1.0], cap=1) == [1.0, 2.0, 3.0]
    assert replay_s([0.0, 0.5, 3.0], [1.0, 2.0], cap=1) == [1.0, 2.5, 1.0]


def test_drawn_delays_have_the_quantiles_of_their_distribution() -> None:
    """400 delays, median 100 ms, σ 0.5: each percentile as the formula has it to 2.5 %; the same order for the same seed."""
    delays = lognormal_delays_s(0.1, 0.5, 400, seed=1)
    assert delays == lognormal_delays_s(0.1, 0.5, 400, seed=1) != sorted(delays)
    for share in (0.1, 0.5, 0.9, 0.99):
        expected = 0.1 * math.exp(0.5 * NormalDist().inv_cdf(share))
        assert nearest(sorted(delays), share) == pytest.approx(expected, rel=0.025)


def level(rate: float | None, *, trusted: bool = True) -> Level:
    return Level(
        offered_rps=rate,
        achieved_rps=rate or 1000.0,
        requests=100,
        send_lag_p99_s=0.001,
        cpu_s_per_request=0.0001,
        cpu_percent=10.0,
        trusted=trusted,
        why=None if trusted else "late",
    )


def test_a_rate_that_fails_once_is_tried_again_and_ends_the_climb_when_it_fails_twice() -> None:
    """Shares of the peak from low to high; the trusted rate is the last one below the one that failed twice."""
    ladder = Ladder((0.1, 0.5, 0.7, 0.9))
    assert ladder.next_rps() is None
    ladder.peak = level(None)
    for rate, trusted in ((100, True), (500, False), (500, True), (700, False), (700, False)):
        assert ladder.next_rps() == rate
        ladder.tried(level(rate, trusted=trusted))
    assert ladder.next_rps() is None
    assert (ladder.trusted_rps, ladder.at_ceiling) == (500, False)


def test_a_climb_without_a_failure_says_that_more_may_be_possible() -> None:
    """All levels trusted: the highest counts, as a floor."""
    ladder = Ladder((0.1, 0.5), peak=level(None))
    while (rate := ladder.next_rps()) is not None:
        ladder.tried(level(rate))
    assert (ladder.trusted_rps, ladder.at_ceiling) == (500, True)
    assert [rounded(rate) for rate in (8756.0, 0.123, 0.01)] == [8800, 0.12, 0.1]


def test_servers_keep_their_delays_and_their_freeze() -> None:
    """Never early; each answer whole, a picture in it, of the asked size; counted."""
    plans = [ServerPlan(bytes=1_400_000), ServerPlan(delays_s=(0.03, 0.06)), ServerPlan(delays_s=(0.01,), freeze_s=(0.0, 0.3))]
    with serving(plans) as servers:
        took = []
        for url in servers.urls:
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
            for _ in range(8 if url == servers.urls[-1] else 2):
                began = time.monotonic()
                connection.request("POST", "/any", body=b"{}")
                answer = connection.getresponse()
                assert (answer.status, len(answer.read())) == (200, int(answer.headers["content-length"]))
                took.append(time.monotonic() - began)
            connection.close()
    assert all(seconds >= least for seconds, least in zip(took[2:5], (0.03, 0.06, 0.31), strict=True)), took
    assert 0.01 <= min(took[5:]) < 0.3, took  # after the freeze; on a busy machine not each of them
    assert [count.answers for count in servers.counts] == [2, 2, 8]
    assert servers.counts[0].late_p99_s is None
    assert servers.counts[1].late_p99_s is not None


@pytest.mark.parametrize("size", [1_500, 1_400_000])
def test_answers_are_about_as_large_as_asked_and_hold_a_whole_picture(size: int) -> None:
    """Within 15 %; the picture's structure is whole."""
    import base64
    import json

    body = answer_body(size)
    assert len(body) == pytest.approx(size, rel=0.15)
    assert look(base64.b64decode(json.loads(body)["data"][0]["b64_json"])).problem is None


def test_percentiles_that_are_off_and_requests_that_are_missing_are_told() -> None:
    """The truth itself is within; 6 % more is not, nor is a request too few."""
    timing = Timing("x", 100, 2.0, (0.1,))
    truth = timing.truth_s()
    assert compare(timing, truth, ServerCount(answers=200)).within
    assert not compare(timing, [value * 1.06 for value in truth], ServerCount(answers=200)).within
    assert not compare(timing, truth[:-1], ServerCount(answers=200)).within
    assert not compare(timing, [], ServerCount(answers=0)).within
    assert [one.cap for one in timings(2.0)] == [None, None, None, 10]


def test_words_say_what_can_be_trusted_and_what_not() -> None:
    """A rate for each kind of answer, "or more" without a failure, and none where it was late from the start."""
    common = {"bytes": 1500, "checked": "structure", "peak_rps": 9000.0, "peak_cpu_s_per_request": 7e-5, "levels": []}
    found = Calibration(
        tool_version="0",
        created="2026-01-01",
        took_s=1.0,
        processes=2,
        machine=Machine(cpus=2, platform="", python="", load_1min=7.25),
        answers=[
            Answers(name="small", trusted_rps=4400.0, at_ceiling=True, **common),  # type: ignore[arg-type]
            Answers(name="small", trusted_rps=None, at_ceiling=False, **{**common, "levels": [level(500, trusted=False)]}),  # type: ignore[arg-type]
            Answers(name="small", trusted_rps=None, at_ceiling=False, **common),  # type: ignore[arg-type]
        ],
        fidelity=[compare(Timing("slow", 100, 2.0, (0.1,)), [0.2] * 200, ServerCount(answers=200, late_p99_s=0.004))],
        outcome="inconclusive",
        reason="it was late",
    )
    assert sentences(found) == [
        "answers of 1.5 kB (structure checked): trust 2 processes of this machine with up to 4,400 requests/s or more; 70 µs of CPU a request.",
        "answers of 1.5 kB (structure checked): late at every rate tried on 2 processes of this machine; 70 µs of CPU a request.",
        "answers of 1.5 kB (structure checked): no time to try a rate on 2 processes of this machine; 70 µs of CPU a request.",
        "Latencies did not come out true with the server “slow” (the server itself was up to 4 ms late).",
        "This machine was busy before (load average 7.2 on 2 cores): measure again when it is idle.",
        "Inconclusive: it was late.",
    ]
