"""What a benchmark comes to before anything is sent: every ask is priced, and every arrival counted."""

from __future__ import annotations

import pytest

from testcard.benchmarks.load.turns import due, offsets_of
from testcard.benchmarks.plan.job import BlockJob
from testcard.benchmarks.plan.workload import Workload
from testcard.benchmarks.run.options import BenchOptions
from testcard.benchmarks.run.output import outlook_lines
from testcard.benchmarks.run.planning import BenchPlan, make_plan
from testcard.benchmarks.search.bracket import SearchPlan
from testcard.harness.config import PricesSection, TargetSection
from testcard.harness.errors import UsageError
from testcard.harness.pricing import Pricing
from testcard.harness.targets import OpenTarget
from testcard.specs.loader import load_provider

#: Megapixels cost: 0.26 for 512 × 512, 1.05 for 1024 × 1024.
PER_MEGAPIXEL: dict[str, object] = {"*": {"kind": "per-megapixel", "usd_each": 1.0}}


def planned(prices: dict[str, object] | None = None, sizes: tuple[str, ...] = ("512x512", "1024x1024"), **more: object) -> BenchPlan:
    """The plan of 10/s for 2 s in two rounds on NanoGPT's mock."""
    options = {name: more.pop(name) for name in ("max_requests", "max_cost_usd", "find_saturation") if name in more}
    workload = Workload.model_validate(
        {"stage": [{"rate_rps": 10, "duration_s": 2}], "arrival": "constant", "rounds": 2, "sizes": sizes, "prompts": ["a"], **more}
    )
    provider = load_provider("nanogpt")
    section = PricesSection.model_validate({"models": prices} if prices is not None else {})
    target = OpenTarget(provider, "http://127.0.0.1:9", "key", prices is None, Pricing(provider, prices is None, section))
    asked = BenchOptions(targets=(TargetSection(provider="nanogpt", base_url="http://127.0.0.1:9"),), workload=workload, **options)  # type: ignore[arg-type]
    return make_plan(asked, workload, [target])


def test_every_size_is_priced_not_only_the_first() -> None:
    """20 requests, sizes in turn: ten of each, at the price of each."""
    both = planned(PER_MEGAPIXEL)
    small = planned(PER_MEGAPIXEL, sizes=("512x512",))
    large = planned(PER_MEGAPIXEL, sizes=("1024x1024",))
    assert (both.requests, small.requests, large.requests) == (20, 20, 20)
    assert small.cost_usd is not None
    assert large.cost_usd is not None
    assert large.cost_usd > 3 * small.cost_usd
    assert both.cost_usd == pytest.approx((small.cost_usd + large.cost_usd) / 2)
    assert (both.images, both.repeats) == (20, 2)


def test_an_odd_turn_begins_with_the_first_ask_again() -> None:
    """Three requests a turn: small, large, small; in every turn."""
    plan = planned(PER_MEGAPIXEL, stage=[{"rate_rps": 3, "duration_s": 2}])
    each = [planned(PER_MEGAPIXEL, sizes=(size,)).cost_usd or 0.0 for size in ("512x512", "1024x1024")]
    assert plan.requests == 6
    assert plan.cost_usd == pytest.approx(2 * (2 * each[0] + each[1]) / 20)


def test_limits_bound_what_is_planned() -> None:
    """The least of what is due and what may be sent or spent; a limit of zero is one."""
    assert planned(max_requests=5).requests == 5
    assert planned(max_requests=0).requests == 0
    assert planned(max_cost_usd=0.05).cost_usd == pytest.approx(3 * 0.014)
    assert planned(max_cost_usd=0.0).cost_usd == 0.0
    assert planned(max_requests=5).repeats == 0
    assert planned(max_requests=21).blocks == planned().blocks  # a limit that bounds nothing changes nothing


def test_a_divided_budget_is_priced_by_what_its_turns_ask_for() -> None:
    """Two sizes in turn, three requests in two rounds: small, large; small. Money is enough for what it is enough for."""
    each = [planned(PER_MEGAPIXEL, sizes=(size,)).cost_usd or 0.0 for size in ("512x512", "1024x1024")]
    plan = planned(PER_MEGAPIXEL, max_requests=3)
    assert [(block.max_requests, block.begin) for block in plan.blocks] == [(2, 0), (1, 2)]
    assert plan.cost_usd == pytest.approx((2 * each[0] + each[1]) / 20)
    money = planned(PER_MEGAPIXEL, max_cost_usd=(2 * each[0] + each[1]) / 20)
    assert [(block.max_requests, block.begin) for block in money.blocks] == [(2, 0), (1, 2)]


def test_what_nobody_knows_is_not_said() -> None:
    """Users and searches send as many as they get through; without a price there is no amount, and a limit on cost is refused."""
    users = planned(stage=[{"users": 2, "duration_s": 2}])
    assert (users.requests, users.cost_usd) == (None, None)
    assert planned(stage=[{"users": 2, "duration_s": 2}], max_requests=7).requests == 7
    search = planned(find_saturation=SearchPlan(1.0), slo=["p95<1s"])
    assert (search.requests, search.cost_usd, search.blocks) == (None, None, ())
    unpriced = planned({})
    assert (unpriced.cost_usd, unpriced.unpriced) == (None, ("nanogpt hidream",))
    with pytest.raises(UsageError, match="no price"):
        planned({}, max_cost_usd=1.0)


@pytest.mark.parametrize("kind", ["poisson", "constant"])
@pytest.mark.parametrize("exact", [False, True])
def test_arrivals_are_counted_as_they_are_drawn(kind: str, exact: bool) -> None:
    """The count is that of the very schedule; of very many arrivals it is a number that chance does not reach."""
    block = BlockJob(cell=0, round=1, stage="s", rate_rps=37.3, users=None, warmup_s=0.4, duration_s=3.1, exact=exact)
    assert due(kind, block, "7/key") == len(offsets_of(kind, block, "7/key"))  # type: ignore[arg-type]
    many = BlockJob(cell=0, round=1, stage="s", rate_rps=90_000.0, users=None, warmup_s=0.0, duration_s=600.0)
    mean = 90_000 * 600
    assert mean <= due(kind, many, "key") <= 1.001 * mean  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("slo", "said"),
    [
        (["p50<9s"], "p50<9s stays undecided; --max-requests 6 could decide"),
        (["p50<9s", "p95<9s"], "p50<9s and p95<9s stay undecided; --max-requests 72 could decide"),
    ],
)
def test_what_stays_undecided_is_said_with_what_would_decide_all_of_it(slo: list[str], said: str) -> None:
    """Two requests can show no objective to be kept."""
    assert outlook_lines(planned(max_requests=2, slo=slo), 2)[-1] == f"if all goes well: exit 5, for {said}"


def test_without_a_budget_the_plan_says_what_the_objectives_take() -> None:
    """Arrivals that are due are counted; of users it is said how many requests each objective takes, and how fast they have to come."""
    due_ones = outlook_lines(planned(slo=["p50<9s", "p95<9s"]), None)
    assert due_ones == [
        "decides: p50<9s passes with at most 5 slower ones of 20 and fails from 15",
        "decides: p95<9s cannot pass with 20 (that takes 72) and fails from 4",
        "if all goes well: exit 5, for p95<9s stays undecided; 72 requests a row could decide",
    ]
    users = planned(slo=["p95<9s"], stage=[{"users": 2, "duration_s": 90}])
    assert users.outlooks == ()
    assert outlook_lines(users, None) == [
        "decides: p95<9s takes 72 requests a row to pass, which an answer of 2.5 s on average leaves time for"
    ]
    assert outlook_lines(planned(), None) == []
