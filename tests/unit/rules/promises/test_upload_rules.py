"""Pictures that requests carry: what has to be taken and what refused, judged against a base that was carried out."""

from __future__ import annotations

import dataclasses
import io
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from testcard.harness.check.generation.plan import make_plan
from testcard.harness.pricing import Pricing
from testcard.harness.rules.inputs import REMOTE_PICTURE, large_picture, no_picture
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.rule import Probe
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.pictures import inspect
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImage")
EDIT = Scope(load_provider("nebul"), "createImageEdit")
VARIATION = Scope(load_provider("nebul"), "createImageVariation")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
FLUX = Scope(load_provider("opengpu-relay"), "generateFlux")
GPT = Scope(load_provider("opengpu-relay"), "editGptImage")
QWEN = Scope(load_provider("opengpu-relay"), "editQwen")
REFUSALS = {"input.data-url-only": NANOGPT, "input.undecodable-refused": GPT, "input.image-required": GPT, "input.mask-required": NIM}
SIZES = ("input.size-accepted", "input.size-above")


def run(recorded: Any, rule: str, scope: Scope, status: int | None, base: int = 200, base_expects: str = "accept", **more: Any) -> Any:
    """A base request for an edit, answered with a status, and one of the rule's own made from it."""
    more.setdefault("expects", "may-refuse" if rule in SIZES else "refuse")
    answer = more.pop("answer", {"data": []})
    started = recorded(scope).add(base, probe="edit/base", expects=base_expects, rules=[rule])
    return started.add(status, answer, probe="edit/changed", base="edit/base", change="something else", rules=[rule], **more)


@pytest.mark.parametrize(("rule", "scope"), REFUSALS.items())
def test_what_has_to_be_refused(rule: str, scope: Scope, recorded: Any) -> None:
    """Any 4xx passes and a 2xx breaks it; 5xx, 402, 429, silence and an error sent as 200 prove nothing here."""
    for status in (400, 404, 413, 415, 422):
        assert run(recorded, rule, scope, status).words(rule) == {"pass"}
    assert run(recorded, rule, scope, 200).words(rule) == {"broken"}
    for status in (500, 402, 429, None):
        assert run(recorded, rule, scope, status).words(rule) == {"unproven"}
    assert run(recorded, rule, scope, 200, answer={"error": {"message": "no"}}).words(rule) == {"unproven"}


@pytest.mark.parametrize("rule", [*REFUSALS, *SIZES])
def test_a_base_that_was_not_carried_out(rule: str, recorded: Any) -> None:
    """Where edits may be refused and were, the target may do without; a base lost otherwise proves nothing."""
    scope = REFUSALS.get(rule, NANOGPT)
    assert run(recorded, rule, scope, 400, base=422, base_expects="may-refuse").words(rule) == {"unsupported"}
    assert run(recorded, rule, scope, 200, base=422, base_expects="may-refuse").words(rule) == {"unsupported"}
    assert run(recorded, rule, scope, 400, base=422).words(rule) == {"unproven"}
    assert run(recorded, rule, scope, 400, base=500, base_expects="may-refuse").words(rule) == {"unproven"}


def test_a_level_is_kept(recorded: Any) -> None:
    """What a schema does not say and only a mode implies is a deviation at most."""
    (seen,) = run(recorded, "input.image-required", NIM, 200, level="should").observations("input.image-required")
    assert (seen.word, seen.level) == ("broken", "should")


def test_size_accepted(recorded: Any) -> None:
    """A body just under the limit that is taken passes, one that is refused breaks it although the plan lets it be refused."""
    rule = "input.size-accepted"
    assert run(recorded, rule, NANOGPT, 200).words(rule) == {"pass"}
    for status in (400, 413):
        assert run(recorded, rule, NANOGPT, status).words(rule) == {"broken"}
    for status in (500, 429, None):
        assert run(recorded, rule, NANOGPT, status).words(rule) == {"unproven"}


def test_size_above(recorded: Any) -> None:
    """A body clearly above the limit that is refused passes; one that is taken is told; a 5xx is http.no-server-error's."""
    rule = "input.size-above"
    assert run(recorded, rule, NANOGPT, 413).words(rule) == {"pass"}
    assert run(recorded, rule, NANOGPT, 200).words(rule) == {"broken"}
    assert RULES[rule].level == "info"
    failing = run(recorded, rule, NANOGPT, 500)
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


@pytest.mark.parametrize("size", [10_000, 65_537, 2_924_001])
def test_a_large_picture_is_a_picture(size: int) -> None:
    """It has the bytes asked for, decodes to its end, shows noise, and is the same every time."""
    data = large_picture(size).data
    assert len(data) == size
    info = inspect(data)
    assert (info.format, info.problem, info.blank) == ("png", None, False)
    picture = Image.open(io.BytesIO(data))
    assert picture.size[0] == 1024
    assert picture.size[0] * picture.size[1] * 3 > 0.6 * size
    large_picture.cache_clear()
    assert large_picture(size).data == data


def test_what_is_no_picture() -> None:
    """It passes for a PNG by its first bytes and for nothing by the rest."""
    data = no_picture().data
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert inspect(data).problem is not None


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
    assert run(recorded, "input.data-url-only", NANOGPT, 400, answer=answer).words("input.data-url-only") == {word}


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
    applying = {rule: [scope.operation_id for scope in (NANOGPT, NEBUL, EDIT, VARIATION, NIM, FLUX, GPT, QWEN) if RULES[rule].applies(scope)]
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
