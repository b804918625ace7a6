"""What a whole check is billed for, counted by the server itself: conforming mocks, servers that take everything, limits that hold."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx
import pytest

from testcard.harness.check.generation.plan import Plan, make_plan
from testcard.harness.check.judging.verdicts import Conclusion, judge_records
from testcard.harness.check.running.runner import Carried, CheckSettings, carry_out
from testcard.harness.check.spending.allowance import MOST_IMAGES
from testcard.harness.check.spending.budget import NO_LIMITS, SpendingLimits
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.sent_pictures import input_picture
from testcard.harness.runs.folder import in_plan_order
from testcard.harness.selftest.mock_runs import (
    API_KEY,
    BASE_URL,
    FASTER,
    POLL_INTERVAL_S,
    InProcess,
    LeapingTime,
    Memory,
    hastened,
    looked_at_once,
)
from testcard.mocks.app import create_app
from testcard.mocks.faults import FAULTS
from testcard.specs.loader import bundled_ids, load_provider
from testkit.plans import whole_plan

PICTURE = base64.b64encode(input_picture().data).decode()
#: StageHooks that let a request pass which has to be refused.
LAX = ("auth.", "request.refuses-invalid", "request.step", "request.n-range", "http.method-refused", "http.malformed", "http.media-type-r",
       "input.data-url", "input.undecodable", "input.size-above", "input.image-req", "input.mask-req", "vision.undecodable")  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What is left of a run: the counts of the client and of the server, the requests in order, the verdicts."""

    carried: Carried
    counters: dict[str, Any]
    sent: tuple[tuple[Any, ...], ...]
    judged: Conclusion


async def against_mock(plan: Plan, faults: Sequence[str], concurrency: int, limits: SpendingLimits) -> Done:
    here, memory = LeapingTime(), Memory()
    app = create_app([plan.provider], faults=faults, api_key=API_KEY, timer=lambda: time.monotonic() * FASTER, sleep=here.sleep)
    transport = InProcess(app)
    settings = CheckSettings(BASE_URL, API_KEY, concurrency, POLL_INTERVAL_S, patience_s=0.0)
    pricing = Pricing(plan.provider, mock=True)
    carried = await carry_out(plan, settings, pricing, memory, limits=limits, transport=transport, timer=here)
    async with httpx.AsyncClient(transport=transport) as client:
        counters = (await client.get(f"{BASE_URL}/_testcard/counters")).json()
    return Done(carried, counters, requests(memory), judged(plan, carried, memory))


def check(plan: Plan, faults: Sequence[str], concurrency: int = 8, limits: SpendingLimits = NO_LIMITS) -> Done:
    return asyncio.run(against_mock(plan, faults, concurrency, limits))


def judged(plan: Plan, carried: Carried, memory: Memory) -> Conclusion:
    missing = carried.not_sent(plan)
    return judge_records(
        plan.scopes, plan.rules, memory.exchanges, memory.bytes_of, not_sent=missing, started=carried.started, looking=looked_at_once
    )


def requests(memory: Memory) -> tuple[tuple[Any, ...], ...]:
    """What was sent for the steps of the plan, byte by byte, in the order of the plan."""
    return tuple(
        (one.id, one.probe, one.request.method, one.request.url, tuple(map(tuple, one.request.headers)), one.request.body.sha256)
        for one in in_plan_order(memory.exchanges)
        if one.source in ("probe", "schema-case")
    )


def lax_faults(name: str) -> list[str]:
    """Every lie by which this provider's mock takes what it should refuse."""
    return [fault.name for fault in FAULTS.values() if name in fault.providers and fault.name.startswith(LAX)]


@lru_cache(maxsize=16)
def whole_check(name: str, manner: str) -> Done:
    """A whole check of a provider's mock, eight requests at a time."""
    return check(whole_plan(name), lax_faults(name) if manner == "lax" else [])


@pytest.mark.parametrize("name", bundled_ids())
@pytest.mark.parametrize("manner", ["conforming", "lax"])
def test_at_most_forty_pictures_an_operation(name: str, manner: str) -> None:
    """The mock itself counts what a whole check is billed for, keeping its contract or taking whatever it is sent."""
    done = whole_check(name, manner)
    for operation, count in done.counters["providers"][name].items():
        assert count["billed_requests"] <= MOST_IMAGES, operation
        assert count["images"] <= MOST_IMAGES, operation
    # Who asked for five and got one does not know what was billed, and counts five.
    assert done.carried.budget.spend.images >= done.counters["images"]
    assert not done.judged.errors
    words = {word: {one.rule for one in done.judged.verdicts if one.verdict == word} for word in ("fail", "deviates", "not-run")}
    if manner == "conforming":
        assert done.carried.budget.spend.images == done.counters["images"]
        assert not done.carried.outcome.not_sent
        assert not any(words.values())
    else:
        assert "request.refuses-invalid" in words["fail"]
        assert not words["not-run"]


class TakesEverything(httpx.AsyncBaseTransport):
    """A server without any check at all: every request is answered with as many pictures as its n says, and billed."""

    def __init__(self, plan: Plan) -> None:
        self.images: Counter[str] = Counter()
        self._provider = plan.provider
        self._paths = {one.path.partition("{")[0]: one.id for one in plan.provider.openapi.operations.values()}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        path = request.url.path
        operation = self._paths.get(path) or next(
            (name for start, name in self._paths.items() if start.endswith("/") and path.startswith(start)), None
        )
        if operation is None:
            return httpx.Response(200, content=input_picture().data, headers={"content-type": "image/png"})
        profile = self._provider.operation_profile(operation)
        number = 1
        try:
            asked = json.loads(content)["n"]
            number = asked if isinstance(asked, int) and 0 < asked < 100 else 1
        except (ValueError, KeyError, TypeError):
            pass
        where = profile.response
        if where.pictures is None:
            self.images[operation] += profile.kind == "chat"
            return httpx.Response(200, json={"choices": [{"message": {"role": "assistant", "content": "a boat"}, "finish_reason": "stop"}]})
        self.images[operation] += number
        given: Any = PICTURE if where.base64 is not None else f"{BASE_URL}/picture.png"
        place = where.base64 if where.base64 is not None else where.url
        item = given if place == "" else {str(place): given}
        return httpx.Response(200, json={where.pictures.strip("/*"): [item] * number, "created": 1})


@pytest.mark.parametrize("name", bundled_ids())
def test_a_server_without_checks_is_billed_for_forty_at_most(name: str) -> None:
    """Not even a server that takes every method, key, body and number brings more than forty pictures an operation."""
    plan = whole_plan(name)
    server, memory = TakesEverything(plan), Memory()
    settings = CheckSettings(BASE_URL, API_KEY, 32, POLL_INTERVAL_S, patience_s=0.0)
    carried = asyncio.run(carry_out(plan, settings, Pricing(plan.provider, mock=True), memory, transport=server))
    assert max(server.images.values()) <= MOST_IMAGES, server.images
    assert all(count > 10 for operation, count in server.images.items() if plan.provider.profile.operations[operation].kind != "task")
    verdicts = judged(plan, carried, memory)
    assert verdicts.outcome == "fail"
    assert not verdicts.errors


@pytest.mark.parametrize("name", bundled_ids())
def test_the_bound_costs_no_coverage(name: str) -> None:
    """A conforming server is sent all broken requests and all spare combinations."""
    done = whole_check(name, "conforming")
    assert not done.carried.outcome.spared
    assert {one[0] for one in done.sent} >= {step.id for step in whole_plan(name).steps}


#: StageHooks that change what a server brings or breaks off, so that a count of pictures can go wrong.
UNRULY = ("image.count", "http.no-server-error", "http.body-complete", "http.steady", "http.status-documented", "schema.response", "auth.required",
          "request.", "delivery.", "async.", "answer.required", "rate.")  # fmt: skip
NARROW = {
    "nanogpt": ("createImage",),
    "nebul": ("createImage",),
    "nvidia-nim-image": ("generateImage",),
    "opengpu-relay": ("generateGptImage", "generateQwen"),
}


@lru_cache(maxsize=8)
def narrow_plan(name: str) -> Plan:
    """What must be accepted, refused and counted, of one or two operations: enough to spend a budget many times."""
    provider = hastened(load_provider(name))
    rules = tuple(RULES[rule] for rule in ("request.accepts-valid", "request.refuses-invalid", "auth.required", "image.count"))
    return make_plan(provider, Pricing(provider, mock=True), rules=rules, operations=NARROW[name])


@pytest.mark.parametrize("seed", range(50))
def test_never_a_sixth_picture(seed: int) -> None:
    """`--max-images 5` with 32 requests at a time, against mocks with one, two or three lies each: the mock never counts six."""
    source = random.Random(seed)
    name = sorted(NARROW)[seed % len(NARROW)]
    known = [fault for fault in FAULTS.values() if name in fault.providers and fault.name.startswith(UNRULY)]
    chosen = source.sample(known, source.choice([1, 2, 3]))
    # How many pictures an answer holds has to be the same each time: nobody can foresee a server that counts as it likes.
    faults = [fault.name if fault.name.startswith("image.count") else f"{fault.name}@{source.choice([0.3, 0.7, 1])}" for fault in chosen]
    done = check(narrow_plan(name), faults, concurrency=32, limits=SpendingLimits(max_images=5))
    assert done.counters["images"] <= 5, faults
    assert done.carried.budget.spend.images >= done.counters["images"], faults


#: Providers whose determinism shows all there is: JSON and forms, chats, tasks (of Relay two operations, for the time's sake).
AGAIN = {
    "nanogpt": None,
    "nebul": ("createImageEdit",),
    "nvidia-nim-vision": None,
    "opengpu-relay": ("generateFlux", "getTask"),
}


@lru_cache(maxsize=8)
def plan_made_again(name: str, time: int) -> Plan:
    """The plan of seed 5, made for the first or the second time; both kinds of server are asked by the same two."""
    provider = hastened(load_provider(name))
    operations = AGAIN[name] or tuple(provider.profile.operations)
    return make_plan(provider, Pricing(provider, mock=True), rules=tuple(RULES.values()), operations=operations, seed=5)


@pytest.mark.parametrize("name", AGAIN)
@pytest.mark.parametrize("manner", ["conforming", "lax"])
def test_the_same_seed_sends_the_same_bytes(name: str, manner: str) -> None:
    """Two runs of one seed send the same requests, byte by byte and under the same numbers, one at a time or sixteen."""
    faults = lax_faults(name) if manner == "lax" else []
    first = check(plan_made_again(name, 1), faults, concurrency=1)
    second = check(plan_made_again(name, 2), faults, concurrency=16)
    assert first.sent == second.sent
    assert len(first.sent) > 20
    assert bool(first.carried.outcome.spared) == (manner == "lax")
