"""Rules about seeds, on exchanges made by hand."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")


def data(*pictures: str) -> dict[str, Any]:
    """An answer of NanoGPT's with these pictures."""
    return {"data": [{"b64_json": text} for text in pictures]}


def test_repeatable(recorded: Any, picture: Any) -> None:
    """Equal pixels pass whatever the compression; other pixels break it; a picture that does not decode proves nothing."""
    rule = "seed.repeatable"
    asked = {"task": "generate", "seed": 42}
    first = picture()
    repacked = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(first))).save(repacked, "PNG", compress_level=0)
    again = base64.b64encode(repacked.getvalue()).decode()
    assert again != first

    def pair(second: str, request: Any = None) -> Any:
        return (
            recorded(NANOGPT)
            .add(200, data(first), asked=asked)
            .add(200, data(second), asked=asked, probe="generate/seed-again", request=request)
        )

    assert pair(again).words(rule) == {"pass"}
    assert pair(picture(shade=3)).words(rule) == {"broken"}
    assert pair(first[:-68]).words(rule) == {"unproven"}
    assert pair(picture(shade=3), request={"size": "512x512"}).words(rule) == set()


def test_seed_echoed(recorded: Any, picture: Any) -> None:
    """The seed asked for passes, another breaks it, none and one that is no number are left out; the first picture counts."""
    rule = "seed.echoed"
    asked = {"task": "generate", "seed": 42}

    def answer(*seeds: Any) -> dict[str, Any]:
        return {"artifacts": [{"base64": picture(), "seed": seed} for seed in seeds]}

    assert recorded(NIM).add(200, answer(42), asked=asked).words(rule) == {"pass"}
    assert recorded(NIM).add(200, answer(42, 43), asked=asked).words(rule) == {"pass"}
    assert recorded(NIM).add(200, answer(7), asked=asked).words(rule) == {"broken"}
    assert recorded(NIM).add(200, answer(None), asked=asked).words(rule) == {"unsupported"}
    assert recorded(NIM).add(200, answer("42"), asked=asked).words(rule) == {"unsupported"}
    assert recorded(NIM).add(200, answer(7)).words(rule) == set()
    assert not RULES[rule].applies(NANOGPT)
