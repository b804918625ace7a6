"""The exact bytes of every operation's requests. Set TESTCARD_UPDATE_GOLDEN=1 to write the files anew, then read the diff."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.wire.encode import encode, poll_request
from testcard.harness.wire.model import InputImage, TaskRequest, WireRequest
from testcard.specs.loader import bundled_ids, load_provider

GOLDEN = Path(__file__).parent / "golden"
# Written out, because what Pillow writes differs between its versions.
DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a73000000164944415478da633c2127c7c0c0c0c4c0c0"
    "c0c0c000000d0401087fad82510000000049454e44ae426082"
)
IMAGE = InputImage(DOT, "image/png", "dot.png")
MASK = InputImage(DOT[::-1], "image/png", "mask.png")


@dataclass(frozen=True)
class Case:
    name: str
    provider: str
    operation: str
    request: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case(
        "nim-image-text", "nvidia-nim-image", "generateImage", {"task": "generate", "prompt": "a red boat", "size": (512, 768), "seed": 7}
    ),
    Case("nim-image-inpaint", "nvidia-nim-image", "generateImage", {"task": "edit", "prompt": "a hat", "images": (IMAGE,), "mask": MASK}),
    Case(
        "nim-image-model",
        "nvidia-nim-image",
        "generateImage",
        {"task": "generate", "prompt": "é", "model": "stabilityai/sdxl-turbo", "steps": 4},
    ),
    Case(
        "nim-vision",
        "nvidia-nim-vision",
        "createVisionChatCompletion",
        {"task": "describe", "prompt": "What is it?", "images": (IMAGE, InputImage(url="https://example.com/a.png")), "max_tokens": 16},
    ),
    Case(
        "nim-vision-stream",
        "nvidia-nim-vision",
        "createVisionChatCompletion",
        {"task": "describe", "prompt": "What is it?", "images": (IMAGE,), "stream": True},
    ),
    Case("nebul-generate", "nebul", "createImage", {"task": "generate", "prompt": "a boat", "n": 2, "size": "auto", "delivery": "base64"}),
    Case("nebul-edit", "nebul", "createImageEdit", {"task": "edit", "prompt": 'say "hi"', "images": (IMAGE, IMAGE), "mask": MASK, "n": 1}),
    Case("nebul-variation", "nebul", "createImageVariation", {"task": "variation", "images": (IMAGE,), "format": "png", "guidance": 2.5}),
    Case(
        "nanogpt-generate",
        "nanogpt",
        "createImage",
        {"task": "generate", "prompt": "a boat", "size": (512, 512), "n": 2, "delivery": "url"},
    ),
    Case("nanogpt-edit", "nanogpt", "createImage", {"task": "edit", "prompt": "x", "images": (IMAGE,), "mask": MASK, "strength": 0.5}),
    Case("nanogpt-edit-several", "nanogpt", "createImage", {"task": "edit", "prompt": "x", "images": (IMAGE, IMAGE)}),
    Case(
        "relay-sd", "opengpu-relay", "generateStableDiffusion", {"task": "generate", "prompt": "a boat", "size": (512, 512), "guidance": 7}
    ),
    Case("relay-flux", "opengpu-relay", "generateFlux", {"task": "edit", "prompt": "x", "images": (IMAGE, IMAGE), "size": (64, 96)}),
    Case("relay-gemini", "opengpu-relay", "generateGemini", {"task": "generate", "prompt": "x", "size": (1344, 768)}),
    Case("relay-gpt", "opengpu-relay", "generateGptImage", {"task": "generate", "prompt": "x", "quality": "low", "asynchronous": True}),
    Case("relay-gpt-edit", "opengpu-relay", "editGptImage", {"task": "edit", "prompt": "x", "images": (IMAGE,), "mask": MASK}),
    Case("relay-qwen", "opengpu-relay", "generateQwen", {"task": "generate", "prompt": "x", "size": (1024, 1024), "seed": 1}),
    Case(
        "relay-qwen-edit",
        "opengpu-relay",
        "editQwen",
        {"task": "edit", "prompt": "x", "images": (InputImage(url="https://example.com/a.png"),)},
    ),
]


def as_text(request: WireRequest) -> bytes:
    head = [f"{request.method} {request.url}", *(f"{name}: {value}" for name, value in request.headers)]
    return "\n".join(head).encode() + b"\n\n" + request.body


def compare(name: str, got: bytes) -> None:
    path = GOLDEN / f"{name}.http"
    if os.environ.get("TESTCARD_UPDATE_GOLDEN"):
        path.write_bytes(got)
    assert got == path.read_bytes()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_request_is_these_bytes(case: Case) -> None:
    """The same request is the same bytes on every machine and version."""
    provider = load_provider(case.provider)
    request = encode(
        provider, TaskRequest(**case.request), base_url="https://api.example.com/base/", api_key="sk-1", operation=case.operation
    )
    compare(case.name, as_text(request))


def test_a_poll_is_these_bytes() -> None:
    """A poll puts the reference into the path, escaped."""
    request = poll_request(load_provider("opengpu-relay"), "0xab/c d", base_url="https://api.example.com", api_key="sk-1")
    compare("relay-poll", as_text(request))


def test_every_operation_has_its_golden_request() -> None:
    """No operation of the five is left without pinned bytes."""
    pinned = {(case.provider, case.operation) for case in CASES} | {("opengpu-relay", "getTask")}
    assert pinned == {(name, operation) for name in bundled_ids() for operation in load_provider(name).profile.operations}
