"""NanoGPT: pictures from text and data URLs, with cost and balance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from testcard.mocks.exchange import Call, Parameters, RenderedPicture
from testcard.mocks.field_meaning import read_n, read_size, salt
from testcard.mocks.pictures import inputs
from testcard.mocks.providers.provider_format import ErrorStyle, ProviderFormat
from testcard.specs.loader import Provider

_OPENING_BALANCE_USD = 10_000.0


class NanoGpt(ProviderFormat):
    """The documented `{error, message}` errors; each item holds exactly one key; the balance falls by the cost."""

    errors = ErrorStyle(lambda refused: {"error": refused.status, "message": refused.message}, unknown_model=400)

    def __init__(self, provider: Provider, clock: Callable[[], float], *, strict: bool = False) -> None:
        super().__init__(provider, clock, strict=strict)
        self.balance_usd: float | None = _OPENING_BALANCE_USD

    def charge(self, cost_usd: float) -> None:
        """Nothing: the answer's body takes it, and says what is left."""

    def parameters(self, call: Call) -> Parameters:
        """The pictures asked for; input pictures have to be data URLs."""
        fields = call.fields
        self.check_model(call, fields.get("model"))
        urls = [("imageDataUrl", fields["imageDataUrl"])] if "imageDataUrl" in fields else []
        urls += [("imageDataUrls", url) for url in fields.get("imageDataUrls", ())]
        images = tuple(inputs.opaque(inputs.decode(inputs.from_data_url(url, name), name)) for name, url in urls) if urls else ()
        edit = None
        if "maskDataUrl" in fields:
            # Without a picture there is nothing to keep: the mask is read and changes nothing.
            mask = inputs.from_data_url(fields["maskDataUrl"], "maskDataUrl")
            edit = inputs.white_edits(inputs.decode(mask, "maskDataUrl"))
        width, height = read_size(fields.get("size"), (1024, 1024))
        return Parameters(
            width,
            height,
            fields.get("prompt", ""),
            salt(call, ("n", "response_format", "user", "seed")),
            n=read_n(fields),
            seed=fields.get("seed"),
            delivery="url" if fields.get("response_format") == "url" else "base64",
            images=images,
            edit=edit,
            strength=fields.get("strength", 0.8),
        )

    def body(self, call: Call, parameters: Parameters, rendered: Sequence[RenderedPicture]) -> dict[str, Any]:
        """The pictures with what they cost, and the balance that is left."""
        cost = self.cost_usd(call, parameters)
        self.balance_usd = round((self.balance_usd or 0.0) - cost, 6)
        return {
            "created": int(self.clock()),
            "data": [_item(one) for one in rendered],
            "cost": cost,
            "paymentSource": "USD",
            "remainingBalance": self.balance_usd,
        }


def _item(one: RenderedPicture) -> dict[str, Any]:
    item: dict[str, Any] = {} if one.url is None else {"url": one.url}
    if one.base64 is not None:
        item["b64_json"] = one.base64
    return item
