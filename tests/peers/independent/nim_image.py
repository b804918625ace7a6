"""NVIDIA NIM for images, from document 000."""

from __future__ import annotations

import base64
import random
from collections.abc import Mapping
from typing import ClassVar

from .painting import blended, encoded, opened, unbase64
from .reading import Check, Json, Refusal, among, between, checked, is_int, is_number, is_text, json_body
from .server import Reply, Server


class NimImage(Server):
    """000: the model in the path, artifacts with the seed used."""

    routes: ClassVar[Mapping[str, str]] = {"/v1/genai/*/*": "POST"}
    fields: ClassVar[Mapping[str, Check]] = {
        "prompt": is_text, "negative_prompt": is_text, "cfg_scale": is_number, "sampler": is_text, "seed": is_int, "steps": is_int,
        "width": between(64, 2048, is_int), "height": between(64, 2048, is_int),
        "mode": among("text-to-image", "image-to-image", "inpaint"), "image": is_text, "mask": is_text,
    }  # fmt: skip

    def error(self, refusal: Refusal) -> Json:
        """A problem document, as such containers send it."""
        return {"type": "urn:inference-service:problem-details:bad-request", "title": "Bad Request", "status": refusal.status,
                "detail": refusal.message}  # fmt: skip

    def serve(self, route: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """One artifact."""
        model = "/".join(path.split("/")[3:])
        if model not in ("black-forest-labs/flux.1-schnell", "stabilityai/sdxl-turbo"):
            raise Refusal(404, "no such model")
        asked = checked(json_body(headers, body), self.fields, ["prompt"], 422)
        asked = {"cfg_scale": 5, "steps": 50, "mode": "text-to-image", **asked}
        if asked["steps"] < 1:
            raise Refusal(422, "steps is not valid")
        needs = {"image-to-image": ["image"], "inpaint": ["image", "mask"]}.get(asked["mode"], [])
        for name in needs:
            if name not in asked:
                raise Refusal(422, f"{name} is missing for {asked['mode']}")
        pictures = {name: opened(unbase64(asked[name], name, url=False), name) for name in ("image", "mask") if name in asked}
        seed = asked.get("seed", random.randrange(2**31))
        size = (asked.get("width", 1024), asked.get("height", 1024))
        (made,) = self.pictures({**asked, "seed": seed, "cfg_scale": float(asked["cfg_scale"]), "path": path}, size, 1, seeded=True)
        if "image" in needs:
            made = blended(pictures["image"].convert("RGB"), made, pictures.get("mask"), size)
        text = base64.b64encode(encoded(made, "jpeg")).decode()
        return Reply(200, {"artifacts": [{"base64": text, "finishReason": "SUCCESS", "seed": seed}]})
