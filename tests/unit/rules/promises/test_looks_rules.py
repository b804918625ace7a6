"""What pictures show: standard base64, something, something else each time, what was asked for."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImage")
VARIATION = Scope(load_provider("nebul"), "createImageVariation")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
GPT = Scope(load_provider("opengpu-relay"), "generateGptImage")
BROKEN_PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nand no more").decode()


def plain(colour: tuple[int, ...], kind: str = "PNG") -> str:
    """A picture of one colour, in base64."""
    buffer = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (64, 64), colour).save(buffer, kind)
    return base64.b64encode(buffer.getvalue()).decode()


def invisible() -> str:
    """A gradient of which every pixel is transparent."""
    picture = Image.linear_gradient("L").convert("RGBA")
    picture.putalpha(0)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def cut_out(alpha: int) -> str:
    """A gradient whose upper half has this alpha."""
    picture = Image.linear_gradient("L").convert("RGBA")
    picture.paste((200, 10, 10, alpha), (0, 0, 256, 128))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def data(*pictures: str) -> dict[str, Any]:
    return {"data": [{"b64_json": one} for one in pictures]}


@pytest.mark.parametrize(
    ("spelling", "word", "why"),
    [
        (lambda text: text, "pass", ""),
        (lambda text: "data:image/png;base64," + text, "broken", "begins with data:"),
        (lambda text: text[:76] + "\n" + text[76:], "broken", "line breaks"),
        (lambda text: text + "\n", "broken", "line breaks"),
        (lambda text: text.replace("+", "-").replace("/", "_"), "broken", "URL alphabet"),
        (lambda text: text.rstrip("=") if text.endswith("=") else text[:-1], "broken", "padded"),
        (lambda text: "***" + text, "unproven", "not base64"),
    ],
)
def test_base64_strict(spelling: Any, word: str, why: str, recorded: Any) -> None:
    """Standard base64 passes; what a lenient reader makes sense of breaks it; what nobody can read is image.decodes's."""
    raw = Image.effect_noise((32, 32), 90).tobytes()  # enough bytes for every letter; no picture, which is not asked here
    text = spelling(base64.b64encode(raw + b"x" * ((1 - len(raw)) % 3)).decode())
    (seen,) = recorded(NANOGPT).add(200, data(text)).observations("image.base64-strict")
    assert seen.word == word
    assert why in seen.detail
    assert not RULES["image.base64-strict"].applies(GPT)


def test_not_blank(recorded: Any, picture: Any) -> None:
    """One colour and nothing visible break it; a picture passes; one that does not decode, or was withheld, proves nothing."""
    rule = "image.not-blank"
    assert recorded(NANOGPT).add(200, data(picture())).words(rule) == {"pass"}
    for blank in (plain((0, 0, 0)), plain((90, 90, 90), "JPEG"), plain((1, 2, 3, 4)), invisible()):
        assert recorded(NANOGPT).add(200, data(blank)).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, data(BROKEN_PNG)).words(rule) == {"unproven"}
    withheld = {"artifacts": [{"base64": plain((0, 0, 0)), "finishReason": "CONTENT_FILTERED"}]}
    assert recorded(NIM).add(200, withheld).words(rule) == {"unproven"}
    claimed = {"artifacts": [{"base64": plain((0, 0, 0)), "finishReason": "SUCCESS"}]}
    assert recorded(NIM).add(200, claimed).words(rule) == {"broken"}


def test_distinct(recorded: Any, picture: Any) -> None:
    """Two different pictures pass, the same one twice breaks it however it is packed; one, or blank ones, prove nothing."""
    rule = "image.distinct"
    two = {"task": "generate", "n": 2}
    one = picture()
    repacked = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(one))).save(repacked, "PNG", compress_level=0)
    again = base64.b64encode(repacked.getvalue()).decode()
    assert again != one
    assert recorded(NANOGPT).add(200, data(one, picture(shade=3)), asked=two).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(200, data(one, again), asked=two).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, data(one, picture(shade=3), one), asked={"task": "generate", "n": 3}).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(200, data(one), asked=two).words(rule) == {"unproven"}
    assert recorded(NANOGPT).add(200, data(plain((9, 9, 9)), plain((9, 9, 9))), asked=two).words(rule) == {"unproven"}
    assert recorded(NANOGPT).add(200, data(one)).words(rule) == set()
    assert not RULES[rule].applies(NIM)


def pair(recorded: Any, rule: str, first: str, second: str, term: str, **more: Any) -> Any:
    asked = {"task": "generate", "seed": 1, "prompt": "a boat"}
    other = {**asked, term: {"seed": 2, "prompt": "a bridge"}[term], **more}
    return (
        recorded(NANOGPT)
        .add(200, data(first), asked=asked, rules=[rule])
        .add(200, data(second), asked=other, rules=[rule], probe=f"generate/{term}:another")
    )


@pytest.mark.parametrize(("rule", "term"), [("image.follows-prompt", "prompt"), ("seed.varies", "seed")])
def test_another_prompt_or_seed_gives_another_picture(rule: str, term: str, recorded: Any, picture: Any) -> None:
    """Other pixels pass, the same ones break it; requests that differ in more, blank and broken pictures prove nothing."""
    one, two = picture(), picture(shade=3)
    assert pair(recorded, rule, one, two, term).words(rule) == {"pass"}
    assert pair(recorded, rule, one, one, term).words(rule) == {"broken"}
    assert pair(recorded, rule, one, one, term, n=2).words(rule) == set()
    assert pair(recorded, rule, plain((9, 9, 9)), plain((9, 9, 9)), term).words(rule) == {"unproven"}
    assert pair(recorded, rule, one, BROKEN_PNG, term).words(rule) == {"unproven"}


@pytest.mark.parametrize("rule", ["image.follows-prompt", "seed.varies"])
def test_requests_of_other_rules_are_not_compared(rule: str, recorded: Any, picture: Any) -> None:
    """A prompt cut off by the model, or a seed taken modulo 2³², may give the same picture: only this rule's own requests count."""
    run = recorded(NANOGPT).add(200, data(picture()), asked={"task": "generate", "seed": 1, "prompt": "a"})
    run.add(200, data(picture()), asked={"task": "generate", "seed": 2**32 + 1, "prompt": "a"})
    assert run.add(200, data(picture()), asked={"task": "generate", "seed": 1, "prompt": "a b"}).words(rule) == set()


def test_where_prompts_and_seeds_are_compared() -> None:
    """Another prompt or seed costs one picture an operation; a variation has no prompt, Nebul no seed."""
    assert [probe.key for probe in RULES["image.follows-prompt"].asks(NANOGPT)] == ["generate/base", "generate/prompt:another"]
    assert [probe.key for probe in RULES["seed.varies"].asks(NANOGPT)] == ["generate/base", "generate/seed:another"]
    assert not RULES["image.follows-prompt"].applies(VARIATION)
    assert not RULES["seed.varies"].applies(NEBUL)


def test_transparent(recorded: Any, picture: Any) -> None:
    """Transparent pixels where asked for pass; an opaque picture breaks it, in a format without transparency too."""
    rule = "image.transparent"
    asked = {"task": "generate", "background": "transparent"}
    assert recorded(NEBUL).add(200, data(cut_out(0)), asked=asked).words(rule) == {"pass"}
    for opaque in (picture(), picture(kind="JPEG"), cut_out(255), cut_out(250)):
        assert recorded(NEBUL).add(200, data(opaque), asked=asked).words(rule) == {"broken"}
    assert recorded(NEBUL).add(200, data(cut_out(0)), asked={"task": "generate", "background": "opaque"}).words(rule) == {"broken"}
    assert recorded(NEBUL).add(200, data(picture()), asked={"task": "generate", "background": "opaque"}).words(rule) == {"pass"}
    assert recorded(NEBUL).add(200, data(picture()), asked={"task": "generate", "background": "auto"}).words(rule) == set()
    assert recorded(NEBUL).add(200, data(picture(kind="JPEG")), asked={**asked, "format": "jpeg"}).words(rule) == set()
    assert recorded(NEBUL).add(400, asked=asked, expects="may-refuse").words(rule) == set()
    assert not RULES[rule].applies(NANOGPT)


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
