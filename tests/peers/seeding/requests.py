"""Defects of what is taken and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from .defect import ALL, Ask, default_body, defect, honest
from .replies import is_text, served

REFUSALS = ("request.refuses-invalid", "request.n-range", "request.step", "input.undecodable-refused", "input.data-url-only")


@defect(ALL, "request.refuses-invalid")
def missing_prompt_is_made_up(server: Any, ask: Ask) -> Any:
    if ask.json and "prompt" not in ask.json and "messages" not in ask.json:
        return honest(server, replace(ask, body=json.dumps({**ask.json, **json.loads(default_body(ask))}).encode()))
    return honest(server, ask)


@defect(("nanogpt", "nvidia-nim-image", "opengpu-relay", "nvidia-nim-vision"), *REFUSALS)
def whatever_is_wrong_is_dropped(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for name in list(ask.json):
        if reply.status in (400, 422) and name not in ("prompt", "messages", "model"):
            reply = honest(server, ask.asking(**{name: None}))
    return reply


@defect(("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay"), "request.text-survives")
def astral_text_is_500(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if any(ord(one) > 0xFFFF for one in str(ask.json.get("prompt", ""))):
        return type(reply)(500, {"error": {"message": "internal error"}, "message": "internal error"})
    return reply


# Not of NIM images: there the document says that fields vary by model.
@defect(("nanogpt", "nebul", "opengpu-relay"), "request.accepts-valid")
def an_optional_field_is_unknown(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for name in ("user", "num_inference_steps", "cfg_scale", "safety_tolerance", "aspect_ratio"):
        if name in ask.json and served(reply):
            return type(reply)(422, server.error(type("R", (), {"status": 422, "message": f"{name} is unknown"})()))
    return reply


@defect(("nanogpt",), "input.data-url-only")
def addresses_are_fetched(server: Any, ask: Ask) -> Any:
    url = ask.json.get("imageDataUrl")
    return honest(server, ask.asking(imageDataUrl=None) if is_text(url) and url.startswith("http") else ask)


@defect(("nanogpt",), "input.size-accepted")
def one_megabyte_limit(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    return type(reply)(413, {"error": 413, "message": "too large"}) if len(ask.body) > 1_000_000 else reply


@defect(("nanogpt", "nvidia-nim-image", "opengpu-relay"), "input.undecodable-refused")
def broken_picture_is_taken(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    names = ("imageDataUrl", "imageDataUrls", "image", "input_image", "mask", "maskDataUrl")
    if reply.status == 400 and any(name in ask.json for name in names):
        if "image" in ask.json and "edit" in ask.path:
            return honest(server, ask.asking(image="https://127.0.0.1/picture.png", mask=None))
        return honest(server, ask.asking(mode=None, **dict.fromkeys(names)))
    return reply


@defect(("nanogpt", "nvidia-nim-image", "nebul", "opengpu-relay", "nvidia-nim-vision"), "rate.retry-after")
def rate_limited_without_a_time(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if server.count % 7 == 3 and ask.method == "POST":
        return type(reply)(429, server.error(type("R", (), {"status": 429, "message": "too many requests"})()))
    return reply
