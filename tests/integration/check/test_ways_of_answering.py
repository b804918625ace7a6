"""Ways an image API answers, each by a small provider of a user's own: the check is green against its mock, and red under each fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from testcard.harness.selftest.kill_matrix import faults_of, kill_matrix
from testcard.mocks.faults import FAULTS
from testcard.specs.lint import lint
from testcard.specs.loader import load_provider

TESTS = Path(__file__).parents[2]
WAYS = sorted((TESTS / "fixtures" / "ways").iterdir())
#: Documents as they come, with nested fields, forms of names and values, tasks under other names and other statuses.
FOREIGN = [TESTS / "contract" / "foreign" / "documents" / name for name in ("form", "kiln", "lantern", "predictions", "wanda")]
FOREIGN += [TESTS.parent / "specs" / "public" / "leonardo"]  # a task whose acceptance names no state


@pytest.mark.parametrize("folder", WAYS, ids=lambda folder: folder.name)
def test_lint_accepts_each(folder: Path) -> None:
    """Lint has nothing to say against any of them."""
    assert lint(folder) == []


def test_every_fault_of_own_providers_alone_meets_one_of_them() -> None:
    """What no provider in the box can tell is caught here: none of those faults is left without a provider."""
    alone = {fault.name for fault in FAULTS.values() if not fault.places}
    assert alone
    assert alone <= {one.name for folder in WAYS for one in faults_of(load_provider(str(folder)))}


@pytest.mark.parametrize("folder", [*WAYS, *FOREIGN], ids=lambda folder: folder.name)
def test_the_conforming_mock_breaks_nothing_and_every_fault_is_caught(folder: Path) -> None:
    """Each fault that the provider's mock can tell breaks its rule, on every operation, and no rule that the fault does not list."""
    provider = load_provider(str(folder))
    matrix = kill_matrix([provider], complete=False)
    assert matrix.conforming == {provider.id: ()}
    assert matrix.errors == ()
    assert len(matrix.runs) == len(faults_of(provider)) > 0
    assert [(run.fault, run.broke) for run in matrix.runs if not run.caught or run.unexpected] == []
