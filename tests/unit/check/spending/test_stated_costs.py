"""What an answer states as its cost never makes a limit larger than the user set it: the price that is known counts at least."""

from __future__ import annotations

import asyncio
import base64
import json

import httpx
import pytest

from testcard.harness.check.generation.plan import Plan, choose_rules, make_plan
from testcard.harness.check.running.runner import Carried, CheckSettings, carry_out
from testcard.harness.check.spending.budget import SpendingLimits
from testcard.harness.config import PricesSection
from testcard.harness.pricing import Pricing
from testcard.harness.rules.sent_pictures import input_picture
from testcard.harness.selftest.mock_runs import Memory
from testcard.harness.wire.billing import at_least, stated_cost
from testcard.harness.wire.model import Answer
from testcard.specs.loader import load_provider
from testcard.specs.prices import Billable, PerImage, PerMegapixel, PerToken

PICTURE = base64.b64encode(input_picture().data).decode()
KEY = "sk-stated-0123456789"
#: What stands in the answer's JSON as its cost; 1e999 is JSON, and beyond every float.
LIES = ["0", "-1", "-0.014", "1e999", "-1e999", "1e-30", "null", '"0"', "true", "NaN", "9" * 400]


def price_of(section: PricesSection, provider: str = "nanogpt") -> Pricing:
    return Pricing(load_provider(provider), False, section)


def plan(pricing: Pricing) -> Plan:
    return make_plan(
        pricing.provider,
        pricing,
        rules=choose_rules(("request.*", "seed.*", "image.*")),
        operations=tuple(pricing.provider.profile.operations),
    )


def spent(pricing: Pricing, body: str, limits: SpendingLimits) -> tuple[int, Carried]:
    """How many requests a server carried out that takes everything and answers so, and how the run ended."""
    carried_out = 0

    async def server(request: httpx.Request) -> httpx.Response:
        nonlocal carried_out
        if request.method == "POST":
            carried_out += 1
        return httpx.Response(200, content=body.encode(), headers={"content-type": "application/json"})

    settings = CheckSettings("http://target.test", KEY, 8, poll_interval_s=0.001, patience_s=0.0)
    return_value = asyncio.run(carry_out(plan(pricing), settings, pricing, Memory(), limits=limits, transport=httpx.MockTransport(server)))
    return carried_out, return_value


@pytest.mark.parametrize("cost", LIES)
def test_a_stated_cost_never_lowers_what_is_booked(cost: str) -> None:
    """$0.014 a picture and a limit of $0.10: seven pictures, whatever the answers claim that they cost."""
    pricing = price_of(PricesSection(models={"*": PerImage(kind="per-image", usd_each=0.014)}))
    body = '{"created": 1, "data": [{"b64_json": "' + PICTURE + '"}], "cost": ' + cost + "}"
    sent, carried = spent(pricing, body, SpendingLimits(max_cost_usd=0.10))
    assert 1 <= sent <= 7
    assert carried.budget.spend.cost_usd is not None
    assert sent * 0.014 - 1e-9 <= carried.budget.spend.cost_usd <= 0.10 + 1e-9


def test_a_stated_cost_above_the_price_counts() -> None:
    """A target that charges more than the price says is believed: the run ends earlier."""
    pricing = price_of(PricesSection(models={"*": PerImage(kind="per-image", usd_each=0.01)}))
    body = json.dumps({"created": 1, "data": [{"b64_json": PICTURE}], "cost": 0.05})
    sent, carried = spent(pricing, body, SpendingLimits(max_cost_usd=0.10))
    assert sent <= 2
    assert carried.budget.spend.cost_usd == pytest.approx(0.05 * sent)


def test_a_smaller_picture_is_booked_as_the_one_asked_for() -> None:
    """Who bills by area bills what was asked for: a picture that came too small makes nothing cheaper."""
    pricing = price_of(PricesSection(models={"*": PerMegapixel(kind="per-megapixel", usd_each=1.0, unknown_megapixels=1.0)}))
    of = plan(pricing)
    assert all(step.cost_usd for step in of.steps if step.billed)
    cheapest = min(step.cost_usd or 0 for step in of.steps if step.billed)
    body = json.dumps({"created": 1, "data": [{"b64_json": PICTURE}]})  # 64 x 64
    sent, carried = spent(pricing, body, SpendingLimits(max_cost_usd=0.5))
    assert 1 <= sent <= 0.5 / cheapest
    assert (carried.budget.spend.cost_usd or 0) >= sent * cheapest - 1e-9


def test_a_stated_usage_of_nothing_is_not_believed() -> None:
    """Priced by tokens, an answer with text that claims no tokens is booked at its worst case."""
    pricing = price_of(
        PricesSection(models={"*": PerToken(kind="per-token", text_in_usd=1.0, out_usd=100.0)}), provider="nvidia-nim-vision"
    )
    answer = {
        "id": "x",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "a red boat on a calm lake " * 20}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
    of = plan(pricing)
    cheapest = min(step.cost_usd or 0 for step in of.steps if step.billed)
    sent, _ = spent(pricing, json.dumps(answer), SpendingLimits(max_cost_usd=0.2))
    assert 1 <= sent <= 0.2 / cheapest + 1


def test_a_price_by_tokens_has_a_worst_case_for_pictures_too() -> None:
    """A picture of a model that is billed by tokens is reserved, so that a limit can hold."""
    pricing = price_of(
        PricesSection(models={"*": PerToken(kind="per-token", text_in_usd=5.0, image_in_usd=8.0, out_usd=32.0)}), provider="opengpu-relay"
    )
    assert all(step.cost_usd for step in plan(pricing).steps if step.billed)


@pytest.mark.parametrize(
    ("cost", "usable"),
    [(0.0, 0.0), (0.25, 0.25), (-0.0, 0.0), (-1.0, None), (float("inf"), None), (float("-inf"), None), (float("nan"), None), (None, None)],
)
def test_what_can_be_a_cost(cost: float | None, usable: float | None) -> None:
    """A cost is a finite amount, not below zero; anything else states none."""
    assert stated_cost(Answer(200, cost_usd=cost)) == usable


def test_at_least_what_was_asked_for() -> None:
    """The larger number of pictures, the larger area, all of the tokens."""
    asked = Billable(images=2, width_px=512, height_px=512, quality="high", tier="2K", steps=30, input_images=1, out_tokens=100)
    came = Billable(images=3, width_px=256, height_px=1024, quality="high", input_images=1, text_in_tokens=7, out_tokens=120)
    more = at_least(asked, came)
    assert (more.images, more.width_px, more.height_px, more.quality, more.tier, more.steps) == (3, 512, 512, "high", "2K", 30)
    assert (more.input_images, more.text_in_tokens, more.out_tokens) == (1, 7, 120)
    assert at_least(Billable(images=1), came).width_px == 256
