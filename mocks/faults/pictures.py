"""Lies about pictures: how many, how large, in which format, and whether they are pictures at all."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from msgspec.structs import replace
from PIL import Image

from testcard.mocks.exchange import Call, Parameters, PictureFormat, RenderedPicture, in_base64
from testcard.mocks.faults.register import (
    BY_BASE64,
    COUNTED,
    FORMATTED,
    GEMINI,
    MEASURED,
    NEBUL,
    NIM_IMAGE,
    PICTURES,
    PROMPTED,
    fault,
    own_measured,
    own_pictures,
    own_prompted,
)
from testcard.mocks.field_meaning import salt
from testcard.mocks.pictures.inputs import opened

_INVERTED = bytes(255 - value for value in range(256))


@fault("parameters", "image.count", COUNTED)
def _one_picture(call: Call, parameters: Parameters) -> Parameters:
    """Ignores n and sends one picture."""
    return replace(parameters, n=1)


@fault("parameters", "image.count/extra", PICTURES)
def _one_too_many(call: Call, parameters: Parameters) -> Parameters:
    """Sends one picture more than asked for."""
    return replace(parameters, n=parameters.n + 1)


@fault("rendered", "image.count/none", PICTURES, also=("http.error-not-200",))
def _no_picture(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends an empty list of pictures."""
    return []


@fault("body", "image.decodes/another-name", (*NIM_IMAGE, *NEBUL), also=("delivery.exclusive",))
def _under_another_name(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Sends each picture under a name that no document gives, so that no client finds it."""
    known = ("base64", "b64_json", "url")
    listed = {name: value for name, value in body.items() if name in ("data", "artifacts")}
    renamed = {
        name: [{("image" if key in known else key): value for key, value in item.items()} for item in items]
        for name, items in listed.items()
    }
    return {**body, **renamed}


@fault("rendered", "image.decodes", PICTURES, own=own_pictures)
def _truncated(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Cuts every picture off in the middle."""
    return [replace(one, data=one.data[: len(one.data) // 2]) for one in rendered]


@fault("rendered", "image.decodes/not-an-image", BY_BASE64, also=("delivery.url-is-image",))
def _not_an_image(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends text where a picture belongs."""
    return [replace(one, data=b"<html><body>upstream error</body></html>") for one in rendered]


@fault("rendered", "image.decodes/damaged", PICTURES, own=own_pictures)
def _damaged(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Keeps how every picture begins and ends and how long it is, and inverts the bytes between."""
    changed = []
    for one in rendered:
        # JPEG decoders paint over whatever stands where pixels should: there the tables have to go too.
        start = 4 if one.format == "jpeg" else len(one.data) // 3
        middle = one.data[start:-12].translate(_INVERTED)
        changed.append(replace(one, data=one.data[:start] + middle + one.data[-12:]))
    return changed


@fault("parameters", "image.size", MEASURED)
def _half_the_size(call: Call, parameters: Parameters) -> Parameters:
    """Sends pictures of half the width and height."""
    return replace(parameters, width_px=max(1, parameters.width_px // 2), height_px=max(1, parameters.height_px // 2))


@fault("parameters", "image.size/off-by-eight", MEASURED, own=own_measured)
def _rounded_size(call: Call, parameters: Parameters) -> Parameters:
    """Sends pictures eight pixels narrower than asked for."""
    return replace(parameters, width_px=max(1, parameters.width_px - 8))


@fault("parameters", "image.size/ignored", MEASURED)
def _size_ignored(call: Call, parameters: Parameters) -> Parameters:
    """Sends pictures of 640 by 640 pixels whatever was asked for."""
    return replace(parameters, width_px=640, height_px=640)


def _as_format(rendered: list[RenderedPicture], form: Literal["PNG", "JPEG", "WEBP"]) -> list[RenderedPicture]:
    changed = []
    for one in rendered:
        buffer = io.BytesIO()
        picture = opened(one.data)
        picture.convert("RGB").save(buffer, form)
        kind: PictureFormat = "png" if form == "PNG" else "jpeg" if form == "JPEG" else "webp"
        changed.append(replace(one, data=buffer.getvalue(), format=kind))
    return changed


@fault("rendered", "image.format", FORMATTED, also=("image.transparent",))
def _another_format(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends JPEG bytes where PNG was asked for (PNG where JPEG was), and WebP where PNG or JPEG is all that is promised."""
    if call.provider == "nvidia-nim-image":
        return _as_format(rendered, "WEBP")
    return _as_format(rendered, "PNG" if rendered and rendered[0].format == "jpeg" else "JPEG")


@fault("parameters", "image.ratio", GEMINI)
def _square(call: Call, parameters: Parameters) -> Parameters:
    """Sends square pictures of the same area whatever shape was asked for."""
    edge = math.isqrt(parameters.width_px * parameters.height_px)
    return replace(parameters, width_px=edge, height_px=edge)


@fault("parameters", "image.ratio/swapped", GEMINI)
def _width_for_height(call: Call, parameters: Parameters) -> Parameters:
    """Takes the width for the height."""
    return replace(parameters, width_px=parameters.height_px, height_px=parameters.width_px)


@fault("parameters", "image.tier", GEMINI)
def _lowest_tier(call: Call, parameters: Parameters) -> Parameters:
    """Sends pictures of the lowest tier whatever tier was asked for."""
    shrink = max(1.0, math.sqrt(parameters.width_px * parameters.height_px) / 1024)
    return replace(parameters, width_px=round(parameters.width_px / shrink), height_px=round(parameters.height_px / shrink))


@fault("rendered", "image.not-blank", PICTURES, own=own_pictures)
def _blank(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends pictures of the right size and format that are one grey all over."""
    changed = []
    for one in rendered:
        buffer = io.BytesIO()
        Image.new("RGB", opened(one.data).size, (128, 128, 128)).save(buffer, one.format.upper())
        changed.append(replace(one, data=buffer.getvalue()))
    return changed


@fault("rendered", "image.distinct", COUNTED)
def _copies(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends the first of several pictures again in place of the others."""
    return [rendered[0] for _ in rendered]


@fault("parameters", "image.follows-prompt", PROMPTED, own=own_prompted)
def _prompt_ignored(call: Call, parameters: Parameters) -> Parameters:
    """Draws the same picture whatever the prompt says, and without a seed always the same one."""
    prompts = ["prompt"]
    if call.described is not None:
        fields = call.described.operation_profile(call.operation).fields
        prompts += [name.strip("/").partition("/")[0] for name, field in fields.items() if field.means == "prompt"]
    return replace(parameters, caption="", salt=salt(call, prompts, always=True), seed=0 if parameters.seed is None else parameters.seed)


@fault("parameters", "image.transparent", NEBUL)
def _opaque(call: Call, parameters: Parameters) -> Parameters:
    """Ignores that the background should be transparent."""
    return replace(parameters, transparent=False)


def _spelt(rendered: list[RenderedPicture], spelling: Callable[[str, RenderedPicture], str]) -> list[RenderedPicture]:
    """The pictures with their base64 in another spelling."""
    changed = []
    for one in rendered:
        text = None if one.base64 is None else spelling(msgspec.json.decode(in_base64(one.data)), one)
        changed.append(one if text is None else replace(one, base64=msgspec.Raw(msgspec.json.encode(text))))
    return changed


@fault("delivered", "image.base64-strict", BY_BASE64)
def _data_prefix(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Puts data:image/…;base64, before the base64."""
    return _spelt(rendered, lambda text, one: f"data:image/{one.format};base64,{text}")


@fault("delivered", "image.base64-strict/line-breaks", BY_BASE64)
def _line_breaks(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Breaks the base64 into lines of 76 letters, as in mail."""
    return _spelt(rendered, lambda text, one: "\n".join(text[at : at + 76] for at in range(0, len(text), 76)))


@fault("delivered", "image.base64-strict/url-alphabet", BY_BASE64)
def _url_alphabet(call: Call, rendered: list[RenderedPicture]) -> list[RenderedPicture]:
    """Sends base64 with the letters of the URL alphabet and without padding."""
    return _spelt(rendered, lambda text, one: text.replace("+", "-").replace("/", "_").rstrip("="))
