"""A check of a target on this machine asks nobody else without --live, wherever the answers point."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from testcard.harness.check.generation.plan import Plan, choose_rules, make_plan
from testcard.harness.check.judging.verdicts import Conclusion, judge_records
from testcard.harness.check.running.runner import CheckSettings, carry_out
from testcard.harness.pricing import Pricing
from testcard.harness.selftest.mock_runs import API_KEY, InProcess, Memory, hastened
from testcard.mocks.app import create_app
from testcard.specs.loader import load_provider

HERE = "http://127.0.0.1:8080"
Change = Callable[[httpx.Request, Any], Any]


class Elsewhere(httpx.AsyncBaseTransport):
    """A mock whose JSON answers are changed on their way; remembers every origin that was asked, and serves all of them."""

    def __init__(self, provider: str, change: Change, redirects: bool) -> None:
        self._inner = InProcess(create_app([provider], api_key=API_KEY))
        self._change = change
        self._redirects = redirects
        self.origins: set[str] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.origins.add(f"{request.url.scheme}://{request.url.netloc.decode()}")
        if self._redirects and request.method == "GET" and request.url.host == "127.0.0.1" and "/tasks/" not in request.url.path:
            return httpx.Response(302, headers={"location": f"https://pictures.example{request.url.raw_path.decode()}"})
        inside = httpx.Request(request.method, f"{HERE}{request.url.raw_path.decode()}", headers=request.headers, content=request.content)
        response = await self._inner.handle_async_request(inside)
        content = await response.aread()
        if response.status_code < 300 and response.headers.get("content-type", "").startswith("application/json"):
            content = json.dumps(self._change(request, json.loads(content))).encode()
        headers = [(name, value) for name, value in response.headers.multi_items() if name != "content-length"]
        return httpx.Response(response.status_code, headers=headers, content=content)


def planned(provider: str, operation: str, *rules: str) -> Plan:
    loaded = hastened(load_provider(provider))
    return make_plan(loaded, Pricing(loaded, mock=True), rules=choose_rules(rules), operations=[operation], cases=False)


def checked(plan: Plan, change: Change, *, live: bool = False, redirects: bool = False) -> tuple[Conclusion, set[str]]:
    """The verdicts, judged as of a recorded run, and the origins that were asked."""
    transport, memory = Elsewhere(plan.provider.id, change, redirects), Memory()
    settings = CheckSettings(HERE, API_KEY, 4, poll_interval_s=0.002, live=live)
    asyncio.run(carry_out(plan, settings, Pricing(plan.provider, mock=True), memory, transport=transport))
    judged = judge_records(plan.scopes, plan.rules, memory.exchanges, memory.bytes_of, started=0.0, live=live)
    return judged, transport.origins


def moved(request: httpx.Request, body: Any) -> Any:
    """Addresses on another host."""
    return json.loads(json.dumps(body).replace(HERE, "https://pictures.example"))


def kept(request: httpx.Request, body: Any) -> Any:
    return body


CASES = [
    ("nanogpt", "createImage", ("delivery.*", "image.decodes", "image.size")),
    ("opengpu-relay", "generateQwen", ("delivery.*", "image.*")),
    ("opengpu-relay", "editGptImage", ("delivery.*", "image.decodes")),
]
IN_HAND = {"delivery.as-asked", "delivery.exclusive", "delivery.url-absolute", "delivery.url-lifetime", "image.count"}


@pytest.mark.parametrize(("provider", "operation", "rules"), CASES, ids=[case[1] for case in CASES])
@pytest.mark.parametrize("redirects", [False, True], ids=["address", "redirect"])
def test_nothing_leaves_without_live(provider: str, operation: str, rules: tuple[str, ...], redirects: bool) -> None:
    """No picture is fetched off this machine, neither by its address nor after a redirect; what needs it says so and fails nothing."""
    plan = planned(provider, operation, *rules)
    judged, origins = checked(plan, kept if redirects else moved, redirects=redirects)
    assert origins == {HERE}
    assert not judged.errors
    assert not [one for one in judged.verdicts if one.verdict in ("fail", "deviates")]
    fetchable = next(one for one in judged.verdicts if one.rule == "delivery.url-fetchable")
    assert fetchable.verdict == "unproven"
    assert "pictures.example, off this machine: not asked without --live" in fetchable.detail
    for one in judged.verdicts:
        if one.rule in ("image.decodes", "image.size", "image.format") and provider != "nanogpt":
            assert (one.verdict, "--live" in one.detail) == ("unproven", True), one
        elif one.rule in IN_HAND:
            assert one.verdict != "fail", one


@pytest.mark.parametrize("redirects", [False, True], ids=["address", "redirect"])
def test_with_live_answers_are_followed(redirects: bool) -> None:
    """A person who adds --live to a target on this machine gets the pictures judged."""
    plan = planned("opengpu-relay", "generateQwen", "delivery.*", "image.decodes")
    judged, origins = checked(plan, kept if redirects else moved, live=True, redirects=redirects)
    assert origins == {HERE, "https://pictures.example"}
    assert len(judged.verdicts) > 4
    assert [one for one in judged.verdicts if one.verdict != "pass"] == []


@pytest.mark.parametrize("place", ["https://tasks.example/v2/tasks/1", "//tasks.example/v2/tasks/1", "http://[broken"])
def test_tasks_are_polled_here_only(place: str) -> None:
    """A task that names no reference but an address elsewhere is not polled; that it names no reference is a deviation of its own."""

    def without_reference(request: httpx.Request, body: Any) -> Any:
        if "task_id" in body:
            body = {name: value for name, value in body.items() if name not in ("task_id", "task_address")} | {"poll_url": place}
        return body

    plan = planned("opengpu-relay", "generateQwen", "async.*")
    judged, origins = checked(plan, without_reference)
    assert origins == {HERE}
    assert not judged.errors
    verdicts = {one.rule: one for one in judged.verdicts}
    assert verdicts["async.reference"].verdict == "deviates"
    assert verdicts["async.terminal"].verdict == "unproven"
    if "broken" not in place:
        assert "on tasks.example, off this machine" in verdicts["async.terminal"].detail
    assert not [one for one in judged.verdicts if one.verdict == "fail"]
