"""Budgets against servers that lie, 64 requests at a time: `python tests/crash/budgets.py [RUNS] [SEED]`.

Each run draws a provider, one to three faults of its mock, what answers state as their cost, and a limit of requests, pictures or money. Nine
in ten are checks in this process; each tenth is a benchmark by the command line: 64 users, an open loop, or 64 users of two processes. What was
used is the mock's own count, at the user's price for a picture. Exits 1 where one was over its limit, and prints which, so that its seed can be run again.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx

from testcard.harness.check.generation.plan import Plan, make_plan
from testcard.harness.check.running.runner import CheckSettings, carry_out
from testcard.harness.check.spending.budget import SpendingLimits
from testcard.harness.cli import run
from testcard.harness.config import PricesSection
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.harness.selftest.mock_runs import API_KEY, BASE_URL, FASTER, POLL_INTERVAL_S, InProcess, LeapingTime, Memory, hastened
from testcard.harness.targets import embedded_mocks
from testcard.mocks.app import create_app
from testcard.mocks.faults import FAULTS
from testcard.specs.loader import load_provider
from testcard.specs.prices import PerImage

AT_ONCE = 64
USD_EACH = 0.014
#: Providers whose pictures are counted one by one, with operations that spend a budget many times.
OPERATIONS = {
    "nanogpt": ("createImage",),
    "nebul": ("createImage",),
    "nvidia-nim-image": ("generateImage",),
    "opengpu-relay": ("generateGptImage", "generateQwen"),
}
#: The load of the benchmarks, one after another.
LOADS = (
    ("--users", str(AT_ONCE)),
    ("--rate", "200", "--max-in-flight", str(AT_ONCE)),
    ("--users", str(AT_ONCE), "--processes", "2"),
)
#: What stands in an answer as its cost; None: what the mock says.
LIES = (None, None, "0", "-1", "1e-30", "1e999", "-1e999", "null", '"0"', "true", "9" * 400)
#: Servers that never answer are another matter: all of a budget is then held by what is waited for.
LEFT_OUT = ("http.answered",)
_COST = re.compile(rb'"cost":\s*[0-9.e+-]+')


@dataclass(frozen=True)
class Drawn:
    """One run: whom it asks, how that lies, and what it may use."""

    provider: str
    faults: tuple[str, ...]
    cost: str | None
    limits: SpendingLimits

    def over(self, requests: int, images: int) -> str:
        """By what the mock's own count is over the limit; empty where it is not."""
        most = self.limits
        if most.max_requests is not None and requests > most.max_requests:
            return f"{requests} requests"
        if most.max_images is not None and images > most.max_images:
            return f"{images} pictures"
        if most.max_cost_usd is not None and images * USD_EACH > most.max_cost_usd + 1e-9:
            return f"${images * USD_EACH:.3f}"
        return ""


def drawn(draw: random.Random, *, bench: bool) -> Drawn:
    """A run by chance. How many pictures an answer holds is the same each time: nobody can foresee a server that counts as it likes."""
    provider = "nanogpt" if bench else draw.choice(sorted(OPERATIONS))
    known = [one.name for one in FAULTS.values() if provider in one.providers and not one.name.startswith(LEFT_OUT)]
    faults = [
        name if name.startswith("image.count") else f"{name}@{draw.choice(('0.3', '0.7', '1'))}"
        for name in draw.sample(known, draw.randint(1, 3))
    ]
    limits = draw.choice(
        (
            SpendingLimits(max_requests=draw.randint(5, 80)),
            SpendingLimits(max_requests=200, max_cost_usd=draw.randint(2, 40) * USD_EACH * 1.01)
            if bench
            else SpendingLimits(max_images=draw.randint(2, 40)),
            SpendingLimits(max_cost_usd=draw.uniform(0.02, 0.6)),
        )
    )
    return Drawn(provider, tuple(faults), draw.choice(LIES) if provider == "nanogpt" and not bench else None, limits)


@lru_cache(maxsize=8)
def planned(name: str) -> tuple[Plan, Pricing]:
    """Everything that some operations of a provider can be asked, at the user's price."""
    provider = hastened(load_provider(name))
    pricing = Pricing(provider, True, PricesSection(models={"*": PerImage(kind="per-image", usd_each=USD_EACH)}))
    return make_plan(provider, pricing, rules=tuple(RULES.values()), operations=OPERATIONS[name]), pricing


class Lying(InProcess):
    """The mock in this process, with another cost in what it answers."""

    def __init__(self, app: Any, cost: str | None) -> None:
        super().__init__(app)
        self._cost = cost

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The mock's answer with that cost."""
        answer = await super().handle_async_request(request)
        if self._cost is None or request.method != "POST":
            return answer
        body = _COST.sub(b'"cost": ' + self._cost.encode(), await answer.aread())
        headers = [(name, value) for name, value in answer.headers.raw if name.lower() != b"content-length"]
        return httpx.Response(answer.status_code, headers=headers, content=body, request=request)


async def checked(one: Drawn) -> dict[str, Any]:
    """The mock's own count after a check."""
    plan, pricing = planned(one.provider)
    here = LeapingTime()
    app = create_app([plan.provider], faults=one.faults, api_key=API_KEY, timer=lambda: time.monotonic() * FASTER, sleep=here.sleep)
    transport = Lying(app, one.cost)
    settings = CheckSettings(BASE_URL, API_KEY, AT_ONCE, POLL_INTERVAL_S, patience_s=0.0)
    await carry_out(plan, settings, pricing, Memory(), limits=one.limits, transport=transport, timer=here)
    async with httpx.AsyncClient(transport=InProcess(app)) as client:
        counted: dict[str, Any] = (await client.get(f"{BASE_URL}/_testcard/counters")).json()
    return counted


def loaded(one: Drawn, load: Sequence[str] = LOADS[0]) -> dict[str, Any]:
    """The mock's own count after a benchmark."""
    options = [word for fault in one.faults for word in ("--fault", fault)]
    with tempfile.TemporaryDirectory() as place, embedded_mocks([one.provider], options=options) as mocks:
        url, config = mocks.base_urls[one.provider], Path(place) / "testcard.toml"
        config.write_text(f'[prices.{one.provider}.models]\n"*" = {{ kind = "per-image", usd_each = {USD_EACH} }}\n', encoding="utf-8")
        limits = [("--max-requests", one.limits.max_requests), ("--max-cost", one.limits.max_cost_usd)]
        asked = [word for name, most in limits if most is not None for word in (name, str(most))]
        os.environ["TESTCARD_API_KEY"] = mocks.api_key
        terms = [*load, "--duration", "2", "--warmup", "0", "--rounds", "1", "--config", str(config), "--quiet"]
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            run(["bench", f"{one.provider}={url}", *terms, *asked, "--out", str(Path(place) / "run")])
        with urllib.request.urlopen(f"{url}/_testcard/counters", timeout=60) as answer:
            counted: dict[str, Any] = json.load(answer)
    return counted


def main(runs: int, seed: int) -> int:
    """How many runs were over; 1 where one was."""
    draw = random.Random(seed)
    over, nothing, used = 0, 0, 0
    for number in range(runs):
        bench = number % 10 == 9
        one = drawn(draw, bench=bench)
        counted = loaded(one, LOADS[number // 10 % len(LOADS)]) if bench else asyncio.run(checked(one))
        by = one.over(counted["requests"], counted["images"])
        over += bool(by)
        nothing += not counted["images"]
        used += counted["images"]
        if by or number % 20 == 19:
            print(f"{number + 1}: {'bench' if bench else 'check'} {one}: {f'OVER by {by}' if by else 'within'}", flush=True)
    print(
        f"{runs} runs with seed {seed}, {AT_ONCE} requests at a time: {used} pictures by the mocks' own count, {nothing} runs without any, {over} over their limit"
    )
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200, int(sys.argv[2]) if len(sys.argv) > 2 else 1))
