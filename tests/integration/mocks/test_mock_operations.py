"""Every operation of every mock, over a socket: accepted where the contract says so, judged by tools we did not write."""

from __future__ import annotations

import base64
import io
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import httpx
import pytest
from openapi_core import OpenAPI
from openapi_core.contrib.werkzeug import WerkzeugOpenAPIRequest, WerkzeugOpenAPIResponse
from PIL import Image, ImageChops
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request, Response

from testcard.mocks.app import create_app
from testcard.mocks.serving import serving
from testcard.specs.loader import BUNDLED, bundled_ids, load_provider
from testkit.pictures import data_url, encoded, gradient, in_base64
from testkit.waiting import PATIENCE_S

CHAT = {"nvidia-nim-vision"}


def mask(*, white: bool) -> bytes:
    """A 64×64 mask that opens the left half: white on black, or transparent in an opaque picture."""
    if white:
        drawn = Image.new("L", (64, 64), 0)
        drawn.paste(255, (0, 0, 32, 64))
    else:
        drawn = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
        drawn.paste((0, 0, 0, 0), (0, 0, 32, 64))
    return encoded(drawn)


@dataclass(frozen=True)
class Case:
    """A request that the documents allow, and what its pictures have to be."""

    provider: str
    operation: str
    path: str
    body: dict[str, Any]
    size: tuple[int, int] | None = None
    n: int = 1
    form: str = "PNG"
    files: tuple[tuple[str, bytes], ...] = ()
    keep_right: bool = False
    prefix: str | None = None

    def __str__(self) -> str:
        return f"{self.provider}-{self.operation}-{'-'.join(map(str, self.body.values()))[:40]}"


NANO = ("nanogpt", "createImage", "/v1/images/generations")
NIM = ("nvidia-nim-image", "generateImage", "/v1/genai/black-forest-labs/flux.1-schnell")
SEE = ("nvidia-nim-vision", "createVisionChatCompletion", "/v1/chat/completions")
GENERATE = ("nebul", "createImage", "/v1/images/generations")
EDIT = ("nebul", "createImageEdit", "/v1/images/edits")
VARY = ("nebul", "createImageVariation", "/v1/images/variations")
SD = ("opengpu-relay", "generateStableDiffusion", "/v2/automatic1111/sdapi/v1/txt2img")
FLUX = ("opengpu-relay", "generateFlux", "/v2/image/flux/generate")
GEMINI = ("opengpu-relay", "generateGemini", "/v2/image/gemini-3/generate")
GPT = ("opengpu-relay", "generateGptImage", "/v2/image/gpt-image/generate")
GPT_EDIT = ("opengpu-relay", "editGptImage", "/v2/image/gpt-image/edit")
QWEN = ("opengpu-relay", "generateQwen", "/v2/image/qwen/generate")
QWEN_EDIT = ("opengpu-relay", "editQwen", "/v2/image/qwen/edit")
KONTEXT = "black-forest-labs/FLUX.1-Kontext-dev"
LLAMA = "meta/llama-3.2-90b-vision-instruct"
P = {"prompt": "a red boat"}
DESCRIBE = [
    {
        "role": "user",
        "content": [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": data_url(gradient())}}],
    }
]

CASES = [
    Case(*NANO, P),
    Case(*NANO, {**P, "size": "256x256", "n": 3, "seed": 42, "user": "u", "model": "hidream"}, (256, 256), 3),
    Case(*NANO, {**P, "size": "512x512", "response_format": "url", "n": 2}, (512, 512), 2),
    Case(*NANO, {**P, "size": "256x256", "imageDataUrl": data_url(gradient(256, 256)), "maskDataUrl": data_url(mask(white=True))}, (256, 256), keep_right=True),
    Case(*NANO, {**P, "size": "256x256", "imageDataUrls": [data_url(gradient(form="JPEG"), "jpeg")] * 2, "model": "flux-kontext", "strength": 0}, (256, 256)),
    Case(*NANO, {**P, "num_inference_steps": 1, "guidance_scale": 20, "kontext_max_mode": True, "model": "gpt-image-1"}),
    Case(*GENERATE, {**P, "model": KONTEXT, "n": 2, "response_format": "b64_json", "size": "auto", "quality": "auto", "background": "auto"}, (1024, 1024), 2),
    Case(*GENERATE, {**P, "size": "96x160", "output_format": "jpeg", "response_format": "url"}, (96, 160), form="JPEG"),
    Case(*GENERATE, {**P, "size": "96x160", "output_format": "webp", "background": "transparent", "guidance": 3.5}, (96, 160), form="WEBP"),
    Case(*EDIT, {**P, "model": KONTEXT, "n": "2", "size": "64x64"}, (64, 64), 2, files=(("image", gradient()), ("mask", mask(white=False))), keep_right=True),
    Case(*EDIT, {**P, "model": KONTEXT, "size": "128x128"}, (128, 128), files=(("image[]", gradient()), ("image[]", gradient(80, 20)))),
    Case(*VARY, {"n": "2", "size": "64x64", "output_format": "png"}, (64, 64), 2, files=(("image", gradient()),)),
    Case(*NIM, {**P, "width": 128, "height": 96, "seed": 5, "steps": 4, "cfg_scale": 3.5, "negative_prompt": "x", "sampler": "any"}, (128, 96)),
    Case(*NIM, {**P, "width": 64, "height": 64, "mode": "image-to-image", "image": in_base64(gradient())}, (64, 64)),
    Case(*NIM, {**P, "width": 64, "height": 64, "mode": "inpaint", "image": data_url(gradient()), "mask": in_base64(mask(white=True))}, (64, 64), keep_right=True),
    Case(*SD, P, (512, 512)),
    Case(*SD, {**P, "model": "stable-diffusion-v1-5-pruned.safetensors", "width": 200, "height": 72, "steps": 1}, (200, 72)),
    Case(*FLUX, {**P, "width": 64, "height": 96, "output_format": "jpeg", "safety_tolerance": 6}, (64, 96), form="JPEG"),
    Case(*FLUX, {**P, "width": 64, "height": 64, "input_image": in_base64(gradient()), "input_image_2": in_base64(gradient())}, (64, 64)),
    Case(*GEMINI, {**P, "aspect_ratio": "21:9", "image_size": "1K"}),
    Case(*GPT, {**P, "size": "1536x1024", "quality": "low", "n": 2}, (1536, 1024), 2),
    Case(*GPT_EDIT, {**P, "image": in_base64(gradient(1024, 1024)), "mask": in_base64(mask(white=True))}, (1024, 1024), keep_right=True),
    Case(*QWEN, {**P, "size": "80x40", "seed": 3}, (80, 40)),
    Case(*QWEN_EDIT, {**P, "image": in_base64(gradient()), "size": "80x40"}, (80, 40)),
    Case(*QWEN_EDIT, {**P, "image": "https://example.com/cat.png"}, (1024, 1024)),
    Case(*SEE, {"model": LLAMA, "messages": DESCRIBE, "temperature": 0.2}),
    Case(*SEE, {"model": LLAMA, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}], "max_tokens": 3}),
]  # fmt: skip


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving(create_app(bundled_ids())) as url:
        yield url


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30) as client:
        yield client


def key(provider: str) -> dict[str, str]:
    return {"X-API-Key": "testcard"} if provider == "opengpu-relay" else {"Authorization": "Bearer testcard"}


def send(http: httpx.Client, base_url: str, case: Case, **changes: Any) -> httpx.Response:
    url = f"{base_url}{case.prefix if case.prefix is not None else '/' + case.provider}{case.path}"
    if case.files:
        files = [(name, (f"{name}.png", data, "image/png")) for name, data in case.files]
        return http.post(url, data={**case.body, **changes}, files=files, headers=key(case.provider))
    return http.post(url, json={**case.body, **changes}, headers=key(case.provider))


def pictures_of(http: httpx.Client, body: dict[str, Any]) -> list[Image.Image]:
    """The decoded pictures of an answer, wherever the provider keeps them."""
    items = body.get("data") or body.get("artifacts") or body.get("images") or body.get("urls") or []
    found = []
    for item in items:
        text = item if isinstance(item, str) else item.get("b64_json") or item.get("base64") or item["url"]
        if text.startswith("http"):
            answer = http.get(text)
            assert answer.status_code == 200
            data = answer.content
        else:
            data = base64.b64decode(text, validate=True)
        image = Image.open(io.BytesIO(data))
        image.load()
        if text.startswith("http"):
            assert answer.headers["content-type"] == f"image/{str(image.format).lower()}"
        found.append(image)
    return found


_OPENAPI: dict[str, OpenAPI] = {}


def judge(provider: str, operation_id: str, method: str, path: str, answer: httpx.Response) -> None:
    """Raises when openapi-core finds that the answer is not the documented one."""
    document = load_provider(provider).openapi
    if provider not in _OPENAPI:
        _OPENAPI[provider] = OpenAPI.from_dict(dict(document.raw))
    host = document.operations[operation_id].servers[0]
    asked = WerkzeugOpenAPIRequest(Request(EnvironBuilder(path, host, method=method, content_type="application/json").get_environ()))
    given = WerkzeugOpenAPIResponse(Response(answer.content, answer.status_code, content_type=answer.headers["content-type"]))
    _OPENAPI[provider].validate_response(asked, given)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_documents_allow_is_answered_as_documented(http: httpx.Client, base_url: str, case: Case) -> None:
    """A documented request gets 200, a body that openapi-core accepts, and pictures of the asked number, size and format."""
    answer = send(http, base_url, case)
    assert answer.status_code == 200, answer.text[:500]
    judge(case.provider, case.operation, "POST", case.path, answer)
    body = answer.json()
    if case.provider in CHAT:
        usage = body["usage"]
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        assert body["choices"][0]["message"]["content"].strip()
        return
    pictures = pictures_of(http, body)
    assert len(pictures) == case.n
    assert {one.format for one in pictures} == {case.form}
    assert len({one.tobytes() for one in pictures}) == case.n
    if case.size:
        assert {one.size for one in pictures} == {case.size}
    if case.keep_right:
        source = Image.open(io.BytesIO(gradient(*pictures[0].size)))
        for one in pictures:
            box = ImageChops.difference(one.convert("RGB"), source).getbbox()
            assert box == (0, 0, one.width // 2, one.height)


@pytest.fixture(scope="module")
def added_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The mocks of providers that a user added: copies under other ids, of which Testcard knows nothing but the two files."""
    providers = []
    for name in bundled_ids():
        folder = tmp_path_factory.mktemp(name) / f"my-{name}"
        shutil.copytree(BUNDLED / name, folder)
        text = (folder / "profile.yaml").read_text()
        (folder / "profile.yaml").write_text(text.replace(f"\nid: {name}\n", f"\nid: my-{name}\n"))
        providers.append(load_provider(str(folder)))
    with serving(create_app(providers)) as url:
        yield url


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_provider_that_is_only_data_is_mocked_as_documented(http: httpx.Client, added_url: str, case: Case) -> None:
    """For a provider that is two data files and no code, the mock gives the same documented answers."""
    test_what_the_documents_allow_is_answered_as_documented(http, f"{added_url}/my-{case.provider}", replace(case, prefix=""))


def test_gemini_keeps_ratio_and_tier(http: httpx.Client, base_url: str) -> None:
    """Each aspect ratio is met within 3 %, and the area is the tier's within 5 %."""
    for tier, edge in (("1K", 1024), ("2K", 2048)):
        for ratio in ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"):
            answer = send(http, base_url, Case(*GEMINI, {**P, "aspect_ratio": ratio, "image_size": tier}))
            (one,) = pictures_of(http, answer.json())
            across, down = map(int, ratio.split(":"))
            assert one.width / one.height == pytest.approx(across / down, rel=0.03)
            assert one.width * one.height == pytest.approx(edge**2, rel=0.05)


@pytest.mark.parametrize(
    "case",
    [
        Case(*NANO, {**P, "seed": 42, "size": "256x256", "n": 2}),
        Case(*NIM, {**P, "seed": 42, "width": 64, "height": 64}),
        Case(*FLUX, {**P, "seed": 42, "width": 64, "height": 64}),
        Case(*QWEN, {**P, "seed": 42, "size": "64x64"}),
        Case(*QWEN_EDIT, {**P, "seed": 42, "size": "64x64", "image": in_base64(gradient())}),
    ],
    ids=str,
)
def test_a_seed_repeats_and_nothing_else_does(http: httpx.Client, base_url: str, case: Case) -> None:
    """Equal seed and parameters give equal pixels, index by index; another seed, another prompt or no seed gives others."""

    def pixels(**changes: Any) -> list[bytes]:
        body = {name: value for name, value in {**case.body, **changes}.items() if value is not None}
        answer = send(http, base_url, Case(case.provider, case.operation, case.path, body))
        assert answer.status_code == 200, answer.text
        return [one.tobytes() for one in pictures_of(http, answer.json())]

    first = pixels()
    assert pixels() == first
    for other in (pixels(seed=43), pixels(prompt="a blue boat"), pixels(seed=None), pixels(seed=None)):
        assert not set(other) & set(first)
    if case.provider == "nanogpt":
        assert pixels(num_inference_steps=30, strength=0.8, model="hidream") == first
        assert pixels(num_inference_steps=31) != first


def test_nim_says_the_seed_it_used(http: httpx.Client, base_url: str) -> None:
    """The artifact's seed is the one asked for, or the one that gives the same picture again."""
    case = Case(*NIM, {**P, "width": 64, "height": 64})
    assert send(http, base_url, case, seed=99).json()["artifacts"][0]["seed"] == 99
    free = send(http, base_url, case).json()["artifacts"][0]
    again = send(http, base_url, case, seed=free["seed"]).json()["artifacts"][0]
    assert again == free


def test_nanogpt_balance_falls_by_the_cost(http: httpx.Client, base_url: str) -> None:
    """Each request costs its pictures' price, and the balance after it is the one before less the cost."""
    began = int(time.time())
    answers = [send(http, base_url, Case(*NANO, {**P, "size": "256x256", "n": n})).json() for n in (1, 2, 4)]
    assert answers[1]["cost"] == pytest.approx(2 * answers[0]["cost"])
    assert answers[2]["cost"] > answers[1]["cost"] > 0
    for before, after in pairwise(answers):
        assert after["remainingBalance"] == pytest.approx(before["remainingBalance"] - after["cost"])
    assert began <= answers[0]["created"] <= time.time()


@pytest.mark.parametrize("added", [False, True])
def test_async_tasks_end_with_the_sync_body(http: httpx.Client, base_url: str, added_url: str, added: bool) -> None:
    """Async is accepted with 202 and a reference; polled without a key, states go forward; the result is the sync answer's body."""
    root, prefix = (added_url, "/my-opengpu-relay") if added else (base_url, "/opengpu-relay")
    sync = Case(*FLUX, {**P, "width": 64, "height": 64, "async": True}, prefix=prefix)
    for case in (Case(*QWEN, {**P, "size": "64x64", "async": True}, prefix=prefix), sync):
        accepted = send(http, root, case)
        assert accepted.status_code == 202
        judge(case.provider, case.operation, "POST", case.path, accepted)
        body = accepted.json()
        assert body["task_id"] == body["task_address"]
        assert body["status"] == "queued"
        states, deadline = [], time.monotonic() + PATIENCE_S
        while (not states or states[-1] != "completed") and time.monotonic() < deadline:
            where = httpx.URL(root).join(body["poll_url"])
            poll = http.get(where)
            judge("opengpu-relay", "getTask", "GET", f"/v2/tasks/{body['task_id']}", poll)
            states.append(poll.json()["status"])
            time.sleep(0.02)
        order = ["queued", "running", "completed"]
        assert states == sorted(states, key=order.index)
        # A busy machine can sleep through "running"; that each state is passed is shown with a clock of its own in test_mock_tasks.
        assert states[-1] == "completed"
        (one,) = pictures_of(http, poll.json()["result"])
        assert one.size == (64, 64)
        assert http.get(where).json()["result"] == poll.json()["result"]
    missing = http.get(f"{root}{prefix}/v2/tasks/0xdead")
    assert missing.status_code == 404
    judge("opengpu-relay", "getTask", "GET", "/v2/tasks/0xdead", missing)
    assert http.head(where).status_code == 200


def test_an_idempotency_key_starts_one_task(http: httpx.Client, base_url: str) -> None:
    """The same POST with the same Idempotency-Key is accepted twice and is one task."""
    headers = {**key("opengpu-relay"), "Idempotency-Key": "one"}
    url = f"{base_url}/opengpu-relay{QWEN[2]}"
    first, second = (http.post(url, json={**P, "async": True}, headers=headers) for _ in range(2))
    assert first.json()["task_id"] == second.json()["task_id"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert http.post(url, json={"prompt": "other", "async": True}, headers=headers).status_code == 422


def test_the_stream_says_what_the_whole_answer_says(http: httpx.Client, base_url: str) -> None:
    """A stream is SSE with one id, a finish reason, [DONE] at the end, and the same words as the answer in one piece."""
    case = Case(*SEE, {"model": LLAMA, "messages": DESCRIBE})
    whole = send(http, base_url, case).json()
    answer = send(http, base_url, case, stream=True, stream_options={"include_usage": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    judge(case.provider, case.operation, "POST", case.path, send(http, base_url, case))
    events = answer.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"])
    assert said == whole["choices"][0]["message"]["content"]
    assert "64 by 64" in said
    assert "grey" in said
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1] == "stop"
    assert chunks[-1]["usage"] == whole["usage"]


def test_max_tokens_cuts_and_says_so(http: httpx.Client, base_url: str) -> None:
    """The completion has at most max_tokens tokens, and a cut one ends with `length`."""
    for most in (1, 5):
        body = send(http, base_url, Case(*SEE, {"model": LLAMA, "messages": DESCRIBE, "max_tokens": most})).json()
        assert body["usage"]["completion_tokens"] == most
        assert body["choices"][0]["finish_reason"] == "length"
        assert len(body["choices"][0]["message"]["content"].split()) == most


def test_counters_count(http: httpx.Client) -> None:
    """Requests, billed requests and pictures are counted by operation; refusals are requests that are not billed."""
    with serving(create_app(["nebul"])) as url:
        for n in (1, 3):
            http.post(f"{url}/v1/images/generations", json={**P, "n": n, "size": "64x64"}, headers=key("nebul"))
        http.post(f"{url}/v1/images/generations", json={}, headers=key("nebul"))
        http.post(f"{url}/v1/images/generations", json=P)
        counters = http.get(f"{url}/_testcard/counters").json()
        assert (counters["requests"], counters["billed_requests"], counters["images"]) == (4, 2, 4)
        assert counters["providers"]["nebul"]["createImage"]["statuses"] == {"200": 2, "400": 1, "401": 1}
        assert http.get(f"{url}/_testcard/health").json()["status"] == "ready"


def test_latency_and_rate_limit_hold(http: httpx.Client) -> None:
    """Answers take the stated time, and what comes faster than the limit gets 429 with the seconds to wait."""
    with serving(create_app(["nanogpt"], latency="0.05+per-image:0.05", rate_limit="3/m")) as url:
        took = []
        for n in (1, 3, 1):
            start = time.monotonic()
            assert http.post(f"{url}{NANO[2]}", json={**P, "n": n, "size": "256x256"}, headers=key("nanogpt")).status_code == 200
            took.append(time.monotonic() - start)
        assert took[0] >= 0.1
        assert took[1] >= 0.2
        refused = http.post(f"{url}{NANO[2]}", json=P, headers=key("nanogpt"))
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 20


def test_addresses_expire(http: httpx.Client) -> None:
    """An address serves its picture for the promised time and refuses afterwards."""
    now = [time.time()]
    with serving(create_app(["nanogpt"], clock=lambda: now[0])) as url:
        body = http.post(f"{url}{NANO[2]}", json={**P, "response_format": "url"}, headers=key("nanogpt")).json()
        address = body["data"][0]["url"]
        assert address.startswith(url)
        now[0] += 3590
        assert http.get(address).status_code == 200
        now[0] += 20
        assert http.get(address).status_code == 403
