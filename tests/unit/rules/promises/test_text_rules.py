"""Text that breaks servers: what is sent, and what an answer to it says."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest

from testcard.harness.rules.promises.texts import LONG_CHARACTERS, SURVIVES, texts
from testcard.harness.rules.registry import RULES
from testcard.harness.rules.scope import Scope
from testcard.harness.wire.encode import build, wire_fields
from testcard.specs.loader import bundled_ids, load_provider

NANOGPT = Scope(load_provider("nanogpt"), "createImage")
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
