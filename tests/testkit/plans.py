"""Whole plans, made once in a process: the largest takes five seconds."""

from __future__ import annotations

from functools import lru_cache

from testcard.harness.check.generation.plan import Plan
from testcard.harness.selftest.mock_runs import full_plan
from testcard.specs.loader import load_provider


@lru_cache(maxsize=8)
def whole_plan(name: str) -> Plan:
    """Everything that a check of a bundled provider's mock sends, with seed 0."""
    return full_plan(load_provider(name), 0)
