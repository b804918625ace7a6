"""Rules about the key, on exchanges made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from testcard.harness.check.judging.levels import level_of
from testcard.harness.rules.promises import RULES
from testcard.harness.rules.scope import Scope
from testcard.specs.loader import load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
NIM = Scope(load_provider("nvidia-nim-image"), "generateImage")
TASK = Scope(load_provider("opengpu-relay"), "getTask")
KEYS = ["auth.required", "auth.wrong-refused"]


def keyed(run: Any, rule: str, status: int | None, *, base: int = 200) -> Any:
    """A base request, and the same without its key (or with a wrong one), answered with a status."""
    run.add(base)
    return run.add(status, probe="generate/k", base="generate/base", expects="unauthorised", change="no key", rules=[rule])


@pytest.mark.parametrize("rule", KEYS)
def test_a_key_is_needed(recorded: Any, rule: str) -> None:
    """401, 403 and any other 4xx refuse; a success breaks it, whatever the base did; the rest proves nothing."""
    for status in (401, 403, 400, 404):
        assert keyed(recorded(NANOGPT), rule, status).words(rule) == {"pass"}
    for status in (200, 202, 302):
        assert keyed(recorded(NANOGPT), rule, status).words(rule) == {"broken"}
    for status in (500, 429, 402, None):
        assert keyed(recorded(NANOGPT), rule, status).words(rule) == {"unproven"}
    assert keyed(recorded(NANOGPT), rule, 401, base=400).words(rule) == {"unproven"}
    assert keyed(recorded(NANOGPT), rule, 200, base=400).words(rule) == {"broken"}


def test_each_rule_judges_its_own_request(recorded: Any) -> None:
    """A wrong key that is taken says nothing about a missing one, and the other way round."""
    assert keyed(recorded(NANOGPT), "auth.wrong-refused", 200).words("auth.required") == set()
    assert keyed(recorded(NANOGPT), "auth.required", 200).words("auth.wrong-refused") == set()


@pytest.mark.parametrize("rule", [*KEYS, "auth.not-echoed"])
def test_without_a_key_nothing_is_said_of_keys(recorded: Any, rule: str) -> None:
    """With --no-auth the rules are unsupported and ask for nothing."""
    keyless = replace(NANOGPT, keyless=True)
    assert recorded(keyless).add(200).words(rule) == {"unsupported"}
    assert all(probe.key_use == "right" for probe in RULES[rule].asks(keyless))


def test_operations_that_need_no_key() -> None:
    """Polling a task needs no key, so nothing is promised about one."""
    assert not any(RULES[rule].applies(TASK) for rule in KEYS)


def test_levels_of_a_wrong_key() -> None:
    """NIM documents 401 for a missing or invalid key; the other documents speak of no wrong one."""
    assert (level_of(NIM, RULES["auth.wrong-refused"]), level_of(NANOGPT, RULES["auth.wrong-refused"])) == ("must", "should")


def test_the_key_is_not_echoed(recorded: Any) -> None:
    """An answer that shows the key breaks it, whatever its status."""
    rule = "auth.not-echoed"
    for status in (200, 400):
        run = recorded(NANOGPT).add(200).add(status)
        assert run.words(rule) == {"pass"}
        record = run.records[-1]
        run.records[-1] = msgspec.structs.replace(record, response=msgspec.structs.replace(record.response, key_echoed=True))
        assert run.words(rule) == {"pass", "broken"}
    assert recorded(NANOGPT).add(None, failure="timeout").words(rule) == set()
