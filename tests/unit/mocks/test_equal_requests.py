"""Requests that come again are answered like the first of them: what was worked out once is kept, and nothing of that is seen."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from PIL import Image

from testcard.mocks.app import create_app

BEARER = {"Authorization": "Bearer testcard"}
IMAGES = "/v1/images/generations"


def told(story: Callable[[httpx.AsyncClient], Awaitable[Any]], provider: str = "nanogpt", **options: Any) -> Any:
    """What a story over one mock in this process comes to."""

    async def run() -> Any:
        transport = httpx.ASGITransport(create_app([provider], **options))
        async with httpx.AsyncClient(transport=transport, base_url="http://mock", headers=BEARER) as client:
            return await story(client)

    return asyncio.run(run())


def pictures(answer: httpx.Response) -> list[bytes]:
    """The pictures of an answer, each of which decodes."""
    found = [base64.b64decode(one["b64_json"], validate=True) for one in answer.json()["data"]]
    for one in found:
        Image.open(io.BytesIO(one)).load()
    return found


def test_equal_requests_get_new_pictures() -> None:
    """A body without a seed is answered with other pictures each time, all in their own places, with its cost taken each time."""

    async def story(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.post(IMAGES, json={"prompt": "a red boat", "size": "256x256", "n": 3}) for _ in range(3)]

    answers = told(story)
    assert len({one for answer in answers for one in pictures(answer)}) == 9
    balances = [answer.json()["remainingBalance"] for answer in answers]
    assert balances == sorted(set(balances), reverse=True)


def test_a_seed_gives_equal_pictures_whatever_way_they_are_made() -> None:
    """In base64 made at once, at an address, and under a fault that touches other requests only."""
    asked = {"prompt": "a red boat", "size": "512x512", "seed": 7}

    async def story(client: httpx.AsyncClient) -> list[bytes]:
        first, again = [pictures(await client.post(IMAGES, json=asked))[0] for _ in range(2)]
        url = (await client.post(IMAGES, json={**asked, "response_format": "url"})).json()["data"][0]["url"]
        return [first, again, (await client.get(url)).content]

    async def hooked(client: httpx.AsyncClient) -> list[bytes]:
        return [pictures(await client.post(IMAGES, json=asked))[0]]

    assert len({*told(story), *told(hooked, faults=("http.error-shape",))}) == 1


def test_text_of_a_request_never_gets_between_an_answer_and_its_pictures() -> None:
    """Whatever signs stand in a prompt that is said again."""

    async def story(client: httpx.AsyncClient) -> httpx.Response:
        body = {"prompt": 'a "\0000\0" boat', "model": "black-forest-labs/FLUX.1-Kontext-dev", "size": "256x256", "user": "\0000\0"}
        return await client.post(IMAGES, json=body)

    assert len(pictures(told(story, "nebul"))) == 1


def test_what_is_not_equal_is_judged_by_itself() -> None:
    """The same bytes without a key, under another media type, at another model's path, or refused since: each as if it came first."""
    body = json.dumps({"prompt": "a red boat", "size": "256x256"}).encode()
    typed = {"Content-Type": "application/json"}

    async def story(client: httpx.AsyncClient) -> list[int]:
        found = []
        for headers in (typed, {**typed, "Authorization": "Bearer other"}, {"Content-Type": "text/plain"}, typed):
            found.append((await client.post(IMAGES, content=body, headers=headers)).status_code)
        await client.patch("/_testcard/conditions", json={"moderate": ["boat"]})
        found.append((await client.post(IMAGES, content=body, headers=typed)).status_code)
        return found

    assert told(story) == [200, 401, 415, 200, 400]

    async def paths(client: httpx.AsyncClient) -> list[int]:
        at = "/v1/genai/{}"
        models = ("black-forest-labs/flux.1-schnell", "nobody/nothing", "black-forest-labs/flux.1-schnell")
        return [(await client.post(at.format(model), json={"prompt": "a red boat"})).status_code for model in models]

    found = told(paths, "nvidia-nim-image")
    assert (found[0], found[2]) == (200, 200)
    assert found[1] >= 400


def test_faults_lie_only_where_they_were_told_to() -> None:
    """One that changes every second request's fields leaves the others as they are, though all are equal."""
    asked = {"prompt": "a red boat", "size": "256x256", "n": 2}

    async def story(client: httpx.AsyncClient) -> list[int]:
        return [len((await client.post(IMAGES, json=asked)).json()["data"]) for _ in range(6)]

    counts = told(story, faults=("image.count@0.5",))
    assert (counts.count(2), len(counts)) == (3, 6)


def test_the_log_keeps_what_each_request_said() -> None:
    """Fields as they were sent, defaults not among them, for the first and for those like it."""
    asked = {"prompt": "a red boat", "size": "256x256"}

    async def story(client: httpx.AsyncClient) -> list[Any]:
        for _ in range(2):
            await client.post(IMAGES, json=asked)
        return [one["fields"] for one in (await client.get("/_testcard/requests")).json()["requests"]]

    assert told(story) == [asked, asked]
