"""What of a plan fits into its limits: musts first, downloads counted, free refusals free."""

from __future__ import annotations

import pytest

from testcard.harness.check.generation.plan import Plan, choose_operations, choose_rules, make_plan
from testcard.harness.check.spending.allowance import forecast
from testcard.harness.check.spending.budget import NO_LIMITS, SpendingLimits
from testcard.harness.pricing import Pricing
from testcard.specs.loader import load_provider


@pytest.fixture(scope="module")
def plan() -> Plan:
    provider = load_provider("nanogpt")
    return make_plan(provider, Pricing(provider, True), rules=choose_rules(()), operations=choose_operations(provider, (), None))


def test_without_limits_everything_fits(plan: Plan) -> None:
    """No rule is left open."""
    found = forecast(plan, NO_LIMITS)
    assert (found.rules, found.leaves_must_open) == ((), False)
    assert found.fitting <= found.planned == len(plan.steps)


def test_the_number_that_leaves_no_must_open_is_the_least(plan: Plan) -> None:
    """With so many all musts are judged, with one fewer not; what stays open is sorted, musts first."""
    enough = forecast(plan, SpendingLimits(max_requests=5)).enough
    assert not forecast(plan, SpendingLimits(max_requests=enough)).leaves_must_open
    short = forecast(plan, SpendingLimits(max_requests=enough - 1))
    assert short.leaves_must_open
    order = [("must", "should", "info").index(one.level) for one in short.rules]
    assert order == sorted(order)
    assert short.rules[0].level == "must"


def test_refusals_cost_nothing(plan: Plan) -> None:
    """Money ends with the pictures that it pays for; pictures with their number."""
    poor = forecast(plan, SpendingLimits(max_cost_usd=0.014 * 3))
    few = forecast(plan, SpendingLimits(max_images=3))
    assert poor.leaves_must_open
    assert few.leaves_must_open
    assert 3 <= poor.fitting < forecast(plan, SpendingLimits(max_cost_usd=0.014 * 30)).fitting
