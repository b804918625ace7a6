"""Masks: what a real editing model does to a picture passes, an ignored or inverted mask does not."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from testcard.harness.rules.inputs import EDGE_PX, edit_mask, input_picture
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.changes import change
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImageEdit")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
GPT = Scope(load_provider("opengpu-relay"), "editGptImage")
FLUX = Scope(load_provider("opengpu-relay"), "generateFlux")
RULE_IDS = ("image.mask-respected", "image.mask-polarity", "image.unmasked-survives")
SOURCE = Image.open(io.BytesIO(input_picture().data)).convert("RGB")
MARKED = Image.open(io.BytesIO(edit_mask("white").data)).convert("L")


def drawn(seed: int) -> Image.Image:
    """Something like a photograph: soft blobs of many colours, with a subject in the middle."""
    source = random.Random(seed)
    small = Image.new("RGB", (8, 8))
    small.putdata([(source.randrange(256), source.randrange(256), source.randrange(256)) for _ in range(64)])
    picture = small.resize((EDGE_PX, EDGE_PX), Image.Resampling.BICUBIC)
    subject = tuple(source.randrange(256) for _ in range(3))
    picture.paste(subject, (80, 80, 176, 176))
    return picture.filter(ImageFilter.GaussianBlur(3))


def noisy(picture: Image.Image, sigma: float) -> Image.Image:
    noise = Image.merge("RGB", [Image.effect_noise(picture.size, sigma) for _ in range(3)])
    return ImageChops.add(picture, noise, 1, -128)


def inpainted(seed: int) -> Image.Image:
    """As a diffusion model does it: the whole picture through an autoencoder, a feathered border, what is marked drawn afresh."""
    decoded = noisy(SOURCE.filter(ImageFilter.GaussianBlur(2)), 6)
    return Image.composite(drawn(seed), decoded, MARKED.filter(ImageFilter.GaussianBlur(4)))


def redrawn(seed: int) -> Image.Image:
    """As a model does it that draws the whole picture again and takes the mask for a hint: the rest is close, not equal."""
    rest = ImageEnhance.Color(noisy(SOURCE.filter(ImageFilter.GaussianBlur(4)), 12)).enhance(0.9)
    rest = ImageChops.offset(rest, 2, 1)
    return Image.composite(drawn(seed), rest, MARKED.filter(ImageFilter.GaussianBlur(6)))


def packed(picture: Image.Image, kind: str = "PNG", size: tuple[int, int] | None = None) -> str:
    buffer = io.BytesIO()
    (picture.resize(size, Image.Resampling.LANCZOS) if size else picture).save(buffer, kind, quality=60)
    return base64.b64encode(buffer.getvalue()).decode()


def asked(marks: Any = "white", **other: Any) -> dict[str, Any]:
    pictures = [input_picture(), edit_mask(marks)]
    source, mask = ({"sha256": hashlib.sha256(one.data).hexdigest(), "size": len(one.data)} for one in pictures)
    return {"task": "edit", "images": [source], "mask": mask, **other}


def run(recorded: Any, *pictures: str, scope: Scope = NANOGPT, marks: Any = "white", rules: Any = RULE_IDS) -> Any:
    items = [{"b64_json": one} for one in pictures]
    return recorded(scope).add(200, {"data": items}, asked=asked(marks), probe="edit/mask", rules=rules)


def words(recorded: Any, *pictures: str, **more: Any) -> list[str]:
    here = run(recorded, *pictures, **more)
    return ["/".join(sorted(here.words(rule))) for rule in RULE_IDS]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "pack",
    [
        packed,
        lambda picture: packed(picture, "JPEG"),
        lambda picture: packed(picture, "WEBP", (1024, 1024)),
        lambda picture: packed(picture, "JPEG", (1536, 1024)),
    ],
    ids=["png", "jpeg", "large webp", "wide jpeg"],
)
def test_a_real_inpainting_passes(seed: int, pack: Callable[[Image.Image], str], recorded: Any) -> None:
    """Autoencoder noise, a feathered border, another size or shape and lossy coding keep all three promises."""
    assert words(recorded, pack(inpainted(seed))) == ["pass", "pass", "pass"]


@pytest.mark.parametrize("seed", range(12))
def test_a_redrawn_picture_breaks_no_promise(seed: int, recorded: Any) -> None:
    """A model that draws everything again, the unmarked part close to what it was, respects the mask."""
    assert words(recorded, packed(redrawn(seed), "JPEG", (1024, 1024)))[:2] == ["pass", "pass"]


@pytest.mark.parametrize("seed", range(12))
def test_an_ignored_mask_breaks_one_rule(seed: int, recorded: Any) -> None:
    """A picture drawn afresh from edge to edge is an ignored mask; of the other promises it says nothing."""
    assert words(recorded, packed(drawn(seed), "JPEG")) == ["broken", "unproven", "unproven"]


@pytest.mark.parametrize("seed", range(6))
def test_an_inverted_mask_breaks_one_rule(seed: int, recorded: Any) -> None:
    """The unmarked part drawn afresh and the marked one kept."""
    inverted = Image.composite(SOURCE, drawn(seed), MARKED)
    assert words(recorded, packed(inverted, "JPEG")) == ["pass", "broken", "unproven"]


def test_nothing_edited_breaks_one_rule(recorded: Any) -> None:
    """The picture that was sent, coded again, is no edit."""
    assert words(recorded, packed(SOURCE, "JPEG", (512, 512))) == ["broken", "unproven", "unproven"]


def test_a_changed_rest_is_told(recorded: Any) -> None:
    """The marked part edited, the rest clearly brighter: that is worth knowing and breaks no promise."""
    changed = Image.composite(drawn(1), SOURCE.point(lambda value: min(255, value + 20)), MARKED)
    assert words(recorded, packed(changed)) == ["pass", "pass", "broken"]


def test_what_proves_nothing(recorded: Any) -> None:
    """Blank and broken pictures, requests of other rules and pictures of another version."""
    assert words(recorded, packed(Image.new("RGB", (64, 64)))) == ["unproven"] * 3
    assert words(recorded, "AAAA") == ["unproven"] * 3
    assert words(recorded, packed(drawn(1)), rules=("request.accepts-valid",)) == [""] * 3
    assert words(recorded, packed(inpainted(1)), marks="transparent") == ["unproven"] * 3
    assert run(recorded, packed(drawn(1))).add(400, asked=asked(), rules=RULE_IDS).words("image.mask-polarity") == {"unproven"}


def test_each_mask_says_it_in_the_documented_way_only() -> None:
    """White on black has no transparency, the transparent mask no white, and both mark the same part; undocumented is both."""
    white, transparent, both = (Image.open(io.BytesIO(edit_mask(marks).data)) for marks in ("white", "transparent", None))
    assert white.mode == "RGB"
    assert transparent.convert("RGB").getextrema() == ((0, 0),) * 3
    assert ImageChops.invert(transparent.getchannel("A")).tobytes() == white.convert("L").tobytes()
    assert both.convert("L").tobytes() == white.convert("L").tobytes()
    assert both.getchannel("A").tobytes() == transparent.getchannel("A").tobytes()


@pytest.mark.parametrize(
    ("scope", "key", "base", "marks", "model"),
    [
        (NANOGPT, "edit/mask", None, "white", "flux-lora/inpainting"),
        (NEBUL, "edit/mask", "edit/base", "transparent", "black-forest-labs/FLUX.1-Kontext-dev"),
        (NIM, "edit/mask", None, None, "black-forest-labs/flux.1-schnell"),
        (GPT, "edit/mask", "edit/base", "white", None),
    ],
)
def test_one_request_serves_all_three(scope: Scope, key: str, base: str | None, marks: Any, model: str | None) -> None:
    """An edit with the documented kind of mask, by the model that the document names for masks; a user's model goes first."""
    for rule in RULE_IDS:
        probe = list(RULES[rule].asks(scope))[-1]
        assert (probe.key, probe.base, probe.request.mask, probe.request.model) == (key, base, edit_mask(marks), model)
        assert probe.request.steps is None
    own = Scope(scope.provider, scope.operation_id, model="flux-kontext")
    assert scope is not NANOGPT or [probe.request.model for probe in RULES[RULE_IDS[0]].asks(own)] == ["flux-kontext"]


def test_where_masks_are_judged() -> None:
    """Nowhere without a mask; the polarity only where someone says what a mask means."""
    assert all(not RULES[rule].applies(FLUX) for rule in RULE_IDS)
    assert [RULES["image.mask-polarity"].applies(scope) for scope in (NANOGPT, NEBUL, GPT, NIM)] == [True, True, True, False]


def test_a_change_needs_pictures_and_two_parts() -> None:
    """Bytes that are no picture and a mask that marks everything are refused, not measured."""
    data, mask = input_picture().data, edit_mask("white").data
    assert change(data, data, mask, marks="white").most == 0
    with pytest.raises(ValueError, match="identify"):
        change(data, b"no picture", mask, marks="white")
    everything = io.BytesIO()
    Image.new("L", (8, 8), 255).save(everything, "PNG")
    with pytest.raises(ValueError, match="everything or nothing"):
        change(data, data, everything.getvalue(), marks="white")
