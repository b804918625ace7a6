"""Defects of pictures: how many, how large, what is in them."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image, ImageOps

from .defect import IMAGES, Ask, defect, honest
from .replies import is_text, lists, repainted, reshaped, retyped, served


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


@defect(IMAGES, "image.count")
def moderation_as_empty_list(server: Any, ask: Ask) -> Any:
    reply = honest(server, ask)
    for body, name in lists(reply):
        body[name] = []
    return reply


@defect(IMAGES, "image.count", "answer.required-fields", "schema")
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


@defect(IMAGES, "image.decodes", "delivery.url-is-image")
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
