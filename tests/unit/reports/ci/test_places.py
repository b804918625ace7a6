"""Findings stand at files that the user's repository has: the contract's, the line of testcard.toml that names the target, or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Verdict
from testcard.reports.ci.github import workflow_commands
from testcard.reports.ci.sarif import sarif_json
from testcard.reports.content.evidence import gather

Make = Callable[..., RunReader]
As = Callable[..., Verdict]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's checkout, which is the working folder."""
    for name in ("GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "repo")
    return tmp_path / "repo"


def shown_at(run: RunReader) -> tuple[str | None, int | None, str]:
    """The file and the line in results.sarif, and how the annotation begins."""
    log = json.loads(sarif_json(gather([run])))
    location = log["runs"][0]["results"][0]["locations"][0].get("physicalLocation")
    (line,) = workflow_commands(gather([run]))
    if location is None:
        assert log["runs"][0]["artifacts"] == []
        return None, None, line.split("title=")[0]
    return location["artifactLocation"]["uri"], location["region"]["startLine"], line.split("title=")[0]


def test_a_contract_of_the_repository_is_named_by_its_line(repository: Path, check_run: Make, judged_as: As) -> None:
    """From the root, quoted as a URI, wherever in it the command ran."""
    place = repository / "my provider"
    place.mkdir()
    (place / "openapi.yaml").touch()
    run = check_run(judged_as("fail"), openapi="my provider/openapi.yaml")
    assert shown_at(run) == ("my%20provider/openapi.yaml", 13, "::error file=my provider/openapi.yaml,line=13,")
    run = check_run(judged_as("fail"), openapi=str(place / "openapi.yaml"))
    assert shown_at(run)[:2] == ("my%20provider/openapi.yaml", 13)


def test_a_bundled_contract_is_no_file_of_a_user_s_repository(repository: Path, check_run: Make, judged_as: As) -> None:
    """Then the target's line of testcard.toml stands for it, and without that no file at all."""
    run = check_run(judged_as("fail"))
    assert shown_at(run) == (None, None, "::error ")
    (repository / "testcard.toml").write_text('# one\n[[target]]\nprovider = "nanogpt"\n[[target]]\nprovider = "nebul"\n')
    assert shown_at(run) == ("testcard.toml", 5, "::error file=testcard.toml,line=5,")


@pytest.mark.parametrize("openapi", [None, "../outside.yaml", "C:/api/openapi.yaml", "x\0/openapi.yaml", "gone/openapi.yaml"])
def test_what_is_not_there_or_lies_outside_is_not_named(repository: Path, check_run: Make, judged_as: As, openapi: str | None) -> None:
    """Whatever the run says."""
    (repository.parent / "outside.yaml").touch()
    assert shown_at(check_run(judged_as("fail"), openapi=openapi))[0] is None


def test_the_ci_system_says_where_the_checkout_is(
    repository: Path, check_run: Make, judged_as: As, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job may work in a folder of it, without a .git."""
    (repository / ".git").rmdir()
    (repository / "api").mkdir()
    (repository / "api" / "openapi.yaml").touch()
    monkeypatch.chdir(repository / "api")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(repository))
    assert shown_at(check_run(judged_as("fail"), openapi="openapi.yaml"))[0] == "api/openapi.yaml"
