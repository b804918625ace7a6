"""NVIDIA NIM image generation: the model in the path, base64 artifacts, the seed echoed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from testcard.mocks.exchange import Call, Drawn, Order, Refused
from testcard.mocks.pictures import inputs
from testcard.mocks.providers.manners import Manners, checked_size, salt


class NimImage(Manners):
    """One artifact. Modes that start from a picture refuse to start without it."""

    def order(self, call: Call) -> Order:
        """The picture asked for; image and mask as the mode needs them, raw base64 or data URL."""
        fields = call.fields
        self.check_model(call, f"{call.path['publisher']}/{call.path['model']}")
        mode = fields.get("mode", "text-to-image")
        if fields.get("steps", 50) < 1:
            raise Refused(400, "steps has to be at least 1", param="steps")
        for name, modes in (("image", ("image-to-image", "inpaint")), ("mask", ("inpaint",))):
            if mode in modes and name not in fields:
                raise Refused(400, f"{name} is required for the mode {mode}", param=name)
        pictures = {name: inputs.decode(inputs.from_either(fields[name], name), name) for name in ("image", "mask") if name in fields}
        width, height = checked_size(int(fields.get("width", 1024)), int(fields.get("height", 1024)), "width")
        return Order(
            width,
            height,
            fields.get("prompt", ""),
            salt(call, ("seed",), always=True),
            seed=fields.get("seed"),
            images=(inputs.opaque(pictures["image"]),) if mode != "text-to-image" else (),
            edit=inputs.white_edits(pictures["mask"]) if mode == "inpaint" else None,
        )

    def body(self, call: Call, order: Order, drawn: Sequence[Drawn]) -> dict[str, Any]:
        """The artifacts, each with the seed it was drawn from."""
        return {"artifacts": [{"base64": one.base64, "finishReason": "SUCCESS", "seed": one.seed} for one in drawn]}
