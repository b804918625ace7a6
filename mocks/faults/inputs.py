"""Lies about the pictures that requests carry, masks among them."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec.structs import replace
from PIL import Image, ImageOps

from testcard.mocks.exchange import Answer, Call, Parameters, Problem, Refused, Upload, in_base64
from testcard.mocks.faults.register import IMAGE_REQUIRED, MASK_SPELT_OUT, MASKED, NANOGPT, NIM_IMAGE, WITH_IMAGE, fault
from testcard.mocks.pictures import inputs

_PICTURES = ("imageDataUrl", "imageDataUrls", "image", "input_image", "input_image_2", "input_image_3", "input_image_4")
_PREFIX = "data:image/png;base64,"
_A_MEGABYTE = 1_000_000


@lru_cache(maxsize=1)
def _sound() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _like(value: Any) -> Any:
    """A sound picture in the spelling of this value."""
    if isinstance(value, Upload):
        return Upload(_sound(), "image/png", value.name)
    text = base64.b64encode(_sound()).decode()
    return _PREFIX + text if value.startswith(("data:", "http")) else text


def _mended(call: Call, unsound: Callable[[Any], bool]) -> None:
    """Puts a sound picture in place of each that is not, so that the rest of the mock has one to work on."""
    for name in _PICTURES:
        value = call.fields.get(name) if isinstance(call.fields, dict) else None
        if isinstance(value, list | tuple):
            call.fields[name] = [_like(one) if unsound(one) else one for one in value]
        elif value is not None and unsound(value):
            call.fields[name] = _like(value)


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))


def _is_no_picture(value: Any) -> bool:
    if not isinstance(value, str | Upload) or _is_address(value):
        return False
    try:
        inputs.decode(value.data if isinstance(value, Upload) else inputs.from_either(value, ""), "")
    except Refused:
        return True
    return False


@fault("problems", "input.data-url-only", NANOGPT)
def _fetches_addresses(call: Call, problems: list[Problem]) -> list[Problem]:
    """Takes the address of a picture where a data URL belongs."""
    _mended(call, _is_address)
    return problems


@fault("problems", "input.undecodable-refused", WITH_IMAGE)
def _takes_anything(call: Call, problems: list[Problem]) -> list[Problem]:
    """Takes bytes that are no picture, and draws all the same."""
    _mended(call, _is_no_picture)
    return problems


@fault("problems", "input.size-accepted", NANOGPT)
def _one_megabyte(call: Call, problems: list[Problem]) -> list[Problem]:
    """Refuses bodies of more than 1 MB."""
    return [*problems, Problem("", "maxLength", "the body is too large")] if call.body_size > _A_MEGABYTE else problems


@fault("answer", "input.size-above", NANOGPT)
def _no_limit(call: Call, answer: Answer) -> Answer:
    """Answers a body that is too large with a picture."""
    if answer.status != 413:
        return answer
    return Answer(200, {"created": int(time.time()), "data": [{"b64_json": in_base64(_sound())}]}, images=1, billed=True)


@fault("problems", "input.image-required", IMAGE_REQUIRED, also=("request.refuses-invalid",))
def _picture_of_its_own(call: Call, problems: list[Problem]) -> list[Problem]:
    """Takes a picture of its own where a request that needs one has none."""
    if not isinstance(call.fields, dict) or "image" in call.fields:
        return problems
    if call.provider == "nebul":
        one = Upload(_sound(), "image/png", "own.png")
        call.fields["image"] = [one] if call.operation == "createImageEdit" else one
    elif call.operation != "generateImage" or call.fields.get("mode") in ("image-to-image", "inpaint"):
        call.fields["image"] = base64.b64encode(_sound()).decode()
    return [problem for problem in problems if problem.place != "image"]


@fault("problems", "input.mask-required", NIM_IMAGE)
def _mask_of_its_own(call: Call, problems: list[Problem]) -> list[Problem]:
    """Takes a mask of its own where an inpainting has a picture and no mask."""
    if isinstance(call.fields, dict) and call.fields.get("mode") == "inpaint" and "mask" not in call.fields:
        call.fields["mask"] = base64.b64encode(_sound()).decode()
    return problems


@fault("parameters", "image.mask-respected", MASKED)
def _mask_ignored(call: Call, parameters: Parameters) -> Parameters:
    """Edits the whole picture, mask or no mask."""
    return replace(parameters, edit=None)


@fault("parameters", "image.mask-respected/nothing-edited", MASKED)
def _nothing_edited(call: Call, parameters: Parameters) -> Parameters:
    """Sends the picture back as it came when there is a mask."""
    return parameters if parameters.edit is None else replace(parameters, edit=Image.new("L", parameters.edit.size, 0))


@fault("parameters", "image.mask-polarity", MASK_SPELT_OUT)
def _mask_inverted(call: Call, parameters: Parameters) -> Parameters:
    """Edits what the mask does not mark and keeps what it does."""
    return parameters if parameters.edit is None else replace(parameters, edit=ImageOps.invert(parameters.edit))


@fault("parameters", "image.unmasked-survives", MASKED)
def _rest_brightened(call: Call, parameters: Parameters) -> Parameters:
    """Edits where the mask says so, and brightens the rest."""
    if parameters.edit is None or not parameters.images:
        return parameters
    first, *others = parameters.images
    return replace(parameters, images=(first.point(lambda value: min(255, value + 16)), *others))
