"""instructor: chat through its patched client, and structured answers, which no document here promises."""

from __future__ import annotations

from typing import Any

import instructor
import openai
from pydantic import BaseModel
from reporting import case, check, urls

URL = urls()["nvidia-nim-vision"] + "/v1"
LLAMA = "meta/llama-3.2-90b-vision-instruct"


class Seen(BaseModel):
    """What a structured answer would say."""

    colour: str


def client() -> Any:
    """The patched client."""
    return instructor.from_openai(openai.OpenAI(base_url=URL, api_key="testcard", max_retries=0, timeout=20), mode=instructor.Mode.MD_JSON)


def ask(**more: Any) -> Any:
    """One question."""
    return client().chat.completions.create(model=LLAMA, messages=[{"role": "user", "content": "hello"}], max_retries=0, **more)


case("nvidia-nim-vision", "create, plain", lambda: check(bool(ask(response_model=None).choices[0].message.content), "no words"))
case("nvidia-nim-vision", "create, structured", lambda: ask(response_model=Seen))
