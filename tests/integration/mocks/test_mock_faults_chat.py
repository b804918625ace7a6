"""Each lie about answers in words does what its name says, and an honest mock tells none of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from testcard.mocks.app import create_app
from testcard.mocks.faults import FAULTS, Fault
from testkit.pictures import data_url, gradient

LIES = [fault for fault in FAULTS.values() if fault.rule.startswith(("vision.", "stream.")) and fault.places]
PICTURE = gradient()


class Mock:
    """A NIM vision mock in this process."""

    def __init__(self, *faults: str) -> None:
        self.http = TestClient(create_app(["nvidia-nim-vision"], faults=list(faults)), headers={"Authorization": "Bearer testcard"})

    def send(self, picture: bytes = PICTURE, **fields: Any) -> httpx.Response:
        url = data_url(picture)
        content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
        body = {
            "model": "meta/llama-3.2-90b-vision-instruct",
            "messages": [{"role": "user", "content": content}],
            "max_tokens": 4,
            **fields,
        }
        return self.http.post("/v1/chat/completions", json=body)

    def choice(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = self.send().json()["choices"]
        return found[0] if found else {}

    def message(self) -> dict[str, Any]:
        found: dict[str, Any] = self.choice().get("message", {})
        return found

    def stream(self) -> httpx.Response:
        return self.send(stream=True)

    def lines(self) -> list[str]:
        return [line for line in self.stream().text.split("\n\n") if line]

    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(line.removeprefix("data: ")) for line in self.lines() if "[DONE]" not in line]

    def deltas(self) -> list[Any]:
        return [choice for chunk in self.chunks() for choice in chunk.get("choices", ())]


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def longer(mock: Mock) -> bool:
    answer = mock.send().json()
    return len(answer["choices"][0]["message"]["content"].split()) > 8 and answer["usage"]["completion_tokens"] == 4


#: fault → what is seen of it: true when it holds, false on an honest mock
SEEN: dict[str, Callable[[Mock], bool]] = {
    "vision.object": lambda mock: mock.send().json()["object"] == "text_completion",
    "vision.tokens-counted": lambda mock: mock.send().json()["usage"]["completion_tokens"] == 0,
    "vision.choices": lambda mock: mock.choice() == {},
    "vision.choices/no-message": lambda mock: mock.choice().keys() == {"index", "text", "finish_reason"},
    "vision.role": lambda mock: mock.message()["role"] == "user",
    "vision.content": lambda mock: mock.message()["content"] == "",
    "vision.content/missing": lambda mock: mock.message().keys() == {"role"},
    "vision.finish-reason": lambda mock: "finish_reason" not in mock.choice(),
    "vision.finish-reason/unknown": lambda mock: mock.choice()["finish_reason"] == "eos",
    "vision.max-tokens": lambda mock: mock.send().json()["usage"]["completion_tokens"] > 4,
    "vision.max-tokens/hidden": longer,
    "vision.length-finish": lambda mock: mock.choice()["finish_reason"] == "stop",
    "vision.undecodable-refused": lambda mock: mock.send(b"no picture").status_code == 200,
    "vision.too-large": lambda mock: mock.send(b"\0" * 12_600_000).status_code == 422,
    "stream.media-type": lambda mock: mock.stream().headers["content-type"] == "application/json",
    "stream.media-type/plain": lambda mock: mock.stream().headers["content-type"].startswith("text/plain"),
    "stream.media-type/unasked": lambda mock: mock.send().headers["content-type"].startswith("text/event-stream"),
    "stream.frames": lambda mock: all(line.startswith(("{", "[")) for line in mock.lines()),
    "stream.frames/broken-json": lambda mock: any(not is_json(line[6:]) for line in mock.lines() if "[DONE]" not in line),
    "stream.frames/run-together": lambda mock: "\n\n" not in mock.stream().text,
    "stream.one-id": lambda mock: len({chunk["id"] for chunk in mock.chunks()}) > 1,
    "stream.one-id/missing": lambda mock: not any("id" in chunk for chunk in mock.chunks()),
    "stream.finish-reason": lambda mock: not any(choice["finish_reason"] for choice in mock.deltas()),
    "stream.finish-reason/everywhere": lambda mock: all(choice["finish_reason"] for choice in mock.deltas()),
    "stream.terminated": lambda mock: "[DONE]" not in mock.stream().text,
    "stream.terminated/early": lambda mock: "[DONE]" in mock.lines()[-2],
    "stream.text": lambda mock: not any(choice["delta"] for choice in mock.deltas()),
    "stream.text/object": lambda mock: {chunk["object"] for chunk in mock.chunks()} == {"chat.completion"},
    "stream.text/error": lambda mock: mock.chunks()[-1].keys() == {"error"},
}


def test_every_lie_is_looked_for() -> None:
    """This file knows how to see each lie about answers in words, and no other."""
    assert set(SEEN) == {fault.name for fault in LIES}


@pytest.mark.parametrize("fault", LIES, ids=lambda fault: fault.name)
def test_a_lie_does_what_it_says_and_an_honest_mock_does_not(fault: Fault) -> None:
    """It shows when it is on and does not when it is off."""
    assert SEEN[fault.name](Mock(fault.name))
    assert not SEEN[fault.name](Mock())
