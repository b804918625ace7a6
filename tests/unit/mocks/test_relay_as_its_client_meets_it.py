"""The Relay mock says beside its document what the provider's published client asks for: models, codes, and that a task was replayed."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from testcard.mocks.app import create_app

QWEN = "/v2/image/qwen/generate"
KEY = {"X-API-Key": "testcard"}


def asked(*requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    """The answers of one mock to these requests, one after the other."""

    async def story() -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(["opengpu-relay"]))
        async with httpx.AsyncClient(transport=transport, base_url="http://mock") as client:
            return [await client.request(method, path, **more) for method, path, more in requests]

    return asyncio.run(story())


def test_a_model_says_where_it_is_served() -> None:
    """A model's name may hold a slash; its endpoint is the document's operation; an unknown one is MODEL_NOT_FOUND, a wrong key refused."""
    known, with_field, unknown, wrong, listed = asked(
        ("GET", "/v2/models/Qwen/qwen-image", {}),
        ("GET", "/v2/models/Realistic_Vision_V5.1.safetensors", {"headers": KEY}),
        ("GET", "/v2/models/no/such", {}),
        ("GET", "/v2/models/Qwen/qwen-image", {"headers": {"X-API-Key": "wrong"}}),
        ("GET", "/v2/models", {}),
    )
    endpoint = known.json()["endpoint"]
    assert (known.json()["status"], endpoint["method"], endpoint["path"]) == ("available", "POST", QWEN)
    assert (endpoint["operation_id"], endpoint["model_in_body"], endpoint["async_default"]) == ("generateQwen", False, False)
    assert with_field.json()["endpoint"]["model_in_body"] is True
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "MODEL_NOT_FOUND")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "INVALID_API_KEY")
    assert "openai/gpt-image-1.5-I2I" in {row["name"] for rows in listed.json()["auto"].values() for row in rows}


def test_refusals_have_the_codes_of_the_published_client() -> None:
    """Code, type and request id, the id in a header as well."""
    missing, wrong, invalid, no_task = asked(
        ("POST", QWEN, {"json": {"prompt": "x"}}),
        ("POST", QWEN, {"json": {"prompt": "x"}, "headers": {"X-API-Key": "wrong"}}),
        ("POST", QWEN, {"json": {}, "headers": KEY}),
        ("GET", "/v2/tasks/0xdead", {}),
    )
    codes = [(one.status_code, one.json()["error"]["code"]) for one in (missing, wrong, invalid, no_task)]
    assert codes == [(401, "MISSING_CREDENTIALS"), (401, "INVALID_API_KEY"), (422, "VALIDATION_ERROR"), (404, "TASK_NOT_FOUND")]
    assert all(one.headers["x-request-id"] == one.json()["error"]["request_id"] for one in (missing, wrong, invalid, no_task))


def test_a_poll_may_wait_for_the_end() -> None:
    """With `wait` one poll is enough: it is answered when the task ends."""
    headers = {**KEY, "Idempotency-Key": "a"}
    body = {"prompt": "x", "size": "64x64", "async": True}
    accepted, again, other = asked(*[("POST", QWEN, {"json": {**body, **more}, "headers": headers}) for more in ({}, {}, {"prompt": "y"})])
    assert accepted.json()["task_id"] == again.json()["task_id"]
    assert ("idempotency-replayed" in accepted.headers, again.headers["idempotency-replayed"]) == (False, "true")
    assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")

    async def story() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(["opengpu-relay"]))
        async with httpx.AsyncClient(transport=transport, base_url="http://mock") as client:
            task = (await client.post(QWEN, json=body, headers=KEY)).json()["task_id"]
            return await client.get(f"/v2/tasks/{task}?wait=5")

    assert asyncio.run(story()).json()["status"] == "completed"
