"""`testcard open`, `clean`, `schema` and `doctor`: a person's way around runs, files and mistakes."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from testcard.harness.cli import run
from testcard.harness.cli.schema import WRITTEN, written_schema
from testcard.harness.runs.folder import RunWriter
from testcard.specs.loader import BUNDLED, PUBLIC
from testkit.command_line import typed
from testkit.servers import Response, answering

TESTS = Path(__file__).parents[2]

WORKLOADS = Path(__file__).parents[3] / "benchmarks" / "workloads"


def runs(folder: Path, count: int) -> list[Path]:
    """Runs that have ended, the newest last."""
    made = []
    for number in range(count):
        writer = RunWriter.create(folder / f"check-{number}", "check", targets=[], seed=0, config={})
        writer.add_file("report", "report.html").write_text("<p>")
        writer.finish("pass", 0)
        os.utime(writer.folder / "run.json", (number + 1, number + 1))
        made.append(writer.folder)
    return made


def test_clean_keeps_the_newest(tmp_path: Path) -> None:
    """Runs that are under way, and whatever is no run, stay; --dry-run deletes nothing."""
    made = runs(tmp_path, 4)
    (tmp_path / "mine").mkdir()
    RunWriter.create(tmp_path / "under-way", "check", targets=[], seed=0, config={})
    assert json.loads(typed(["clean", str(tmp_path), "--keep", "1", "--dry-run", "--json"]).stdout)["dry_run"]
    assert all(one.is_dir() for one in made)
    assert typed(["clean", str(tmp_path), "--keep", "1"]).returncode == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["check-3", "mine", "under-way"]


def test_clean_keeps_what_a_kept_report_was_made_from(tmp_path: Path) -> None:
    """And no further one; a report that goes keeps nothing."""
    made = runs(tmp_path, 4)
    writer = RunWriter.create(tmp_path / "report", "report", targets=[], config={"runs": ["../check-0", "../check-2"]})
    writer.finish("pass", 0)
    os.utime(writer.folder / "run.json", (9, 9))
    assert typed(["clean", str(tmp_path), "--keep", "2"]).returncode == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["check-0", "check-2", "check-3", "report"]
    os.utime(made[0] / "run.json", (20, 20))
    assert typed(["clean", str(tmp_path), "--keep", "1"]).returncode == 0
    assert [one.name for one in tmp_path.iterdir()] == ["check-0"]


def test_open_finds_the_newest_report(tmp_path: Path) -> None:
    """Of a named run too; one without a report is told how to make it."""
    made = runs(tmp_path / "testcard-runs", 2)
    assert typed(["open", "--print"], cwd=tmp_path).stdout.strip() == (made[1] / "report.html").resolve().as_uri()
    assert typed(["open", "--print", str(made[0])], cwd=tmp_path).stdout.strip() == (made[0] / "report.html").resolve().as_uri()
    bare = typed(["open", str(tmp_path)], cwd=tmp_path)
    assert (bare.returncode, "testcard report" in bare.stderr) == (2, True)


def test_open_says_so_where_no_browser_can_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And nothing else: without a display nobody is asked for a browser, whose complaints would stand beside it."""
    (made,) = runs(tmp_path, 1)
    program = tmp_path / "bin" / "xdg-open"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho no method available >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("webbrowser._tryorder", None)  # looks again
    monkeypatch.setattr("webbrowser._browsers", {})
    assert run(["open", str(made)]) == 0
    shown = capfd.readouterr()
    assert shown.out.strip() == (made / "report.html").resolve().as_uri()
    assert shown.err == "no browser could be started; the address above can be opened by hand\n"


@pytest.mark.parametrize("name", WRITTEN)
def test_the_schemas_take_what_the_reader_takes(name: str) -> None:
    """Files that ship are valid by the schema that is printed, and a key that is none is not."""
    printed = json.loads(typed(["schema", name]).stdout)
    assert printed == json.loads(json.dumps(written_schema(name)))
    if name == "profile.yaml":
        places = [*BUNDLED.glob(f"*/{name}"), *PUBLIC.glob(f"*/{name}"), *TESTS.glob(f"contract/foreign/documents/*/{name}")]
        files = [yaml.safe_load(path.read_text()) for path in (*places, *TESTS.glob(f"fixtures/ways/*/{name}"))]
        assert len(files) > 30
    elif name == "workload.toml":
        files = [tomllib.loads(path.read_text()) for path in WORKLOADS.glob("*.toml")]
    else:
        files = [
            {"target": [{"provider": "nebul", "live": True}], "check": {"max_cost": 1, "max_time": "15m"}, "watch": {"check_every": 90}}
        ]
    assert files
    judge = jsonschema_rs.validator_for(printed)
    for data in files:
        assert [error.message for error in judge.iter_errors(json.loads(json.dumps(data, default=str)))] == []
        assert not judge.is_valid({**json.loads(json.dumps(data, default=str)), "no_such_key": 1})


def test_a_schema_that_is_not_there_is_suggested() -> None:
    """With exit code 2."""
    done = typed(["schema", "testcard.tml"])
    assert (done.returncode, "testcard.toml" in done.stderr) == (2, True)


def test_doctor_says_what_keeps_a_check_from_working(tmp_path: Path) -> None:
    """A live target without a key, without limits; a local one that answers; no key is shown."""
    with answering(lambda request: Response(status=404)) as server:
        (tmp_path / "testcard.toml").write_text(
            f'[[target]]\nprovider = "nebul"\nbase_url = "{server.url}"\n'
            '[[target]]\nprovider = "nanogpt"\nbase_url = "https://api.nanogpt.invalid"\n'
        )
        done = typed(["doctor"], cwd=tmp_path, env={"NEBUL_API_KEY": "sk-secret-nebul"})
    assert done.returncode == 2
    assert f"✓ nebul: {server.url} answers" in done.stdout
    assert "✓ nebul: there is a key" in done.stdout
    assert "✗ nanogpt: https://api.nanogpt.invalid is not on this machine" in done.stdout
    assert "set NANOGPT_API_KEY" in done.stdout
    assert "✗ nanogpt: nothing bounds what a check may spend" in done.stdout
    assert "sk-secret" not in done.stdout + done.stderr
    assert typed(["doctor", "nebul"], cwd=tmp_path).returncode == 0
