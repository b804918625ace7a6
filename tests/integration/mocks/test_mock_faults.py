"""Each fault does what its name says on every operation it applies to, and an honest mock does none of it."""

from __future__ import annotations

import base64
import io
import json
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jsonschema_rs
import pytest
from PIL import Image, ImageChops, ImageStat
from starlette.testclient import TestClient

from testcard.mocks.app import create_app
from testcard.mocks.faults import FAULTS as ALL_FAULTS
from testcard.mocks.faults import Fault
from testcard.specs.loader import load_provider
from testkit.pictures import encoded, gradient, in_base64

KONTEXT = "black-forest-labs/FLUX.1-Kontext-dev"
LLAMA = "meta/llama-3.2-90b-vision-instruct"


B64 = in_base64(gradient())
#: (provider, operation) → a body with every field that faults are about, and the size of its pictures
BODIES: dict[tuple[str, str], tuple[dict[str, Any], tuple[int, int]]] = {
    ("nanogpt", "createImage"): ({"prompt": "x", "size": "512x512", "n": 2, "seed": 5}, (512, 512)),
    ("nebul", "createImage"): ({"prompt": "x", "size": "64x96", "n": 2, "quality": "auto", "output_format": "png"}, (64, 96)),
    ("nebul", "createImageEdit"): ({"prompt": "x", "model": KONTEXT, "size": "64x96", "n": 2, "quality": "auto"}, (64, 96)),
    ("nebul", "createImageVariation"): ({"size": "64x96", "n": 2, "quality": "auto"}, (64, 96)),
    ("nvidia-nim-image", "generateImage"): ({"prompt": "x", "width": 64, "height": 96, "mode": "text-to-image", "seed": 5}, (64, 96)),
    ("nvidia-nim-vision", "createVisionChatCompletion"): ({"model": LLAMA, "messages": [{"role": "user", "content": []}], "stream": False}, (0, 0)),
    ("opengpu-relay", "generateStableDiffusion"): ({"prompt": "x", "width": 64, "height": 96, "steps": 20}, (64, 96)),
    ("opengpu-relay", "generateFlux"): ({"prompt": "x", "width": 64, "height": 96, "safety_tolerance": 6, "seed": 5}, (64, 96)),
    ("opengpu-relay", "generateGemini"): ({"prompt": "x", "aspect_ratio": "21:9"}, (1568, 672)),
    ("opengpu-relay", "generateGptImage"): ({"prompt": "x", "size": "1024x1024", "quality": "high", "n": 2}, (1024, 1024)),
    ("opengpu-relay", "editGptImage"): ({"prompt": "x", "image": B64, "size": "1024x1024", "quality": "high", "n": 2}, (1024, 1024)),
    ("opengpu-relay", "generateQwen"): ({"prompt": "x", "size": "1024x1024", "seed": 5}, (1024, 1024)),
    ("opengpu-relay", "editQwen"): ({"prompt": "x", "image": B64, "size": "1024x1024", "seed": 5}, (1024, 1024)),
}  # fmt: skip
#: a body that breaks the schema in the named way
WRONG: dict[str, dict[tuple[str, str], dict[str, Any]]] = {
    "bounds": {
        ("nanogpt", "createImage"): {"strength": 2},
        ("opengpu-relay", "generateFlux"): {"width": 32},
    },
    "enums": {
        ("nanogpt", "createImage"): {"size": "1x1"},
        ("nvidia-nim-image", "generateImage"): {"mode": "upscale"},
        ("nvidia-nim-vision", "createVisionChatCompletion"): {"messages": [{"role": "robot", "content": []}]},
        ("opengpu-relay", "generateFlux"): {"output_format": "gif"},
        ("opengpu-relay", "generateGemini"): {"aspect_ratio": "1:9"},
        ("opengpu-relay", "generateGptImage"): {"quality": "best"},
        ("opengpu-relay", "editGptImage"): {"quality": "best"},
    },
}


OPTIONAL: dict[tuple[str, str], dict[str, Any]] = {
    ("nanogpt", "createImage"): {"user": "someone"},
    ("nebul", "createImage"): {"user": "someone"},
    ("nebul", "createImageEdit"): {"user": "someone"},
    ("nebul", "createImageVariation"): {"user": "someone"},
    ("nvidia-nim-image", "generateImage"): {"seed": 42},
    ("nvidia-nim-vision", "createVisionChatCompletion"): {"temperature": 0.5},
    ("opengpu-relay", "generateStableDiffusion"): {"negative_prompt": "fog"},
}


@dataclass
class Mock:
    """A provider's mock in this process, and one of its operations."""

    http: TestClient
    provider: str
    operation: str
    task: str = ""

    def send(self, *, key: str = "testcard", without: tuple[str, ...] = (), **changes: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if self.operation == "getTask":
            self.task = self.task or self.accept()
            return self.http.get("/v2/tasks/" + changes.get("task", self.task))
        body = {name: value for name, value in {**BODIES[self.provider, self.operation][0], **changes}.items() if name not in without}
        path = (
            load_provider(self.provider)
            .openapi.operations[self.operation]
            .path.format(publisher="black-forest-labs", model="flux.1-schnell")
        )
        if self.operation in ("createImageEdit", "createImageVariation"):
            files = [] if "image" in without else [("image", ("a.png", body.pop("file", gradient()), "image/png"))]
            files += [("mask", ("mask.png", body["mask"], "image/png"))] if "mask" in body else []
            fields = {name: str(value) for name, value in body.items() if not isinstance(value, list | dict | bytes)}
            return self.http.post(path, data=fields, files=files or [("unused", ("a.png", b"", "image/png"))], headers=headers)
        return self.http.post(path, json=body, headers=headers)

    def accept(self) -> str:
        accepted = Mock(self.http, "opengpu-relay", "generateQwen").send(**{"async": True, "size": "64x64"})
        return str(accepted.json()["task_id"])

    def items(self, answer: httpx.Response) -> list[Any]:
        body = answer.json()
        return next(body[name] for name in ("data", "artifacts", "images", "urls") if name in body)

    def pictures(self, answer: httpx.Response) -> list[bytes]:
        found = []
        for item in self.items(answer):
            text = item if isinstance(item, str) else item.get("b64_json") or item.get("base64") or item["url"]
            found.append(self.http.get(text).content if text.startswith("http") else base64.b64decode(text))
        return found


def opened(data: bytes) -> Image.Image | None:
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except Exception:  # noqa: BLE001
        return None
    return picture


def sizes(mock: Mock, **changes: Any) -> set[tuple[int, int]]:
    return {picture.size for data in mock.pictures(mock.send(**changes)) if (picture := opened(data))}


def asked(mock: Mock) -> tuple[int, int]:
    return BODIES[mock.provider, mock.operation][1]


def number(mock: Mock) -> int:
    return int(BODIES[mock.provider, mock.operation][0].get("n", 1))


def required(mock: Mock) -> tuple[str, ...]:
    return load_provider(mock.provider).openapi.operations[mock.operation].required


def accepts_wrong(kind: str) -> Callable[[Mock], bool]:
    return lambda mock: mock.send(**WRONG[kind][mock.provider, mock.operation]).status_code == 200


def accepts_types(mock: Mock) -> bool:
    return mock.send(n="two", prompt=5, max_tokens="x", steps=[]).status_code == 200


def wrong_type(mock: Mock) -> bool:
    schema = load_provider(mock.provider).openapi.operations[mock.operation].response_schema(200)
    answer = mock.send()
    return answer.status_code == 200 and not jsonschema_rs.validator_for(schema).is_valid(answer.json())


def keys_of_items(mock: Mock) -> set[tuple[bool, bool]]:
    return {(bool(item.get("b64_json")), bool(item.get("url"))) for item in mock.items(mock.send())}


def handed_over(mock: Mock, delivery: str) -> list[str]:
    """What stands for each picture, in whichever field."""
    items = mock.items(mock.send(response_format=delivery))
    return [item if isinstance(item, str) else str(item.get("b64_json") or item.get("base64") or item.get("url")) for item in items]


def addresses(mock: Mock) -> list[str]:
    return handed_over(mock, "url")


def downloads(mock: Mock) -> list[httpx.Response]:
    return [mock.http.get(url) for url in addresses(mock)]


def other_way(mock: Mock) -> bool:
    by_address = [text.startswith("http") for text in handed_over(mock, "b64_json")]
    return all(by_address) is not (mock.provider == "opengpu-relay" and mock.operation[-5:] in ("Image", "tQwen", "eQwen"))


#: families whose faults are looked for in files of their own
ELSEWHERE = ("async.", "vision.", "stream.")
FAULTS = {name: fault for name, fault in ALL_FAULTS.items() if not name.startswith(ELSEWHERE)}


def shown(mock: Mock, **changes: Any) -> list[bytes]:
    """The pixels of each picture of an answer."""
    return [picture.tobytes() for data in mock.pictures(mock.send(**changes)) if (picture := opened(data))]


def alphas(mock: Mock) -> set[int]:
    """The lowest alpha of each picture of an answer to who asks for a transparent background."""
    pictures = [opened(data) for data in mock.pictures(mock.send(background="transparent"))]
    return {picture.convert("RGBA").getextrema()[3][0] for picture in pictures if picture}  # type: ignore[index]


def said_seeds(mock: Mock) -> set[int]:
    return {item["seed"] for item in mock.items(mock.send(seed=5))}


def half_masked() -> bytes:
    """A mask whose upper half is white and transparent."""
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((255, 255, 255, 0), (0, 0, 64, 32))
    return encoded(mask)


def edited_halves(mock: Mock) -> tuple[float, float]:
    """How far the upper and the lower half of an edit with that mask are from the picture that was sent, of 255."""
    mask, kind = in_base64(half_masked()), "data:image/png;base64,"
    answer = {
        "nanogpt": lambda: mock.send(imageDataUrl=kind + B64, maskDataUrl=kind + mask),
        "nebul": lambda: mock.send(mask=half_masked()),
        "nvidia-nim-image": lambda: mock.send(mode="inpaint", image=B64, mask=mask),
        "opengpu-relay": lambda: mock.send(mask=mask),
    }[mock.provider]()
    picture = opened(mock.pictures(answer)[0])
    assert picture is not None
    small = picture.convert("RGB").resize((64, 64), Image.Resampling.BOX)
    difference = ImageChops.difference(small, Image.open(io.BytesIO(gradient())))
    upper, lower = (ImageStat.Stat(difference.crop(box)).mean for box in ((0, 0, 64, 28), (0, 36, 64, 64)))
    return sum(upper) / 3, sum(lower) / 3


def edited(upper: tuple[float, float], lower: tuple[float, float]) -> Callable[[Mock], bool]:
    """Whether both halves differ from what was sent by as much as said."""

    def seen(mock: Mock) -> bool:
        above, below = edited_halves(mock)
        return upper[0] <= above <= upper[1] and lower[0] <= below <= lower[1]

    return seen


def with_picture(mock: Mock, data: bytes) -> httpx.Response:
    """The answer to a request whose picture is these bytes."""
    text = base64.b64encode(data).decode()
    return {
        "nanogpt": lambda: mock.send(imageDataUrl="data:image/png;base64," + text),
        "nebul": lambda: mock.send(file=data),
        "nvidia-nim-image": lambda: mock.send(mode="image-to-image", image=text),
        "opengpu-relay": lambda: mock.send(**{"input_image" if mock.operation == "generateFlux" else "image": text}),
    }[mock.provider]()


def without_picture(mock: Mock) -> httpx.Response:
    more = {"mode": "image-to-image"} if mock.provider == "nvidia-nim-image" else {}
    return mock.send(without=("image",), **more)


def padded(size: int) -> bytes:
    """A picture with so many bytes in a chunk that decoders pass over."""
    chunk = b"paDd" + bytes(size)
    start, end = gradient()[:-12], gradient()[-12:]
    return start + size.to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + end


def fetched_twice(mock: Mock) -> list[tuple[int, int]]:
    return [(mock.http.get(url).status_code, mock.http.get(url).status_code) for url in addresses(mock)]


def ends(mock: Mock) -> list[float]:
    """Seconds from now to when each address says it ends."""
    return [float(parse_qs(urlsplit(url).query)["expires"][0]) - time.time() for url in addresses(mock)]


#: fault → what is seen of it: true when it holds, false on an honest mock
SEEN: dict[str, Callable[[Mock], bool]] = {
    "schema.response": wrong_type,
    "schema.response/not-json": lambda mock: mock.send().content.startswith(b"{'"),
    "request.accepts-valid/unknown-field": lambda mock: mock.send(**OPTIONAL.get((mock.provider, mock.operation), {})).status_code in (400, 422),
    "request.accepts-valid": lambda mock: mock.send().status_code in (400, 422),
    "request.refuses-invalid": lambda mock: all(mock.send(without=(name,)).status_code == 200 for name in required(mock)),
    "request.refuses-invalid/ignores-bounds": accepts_wrong("bounds"),
    "request.refuses-invalid/ignores-enums": accepts_wrong("enums"),
    "request.refuses-invalid/ignores-types": accepts_types,
    "image.count": lambda mock: len(mock.items(mock.send())) == 1 < number(mock),
    "image.count/extra": lambda mock: len(mock.items(mock.send())) == number(mock) + 1,
    "image.count/none": lambda mock: mock.items(mock.send()) == [],
    "image.decodes": lambda mock: all(opened(data) is None and data[:4] == b"\x89PNG" for data in mock.pictures(mock.send())),
    "image.decodes/another-name": lambda mock: all("image" in item for item in mock.items(mock.send())),
    "image.decodes/damaged": lambda mock: all(opened(data) is None and data[-8:-4] == b"IEND" for data in mock.pictures(mock.send())),
    "image.decodes/not-an-image": lambda mock: all(data.startswith(b"<html>") for data in mock.pictures(mock.send())),
    "image.size": lambda mock: sizes(mock) == {(asked(mock)[0] // 2, asked(mock)[1] // 2)},
    "image.size/ignored": lambda mock: sizes(mock) == {(640, 640)},
    "image.size/off-by-eight": lambda mock: sizes(mock) == {(asked(mock)[0] - 8, asked(mock)[1])},
    "image.format": lambda mock: {getattr(opened(data), "format", None) for data in mock.pictures(mock.send())} <= {"JPEG", "WEBP"},
    "image.base64-strict": lambda mock: all(text.startswith("data:image/png;base64,") for text in handed_over(mock, "b64_json")),
    "image.base64-strict/line-breaks": lambda mock: all(text[76] == "\n" for text in handed_over(mock, "b64_json")),
    "image.base64-strict/url-alphabet": lambda mock: all("_" in text and "/" not in text for text in handed_over(mock, "b64_json")),
    "image.not-blank": lambda mock: all(len(set(pixels)) == 1 for pixels in shown(mock)),
    "image.distinct": lambda mock: len(set(shown(mock))) == 1,
    "image.follows-prompt": lambda mock: shown(mock, prompt="y") == shown(mock, prompt="z"),
    "image.transparent": lambda mock: alphas(mock) == {255},
    "image.ratio": lambda mock: sizes(mock) == {(1026, 1026)},
    "image.ratio/swapped": lambda mock: sizes(mock) == {(672, 1568)},
    "image.tier": lambda mock: sizes(mock, image_size="2K") == {(1564, 670)},
    "image.mask-respected": edited((10, 255), (10, 255)),
    "image.mask-respected/nothing-edited": edited((0, 4), (0, 4)),
    "image.mask-polarity": edited((0, 4), (10, 255)),
    "image.unmasked-survives": edited((10, 255), (10, 30)),
    "input.data-url-only": lambda mock: mock.send(imageDataUrl="https://pictures.test/a.png").status_code == 200,
    "input.undecodable-refused": lambda mock: with_picture(mock, b"no picture").status_code == 200,
    "input.size-accepted": lambda mock: with_picture(mock, padded(2_000_000)).status_code == 400,
    "input.size-above": lambda mock: with_picture(mock, padded(4_000_000)).status_code == 200,
    "input.image-required": lambda mock: without_picture(mock).status_code == 200,
    "input.mask-required": lambda mock: mock.send(mode="inpaint", image=B64).status_code == 200,
    "delivery.exclusive": lambda mock: keys_of_items(mock) == {(True, True)},
    "delivery.exclusive/neither": lambda mock: keys_of_items(mock) == {(False, False)},
    "delivery.as-asked": other_way,
    "delivery.url-absolute": lambda mock: all(url.startswith("/") for url in addresses(mock)),
    "delivery.url-absolute/data": lambda mock: all(url.startswith("data:image/png;base64,") for url in addresses(mock)),
    "delivery.url-fetchable": lambda mock: {answer.status_code for answer in downloads(mock)} == {404},
    "delivery.url-keyless": lambda mock: {answer.status_code for answer in downloads(mock)} == {401},
    "delivery.url-is-image": lambda mock: {answer.headers["content-type"][:9] for answer in downloads(mock)} == {"text/html"},
    "delivery.url-is-image/mistyped": lambda mock: all(
        opened(answer.content) and answer.headers["content-type"].startswith("text/plain") for answer in downloads(mock)
    ),
    "delivery.url-lifetime": lambda mock: all(0 < left <= 61 for left in ends(mock)),
    "delivery.url-lifetime/once": lambda mock: set(fetched_twice(mock)) == {(200, 404)},
    "seed.varies": lambda mock: shown(mock, seed=5) == shown(mock, seed=6),
    "seed.echoed": lambda mock: said_seeds(mock) == {6},
    "seed.repeatable": lambda mock: mock.pictures(mock.send()) != mock.pictures(mock.send()),
}  # fmt: skip


@pytest.fixture(scope="module")
def honest() -> Callable[[str], TestClient]:
    clients: dict[str, TestClient] = {}

    def client(provider: str) -> TestClient:
        if provider not in clients:
            clients[provider] = TestClient(create_app([provider]), base_url="http://127.0.0.1")
        return clients[provider]

    return client


#: families of faults that other files look for: lies about HTTP, keys and rates, about answers, texts, defaults and steps
ELSEWHERE = ("http.", "auth.", "rate.", "answer.", "request.step", "request.n-range", "request.text", "request.default",
             "request.accepts-valid/combination")  # fmt: skip
HERE = [fault for fault in FAULTS.values() if not fault.name.startswith(ELSEWHERE) and fault.places]


def test_every_fault_is_looked_for() -> None:
    """This file knows how to see each fault of the register that no other file looks for, and no other."""
    assert set(SEEN) == {fault.name for fault in HERE}
    assert {place for fault in FAULTS.values() for place in fault.places} - {("opengpu-relay", "getTask")} == set(BODIES)


@pytest.mark.parametrize("fault", HERE, ids=lambda fault: fault.name)
def test_a_fault_does_what_it_says_and_an_honest_mock_does_not(fault: Fault, honest: Callable[[str], TestClient]) -> None:
    """On every operation it applies to, the fault shows when it is on and does not when it is off."""
    for provider, operation in fault.places:
        lying = Mock(TestClient(create_app([provider], faults=[fault.name]), base_url="http://127.0.0.1"), provider, operation)
        assert SEEN[fault.name](lying), f"{fault.name} does not show on {provider} {operation}"
        assert not SEEN[fault.name](Mock(honest(provider), provider, operation)), f"{provider} {operation} is not honest: {fault.name}"


def test_a_fault_with_a_rate_lies_to_that_share() -> None:
    """Of ten requests, a fault at 0.3 lies to three."""
    mock = Mock(TestClient(create_app(["nanogpt"], faults=["http.status-documented@0.3"])), "nanogpt", "createImage")
    assert [mock.send().status_code for _ in range(10)].count(203) == 3


def test_faults_can_be_told_together() -> None:
    """Several faults hold at once, each in its own place."""
    app = create_app(["nebul"], faults=["image.size", "image.count", "http.status-documented", "image.format"])
    mock = Mock(TestClient(app), "nebul", "createImage")
    answer = mock.send()
    (data,) = mock.pictures(answer)
    picture = opened(data)
    assert picture is not None
    assert (answer.status_code, picture.size, picture.format) == (203, (32, 48), "JPEG")
    assert json.loads(answer.content)["size"] == "64x96"
