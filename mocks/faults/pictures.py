"""Lies about pictures: how many, how large, in which format, whether they are pictures at all; about masks and seeds."""

from __future__ import annotations

import io
import math
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import msgspec
from PIL import Image, ImageOps

from testcard.mocks.exchange import Call, Drawn, Order, PictureFormat, in_base64
from testcard.mocks.faults.fault import (
    BY_BASE64,
    COUNTED,
    FORMATTED,
    GEMINI,
    MASK_SPELT_OUT,
    MASKED,
    MEASURED,
    NEBUL,
    NIM_IMAGE,
    PICTURES,
    PROMPTED,
    SEEDED,
    lie,
)
from testcard.mocks.providers.manners import salt

_INVERTED = bytes(255 - value for value in range(256))


@lie("order", "image.count", COUNTED)
def _one_picture(call: Call, order: Order) -> Order:
    """Ignores n and sends one picture."""
    return replace(order, n=1)


@lie("order", "image.count/extra", PICTURES)
def _one_too_many(call: Call, order: Order) -> Order:
    """Sends one picture more than asked for."""
    return replace(order, n=order.n + 1)


@lie("drawn", "image.count/none", PICTURES, also=("http.error-not-200",))
def _no_picture(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Sends an empty list of pictures."""
    return []


@lie("drawn", "image.decodes", PICTURES)
def _truncated(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Cuts every picture off in the middle."""
    return [replace(one, data=one.data[: len(one.data) // 2]) for one in drawn]


@lie("drawn", "image.decodes/not-an-image", BY_BASE64, also=("delivery.url-is-image",))
def _not_an_image(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Sends text where a picture belongs."""
    return [replace(one, data=b"<html><body>upstream error</body></html>") for one in drawn]


@lie("drawn", "image.decodes/damaged", PICTURES)
def _damaged(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Keeps how every picture begins and ends and how long it is, and inverts the bytes between."""
    changed = []
    for one in drawn:
        # JPEG decoders paint over whatever stands where pixels should: there the tables have to go too.
        start = 4 if one.format == "jpeg" else len(one.data) // 3
        middle = one.data[start:-12].translate(_INVERTED)
        changed.append(replace(one, data=one.data[:start] + middle + one.data[-12:]))
    return changed


@lie("order", "image.size", MEASURED)
def _half_the_size(call: Call, order: Order) -> Order:
    """Sends pictures of half the width and height."""
    return replace(order, width_px=max(1, order.width_px // 2), height_px=max(1, order.height_px // 2))


@lie("order", "image.size/off-by-eight", MEASURED)
def _rounded_size(call: Call, order: Order) -> Order:
    """Sends pictures eight pixels narrower than asked for."""
    return replace(order, width_px=max(1, order.width_px - 8))


@lie("order", "image.size/ignored", MEASURED)
def _size_ignored(call: Call, order: Order) -> Order:
    """Sends pictures of 640 by 640 pixels whatever was asked for."""
    return replace(order, width_px=640, height_px=640)


def _as_format(drawn: list[Drawn], form: Literal["PNG", "JPEG", "WEBP"]) -> list[Drawn]:
    changed = []
    for one in drawn:
        buffer = io.BytesIO()
        picture = Image.open(io.BytesIO(one.data))
        picture.convert("RGB").save(buffer, form)
        kind: PictureFormat = "png" if form == "PNG" else "jpeg" if form == "JPEG" else "webp"
        changed.append(replace(one, data=buffer.getvalue(), format=kind))
    return changed


@lie("drawn", "image.format", FORMATTED, also=("image.transparent",))
def _another_format(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Sends JPEG bytes where PNG was asked for (PNG where JPEG was), and WebP where PNG or JPEG is all that is promised."""
    if call.provider == "nvidia-nim-image":
        return _as_format(drawn, "WEBP")
    return _as_format(drawn, "PNG" if drawn and drawn[0].format == "jpeg" else "JPEG")


@lie("order", "image.ratio", GEMINI)
def _square(call: Call, order: Order) -> Order:
    """Sends square pictures of the same area whatever shape was asked for."""
    edge = math.isqrt(order.width_px * order.height_px)
    return replace(order, width_px=edge, height_px=edge)


@lie("order", "image.ratio/swapped", GEMINI)
def _width_for_height(call: Call, order: Order) -> Order:
    """Takes the width for the height."""
    return replace(order, width_px=order.height_px, height_px=order.width_px)


@lie("order", "image.tier", GEMINI)
def _lowest_tier(call: Call, order: Order) -> Order:
    """Sends pictures of the lowest tier whatever tier was asked for."""
    shrink = max(1.0, math.sqrt(order.width_px * order.height_px) / 1024)
    return replace(order, width_px=round(order.width_px / shrink), height_px=round(order.height_px / shrink))


@lie("drawn", "image.not-blank", PICTURES)
def _blank(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Sends pictures of the right size and format that are one grey all over."""
    changed = []
    for one in drawn:
        buffer = io.BytesIO()
        Image.new("RGB", Image.open(io.BytesIO(one.data)).size, (128, 128, 128)).save(buffer, one.format.upper())
        changed.append(replace(one, data=buffer.getvalue()))
    return changed


@lie("drawn", "image.distinct", COUNTED)
def _copies(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Sends the first of several pictures again in place of the others."""
    return [drawn[0] for _ in drawn]


@lie("order", "image.follows-prompt", PROMPTED)
def _prompt_ignored(call: Call, order: Order) -> Order:
    """Draws the same picture whatever the prompt says, and without a seed always the same one."""
    return replace(order, caption="", salt=salt(call, ("prompt",), always=True), seed=0 if order.seed is None else order.seed)


@lie("order", "image.transparent", NEBUL)
def _opaque(call: Call, order: Order) -> Order:
    """Ignores that the background should be transparent."""
    return replace(order, transparent=False)


def _spelt(drawn: list[Drawn], spelling: Callable[[str, Drawn], str]) -> list[Drawn]:
    """The pictures with their base64 in another spelling."""
    changed = []
    for one in drawn:
        text = None if one.base64 is None else spelling(msgspec.json.decode(in_base64(one.data)), one)
        changed.append(one if text is None else replace(one, base64=msgspec.Raw(msgspec.json.encode(text))))
    return changed


@lie("delivered", "image.base64-strict", BY_BASE64)
def _data_prefix(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Puts data:image/…;base64, before the base64."""
    return _spelt(drawn, lambda text, one: f"data:image/{one.format};base64,{text}")


@lie("delivered", "image.base64-strict/line-breaks", BY_BASE64)
def _line_breaks(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Breaks the base64 into lines of 76 letters, as in mail."""
    return _spelt(drawn, lambda text, one: "\n".join(text[at : at + 76] for at in range(0, len(text), 76)))


@lie("delivered", "image.base64-strict/url-alphabet", BY_BASE64)
def _url_alphabet(call: Call, drawn: list[Drawn]) -> list[Drawn]:
    """Sends base64 with the letters of the URL alphabet and without padding."""
    return _spelt(drawn, lambda text, one: text.replace("+", "-").replace("/", "_").rstrip("="))


@lie("order", "image.mask-respected", MASKED)
def _mask_ignored(call: Call, order: Order) -> Order:
    """Edits the whole picture, mask or no mask."""
    return replace(order, edit=None)


@lie("order", "image.mask-respected/nothing-edited", MASKED)
def _nothing_edited(call: Call, order: Order) -> Order:
    """Sends the picture back as it came when there is a mask."""
    return order if order.edit is None else replace(order, edit=Image.new("L", order.edit.size, 0))


@lie("order", "image.mask-polarity", MASK_SPELT_OUT)
def _mask_inverted(call: Call, order: Order) -> Order:
    """Edits what the mask does not mark and keeps what it does."""
    return order if order.edit is None else replace(order, edit=ImageOps.invert(order.edit))


@lie("order", "image.unmasked-survives", MASKED)
def _rest_brightened(call: Call, order: Order) -> Order:
    """Edits where the mask says so, and brightens the rest."""
    if order.edit is None or not order.images:
        return order
    first, *others = order.images
    return replace(order, images=(first.point(lambda value: min(255, value + 16)), *others))


@lie("order", "seed.repeatable", SEEDED)
def _seed_ignored(call: Call, order: Order) -> Order:
    """Draws another picture each time, whatever the seed, and still says the seed it was given."""
    return replace(order, salt=order.salt + secrets.token_bytes(8))


@lie("order", "seed.varies", SEEDED, also=("seed.echoed",))
def _one_seed_for_all(call: Call, order: Order) -> Order:
    """Draws from the seed 1 whatever the seed, and says so where the answer says a seed."""
    return order if order.seed is None else replace(order, seed=1)


@lie("body", "seed.echoed", NIM_IMAGE)
def _another_seed_said(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Draws from the seed it was given and says that it was the next one."""
    return {**body, "artifacts": [{**item, "seed": item["seed"] + 1} for item in body["artifacts"]]}
