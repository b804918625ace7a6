"""What the contracts do not allow is refused by the mocks, in each provider's own words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from testcard.mocks.app import create_app
from testcard.mocks.serving import serving
from testcard.specs.loader import bundled_ids
from testkit.pictures import data_url, encoded, in_base64, plain

BEARER = {"Authorization": "Bearer testcard"}
PATHS = {
    "nanogpt": "/v1/images/generations",
    "nebul": "/v1/images/generations",
    "nvidia-nim-image": "/v1/genai/black-forest-labs/flux.1-schnell",
    "nvidia-nim-vision": "/v1/chat/completions",
    "opengpu-relay": "/v2/image/flux/generate",
}
P = {"prompt": "x"}
LLAMA = "meta/llama-3.2-90b-vision-instruct"


def asking(url: str) -> dict[str, Any]:
    return {"model": LLAMA, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving(create_app(bundled_ids())) as url:
        yield url


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30) as client:
        yield client


def shape(provider: str, answer: httpx.Response) -> None:
    """Asserts that an error has the provider's own form."""
    body = answer.json()
    if provider == "nanogpt":
        assert set(body) == {"error", "message"}
        assert body["error"] == answer.status_code
    elif provider == "opengpu-relay":
        assert isinstance(body["detail"], str)
        assert set(body["error"]) == {"code", "type", "source", "message", "request_id"}
    else:
        assert set(body["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("provider", PATHS)
def test_refusals_that_http_implies(http: httpx.Client, base_url: str, provider: str) -> None:
    """No key, a wrong key, another path, another method, another media type and broken JSON each have their status and form."""
    url = f"{base_url}/{provider}{PATHS[provider]}"
    invalid = 422 if provider == "opengpu-relay" else 400
    answers = [
        (401, http.post(url, json=P)),
        (401, http.post(url, json=P, headers={"Authorization": "Bearer wrong", "X-API-Key": "wrong"})),
        (401, http.post(url, json=P, headers={"Authorization": "testcard"})),
        (404, http.post(url + "/more", json=P, headers=BEARER)),
        (405, http.get(url, headers=BEARER)),
        (405, http.delete(url, headers=BEARER)),
        (415, http.post(url, content=b"{}", headers={**BEARER, "Content-Type": "text/plain"})),
        (415, http.post(url, headers=BEARER)),
        (400, http.post(url, content=b'{"prompt":', headers={**BEARER, "Content-Type": "application/json"})),
        (400, http.post(url, content=b"\xff", headers={**BEARER, "Content-Type": "application/json"})),
        (400, http.post(url, content=b"[" * 100_000, headers={**BEARER, "Content-Type": "application/json"})),
        (400, http.post(url, content=b'{"n": NaN}', headers={**BEARER, "Content-Type": "application/json"})),
        (invalid, http.post(url, json=[], headers=BEARER)),
        (invalid, http.post(url, json={}, headers=BEARER)),
        (invalid, http.post(url, json=None, content=b"null", headers={**BEARER, "Content-Type": "application/json"})),
    ]
    for expected, answer in answers:
        assert answer.status_code == expected, answer.text
        shape(provider, answer)
        assert "testcard" not in answer.text
    assert answers[4][1].headers["allow"] == "POST"
    assert answers[0][1].headers["www-authenticate"]


def test_relay_takes_either_key_header(http: httpx.Client, base_url: str) -> None:
    """Relay takes the key as X-API-Key and as a bearer; the others take it as a bearer only."""
    url = f"{base_url}/opengpu-relay/v2/image/qwen/generate"
    body = {**P, "size": "64x64"}
    assert http.post(url, json=body, headers={"X-API-Key": "testcard"}).status_code == 200
    assert http.post(url, json=body, headers=BEARER).status_code == 200
    assert http.post(f"{base_url}/nanogpt{PATHS['nanogpt']}", json=P, headers={"X-API-Key": "testcard"}).status_code == 401


REFUSED = [
    ("nanogpt", None, {"prompt": "x", "size": "300x300"}, 400),
    ("nanogpt", None, {"prompt": "x", "n": 0}, 400),
    ("nanogpt", None, {"prompt": "x", "n": 10**9}, 400),
    ("nanogpt", None, {"prompt": "x", "n": "1"}, 400),
    ("nanogpt", None, {"prompt": "x", "strength": 1.01}, 400),
    ("nanogpt", None, {"prompt": "x", "num_inference_steps": 0}, 400),
    ("nanogpt", None, {"prompt": "x", "model": "no-such-model"}, 400),
    ("nanogpt", None, {"prompt": "x", "imageDataUrl": "https://example.com/cat.png"}, 400),
    ("nanogpt", None, {"prompt": "x", "imageDataUrl": in_base64(plain(8, 8))}, 400),
    ("nanogpt", None, {"prompt": "x", "imageDataUrl": data_url(b"no picture")}, 400),
    ("nanogpt", None, {"prompt": "x", "imageDataUrl": data_url(plain(8, 8)[:40])}, 400),
    ("nanogpt", None, {"prompt": "x", "imageDataUrl": "data:image/png;base64,!!!!"}, 400),
    ("nanogpt", None, {"prompt": "x", "imageDataUrl": data_url(plain(8, 8)), "maskDataUrl": "data:image/png;base64,"}, 400),
    ("nebul", None, {"prompt": "x", "size": "huge"}, 400),
    ("nebul", None, {"prompt": "x", "size": "99999x1"}, 400),
    ("nebul", None, {"prompt": "x", "quality": "best"}, 400),
    ("nebul", None, {"prompt": "x", "background": "transparent", "output_format": "jpeg"}, 400),
    ("nebul", None, {"prompt": "x", "response_format": "file"}, 400),
    ("nebul", None, {"prompt": "x", "model": "no-such-model"}, 404),
    ("nvidia-nim-image", None, {"prompt": "x", "mode": "upscale"}, 400),
    ("nvidia-nim-image", None, {"prompt": "x", "mode": "image-to-image"}, 400),
    ("nvidia-nim-image", None, {"prompt": "x", "mode": "inpaint", "image": in_base64(plain(8, 8))}, 400),
    ("nvidia-nim-image", None, {"prompt": "x", "mode": "image-to-image", "image": "AAAA"}, 400),
    ("nvidia-nim-image", None, {"prompt": "x", "width": 0}, 400),
    ("nvidia-nim-image", None, {"prompt": "x", "steps": 0}, 400),
    ("nvidia-nim-image", "/v1/genai/nobody/nothing", {"prompt": "x"}, 404),
    ("nvidia-nim-vision", None, {"model": LLAMA, "messages": []}, 400),
    ("nvidia-nim-vision", None, {"model": LLAMA}, 400),
    ("nvidia-nim-vision", None, {"model": "no-such-model", "messages": [{"role": "user", "content": "x"}]}, 404),
    ("nvidia-nim-vision", None, {**asking(data_url(plain(8, 8))), "max_tokens": 0}, 400),
    ("nvidia-nim-vision", None, {**asking(data_url(plain(8, 8))), "temperature": 3}, 400),
    ("nvidia-nim-vision", None, asking(data_url(b"no picture")), 400),
    ("nvidia-nim-vision", None, asking("http://example.com/a.png"), 400),
    ("nvidia-nim-vision", None, asking("file:///etc/passwd"), 400),
    ("opengpu-relay", None, {"prompt": "x", "width": 65}, 422),
    ("opengpu-relay", None, {"prompt": "x", "height": 32}, 422),
    ("opengpu-relay", None, {"prompt": "x", "output_format": "webp"}, 422),
    ("opengpu-relay", None, {"prompt": "x", "input_image": "AAAA"}, 400),
    ("opengpu-relay", "/v2/image/gpt-image/generate", {"prompt": "x", "n": 5}, 422),
    ("opengpu-relay", "/v2/image/gpt-image/edit", {"prompt": "x"}, 422),
    ("opengpu-relay", "/v2/image/gemini-3/generate", {"prompt": "x", "aspect_ratio": "1:3"}, 422),
    ("opengpu-relay", "/v2/image/qwen/generate", {"prompt": "x", "size": "1024"}, 400),
    ("opengpu-relay", "/v2/image/qwen/edit", {"prompt": "x", "image": "AAAA", "async": True}, 400),
    ("opengpu-relay", "/v2/automatic1111/sdapi/v1/txt2img", {"prompt": "x", "model": "no-such-model"}, 404),
]


@pytest.mark.parametrize(("provider", "path", "body", "status"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_the_contract_does_not_allow_is_refused(
    http: httpx.Client, base_url: str, provider: str, path: str | None, body: dict[str, Any], status: int
) -> None:
    """Values out of bounds, unknown models, wrong or missing pictures: refused with the provider's status and form."""
    answer = http.post(f"{base_url}/{provider}{path or PATHS[provider]}", json=body, headers=BEARER)
    assert answer.status_code == status, answer.text
    shape(provider, answer)


@pytest.mark.parametrize(
    ("data", "files"),
    [
        ({}, [("image", plain(8, 8))]),
        ({"prompt": "x", "model": "no-such-model"}, [("image", plain(8, 8))]),
        ({"prompt": "x", "model": "black-forest-labs/FLUX.1-Kontext-dev"}, [("mask", plain(8, 8))]),
        ({"prompt": "x", "model": "black-forest-labs/FLUX.1-Kontext-dev", "n": "two"}, [("image", plain(8, 8))]),
        ({"prompt": "x", "model": "black-forest-labs/FLUX.1-Kontext-dev"}, [("image", b"no picture")]),
        ({"prompt": "x", "model": "black-forest-labs/FLUX.1-Kontext-dev"}, [("image", plain(8, 8)), ("mask", b"no picture")]),
    ],
)
def test_broken_forms_are_refused(http: httpx.Client, base_url: str, data: dict[str, str], files: list[tuple[str, bytes]]) -> None:
    """A form without a required part, with words for numbers, or with files that are no pictures is refused."""
    parts = [(name, (f"{name}.png", content, "image/png")) for name, content in files]
    answer = http.post(f"{base_url}/nebul/v1/images/edits", data=data, files=parts, headers=BEARER)
    assert answer.status_code in (400, 404)
    shape("nebul", answer)


def test_json_where_a_form_belongs_is_415(http: httpx.Client, base_url: str) -> None:
    """Edits are forms: JSON is the wrong media type, and a form without boundary is a broken one."""
    url = f"{base_url}/nebul/v1/images/edits"
    assert http.post(url, json=P, headers=BEARER).status_code == 415
    assert http.post(url, content=b"x", headers={**BEARER, "Content-Type": "multipart/form-data"}).status_code == 400
    assert http.post(url, content=b"x", headers={**BEARER, "Content-Type": "multipart/form-data; boundary=b"}).status_code == 400


def test_uploads_are_bounded(http: httpx.Client, base_url: str) -> None:
    """NanoGPT takes 3.9 MB and refuses 5 MiB with 413; vision refuses what is clearly too large; the key comes first."""
    url = f"{base_url}/nanogpt{PATHS['nanogpt']}"
    body = {**P, "size": "256x256", "imageDataUrl": data_url(encoded(Image.effect_noise((1690, 1690), 90)))}
    request = httpx.Request("POST", url, json=body)
    assert 3_300_000 < len(request.content) < 3_900_000
    assert http.post(url, json=body, headers=BEARER).status_code == 200
    large = {**P, "user": "u" * 5_242_880}
    assert http.post(url, json=large, headers=BEARER).status_code == 413
    assert http.post(url, json=large).status_code == 401
    vision = f"{base_url}/nvidia-nim-vision{PATHS['nvidia-nim-vision']}"
    assert http.post(vision, json=asking("data:image/png;base64," + "A" * 33_600_000), headers=BEARER).status_code == 413


HOSTILE: list[Any] = [
    {"prompt": "x", "n": 1.0, "seed": -(10**40)},
    {"prompt": "\ud83d\ude00 \u202e \u0000 '\"<script>" * 300},
    {"prompt": "", "seed": 0, "mask": 5, "image": {}, "stream": "yes", "quality": None, "extra": [{}]},
    {"prompt": "x" * 10_000, "size": None},
    {"prompt": "x", "width": 10**30, "height": 64},
    {"prompt": {"a": []}, "messages": 5},
    {"model": LLAMA, "messages": [{}]},
    {"model": LLAMA, "messages": [{"role": "user", "content": [{}]}], "stream_options": 5, "stream": True},
    {"model": LLAMA, "messages": [{"content": [{"type": "image_url"}, {"type": "text"}]}], "max_tokens": 10**30},
]


@pytest.mark.parametrize("provider", PATHS)
def test_nothing_a_client_sends_is_a_server_error(http: httpx.Client, base_url: str, provider: str) -> None:
    """Strange but well-formed bodies are served or refused, never answered with 5xx."""
    headers = {**BEARER, "Content-Type": "application/json"}
    for body in HOSTILE:
        answer = http.post(f"{base_url}/{provider}{PATHS[provider]}", content=json.dumps(body), headers=headers)
        assert answer.status_code in (200, 400, 404, 422), (body, answer.text)
