"""Whatever bytes come, a mock answers them with a 4xx in the provider's shape: it neither fails nor answers 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from testcard.mocks.app import create_app
from testcard.specs.loader import bundled_ids, load_provider

DEEP = 200_000
HOSTILE: dict[str, tuple[str, bytes]] = {
    "empty": ("application/json", b""),
    "no UTF-8": ("application/json", b'{"prompt": "\xff\xfe"}'),
    "UTF-16": ("application/json", '{"prompt": "x"}'.encode("utf-16")),
    "cut": ("application/json", b'{"prompt": "x'),
    "deep lists": ("application/json", b'{"prompt": ' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "deep objects": ("application/json", b'{"prompt": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001),
    "deep, cut": ("application/json", b"[" * DEEP),
    "a list": ("application/json", b"[]"),
    "parts named by signs alone": ("application/x-www-form-urlencoded", b"prompt=x&.=1&%5B%5D=2&=3"),
    "a part named by signs alone": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name=".[]"\r\n\r\n1\r\n--x--\r\n',
    ),
    "a number": ("application/json", b"1e999"),
    "huge number": ("application/json", b'{"prompt": "x", "n": ' + b"9" * 5000 + b"}"),
    "not finite": ("application/json", b'{"prompt": "x", "n": NaN}'),
    "lone surrogate": ("application/json", b'{"prompt": "\\ud800", "n": -1, "size": "\\ud800"}'),
    "nul": ("application/json", b'{"prompt": "\\u0000", "model": "\\u0000"}'),
    "all null": ("application/json", b'{"prompt": null, "model": null, "messages": null, "image": null, "n": null, "size": null}'),
    "wrong types": (
        "application/json",
        b'{"prompt": {}, "model": [], "messages": [1, null, {"content": [1, {"image_url": 3}]}], "image": {}, "n": "x", "size": 3}',
    ),
    "picture that is none": (
        "application/json",
        b'{"prompt": "x", "image": "AAAA", "input_image": "\\ud800", "imageDataUrl": "data:;base64,"}',
    ),
    "form in JSON": ("application/json", b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n--x--\r\n'),
    "no boundary": ("multipart/form-data", b"--x\r\n\r\nx\r\n--x--\r\n"),
    "form, no UTF-8": ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\xff\r\n--x--\r\n'),
    "form, cut": ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx'),
    "charset": ("application/json; charset=no-such-thing", b'{"prompt": 1}'),
    "odd media type": ("\x7f;;;=", b"{}"),
    "urlencoded": ("application/x-www-form-urlencoded", b"prompt=%ff%fe&n=%zz"),
}


def requests(provider: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every hostile body at every operation with a body, and addresses that are none."""
    loaded = load_provider(provider)
    header = loaded.profile.auth.header
    key = {header.name: f"{header.prefix}testcard"} if header is not None else {}
    for operation in loaded.openapi.operations.values():
        path = operation.path.replace("{publisher}/{model}", "black-forest-labs/flux.1-schnell").replace("{task_address}", "%ff%00..%2f")
        if not operation.request_content:
            yield operation.method, path, {"headers": key}
        for media_type, body in HOSTILE.values() if operation.request_content else ():
            yield operation.method, path, {"headers": {**key, "Content-Type": media_type}, "content": body}
    yield "GET", "/%ff%fe/../..%2f?a=%ff&b", {}
    yield "POST", "/_testcard/nothing", {}
    for method, path in (("PATCH", "conditions"), ("PUT", "scenario")):
        for body in (b"", b"\xff", b"[" * 5000, b'{"phase": 3}', b'{"latency": {}}', b"null"):
            yield method, f"/_testcard/{path}", {"content": body}


@pytest.mark.parametrize("provider", bundled_ids())
def test_no_bytes_make_a_mock_fail(provider: str) -> None:
    """A client's mistake is the client's: 4xx, and JSON where it is the provider's answer. No exception leaves the application."""

    async def story() -> None:
        transport = httpx.ASGITransport(create_app([provider]))
        async with httpx.AsyncClient(transport=transport, base_url="http://mock") as client:
            for method, path, more in requests(provider):
                answer = await client.request(method, path, **more)
                what = (method, path, more.get("headers"), more.get("content", b"")[:60], answer.text[:200])
                if "_testcard/" in path:
                    assert answer.status_code < 500, what
                else:
                    assert 400 <= answer.status_code < 500 or json.loads(answer.content), what
                    assert answer.status_code < 500, what
            assert (await client.get("/_testcard/requests")).status_code == 200

    asyncio.run(story())
