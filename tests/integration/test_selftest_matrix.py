"""The kill matrix: every fault of every mock is caught by its rule, and nothing else cries."""

from __future__ import annotations

import asyncio
import json

import pytest

from testcard.harness.check.kill_matrix import FaultRun, Matrix, kill_matrix
from testcard.harness.cli import run
from testcard.harness.rules import RULES
from testcard.specs.loader import bundled_ids, load_provider


@pytest.mark.parametrize("name", bundled_ids())
def test_every_fault_is_caught(name: str) -> None:
    """The conforming mock breaks no rule; each fault breaks its own on every operation, and no rule that it does not list."""
    matrix = asyncio.run(kill_matrix([load_provider(name)], complete=False))
    assert matrix.conforming == {name: ()}
    assert [f"{one.fault} missed on {one.missed or one.operations}" for one in matrix.runs if not one.caught] == []
    assert [f"{one.fault} also breaks {one.unexpected}" for one in matrix.runs if one.unexpected] == []
    assert not matrix.errors
    assert matrix.full


def test_every_rule_has_a_fault() -> None:
    """No rule is there that nothing can trip."""
    from testcard.mocks.faults import FAULTS

    assert {fault.rule for fault in FAULTS.values()} == set(RULES)


def test_the_command_prints_the_matrix(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`testcard selftest` prints one row a fault and exits with 0 when the matrix is full."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    assert run(["selftest", "--provider", "nvidia-nim-vision"]) == 0
    out = capsys.readouterr().out
    assert "the kill matrix is full" in out
    assert "http.no-server-error/on-valid" in out
    assert run(["selftest", "--provider", "nvidia-nim-vision", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["caught"] == record["faults"] > 5


def one(fault: str = "image.size", broke: tuple[str, ...] = ("image.size",), **more: tuple[str, ...]) -> FaultRun:
    return FaultRun("nanogpt", fault, fault.partition("/")[0], more.get("allowed", ()), broke, ("createImage",), more.get("missed", ()))


ALL = tuple(one(rule, (rule,)) for rule in RULES)


@pytest.mark.parametrize(
    "runs",
    [
        (*ALL, one("image.size/half", ())),
        (*ALL, one("image.size/half", missed=("createImage",))),
        (*ALL, one("image.size/half", ("image.size", "image.count"))),
        (*ALL, one("image.size/half", allowed=("image.count",))),
        ALL[1:],
    ],
    ids=["fault missed", "missed on one operation", "unexpected trip", "listed but never tripped", "rule without a fault"],
)
def test_a_matrix_with_a_hole_is_not_full(runs: tuple[FaultRun, ...]) -> None:
    """A missed fault, an unlisted trip, a stale list or a rule without a fault each make it fail."""
    assert Matrix(ALL, {"nanogpt": ()}, ()).full
    assert not Matrix(runs, {"nanogpt": ()}, ()).full
    assert not Matrix(ALL, {"nanogpt": ("image.size",)}, ()).full
    assert not Matrix(ALL, {"nanogpt": ()}, ("a rule raised",)).full
