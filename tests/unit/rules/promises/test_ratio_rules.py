"""Pictures asked for by shape and tier: near enough is right, ignored and swapped is not."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

RELAY = load_provider("opengpu-relay")
GEMINI = Scope(RELAY, "generateGemini")
FLUX = Scope(RELAY, "generateFlux")


def answer(width: int, height: int) -> dict[str, Any]:
    """An answer with one picture of this size."""
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return {"images": [base64.b64encode(buffer.getvalue()).decode()]}


def asking(**terms: str) -> dict[str, Any]:
    return {"task": "generate", **terms}


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        ("1:1", (1024, 1024)), ("2:3", (848, 1264)), ("3:2", (1264, 848)), ("3:4", (896, 1200)), ("4:3", (1200, 896)), ("4:5", (928, 1152)),
        ("5:4", (1152, 928)), ("9:16", (768, 1376)), ("16:9", (1376, 768)), ("21:9", (1584, 672)), ("16:9", (1408, 800)), ("16:9", (2752, 1536)),
    ],
)  # fmt: skip
def test_sizes_that_real_services_send_pass(ratio: str, size: tuple[int, int], recorded: Any) -> None:
    """Published sizes of the Gemini models, rounded to 16 or 32 pixels, keep ratio and tier."""
    tier = "2K" if size[0] * size[1] > 2_000_000 else "1K"
    run = recorded(GEMINI).add(200, answer(*size), asked=asking(aspect_ratio=ratio, tier=tier))
    assert run.words("image.ratio") == run.words("image.tier") == {"pass"}


@pytest.mark.parametrize("size", [(1024, 1024), (768, 1376), (1264, 848), (1584, 672)])
def test_another_shape_breaks_the_ratio(size: tuple[int, int], recorded: Any) -> None:
    """Square, swapped and neighbouring shapes are not 16:9."""
    assert recorded(GEMINI).add(200, answer(*size), asked=asking(aspect_ratio="16:9")).words("image.ratio") == {"broken"}


def test_the_default_binds(recorded: Any) -> None:
    """1:1 and 1K are documented for who does not choose."""
    assert recorded(GEMINI).add(200, answer(1024, 1024)).words("image.ratio") == {"pass"}
    assert recorded(GEMINI).add(200, answer(1376, 768)).words("image.ratio") == {"broken"}
    assert recorded(GEMINI).add(200, answer(2048, 2048)).words("image.tier") == {"broken"}


@pytest.mark.parametrize(
    ("tier", "edge", "word"),
    [
        ("1K", 1024, "pass"),
        ("2K", 2048, "pass"),
        ("2K", 1024, "broken"),
        ("4K", 4096, "pass"),
        ("4K", 2048, "broken"),
        ("1K", 512, "broken"),
    ],
)
def test_tier(tier: str, edge: int, word: str, recorded: Any) -> None:
    """The area is that of the tier's square, whatever the shape."""
    asked = asking(tier=tier, aspect_ratio="16:9")
    assert recorded(GEMINI).add(200, answer(edge * 4 // 3, edge * 3 // 4), asked=asked).words("image.tier") == {word}


def test_what_proves_nothing(recorded: Any) -> None:
    """A picture that does not decode is another rule's; a refusal and an unreadable shape are not judged."""
    for rule in ("image.ratio", "image.tier"):
        assert recorded(GEMINI).add(200, {"images": ["AAAA"]}).words(rule) == {"unproven"}
        assert recorded(GEMINI).add(400).words(rule) == set()
        assert not RULES[rule].applies(FLUX)
    assert recorded(GEMINI).add(200, answer(10, 10), asked=asking(aspect_ratio="wide")).words("image.ratio") == set()


def test_what_is_asked_for() -> None:
    """The widest and the highest shape, and one tier beside the base's: three pictures."""
    assert [probe.key for probe in RULES["image.ratio"].asks(GEMINI)] == [
        "generate/base",
        "generate/aspect_ratio:9:16",
        "generate/aspect_ratio:21:9",
    ]
    assert [probe.key for probe in RULES["image.tier"].asks(GEMINI)] == ["generate/base", "generate/tier:2K"]
