"""NVIDIA NIM for vision, from document 001."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from .painting import opened, unbase64
from .reading import Check, Json, Refusal, between, checked, is_flag, is_int, is_text, json_body
from .server import Reply, Server


class NimVision(Server):
    """001: chat about pictures, whole or as events."""

    routes: ClassVar[Mapping[str, str]] = {"/v1/chat/completions": "POST"}
    fields: ClassVar[Mapping[str, Check]] = {"model": is_text, "messages": lambda value: isinstance(value, list) and value != [], "max_tokens": between(1, 4096, is_int),
              "temperature": between(0, 2), "stream": is_flag}  # fmt: skip

    def error(self, refusal: Refusal) -> Json:
        """As vLLM has it."""
        return {"object": "error", "message": refusal.message, "type": "BadRequestError", "param": None, "code": refusal.status}

    def serve(self, route: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Says the size of what it sees, word by word a token."""
        if len(body) > 5_000_000:
            raise Refusal(413, "the body is too large")
        asked = checked(json_body(headers, body), self.fields, ["model", "messages"], 400)
        if not asked["model"].startswith(("meta/", "microsoft/", "nvidia/")):
            raise Refusal(404, "no such model")
        seen, tokens = self.read(asked["messages"])
        words = f"There is {seen} here, drawn in soft bands of colour from one side to the other and nothing else at all.".split(" ")
        limit = asked.get("max_tokens", 4096)
        finish = "length" if len(words) > limit else "stop"
        words = words[:limit]
        usage = {"prompt_tokens": tokens, "completion_tokens": len(words), "total_tokens": tokens + len(words)}
        head = {"id": f"chat-{random.getrandbits(64):x}", "created": int(time.time()), "model": asked["model"]}
        if not asked.get("stream"):
            message = {"role": "assistant", "content": " ".join(words), "tool_calls": None}
            choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
            return Reply(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        deltas: list[tuple[Json, str | None]] = [({"role": "assistant", "content": ""}, None)]
        deltas += [({"content": word if index == 0 else f" {word}"}, None) for index, word in enumerate(words)]
        deltas[-1] = (deltas[-1][0], finish)
        chunks = [
            {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
            for delta, reason in deltas
        ]
        return Reply(200, chunks, body=events(chunks), media_type="text/event-stream")

    def read(self, messages: Sequence[Any]) -> tuple[str, int]:
        """What the last picture is, and how many tokens the conversation has."""
        seen, tokens = "nothing", 3
        for message in messages:
            if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant"):
                raise Refusal(400, "a message needs a known role")
            content = message.get("content")
            parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
            if not isinstance(parts, list):
                raise Refusal(400, "content has to be a list")
            for part in parts:
                if not isinstance(part, dict) or part.get("type") not in ("text", "image_url"):
                    raise Refusal(400, "a part has to be text or image_url")
                if part["type"] == "text":
                    if not is_text(part.get("text")):
                        raise Refusal(400, "text has to be a string")
                    tokens += len(part["text"].split())
                    continue
                url = part["image_url"].get("url") if isinstance(part.get("image_url"), dict) else None
                if not is_text(url):
                    raise Refusal(400, "image_url needs a url")
                if not str(url).startswith("https://"):
                    picture = opened(unbase64(str(url), "the image", url=True), "the image")
                    seen = f"a picture {picture.width} wide and {picture.height} high"
                tokens += 576
        return seen, tokens


def events(chunks: Iterable[Any], end: bool = True) -> bytes:
    """Server-sent events, the last of them [DONE]."""
    lines = [f"data: {chunk if isinstance(chunk, str) else json.dumps(chunk)}\n\n" for chunk in chunks]
    return "".join([*lines, "data: [DONE]\n\n"] if end else lines).encode()
