"""`testcard init`: what it writes is read back, says what was asked for, and replaces nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from testcard.harness.config import load_config
from testcard.specs.loader import load_provider
from testkit.command_line import typed

LIVE = "https://api.nebul.example"


def test_what_it_writes_is_a_configuration(tmp_path: Path) -> None:
    """Targets, models, limits and objectives as asked; the rest is there as comments, which hold too once they are uncommented."""
    asked = ["--target", "nanogpt=http://127.0.0.1:8000", "--model", "hidream", "--max-cost", "1.5", "--slo", "p95<8s"]
    done = typed(["init", *asked], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "next: testcard doctor" in done.stderr
    config = load_config(tmp_path / "testcard.toml")
    assert [(one.provider, one.base_url, one.models) for one in config.target] == [("nanogpt", "http://127.0.0.1:8000", ("hidream",))]
    assert (config.check.max_cost, config.bench.max_cost, config.bench.slo) == (1.5, 1.5, ("p95<8s",))
    lines = (tmp_path / "testcard.toml").read_text().splitlines()
    bare = [line.removeprefix("# ") for line in lines[1:] if not line.startswith("# max_cost")]
    (tmp_path / "testcard.toml").write_text("\n".join(bare))
    uncommented = load_config(tmp_path / "testcard.toml")
    assert uncommented.waiver
    assert uncommented.prices["nanogpt"].adopt == "list"


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_the_ci_file_checks_each_target(tmp_path: Path, kind: str) -> None:
    """A step for each, with leave for the live one only, and its key from the CI's own store."""
    done = typed(["init", "--ci", kind, "--live", "--target", "nanogpt=http://127.0.0.1:8000", "--target", f"nebul={LIVE}"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / (".github/workflows/testcard.yml" if kind == "github" else ".gitlab-ci.yml")
    text = path.read_text()
    assert isinstance(yaml.safe_load(text), dict)
    checks = [line.strip() for line in text.splitlines() if "testcard check" in line]
    assert [("--live" in line, "--wait-for" in line) for line in checks] == [(False, True), (True, True)]
    assert load_config(tmp_path / "testcard.toml").check.max_requests == 60


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_the_ci_file_has_a_place_for_what_starts_the_server(tmp_path: Path, kind: str) -> None:
    """Before the first check; until it is filled in, that part of the job fails by saying so. A target elsewhere, or a mock, has none."""

    def scripts(folder: str, target: str, *more: str) -> list[str]:
        done = typed(["init", "--ci", kind, "--out", folder, "--target", target, *more], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert ("put in what starts your server" in done.stderr) == ("127.0.0.1" in target)
        file = tmp_path / folder / (".github/workflows/testcard.yml" if kind == "github" else ".gitlab-ci.yml")
        whole = yaml.safe_load(file.read_text())
        if kind == "gitlab":
            return list(whole["testcard"]["script"])
        return [step["run"] for step in whole["jobs"]["contract"]["steps"] if "run" in step]

    found = scripts("own", "nanogpt=http://127.0.0.1:8000")
    place = next(index for index, script in enumerate(found) if "starts your server at http://127.0.0.1:8000" in script)
    assert place < next(index for index, script in enumerate(found) if "testcard check" in script)
    done = subprocess.run(["sh", "-e", "-c", found[place]], capture_output=True, text=True, check=False)
    assert (done.returncode, "no server is started" in done.stderr) == (1, True)
    for folder, target, more in (("mock", "nanogpt", ()), ("live", f"nebul={LIVE}", ("--live",))):
        assert not any("starts your server" in script for script in scripts(folder, target, *more))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no target is named"),
        (["--target", f"nebul={LIVE}"], "add --live"),
        (["--target", "nebulous"], "nebul"),
        (["--target", "nebul=here"], "is no base URL"),
    ],
)
def test_what_it_cannot_do_is_said(tmp_path: Path, arguments: list[str], said: str) -> None:
    """With exit code 2, and nothing written."""
    done = typed(["init", *arguments], cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command", [["init", "--target", "nebul"], ["init", "provider", "document.yaml", "--no-input"]], ids=["init", "provider"]
)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, command: list[str]) -> None:
    """A mistake of whoever typed it, exit code 2, not one of Testcard's."""
    (tmp_path / "document.yaml").write_text(load_provider("nebul").openapi.source.text)
    (tmp_path / "taken").write_text("a file")
    done = typed([*command, "--out", "taken/folder"], cwd=tmp_path)
    assert (done.returncode, "cannot be written: " in done.stderr, "--out" in done.stderr) == (2, True, True), done.stderr


def test_nothing_is_replaced_unless_asked(tmp_path: Path) -> None:
    """A file of one's own stays, and --force says otherwise."""
    (tmp_path / "testcard.toml").write_text("# mine\n")
    assert typed(["init", "--target", "nebul"], cwd=tmp_path).returncode == 2
    assert (tmp_path / "testcard.toml").read_text() == "# mine\n"
    assert typed(["init", "--target", "nebul", "--force"], cwd=tmp_path).returncode == 0
