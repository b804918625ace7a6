"""The mocks' variants do what they are for: `strict` refuses what it may, `generous` takes and sends what it may, and both still serve real clients."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from PIL import Image

from testcard.harness.check.judging.verdicts import judge_records
from testcard.harness.check.running.runner import CheckSettings, carry_out
from testcard.harness.pricing import Pricing
from testcard.harness.selftest.mock_runs import Memory, full_plan
from testcard.mocks.app import create_app
from testcard.mocks.serving import serving
from testcard.specs.errors import UsageError
from testcard.specs.loader import load_provider
from testkit.pictures import gradient

KEY = {"authorization": "Bearer testcard"}
LLAMA = "meta/llama-3.2-90b-vision-instruct"


@pytest.fixture(scope="module")
def strict() -> Iterator[str]:
    with serving(create_app(["nanogpt", "nebul", "nvidia-nim-image", "nvidia-nim-vision", "opengpu-relay"], variant="strict")) as url:
        yield url


@pytest.fixture(scope="module")
def generous() -> Iterator[str]:
    with serving(create_app(["nanogpt", "nebul", "nvidia-nim-image", "nvidia-nim-vision", "opengpu-relay"], variant="generous")) as url:
        yield url


def post(url: str, **body: Any) -> httpx.Response:
    return httpx.post(url, json=body, headers=KEY, timeout=20)


def test_strict_takes_what_is_stated_and_refuses_the_rest(strict: str) -> None:
    """Stated values pass; an unstated number, model, field, mode or size is refused, and a field that only some models know."""
    nanogpt = f"{strict}/nanogpt/v1/images/generations"
    for stated in ({}, {"n": 1}, {"seed": 42}, {"user": "me"}, {"model": "hidream", "size": "256x256"}):
        assert post(nanogpt, **{"prompt": "x", "size": "256x256", **stated}).status_code == 200
    refused = [
        post(nanogpt, prompt="x", **more).status_code
        for more in ({"n": 2}, {"n": 3}, {"seed": 7}, {"model": "flux-kontext"}, {"quality": "high"}, {"kontext_max_mode": True})
    ]
    refused += [post(nanogpt, prompt="x", **{name: value}).status_code for name, value in (("strength", 0.35), ("guidance_scale", 7.5))]
    refused.append(post(nanogpt, prompt=" ").status_code)
    refused.append(post(nanogpt, prompt="a\x00b").status_code)
    nim = f"{strict}/nvidia-nim-image/v1/genai/black-forest-labs/flux.1-schnell"
    refused += [post(nim, prompt="x", **more).status_code for more in ({"width": 512}, {"sampler": "DDIM"}, {"steps": 50})]
    assert set(refused) <= {400, 404, 413, 415, 422}
    assert len(set(refused)) >= 3
    assert post(nanogpt, prompt="x", n=2).status_code == refused[0], "equal requests are refused alike"


def test_strict_knows_no_other_spelling(strict: str) -> None:
    """`image[]`, a plain string for content and a data URL for base64 are taken by some servers, and by this one not."""
    fields = {"model": "black-forest-labs/FLUX.1-Kontext-dev", "prompt": "x"}
    edit = f"{strict}/nebul/v1/images/edits"
    for name, wanted in (("image", range(200, 300)), ("image[]", range(400, 500))):
        answer = httpx.post(edit, data=fields, files={name: ("a.png", gradient(), "image/png")}, headers=KEY)
        assert answer.status_code in wanted, name
    chat = f"{strict}/nvidia-nim-vision/v1/chat/completions"
    parts = [{"type": "text", "text": "hello"}]
    assert post(chat, model=LLAMA, max_tokens=16, messages=[{"role": "user", "content": parts}]).status_code == 200
    assert post(chat, model=LLAMA, max_tokens=16, messages=[{"role": "user", "content": "hello"}]).status_code in (400, 422)


def test_strict_forbids_a_wrong_key_and_a_body_above_what_is_stated(strict: str) -> None:
    """403 for a wrong key where 401 is not documented; 3.9 MB pass, and more is refused before it has been read."""
    url = f"{strict}/nanogpt/v1/images/generations"
    assert httpx.post(url, json={"prompt": "x"}, headers={"authorization": "Bearer other"}).status_code == 403
    assert httpx.post(url, json={"prompt": "x"}).status_code == 401
    for size, wanted in ((3_900_000, 200), (3_900_001, 413), (5_242_880, 413)):
        body = b'{"prompt":"x","size":"256x256","imageDataUrl":"data:image/png;base64,' + base64.b64encode(gradient()) + b'"'
        body += b" " * (size - len(body) - 1) + b"}"
        assert httpx.post(url, content=body, headers={**KEY, "content-type": "application/json"}).status_code == wanted, size


def test_generous_reads_near_types_and_nothing_worse(generous: str) -> None:
    """A number in quotes, null for nothing and a number for text are read; a missing prompt, a wrong word and a bound are not."""
    url = f"{generous}/nanogpt/v1/images/generations"
    answer = post(url, prompt=7, n="2", seed=None, size="256x256", strength="0.5")
    assert answer.status_code == 200
    assert len(answer.json()["data"]) == 2
    for wrong in ({"n": "two"}, {"strength": "2"}, {"size": "1x1"}, {"prompt": None}):
        assert post(url, **{"prompt": "x", **wrong}).status_code == 400
    assert post(url, n=1).status_code == 400


def test_generous_sends_what_it_may(generous: str) -> None:
    """Further fields, nulls, other formats and sizes where none is promised, base64 for a URL now and then; no item with two keys."""
    seen: list[dict[str, Any]] = []
    deliveries: set[str] = set()
    for word in ("red", "green", "blue", "white", "black", "grey"):
        body = post(f"{generous}/nanogpt/v1/images/generations", prompt=word, response_format="url").json()
        (item,) = body["data"]
        (delivery,) = item
        deliveries.add(delivery)
        seen.append(body)
    assert deliveries == {"url", "b64_json"}
    assert all("x_trace" in body for body in seen)
    optional = ("created", "cost", "paymentSource", "remainingBalance")
    assert {None for body in seen for name in optional if body.get(name, 0) is None}, "some are null"
    assert any(name not in body for body in seen for name in optional), "some are absent"
    urls = [item["url"] for body in seen for item in body["data"] if "url" in item]
    assert all("X-Amz-Expires=3600" in url and "X-Amz-Date=2" in url for url in urls)
    found = httpx.get(urls[0])
    assert (found.status_code, found.headers["content-type"]) == (200, "application/octet-stream")
    assert httpx.get(urls[0].replace("X-Amz-Expires=3600", "X-Amz-Expires=9999")).status_code == 403
    nim = post(f"{generous}/nvidia-nim-image/v1/genai/black-forest-labs/flux.1-schnell", prompt="x").json()
    picture = Image.open(io.BytesIO(base64.b64decode(nim["artifacts"][0]["base64"])))
    assert (picture.format, picture.size == (1024, 1024)) == ("JPEG", False)


def test_generous_answers_look_otherwise_on_the_wire(generous: str) -> None:
    """No length, other header names and order, compressed for who takes that, two cookies; the same JSON after decoding."""
    url = f"{generous}/nanogpt/v1/images/generations"
    encodings = set()
    for _ in range(4):
        answer = post(url, prompt="x", size="256x256")
        assert "content-length" not in answer.headers
        assert answer.headers.get_list("set-cookie") == ["lane=1; Path=/; HttpOnly", "region=eu; Path=/"]
        assert any(name == b"Content-Type" for name, _ in answer.headers.raw)
        encodings.add(answer.headers.get("content-encoding"))
        assert answer.json()["data"][0]["b64_json"]
    assert encodings == {None, "gzip"}


@pytest.mark.parametrize("variant", ["strict", "generous"])
def test_the_openai_package_works_with_both(variant: str, request: pytest.FixtureRequest) -> None:
    """A real client gets its picture and its stream from either: what looks odd is allowed by the formats."""
    url = request.getfixturevalue(variant)
    pictures = openai.OpenAI(base_url=f"{url}/nebul/v1", api_key="testcard", max_retries=0)
    image = pictures.images.generate(prompt="a boat", model="black-forest-labs/FLUX.1-Kontext-dev", response_format="b64_json")
    assert image.data
    assert Image.open(io.BytesIO(base64.b64decode(image.data[0].b64_json or ""))).width > 0
    chat = openai.OpenAI(base_url=f"{url}/nvidia-nim-vision/v1", api_key="testcard", max_retries=0)
    parts: Any = [{"type": "text", "text": "hello"}]
    stream = chat.chat.completions.create(model=LLAMA, max_tokens=64, messages=[{"role": "user", "content": parts}], stream=True)
    pieces = list(stream)
    assert len({piece.id for piece in pieces}) == 1
    assert "hello" in "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert pieces[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize(("variant", "name"), [("strict", "nvidia-nim-vision"), ("generous", "nanogpt"), ("generous", "nvidia-nim-vision")])
def test_the_check_stays_silent_over_a_socket(variant: str, name: str) -> None:
    """Chunks, compression, odd headers, refusals before the body was read: nothing is broken, at most 40 pictures are billed."""
    provider = load_provider(name)
    plan = full_plan(provider, 1)
    memory = Memory()
    with serving(create_app([name], variant=variant)) as url:
        carried = asyncio.run(carry_out(plan, CheckSettings(url, "testcard"), Pricing(provider, mock=True), memory))
        counts = httpx.get(f"{url}/_testcard/counters").json()
    judged = judge_records(plan.scopes, plan.rules, memory.exchanges, memory.bytes_of, not_sent=carried.not_sent(plan))
    assert judged.errors == ()
    assert judged.outcome == "pass"
    assert {one.rule for one in judged.verdicts if one.verdict in ("fail", "deviates")} <= {"request.refuses-invalid"}
    assert carried.budget.spend.images <= 40
    assert str(carried.budget.spend.images) in json.dumps(counts)


def test_an_unknown_variant_is_a_usage_error() -> None:
    """The message names those that exist."""
    with pytest.raises(UsageError, match="there is no variant lax"):
        create_app(["nanogpt"], variant="lax")
