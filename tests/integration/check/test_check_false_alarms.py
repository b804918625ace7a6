"""Conforming servers of other manners: the check stays silent about what a document leaves open."""

from __future__ import annotations

import asyncio
import time

import pytest

from testcard.harness.selftest.mock_runs import API_KEY, FASTER, judge_app
from testcard.mocks.app import create_app
from testcard.specs.loader import bundled_ids, load_provider
from testkit.plans import whole_plan


@pytest.mark.parametrize("name", bundled_ids())
def test_a_strict_server_passes(name: str) -> None:
    """Refusing whatever may be refused, with 400, 404, 413, 415 or 422 and errors of any shape: no rule breaks, none is in doubt."""
    provider = load_provider(name)
    app = create_app([provider], variant="strict", api_key=API_KEY, timer=lambda: time.monotonic() * FASTER)
    judged = asyncio.run(judge_app(whole_plan(name), app))
    assert judged.outcome == "pass"
    assert [f"{one.operation} {one.rule}: {one.detail}" for one in judged.verdicts if one.verdict not in ("pass", "unsupported")] == []


@pytest.mark.parametrize("name", bundled_ids())
def test_a_generous_server_passes(name: str) -> None:
    """Further fields, nulls, other formats, base64 for a URL: no rule breaks but the one about the coercion it really does."""
    provider = load_provider(name)
    app = create_app([provider], variant="generous", api_key=API_KEY, timer=lambda: time.monotonic() * FASTER)
    judged = asyncio.run(judge_app(whole_plan(name), app))
    assert judged.outcome == "pass"
    assert {one.rule for one in judged.verdicts if one.verdict in ("fail", "deviates")} <= {"request.refuses-invalid"}
    assert not any(one.verdict in ("unproven", "not-run") for one in judged.verdicts)
