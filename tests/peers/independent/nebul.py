"""Nebul, from document 002."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import ClassVar

from PIL import Image, ImageChops

from .painting import encoded, opened
from .reading import Check, Json, Refusal, among, between, checked, dimensions, form, is_int, is_number, is_text, json_body, pixels
from .server import Reply, Server


class Nebul(Server):
    """002: the images API of OpenAI; both keys in an item, one of them null."""

    routes: ClassVar[Mapping[str, str]] = {"/v1/images/generations": "POST", "/v1/images/edits": "POST", "/v1/images/variations": "POST"}
    fields: ClassVar[Mapping[str, Check]] = {
        "prompt": is_text, "model": is_text, "n": between(1, 4, is_int), "size": pixels, "quality": among("auto", "low", "medium", "high"),
        "background": among("auto", "transparent", "opaque"), "output_format": among("png", "jpeg", "webp"),
        "response_format": among("url", "b64_json"), "guidance": is_number, "user": is_text,
    }  # fmt: skip

    def serve(self, route: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """Generations from JSON, edits and variations from forms."""
        files: dict[str, list[bytes]] = {}
        if route.endswith("generations"):
            asked = checked(json_body(headers, body), self.fields, ["prompt"], 400)
        else:
            texts, files = form(headers, body)
            asked = checked(_typed(texts), self.fields, ["model", "prompt"] if route.endswith("edits") else [], 400)
            if not files.get("image"):
                raise Refusal(400, "image is missing")
        asked = {name: value for name, value in asked.items() if name in self.fields}
        if asked.get("model", "black-forest-labs/FLUX.1-Kontext-dev") != "black-forest-labs/FLUX.1-Kontext-dev":
            raise Refusal(404, "no such model")
        kind, clear = asked.get("output_format", "png"), asked.get("background") == "transparent"
        if clear and kind == "jpeg":
            raise Refusal(400, "JPEG has no transparency")
        sources = [opened(one, "image").convert("RGB") for one in files.get("image", [])]
        mask = opened(files["mask"][0], "mask").convert("RGBA") if "mask" in files else None
        size = dimensions(asked.get("size"), (512, 512))
        made = self.pictures({**asked, "files": files.get("image")}, size, asked.get("n", 1), seeded=False)
        if sources:
            edit = ImageChops.invert(mask.getchannel("A")).resize(size) if mask else Image.new("L", size, 200)
            made = [Image.composite(one, sources[0].resize(size), edit) for one in made]
        if clear:
            for one in made:
                one.putalpha(Image.radial_gradient("L").resize(size).point(lambda value: 255 if value < 90 else 0))
        data = [encoded(one, kind) for one in made]
        as_url = asked.get("response_format") == "url"
        items = [
            {"b64_json": None if as_url else base64.b64encode(one).decode(), "url": self.publish(headers, one) if as_url else None}
            for one in data
        ]
        echo = {name: asked.get(name, "auto") for name in ("background", "size", "quality")}
        tokens = len(asked.get("prompt", "").split())
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Reply(200, {"created": int(time.time()), "data": items, **echo, "output_format": kind, "usage": usage})


def _typed(texts: Mapping[str, str]) -> Json:
    """Form fields as the values they stand for."""
    typed: Json = dict(texts)
    for name, kind in (("n", int), ("guidance", float)):
        if name in typed:
            try:
                typed[name] = kind(typed[name])
            except ValueError:
                raise Refusal(400, f"{name} is no number") from None
    return typed
