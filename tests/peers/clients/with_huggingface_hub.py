"""huggingface_hub: chat about pictures through InferenceClient."""

from __future__ import annotations

from typing import Any

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from reporting import case, check, data_url, png, refused, urls

URL = urls()["nvidia-nim-vision"] + "/v1"
LLAMA = "meta/llama-3.2-90b-vision-instruct"
CONTENT = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": data_url(png())}}]


#: kept: a client that is gone takes its streams with it
CLIENTS = {key: InferenceClient(base_url=URL, api_key=key, timeout=20) for key in ("testcard", "wrong")}


def chat(key: str = "testcard", **more: Any) -> Any:
    """One question about a picture."""
    return CLIENTS[key].chat.completions.create(model=LLAMA, messages=[{"role": "user", "content": CONTENT}], **more)


case("nvidia-nim-vision", "chat.completions.create", lambda: check("64 by 64" in chat().choices[0].message.content, "other words"))
case("nvidia-nim-vision", "chat.completions.create, streamed", lambda: check(len(list(chat(stream=True))) > 3, "no pieces"))
case("nvidia-nim-vision", "401", lambda: refused(HfHubHTTPError, lambda: chat("wrong")))
