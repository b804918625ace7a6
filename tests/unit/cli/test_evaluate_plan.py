"""What evaluate hands on to its children: each target with what is its own, its key out of sight, and limits that bind."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from testcard.benchmarks.plan.targets import are_live, sections_of
from testcard.harness import cli
from testcard.harness.cli import evaluate
from testcard.harness.config import Config, TargetSection
from testcard.specs.loader import load_provider

LIVE = """
[[target]]
provider = "nanogpt"
base_url = "https://nano-gpt.example"
live = true
"""


def planned(section: TargetSection, base_url: str, key: str | None) -> evaluate._Planned:
    return evaluate._Planned(section, load_provider(section.provider), base_url, False, section.provider, key)


def test_each_target_goes_to_the_benchmark_with_what_is_its_own(tmp_path: Path) -> None:
    """Models, operations and the leave to go off this machine are a target's own; its key travels in a variable."""
    ready = [
        planned(TargetSection(provider="nanogpt", models=("hidream",), live=True), "https://nano-gpt.example", "sk-one"),
        planned(TargetSection(provider="opengpu-relay", operations=("generateFlux",)), "http://127.0.0.1:9", "sk-two"),
    ]
    arguments = evaluate._bench_arguments(ready, tmp_path, evaluate._Options())
    raw = [after for flag, after in itertools.pairwise(arguments) if flag == "--target-section"]
    first, second = sections_of([], raw, Config(), live=False)
    assert (first.models, first.operations, first.live) == (("hidream",), (), True)
    assert (second.models, second.operations, second.live) == ((), ("generateFlux",), False)
    assert (first.key_env, second.key_env) == ("TESTCARD_TARGET_KEY_0", "TESTCARD_TARGET_KEY_1")
    assert "--live" not in arguments
    assert "--model" not in arguments
    assert "sk-" not in " ".join(arguments)
    assert are_live([first, second])
    assert not are_live([second])


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ("[check]\nmax_cost = 0\n[bench]\nmax_cost = 0.0\n", "there is no key for NanoGPT"),
        ("[check]\nmax_requests = 0\n[bench]\nmax_requests = 0\n", "there is no key for NanoGPT"),
        ("[check]\nmax_cost = 1\n", "nothing bounds what its bench may spend"),
        ("[bench]\nmax_cost = 1\n", "nothing bounds what its check may spend"),
    ],
)
def test_a_limit_of_nothing_is_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], limits: str, expected: str
) -> None:
    """`max_cost = 0` bounds what is spent, and is not taken for a limit that nobody set."""
    monkeypatch.chdir(tmp_path)
    for name in ("TESTCARD_API_KEY", "NANOGPT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "testcard.toml").write_text(LIVE + limits)
    assert cli.run(["evaluate", "--out", "run"]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_one_key_goes_to_no_two_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """TESTCARD_API_KEY would be shown to a provider that did not issue it, and could use it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESTCARD_API_KEY", "sk-one-for-all")
    relay = '[[target]]\nprovider = "opengpu-relay"\nbase_url = "https://relay.example"\nlive = true\n'
    (tmp_path / "testcard.toml").write_text(LIVE + relay + "[check]\nmax_requests = 1\n[bench]\nmax_requests = 1\n")
    assert cli.run(["evaluate", "--out", "run"]) == 2
    said = capsys.readouterr().err
    assert "would send one key to nanogpt and opengpu-relay" in said
    assert "sk-one" not in said


def test_a_target_off_this_machine_says_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next step is one that evaluate knows: a line in testcard.toml, not a flag that it does not have."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "testcard.toml").write_text(LIVE.replace("live = true\n", ""))
    assert cli.run(["evaluate"]) == 2
    assert "live = true" in capsys.readouterr().err
