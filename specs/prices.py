"""The price model: what an answer costs, from what was delivered, and the most that a request can cost.

Every amount is in US dollars. A price that is not known is None, never 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


@dataclass(frozen=True, slots=True)
class Billable:
    """What a price looks at. For an answer: what was delivered. For a reservation: the most that could be."""

    images: int = 0
    width_px: int | None = None
    height_px: int | None = None
    quality: str | None = None
    size: str | None = None
    tier: str | None = None
    steps: int | None = None
    input_images: int = 0
    text_in_tokens: int = 0
    image_in_tokens: int = 0
    out_tokens: int = 0


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


_Usd = Annotated[float, Field(ge=0)]


class _Price(_Frozen):
    input_image_usd: float = Field(default=0.0, ge=0)
    billed_on: Literal["success", "always"] = "success"

    def usd(self, what: Billable) -> float | None:
        """Cost of `what` with the fee per input image, or None where the price does not cover it."""
        amount = self._usd(what)
        return None if amount is None else amount + self.input_image_usd * what.input_images

    def _usd(self, what: Billable) -> float | None:
        raise AssertionError("each price kind computes its own amount")


class PerImage(_Price):
    """A flat price for each picture."""

    kind: Literal["per-image"]
    usd_each: float = Field(ge=0)

    def _usd(self, what: Billable) -> float | None:
        return self.usd_each * what.images


class PerMegapixel(_Price):
    """A price by area: `first_usd` for the first megapixel, `usd_each` for each further one, rounded as stated.

    `unknown_megapixels`: the area taken for a picture whose size nobody states (a reservation without a size, `auto`);
    without it such a picture has no price.
    """

    kind: Literal["per-megapixel"]
    usd_each: float = Field(ge=0)
    first_usd: float | None = Field(default=None, ge=0)
    rounding: Literal["none", "up"] = "none"
    pixels_per_megapixel: int = Field(default=1_000_000, gt=0)
    unknown_megapixels: float | None = Field(default=None, gt=0)

    def _usd(self, what: Billable) -> float | None:
        if what.width_px is not None and what.height_px is not None:
            megapixels = what.width_px * what.height_px / self.pixels_per_megapixel
        elif self.unknown_megapixels is not None:
            megapixels = self.unknown_megapixels
        else:
            return None
        if self.rounding == "up":
            megapixels = math.ceil(megapixels)
        first = self.usd_each if self.first_usd is None else self.first_usd
        each = first * min(megapixels, 1.0) + self.usd_each * max(megapixels - 1.0, 0.0)
        return each * what.images


class Grid(_Price):
    """A price by quality and size. An unknown or `auto` quality or size takes the most expensive entry that fits."""

    kind: Literal["grid"]
    usd_each: dict[str, dict[str, _Usd]]  # quality → size → USD

    def _usd(self, what: Billable) -> float | None:
        rows = [self.usd_each[what.quality]] if what.quality in self.usd_each else list(self.usd_each.values())
        size = f"{what.width_px}x{what.height_px}" if what.width_px and what.height_px else what.size
        amounts = [row[size] for row in rows if size in row] or [amount for row in rows for amount in row.values()]
        return max(amounts) * what.images if amounts else None


class PerTier(_Price):
    """A price by resolution tier ("1K", "2K", "4K"). An unknown tier takes the most expensive."""

    kind: Literal["per-tier"]
    usd_each: dict[str, _Usd]

    def _usd(self, what: Billable) -> float | None:
        if not self.usd_each:
            return None
        return self.usd_each.get(what.tier or "", max(self.usd_each.values())) * what.images


class StepTier(_Frozen):
    """One row of a step price: up to and including `up_to` steps (None: any number)."""

    up_to: int | None = None
    usd_each: float = Field(ge=0)


class PerSteps(_Price):
    """A price by number of denoising steps; rows in rising order. Unknown steps take the most expensive row."""

    kind: Literal["per-steps"]
    tiers: tuple[StepTier, ...]

    def _usd(self, what: Billable) -> float | None:
        if what.steps is None:
            return max(tier.usd_each for tier in self.tiers) * what.images if self.tiers else None
        for tier in self.tiers:
            if tier.up_to is None or what.steps <= tier.up_to:
                return tier.usd_each * what.images
        return None


class PerToken(_Price):
    """A price by tokens, in USD per million, by kind."""

    kind: Literal["per-token"]
    text_in_usd: float = Field(ge=0)
    image_in_usd: float | None = Field(default=None, ge=0)
    out_usd: float = Field(ge=0)

    def _usd(self, what: Billable) -> float | None:
        image_in = self.text_in_usd if self.image_in_usd is None else self.image_in_usd
        return (self.text_in_usd * what.text_in_tokens + image_in * what.image_in_tokens + self.out_usd * what.out_tokens) / 1e6


Price = Annotated[PerImage | PerMegapixel | Grid | PerTier | PerSteps | PerToken, Field(discriminator="kind")]


class PriceEntry(_Frozen):
    """A price with where it was seen. `list` prices count only when the user's configuration adopts them; `illustrative`
    ones are used for runs against the embedded mocks and are labelled so."""

    models: tuple[str, ...]
    operations: tuple[str, ...] | None = None
    status: Literal["list", "illustrative"]
    price: Price
    source: str
    date: date
