"""The openai package, unchanged but for base URL and key, works with the mocks of the APIs that follow OpenAI's."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import httpx
import openai
import pytest
from PIL import Image, ImageChops

from testcard.mocks.app import create_app
from testcard.mocks.serving import serving

KONTEXT = "black-forest-labs/FLUX.1-Kontext-dev"
LLAMA = "meta/llama-3.2-90b-vision-instruct"


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with serving(create_app(["nebul", "nanogpt", "nvidia-nim-vision"], rate_limit="1000/s")) as url:
        yield url


def client(base_url: str, provider: str, key: str = "testcard") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{base_url}/{provider}/v1", api_key=key, max_retries=0, timeout=20)


def gradient(size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert("RGB")


def as_file(picture: Image.Image, name: str = "picture.png") -> io.BytesIO:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    buffer.seek(0)
    buffer.name = name
    return buffer


def opened(text: str | None) -> Image.Image:
    assert text is not None
    picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    picture.load()
    return picture


def test_nebul_generates(base_url: str) -> None:
    """images.generate returns pictures of the asked number, size and format, with usage and echoes."""
    answer = client(base_url, "nebul").images.generate(
        model=KONTEXT, prompt="a red boat", n=2, size="512x512", output_format="webp", quality="low"
    )
    assert answer.data is not None
    pictures = [opened(item.b64_json) for item in answer.data]
    assert [(one.size, one.format) for one in pictures] == [((512, 512), "WEBP")] * 2
    assert pictures[0].tobytes() != pictures[1].tobytes()
    assert all(item.url is None for item in answer.data)
    assert (answer.size, answer.output_format, answer.quality) == ("512x512", "webp", "low")
    assert answer.usage is not None


def test_nebul_delivers_by_url(base_url: str) -> None:
    """response_format url gives an address that serves the picture without a key."""
    answer = client(base_url, "nebul").images.generate(prompt="x", size="256x256", response_format="url")
    assert answer.data is not None
    (item,) = answer.data
    assert item.b64_json is None
    assert item.url is not None
    assert Image.open(io.BytesIO(httpx.get(item.url).content)).size == (256, 256)


def test_nebul_edits_under_a_mask(base_url: str) -> None:
    """images.edit changes what the mask leaves transparent and nothing else; several input pictures are taken as well."""
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (16, 16, 48, 48))
    nebul = client(base_url, "nebul")
    answer = nebul.images.edit(model=KONTEXT, prompt="a hat", image=as_file(gradient()), mask=as_file(mask), size="64x64")  # type: ignore[call-overload]
    assert ImageChops.difference(opened(answer.data[0].b64_json), gradient()).getbbox() == (16, 16, 48, 48)
    answer = nebul.images.edit(model=KONTEXT, prompt="both", image=[as_file(gradient()), as_file(gradient((32, 48)))], n=2)
    assert answer.data is not None
    assert len(answer.data) == 2


def test_nebul_varies(base_url: str) -> None:
    """images.create_variation returns other pictures of the asked size."""
    answer = client(base_url, "nebul").images.create_variation(image=as_file(gradient()), n=2, size="256x256")
    assert answer.data is not None
    first, second = (opened(item.b64_json) for item in answer.data)
    assert first.size == second.size == (256, 256)
    assert first.tobytes() != second.tobytes()


def test_nanogpt_generates(base_url: str) -> None:
    """images.generate works on NanoGPT, with its own fields in extra_body and its cost in the answer."""
    nano = client(base_url, "nanogpt")
    answers = [nano.images.generate(model="hidream", prompt="a red boat", size="256x256", extra_body={"seed": 7}) for _ in range(2)]
    first, second = (opened(answer.data[0].b64_json) for answer in answers if answer.data)
    assert first.size == (256, 256)
    assert first.tobytes() == second.tobytes()
    assert answers[0].model_extra is not None
    assert answers[0].model_extra["cost"] > 0


def see(**more: object) -> dict[str, object]:
    url = "data:image/png;base64," + base64.b64encode(as_file(Image.new("RGB", (40, 30), (200, 30, 30))).getvalue()).decode()
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    return {"model": LLAMA, "messages": [{"role": "user", "content": content}], **more}


def test_vision_chats(base_url: str) -> None:
    """chat.completions.create describes the picture, keeps max_tokens and adds its usage up."""
    vision = client(base_url, "nvidia-nim-vision")
    answer = vision.chat.completions.create(**see())  # type: ignore[call-overload]
    assert "40 by 30" in answer.choices[0].message.content
    assert "red" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    cut = vision.chat.completions.create(**see(max_tokens=4))  # type: ignore[call-overload]
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 4)


def test_vision_streams(base_url: str) -> None:
    """A stream yields the same words piece by piece, and its usage at the end when asked for."""
    vision = client(base_url, "nvidia-nim-vision")
    whole = vision.chat.completions.create(**see())  # type: ignore[call-overload]
    pieces, last, usage = [], None, None
    for chunk in vision.chat.completions.create(**see(stream=True, stream_options={"include_usage": True})):  # type: ignore[call-overload]
        if chunk.choices:
            pieces.append(chunk.choices[0].delta.content or "")
            last = chunk.choices[0].finish_reason or last
        usage = chunk.usage or usage
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 5
    assert last == "stop"
    assert usage == whole.usage


def test_errors_are_the_packages_own(base_url: str) -> None:
    """A wrong key, a wrong model and a wrong value raise what the package documents for them."""
    with pytest.raises(openai.AuthenticationError):
        client(base_url, "nebul", "wrong").images.generate(prompt="x")
    with pytest.raises(openai.NotFoundError) as missing:
        client(base_url, "nebul").images.generate(prompt="x", model="no-such-model")
    assert missing.value.param == "model"
    with pytest.raises(openai.BadRequestError):
        client(base_url, "nanogpt").images.generate(prompt="x", n=0)
    with serving(create_app(["nebul"], rate_limit="1/m")) as url:
        limited = openai.OpenAI(base_url=f"{url}/v1", api_key="testcard", max_retries=0)
        limited.images.generate(prompt="x", size="256x256")
        with pytest.raises(openai.RateLimitError) as refused:
            limited.images.generate(prompt="x", size="256x256")
        assert int(refused.value.response.headers["retry-after"]) > 0
