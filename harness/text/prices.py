"""Prices in a few words, for tables that people read."""

from __future__ import annotations

from testcard.specs.prices import Grid, PerImage, PerMegapixel, PerSteps, PerTier, PerToken, Price


def amount(usd: float) -> str:
    """An amount in dollars without trailing zeros, never in scientific notation: $0.004, $2, $0.0011."""
    return "$" + (f"{usd:.10f}".rstrip("0").rstrip(".") or "0")


def _span(amounts: list[float]) -> str:
    low, high = min(amounts), max(amounts)
    return amount(low) if low == high else f"{amount(low)} to {amount(high)}"


def in_words(price: Price) -> str:
    """The price in one line: what is counted, and the amount or the span of amounts."""
    words = _kind(price)
    if price.input_image_usd:
        words += f", {amount(price.input_image_usd)} per input picture"
    return words + (", also for failures" if price.billed_on == "always" else "")


def _kind(price: Price) -> str:
    match price:
        case PerImage():
            return f"{amount(price.usd_each)} a picture"
        case PerMegapixel():
            rounded = ", rounded up" if price.rounding == "up" else ""
            if price.first_usd is None or price.first_usd == price.usd_each:
                return f"{amount(price.usd_each)} a megapixel{rounded}"
            return f"{amount(price.first_usd)} for the first megapixel, {amount(price.usd_each)} for each further{rounded}"
        case Grid():
            return f"{_span([usd for row in price.usd_each.values() for usd in row.values()])} a picture, by quality and size"
        case PerTier():
            return f"{_span(list(price.usd_each.values()))} a picture, by resolution"
        case PerSteps():
            return f"{_span([tier.usd_each for tier in price.tiers])} a picture, by steps"
        case PerToken():
            image_in = f", {amount(price.image_in_usd)} for pictures in" if price.image_in_usd is not None else ""
            return f"{amount(price.text_in_usd)} in, {amount(price.out_usd)} out a million tokens{image_in}"
