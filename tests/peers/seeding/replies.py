"""Finds the pictures and addresses in a reply, whichever provider's it is, and changes them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

from PIL import Image

from .defect import Ask, honest


def served(reply: Any) -> bool:
    """Whether the reply is a success in JSON."""
    return reply.status in (200, 202) and isinstance(reply.json, dict)


def results(reply: Any) -> Iterator[dict[str, Any]]:
    """The answer's body, and the result in it when it is a finished task."""
    if served(reply):
        yield reply.json
        if isinstance(reply.json.get("result"), dict):
            yield reply.json["result"]


def lists(reply: Any) -> Iterator[tuple[dict[str, Any], str]]:
    """Where the answer lists pictures."""
    for body in results(reply):
        for name in ("data", "artifacts", "images", "urls"):
            if isinstance(body.get(name), list):
                yield body, name


def repainted(server: Any, ask: Ask, reply: Any, change: Callable[[bytes], bytes]) -> Any:
    """The reply with every picture's bytes changed, however they are delivered."""

    def other(text: str) -> str:
        if text.startswith("http"):
            return str(server.publish(ask.headers, change(server.files[text.rpartition("/")[2].partition("?")[0]])))
        return base64.b64encode(change(base64.b64decode(text))).decode()

    for body, name in lists(reply):
        for index, item in enumerate(body[name]):
            if isinstance(item, str):
                body[name][index] = other(item)
                continue
            for key in ("b64_json", "base64", "url"):
                if item.get(key):
                    item[key] = other(item[key])
    return reply


def retyped(kind: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        out = io.BytesIO()
        Image.open(io.BytesIO(data)).convert("RGB").save(out, kind)
        return out.getvalue()

    return change


def reshaped(alter: Callable[[Image.Image], Image.Image]) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        picture = Image.open(io.BytesIO(data))
        out = io.BytesIO()
        alter(picture).save(out, picture.format)
        return out.getvalue()

    return change


def readdressed(server: Any, ask: Ask, change: Callable[[str, bytes], str]) -> Any:
    reply = honest(server, ask)
    for body, name in lists(reply):
        for index, item in enumerate(body[name]):
            url = item if isinstance(item, str) else item.get("url")
            if not url or not url.startswith("http"):
                continue
            other = change(url, server.files[url.rpartition("/")[2].partition("?")[0]])
            if isinstance(item, str):
                body[name][index] = other
            else:
                item["url"] = other
    return reply


def rewritten(reply: Any, change: Callable[[str], str]) -> Any:
    for body, name in lists(reply):
        for index, item in enumerate(body[name]):
            if isinstance(item, str):
                body[name][index] = item if item.startswith("http") else change(item)
                continue
            for key in ("b64_json", "base64"):
                if item.get(key):
                    item[key] = change(item[key])
    return reply


def is_text(value: Any) -> bool:
    return isinstance(value, str)
