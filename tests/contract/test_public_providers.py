"""The further providers in the box, written from public documentation: lint accepts each, and its mock keeps its contract.

No more than that of each, for they are made of the same parts as the five that are tested closely.
"""

from __future__ import annotations

import asyncio

import pytest

from testcard.harness.selftest.mock_runs import full_plan, judge_mock
from testcard.harness.targets import mock_name
from testcard.specs.lint import lint
from testcard.specs.loader import PUBLIC, bundled_ids, known_ids, load_provider, public_ids


@pytest.mark.parametrize("name", public_ids())
def test_its_mock_keeps_its_contract(name: str) -> None:
    """Nothing is broken and no must is left open; a public page stands behind it."""
    assert lint(PUBLIC / name) == []
    provider = load_provider(name)
    assert (provider.id, mock_name(provider)) == (name, name)
    assert provider.profile.document.startswith("https://")
    verdicts = asyncio.run(judge_mock(full_plan(provider, 0), [])).verdicts
    assert [one for one in verdicts if one.verdict in ("fail", "deviates")] == []
    assert [one for one in verdicts if one.level == "must" and one.verdict in ("unproven", "not-run")] == []


def test_commands_know_them_where_they_are_named() -> None:
    """They stand beside the five, and are not among those that a command takes up by itself."""
    assert set(known_ids()) == {*bundled_ids(), *public_ids()}
    assert not set(bundled_ids()) & set(public_ids())


def test_list_prices_name_a_public_page() -> None:
    """A price that counts as a list price says at which address it was read."""
    prices = [price for name in public_ids() for price in load_provider(name).profile.prices if price.status == "list"]
    assert prices
    assert all("https://" in price.source for price in prices)
