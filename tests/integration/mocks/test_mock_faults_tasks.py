"""Each lie about tasks does what its name says, on every operation that takes a task, and an honest mock tells none of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from testcard.mocks.app import create_app
from testcard.mocks.faults import FAULTS, Fault
from testcard.specs.loader import load_provider
from testkit.pictures import gradient, in_base64

RELAY = load_provider("opengpu-relay")
LIES = [fault for fault in FAULTS.values() if fault.rule.startswith("async.") and fault.places]
PICTURE = in_base64(gradient())


class Mock:
    """A Relay mock in this process whose tasks take a millisecond, seen through one of its operations."""

    def __init__(self, operation: str, faults: tuple[str, ...] = ()) -> None:
        app = create_app(["opengpu-relay"], faults=list(faults), timer=lambda: time.monotonic() * 200)
        self.http = TestClient(app, base_url="http://127.0.0.1", headers={"X-API-Key": "testcard"})
        self.operation = "generateQwen" if operation == "getTask" else operation

    def send(self, headers: dict[str, str] | None = None, **changes: Any) -> httpx.Response:
        body = {"prompt": "x", "async": True, **({"image": PICTURE} if self.operation.startswith("edit") else {}), **changes}
        return self.http.post(RELAY.operation(self.operation).path, json=body, headers=headers or {})

    def polls(self, count: int = 4) -> list[dict[str, Any]]:
        address = self.send().json()["poll_url"]
        time.sleep(0.01)
        answers = [self.http.get(address) for _ in range(count)]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.json() for answer in answers]

    def states(self) -> list[str]:
        return [told["status"] for told in self.polls()]

    def references(self) -> list[str]:
        return [self.send({"Idempotency-Key": "k"}).json()["task_id"] for _ in range(2)]


def result(mock: Mock) -> Any:
    return mock.polls(1)[0].get("result")


def at_once(mock: Mock) -> set[str]:
    return set(mock.send(**{"async": False}).json())


#: fault → what is seen of it: true when it holds, false on an honest mock
SEEN: dict[str, Callable[[Mock], bool]] = {
    "async.accepted": lambda mock: (lambda answer: answer.status_code == 200 and not answer.json().keys() & {"task_id"})(mock.send()),
    "async.accepted/200": lambda mock: (lambda answer: answer.status_code == 200 and "task_id" in answer.json())(mock.send()),
    "async.accepted/unasked": lambda mock: mock.send(**{"async": False}).status_code == 202,
    "async.reference": lambda mock: mock.send().json().keys() == {"status", "poll_url", "message"},
    "async.forward": lambda mock: mock.states() == ["running", "queued", "completed", "completed"],
    "async.forward/after-end": lambda mock: mock.states() == ["completed", "running", "running", "running"],
    "async.terminal": lambda mock: mock.states() == ["running"] * 4,
    "async.result": lambda mock: set(result(mock)) == {"output"},
    "async.result/missing": lambda mock: result(mock) is None,
    "async.result/failed": lambda mock: mock.states() == ["failed"] * 4 and bool(at_once(mock)),
    "async.repeatable-submit": lambda mock: len(set(mock.references())) == 2,
    "async.unknown-task": lambda mock: mock.http.get("/v2/tasks/0xdead").status_code == 200,
    "async.unknown-task/failed": lambda mock: json.loads(mock.http.get("/v2/tasks/0xdead").content).get("status") == "failed",
}


def test_every_lie_is_looked_for() -> None:
    """This file knows how to see each lie about tasks, and no other."""
    assert set(SEEN) == {fault.name for fault in LIES}


@pytest.mark.parametrize("fault", LIES, ids=lambda fault: fault.name)
def test_a_lie_does_what_it_says_and_an_honest_mock_does_not(fault: Fault) -> None:
    """On every operation it applies to, the lie shows when it is on and does not when it is off."""
    for _, operation in fault.places:
        assert SEEN[fault.name](Mock(operation, (fault.name,))), operation
    assert not SEEN[fault.name](Mock(fault.places[0][1]))
