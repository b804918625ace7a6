"""Rules about the pictures and masks that requests carry."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageChops, ImageEnhance, ImageFilter

from testcard.harness.check.generation.plan import make_plan
from testcard.harness.check.judging.levels import level_of
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.rule import Probe
from testcard.harness.rules.scope import Scope
from testcard.harness.rules.sent_pictures import EDGE_PX, REMOTE_PICTURE, edit_mask, input_picture
from testcard.harness.wire.pictures import change
from testcard.specs.loader import load_provider

# ── masks ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
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


@pytest.mark.parametrize(
    ("scope", "key", "base", "marks", "model"),
    [
        (NANOGPT, "edit/mask", None, "white", "flux-lora/inpainting"),
        (NEBUL, "edit/mask", "edit/base", None, "black-forest-labs/FLUX.1-Kontext-dev"),
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


@pytest.mark.parametrize("marked", [True, False])
def test_a_mask_of_open_polarity_has_to_have_an_effect(recorded: Any, *, marked: bool) -> None:
    """Where the document says that a mask restricts the edit and not how, either side may be edited, and one has to be."""
    rule = RULES["image.mask-respected"]
    one_side = Image.composite(drawn(1), SOURCE, MARKED if marked else ImageChops.invert(MARKED))
    kept, whole = (words(recorded, packed(picture), scope=NEBUL, marks=None) for picture in (one_side, drawn(1)))
    assert kept[:2] == ["pass", "pass" if marked else "broken"]
    assert whole[0] == "broken"
    assert level_of(NEBUL, rule) == "should"
    assert level_of(NEBUL, RULES["image.mask-polarity"]) == "info"


def test_where_masks_are_judged() -> None:
    """Nowhere without a mask; the polarity only where someone says what a mask means."""
    assert all(not RULES[rule].applies(FLUX) for rule in RULE_IDS)
    assert [RULES["image.mask-polarity"].applies(scope) for scope in (NANOGPT, NEBUL, GPT, NIM)] == [True, True, True, False]


def test_a_change_needs_pictures_and_two_parts() -> None:
    """Bytes that are no picture and a mask that marks everything are refused, not measured."""
    data, mask = input_picture().data, edit_mask("white").data
    assert change(data, data, mask, marks="white").most == 0
    with pytest.raises(ValueError, match="no picture"):
        change(data, b"no picture", mask, marks="white")
    everything = io.BytesIO()
    Image.new("L", (8, 8), 255).save(everything, "PNG")
    with pytest.raises(ValueError, match="everything or nothing"):
        change(data, data, everything.getvalue(), marks="white")


# ── pictures ──────────────────────────────────────────────────────────────────────────────────────────────────────────
GENERATION = Scope(load_provider("nebul"), "createImage")
EDIT = Scope(load_provider("nebul"), "createImageEdit")
VARIATION = Scope(load_provider("nebul"), "createImageVariation")
QWEN = Scope(load_provider("opengpu-relay"), "editQwen")
REFUSALS = {"input.data-url-only": NANOGPT, "input.undecodable-refused": GPT, "input.image-required": GPT, "input.mask-required": NIM}
SIZES = ("input.size-accepted", "input.size-above")


def uploaded(recorded: Any, rule: str, scope: Scope, status: int | None, base: int = 200, base_expects: str = "accept", **more: Any) -> Any:
    """A base request for an edit, answered with a status, and one of the rule's own made from it."""
    more.setdefault("expects", "may-refuse" if rule in SIZES else "refuse")
    answer = more.pop("answer", {"data": []})
    started = recorded(scope).add(base, probe="edit/base", expects=base_expects, rules=[rule])
    return started.add(status, answer, probe="edit/changed", base="edit/base", change="something else", rules=[rule], **more)


@pytest.mark.parametrize(("rule", "scope"), REFUSALS.items())
def test_what_has_to_be_refused(rule: str, scope: Scope, recorded: Any) -> None:
    """Any 4xx passes and a 2xx breaks it; 5xx, 402, 429, silence and an error sent as 200 prove nothing here."""
    for status in (400, 404, 413, 415, 422):
        assert uploaded(recorded, rule, scope, status).words(rule) == {"pass"}
    assert uploaded(recorded, rule, scope, 200).words(rule) == {"broken"}
    for status in (500, 402, 429, None):
        assert uploaded(recorded, rule, scope, status).words(rule) == {"unproven"}
    assert uploaded(recorded, rule, scope, 200, answer={"error": {"message": "no"}}).words(rule) == {"unproven"}


@pytest.mark.parametrize("rule", [*REFUSALS, *SIZES])
def test_a_base_that_was_not_carried_out(rule: str, recorded: Any) -> None:
    """Where edits may be refused and were, the target may do without; a base lost otherwise proves nothing."""
    scope = REFUSALS.get(rule, NANOGPT)
    assert uploaded(recorded, rule, scope, 400, base=422, base_expects="may-refuse").words(rule) == {"unsupported"}
    assert uploaded(recorded, rule, scope, 200, base=422, base_expects="may-refuse").words(rule) == {"unsupported"}
    assert uploaded(recorded, rule, scope, 400, base=422).words(rule) == {"unproven"}
    assert uploaded(recorded, rule, scope, 400, base=500, base_expects="may-refuse").words(rule) == {"unproven"}


def test_a_level_is_kept(recorded: Any) -> None:
    """What a schema does not say and only a mode implies is a deviation at most."""
    (seen,) = uploaded(recorded, "input.image-required", NIM, 200, level="should").observations("input.image-required")
    assert (seen.word, seen.level) == ("broken", "should")


def test_size_accepted(recorded: Any) -> None:
    """A body just under the limit that is taken passes, one that is refused breaks it although the plan lets it be refused."""
    rule = "input.size-accepted"
    assert uploaded(recorded, rule, NANOGPT, 200).words(rule) == {"pass"}
    for status in (400, 413):
        assert uploaded(recorded, rule, NANOGPT, status).words(rule) == {"broken"}
    for status in (500, 429, None):
        assert uploaded(recorded, rule, NANOGPT, status).words(rule) == {"unproven"}


def test_size_above(recorded: Any) -> None:
    """A body clearly above the limit that is refused passes; one that is taken is told; a 5xx is http.no-server-error's."""
    rule = "input.size-above"
    assert uploaded(recorded, rule, NANOGPT, 413).words(rule) == {"pass"}
    assert uploaded(recorded, rule, NANOGPT, 200).words(rule) == {"broken"}
    assert RULES[rule].level == "info"
    failing = uploaded(recorded, rule, NANOGPT, 500)
    assert failing.words(rule) == {"unproven"}
    assert "broken" in failing.words("http.no-server-error")


def own(rule: str, scope: Scope) -> list[Probe]:
    """The requests of a rule beyond the base requests."""
    return [probe for probe in RULES[rule].asks(scope) if not probe.first]


def bodies(rule: str, scope: Scope = NANOGPT) -> dict[str, bytes]:
    """The bodies that a rule's own requests have in a plan, by key."""
    provider = scope.provider
    plan = make_plan(provider, Pricing(provider, mock=True), rules=[RULES[rule]], operations=[scope.operation_id])
    return {step.probe: step.wire(provider, "http://t", "k").body for step in plan.steps if not step.first}


def test_uploads_have_the_documented_sizes() -> None:
    """The whole body is at most 3.9 MB and as near as base64 allows; above, it is at least 5 MiB."""
    (under,) = bodies("input.size-accepted").values()
    (above,) = bodies("input.size-above").values()
    assert 3_899_996 < len(under) <= 3_900_000
    assert 5_242_880 <= len(above) < 5_242_884


def test_a_form_is_filled_to_the_byte() -> None:
    """A file stands in a form as it is, so the whole body has exactly the size asked for."""
    limits = EDIT.provider.profile.limits.model_copy(update={"upload_accept_bytes": 1_000_001})
    profile = EDIT.provider.profile.model_copy(update={"limits": limits})
    scope = Scope(dataclasses.replace(EDIT.provider, profile=profile), "createImageEdit")
    assert RULES["input.size-accepted"].applies(scope)
    assert [len(body) for body in bodies("input.size-accepted", scope).values()] == [1_000_001]


def test_addresses_go_into_every_field_for_pictures() -> None:
    """One request for each field, with the address in the place of every other picture."""
    sent = bodies("input.data-url-only")
    assert set(sent) == {"edit/remote:imageDataUrl", "edit/remote:imageDataUrls"}
    for body in sent.values():
        assert body.count(REMOTE_PICTURE.encode()) == 1
        assert b"base64" not in body


def test_the_address_is_nobodys() -> None:
    """It lies under a name that never leads anywhere, so that no check asks a stranger for a picture."""
    assert urlsplit(REMOTE_PICTURE).hostname == "pictures.invalid"


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("Remote URLs are not supported, convert images to base64 data URLs before sending", "pass"),
        ("Could not fetch the image: only data: URLs are taken", "pass"),
        ("imageDataUrl does not match the pattern", "pass"),
        ("", "pass"),
        ("Failed to download image from https://pictures.invalid/testcard.png", "unproven"),
        ("[Errno -2] Name or service not known", "unproven"),
        ("getaddrinfo ENOTFOUND pictures.invalid", "unproven"),
        ("couldn't resolve host", "unproven"),
    ],
)
def test_a_server_that_looked_for_the_picture_is_not_taken_for_one_that_refuses_addresses(message: str, word: str, recorded: Any) -> None:
    """A refusal because nothing was found at the address proves nothing; one that names what is wanted instead, or nothing, passes."""
    answer = {"error": 400, "message": message}
    assert uploaded(recorded, "input.data-url-only", NANOGPT, 400, answer=answer).words("input.data-url-only") == {word}


def test_requests_that_lack_something_are_shared() -> None:
    """What the schema requires is asked for once for this rule and request.refuses-invalid; a mode is asked for without its picture."""
    for scope, task in ((EDIT, "edit"), (VARIATION, "variation"), (GPT, "edit"), (QWEN, "edit")):
        (probe,) = own("input.image-required", scope)
        assert probe in list(RULES["request.refuses-invalid"].asks(scope))
        assert (probe.key, probe.base) == (f"{task}/missing:image", f"{task}/base")
    assert {probe.key for probe in own("input.image-required", NIM)} == {
        "generate/missing-for:image-to-image",
        "generate/missing-for:inpaint",
    }
    (maskless,) = own("input.mask-required", NIM)
    assert maskless.put == {"mode": "inpaint"}
    assert maskless.request.images
    assert maskless.request.mask is None


def test_where_uploads_are_judged() -> None:
    """Only where a request carries pictures, and by each rule only where the document gives it something to hold a server to."""
    applying = {rule: [scope.operation_id for scope in (NANOGPT, GENERATION, EDIT, VARIATION, NIM, FLUX, GPT, QWEN) if RULES[rule].applies(scope)]
                for rule in (*REFUSALS, *SIZES)}  # fmt: skip
    edits = ["createImageEdit", "createImageVariation", "generateImage"]
    assert applying == {
        "input.data-url-only": ["createImage"],
        "input.undecodable-refused": ["createImage", *edits, "generateFlux", "editGptImage", "editQwen"],
        "input.image-required": [*edits, "editGptImage", "editQwen"],
        "input.mask-required": ["generateImage"],
        "input.size-accepted": ["createImage"],
        "input.size-above": ["createImage"],
    }
