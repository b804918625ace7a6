"""A server written from the documents alone: the check finds nothing on it, and what is put into it one defect at a time.

The mocks and the rules grew up together; this server and its defects did not. The figure is in docs/peers.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

import pytest

from testcard.specs.loader import bundled_ids


@pytest.fixture(scope="module")
def judge(seeding: ModuleType) -> Callable[..., Any]:
    """Who checks servers of a provider, of all its operations or of these."""
    return lru_cache(maxsize=None)(lambda name, operations=(): seeding.Judge(name, operations))


@pytest.mark.parametrize("name", bundled_ids())
def test_a_server_that_keeps_the_documents_passes(judge: Callable[..., Any], independent: ModuleType, name: str) -> None:
    """Nothing is broken, nothing deviates, and every must is proved, though no line of the server comes from us."""
    result = judge(name).judged(independent.SERVERS[name]())
    assert result.errors == ()
    assert [f"{one.operation} {one.rule}: {one.detail}" for one in result.verdicts if one.verdict in ("fail", "deviates")] == []
    assert result.outcome == "pass"


def test_seeded_defects_are_caught(judge: Callable[..., Any], independent: ModuleType, seeding: ModuleType) -> None:
    """Of the defects that can show at least 95 % are reported by a rule that may, each told by the first provider that can.

    With TESTCARD_SEEDED=all each is told by every provider that can (several minutes).
    """
    everywhere = os.environ.get("TESTCARD_SEEDED") == "all"
    found, most_billed = [], 0
    for name in bundled_ids():
        told = [one for one in seeding.DEFECTS if name in (one.providers if everywhere else one.providers[:1])]
        for operations in dict.fromkeys(one.operations if name == one.providers[0] else () for one in told):
            mine = [one for one in told if (one.operations if name == one.providers[0] else ()) == operations]
            found += seeding.tally(judge(name, operations), independent.SERVERS[name], mine)
            most_billed = max(most_billed, judge(name, operations).most_billed)
    for line in seeding.lines("the independent server", found):
        print(line)
    print(f"  at most {most_billed} billed pictures or answers an operation")
    counted = [one for one in found if one.counts]
    missed = [f"{one.provider}: {one.defect}" for one in counted if not one.caught]
    assert len(counted) >= 70
    assert len(missed) <= 0.05 * len(counted), missed
    assert most_billed <= 40
