"""Which price counts for a model: the user's own, an adopted list price, or an illustrative one against a mock; else none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from testcard.harness.config import PricesSection
from testcard.specs.loader import Provider
from testcard.specs.prices import Price

#: The key of a price that holds for every model that has none of its own, and for operations without a model.
ANY_MODEL = "*"
PriceOrigin = Literal["illustrative", "list", "config", "none"]


@dataclass(frozen=True)
class Pricing:
    """The prices that hold for a run against one provider."""

    provider: Provider
    mock: bool
    section: PricesSection = field(default_factory=PricesSection)

    def price(self, model: str | None, operation: str) -> Price | None:
        """The price of a model on an operation, or None where none counts."""
        return self.look_up(model, operation)[0]

    def look_up(self, model: str | None, operation: str) -> tuple[Price | None, PriceOrigin]:
        """The price and where it comes from. A price that the user states for the model comes before the one for every model (`"*"`)."""
        own = self.section.models
        if model is not None and model in own:
            return own[model], "config"
        if ANY_MODEL in own:
            return own[ANY_MODEL], "config"
        if self.section.adopt == "list" and (entry := self.provider.price_entry(model, operation, "list")):
            return entry.price, "list"
        if self.mock and (entry := self.provider.price_entry(model, operation, "illustrative")):
            return entry.price, "illustrative"
        return None, "none"

    @property
    def origin(self) -> PriceOrigin:
        """One word for the run's prices: the strongest origin that any model's price has."""
        if self.section.models:
            return "config"
        if self.section.adopt == "list":
            return "list"
        return "illustrative" if self.mock else "none"

    def missing_key(self, model: str | None) -> str:
        """The configuration key that would set the missing price, for messages."""
        return f'[prices.{self.provider.id}.models] "{model or ANY_MODEL}" in testcard.toml'
