"""The OpenGPU relay, from document 004."""

from __future__ import annotations

import base64
import json
import math
import random
import time
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from .painting import blended, encoded, opened, unbase64
from .reading import Check, Json, Refusal, among, between, checked, dimensions, is_flag, is_int, is_number, is_text, json_body, pixels
from .server import Reply, Server


class Relay(Server):
    """004: seven endpoints, and tasks."""

    _image = "/v2/image"
    routes: ClassVar[Mapping[str, str]] = {
        "/v2/automatic1111/sdapi/v1/txt2img": "POST", f"{_image}/flux/generate": "POST", f"{_image}/gemini-3/generate": "POST",
        f"{_image}/gpt-image/generate": "POST", f"{_image}/gpt-image/edit": "POST", f"{_image}/qwen/generate": "POST",
        f"{_image}/qwen/edit": "POST", "/v2/tasks/*": "GET",
    }  # fmt: skip
    _ratios = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
    _gpt: ClassVar[Mapping[str, Check]] = {"size": among("1024x1024", "1536x1024", "1024x1536", "auto"), "quality": among("auto", "low", "medium", "high"),
            "n": between(1, 4, is_int), "prompt": is_text, "async": is_flag, "image": is_text, "mask": is_text}  # fmt: skip
    _qwen: ClassVar[Mapping[str, Check]] = {"prompt": is_text, "size": pixels, "seed": is_int, "async": is_flag, "image": is_text}
    _pictures: ClassVar[Mapping[str, Check]] = {f"input_image{end}": is_text for end in ("", "_2", "_3", "_4")}

    @staticmethod
    def _step(value: Any) -> bool:
        return is_int(value) and 64 <= value <= 4096 and value % 32 == 0

    def __init__(self) -> None:
        super().__init__()
        self.tasks: dict[str, tuple[float, Json]] = {}
        self.by_key: dict[str, Json] = {}

    def has_key(self, headers: Mapping[str, str]) -> bool:
        """In either header."""
        return headers.get("x-api-key") == self.key or super().has_key(headers)

    def needs_key(self, route: str) -> bool:
        """Asking for a task needs none."""
        return not route.startswith("/v2/tasks")

    def error(self, refusal: Refusal) -> Json:
        """As the published client reads it."""
        return {"detail": refusal.message, "error": {"code": str(refusal.status), "type": "request_error", "source": "gateway",
                "message": refusal.message, "request_id": "r-1"}}  # fmt: skip

    def serve(self, route: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """At once, or as a task when the body says so."""
        if route.startswith("/v2/tasks"):
            return Reply(200, self.task(path.rsplit("/", 1)[1]))
        result = self.make(route, headers, checked(json_body(headers, body), {"async": is_flag}, [], 422))
        if json.loads(body).get("async"):
            again = headers.get("idempotency-key")
            if again in self.by_key:
                return Reply(202, self.by_key[str(again)])
            name = f"0x{random.getrandbits(160):040x}"
            self.tasks[name] = (time.monotonic(), result)
            accepted = {"task_id": name, "status": "queued", "poll_url": f"/v2/tasks/{name}", "message": "queued"}
            if again:
                self.by_key[again] = accepted
            return Reply(202, accepted)
        return Reply(200, result)

    def task(self, name: str) -> Json:
        """Queued, then running, then completed, a hundredth of a second each."""
        if name not in self.tasks:
            raise Refusal(404, "there is no such task")
        since, result = self.tasks[name]
        age = time.monotonic() - since
        status = "queued" if age < 0.01 else "running" if age < 0.02 else "completed"
        body: Json = {"task_id": name, "status": status, "elapsed_seconds": round(age, 3)}
        return {**body, "result": result} if status == "completed" else body

    def make(self, route: str, headers: Mapping[str, str], body: Json) -> Json:
        """The sync answer of an endpoint."""
        if "automatic1111" in route:
            asked = self.read(body, {"prompt": is_text, "negative_prompt": is_text, "model": is_text, "steps": between(1, 150, is_int),
                                     "width": between(64, 2048, is_int), "height": between(64, 2048, is_int), "cfg_scale": is_number})  # fmt: skip
            if not asked.get("model", "x.safetensors").endswith(".safetensors"):
                raise Refusal(404, "no such model")
            made = self.pictures(asked, (asked.get("width", 512), asked.get("height", 512)), 1, seeded=False)
            return {"images": [base64.b64encode(encoded(one)).decode() for one in made]}
        if "flux" in route:
            return self.flux(body)
        if "gemini" in route:
            asked = self.read(body, {"prompt": is_text, "aspect_ratio": among(*self._ratios), "image_size": among("1K", "2K", "4K")})
            across, down = map(int, asked.get("aspect_ratio", "1:1").split(":"))
            edge = 1024 * int(asked.get("image_size", "1K")[0])
            width, height = (round(edge * math.sqrt(ratio) / 32) * 32 for ratio in (across / down, down / across))
            made = self.pictures(asked, (width, height), 1, seeded=False)
            return {"images": [base64.b64encode(encoded(one)).decode() for one in made]}
        edit = route.endswith("edit")
        asked = self.read(body, self._gpt if "gpt" in route else self._qwen, ["image"] if edit else [])
        size = dimensions(asked.get("size"), (1024, 1024))
        seeded = "seed" in asked
        made = self.pictures(asked, size, asked.get("n", 1), seeded=seeded, aside=["async", "size", "quality"])
        if edit and not asked["image"].startswith("https://"):
            source = opened(unbase64(asked["image"], "image", url=False), "image").convert("RGB")
            mask = opened(unbase64(asked["mask"], "mask", url=False), "mask") if "mask" in asked else None
            made = [blended(source, one, mask, size) for one in made]
        return {"images" if "gpt" in route else "urls": [self.publish(headers, encoded(one)) for one in made]}

    def flux(self, body: Json) -> Json:
        """FLUX, with up to four pictures to start from."""
        asked = self.read(body, {"prompt": is_text, "width": self._step, "height": self._step, "seed": is_int,
                                 "safety_tolerance": between(0, 6, is_int), "output_format": among("png", "jpeg"), **self._pictures})  # fmt: skip
        asked = {"width": 1024, "height": 1024, "safety_tolerance": 2, "output_format": "png", **asked}
        size = (asked["width"], asked["height"])
        made = self.pictures(asked, size, 1, seeded="seed" in asked, aside=["async", "output_format"])
        for name in self._pictures:
            if name in asked:
                source = opened(unbase64(asked[name], name, url=False), name).convert("RGB")
                made = [blended(source, one, None, size) for one in made]
        return {"images": [base64.b64encode(encoded(one, asked["output_format"])).decode() for one in made]}

    def read(self, body: Json, fields: Mapping[str, Check], needed: Iterable[str] = ()) -> Json:
        """The fields of an endpoint; `async` is read before."""
        return checked(
            {name: value for name, value in body.items() if name in fields and name != "async"}, fields, ["prompt", *needed], 422
        )
