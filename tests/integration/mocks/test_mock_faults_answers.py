"""Faults about what answers say beside their pictures, and about texts, defaults, steps and combinations: each shows, and only when it is on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from testcard.harness.rules.scope import Scope
from testcard.harness.wire.encode import build
from testcard.harness.wire.fields import wire_fields
from testcard.mocks.app import create_app
from testcard.mocks.faults import FAULTS, Fault
from testcard.specs.loader import load_provider

HERE = (
    "answer.",
    "request.step",
    "request.n-range",
    "request.text-survives",
    "request.default-applied",
    "request.accepts-valid/combination",
)
BASE_URL = "http://127.0.0.1"
LISTS = ("data", "artifacts", "images", "urls", "choices")


class Mock:
    """One operation of a provider's mock in this process, sent what the check sends, with fields changed by wire name."""

    def __init__(self, provider: str, operation: str, faults: tuple[str, ...] = ()) -> None:
        self.scope = Scope(load_provider(provider), operation)
        self._http = TestClient(create_app([provider], faults=faults), base_url=BASE_URL)

    def send(self, *, prompt: str | None = None, without: tuple[str, ...] = (), **fields: Any) -> httpx.Response:
        """The answer to the base request with these changes."""
        scope = self.scope
        assert scope.task is not None
        request = scope.base_request(scope.task)
        term = "prompt" if request.prompt is not None else "user"
        if prompt is not None:
            request = replace(request, **{term: prompt})  # type: ignore[arg-type]
        sent = wire_fields(scope.provider, request, scope.operation_id)
        body = {name: value for name, value in {**sent.body, **fields}.items() if name not in without}
        wire = build(scope.provider, replace(sent, body=body), base_url=BASE_URL, api_key="testcard")
        return self._http.request(wire.method, wire.url, content=wire.body, headers=dict(wire.headers))

    def body(self, **changes: Any) -> dict[str, Any]:
        """The JSON of the answer."""
        found: dict[str, Any] = self.send(**changes).json()
        return found

    def pictures(self, **changes: Any) -> list[bytes]:
        """What stands for each picture of the answer, addresses fetched."""
        body = self.body(**changes)
        items = next(body[name] for name in LISTS if name in body)
        texts = [item if isinstance(item, str) else next(v for k, v in item.items() if k in ("b64_json", "base64") and v) for item in items]
        return [self._http.get(text).content if text.startswith("http") else text.encode() for text in texts]


def usage(mock: Mock) -> list[Any]:
    return list(mock.body()["usage"].values())


def adds_up(mock: Mock) -> int:
    counts = mock.body()["usage"]
    return int(counts["total_tokens"] - counts["prompt_tokens"] - counts.get("completion_tokens", 0))


def falls(mock: Mock) -> float:
    """By how much of its cost a request lets the balance fall."""
    before, after = mock.body(), mock.body()
    return round((before["remainingBalance"] - after["remainingBalance"]) / after["cost"], 6)


def fails_at(text: str) -> Callable[[Mock], bool]:
    return lambda mock: mock.send(prompt=text).status_code == 500 and mock.send(prompt="a red boat").status_code < 500


def another_default(mock: Mock) -> bool:
    """Whether leaving a field out gives another picture than stating what the document says."""
    name, value = {
        "createImage": ("guidance_scale", 7.5),
        "generateImage": ("cfg_scale", 5),
        "generateFlux": ("safety_tolerance", 2),
        "generateQwen": ("size", "1024x1024"),
        "editQwen": ("size", "1024x1024"),
    }[mock.scope.operation_id]
    return mock.pictures(without=(name,)) != mock.pictures(**{name: value})


def fewer_steps(mock: Mock) -> bool:
    name, value = ("num_inference_steps", 30) if mock.scope.provider.id == "nanogpt" else ("steps", 50)
    return mock.pictures(without=(name,)) != mock.pictures(**{name: value})


def refuses_both(mock: Mock) -> bool:
    stated = {"user": "x", "seed": 7, "guidance": 2.5, "steps": 20, "negative_prompt": "fog"}
    pair = {
        "nanogpt": ("user", "seed"),
        "nebul": ("user", "guidance"),
        "opengpu-relay": ("negative_prompt", "steps"),
    }[mock.scope.provider.id]
    one, other = pair
    alone = [mock.send(without=(other,), **{one: stated[one]}).status_code, mock.send(without=(one,), **{other: stated[other]}).status_code]
    return alone == [200, 200] and mock.send(**{name: stated[name] for name in pair}).status_code in (400, 422)


SEEN: dict[str, Callable[[Mock], bool]] = {
    "answer.required-fields": lambda mock: "results" in mock.body() and not set(LISTS) & set(mock.body()),
    "answer.created-now": lambda mock: mock.body()["created"] > time.time() * 900,
    "answer.created-now/constant": lambda mock: mock.body()["created"] == 1731500000,
    "answer.created-now/local-time": lambda mock: 7100 < mock.body()["created"] - time.time() < 7300,
    "answer.echo": lambda mock: mock.body(size="256x256")["size"] == "2048x2048",
    "answer.echo/format": lambda mock: mock.body(output_format="png")["output_format"] == "jpeg",
    "answer.usage-integers": lambda mock: min(usage(mock)) < 0,
    "answer.usage-integers/fraction": lambda mock: any(value != int(value) for value in usage(mock)),
    "answer.usage-sum": lambda mock: adds_up(mock) < 0,
    "answer.usage-sum/off-by-one": lambda mock: adds_up(mock) == 1,
    "answer.cost-not-negative": lambda mock: mock.body()["cost"] < 0,
    "answer.balance-falls": lambda mock: falls(mock) == 0,
    "answer.balance-falls/twice": lambda mock: falls(mock) == 2,
    "answer.balance-falls/rises": lambda mock: falls(mock) == -1,
    "answer.cost-grows": lambda mock: mock.body(n=2)["cost"] == mock.body(n=1)["cost"],
    "request.step": lambda mock: mock.send(width=65).status_code == 200 and mock.send(width=32).status_code == 422,
    "request.n-range": lambda mock: {mock.send(n=number).status_code for number in (0, 5)} == {200},
    "request.n-range/above": lambda mock: [mock.send(n=number).status_code for number in (0, 5)] == [422, 200],
    "request.text-survives": fails_at("a red \N{ROCKET}"),
    "request.text-survives/control": fails_at("a red \0 boat"),
    "request.text-survives/long": fails_at("a red boat; " * 400),
    "request.default-applied": another_default,
    "request.default-applied/size": another_default,
    "request.default-applied/steps": fewer_steps,
    "request.accepts-valid/combination": refuses_both,
}


def test_every_fault_is_looked_for() -> None:
    """This file knows how to see each fault of its families, and no other."""
    assert set(SEEN) == {name for name in FAULTS if name.startswith(HERE)}


@pytest.mark.parametrize("fault", [FAULTS[name] for name in SEEN if name in FAULTS], ids=lambda fault: fault.name)
def test_a_fault_does_what_it_says_and_an_honest_mock_does_not(fault: Fault) -> None:
    """On every operation it applies to, the fault shows when it is on and does not when it is off."""
    for provider, operation in fault.places:
        assert SEEN[fault.name](Mock(provider, operation, (fault.name,))), f"{fault.name} does not show on {provider} {operation}"
        assert not SEEN[fault.name](Mock(provider, operation)), f"{provider} {operation} is not honest: {fault.name}"
