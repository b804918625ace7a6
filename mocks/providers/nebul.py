"""Nebul: the images API of OpenAI, JSON for generations and forms for edits and variations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from testcard.mocks.exchange import Call, Parameters, PictureFormat, Refused, RenderedPicture
from testcard.mocks.field_meaning import one_of, read_n, read_size, salt
from testcard.mocks.pictures import inputs
from testcard.mocks.providers.provider_format import ProviderFormat


class Nebul(ProviderFormat):
    """Both keys stand in each item, one of them null; what was asked for is echoed."""

    def parameters(self, call: Call) -> Parameters:
        """The pictures asked for; words outside those that OpenAI knows are refused."""
        fields = call.fields
        self.check_model(call, fields.get("model"))
        one_of(fields, "quality", ("auto", "low", "medium", "high", "standard", "hd"))
        background = one_of(fields, "background", ("auto", "opaque", "transparent"))
        form = one_of(fields, "output_format", ("png", "jpeg", "webp"))
        if background == "transparent" and form == "jpeg":
            raise Refused(400, "a transparent background needs the output_format png or webp", param="background")
        delivery = one_of(fields, "response_format", ("b64_json", "url"))
        files = fields.get("image", ())
        uploads = files if isinstance(files, list | tuple) else [files]
        images = tuple(inputs.opaque(inputs.decode(upload.data, "image")) for upload in uploads)
        edit = inputs.transparent_edits(inputs.decode(fields["mask"].data, "mask")) if "mask" in fields else None
        width, height = read_size(fields.get("size"), (1024, 1024))
        return Parameters(
            width,
            height,
            fields.get("prompt", "variation"),
            salt(call, ("n", "response_format", "user", "output_format")),
            n=read_n(fields),
            format=cast("PictureFormat", form),
            delivery="url" if delivery == "url" else "base64",
            transparent=background == "transparent",
            images=images,
            edit=edit,
            strength=0.4 if call.operation == "createImageVariation" else 0.7,
        )

    def body(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> dict[str, Any]:
        """The pictures, the echoes, and a usage of which the prompt is all."""
        fields = call.fields
        tokens = len(fields.get("prompt", "").split())
        return {
            "created": int(self.clock()),
            "data": [{"b64_json": one.base64, "url": one.url} for one in rendered],
            "background": fields.get("background", "auto"),
            "output_format": parameters.format,
            "size": fields.get("size", "auto"),
            "quality": fields.get("quality", "auto"),
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
