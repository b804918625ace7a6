"""Rules about what requests may say: valid and broken requests, awkward text, documented defaults."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest

from testcard.harness.rules.promises import RULES
from testcard.harness.rules.promises.request import LONG_CHARACTERS, SURVIVES, texts
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.encode import build
from testcard.harness.wire.fields import wire_fields
from testcard.specs.loader import bundled_ids, load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NEBUL = Scope(load_provider("nebul"), "createImage")
FLUX = Scope(load_provider("opengpu-relay"), "generateFlux")
GPT = Scope(load_provider("opengpu-relay"), "generateGptImage")
QWEN = Scope(load_provider("opengpu-relay"), "generateQwen")
REFUSALS = ("request.refuses-invalid", "request.step", "request.n-range")


def test_accepts_valid(recorded: Any) -> None:
    """A refusal of a stated value breaks it, of a tolerated one is unsupported; 429, 5xx and a refused base prove nothing."""
    rule = "request.accepts-valid"
    assert recorded(NANOGPT).add(200).words(rule) == {"pass"}
    assert recorded(NANOGPT).add(400).words(rule) == {"broken"}
    assert recorded(NANOGPT).add(400, expects="may-refuse").words(rule) == {"unsupported"}
    assert recorded(NANOGPT).add(429).add(500, probe="b").add(None, probe="c", failure="timeout").words(rule) == {"unproven"}
    refused_base = recorded(NANOGPT).add(400).add(400, probe="generate/size:512x512", base="generate/base")
    assert refused_base.words(rule) == {"broken", "unproven"}
    assert recorded(NANOGPT).add(200).add(403, probe="b", base="generate/base").words(rule) == {"pass", "unproven"}
    assert recorded(QWEN).add(202, {"task_id": "t", "status": "queued"}).words(rule) == {"pass"}


def test_a_refused_combination_names_the_value_that_nothing_was_carried_out_with(recorded: Any) -> None:
    """Of a generated request with many values, those that other requests were carried out with are not to blame."""
    run = recorded(NANOGPT).add(200, asked={"task": "generate", "size": [256, 256], "seed": 42})
    run.add(
        400,
        {"error": 400, "message": "no"},
        probe="schema/generate/values-01",
        source="schema-case",
        base="generate/base",
        change="size 512x512, seed 42, user testcard",
        asked={"task": "generate", "prompt": "a boat", "size": [256, 256], "seed": 42, "quality": "high", "extra": {"mode": "x"}},
    )
    (broken,) = [one for one in run.observations("request.accepts-valid") if one.word == "broken"]
    assert broken.detail.startswith("quality high, mode x: refused with status 400 (no)")


def test_a_value_that_explains_one_refusal_is_named_for_the_others(recorded: Any) -> None:
    """What is the only suspect of one request is the only one named for every request that has it; another has its own."""
    run = recorded(NANOGPT).add(200, asked={"n": 1})
    more: dict[str, Any] = {"source": "schema-case", "base": "generate/base"}
    run.add(400, asked={"n": 1, "extra": {"mode": "x"}}, **more)
    run.add(400, asked={"n": 1, "quality": "high", "style": "vivid", "extra": {"mode": "x"}}, **more)
    run.add(400, asked={"n": 1, "quality": "low", "style": "plain"}, **more)
    named = [one.detail.partition(":")[0] for one in run.observations("request.accepts-valid") if one.word == "broken"]
    assert named == ["mode x", "mode x", "quality low, style plain"]


def test_no_value_is_named_where_the_same_request_was_carried_out_too(recorded: Any) -> None:
    """A server that refuses now and then refuses no value."""
    run = recorded(NANOGPT).add(200, asked={"n": 1}).add(400, asked={"n": 1}, base="generate/base", change="the same request again")
    change = "quality high, 2 more"
    run.add(400, asked={"quality": "high"}, source="schema-case", base="generate/base", change=change, request={"quality": "high"})
    named = [one.detail.partition(":")[0] for one in run.observations("request.accepts-valid") if one.word == "broken"]
    assert named == ["the same request again", change]


def test_a_value_that_always_fails_is_named(recorded: Any) -> None:
    """Two requests with a value answered 500, and none carried out with it, isolate it; one alone, or a crash now and then, does not."""
    rule = "request.accepts-valid"
    asked = {"size": "auto", "n": 1}
    seen = recorded(NANOGPT).add(200, asked={"size": "512x512", "n": 1})
    assert seen.add(500, asked=asked).words(rule) == {"pass", "unproven"}
    seen.add(500, asked={**asked, "seed": 3})
    broken = [one.detail for one in seen.observations(rule) if one.word == "broken"]
    assert len(broken) == 2
    assert all(detail.startswith("size auto: status 500") for detail in broken)
    assert seen.add(200, asked=asked).words(rule) == {"pass", "unproven"}
    everything = recorded(NANOGPT).add(500, asked=asked).add(500, asked=asked)
    assert everything.words(rule) == {"unproven"}


def test_a_model_that_nobody_lists_may_be_refused(recorded: Any) -> None:
    """Who asks for a model of their own learns what the server says; no promise is broken by it."""
    rule = "request.accepts-valid"
    assert recorded(Scope(NANOGPT.provider, "createImage", model="tidy-9")).add(404).words(rule) == {"unproven"}
    assert recorded(NANOGPT).add(404).words(rule) == {"broken"}


@pytest.mark.parametrize("rule", REFUSALS)
def test_a_broken_request_is_refused(rule: str, recorded: Any) -> None:
    """A 4xx passes, a 2xx breaks it; without an accepted base nothing is proved, nor by a 5xx or silence."""
    scope = {"request.step": FLUX, "request.n-range": GPT}.get(rule, NANOGPT)

    def run(status: int | None, base: int = 200, **more: Any) -> Any:
        return (
            recorded(scope)
            .add(base)
            .add(status, probe="generate/broken", expects="refuse", base="generate/base", change="n = 0", rules=(rule,), **more)
        )

    assert run(400).words(rule) == run(422).words(rule) == run(404).words(rule) == {"pass"}
    assert run(200).words(rule) == {"broken"}
    assert run(307).words(rule) == {"broken"}
    assert run(400, base=400).words(rule) == {"unproven"}
    assert run(500).words(rule) == run(429).words(rule) == run(None, failure="timeout").words(rule) == {"unproven"}
    assert run(200, level="should").observations(rule)[0].level == "should"


def test_each_rule_judges_what_it_asked_for(recorded: Any) -> None:
    """A picture that should have been refused, or n out of range, says nothing about required fields, and the other way round."""
    run = recorded(GPT).add(200).add(200, probe="x", expects="refuse", base="generate/base", rules=("input.undecodable-refused",))
    assert [run.words(rule) for rule in REFUSALS] == [set(), set(), set()]
    run.add(200, probe="y", expects="refuse", base="generate/base", rules=("request.n-range",))
    assert [run.words(rule) for rule in REFUSALS] == [set(), set(), {"broken"}]


def test_rules_of_steps_and_ranges_apply_where_the_schema_has_them() -> None:
    """Only Flux documents a step, only GPT Image bounds on n."""
    for scope in (NANOGPT, NEBUL, FLUX, GPT, QWEN):
        assert RULES["request.step"].applies(scope) == (scope is FLUX)
        assert RULES["request.n-range"].applies(scope) == (scope is GPT)


# ── text ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
RELAY = Scope(load_provider("opengpu-relay"), "generateFlux")
SCOPES = [
    pytest.param(Scope(load_provider(name), operation), id=f"{name}-{operation}")
    for name in bundled_ids()
    for operation, profile in load_provider(name).profile.operations.items()
    if profile.kind != "task"
]


def test_the_texts_hold_what_their_names_say() -> None:
    """Astral, right-to-left and combining scripts, quotes of all kinds, a NUL and an escape, and exactly ten thousand characters."""
    scripts, controls, long = (text for _, text in texts().values())
    assert any(ord(character) > 0xFFFF for character in scripts)
    assert {"R", "AL", "RLO"} <= {unicodedata.bidirectional(character) for character in scripts}
    assert set("\"'`\\<>{}%$;") <= set(scripts)
    assert {"\0", "\x1b", "\x7f", "\ufeff"} <= set(controls)
    assert len(long) == LONG_CHARACTERS
    for text in (scripts, controls, long):
        assert json.loads(json.dumps(text)) == text
        text.encode()


@pytest.mark.parametrize("scope", SCOPES)
def test_every_operation_that_takes_text_is_tried(scope: Scope) -> None:
    """Three requests beside the base, each with its text unharmed in the body, each free to be refused."""
    assert RULES[SURVIVES].applies(scope)
    asked = [probe for probe in RULES[SURVIVES].asks(scope) if probe.base is not None]
    assert len(asked) == 3
    for probe, (_, text) in zip(asked, texts().values(), strict=True):
        assert probe.expects == "may-refuse"
        body = build(scope.provider, wire_fields(scope.provider, probe.request, scope.operation_id), base_url="", api_key=None).body
        assert text.encode() in body or json.dumps(text, ensure_ascii=False).encode() in body or json.dumps(text).encode() in body


@pytest.mark.parametrize(
    ("status", "failure", "word"),
    [
        (200, None, "pass"),
        (400, None, "pass"),
        (413, None, "pass"),
        (500, None, "broken"),
        (502, None, "broken"),
        (None, "broken", "broken"),
        (None, "timeout", "unproven"),
        (429, None, "unproven"),
        (402, None, "unproven"),
    ],
)
def test_text_survives(status: int | None, failure: str | None, word: str, recorded: Any) -> None:
    """Carried out or refused passes, failing breaks it, quota and silence prove nothing."""
    run = (
        recorded(NANOGPT)
        .add(200)
        .add(status, probe="generate/text:scripts", expects="may-refuse", base="generate/base", rules=(SURVIVES,), failure=failure)
    )
    assert run.words(SURVIVES) == {word}


def test_other_requests_are_no_evidence(recorded: Any) -> None:
    """A 5xx to something else is told by http.no-server-error alone; a documented late 504 is no failure."""
    assert recorded(NANOGPT).add(500, rules=(SURVIVES,)).add(500, base="generate/base").words(SURVIVES) == set()
    late = recorded(RELAY).add(504, base="generate/base", expects="may-refuse", rules=(SURVIVES,), took_s=300.5)
    assert late.words(SURVIVES) == {"unproven"}


# ── documented defaults ───────────────────────────────────────────────────────────────────────────────────────────────
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
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
