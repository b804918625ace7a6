"""What a search tries next, what it answers, and how a stage is judged."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from testcard.benchmarks.load.turns import offsets_of
from testcard.benchmarks.plan.job import BlockJob
from testcard.benchmarks.run.options import BenchOptions
from testcard.benchmarks.search.bracket import GRID, LEAST_REQUESTS, SURE_STEPS, Search, SearchPlan, Step, sentence
from testcard.benchmarks.search.saturation import Figure, figure_of, judge_stage, may_be_the_generators_doing, settled
from testcard.harness.errors import UsageError
from testcard.harness.runs.records import Estimate, Gate, Generator, SummaryRow
from testcard.harness.statistics import slo
from testcard.harness.statistics.limit_share import LimitVerdict
from testcard.harness.stops import Stop, StopReason
from testcard.harness.text.words import significant


@pytest.mark.parametrize("start", [0.0, -1.0, 100_001.0, float("nan"), float("inf")])
def test_a_search_begins_with_a_rate_that_can_be_asked_for(start: float) -> None:
    """Told before anything is sent."""
    with pytest.raises(UsageError, match="rate"):
        BenchOptions(find_saturation=SearchPlan(start))


def window(search: Search, users: int, rps: float, failed: int = 0) -> None:
    """A window in which so many users got so many answers a second."""
    took = users / rps
    begun = np.array([turn * took for turn in range(10) for _ in range(users)])
    search.ramped(users, begun, begun + took, failed)


def ramp(search: Search, capacity_rps: float) -> None:
    """The ramp against a server that takes 0.1 s and completes so many a second at most."""
    while (trial := search.next_trial()) is not None and trial.users is not None:
        window(search, trial.users, min(10.0 * trial.users, capacity_rps))


def run(search: Search, knee_rps: float, *, sure: bool = True) -> Search:
    """The stages against a server that holds every rate up to its knee."""
    while (trial := search.next_trial()) is not None:
        assert trial.rate_rps is not None
        held = trial.rate_rps <= knee_rps
        search.take(Step(trial.rate_rps, held, sure, "" if held else "p95<1s (2)"))
    return search


def test_the_ramp_doubles_the_users_until_they_bring_less_than_a_tenth_more() -> None:
    """1, 2, 4, 8 users: four complete 40/s, eight no more. The first window is a second, the others ten answers' time."""
    search, lengths = Search(), []
    while (trial := search.next_trial()) is not None and trial.users is not None:
        lengths.append((trial.users, trial.duration_s))
        window(search, trial.users, min(10.0 * trial.users, 40.0))
    assert lengths == [(1, 1.0), (2, pytest.approx(1.0)), (4, pytest.approx(1.0)), (8, pytest.approx(1.0))]
    assert trial is not None
    assert trial.rate_rps is not None
    assert 20.0 < trial.rate_rps < 40.0


def test_the_ramp_keeps_to_the_places_that_are_allowed_and_stops_at_a_refusal() -> None:
    """A live target has one place in flight; a 429 is what the ramp was looking for."""
    held_to_one = Search(most_users=1)
    window(held_to_one, 1, 10.0)
    assert held_to_one.ramp_is_over
    refused = Search(objectives=False)
    window(refused, 1, 10.0)
    window(refused, 2, 20.0, failed=5)
    assert refused.ramp_is_over
    assert refused.plateau_rps is None  # its rates are looked for by stages
    trial = refused.next_trial()
    assert trial is not None
    assert trial.rate_rps is not None


@given(knee=st.floats(0.3, 1.2), capacity=st.floats(10.0, 1000.0), sure=st.booleans())
@settings(max_examples=200, deadline=None)
def test_the_knee_lies_between_what_held_and_what_broke(knee: float, capacity: float, sure: bool) -> None:
    """For any knee, below half and above all of what the ramp completed too; what is not sure is answered one grid step lower."""
    search = Search()
    ramp(search, capacity)
    run(search, knee * capacity, sure=sure)
    assert search.found
    assert search.held is not None
    assert search.broke is not None
    assert search.held.rate_rps <= knee * capacity < search.broke.rate_rps <= search.held.rate_rps * GRID * 1.01
    assert search.turns <= (8 if knee > 0.55 else 12)
    expected = search.held.rate_rps if sure else search.held.rate_rps / GRID
    assert search.answer_rps == pytest.approx(expected, rel=0.006)
    assert sentence(search).startswith(f"{'holds' if sure else 'probably holds'} {significant(search.answer_rps)}/s")
    assert ("surely" in sentence(search)) == sure


@given(knee=st.floats(0.2, 2000), start=st.floats(0.1, 100))
@settings(max_examples=100, deadline=None)
def test_a_rate_to_begin_with_takes_the_ramp_s_place(knee: float, start: float) -> None:
    """It doubles or halves until both ends are there."""
    search = run(Search(SearchPlan(start, max_stages=30)), knee)
    assert search.found
    assert search.held is not None
    assert search.held.rate_rps <= knee


def test_the_search_ends_at_the_highest_rate_that_can_be_asked_for() -> None:
    """A server that holds everything, and a number of stages that is used up: both are said."""
    highest = run(Search(SearchPlan(60_000.0)), 1e9)
    assert highest.limit == Stop(reason=StopReason.HIGHEST_RATE, limit=100_000)
    assert "100,000/s is the highest rate that can be asked for" in sentence(highest)
    few = run(Search(SearchPlan(1.0, max_stages=3)), 1e9)
    assert few.limit == Stop(reason=StopReason.STAGES_SPENT, limit=3)
    assert "was not broken: the search ended after 3 stages" in sentence(few)
    assert not few.found


def test_what_is_sure_reaches_from_some_steps_below_the_highest_sure_hold() -> None:
    """To the lowest sure break; unsure steps narrow nothing, and one end alone is said as one."""
    search = Search(SearchPlan(10.0))
    search.steps += [Step(10, True, True), Step(20, False, True, "x"), Step(14.1, True, False), Step(16.8, False, False, "x")]
    assert (search.held, search.broke) == (search.steps[2], search.steps[3])
    assert search.interval == (pytest.approx(10 / GRID**SURE_STEPS, rel=0.006), 20)
    assert sentence(search).startswith("probably holds 13.7/s, probably breaks at 16.8/s, surely within 9.43/s to 20/s")
    search.steps = search.steps[1:]
    assert "surely below 20/s" in sentence(search)


def test_a_budget_that_not_one_stage_fits_in_is_refused_before_anything_is_sent() -> None:
    """With the requests that it takes."""
    from testcard.benchmarks.run.bench import bench

    with pytest.raises(UsageError, match=f"about {LEAST_REQUESTS} requests"):
        bench(BenchOptions(find_saturation=SearchPlan(), max_requests=LEAST_REQUESTS - 1))
    bench(BenchOptions(find_saturation=SearchPlan(), max_requests=LEAST_REQUESTS))


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


def p95(value_s: float, verdict: str, over: int = 5) -> dict[str, Figure]:
    limit = LimitVerdict(verdict, over, 200, 0.05, NONE)  # type: ignore[arg-type]
    return {"p95<1s": Figure(value_s, limit)}


@pytest.mark.parametrize(
    ("seen", "figures", "held", "sure", "word"),
    [
        (row(p95=Estimate(value=0.5, low=0.4, high=0.6, n=100), verdict="pass"), {}, True, True, ""),
        (row(p95=Estimate(value=2, low=1.4, high=2.6, n=100), verdict="fail"), {}, False, True, "p95<1s (2)"),
        (row(p95=NONE, verdict="inconclusive"), p95(0.5, "holds"), True, True, ""),
        (row(p95=NONE, verdict="inconclusive"), p95(0.95, "undecided", 9), True, False, "just holds"),
        # As many over the limit as may, and one more is assumed than was seen.
        (row(p95=NONE, verdict="inconclusive"), p95(0.99, "undecided", 10), False, False, "p95<1s (0.99)"),
        (row(p95=NONE, verdict="inconclusive"), p95(1.5, "breaks", 40), False, True, "p95<1s (1.5)"),
        # An interval of the summary does not make a queue's percentile sure.
        (row(p95=Estimate(value=0.9, low=0.85, high=0.95, n=100), verdict="pass"), p95(0.9, "undecided"), True, False, "just holds"),
        (row(p95=NONE, verdict="inconclusive"), {}, True, False, "could not be judged"),
        (row(p95=NONE, verdict="inconclusive", achieved=19.0), p95(0.5, "holds"), False, True, "falls behind: 19 of 20"),
        (row(p95=NONE, verdict="inconclusive", achieved=19.7), p95(0.5, "holds"), False, False, "falls behind: 19.7 of 20"),
        (
            row(p95=NONE, verdict="inconclusive", ok=80, achieved=16.0),
            p95(0.5, "holds"),
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


def test_a_stage_s_percentile_is_judged_by_the_share_over_its_limit() -> None:
    """Far below: holds. A third over: breaks. A few over: it leans."""
    draw = np.random.default_rng(1)
    calm = draw.uniform(0.05, 0.15, 200)
    assert figure_of(calm, 0.95, 1.0).limit.verdict == "holds"
    broken = np.where(np.arange(200) % 3 == 0, 2.0, calm)
    assert figure_of(broken, 0.95, 1.0).limit.verdict == "breaks"
    near = np.where(np.arange(200) % 25 == 0, 2.0, calm)
    seen = figure_of(near, 0.95, 1.0)
    assert (seen.sure, seen.held) == (False, True)


def test_under_way_only_those_count_that_have_had_the_limit_s_time() -> None:
    """Else the quick ones alone would have ended."""
    assert settled(np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.2, 2.1]), 1.0).tolist() == [True, True, False]


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
    assert (
        may_be_the_generators_doing(seen, [slo.parse("p95<1s")], {"p95<1s": Figure(p95, LimitVerdict("breaks", 40, 200, 0.05, NONE))})
        == excused
    )
