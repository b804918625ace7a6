"""openai, the Python package: pictures of Nebul and NanoGPT, words of NIM's vision models, models, streams, and its errors."""

from __future__ import annotations

import base64
import io
from typing import Any

import openai
from reporting import case, check, data_url, errors, is_picture, png, refused, urls

URLS = urls()
KONTEXT, LLAMA = "black-forest-labs/FLUX.1-Kontext-dev", "meta/llama-3.2-90b-vision-instruct"


def client(where: str, key: str = "testcard") -> openai.OpenAI:
    """The client, unchanged but for key and address."""
    return openai.OpenAI(base_url=URLS[where] + "/v1", api_key=key, max_retries=0, timeout=20)


def named(data: bytes, name: str = "picture.png") -> io.BytesIO:
    """A file as the package takes it."""
    file = io.BytesIO(data)
    file.name = name
    return file


def right(answer: Any, count: int, width: int, height: int) -> None:
    """So many pictures of this size."""
    check(len(answer.data) == count, f"{len(answer.data)} pictures")
    for item in answer.data:
        is_picture(base64.b64decode(item.b64_json), width, height)


def see(**more: Any) -> dict[str, Any]:
    """A question about a picture."""
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": data_url(png())}}]
    return {"model": LLAMA, "messages": [{"role": "user", "content": content}], **more}


def streamed() -> None:
    """The words come in pieces, and are those of the whole answer."""
    vision = client("nvidia-nim-vision")
    whole = vision.chat.completions.create(**see()).choices[0].message.content
    chunks = [chunk for chunk in vision.chat.completions.create(**see(stream=True)) if chunk.choices]
    check("".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole, "other words")


def error(kind: type[openai.APIStatusError], where: str, status: int, *, key: str = "testcard", **asked: Any) -> None:
    """The package's own error for this status, with a message."""
    asked = {"model": KONTEXT, "prompt": "x", **asked} if where.startswith("nebul") else {"model": "hidream", "prompt": "x", **asked}
    found = refused(kind, lambda: client(where, key).images.generate(**asked))
    check(found.status_code == status and bool(found.message), repr(found))
    if status == 429:
        check(int(found.response.headers["retry-after"]) > 0, "no Retry-After")


NEBUL = client("nebul")
case("nebul", "images.generate", lambda: right(NEBUL.images.generate(model=KONTEXT, prompt="x", n=2, size="256x256"), 2, 256, 256))
case("nebul", "images.edit", lambda: right(NEBUL.images.edit(model=KONTEXT, prompt="x", image=named(png()), size="256x256"), 1, 256, 256))
case(
    "nebul",
    "images.edit with a mask",
    lambda: right(NEBUL.images.edit(model=KONTEXT, prompt="x", image=named(png()), mask=named(png(clear=True)), size="64x64"), 1, 64, 64),
)
case("nebul", "images.create_variation", lambda: right(NEBUL.images.create_variation(image=named(png()), n=2, size="256x256"), 2, 256, 256))
case("nebul", "models.list", lambda: check(KONTEXT in [model.id for model in NEBUL.models.list()], "a model is missing"))
case(
    "nanogpt", "images.generate", lambda: right(client("nanogpt").images.generate(model="hidream", prompt="x", size="256x256"), 1, 256, 256)
)
VISION = client("nvidia-nim-vision")
case("nvidia-nim-vision", "chat.completions.create", lambda: check(bool(VISION.chat.completions.create(**see()).usage), "no usage"))
case("nvidia-nim-vision", "chat.completions.create, streamed", streamed)
case("nvidia-nim-vision", "models.list", lambda: check(LLAMA in [model.id for model in VISION.models.list()], "a model is missing"))
for one in ("nebul", "nanogpt"):
    case(one, "400", lambda one=one: error(openai.BadRequestError, one, 400, n=0))
    case(one, "401", lambda one=one: error(openai.AuthenticationError, one, 401, key="wrong"))
    case(one, "413", lambda one=one: error(openai.APIStatusError, one, 413, prompt="x" * 33_000_000))
    case(one, "500", lambda one=one: error(openai.InternalServerError, f"{one}:500", 500))
    case(one, "moderation", lambda one=one: error(openai.BadRequestError, f"{one}:moderated", 400))
case("nebul", "404", lambda: error(openai.NotFoundError, "nebul", 404, model="no-such-model"))
errors("nebul", "images.generate", lambda where: client(where).images.generate(model=KONTEXT, prompt="x"))
errors("nanogpt", "images.generate", lambda where: client(where).images.generate(model="hidream", prompt="x"))
errors("nvidia-nim-vision", "chat.completions.create", lambda where: client(where).chat.completions.create(**see()))
