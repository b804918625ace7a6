"""huggingface_hub: chat about pictures through InferenceClient."""

from __future__ import annotations

from typing import Any

from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from reporting import case, check, data_url, errors, png, refused, urls

URLS = urls()
NIM = "nvidia-nim-vision"
LLAMA = "meta/llama-3.2-90b-vision-instruct"
CONTENT = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": data_url(png())}}]
#: kept: a client that is gone takes its streams with it
CLIENTS: list[InferenceClient] = []


def chat(key: str = "testcard", where: str = NIM, **more: Any) -> Any:
    """One question about a picture."""
    CLIENTS.append(InferenceClient(base_url=URLS[where] + "/v1", api_key=key, timeout=20))
    return CLIENTS[-1].chat.completions.create(model=LLAMA, messages=[{"role": "user", "content": CONTENT}], **more)


case(NIM, "chat.completions.create", lambda: check("64 by 64" in chat().choices[0].message.content, "other words"))
case(NIM, "chat.completions.create, streamed", lambda: check(len(list(chat(stream=True))) > 3, "no pieces"))
case(NIM, "401", lambda: refused(HfHubHTTPError, lambda: chat("wrong")))
errors(NIM, "chat.completions.create", lambda where: chat(where=where))
