"""instructor: chat through its patched client, and structured answers, which no document here promises."""

from __future__ import annotations

from typing import Any

import instructor
import openai
from pydantic import BaseModel
from reporting import case, check, errors, urls

URLS = urls()
NIM = "nvidia-nim-vision"
LLAMA = "meta/llama-3.2-90b-vision-instruct"


class Seen(BaseModel):
    """What a structured answer would say."""

    colour: str


def client(where: str) -> Any:
    """The patched client."""
    patched = openai.OpenAI(base_url=URLS[where] + "/v1", api_key="testcard", max_retries=0, timeout=20)
    return instructor.from_openai(patched, mode=instructor.Mode.MD_JSON)


def ask(where: str = NIM, **more: Any) -> Any:
    """One question."""
    return client(where).chat.completions.create(model=LLAMA, messages=[{"role": "user", "content": "hello"}], max_retries=0, **more)


case(NIM, "create, plain", lambda: check(bool(ask(response_model=None).choices[0].message.content), "no words"))
case(NIM, "create, structured", lambda: ask(response_model=Seen))
errors(NIM, "create, plain", lambda where: ask(where, response_model=None))
errors(NIM, "create, structured", lambda where: ask(where, response_model=Seen))
