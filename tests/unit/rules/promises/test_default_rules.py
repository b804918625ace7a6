"""Documented defaults: a field left out, and the same field stated, under one seed."""

from __future__ import annotations

from typing import Any

import pytest

from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.fields import wire_fields
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImage")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
FLUX = Scope(load_provider("opengpu-relay"), "generateFlux")
QWEN = Scope(load_provider("opengpu-relay"), "generateQwen")
SD = Scope(load_provider("opengpu-relay"), "generateStableDiffusion")
RULE = "request.default-applied"
SEEDED = {"task": "generate", "seed": 42}
BARE = {"prompt": "a boat", "seed": 42}


@pytest.fixture
def run(recorded: Any, picture: Any) -> Any:
    """A run of requests given as (body, shade of the picture that came)."""

    def made(*requests: tuple[dict[str, Any], int | None], scope: Scope = NANOGPT) -> set[str]:
        record = recorded(scope)
        for body, shade in requests:
            answer = {"data": [{"b64_json": picture(shade=shade) if shade is not None else "AAAA"}]}
            record.add(200, answer, request=body, asked=SEEDED if "seed" in body else {"task": "generate"})
        return set(record.words(RULE))

    return made


def test_default_applied(run: Any) -> None:
    """The same pixels pass; others break it, once the same request was seen to give the same picture."""
    stated = {**BARE, "guidance_scale": 7.5, "num_inference_steps": 30}
    assert run((BARE, 1), (stated, 1)) == {"pass"}
    assert run((BARE, 1), (BARE, 1), (stated, 3)) == {"broken"}
    assert run((stated, 1), (stated, 1), (BARE, 3)) == {"broken"}


def test_without_a_repeating_seed_nothing_is_proved(run: Any) -> None:
    """Where a seed was not seen to repeat, or seen not to, other pixels may have other reasons."""
    stated = {**BARE, "strength": 0.8}
    assert run((BARE, 1), (stated, 3)) == {"unproven"}
    assert run((BARE, 1), (BARE, 5), (stated, 3)) == {"unproven"}
    other = {**BARE, "size": "512x512"}
    assert run((other, 1), (other, 5), (BARE, 1), (BARE, 1), (stated, 3)) == {"unproven"}


def test_only_defaults_may_differ(run: Any) -> None:
    """Another value than the default, another seed and no seed are other requests, of which nothing is said."""
    assert run((BARE, 1), (BARE, 1), ({**BARE, "strength": 0.5}, 3)) == set()
    assert run((BARE, 1), (BARE, 1), ({**BARE, "seed": 7, "strength": 0.8}, 3)) == set()
    assert run(({"prompt": "a boat"}, 1), ({"prompt": "a boat", "strength": 0.8}, 3)) == set()


def test_pictures_that_do_not_decode_prove_nothing(run: Any) -> None:
    """They break image.decodes alone."""
    assert run((BARE, None), ({**BARE, "strength": 0.8}, 1)) == {"unproven"}


def test_the_detail_names_the_fields(recorded: Any, picture: Any) -> None:
    """What was stated is named with its default."""
    record = recorded(NANOGPT)
    for body, shade in ((BARE, 1), (BARE, 1), ({**BARE, "guidance_scale": 7.5}, 3)):
        record.add(200, {"data": [{"b64_json": picture(shade=shade)}]}, request=body, asked=SEEDED)
    (seen,) = record.observations(RULE)
    assert seen.detail == "stating guidance_scale 7.5 gives another picture than leaving it out"


@pytest.mark.parametrize(
    ("scope", "omitted", "stated"),
    [
        (
            NANOGPT,
            {"model", "n", "response_format"},
            {"model": "hidream", "n": 1, "response_format": "b64_json"},
        ),
        (NIM, None, {"mode": "text-to-image"}),
        (FLUX, {"width", "height"}, {"width": 1024, "height": 1024, "safety_tolerance": 2, "output_format": "png"}),
        (QWEN, None, {"size": "1024x1024"}),
    ],
    ids=lambda value: value.operation_id if isinstance(value, Scope) else "",
)
def test_what_is_sent(scope: Scope, omitted: set[str] | None, stated: dict[str, Any]) -> None:
    """One request leaves out all that has a default and one states all of it; both keep the seed."""
    asked = {probe.key.split("/")[1]: probe for probe in RULES[RULE].asks(scope)}
    if omitted is None:
        assert "defaults:omitted" not in asked
    else:
        assert omitted <= set(asked["defaults:omitted"].remove)
        assert asked["defaults:omitted"].expects == "accept"
    probe = asked["defaults:stated"]
    body = wire_fields(scope.provider, probe.request, scope.operation_id).body
    assert stated.items() <= body.items()
    assert body["seed"] == 42
    assert probe.expects == "accept"
    assert asked["seed-again"].repeat


@pytest.mark.parametrize(
    ("scope", "specific"),
    [
        (NANOGPT, {"strength": 0.8, "guidance_scale": 7.5, "num_inference_steps": 30, "kontext_max_mode": False}),
        (NIM, {"cfg_scale": 5, "steps": 50}),
    ],
    ids=["nanogpt", "nim"],
)
def test_what_only_some_models_know_is_stated_apart(scope: Scope, specific: dict[str, Any]) -> None:
    """Defaults of model-specific fields go into a request of their own, which a server may refuse; the other holds none of them."""
    asked = {probe.key.split("/")[1]: probe for probe in RULES[RULE].asks(scope)}
    known, all_of_it = (
        wire_fields(scope.provider, asked[name].request, scope.operation_id).body for name in ("defaults:stated", "defaults:model")
    )
    assert not specific.keys() & known.keys()
    assert {**known, **specific}.items() <= all_of_it.items()
    assert asked["defaults:model"].expects == "may-refuse"


@pytest.mark.parametrize(
    ("stated", "level"), [({"n": 1}, "must"), ({"guidance_scale": 7.5}, "should"), ({"n": 1, "strength": 0.8}, "should")]
)
def test_a_model_may_have_a_default_of_its_own(stated: dict[str, Any], level: str, recorded: Any, picture: Any) -> None:
    """Another picture breaks the promise of a field that every model knows; of one that only some know it is a deviation at most."""
    record = recorded(NANOGPT)
    for body, shade in ((BARE, 1), (BARE, 1), ({**BARE, **stated}, 3)):
        record.add(200, {"data": [{"b64_json": picture(shade=shade)}]}, request=body, asked=SEEDED)
    (seen,) = record.observations(RULE)
    assert (seen.word, seen.level) == ("broken", level)


def test_a_model_that_the_user_names_is_kept() -> None:
    """Leaving the model out would bill another one."""
    scope = Scope(load_provider("nanogpt"), "createImage", model="flux-kontext")
    for probe in RULES[RULE].asks(scope):
        assert "model" not in probe.remove
        assert probe.request.model == "flux-kontext"


def test_it_applies_where_a_seed_and_defaults_are() -> None:
    """Without a seed, or without a default, nothing can be seen."""
    assert [RULES[RULE].applies(scope) for scope in (NANOGPT, NIM, FLUX, QWEN, NEBUL, SD)] == [True, True, True, True, False, False]
