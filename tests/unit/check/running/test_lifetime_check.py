"""What is looked at once more when a check has done everything else."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json

import httpx
import pytest

from testcard.harness.check.generation.plan import choose_rules, make_plan
from testcard.harness.check.running.runner import CheckSettings, carry_out
from testcard.harness.check.spending.budget import NO_LIMITS, SpendingLimits
from testcard.harness.pricing import Pricing
from testcard.harness.rules.sent_pictures import input_picture
from testcard.harness.runs.records import Body, Exchange
from testcard.specs.loader import load_provider

PICTURE = input_picture().data


class Kept:
    """Exchanges in the order in which they were recorded."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []

    def body(self, content: bytes) -> Body:
        return Body(size=len(content), sha256=hashlib.sha256(content).hexdigest())

    def append(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)


def checked(provider: str, operation: str, rules: tuple[str, ...], limits: SpendingLimits = NO_LIMITS, dead: int = 0) -> list[Exchange]:
    """The exchanges of a check of a server that delivers by address; the first `dead` addresses lead nowhere."""
    loaded, given = load_provider(provider), iter(range(1000))

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            number = int(request.url.path.strip("/p.ng"))
            return httpx.Response(404) if number < dead else httpx.Response(200, content=PICTURE)
        url = f"http://files.test/{next(given)}.png"
        sent = json.loads(request.content)
        by_url = sent.get("response_format") == "url" or provider != "nanogpt"
        item = {"url": url} if by_url else {"b64_json": base64.b64encode(PICTURE).decode()}
        return httpx.Response(200, json={"data": [item]} if provider == "nanogpt" else {"urls": [url], "images": [url]})

    kept, pricing = Kept(), Pricing(loaded, mock=True)
    plan = make_plan(loaded, pricing, rules=choose_rules(rules), operations=[operation], cases=False)
    settings = CheckSettings("http://target.test", "key-0123456789", 1)
    asyncio.run(carry_out(plan, settings, pricing, kept, limits=limits, transport=httpx.MockTransport(answer)))
    return kept.exchanges


@pytest.mark.parametrize(("provider", "operation"), [("nanogpt", "createImage"), ("opengpu-relay", "generateQwen")])
def test_one_address_is_fetched_again_at_the_end(provider: str, operation: str) -> None:
    """The first that gave a picture, after everything else, as a fetch of the same answer; it costs nothing."""
    exchanges = checked(provider, operation, ("delivery.*", "image.follows-prompt"), dead=1 if provider == "opengpu-relay" else 0)
    *others, last = exchanges
    fetches = [one for one in others if one.source == "fetch"]
    first = next(one for one in fetches if one.response is not None and one.response.status == 200)
    assert (last.id, last.source, last.parent, last.asked) == (f"{first.id}.again", "fetch", first.parent, first.asked)
    assert not last.billed
    assert len([one for one in exchanges if one.id.endswith(".again")]) == 1
    assert last.request.headers == first.request.headers


@pytest.mark.parametrize(
    ("provider", "operation", "rules"),
    [
        ("nanogpt", "createImage", ("delivery.url-fetchable",)),
        ("nanogpt", "createImage", ("image.count", "delivery.url-lifetime")),
        ("opengpu-relay", "generateGptImage", ("delivery.*",)),
    ],
    ids=["rule not asked for", "nothing fetched before", "no documented lifetime"],
)
def test_nothing_is_fetched_again_without_need(provider: str, operation: str, rules: tuple[str, ...]) -> None:
    """Without the rule, without a lifetime in the document, and where no address gave a picture."""
    dead = 1000 if "image.count" in rules else 0
    assert not [one for one in checked(provider, operation, rules, dead=dead) if one.id.endswith(".again")]


def test_it_fits_the_limit_of_requests() -> None:
    """The last fetch counts as a request like every other."""
    all_of_them = len(checked("opengpu-relay", "generateQwen", ("delivery.*",)))
    fewer = checked("opengpu-relay", "generateQwen", ("delivery.*",), SpendingLimits(max_requests=all_of_them - 1))
    assert len(fewer) == all_of_them - 1
    assert not fewer[-1].id.endswith(".again")
