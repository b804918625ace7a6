"""Each lie about HTTP, keys and rates is told on every operation it applies to, and an honest mock tells none of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from testcard.harness.selftest.mock_runs import InProcess
from testcard.mocks.app import create_app
from testcard.mocks.faults import FAULTS, Fault
from testcard.specs.loader import load_provider
from testkit.pictures import gradient, in_base64

KEY = "testcard"
OURS = [fault for fault in FAULTS.values() if fault.name.startswith(("http.", "auth.", "rate.")) and fault.places]


VALUES: Mapping[str, Any] = {
    "prompt": "x",
    "model": "black-forest-labs/FLUX.1-Kontext-dev",
    "image": in_base64(gradient()),
    "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}],
}


@dataclass
class Mock:
    """One operation of a provider's mock in this process, with or without faults. `slept` collects how long it held answers back."""

    provider: str
    operation: str
    faults: tuple[str, ...] = ()
    slept: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.contract = load_provider(self.provider).operation(self.operation)
        self.app = create_app([self.provider], faults=self.faults, sleep=self._sleep)
        self.task = ""

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def send(
        self, *, key: str | None = KEY, method: str | None = None, without: bool = False, raw: bytes | None = None, label: str | None = None
    ) -> httpx.Response:
        """The answer to a good request, or to one that is changed as told; `without` leaves out what it cannot do without."""
        path = self.contract.path.format(
            publisher="black-forest-labs", model="flux.1-schnell", task_address="0x" if without else await self.reference()
        )
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        form = {"Content-Type": "multipart/form-data; boundary=between"}
        body = {name: VALUES[name] for name in self.contract.required}
        if self.operation == "createVisionChatCompletion":
            body["model"] = "meta/llama-3.2-90b-vision-instruct"
        if without and body:
            body.pop("prompt", None) or body.pop("messages", None) or body.pop("image", None)
        async with httpx.AsyncClient(transport=InProcess(self.app), base_url="http://127.0.0.1") as client:
            if self.contract.request_media_type is None:
                request = client.build_request(method or self.contract.method, path, headers=headers)
            elif self.contract.request_media_type == "multipart/form-data":
                files = [("image", ("a.png", gradient(), "image/png"))] if "image" in body else [("unused", ("", b""))]
                text = {name: value for name, value in body.items() if name != "image"}
                request = client.build_request(method or "POST", path, headers=headers | form, data=text, files=files)
            else:
                request = client.build_request(method or "POST", path, headers=headers, json=body)
            content = await request.aread()
            changed = dict(request.headers) | (
                {"content-type": label + ";" + request.headers["content-type"].partition(";")[2]} if label else {}
            )
            changed.pop("content-length", None)
            changed.pop("transfer-encoding", None)
            half = content[: content.find(b"\r\n\r\n")] if content.startswith(b"--") else content[:-1]
            return await client.request(request.method, path, headers=changed, content=half if raw is not None else content)

    async def reference(self) -> str:
        """A task that was accepted, for the operation that polls."""
        if self.contract.request_media_type is None and not self.task:
            async with httpx.AsyncClient(transport=InProcess(self.app), base_url="http://127.0.0.1") as client:
                answer = await client.post("/v2/image/qwen/generate", json={"prompt": "x", "async": True}, headers={"X-API-Key": KEY})
                self.task = answer.json().get("task_id", "0x")
        return self.task


async def status(mock: Mock, **how: Any) -> int:
    return (await mock.send(**how)).status_code


async def ends(mock: Mock) -> str:
    """How the answer ends: whole, or what a client says of it."""
    try:
        await mock.send()
    except httpx.RemoteProtocolError as error:
        return "of" if " of " in str(error) else "chunk"
    return "whole"


async def half_json(mock: Mock) -> bool:
    content = (await mock.send()).content
    try:
        json.loads(content)
    except ValueError:
        return content.startswith(b"{")
    return False


async def media_type(mock: Mock) -> tuple[str, bytes]:
    answer = await mock.send()
    return answer.headers["content-type"], answer.content[:1]


async def refusal(mock: Mock) -> tuple[str, bytes]:
    answer = await mock.send(without=True)
    return answer.headers["content-type"].partition(";")[0], answer.content[:1]


async def seen_in_header(mock: Mock) -> bool:
    return KEY in dict((await mock.send()).headers).values()


async def seen_in_message(mock: Mock) -> bool:
    answer = await mock.send(without=True)
    return KEY in answer.text and answer.status_code in (400, 422)


async def twice(mock: Mock, **how: Any) -> tuple[int, int]:
    return await status(mock, **how), await status(mock, **how)


async def refused_again(mock: Mock) -> bool:
    first, second = await twice(mock)
    return (first, second // 100) == (200, 4)


async def held_back(mock: Mock) -> bool:
    await mock.send()
    return mock.slept == [305.0]


async def never(mock: Mock) -> bool:
    await mock.send()
    return mock.slept == [3600.0]


async def limited(mock: Mock) -> tuple[int, str | None]:
    answer = await mock.send()
    return answer.status_code, answer.headers.get("retry-after")


async def refused_method(mock: Mock) -> tuple[int, str | None]:
    answer = await mock.send(method="PUT")
    return answer.status_code, answer.headers.get("allow")


async def error_body(mock: Mock) -> bool:
    return (await mock.send(without=True)).json().keys() == {"reason", "status"}


async def error_as_success(mock: Mock) -> bool:
    answer = await mock.send(without=True)
    return answer.status_code == 200 and bool(answer.json()["error"])


def is_(look: Callable[..., Awaitable[Any]], wanted: Any, **how: Any) -> Callable[[Mock], Awaitable[bool]]:
    async def holds(mock: Mock) -> bool:
        return bool(await look(mock, **how) == wanted)

    return holds


def in_two(wanted: int) -> Callable[[Mock], Awaitable[bool]]:
    async def holds(mock: Mock) -> bool:
        return wanted in await twice(mock)

    return holds


#: fault → what is seen of it: true when it holds, false on an honest mock
SEEN: dict[str, Callable[[Mock], Awaitable[bool]]] = {
    "http.status-documented": is_(status, 203),
    "http.status-documented/partial": is_(status, 206),
    "http.status-documented/refusal": is_(status, 418, without=True),
    "http.no-server-error": is_(status, 500, without=True),
    "http.no-server-error/malformed-task": is_(status, 500, without=True),
    "http.no-server-error/on-valid": in_two(500),
    "http.media-type": is_(media_type, ("text/plain", b"{")) ,
    "http.media-type/page": is_(media_type, ("application/json", b"<")),
    "http.body-complete": is_(ends, "of"),
    "http.body-complete/chunks": is_(ends, "chunk"),
    "http.body-complete/half-json": half_json,
    "http.answer-time": held_back,
    "http.answered": never,
    "http.steady": is_(twice, (200, 503)),
    "http.steady/refused": refused_again,
    "http.method-refused": is_(status, 200, method="PUT"),
    "http.method-refused/no-allow": is_(refused_method, (405, None)),
    "http.malformed-refused": is_(status, 200, raw=b"half"),
    "http.media-type-refused": is_(status, 200, label="application/xml"),
    "http.error-not-200": error_as_success,
    "http.error-shape": error_body,
    "http.error-shape/empty": is_(refusal, ("application/json", b"")),
    "http.error-shape/page": is_(refusal, ("text/html", b"<")),
    "auth.required": is_(twice, (200, 200), key=None),
    "auth.wrong-refused": is_(status, 200, key="wrong"),
    "auth.not-echoed": seen_in_header,
    "auth.not-echoed/message": seen_in_message,
    "rate.retry-after": is_(limited, (429, None)),
    "rate.retry-after/unreadable": is_(limited, (429, "in a minute")),
}  # fmt: skip


def test_every_fault_of_these_families_is_looked_for() -> None:
    """This file knows how to see each fault about HTTP, keys and rates, and no other."""
    assert set(SEEN) == {fault.name for fault in OURS}


@pytest.mark.parametrize("fault", OURS, ids=lambda fault: fault.name)
def test_a_fault_does_what_it_says_and_an_honest_mock_does_not(fault: Fault) -> None:
    """On every operation it applies to, the fault shows when it is on and does not when it is off."""

    async def shows(*mock: Any) -> bool:
        return await SEEN[fault.name](Mock(*mock))

    for provider, operation in fault.places:
        # A task can be looked at only if a request was accepted before: every second one is.
        name = fault.name + ("@0.5" if (fault.name, operation) == ("http.no-server-error/on-valid", "getTask") else "")
        assert asyncio.run(shows(provider, operation, (name,))), f"{fault.name} does not show on {provider} {operation}"
        assert not asyncio.run(shows(provider, operation)), f"{provider} {operation} is not honest: {fault.name}"


def test_a_fault_about_one_half_of_the_key_leaves_the_other() -> None:
    """Whoever needs no key still minds a wrong one, and whoever takes any key still minds its absence."""
    assert asyncio.run(status(Mock("nanogpt", "createImage", ("auth.required",)), key="wrong")) == 401
    assert asyncio.run(status(Mock("nanogpt", "createImage", ("auth.wrong-refused",)), key=None)) == 401
