"""A price as one line, and amounts written out."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from testcard.harness.text.words import amount, in_words
from testcard.specs.prices import Price


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kind": "per-image", "usd_each": 0.003}, "$0.003 a picture"),
        ({"kind": "per-megapixel", "usd_each": 0.02}, "$0.02 a megapixel"),
        (
            {"kind": "per-megapixel", "first_usd": 0.03, "usd_each": 0.015, "rounding": "up"},
            "$0.03 for the first megapixel, $0.015 for each further, rounded up",
        ),
        (
            {"kind": "grid", "usd_each": {"low": {"1024x1024": 0.01}, "high": {"1024x1024": 0.2}}},
            "$0.01 to $0.2 a picture, by quality and size",
        ),
        (
            {"kind": "per-tier", "usd_each": {"1K": 0.1, "4K": 0.3}, "input_image_usd": 0.0011},
            "$0.1 to $0.3 a picture, by resolution, $0.0011 per input picture",
        ),
        (
            {"kind": "per-steps", "tiers": [{"up_to": 50, "usd_each": 0.04}, {"usd_each": 0.08}], "billed_on": "always"},
            "$0.04 to $0.08 a picture, by steps, also for failures",
        ),
        (
            {"kind": "per-token", "text_in_usd": 5, "image_in_usd": 10, "out_usd": 40},
            "$5 in, $40 out a million tokens, $10 for pictures in",
        ),
    ],
)
def test_prices_in_words(data: dict[str, Any], words: str) -> None:
    """A price is told in one line that names what is counted."""
    assert in_words(TypeAdapter(Price).validate_python(data)) == words


def test_amounts_are_written_out() -> None:
    """Amounts never turn into scientific notation, and nought is written as such."""
    assert [amount(usd) for usd in (0, 0.00002, 0.1 + 0.2, 2.0, 1200)] == ["$0", "$0.00002", "$0.3", "$2", "$1200"]
