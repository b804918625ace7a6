"""A server written from the documents alone: the check finds nothing on it, and what is put into it one defect at a time.

The mocks and the rules grew up together; this server and its defects did not. The figure is in docs/peers.md.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from testcard.harness.check.kill_matrix import POLL_INTERVAL_S, Memory, full_plan
from testcard.harness.check.runner import Settings
from testcard.harness.check.session import carry_out, judge_records
from testcard.harness.check.verdicts import Judged
from testcard.harness.pricing import Pricing
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
Check = Callable[[str, Any], Judged]


@pytest.fixture(scope="module")
def judged() -> Check:
    """The verdicts on an ASGI application that takes the independent server's key."""
    plans: dict[str, Any] = {}

    def run(name: str, app: Any) -> Judged:
        provider = load_provider(name)
        plan = plans.setdefault(name, full_plan(provider, 0))
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
