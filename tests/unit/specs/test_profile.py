"""What a profile may say, and in how few words."""

from __future__ import annotations

from typing import Any

import pytest

from testcard.specs.profile import AsyncProtocol, Profile, ResponseMap
from testcard.specs.wrong_keys import wrong_keys


def profile(**more: Any) -> Profile:
    """The least that a profile holds, and more."""
    least = {
        "schema": "testcard.profile/1", "id": "one", "name": "One", "document": "one.yaml", "base_urls": ["http://localhost"],
        "auth": {}, "tasks": {}, "models": [], "operations": {},
    }  # fmt: skip
    return Profile.model_validate({**least, **more})


@pytest.mark.parametrize(
    ("written", "levels"),
    [
        ("must", ["must"]),
        ({"level": "info"}, ["info"]),
        (["should", {"note": "the rule's own level"}], ["should", None]),
    ],
)
def test_a_rule_entry_may_be_a_level_alone(written: object, levels: list[str | None]) -> None:
    """`image.size: must` says what a table of keys would; what an entry leaves out is the rule's own."""
    assert [entry.level for entry in profile(rules={"image.size": written}).rules["image.size"]] == levels


def test_an_amount_may_be_a_place_alone() -> None:
    """A place alone is an amount in dollars; a table gives the worth of one unit."""
    map_ = ResponseMap.model_validate({"cost": "/cost", "balance": {"at": "header:x-credits", "usd_each": 0.01}})
    assert map_.cost is not None
    assert (map_.cost.at, map_.cost.usd_each) == ("/cost", 1.0)
    assert map_.balance is not None
    assert (map_.balance.at, map_.balance.usd_each) == ("header:x-credits", 0.01)


def test_states_are_read_by_phase() -> None:
    """Several words may stand for one phase, and a word for none; refusals for content are an end as well."""
    protocol = AsyncProtocol.model_validate(
        {"status": 200, "state": "/status", "states": {"running": "Pending", "completed": "Ready", "moderated": ["Request Moderated", "Content Moderated"]}}
    )  # fmt: skip
    words = ["Pending", "Ready", "Content Moderated", "Unheard of", None]
    assert [protocol.phase(word) for word in words] == ["running", "completed", "moderated", None, None]
    assert [protocol.ended(word) for word in words] == [False, True, True, False, False]
    assert (protocol.word("moderated"), protocol.word("failed")) == ("Request Moderated", None)
    assert protocol.status == (200,)


def test_a_provider_may_need_no_key() -> None:
    """Without a header no key is sent, and none is asked for."""
    assert profile().auth.headers == ()


def test_wrong_words_are_told_by_key() -> None:
    """A mistake below a shorthand is placed at its own key."""
    data = {"schema": "testcard.profile/1", "id": "one", "rules": {"image.size": "always"}, "async": {"states": {"done": "Ready"}}}
    said = dict(wrong_keys(Profile, data))
    assert ("async", "states", "done") in said
    assert any(pointer[:2] == ("rules", "image.size") for pointer in said)
