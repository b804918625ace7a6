"""Workload files: what is bundled loads, what is wrong is said with file, key and reason."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from testcard.benchmarks.command import LoadFlags, resolve_workload
from testcard.benchmarks.plan.workload import benign_prompts, bundled, load_workload, parse_workload
from testcard.benchmarks.run.options import BenchOptions, default_workload
from testcard.benchmarks.search.bracket import SearchPlan
from testcard.harness.config import Config, TargetSection
from testcard.harness.errors import UsageError
from testcard.harness.runs.records import SummaryRow
from testcard.harness.statistics.matching import _stage


@pytest.mark.parametrize("name", bundled())
def test_bundled_workloads_load(name: str) -> None:
    """Each bundled workload is valid and says what it is for."""
    workload = load_workload(name)
    assert workload.name == name
    assert workload.description
    assert workload.slo


def test_quick_offers_enough_for_p95_and_for_round_intervals() -> None:
    """At least 100 requests a row, in at least six rounds."""
    quick = load_workload("quick")
    assert sum((stage.rate_rps or 0) * stage.duration_s for stage in quick.stage) >= 110
    assert quick.rounds >= 6


def test_the_prompts_ship_and_differ() -> None:
    """At least 24 different prompts, none of them a comment."""
    prompts = benign_prompts()
    assert len(prompts) == len(set(prompts)) >= 24
    assert not any(prompt.startswith("#") for prompt in prompts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rounds = 2", "stage"),
        ("[[stage]]\nduration_s = 1", "either rate_rps or users"),
        ("[[stage]]\nrate_rps = 1\nusers = 2\nduration_s = 1", "either rate_rps or users"),
        ("[[stage]]\nrate_rps = -1\nduration_s = 1", "stage.0.rate_rps"),
        ("[[stage]]\nrate_rps = 1\nduration_s = 1\n[[stage]]\nrate_rps = 1\nduration_s = 2", "same name"),
        ("speed = 3\n[[stage]]\nrate_rps = 1\nduration_s = 1", "speed"),
        ('sizes = ["big"]\n[[stage]]\nrate_rps = 1\nduration_s = 1', "big"),
        ('slo = ["p95<8"]\n[[stage]]\nrate_rps = 1\nduration_s = 1', "unit"),
        ("stage = ]", "mine.toml:1:"),
        ("[[stage]]\nrate_rps = 1\nduration_s = inf\nname = 3", "mine.toml:3: stage.0.duration_s: has to be a finite number"),
        ("[[stage]]\nrate_rps = 1\nduration_s = 1\nname = 3", "mine.toml:4: stage.0.name: has to be a text in quotes, not 3"),
        ("round = 2\n[[stage]]\nrate_rps = 1\nduration_s = 1", "mine.toml:1: round: is no key here; did you mean rounds?"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, expected: str) -> None:
    """The message names the file and the key or the reason."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        load_workload(str(path))
    assert "mine.toml" in raised.value.message
    assert expected in raised.value.message
    assert raised.value.exit_code == 2


def test_one_mistake_is_told_once(tmp_path: Path) -> None:
    """A list all of whose items are wrong is not called empty as well."""
    path = tmp_path / "mine.toml"
    path.write_text("[[stage]]\nrate_rps = 200000\nduration_s = 1")
    with pytest.raises(UsageError) as raised:
        load_workload(str(path))
    assert "is empty" not in raised.value.message


def test_an_unknown_workload_names_the_known_ones() -> None:
    """A wrong name answers with the right ones."""
    with pytest.raises(UsageError) as raised:
        load_workload("qick")
    assert "quick" in (raised.value.hint or "")


def test_flags_win_over_the_file() -> None:
    """Rate, duration, rounds and objectives of the flags replace the workload's."""
    workload = resolve_workload(Config(), LoadFlags(rate=3.0, duration=7.0, rounds=2, slos=("p50<1s",)))
    assert [(stage.rate_rps, stage.duration_s) for stage in workload.stage] == [(3.0, 7.0)]
    assert (workload.rounds, workload.slo) == (2, ("p50<1s",))
    closed = resolve_workload(Config(), LoadFlags(users=4))
    assert closed.stage[0].users == 4
    assert closed.stage[0].rate_rps is None


@pytest.mark.parametrize("clash", [{"rate": 1.0, "users": 1}, {"users": 1, "arrival": "constant"}, {"users": 1, "max_in_flight": 2}])
def test_flags_that_clash_are_refused(clash: dict[str, object]) -> None:
    """Open loop and closed loop exclude each other."""
    with pytest.raises(UsageError):
        resolve_workload(Config(), LoadFlags(**clash))


@pytest.mark.parametrize(("stage", "label"), [({"users": 1}, "1 user"), ({"users": 4}, "4 users"), ({"rate_rps": 0.5}, "0.5/s")])
def test_a_stage_has_the_same_name_here_and_where_runs_are_compared(stage: dict[str, float], label: str) -> None:
    """The name in samples, by which a comparison finds the stage in the workload."""
    workload = parse_workload({"stage": [{**stage, "duration_s": 1}, {"rate_rps": 99, "duration_s": 1}]}, "here")
    assert workload.stage[0].label == label
    row = SimpleNamespace(stage=label, users=None)
    assert _stage(workload.model_dump(mode="json"), cast(SummaryRow, row))["duration_s"] == 1


def test_the_bundled_live_workload_is_one_user_in_eight_rounds() -> None:
    """What --live takes where nothing is named: a closed loop of one, comparable, with the contract's long timeouts."""
    workload = load_workload("live")
    assert [(stage.users, stage.rate_rps) for stage in workload.stage] == [(1, None)]
    assert workload.rounds == 8
    assert workload.timeouts.whole_s >= 300


LIVE = (TargetSection(provider="nanogpt", base_url="https://nano-gpt.com", live=True),)


def test_live_targets_get_the_live_workload_and_one_request_at_a_time() -> None:
    """Unless a workload is named; an open loop without a cap gets one, a cap of one's own stays, a closed loop has none."""
    assert BenchOptions(targets=LIVE).load == load_workload("live")
    assert not BenchOptions(targets=LIVE).is_held_to_one
    named = BenchOptions(targets=LIVE, workload=resolve_workload(Config(), LoadFlags(workload="standard", rate=2.0)))
    assert (named.load.name, named.load.max_in_flight, named.is_held_to_one) == ("standard", 1, True)
    capped = BenchOptions(targets=LIVE, workload=resolve_workload(Config(), LoadFlags(rate=2.0, max_in_flight=7)))
    assert (capped.load.max_in_flight, capped.is_held_to_one) == (7, False)
    here = BenchOptions(workload=resolve_workload(Config(), LoadFlags(rate=2.0)))
    assert (here.load.max_in_flight, here.is_held_to_one) == (None, False)
    assert default_workload(True, SearchPlan(1.0)) == "quick"  # a search makes stages of its own
