"""A second server for the five contracts, written from the providers' documents alone: no code, profile or schema of ours is used.

It exists to be lied through (tests/peers/seeding.py): what the check finds here it does not find because it knows our mocks.
Pictures are blocks of pseudo-random colours; validation is by hand; errors follow each document where it has a form.
"""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import io
import json
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from PIL import Image, ImageChops

KEY = "independent-key-5521"
Json = dict[str, Any]


class Refusal(Exception):
    """An error answer."""

    def __init__(self, status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


@dataclass
class Reply:
    """What is sent back. `json` is encoded last, so that somebody in between may change it."""

    status: int = 200
    json: Any = None
    body: bytes | None = None
    media_type: str = "application/json"
    headers: list[tuple[str, str]] = field(default_factory=list)


# --- pictures ---------------------------------------------------------------------------------------------------------------


def paint(size: tuple[int, int], key: str) -> Image.Image:
    """Blocks of colour that depend on the key alone."""
    noise = random.Random(key)
    blocks = Image.frombytes("RGB", (12, 12), noise.randbytes(12 * 12 * 3))
    return blocks.resize(size, Image.Resampling.NEAREST)


def encoded(picture: Image.Image, kind: str = "png") -> bytes:
    """The picture's file."""
    out = io.BytesIO()
    (picture.convert("RGB") if kind == "jpeg" else picture).save(out, kind.upper(), **({"compress_level": 1} if kind == "png" else {}))
    return out.getvalue()


def opened(data: bytes, what: str) -> Image.Image:
    """The picture in the bytes; a refusal for anything else."""
    try:
        picture = Image.open(io.BytesIO(data))
        picture.load()
    except Exception:  # noqa: BLE001 (whatever is wrong with the bytes)
        raise Refusal(400, f"{what} is not a readable image") from None
    return picture


def unbase64(text: str, what: str, *, url: bool) -> bytes:
    """The bytes behind base64, or behind a data URL."""
    head, comma, rest = text.partition(";base64,")
    if url and not (comma and head.startswith("data:image/")):
        raise Refusal(400, f"{what} has to be a base64 data URL")
    try:
        return base64.b64decode(rest if comma and head.startswith("data:") else text, validate=True)
    except ValueError:
        raise Refusal(400, f"{what} is not base64") from None


# --- requests ---------------------------------------------------------------------------------------------------------------

Check = Callable[[Any], bool]


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def between(low: float, high: float, kind: Check = is_number) -> Check:
    return lambda value: kind(value) and low <= value <= high


def among(*words: str) -> Check:
    return lambda value: value in words


def pixels(value: Any) -> bool:
    if not is_text(value):
        return False
    width, _, height = value.partition("x")
    return value == "auto" or (width.isdigit() and height.isdigit() and 64 <= int(width) <= 4096 and 64 <= int(height) <= 4096)


def checked(body: Any, fields: Mapping[str, Check], needed: Iterable[str], status: int) -> Json:
    """The body, when every field in it is of its kind and none is missing."""
    if not isinstance(body, dict):
        raise Refusal(status, "the body has to be an object")
    for name in needed:
        if name not in body:
            raise Refusal(status, f"{name} is missing")
    for name, value in body.items():
        if name in fields and not fields[name](value):
            raise Refusal(status, f"{name} is not valid")
    return body


def form(headers: Mapping[str, str], body: bytes) -> tuple[dict[str, str], dict[str, list[bytes]]]:
    """Text fields and files of a multipart body."""
    if not headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refusal(415, "the body has to be multipart/form-data")
    message = email.message_from_bytes(f"content-type: {headers['content-type']}\r\n\r\n".encode() + body, policy=email.policy.HTTP)
    texts: dict[str, str] = {}
    files: dict[str, list[bytes]] = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = str(part.get_param("name", header="content-disposition"))
        data = part.get_payload(decode=True)
        assert isinstance(data, bytes)
        if part.get_filename() is not None:
            files.setdefault(name, []).append(data)
        else:
            texts[name] = data.decode("utf-8", "replace")
    return texts, files


def json_body(headers: Mapping[str, str], body: bytes) -> Any:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "the body has to be application/json")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not JSON") from None


def dimensions(text: str | None, default: tuple[int, int]) -> tuple[int, int]:
    if text is None or text == "auto":
        return default
    width, _, height = text.partition("x")
    return int(width), int(height)


# --- providers --------------------------------------------------------------------------------------------------------------


class Server:
    """One provider as an ASGI application at the root. `changes` may alter bodies read and replies made (see tests/peers/seeding.py)."""

    routes: ClassVar[Mapping[str, str]] = {}

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.count = 0

    # what a subclass gives
    def serve(self, route: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The reply to a request with a good key."""
        raise NotImplementedError

    def error(self, refusal: Refusal) -> Json:
        """The body of an error."""
        return {"error": {"message": str(refusal.message), "type": "invalid_request_error", "param": None, "code": None}}

    def has_key(self, headers: Mapping[str, str]) -> bool:
        """Whether the request carries the key."""
        return headers.get("authorization") == f"Bearer {KEY}"

    def needs_key(self, route: str) -> bool:
        """Whether the route wants one."""
        return True

    def pictures(self, body: Json, size: tuple[int, int], count: int, *, seeded: bool, aside: Iterable[str] = ()) -> list[Image.Image]:
        """So many pictures, each its own; the same for the same body where there is a seed."""
        told = {name: value for name, value in body.items() if name not in {"n", "response_format", "user", *aside}}
        salt = json.dumps(told, sort_keys=True, default=lambda data: hashlib.sha256(data).hexdigest())
        if not seeded:
            salt += str(random.random())
        return [paint(size, f"{salt}#{index}") for index in range(count)]

    def publish(self, headers: Mapping[str, str], data: bytes) -> str:
        """An address at which the picture can be fetched."""
        name = hashlib.sha256(data).hexdigest()[:24]
        self.files[name] = data
        return f"http://{headers['host']}/pictures/{name}?expires={int(time.time()) + 8 * 86_400}"

    def handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """The reply to any request."""
        if path.startswith("/pictures/"):
            data = self.files.get(path.removeprefix("/pictures/"))
            if data is None:
                return Reply(404, body=b"no such picture", media_type="text/plain")
            return Reply(200, body=data, media_type=f"image/{(Image.open(io.BytesIO(data)).format or '').lower()}")
        try:
            route = next((route for route in self.routes if self.matches(route, path)), None)
            if route is None:
                raise Refusal(404, "there is nothing here")
            if method != self.routes[route]:
                raise Refusal(405, "not by this method", [("allow", self.routes[route])])
            if self.needs_key(route) and not self.has_key(headers):
                raise Refusal(401, "no valid key", [("www-authenticate", "Bearer")])
            return self.serve(route, path, headers, body)
        except Refusal as refusal:
            return Reply(refusal.status, self.error(refusal), headers=list(refusal.headers))

    def matches(self, route: str, path: str) -> bool:
        """Whether a path is on a route; `*` stands for one part."""
        parts, wanted = path.split("/"), route.split("/")
        return len(parts) == len(wanted) and all(want in ("*", part) for want, part in zip(wanted, parts, strict=True))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        reply = self.respond(scope["method"], scope["path"], headers, body)
        content = reply.body if reply.body is not None else json.dumps(reply.json).encode()
        fields = [("content-type", reply.media_type), ("content-length", str(len(content))), *reply.headers]
        raw = [(name.encode(), value.encode("latin-1")) for name, value in dict(fields).items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        await send({"type": "http.response.body", "body": content})

    def respond(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        """`handle`, which somebody may put a lie around."""
        self.count += 1
        return self.handle(method, path, headers, body)


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


def blended(source: Image.Image, new: Image.Image, mask: Image.Image | None, size: tuple[int, int]) -> Image.Image:
    """The new picture where the mask is white (everywhere without one, mixed with the source)."""
    source = source.resize(size)
    if mask is None:
        return Image.blend(source, new, 0.6)
    white = mask.convert("RGBA").resize(size, Image.Resampling.NEAREST)
    return Image.composite(new, source, white.convert("RGB").convert("L").point(lambda value: 255 if value > 127 else 0))


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
        return headers.get("x-api-key") == KEY or super().has_key(headers)

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


SERVERS: dict[str, type[Server]] = {
    "nanogpt": NanoGpt, "nebul": Nebul, "nvidia-nim-image": NimImage, "nvidia-nim-vision": NimVision, "opengpu-relay": Relay,
}  # fmt: skip
