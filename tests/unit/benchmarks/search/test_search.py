"""The search for saturation lands on the knee in a bounded number of stages, and says what it is sure of."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.benchmarks.load.turns import offsets_of
from testcard.benchmarks.plan.job import BlockJob
from testcard.benchmarks.plan.workload import Stage
from testcard.benchmarks.run.options import BenchOptions
from testcard.benchmarks.search.bracket import RESOLUTION, TRIES, Search, SearchPlan, Step, sentence
from testcard.benchmarks.search.stage_verdict import Figure, figure_of, judge_stage, may_be_the_generators_doing
from testcard.harness.errors import UsageError
from testcard.harness.runs.records import Estimate, Gate, Generator, SummaryRow
from testcard.harness.statistics import slo
from testcard.harness.stops import Stop, StopReason
from testcard.harness.text.words import significant


def test_the_search_ends_at_the_highest_rate_that_can_be_asked_for() -> None:
    """A server that holds everything: the rate doubles up to what a workload may state, and the search says that it ended there."""
    search = Search(start_rps=60_000.0)
    tried = []
    while (rate := search.next_rps()) is not None:
        assert Stage(rate_rps=rate, duration_s=1.0).rate_rps == rate
        tried.append(rate)
        search.take(Step(rate, held=True, sure=True), 1)
    assert tried == [60_000.0, 100_000.0]
    assert search.limit == Stop(reason=StopReason.HIGHEST_RATE, limit=100_000)
    assert sentence(search) == "holds 100,000/s and was not broken: 100,000/s is the highest rate that can be asked for"
    assert not search.found


@pytest.mark.parametrize("start", [0.0, -1.0, 100_001.0, float("nan"), float("inf")])
def test_a_search_begins_with_a_rate_that_can_be_asked_for(start: float) -> None:
    """Told before anything is sent."""
    with pytest.raises(UsageError, match="rate"):
        BenchOptions(find_saturation=SearchPlan(start))


def run(search: Search, knee_rps: float) -> Search:
    """The search against a server that holds every rate up to its knee."""
    tries: Counter[float] = Counter()
    while (rate := search.next_rps()) is not None:
        tries[rate] += 1
        assert search.take(Step(rate, rate <= knee_rps, True, "" if rate <= knee_rps else "p95<1s (2)"), tries[rate])
    return search


@given(knee=st.floats(0.2, 2000), start=st.floats(0.1, 100))
@settings(max_examples=200, deadline=None)
def test_the_knee_lies_between_what_held_and_what_broke(knee: float, start: float) -> None:
    """For any knee and start: at most 24 stages, and the ends of the interval within 5 % of each other around the knee."""
    search = run(Search(float(f"{start:.3g}"), max_stages=24), knee)
    assert search.turns <= 24
    if search.found:
        assert search.held is not None
        assert search.broke is not None
        assert search.held.rate_rps <= knee < search.broke.rate_rps <= search.held.rate_rps * RESOLUTION
        assert f"holds {significant(search.held.rate_rps)}/s" in sentence(search)
        assert "What broke first: p95<1s" in sentence(search)
    else:
        assert search.turns == 24


def test_no_rate_is_tried_twice_and_the_number_of_stages_is_kept() -> None:
    """Three stages are three stages; without an end found, the sentence says that nothing broke."""
    search = run(Search(1.0, max_stages=3), 1e9)
    assert [step.rate_rps for step in search.steps] == [1.0, 2.0, 4.0]
    assert not search.found
    assert "was not broken" in sentence(search)


def test_a_server_that_breaks_at_once_is_said_to() -> None:
    """No rate held: neither end is claimed."""
    search = run(Search(8.0, max_stages=3), 0.0)
    assert search.held is None
    assert sentence(search).startswith("breaks even at 2/s")


def test_unsure_ends_widen_what_is_sure() -> None:
    """The interval that is sure reaches from the highest clear hold to the lowest clear break."""
    search = Search(1.0)
    search.steps += [Step(10, True, True), Step(20, False, True, "x"), Step(14.1, True, False), Step(16.8, False, False, "x")]
    assert (search.held, search.broke) == (search.steps[2], search.steps[3])
    assert search.interval == (10, 20)
    assert "surely within 10/s to 20/s" in sentence(search)


def row(*, p95: Estimate, verdict: str, offered: float = 20.0, achieved: float = 20.0, ok: int = 100, requests: int = 100) -> SummaryRow:
    estimates = {"p95": p95}
    gates = [Gate(expression="p95<1s", observed=p95, verdict=verdict)]  # type: ignore[arg-type]
    return SummaryRow(
        provider="p", model=None, operation="o", stage="s", offered_rps=offered, achieved_rps=achieved, requests=requests, ok=ok,
        errors={"rate-limited": requests - ok} if ok < requests else {}, latency_s=estimates, service_s=estimates, ttfb_s=estimates,
        images_per_s=0, megapixels_per_s=0, goodput_rps=0, cost_usd_per_image=None, generator=Generator(send_lag_p99_s=0, cpu_percent=0),
        outcome="pass", gates=gates,
    )  # fmt: skip


NONE = Estimate(value=None, n=100)


def p95(value_s: float, spread: float = 0.05, n: int = 2000) -> dict[str, Figure]:
    return {"p95": Figure(value_s, spread, n)}


@pytest.mark.parametrize(
    ("seen", "figures", "held", "sure", "word"),
    [
        (row(p95=Estimate(value=0.5, low=0.4, high=0.6, n=100), verdict="pass"), {}, True, True, ""),
        (row(p95=Estimate(value=2, low=1.4, high=2.6, n=100), verdict="fail"), {}, False, True, "p95<1s (2)"),
        (row(p95=NONE, verdict="inconclusive"), p95(0.5), True, True, ""),
        (row(p95=NONE, verdict="inconclusive"), p95(0.95), True, False, "just holds"),
        (row(p95=NONE, verdict="inconclusive"), p95(1.05), False, False, "p95<1s (1.05)"),
        (row(p95=NONE, verdict="inconclusive"), p95(1.5), False, True, "p95<1s (1.5)"),
        # Far from the threshold, but the samples are few, or their blocks differ: not sure.
        (row(p95=NONE, verdict="inconclusive"), p95(1.5, n=150), False, False, "p95<1s (1.5)"),
        (row(p95=NONE, verdict="inconclusive"), p95(1.5, spread=0.2), False, False, "p95<1s (1.5)"),
        # An interval that takes samples for independent does not make a queue's percentile sure.
        (row(p95=Estimate(value=0.9, low=0.85, high=0.95, n=100), verdict="pass"), p95(0.9), True, False, "just holds"),
        (row(p95=NONE, verdict="inconclusive"), {}, True, False, "could not be judged"),
        (row(p95=NONE, verdict="inconclusive", achieved=19.0), p95(0.5), False, True, "falls behind: 19 of 20"),
        (row(p95=NONE, verdict="inconclusive", achieved=19.7), p95(0.5), False, False, "falls behind: 19.7 of 20"),
        (
            row(p95=NONE, verdict="inconclusive", ok=80, achieved=16.0),
            p95(0.5),
            False,
            True,
            "20 of 100 requests failed (20 rate-limited)",
        ),
    ],
)
def test_a_stage_is_judged_by_objectives_by_keeping_up_and_by_failures(
    seen: SummaryRow, figures: dict[str, Figure], held: bool, sure: bool, word: str
) -> None:
    """What broke is named; a percentile near its threshold is not sure, and the nearer the fewer the samples are."""
    step = judge_stage(20.0, seen, [slo.parse("p95<1s")], figures)
    assert (step.held, step.sure) == (held, sure)
    assert word in step.why


def test_an_unsure_rate_is_tried_again_and_every_try_counts() -> None:
    """Up to three tries; the number of stages bounds them too."""
    search = Search(10.0, max_stages=5)
    assert search.next_rps() == 10.0
    assert not search.take(Step(10.0, True, False), 1)
    assert search.next_rps() == 10.0
    assert not search.take(Step(10.0, True, False), 2)
    assert search.next_rps() == 10.0
    assert search.take(Step(10.0, True, False), TRIES)
    assert search.next_rps() == 20.0
    assert not search.take(Step(20.0, False, False, "x"), 1)
    assert search.next_rps() == 20.0
    assert search.take(Step(20.0, False, False, "x"), 2)  # the fifth stage is the last
    assert search.next_rps() is None
    assert "holds 10/s, breaks at 20/s, surely within ? to ?" in sentence(search)


def test_a_moment_s_trouble_does_not_decide() -> None:
    """The rate that ends a search as broken is taken once more; when it holds then, the search goes on above it."""
    search = Search(10.0)
    for rate, held, tries in ((10.0, True, 1), (20.0, False, 1), (14.1, True, 1), (16.8, True, 1), (18.3, True, 1), (19.1, False, 1)):
        assert search.next_rps() == rate
        search.take(Step(rate, held, True), tries)
    assert not search.found
    assert search.next_rps() == 19.1
    search.take(Step(19.1, True, True), 2)
    assert search.next_rps() == 20.0  # the ends are close again, and this one has broken only once
    search.take(Step(20.0, False, True), 2)
    assert search.found
    assert search.next_rps() is None
    assert [step.rate_rps for step in search.steps if not step.held] == [20.0]


def test_the_spread_of_a_percentile_knows_about_busy_spells() -> None:
    """The same values in one clump have a wider spread than shuffled ones; the value is the nearest-rank percentile of all."""
    import numpy as np

    calm = np.concatenate([np.full(900, 0.05), np.full(100, 0.4)])
    mixed = np.random.default_rng(1).permutation(calm)
    clumped, spread = figure_of(calm, 0.95), figure_of(mixed, 0.95)
    assert clumped.value_s == spread.value_s == 0.4
    assert clumped.spread > 5 * max(spread.spread, 0.01)
    assert figure_of(np.array([0.2]), 0.95).value_s == 0.2


def test_an_exact_turn_has_as_many_arrivals_as_its_rate_says() -> None:
    """In the warm-up and after it, for any seed; spread as a Poisson process is given its count."""
    block = BlockJob(cell=0, round=1, stage="s", rate_rps=50.0, users=None, warmup_s=2.0, duration_s=8.0, exact=True)
    for seed in range(5):
        offsets = list(offsets_of("poisson", block, str(seed)))
        assert offsets == sorted(offsets)
        assert (sum(offset < 2.0 for offset in offsets), len(offsets)) == (100, 500)
        gaps = [later - earlier for earlier, later in itertools.pairwise(offsets)]
        assert 0.7 < (sum((gap - 0.02) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / 0.02 < 1.4


@pytest.mark.parametrize(
    ("achieved", "p95", "lag", "excused"),
    [
        (20.0, 1.005, 0.02, True),  # without the lag it would have held
        (20.0, 2.0, 0.02, False),  # twice the threshold is not 20 ms of lag
        (18.0, 0.5, 0.02, False),  # a queue that grew by a second in ten is not 20 ms of lag
        (18.0, 0.5, 0.9, True),  # but it may be 900 ms of it
    ],
)
def test_a_late_generator_excuses_only_what_it_can_have_caused(achieved: float, p95: float, lag: float, excused: bool) -> None:
    """A server that queues for seconds is not let off for the generator's milliseconds."""
    import msgspec

    seen = row(p95=NONE, verdict="inconclusive", achieved=achieved)
    seen = msgspec.structs.replace(seen, duration_s=10.0, generator=Generator(send_lag_p99_s=lag, cpu_percent=1))
    assert may_be_the_generators_doing(seen, [slo.parse("p95<1s")], {"p95": Figure(p95, 0.1, 100)}) == excused
