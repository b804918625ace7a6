"""The price model: each kind, the most a request can cost, and that an unknown price is None and never 0."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from testcard.specs.loader import bundled_ids, load_provider
from testcard.specs.prices import Billable, Price

GRID = {"kind": "grid", "usd_each": {"low": {"1024x1024": 0.01, "1024x1536": 0.02}, "high": {"1024x1024": 0.1, "1024x1536": 0.2}}}
TIERS = {"kind": "per-tier", "usd_each": {"1K": 0.1, "4K": 0.3}}
STEPS = {"kind": "per-steps", "tiers": [{"up_to": 50, "usd_each": 0.04}, {"usd_each": 0.08}]}
MEGAPIXELS = {"kind": "per-megapixel", "usd_each": 0.02}
FIRST = {"kind": "per-megapixel", "first_usd": 0.03, "usd_each": 0.015, "rounding": "up", "pixels_per_megapixel": 1048576}
TOKENS = {"kind": "per-token", "text_in_usd": 5, "image_in_usd": 10, "out_usd": 40}
EVERY = [{"kind": "per-image", "usd_each": 0.01}, MEGAPIXELS, FIRST, GRID, TIERS, STEPS, TOKENS]


def price(data: dict[str, Any]) -> Price:
    return TypeAdapter(Price).validate_python(data)


@pytest.mark.parametrize(
    ("data", "what", "usd"),
    [
        ({"kind": "per-image", "usd_each": 0.01}, Billable(images=3), 0.03),
        ({"kind": "per-image", "usd_each": 0.01}, Billable(images=0), 0.0),
        (MEGAPIXELS, Billable(images=1, width_px=1000, height_px=1000), 0.02),
        (MEGAPIXELS, Billable(images=2, width_px=500, height_px=1000), 0.02),
        (MEGAPIXELS | {"rounding": "up"}, Billable(images=1, width_px=1001, height_px=1000), 0.04),
        (FIRST, Billable(images=1, width_px=1024, height_px=1024), 0.03),
        (FIRST, Billable(images=1, width_px=2048, height_px=2048), 0.03 + 3 * 0.015),
        (FIRST, Billable(images=1, width_px=64, height_px=64), 0.03),
        (GRID, Billable(images=1, quality="low", size="1024x1536"), 0.02),
        (GRID, Billable(images=4, quality="high", width_px=1024, height_px=1024), 0.4),
        (TIERS, Billable(images=1, tier="4K"), 0.3),
        (STEPS, Billable(images=1, steps=50), 0.04),
        (STEPS, Billable(images=2, steps=51), 0.16),
        (TOKENS, Billable(text_in_tokens=1_000_000), 5.0),
        (TOKENS, Billable(text_in_tokens=100, image_in_tokens=1000, out_tokens=10_000), (500 + 10_000 + 400_000) / 1e6),
        (TOKENS | {"image_in_usd": None}, Billable(image_in_tokens=1_000_000), 5.0),
    ],
)
def test_each_kind_of_price(data: dict[str, Any], what: Billable, usd: float) -> None:
    """A price counts what its kind says: pictures, area, quality and size, resolution, steps, tokens."""
    assert price(data).usd(what) == pytest.approx(usd)


@pytest.mark.parametrize(
    ("data", "what", "usd"),
    [
        (GRID, Billable(images=1), 0.2),
        (GRID, Billable(images=1, quality="auto", size="auto"), 0.2),
        (GRID, Billable(images=1, quality="low"), 0.02),
        (GRID, Billable(images=1, size="1024x1024"), 0.1),
        (TIERS, Billable(images=1), 0.3),
        (TIERS, Billable(images=1, tier="8K"), 0.3),
        (STEPS, Billable(images=1), 0.08),
        (MEGAPIXELS | {"unknown_megapixels": 4}, Billable(images=1), 0.08),
    ],
)
def test_what_is_unknown_costs_the_most_it_can(data: dict[str, Any], what: Billable, usd: float) -> None:
    """A reservation for an unstated size, quality, tier or number of steps takes the dearest row that fits."""
    assert price(data).usd(what) == pytest.approx(usd)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (MEGAPIXELS, Billable(images=1)),
        (MEGAPIXELS, Billable(images=1, width_px=512)),
        ({"kind": "grid", "usd_each": {}}, Billable(images=1)),
        ({"kind": "per-tier", "usd_each": {}}, Billable(images=1)),
        ({"kind": "per-steps", "tiers": []}, Billable(images=1)),
        ({"kind": "per-steps", "tiers": [{"up_to": 50, "usd_each": 0.04}]}, Billable(images=1, steps=51)),
        (MEGAPIXELS | {"input_image_usd": 0.5}, Billable(images=1, input_images=1)),
    ],
)
def test_an_unknown_price_is_none(data: dict[str, Any], what: Billable) -> None:
    """Where the price does not cover what was delivered there is no amount, not even that of the fees."""
    assert price(data).usd(what) is None


@pytest.mark.parametrize("data", EVERY)
def test_fee_for_input_pictures(data: dict[str, Any]) -> None:
    """Any kind of price may add a fee for each picture that goes in."""
    what = Billable(images=1, width_px=1024, height_px=1024, steps=10, input_images=3, out_tokens=100)
    plain, with_fee = price(data).usd(what), price(data | {"input_image_usd": 0.001}).usd(what)
    assert plain is not None
    assert with_fee == pytest.approx(plain + 0.003)


@given(
    data=st.sampled_from([GRID, TIERS, STEPS, FIRST, MEGAPIXELS | {"unknown_megapixels": 17}]),
    images=st.integers(1, 4),
    edge=st.sampled_from([(1024, 1024), (1024, 1536), (4096, 4096), (64, 64)]),
    quality=st.sampled_from(["low", "high"]),
    tier=st.sampled_from(["1K", "4K"]),
    steps=st.integers(1, 200),
)
def test_no_delivery_costs_more_than_its_reservation(
    data: dict[str, Any], images: int, edge: tuple[int, int], quality: str, tier: str, steps: int
) -> None:
    """What is reserved with less known about it is never less than what is billed in the end."""
    delivered = Billable(images=images, width_px=edge[0], height_px=edge[1], quality=quality, tier=tier, steps=steps)
    billed = price(data).usd(delivered)
    assert billed is not None
    reserved = price(data).usd(Billable(images=images))
    if reserved is not None:
        assert reserved >= billed - 1e-12


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "per-image"},
        {"kind": "per-image", "usd_each": -0.01},
        {"kind": "per-picture", "usd_each": 0.01},
        {"kind": "per-image", "usd_each": 0.01, "usd": 1},
        MEGAPIXELS | {"pixels_per_megapixel": 0},
        MEGAPIXELS | {"unknown_megapixels": 0},
        GRID | {"usd_each": {"low": {"1024x1024": -0.01}}},
        TIERS | {"usd_each": {"1K": 0.1, "4K": -0.3}},
        STEPS | {"tiers": [{"usd_each": -0.04}]},
        TOKENS | {"image_in_usd": -1},
        MEGAPIXELS | {"first_usd": -0.01},
        TIERS | {"input_image_usd": -0.001},
        {"kind": "per-image", "usd_each": float("nan")},
        TIERS | {"usd_each": {"1K": float("inf")}},
    ],
)
def test_a_price_that_makes_no_sense_is_refused(data: dict[str, Any]) -> None:
    """A missing, negative, endless or unknown part of a price is an error where it is written, not a wrong amount later."""
    with pytest.raises(ValidationError):
        price(data)


def test_every_model_has_an_illustrative_price_with_a_source_and_a_date() -> None:
    """Runs against mocks always have costs; each price says where it was seen and when."""
    for name in bundled_ids():
        provider = load_provider(name)
        for model in provider.profile.models:
            for operation in model.operations:
                entry = provider.price_entry(model.id, operation, "illustrative")
                assert entry is not None, (name, model.id)
                assert "made up" in entry.source
        for entry in provider.profile.prices:
            assert entry.source
            assert entry.date.isoformat() == "2026-11-20"


def test_every_default_request_of_a_mock_has_a_bounded_cost() -> None:
    """The illustrative prices bound even a request that states no size, so a budget can reserve for it."""
    for name in bundled_ids():
        provider = load_provider(name)
        for default in provider.profile.tasks.values():
            entry = provider.price_entry(default.model, default.operation, "illustrative")
            assert entry is not None
            usd = entry.price.usd(Billable(images=1, out_tokens=100))
            assert usd is not None
            assert usd > 0


def test_list_prices_are_only_those_seen_in_public() -> None:
    """A list price stands only for a model that the provider's document names, and says that it is not the provider's own."""
    found = {name: [e for e in load_provider(name).profile.prices if e.status == "list"] for name in bundled_ids()}
    assert {name: sorted(model for entry in entries for model in entry.models) for name, entries in found.items()} == {
        "nanogpt": ["gpt-image-1"],
        "nebul": [],
        "nvidia-nim-image": ["black-forest-labs/flux.1-schnell"],
        "nvidia-nim-vision": ["meta/llama-3.2-90b-vision-instruct"],
        "opengpu-relay": [
            "Qwen/qwen-image",
            "black-forest-labs/FLUX-2-pro",
            "google/gemini-3-pro-T2I",
            "openai/gpt-image-1.5-I2I",
            "openai/gpt-image-1.5-T2I",
        ],
    }
    assert all("not this provider's own" in entry.source for entries in found.values() for entry in entries)
