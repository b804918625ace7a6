"""The check cries wolf at no conforming server: strict ones that refuse what may be refused, open ones that choose for themselves."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from testcard.harness.check.generation.plan import make_plan
from testcard.harness.check.judging.verdicts import Conclusion, judge_records
from testcard.harness.check.running.runner import CheckSettings, carry_out
from testcard.harness.config import PricesSection
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.mocks.app import create_app
from testcard.specs.loader import Provider, load_provider

Answer = Callable[[httpx.Request, httpx.Response], httpx.Response]


class Variant(httpx.AsyncBaseTransport):
    """A conforming mock behind a layer that refuses or changes what it answers.

    What is refused never reaches the mock that keeps the accounts: another one is asked first what it would say.
    """

    def __init__(self, provider: Provider, answer: Answer) -> None:
        self._mock = httpx.ASGITransport(create_app([provider.id]))
        self._asked_first = httpx.ASGITransport(create_app([provider.id]))
        self._answer = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        if request.method == "POST":
            would_be = await self._asked_first.handle_async_request(request)
            await would_be.aread()
            answer = self._answer(request, would_be)
            if answer.status_code >= 400:
                return answer
        response = await self._mock.handle_async_request(request)
        await response.aread()
        return self._answer(request, response)


def check(provider: Provider, answer: Answer, folder: Path, operations: list[str]) -> Conclusion:
    pricing = Pricing(provider, True, PricesSection())
    plan = make_plan(provider, pricing, rules=tuple(RULES.values()), operations=operations, seed=3)
    writer = RunWriter.create(folder / "run", "check", targets=[], seed=3, config={})
    settings = CheckSettings("http://127.0.0.1:1", "testcard", 8, 0.01)
    carried = asyncio.run(carry_out(plan, settings, pricing, writer, transport=Variant(provider, answer)))
    run = RunReader(writer.folder)
    assert carried.outcome.stopped is None
    return judge_records(
        plan.scopes, plan.rules, list(run.exchanges()), run.bytes_of, not_sent=carried.not_sent(plan), started=carried.started
    )


def complaints(judged: Conclusion) -> list[tuple[str, str, str]]:
    assert judged.errors == ()
    return [(one.rule, one.verdict, one.detail) for one in judged.verdicts if one.verdict in ("fail", "deviates", "unproven", "not-run")]


def sent_values(request: httpx.Request, template: str) -> dict[str, Any]:
    """Path parameters, and body fields of JSON or of a form (as text)."""
    names = re.findall(r"{([^}]+)}", template)
    match = re.fullmatch(re.sub(r"{[^}]+}", "([^/]+)", template), request.url.path)
    values: dict[str, Any] = dict(zip(names, match.groups(), strict=True)) if match else {}
    if request.headers["content-type"].startswith("multipart/"):
        values |= {key.decode(): value.decode() for key, value in re.findall(rb'name="([^";]+)"\r\n\r\n([^\r]*)\r\n', request.content)}
        return values
    try:
        body = json.loads(request.content)
    except ValueError:
        return values
    return values | body if isinstance(body, dict) else values


@pytest.mark.parametrize(
    ("name", "operation"),
    [("nanogpt", "createImage"), ("nebul", "createImageEdit"), ("nvidia-nim-image", "generateImage"), ("opengpu-relay", "generateQwen")],
)
def test_a_server_that_refuses_what_it_may_refuse_gets_no_complaint(name: str, operation: str, tmp_path: Path) -> None:
    """Every value that the profile lists as may-refuse is refused with 422; nothing is broken, deviating or unproven."""
    provider = load_provider(name)
    profile = provider.operation_profile(operation)
    refused: list[str] = []

    def strict(request: httpx.Request, response: httpx.Response) -> httpx.Response:
        if request.method != "POST" or response.status_code != 200:
            return response
        for key, value in sent_values(request, provider.operation(operation).path).items():
            entry = profile.fields.get(key) or profile.path.get(key)
            if entry is not None and any(value == other or value == str(other) for other in entry.may_refuse if other is not False):
                refused.append(key)
                said = f"{key} is not offered"
                error = {"message": said} if name == "nebul" else 422
                return httpx.Response(422, json={"error": error, "message": said, "detail": said})
        return response

    assert complaints(check(provider, strict, tmp_path, [operation])) == []
    assert refused


def test_a_delivery_that_no_document_sets_is_the_servers_choice(tmp_path: Path) -> None:
    """Nebul states no default: URLs to who does not choose are right, and a URL where base64 was asked for is not."""
    provider = load_provider("nebul")

    def urls(asked_too: bool) -> Answer:
        def answer(request: httpx.Request, response: httpx.Response) -> httpx.Response:
            asked = b"response_format" in request.content
            if request.method != "POST" or response.status_code != 200 or (asked and not asked_too):
                return response
            body = response.json()
            for item in body["data"]:
                item["b64_json"], item["url"] = None, "https://127.0.0.1:1/gone.png"
            return httpx.Response(200, json=body)

        return answer

    rules = {rule for rule, _, _ in complaints(check(provider, urls(False), tmp_path / "default", ["createImage"]))}
    assert "delivery.as-asked" not in rules
    rules = {rule for rule, _, _ in complaints(check(provider, urls(True), tmp_path / "always", ["createImage"]))}
    assert "delivery.as-asked" in rules
