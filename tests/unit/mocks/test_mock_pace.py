"""Latencies and rate limits mean what their words say."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from testcard.mocks.app import create_app
from testcard.mocks.conditions import Latency, RateLimit
from testcard.specs.errors import UsageError


@pytest.mark.parametrize(
    ("text", "low", "high", "median"),
    [
        ("0.2", 0.2, 0.2, 0.2),
        ("uniform:0.1,0.3", 0.1, 0.3, 0.2),
        ("lognormal:0.3,0.5", 0.0, 100.0, 0.3),
        ("per-image:0.05", 0.1, 0.1, 0.1),
        ("0.1+per-image:0.05", 0.2, 0.2, 0.2),
        ("0", 0.0, 0.0, 0.0),
    ],
)
def test_latency_follows_its_distribution(text: str, low: float, high: float, median: float) -> None:
    """Samples lie in the stated range, and their median is the stated one (for an answer with two pictures)."""
    latency = Latency(text)
    samples = [latency.sample(2) for _ in range(4000)]
    assert low - 1e-12 <= min(samples)
    assert max(samples) <= high + 1e-12
    assert statistics.median(samples) == pytest.approx(median, rel=0.05, abs=1e-9)


@pytest.mark.parametrize("text", ["", "fast", "-1", "uniform:0.3,0.1", "uniform:1", "lognormal:0,1", "normal:1,2", "nan", "inf", "0.1,0.2"])
def test_latency_refuses_other_words(text: str) -> None:
    """What is no latency is a usage error that shows how to write one."""
    with pytest.raises(UsageError) as caught:
        Latency(text)
    assert "lognormal" in str(caught.value.hint)


def test_rate_limit_lets_the_stated_rate_through() -> None:
    """Five may come at once, then one every fifth of a second; the wait that is told is the one that suffices."""
    now = [100.0]
    limit = RateLimit("5/s", lambda: now[0])
    assert [limit.wait_s() for _ in range(5)] == [0.0] * 5
    wait = limit.wait_s()
    assert wait == pytest.approx(0.2)
    now[0] += wait - 0.01
    assert limit.wait_s() > 0
    now[0] += 0.01
    assert limit.wait_s() == 0
    passed = 0
    for _ in range(1000):
        now[0] += 0.01
        passed += limit.wait_s() == 0
    assert passed == pytest.approx(50, abs=1)


@pytest.mark.parametrize("text", ["", "5", "0/s", "-1/s", "5/x", "1.5/s", "9" * 400 + "/s", "9" * 5000 + "/s"])
def test_rate_limit_refuses_other_words(text: str) -> None:
    """What is no rate is a usage error that shows how to write one."""
    with pytest.raises(UsageError) as caught:
        RateLimit(text, lambda: 0.0)
    assert "5/s" in str(caught.value.hint)


def test_a_stream_keeps_its_place_up_to_its_last_event() -> None:
    """Of two streams at one place the second begins when the first has ended."""
    app = create_app(["nvidia-nim-vision"], max_concurrent=1)
    body = b'{"model": "meta/llama-3.2-90b-vision-instruct", "messages": [{"role": "user", "content": "x"}], "stream": true}'
    headers = [(b"authorization", b"Bearer testcard"), (b"content-type", b"application/json")]

    async def stream(send: Callable[[Any], Awaitable[None]]) -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        path = "/v1/chat/completions"
        await app({"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}, receive, send)

    async def run() -> None:
        began, go_on = asyncio.Event(), asyncio.Event()
        seen: list[str] = []

        async def slowly(message: Any) -> None:
            if message["type"] == "http.response.body":
                began.set()
                await go_on.wait()

        async def noting(message: Any) -> None:
            seen.append(message["type"])

        first = asyncio.create_task(stream(slowly))
        await began.wait()
        second = asyncio.create_task(stream(noting))
        for _ in range(100):
            await asyncio.sleep(0)
        assert seen == []
        go_on.set()
        await asyncio.gather(first, second)
        assert seen[0] == "http.response.start"

    asyncio.run(run())


def test_at_most_so_many_requests_are_worked_on_at_once() -> None:
    """Six requests of 100 ms at two places take three times 100 ms, in order of arrival; the health address never waits."""
    app = create_app(["nanogpt"], latency="0.1", max_concurrent=2)

    async def run() -> list[float]:
        began = time.monotonic()
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://mock", headers={"Authorization": "Bearer testcard"}) as client:

            async def ask() -> float:
                answer = await client.post("/v1/images/generations", json={"prompt": "a boat", "size": "256x256"})
                assert answer.status_code == 200
                return time.monotonic() - began

            asks = [asyncio.create_task(ask()) for _ in range(6)]
            await asyncio.sleep(0.02)
            health = await client.get("/_testcard/health")
            assert (health.status_code, not any(one.done() for one in asks)) == (200, True)
            return await asyncio.gather(*asks)

    ends = asyncio.run(run())
    for index, end in enumerate(ends):
        assert end >= 0.1 * (index // 2 + 1)
    assert max(ends[:2]) < min(ends[2:4])
    assert max(ends[2:4]) < min(ends[4:])
