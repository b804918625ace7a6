"""A server written from the documents alone: the check finds nothing on it, and what is put into it one defect at a time.

The mocks and the rules grew up together; this server and its defects did not. The figure is in docs/peers.md.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from testcard.harness.check.mock_runs import POLL_INTERVAL_S, Memory
from testcard.harness.check.plan import Plan, make_plan
from testcard.harness.check.runner import Settings
from testcard.harness.check.session import carry_out, judge_records
from testcard.harness.check.verdicts import Judged
from testcard.harness.pricing import Pricing
from testcard.harness.rules import RULES
from testcard.specs.loader import bundled_ids, load_provider


def _beside(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"peers_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


independent, seeding = _beside("independent"), _beside("seeding")
Check = Callable[..., Judged]


@pytest.fixture(scope="module")
def judged() -> Check:
    """The verdicts on an ASGI application that takes the independent server's key."""
    plans: dict[tuple[str, tuple[str, ...]], Plan] = {}

    def run(name: str, app: Any, operations: tuple[str, ...] = ()) -> Judged:
        provider = load_provider(name)
        if (name, operations) not in plans:
            chosen = operations or tuple(provider.profile.operations)
            rules = tuple(RULES.values())
            plans[name, operations] = make_plan(provider, Pricing(provider, mock=True), rules=rules, operations=chosen, seed=0)
        plan = plans[name, operations]
        memory = Memory()
        settings = Settings("http://127.0.0.1:1", independent.KEY, poll_interval_s=POLL_INTERVAL_S)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        carried = asyncio.run(carry_out(plan, settings, Pricing(provider, mock=True), memory, transport=transport))
        return judge_records(plan.scopes, plan.rules, memory.exchanges, memory.bytes_of, not_sent=carried.not_sent(plan))

    return run


@pytest.mark.parametrize("name", bundled_ids())
def test_a_server_that_keeps_the_documents_passes(judged: Check, name: str) -> None:
    """Nothing is broken, nothing deviates, and every must is proved, though no line of the server comes from us."""
    result = judged(name, independent.SERVERS[name]())
    assert result.errors == ()
    assert [f"{one.operation} {one.rule}: {one.detail}" for one in result.verdicts if one.verdict in ("fail", "deviates")] == []
    assert result.outcome == "pass"


def _told_by(wanted: Any) -> set[str]:
    """The rules there are that may report a defect."""
    return {rule for rule in RULES if rule.startswith(wanted.areas)}


def _found(result: Judged, wanted: Any) -> set[str]:
    """Those of them that do."""
    words = ("fail", "deviates", "info") if wanted.noted else ("fail", "deviates")
    return {one.rule for one in result.verdicts if one.verdict in words} & _told_by(wanted)


def test_seeded_defects_are_caught(judged: Check) -> None:
    """Of the defects for which there is a rule at least 95 % are reported by it, each told by the first provider that can.

    With TESTCARD_SEEDED=all each is told by every provider that can (several minutes).
    """
    everywhere = os.environ.get("TESTCARD_SEEDED") == "all"
    missed, told = [], 0
    for wanted in seeding.DEFECTS:
        if not _told_by(wanted):
            continue
        for name in wanted.providers if everywhere else wanted.providers[:1]:
            told += 1
            operations = wanted.operations if name == wanted.providers[0] else ()
            result = judged(name, seeding.seeded(independent.SERVERS[name](), wanted), operations)
            if not _found(result, wanted):
                broke = sorted({one.rule for one in result.verdicts if one.verdict in ("fail", "deviates")})
                missed.append(f"{name}: {wanted.name} (found: {', '.join(broke) or 'nothing'})")
    print(f"caught {told - len(missed)} of {told}; missed: {missed}")
    assert told >= 40
    assert len(missed) <= 0.05 * told, missed
