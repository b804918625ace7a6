"""OpenGPU Network Relay: seven endpoints with a form of answer each, and tasks to come back for."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from typing import Any, cast

from PIL import Image

from testcard.mocks.exchange import Call, Parameters, PictureFormat, Refused, RenderedPicture
from testcard.mocks.field_meaning import checked_size, read_n, read_size, salt
from testcard.mocks.pictures import bands, inputs, renderer
from testcard.mocks.pictures.bands import layout
from testcard.mocks.providers.provider_format import ErrorStyle, ProviderFormat
from testcard.mocks.store import State, Task
from testcard.specs.loader import Provider

_TIERS = {"1K": 1, "2K": 2, "4K": 4}
_ASIDE = ("n", "async", "seed", "output_format")
_SQUARE = (1024, 1024)
#: operations whose pictures come as addresses, and the field that lists them
_LISTS = {"generateGptImage": "images", "editGptImage": "images", "generateQwen": "urls", "editQwen": "urls"}


def _error(refused: Refused) -> dict[str, Any]:
    """The error of the provider's published client."""
    kind = "authentication_error" if refused.status in (401, 403) else "invalid_request_error"
    error = {"code": refused.code, "type": kind, "source": "relay", "message": refused.message}
    return {"detail": refused.message, "error": {**error, "request_id": f"req_{secrets.token_hex(8)}"}}


class Relay(ProviderFormat):
    """Errors with detail, code and request id; invalid bodies are 422, as its framework has it."""

    errors = ErrorStyle(_error, invalid=422, challenge="X-API-Key")

    def __init__(self, provider: Provider, clock: Callable[[], float], *, strict: bool = False) -> None:
        super().__init__(provider, clock, strict=strict)
        self._readers: dict[str, Callable[[Call], Parameters]] = {
            "generateStableDiffusion": self._stable_diffusion,
            "generateFlux": self._flux,
            "generateGemini": self._gemini,
            "generateGptImage": self._gpt,
            "editGptImage": self._gpt,
            "generateQwen": self._qwen,
            "editQwen": self._qwen,
        }

    def wants_task(self, call: Call) -> bool:
        """Whether the body says `"async": true`."""
        return call.fields.get("async") is True

    def accepted(self, call: Call, reference: str) -> dict[str, Any]:
        """Both names for the task, and the path to ask at."""
        return {
            "task_id": reference,
            "task_address": reference,
            "status": "queued",
            "poll_url": f"{call.root}/v2/tasks/{reference}",
            "message": "the task was accepted",
        }

    def progress(self, task: Task, state: State, age_s: float, operation: str | None = None, call: Call | None = None) -> dict[str, Any]:
        """The state with the seconds so far; the result is the sync answer's body."""
        body = {"task_id": task.reference, "task_address": task.reference, "status": state, "elapsed_seconds": round(age_s, 3)}
        if state == "completed":
            body["result"] = task.result
        elif task.failure is not None:
            body["error"] = _error(task.failure)["error"]
        return body

    def parameters(self, call: Call) -> Parameters:
        """The pictures asked for, read as the endpoint documents its fields."""
        return self._readers[call.operation](call)

    def body(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> dict[str, Any]:
        """A list of base64 or of addresses, as the endpoint documents."""
        if call.operation in _LISTS:
            return {_LISTS[call.operation]: [one.url for one in rendered]}
        return {"images": [one.base64 for one in rendered]}

    def _stable_diffusion(self, call: Call) -> Parameters:
        fields = call.fields
        self.check_model(call, fields.get("model"))
        if fields.get("steps", 20) < 1:
            raise Refused(422, "steps has to be at least 1", param="steps")
        width, height = checked_size(int(fields.get("width", 512)), int(fields.get("height", 512)), "width")
        return Parameters(width, height, fields.get("prompt", ""), salt(call, _ASIDE))

    def _flux(self, call: Call) -> Parameters:
        fields = call.fields
        names = [name for name in ("input_image", "input_image_2", "input_image_3", "input_image_4") if name in fields]
        images = tuple(inputs.opaque(inputs.decode(inputs.from_either(fields[name], name), name)) for name in names)
        width, height = checked_size(int(fields.get("width", 1024)), int(fields.get("height", 1024)), "width")
        form = cast("PictureFormat", fields.get("output_format", "png"))
        return Parameters(width, height, fields.get("prompt", ""), salt(call, _ASIDE), seed=fields.get("seed"), format=form, images=images)

    def _gemini(self, call: Call) -> Parameters:
        fields = call.fields
        across, down = map(int, fields.get("aspect_ratio", "1:1").split(":"))
        area = (1024 * _TIERS[fields.get("image_size", "1K")]) ** 2
        width, height = (round(math.sqrt(area * ratio) / 16) * 16 for ratio in (across / down, down / across))
        return Parameters(width, height, fields.get("prompt", ""), salt(call, _ASIDE))

    def _gpt(self, call: Call) -> Parameters:
        fields = call.fields
        width, height = read_size(fields.get("size"), _SQUARE)
        images: tuple[Image.Image, ...] = ()
        edit = None
        if "image" in fields:
            images = (inputs.opaque(inputs.decode(inputs.from_either(fields["image"], "image"), "image")),)
            if "mask" in fields:
                edit = inputs.white_edits(inputs.decode(inputs.from_either(fields["mask"], "mask"), "mask"))
        return Parameters(
            width, height, fields.get("prompt", ""), salt(call, _ASIDE), n=read_n(fields, 4), delivery="url", images=images, edit=edit
        )

    def _qwen(self, call: Call) -> Parameters:
        fields = call.fields
        width, height = read_size(fields.get("size"), _SQUARE)
        images: tuple[Image.Image, ...] = ()
        if "image" in fields:
            images = (self._at(fields["image"]),)
        return Parameters(
            width, height, fields.get("prompt", ""), salt(call, _ASIDE), seed=fields.get("seed"), delivery="url", images=images
        )

    def _at(self, text: str) -> Image.Image:
        """The picture at an address, in a data URL or in base64. Addresses are not fetched: a card drawn from the address stands in."""
        if text.startswith(("https://", "http://")):
            plan = layout(512, 512)
            return renderer.compose(plan, bands.short(text), len(text) % bands.VARIANTS, text.encode())
        return inputs.opaque(inputs.decode(inputs.from_either(text, "image"), "image"))
