"""NanoGPT, from document 003."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import ClassVar

from .painting import blended, encoded, opened, unbase64
from .reading import Check, Json, Refusal, among, between, checked, dimensions, is_flag, is_int, is_text, json_body
from .server import Reply, Server


class NanoGpt(Server):
    """003: `{error, message}`, items of one key, cost and balance."""

    routes: ClassVar[Mapping[str, str]] = {"/v1/images/generations": "POST"}
    fields: ClassVar[Mapping[str, Check]] = {
        "prompt": is_text, "model": is_text, "n": between(1, 8, is_int), "size": among("256x256", "512x512", "1024x1024"),
        "response_format": among("url", "b64_json"), "user": is_text, "imageDataUrl": is_text, "maskDataUrl": is_text,
        "imageDataUrls": lambda value: isinstance(value, list) and all(map(is_text, value)), "strength": between(0, 1),
        "guidance_scale": between(0, 20), "num_inference_steps": between(1, 100, is_int), "seed": is_int, "kontext_max_mode": is_flag,
    }  # fmt: skip
    defaults: ClassVar[Json] = {
        "model": "hidream", "n": 1, "response_format": "b64_json", "strength": 0.8, "guidance_scale": 7.5, "num_inference_steps": 30,
        "kontext_max_mode": False,
    }  # fmt: skip
    balance = 1000.0

    def error(self, refusal: Refusal) -> Json:
        """The documented error."""
        return {"error": refusal.status, "message": refusal.message}

    def serve(self, route: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Pictures from text or from pictures."""
        if len(body) > 4_300_000:
            raise Refusal(413, "uploads of at most 4 MB")
        asked = checked(json_body(headers, body), self.fields, ["prompt"], 400)
        asked = {**self.defaults, **{name: value for name, value in asked.items() if name in self.fields}}
        if asked["model"] not in ("hidream", "flux-kontext", "gpt-image-1", "gpt-4o-image", "flux-lora/inpainting"):
            raise Refusal(400, "no such model")
        urls = [*([asked["imageDataUrl"]] if "imageDataUrl" in asked else []), *asked.get("imageDataUrls", [])]
        sources = [opened(unbase64(url, "an image", url=True), "an image").convert("RGB") for url in urls]
        mask = opened(unbase64(asked["maskDataUrl"], "the mask", url=True), "the mask") if "maskDataUrl" in asked else None
        size = dimensions(asked.get("size"), (1024, 1024))
        made = self.pictures(asked, size, asked["n"], seeded="seed" in asked)
        if sources:
            made = [blended(sources[0], picture, mask, size) for picture in made]
        data = [encoded(picture) for picture in made]
        cost = round(0.013 * len(data), 6)
        self.balance -= cost
        as_url = asked["response_format"] == "url"
        items = [{"url": self.publish(headers, one)} if as_url else {"b64_json": base64.b64encode(one).decode()} for one in data]
        body_ = {"created": int(time.time()), "data": items, "cost": cost, "paymentSource": "balance", "remainingBalance": self.balance}
        return Reply(200, body_)
