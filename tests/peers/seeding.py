"""Defects put into the independent server, one at a time: what public deployments get wrong, and what anybody might.

Chosen from how real services fail, not from our list of rules. Each is a function around the server's own answer.
"""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image, ImageOps

IMAGES = ("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay")
ALL = (*IMAGES, "nvidia-nim-vision")
CHAT = ("nvidia-nim-vision",)


@dataclass(frozen=True)
class Ask:
    """A request on its way in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; an empty object for anything else."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def asking(self, **changes: Any) -> Ask:
        """The same with other fields, where it asks in JSON; None takes a field away."""
        if not self.json:
            return self
        body = {name: value for name, value in {**self.json, **changes}.items() if value is not None or name not in changes}
        return replace(self, body=json.dumps(body).encode())


Lie = Callable[[Any, Ask], Any]


@dataclass(frozen=True)
class Defect:
    """A defect by name.

    `areas`: first words of the rules that may rightly report it. `noted`: promised by nobody, a note will do.
    `operations`: where on the first provider it is to be seen, when not everywhere.
    """

    name: str
    providers: tuple[str, ...]
    areas: tuple[str, ...]
    lie: Lie = field(repr=False)
    noted: bool = False
    operations: tuple[str, ...] = ()


DEFECTS: list[Defect] = []


def defect(providers: tuple[str, ...], *areas: str, noted: bool = False, operations: tuple[str, ...] = ()) -> Callable[[Lie], Lie]:
    """Registers the function under its name."""

    def register(lie: Lie) -> Lie:
        DEFECTS.append(Defect(lie.__name__.replace("_", "-"), providers, areas, lie, noted, operations))
        return lie

    return register


def seeded(server: Any, wanted: Defect) -> Any:
    """The server with the defect in it."""

    def respond(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        server.count += 1
        return wanted.lie(server, Ask(method, path, headers, body))

    server.respond = respond
    return server


def honest(server: Any, ask: Ask) -> Any:
    """What the server itself says."""
    return server.handle(ask.method, ask.path, ask.headers, ask.body)


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


# --- pictures ---------------------------------------------------------------------------------------------------------------


@defect(("nanogpt", "nebul", "opengpu-relay"), "image.count")
def n_ignored(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for body, name in lists(reply):
        body[name] = body[name][:1]
    return reply


@defect(IMAGES, "image.count")
def two_for_one(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for body, name in lists(reply):
        body[name] = body[name] * 2
    return reply


@defect(IMAGES, "image.count", "answer")
def moderation_as_empty_list(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for body, name in lists(reply):
        body[name] = []
    return reply


@defect(IMAGES, "image.count", "answer", "schema")
def list_missing(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for body, name in list(lists(reply)):
        del body[name]
    return reply


@defect(IMAGES, "image.decodes")
def truncated(server: Any, ask: Ask) -> Any:
    return repainted(server, ask, honest(server, ask), lambda data: data[: len(data) * 2 // 3])


@defect(IMAGES, "image.decodes")
def last_bytes_missing(server: Any, ask: Ask) -> Any:
    return repainted(server, ask, honest(server, ask), lambda data: data[:-9])


@defect(IMAGES, "image.decodes", "delivery")
def json_for_a_picture(server: Any, ask: Ask) -> Any:
    return repainted(server, ask, honest(server, ask), lambda data: b'{"error": "upstream timed out"}')


@defect(("nanogpt", "opengpu-relay", "nvidia-nim-image", "nebul"), "image.size", "image.tier", "image.ratio")
def fixed_size(server: Any, ask: Ask) -> Any:
    return repainted(server, ask, honest(server, ask), reshaped(lambda one: one.resize((640, 640))))


@defect(("nanogpt", "opengpu-relay", "nvidia-nim-image", "nebul"), "image.size", "image.ratio")
def sides_swapped_or_short(server: Any, ask: Ask) -> Any:
    def alter(one: Image.Image) -> Image.Image:
        return one.transpose(Image.Transpose.ROTATE_90) if one.width != one.height else one.crop((0, 0, one.width - 1, one.height))

    return repainted(server, ask, honest(server, ask), reshaped(alter))


@defect(("nebul", "opengpu-relay"), "image.format")
def png_declared_jpeg_sent(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if "flux" not in ask.path and "images" not in ask.path:
        return reply
    return repainted(server, ask, reply, retyped("jpeg"))


@defect(("nvidia-nim-image",), "image.format")
def webp_for_png_or_jpeg(server: Any, ask: Ask) -> Any:
    return repainted(server, ask, honest(server, ask), retyped("webp"))


@defect(("nebul",), "image.format")
def format_ignored(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply) and reply.json.get("output_format") != "png":
        reply.json["output_format"] = "png"
        return repainted(server, ask, reply, retyped("png"))
    return reply


@defect(IMAGES, "image.not-blank")
def blank(server: Any, ask: Ask) -> Any:
    return repainted(server, ask, honest(server, ask), reshaped(lambda one: Image.new("RGB", one.size, "black")))


@defect(("nanogpt", "nebul", "opengpu-relay"), "image.distinct")
def one_picture_repeated(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for body, name in lists(reply):
        body[name] = [body[name][0] for _ in body[name]]
    return reply


@defect(("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay"), "image.follows-prompt")
def prompt_ignored(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(prompt="a cat") if is_text(ask.json.get("prompt")) else ask)


def is_text(value: Any) -> bool:
    return isinstance(value, str)


@defect(("nebul",), "image.transparent")
def background_ignored(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    return repainted(server, ask, reply, reshaped(lambda one: one.convert("RGB")))


@defect(("opengpu-relay",), "image.tier", operations=("generateGemini",))
def tier_ignored(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(image_size="1K") if "gemini" in ask.path and ask.json.get("image_size") in ("2K", "4K") else ask)


@defect(("opengpu-relay",), "image.ratio", operations=("generateGemini",))
def ratio_ignored(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(aspect_ratio="1:1") if "gemini" in ask.path and ":" in str(ask.json.get("aspect_ratio")) else ask)


@defect(("nanogpt", "opengpu-relay"), "image.mask-respected")
def mask_ignored(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(mask=None, maskDataUrl=None))


@defect(("nanogpt", "opengpu-relay"), "image.mask-polarity", "image.mask-respected")
def mask_turned_round(server: Any, ask: Ask) -> Any:
    def turned(text: str) -> str:
        head, comma, rest = text.rpartition(",")
        try:
            picture = Image.open(io.BytesIO(base64.b64decode(rest))).convert("RGB")
        except Exception:  # noqa: BLE001 (left for the server to refuse)
            return text
        out = io.BytesIO()
        ImageOps.invert(picture).save(out, "PNG")
        return head + comma + base64.b64encode(out.getvalue()).decode()

    changes = {name: turned(ask.json[name]) for name in ("mask", "maskDataUrl") if is_text(ask.json.get(name))}
    return honest(server, ask.asking(**changes) if changes else ask)


# --- seeds, defaults, echoes --------------------------------------------------------------------------------------------------

SEEDED = ("nanogpt", "nvidia-nim-image", "opengpu-relay")


@defect(SEEDED, "seed.repeatable")
def seed_dropped(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(seed=random.randrange(2**31)) if type(ask.json.get("seed")) is int else ask)


@defect(SEEDED, "seed.varies")
def seed_fixed(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(seed=1) if type(ask.json.get("seed")) is int else ask)


@defect(("nvidia-nim-image",), "seed.echoed", noted=True)
def seed_echo_wrong(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for body, name in lists(reply):
        for item in body[name]:
            item["seed"] = 0
    return reply


@defect(("nanogpt", "nvidia-nim-image"), "request.default-applied")
def default_differs(server: Any, ask: Ask) -> Any:
    default = {"nanogpt": {"strength": 0.4, "guidance_scale": 3.0}, "nvidia-nim-image": {"cfg_scale": 7.0}}
    mine = default["nanogpt" if "generations" in ask.path else "nvidia-nim-image"]
    return honest(server, ask.asking(**{name: value for name, value in mine.items() if name not in ask.json}))


@defect(("nebul",), "answer.echo")
def echo_wrong(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json.update(size="1x1", quality="ultra")
    return reply


@defect(("nanogpt", "nebul"), "answer.created")
def created_in_milliseconds(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["created"] *= 1000
    return reply


@defect(("nanogpt", "nebul"), "schema", "answer.created")
def created_as_text(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["created"] = "2026-11-20T09:00:00Z"
    return reply


@defect(("nanogpt",), "answer.cost-not-negative")
def cost_negative(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["cost"] *= -1
    return reply


@defect(("nanogpt",), "answer.balance-falls")
def balance_stands_still(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["remainingBalance"] = 500.0
    return reply


@defect(("nebul", "nvidia-nim-vision"), "answer.usage", "schema", noted=True)
def usage_null(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["usage"] = None
    return reply


@defect(("nebul", "nvidia-nim-vision"), "answer.usage", "schema")
def usage_fractional(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["usage"] = {name: value + 0.5 for name, value in reply.json["usage"].items()}
    return reply


@defect(CHAT, "answer.usage")
def usage_does_not_add_up(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["usage"]["total_tokens"] += 11
    return reply


# --- delivery -----------------------------------------------------------------------------------------------------------------


@defect(("nanogpt", "nebul"), "delivery")
def always_a_url(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(response_format="url") if ask.json.get("response_format") == "b64_json" else ask)


@defect(("nanogpt",), "request.accepts-valid")
def response_format_refused(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply) and ask.json.get("response_format") == "url":
        return type(reply)(400, {"error": 400, "message": "response_format is not supported"})
    return reply


@defect(("nanogpt", "nebul"), "delivery", "schema")
def both_ways(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for body, name in lists(reply):
        for item in body[name]:
            if item.get("b64_json"):
                item["url"] = server.publish(ask.headers, base64.b64decode(item["b64_json"]))
    return reply


@defect(("nanogpt", "nebul", "opengpu-relay"), "delivery")
def data_url_for_an_address(server: Any, ask: Ask) -> Any:
    return readdressed(server, ask, lambda url, data: f"data:image/png;base64,{base64.b64encode(data).decode()}")


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


@defect(("nanogpt", "nebul", "opengpu-relay"), "delivery", "image.decodes")
def dead_address(server: Any, ask: Ask) -> Any:
    return readdressed(server, ask, lambda url, data: url.replace("/pictures/", "/pictures/gone"))


@defect(("nanogpt", "nebul", "opengpu-relay"), "delivery")
def relative_address(server: Any, ask: Ask) -> Any:
    return readdressed(server, ask, lambda url, data: "/" + url.split("/", 3)[3])


@defect(("nanogpt", "opengpu-relay"), "delivery", "image.decodes")
def address_wants_the_key(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if ask.path.startswith("/pictures/") and "authorization" not in ask.headers and "x-api-key" not in ask.headers:
        return type(reply)(401, {"error": "no key"})
    return reply


@defect(("nanogpt", "opengpu-relay"), "delivery", "image.decodes")
def address_shows_a_page(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if ask.path.startswith("/pictures/"):
        return type(reply)(200, body=b"<html><img src=...></html>", media_type="text/html")
    return reply


@defect(("nanogpt", "opengpu-relay"), "delivery.url-lifetime")
def address_works_once(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if ask.path.startswith("/pictures/"):
        server.files.pop(ask.path.removeprefix("/pictures/"), None)
    return reply


@defect(("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay"), "image.base64-strict")
def base64_behind_a_data_prefix(server: Any, ask: Ask) -> Any:
    return rewritten(honest(server, ask), lambda text: "data:image/png;base64," + text)


@defect(("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay"), "image.base64-strict")
def base64_in_lines(server: Any, ask: Ask) -> Any:
    return rewritten(honest(server, ask), lambda text: "\n".join(text[at : at + 76] for at in range(0, len(text), 76)))


@defect(("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay"), "image.base64-strict")
def base64_for_urls(server: Any, ask: Ask) -> Any:
    return rewritten(honest(server, ask), lambda text: text.replace("+", "-").replace("/", "_").rstrip("="))


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


# --- HTTP, keys, requests -----------------------------------------------------------------------------------------------------


@defect(ALL, "http.status-documented")
def created_201(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status == 200 and ask.method == "POST":
        reply.status = 201
    return reply


@defect(ALL, "http.no-server-error")
def client_faults_as_500(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status in (400, 422):
        reply.status = 500
    return reply


@defect(ALL, "http.error-not-200", "request.refuses-invalid")
def errors_as_200(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status in (400, 422):
        reply.status = 200
    return reply


@defect(ALL, "http.media-type", "schema.response")
def json_called_html(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.media_type = "text/html"
    return reply


@defect(ALL, "http.body-complete", "schema.response")
def json_cut_short(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply) and ask.method == "POST":
        reply.body = json.dumps(reply.json).encode()[:-20]
    return reply


@defect(ALL, "http.steady", "http.no-server-error")
def every_ninth_request_fails(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    return type(reply)(502, body=b"Bad Gateway", media_type="text/plain") if server.count % 9 == 0 else reply


@defect(ALL, "auth.required")
def no_key_needed(server: Any, ask: Ask) -> Any:
    return honest(server, keyed(ask))


def keyed(ask: Ask) -> Ask:
    return replace(ask, headers={**ask.headers, "authorization": "Bearer independent-key-5521"})


@defect(ALL, "auth.wrong-refused")
def any_key_will_do(server: Any, ask: Ask) -> Any:
    return honest(server, keyed(ask) if "authorization" in ask.headers or "x-api-key" in ask.headers else ask)


@defect(ALL, "auth.not-echoed")
def key_in_the_error(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status >= 400 and isinstance(reply.json, dict):
        reply.headers.append(("x-debug", ask.headers.get("authorization") or ask.headers.get("x-api-key", "")))
    return reply


@defect(ALL, "http.method-refused")
def get_is_served(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    return type(reply)(200, {"status": "ok"}) if reply.status == 405 else reply


@defect(ALL, "http.malformed-refused")
def malformed_json_is_served(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status != 400 or "json" not in ask.headers.get("content-type", ""):
        return reply
    try:
        json.loads(ask.body)
    except ValueError:
        body = ask.body.decode("utf-8", "replace")
        for end in ("}", '"}', ' ""}', "]}"):
            again = honest(server, replace(ask, body=(body + end).encode()))
            if again.status == 200:
                return again
        return honest(server, replace(ask, body=default_body(ask)))
    return reply


def default_body(ask: Ask) -> bytes:
    """A valid body for the operation."""
    if "chat" in ask.path:
        return json.dumps({"model": "meta/llama-3.2-90b-vision-instruct", "messages": [{"role": "user", "content": "hello"}]}).encode()
    return json.dumps({"prompt": "a cat"}).encode()


@defect(ALL, "request.refuses-invalid", "input")
def missing_prompt_is_made_up(server: Any, ask: Ask) -> Any:
    if ask.json and "prompt" not in ask.json and "messages" not in ask.json:
        return honest(server, replace(ask, body=json.dumps({**ask.json, **json.loads(default_body(ask))}).encode()))
    return honest(server, ask)


@defect(("nanogpt", "nvidia-nim-image", "opengpu-relay", "nvidia-nim-vision"), "request.refuses-invalid", "request")
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


@defect(("nanogpt", "nebul", "nvidia-nim-image", "opengpu-relay"), "request.accepts-valid", "request")
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


# --- chat ---------------------------------------------------------------------------------------------------------------------


def streamed(reply: Any) -> bool:
    return bool(reply.status == 200 and reply.media_type.startswith("text/event-stream"))


def frames(chunks: list[Any], *, end: bool = True) -> bytes:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + (["data: [DONE]\n\n"] if end else [])
    return "".join(lines).encode()


@defect(CHAT, "stream.media-type")
def json_for_a_stream(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(stream=None) if ask.json.get("stream") is True else ask)


@defect(CHAT, "stream.terminated")
def stream_without_done(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if streamed(reply):
        reply.body = frames(reply.json, end=False)
    return reply


@defect(CHAT, "stream.one-id")
def an_id_for_each_piece(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if streamed(reply):
        reply.body = frames([{**chunk, "id": f"chat-{index}"} for index, chunk in enumerate(reply.json)])
    return reply


@defect(CHAT, "stream.text")
def stream_of_nothing(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if streamed(reply):
        for chunk in reply.json:
            chunk["choices"][0]["delta"] = {"content": ""}
        reply.body = frames(reply.json)
    return reply


@defect(CHAT, "stream.finish-reason")
def stream_never_says_why_it_ended(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if streamed(reply):
        for chunk in reply.json:
            chunk["choices"][0]["finish_reason"] = None
        reply.body = frames(reply.json)
    return reply


@defect(CHAT, "stream.frames")
def pieces_are_not_json(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if streamed(reply):
        reply.body = "".join(f"data: {chunk}\n\n" for chunk in [*reply.json, "[DONE]"]).encode()
    return reply


@defect(CHAT, "vision.choices")
def empty_choices(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["choices"] = []
    return reply


@defect(CHAT, "vision.content")
def empty_answer(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["choices"][0]["message"]["content"] = ""
    return reply


@defect(CHAT, "vision.role")
def role_is_user(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["choices"][0]["message"]["role"] = "user"
    return reply


@defect(CHAT, "vision.max-tokens")
def max_tokens_ignored(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(max_tokens=None) if type(ask.json.get("max_tokens")) is int else ask)


@defect(CHAT, "vision.length-finish")
def cut_off_text_says_stop(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply):
        reply.json["choices"][0]["finish_reason"] = "stop"
    return reply


@defect(CHAT, "vision.undecodable-refused")
def broken_picture_is_described(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status == 400 and "image" in str(reply.json):
        return honest(server, replace(ask, body=default_body(ask)))
    return reply


# --- tasks --------------------------------------------------------------------------------------------------------------------

TASKS = ("opengpu-relay",)


@defect(TASKS, "async.accepted", operations=("generateStableDiffusion", "getTask"))
def async_ignored(server: Any, ask: Ask) -> Any:
    return honest(server, ask.asking(**{"async": None}) if isinstance(ask.json.get("async"), bool) else ask)


@defect(TASKS, "async.accepted", operations=("generateStableDiffusion", "getTask"))
def accepted_with_200(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status == 202:
        reply.status = 200
    return reply


@defect(TASKS, "async.reference", operations=("generateStableDiffusion", "getTask"))
def accepted_without_a_name(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if reply.status == 202:
        reply.json = {"status": "queued"}
    return reply


@defect(TASKS, "async.forward", operations=("generateStableDiffusion", "getTask"))
def task_goes_back(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if "/tasks/" in ask.path and served(reply):
        looked = server.__dict__.setdefault("looked", {})
        looked[ask.path] = looked.get(ask.path, 0) + 1
        if looked[ask.path] <= 2:
            reply.json = {"task_id": reply.json["task_id"], "status": ("running", "queued")[looked[ask.path] - 1]}
    return reply


@defect(TASKS, "async.terminal", "async.result", operations=("generateStableDiffusion", "getTask"))
def every_task_fails(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply) and reply.json.get("status") == "completed":
        reply.json = {"task_id": reply.json["task_id"], "status": "failed", "error": "out of memory"}
    return reply


@defect(TASKS, "async.result", operations=("generateStableDiffusion", "getTask"))
def result_left_out(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if served(reply) and "result" in reply.json:
        del reply.json["result"]
    return reply


@defect(TASKS, "async.unknown-task", operations=("generateStableDiffusion", "getTask"))
def unknown_task_is_queued(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    if "/tasks/" in ask.path and reply.status == 404:
        return type(reply)(200, {"task_id": ask.path.rpartition("/")[2], "status": "queued"})
    return reply
