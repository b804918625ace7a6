"""litellm: pictures and words through its `openai/` route."""

from __future__ import annotations

import base64
import io
import os
from typing import Any

# It asks Hugging Face for a tokenizer otherwise, five times with growing pauses.
os.environ["HF_HUB_OFFLINE"] = "1"

import litellm
from reporting import case, check, data_url, errors, is_picture, png, refused, urls

URLS = urls()
KONTEXT, LLAMA = "black-forest-labs/FLUX.1-Kontext-dev", "meta/llama-3.2-90b-vision-instruct"
litellm.telemetry = False


def at(where: str, key: str = "testcard") -> dict[str, Any]:
    """Address and key."""
    return {"api_base": URLS[where] + "/v1", "api_key": key, "timeout": 20, "num_retries": 0, "max_retries": 0}


def right(answer: Any, count: int) -> None:
    """So many pictures of 256 px."""
    check(len(answer.data) == count, f"{len(answer.data)} pictures")
    for item in answer.data:
        is_picture(base64.b64decode(item.b64_json), 256, 256)


def see(where: str = "nvidia-nim-vision", **more: Any) -> Any:
    """A question about a picture."""
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": data_url(png())}}]
    return litellm.completion(model=f"openai/{LLAMA}", messages=[{"role": "user", "content": content}], **at(where), **more)


def drawn(where: str, model: str, *, key: str = "testcard", **more: Any) -> Any:
    """Pictures."""
    return litellm.image_generation(prompt="x", model=f"openai/{model}", size="256x256", **at(where, key), **more)


def edited() -> Any:
    """A picture from a picture."""
    image = io.BytesIO(png())
    image.name = "picture.png"
    return litellm.image_edit(image=image, prompt="x", model=f"openai/{KONTEXT}", size="256x256", **at("nebul"))


case("nebul", "image_generation", lambda: right(drawn("nebul", KONTEXT, n=2), 2))
case("nebul", "image_edit", lambda: right(edited(), 1))
case("nanogpt", "image_generation", lambda: right(drawn("nanogpt", "hidream"), 1))
case("nvidia-nim-vision", "completion", lambda: check(bool(see().choices[0].message.content), "no words"))
case(
    "nvidia-nim-vision",
    "completion, streamed",
    lambda: check(len([chunk for chunk in see(stream=True) if chunk.choices[0].delta.content]) > 3, "no pieces"),
)
case("nebul", "400", lambda: refused(litellm.BadRequestError, lambda: drawn("nebul", KONTEXT, n=0)))
case("nebul", "401", lambda: refused(litellm.AuthenticationError, lambda: drawn("nebul", KONTEXT, key="wrong")))
case("nebul", "404", lambda: refused(litellm.NotFoundError, lambda: drawn("nebul", "no-such-model")))
case("nebul", "500", lambda: refused(litellm.InternalServerError, lambda: drawn("nebul:500", KONTEXT)))
errors("nebul", "image_generation", lambda where: drawn(where, KONTEXT))
errors("nanogpt", "image_generation", lambda where: drawn(where, "hidream"))
errors("nvidia-nim-vision", "completion", see)
