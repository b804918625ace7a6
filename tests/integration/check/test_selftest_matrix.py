"""The kill matrix: every fault of every mock is caught by its rule, and nothing else cries."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from testcard.harness.cli import run
from testcard.harness.rules.promises import RULES
from testcard.harness.selftest.kill_matrix import FaultRun, Matrix, broken_rules, kill_matrix
from testcard.harness.selftest.mock_runs import full_plan, judge_mock, narrowed, place
from testcard.specs.loader import bundled_ids, load_provider


@pytest.mark.parametrize("name", bundled_ids())
def test_every_fault_is_caught(name: str) -> None:
    """The conforming mock breaks no rule; each fault breaks its own on every operation, and no rule that it does not list."""
    matrix = kill_matrix([load_provider(name)], complete=False)
    assert matrix.conforming == {name: ()}
    assert [f"{one.fault} missed on {one.missed or one.operations}" for one in matrix.runs if not one.caught] == []
    assert [f"{one.fault} also breaks {one.unexpected}" for one in matrix.runs if one.unexpected] == []
    assert not matrix.errors
    assert matrix.full


def test_every_rule_has_a_fault() -> None:
    """No rule is there that nothing can trip."""
    from testcard.mocks.faults import FAULTS

    assert {fault.rule for fault in FAULTS.values()} == set(RULES)


def test_a_fault_stands_where_its_rule_does() -> None:
    """The module of a fault is called as the module of its rule: who knows one finds the other. Those that only a provider of a user's
    own can tell stand together in `ways`, whatever their rule."""
    from testcard.mocks.faults import FAULTS

    modules = {
        name: (fault.hook.function.__module__.rpartition(".")[2], RULES[fault.rule].judge.__module__.rpartition(".")[2])
        for name, fault in FAULTS.items()
    }
    assert {name: found for name, found in modules.items() if found[0] not in (found[1], "ways")} == {}


def test_the_command_prints_the_matrix(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`testcard selftest` prints one row a fault and exits with 0 when the matrix is full."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    assert run(["selftest", "--provider", "nvidia-nim-vision", "--processes", "1"]) == 0
    out = capsys.readouterr().out
    assert "the kill matrix is full" in out
    assert "http.no-server-error/on-valid" in out
    assert run(["selftest", "--provider", "nvidia-nim-vision", "--fault", "http.*", "--processes", "2", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["caught"] == record["faults"] > 5


def test_a_thorough_run_meets_everything_over_sockets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`--full` tells each fault to every request of a check, over a socket, under three seeds."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    assert (
        run(["selftest", "--full", "--provider", "nvidia-nim-vision", "--fault", "http.body-complete*", "--json", "--processes", "1"]) == 0
    )
    record = json.loads(capsys.readouterr().out)
    assert record["seeds"] == [0, 1, 2]
    assert (record["faults"], record["caught"]) == (3, 3)
    assert {(one["fault"], one["seed"]) for one in record["runs"]} >= {("http.body-complete/chunks", 2), ("http.body-complete", 0)}
    assert record["conforming"] == {"nvidia-nim-vision": []}


def test_one_socket_serves_one_mock_after_the_other() -> None:
    """Mocks that follow each other at one address share neither faults nor tasks, and pictures only where all about them is equal."""
    plan = narrowed(full_plan(load_provider("nanogpt"), 0, cases=False), ("createImage",), ("image.count", "seed.repeatable"))
    with place() as at:
        seen = [asyncio.run(judge_mock(plan, faults, at=at)) for faults in ((), ("image.count",), (), ("seed.repeatable",))]
    broke = [broken_rules(plan.provider, judged) for judged in seen]
    assert broke == [(), ("image.count",), (), ("seed.repeatable",)]
    assert broken_rules(plan.provider, asyncio.run(judge_mock(plan, ("image.count",)))) == ("image.count",)


def test_a_narrow_run_sends_what_its_rules_need() -> None:
    """A fault's run holds the requests of its rule and of the rules it lists, their bases, and what those wait for."""
    whole = full_plan(load_provider("nanogpt"), 0)
    narrow = narrowed(whole, ("createImage",), ("seed.repeatable",))
    assert [step.probe for step in narrow.steps] == ["generate/base", "generate/seed-again"]
    keys = {step.probe for step in narrowed(whole, ("createImage",), ("request.refuses-invalid",)).steps}
    assert keys < {step.probe for step in whole.steps}
    assert all(step.base in keys for step in whole.steps if step.probe in keys and step.base is not None)


def test_only_thorough_runs_and_rules_about_requests_need_generated_cases() -> None:
    """A plan without generated cases is the rest of the plan with them."""
    provider = load_provider("nebul")
    with_cases, without = full_plan(provider, 0), full_plan(provider, 0, cases=False)
    assert {step.probe for step in with_cases.steps if step.source == "probe"} >= {step.probe for step in without.steps}
    assert all(step.source == "probe" for step in without.steps)


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


def test_a_fault_is_caught_when_every_seed_catches_it() -> None:
    """One seed under which a fault gets away is enough to miss it."""
    matrix = Matrix((one(), replace(one(broke=()), seed=1), one("image.count", ("image.count",))), {"nanogpt": ()}, (), seeds=(0, 1))
    assert matrix.faults() == {("nanogpt", "image.size"): False, ("nanogpt", "image.count"): True}
    assert matrix.faults("nebul") == {}
    assert not matrix.full
