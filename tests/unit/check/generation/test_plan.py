"""The plan: the same bytes for the same seed, no picture paid twice, musts first, errors that name what exists."""

from __future__ import annotations

from functools import lru_cache

import pytest

from testcard.harness.check.generation.plan import Plan, choose_operations, choose_rules, make_plan
from testcard.harness.check.spending.allowance import MOST_IMAGES, at_most, most_usd
from testcard.harness.check.spending.budget import SpendingLimits
from testcard.harness.errors import UsageError
from testcard.harness.pricing import Pricing
from testcard.harness.rules.promises import RULES
from testcard.specs.loader import bundled_ids, load_provider


def plan(name: str, *, seed: int = 0, rules: tuple[str, ...] = (), **more: object) -> Plan:
    provider = load_provider(name)
    return make_plan(
        provider,
        Pricing(provider, mock=True),
        rules=choose_rules(rules),
        operations=tuple(more.pop("operations", provider.profile.operations)),  # type: ignore[arg-type]
        seed=seed,
        **more,  # type: ignore[arg-type]
    )


@lru_cache(maxsize=8)
def whole_plan(name: str) -> Plan:
    """The plan of a whole check, made once for the tests that only look at it."""
    return plan(name)


def sent(of: Plan) -> list[tuple[object, ...]]:
    wires = [step.wire(of.provider, "http://t", "key") for step in of.steps]
    return [(step.id, step.probe, wire.method, wire.url, wire.headers, wire.body) for step, wire in zip(of.steps, wires, strict=True)]


@pytest.mark.parametrize("name", ["nanogpt", "nvidia-nim-image"])
def test_same_seed_same_bytes(name: str) -> None:
    """Two plans of one seed are byte-identical in content and order; another seed's is not."""
    assert sent(plan(name)) == sent(whole_plan(name))
    assert sent(plan(name, seed=4)) != sent(whole_plan(name))


@pytest.mark.parametrize("name", bundled_ids())
def test_no_billed_request_is_sent_twice(name: str) -> None:
    """Equal requests are one step, but for those that a rule has to see answered twice; what is accepted is at most 40 pictures an operation."""
    whole = whole_plan(name)
    repeated = {
        (probe.operation, probe.key)
        for scope in whole.scopes
        for rule in whole.rules
        if rule.applies(scope)
        for probe in rule.asks(scope)
        if probe.repeat
    }
    seen: dict[tuple[object, ...], str] = {}
    for step in whole.steps:
        wire = step.wire(whole.provider, "http://t", "key")
        same = (wire.method, wire.url, wire.headers, wire.body)
        assert same not in seen or (step.operation, step.probe) in repeated, (step.probe, seen[same])
        seen[same] = step.probe
    for scope in whole.scopes:
        expected = sum(step.images for step in whole.of(scope.operation_id) if step.expects in ("accept", "may-refuse"))
        assert expected <= 40, scope.operation_id


def test_one_picture_serves_many_rules() -> None:
    """The base request is asked for by most rules and sent once."""
    base = whole_plan("nanogpt").steps[0]
    assert base.probe == "generate/base"
    assert len(base.rules) >= 9
    assert base.images == 1


def test_order_is_bases_then_musts() -> None:
    """Base requests come first; then everything that a must needs, before what only a should needs; spare combinations last."""
    steps = whole_plan("opengpu-relay").steps
    bases = [step.first for step in steps]
    assert bases == sorted(bases, reverse=True)
    spare = [step.spare for step in steps]
    assert spare == sorted(spare)
    levels = [("must", "should", "info").index(step.level) for step in steps if not (step.first or step.spare)]
    assert levels == sorted(levels)


def test_a_base_is_cheap() -> None:
    """The base request takes the cheapest documented values."""
    base = whole_plan("nanogpt").steps[0]
    assert base.terms.size == (256, 256)
    assert base.terms.n == 1
    assert base.terms.steps is None  # only some models know it


def test_every_negative_case_names_a_base_in_the_plan() -> None:
    """What is to be refused is one change away from a request that the same plan sends."""
    for name in bundled_ids():
        whole = whole_plan(name)
        keys = {(step.operation, step.probe) for step in whole.steps}
        for step in whole.steps:
            if step.expects in ("refuse", "unauthorised") and not step.probe.startswith("task/"):
                assert (step.operation, step.base) in keys, step.probe


def test_only_the_chosen_rules_are_planned() -> None:
    """--rule narrows what is sent, not only what is judged."""
    narrow = plan("nanogpt", rules=("seed.repeatable",))
    assert [step.probe for step in narrow.steps] == ["generate/base", "generate/seed-again"]
    assert not any(step.source == "schema-case" for step in plan("nanogpt", rules=("image.*",)).steps)


def test_a_polled_operation_alone_submits_one_task() -> None:
    """`--operation getTask` sends the one request it takes to have a task to poll."""
    alone = plan("opengpu-relay", operations=("getTask",))
    assert [step.terms.asynchronous for step in alone.steps if step.billed] == [True]
    assert ("getTask", "http.no-server-error") in alone.steps[0].serves


def test_without_a_key_none_is_sent() -> None:
    """--no-auth: no step carries a key and no step asks what happens without one."""
    whole = plan("nanogpt", keyless=True)
    assert {step.key_use for step in whole.steps} == {"none"}
    assert not any(step.expects == "unauthorised" for step in whole.steps)


def test_prices_are_the_worst_case() -> None:
    """Every billed step has its dearest price; the plan's is that of the dearest ones that its pictures allow, not of all."""
    whole = whole_plan("nanogpt")
    dearest = sorted((step.cost_usd / step.images for step in whole.steps if step.billed and step.cost_usd), reverse=True)
    assert at_most(whole.steps).images == MOST_IMAGES
    assert 0 < (most_usd(whole.steps) or 0) <= MOST_IMAGES * dearest[0]
    assert (most_usd(whole.steps) or 0) < sum(step.cost_usd or 0 for step in whole.steps)
    assert at_most(whole.steps, SpendingLimits(max_images=5)).images == 5
    assert 0 < (most_usd(whole.steps, 5) or 0) <= 5 * dearest[0]
    assert at_most(whole.steps, SpendingLimits(max_cost_usd=0.01)).cost_usd == 0.01
    provider = load_provider("nanogpt")
    unpriced = make_plan(provider, Pricing(provider, mock=False), rules=choose_rules(()), operations=("createImage",))
    assert most_usd(unpriced.steps) is None


def test_unknown_names_are_answered_with_known_ones() -> None:
    """A wrong operation or model is a usage error that lists what there is."""
    provider = load_provider("nanogpt")
    with pytest.raises(UsageError) as operation:
        choose_operations(provider, ("createPicture",), None)
    assert "createImage" in str(operation.value.hint)
    with pytest.raises(UsageError) as model:
        choose_operations(load_provider("opengpu-relay"), ("generateFlux",), "hidraem")
    assert "no field of generateFlux names one" in str(model.value)


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("image.cout", "did you mean image.count"),
        ("cout", "did you mean image.count"),
        ("imgae.*", "did you mean image.*?"),
        ("nope", "the areas are http.*, auth.*"),
    ],
)
def test_a_rule_that_is_none_brings_the_nearest(pattern: str, said: str) -> None:
    """Not all of them: who mistyped wants the one that was meant, who guessed the areas and where all are listed."""
    with pytest.raises(UsageError) as rule:
        choose_rules((pattern,))
    assert said in str(rule.value.hint)
    assert len(str(rule.value.hint)) < 200


def test_a_model_narrows_the_operations() -> None:
    """--model checks the operations that offer it."""
    relay = load_provider("opengpu-relay")
    assert choose_operations(relay, (), "Qwen/qwen-image") == ("generateQwen",)


def test_globs_choose_rules_in_registry_order() -> None:
    """Globs add up, and the order is that of `RULES`."""
    assert [rule.id for rule in choose_rules(("seed.rep*", "image.c*"))] == ["image.count", "seed.repeatable"]
    assert choose_rules(()) == tuple(RULES.values())
