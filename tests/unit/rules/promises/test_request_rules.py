"""What has to be accepted is, what has to be refused is, each kind judged by its own rule."""

from __future__ import annotations

from typing import Any

import pytest

from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

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
