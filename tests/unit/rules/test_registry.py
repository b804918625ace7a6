"""Every rule, by its id."""

from __future__ import annotations

from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NEBUL = Scope(load_provider("nebul"), "createImage")
QWEN = Scope(load_provider("opengpu-relay"), "generateQwen")
TASK = Scope(load_provider("opengpu-relay"), "getTask")


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
