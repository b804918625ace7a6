"""Every rule, by its id."""

from __future__ import annotations

from testcard.harness.rules.promises import RULES
from testcard.harness.rules.rule import AREAS
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NEBUL = Scope(load_provider("nebul"), "createImage")
QWEN = Scope(load_provider("opengpu-relay"), "generateQwen")
TASK = Scope(load_provider("opengpu-relay"), "getTask")


def test_every_rule_stands_in_an_area() -> None:
    """The table of areas names the groups of reports: no rule is outside of them, no area is empty, and ids begin with the area's word."""
    assert {rule.area.word for rule in RULES.values()} == set(AREAS)
    assert all(rule.id.startswith(f"{rule.area.word}.") for rule in RULES.values())


def test_a_rule_says_what_shows_its_findings() -> None:
    """Rules about pictures show pictures, those that hold two answers side by side show both, and any rule may say otherwise."""
    shown = {rule_id: RULES[rule_id].evidence for rule_id in ("image.size", "seed.repeatable", "http.media-type", "async.result")}
    assert shown == {"image.size": "pictures", "seed.repeatable": "pictures", "http.media-type": "exchange", "async.result": "pair"}
    assert RULES["request.default-applied"].evidence == "pictures"
    assert {RULES[rule_id].evidence for rule_id in ("http.steady", "answer.balance-falls", "answer.cost-grows")} == {"pair"}


def test_every_rule_says_what_it_promises() -> None:
    """A rule's sentence is one sentence for a report, and its id is area.promise."""
    for rule in RULES.values():
        assert rule.sentence.endswith(".")
        assert "\n" not in rule.sentence
        area, _, promise = rule.id.partition(".")
        assert area.isalpha()
        assert promise.replace("-", "").isalnum()


def test_rules_look_only_at_tasks_they_apply_to() -> None:
    """The profile decides: no seed rule without a seed, no picture rule for an operation that polls."""
    assert not RULES["seed.repeatable"].applies(NEBUL)
    assert RULES["seed.repeatable"].applies(QWEN)
    for rule in ("image.count", "auth.required", "request.accepts-valid", "delivery.exclusive"):
        assert not RULES[rule].applies(TASK)
