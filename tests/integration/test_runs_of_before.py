"""Run folders of the version at commit 1d4f303 are read as they were: judged again, reported, compared, listed in the history."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from testcard.harness.cli import run
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import Verdicts

BEFORE = Path(__file__).parents[1] / "fixtures" / "runs_of_1d4f303"
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No testcard.toml of anybody, and nothing is written beside the fixtures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")


def verdicts_of(folder: Path) -> Verdicts:
    found = RunReader(folder).verdicts()
    assert found is not None
    return found


def test_every_record_fits_its_schema_still() -> None:
    """run.json, exchanges with their bodies, verdicts, summary and samples of a check, a benchmark and an evaluation are read."""
    check, bench, evaluation = (RunReader(BEFORE / name) for name in ("check", "bench", "evaluate"))
    exchanges = list(check.exchanges())
    assert [one.id for one in exchanges][:3] == ["e0001", "e0002", "e0003"]
    assert len(exchanges) == 14
    for one in exchanges:
        assert len(check.bytes_of(one.request.body)) == one.request.body.size
        assert one.response is not None
        assert len(check.bytes_of(one.response.body)) == one.response.body.size
    summary = bench.summary()
    assert summary is not None
    assert [(row.requests, row.outcome) for row in summary.rows] == [(10, "pass")]
    assert [child.run.kind for child in evaluation.children()] == ["check", "bench", "report"]


def test_a_check_is_judged_again(tmp_path: Path, capsys: Capture) -> None:
    """With today's rules the same evidence leads to the same verdicts, and to a new folder that holds that evidence."""
    before = verdicts_of(BEFORE / "check")
    assert run(["check", "nanogpt", "--rejudge", str(BEFORE / "check"), "--out", str(tmp_path / "again")]) == 1
    assert "✗ fail        image.count" in capsys.readouterr().out
    now = verdicts_of(tmp_path / "again")
    assert now.outcome == before.outcome
    assert now.spend == before.spend
    assert {(one.rule, one.operation): one.verdict for one in now.verdicts} == {
        (one.rule, one.operation): one.verdict for one in before.verdicts
    }
    assert list(RunReader(tmp_path / "again").exchanges()) == list(RunReader(BEFORE / "check").exchanges())


def test_all_of_them_are_reported(tmp_path: Path, capsys: Capture) -> None:
    """One report of a check, a benchmark and an evaluation, with what was found then."""
    folders = [str(BEFORE / name) for name in ("check", "bench", "evaluate")]
    assert run(["report", *folders, "--out", str(tmp_path / "report")]) == 0
    assert "NanoGPT" in capsys.readouterr().out
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "image.count" in page
    assert "2 pictures were asked for, 1 came" in page


def test_two_benchmarks_are_compared(capsys: Capture) -> None:
    """Benchmarks of before can be held against each other, and say that they are too short to decide anything."""
    assert run(["compare", str(BEFORE / "bench"), str(BEFORE / "evaluate" / "bench")]) == 5
    assert "no decision, because " in capsys.readouterr().out


def test_they_are_in_the_history(tmp_path: Path, capsys: Capture) -> None:
    """The index takes them all in, with the finding of the one check and its absence in the other."""
    shutil.copytree(BEFORE, tmp_path / "runs")
    assert run(["history", str(tmp_path / "runs"), "--index", str(tmp_path / "index.sqlite"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert any(one["rule"] == "image.count" for one in record["findings"])
    assert any(one["metric"] == "p50_s" for one in record["trends"])


def test_one_exchange_is_sent_again(capsys: Capture) -> None:
    """`replay` lists what a check of before sent, with what came."""
    assert run(["replay", str(BEFORE / "check"), "--list"]) == 0
    assert "e0006" in capsys.readouterr().out
