"""langchain: ChatNVIDIA and ChatOpenAI about pictures."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage
from langchain_nvidia_ai_endpoints import ChatNVIDIA
from langchain_openai import ChatOpenAI
from reporting import case, check, data_url, errors, png, refused, urls

URLS = urls()
NIM = "nvidia-nim-vision"
LLAMA = "meta/llama-3.2-90b-vision-instruct"
ASKED = [
    HumanMessage(content=[{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": data_url(png())}}])  # type: ignore[list-item]
]


def chat(kind: str, key: str = "testcard", where: str = NIM) -> Any:
    """A model, unchanged but for key and address."""
    url = URLS[where] + "/v1"
    if kind == "ChatNVIDIA":
        return ChatNVIDIA(model=LLAMA, base_url=url, api_key=key)
    return ChatOpenAI(model=LLAMA, base_url=url, api_key=key, max_retries=0, timeout=20)


for one in ("ChatNVIDIA", "ChatOpenAI"):
    case(NIM, f"{one}.invoke", lambda one=one: check("64 by 64" in str(chat(one).invoke(ASKED).content), "other words"))
    case(NIM, f"{one}.stream", lambda one=one: check(len(list(chat(one).stream(ASKED))) > 3, "no pieces"))
    case(NIM, f"{one}, 401", lambda one=one: refused(Exception, lambda: chat(one, "wrong").invoke(ASKED)))
    errors(NIM, f"{one}.invoke", lambda where, one=one: chat(one, where=where).invoke(ASKED))
