"""A report is a run folder: every file is listed, each reader can read its own, equal runs give equal bytes."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner
from PIL import Image

from testcard.harness.errors import UsageError
from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.reports.command import report as command
from testcard.reports.pages.render import write_report


def test_run_json_lists_every_file_that_was_written(report: Path) -> None:
    """What is in the folder is what run.json says, and its outcome is the verdict."""
    run = RunReader(report).run
    written = {path.relative_to(report).as_posix() for path in report.rglob("*") if path.is_file()}
    assert written == {*run.files.values(), "run.json"}
    assert (run.kind, run.outcome, run.exit_code) == ("report", "fail", 0)
    assert {"report.html", "report.md", "summary.md", "badge.json", "comparison.csv", "verdicts.csv"} <= written
    assert len([name for name in written if name.endswith(".png")]) == len([name for name in written if name.endswith(".svg")]) == 9


def test_report_of_the_same_runs_has_the_same_bytes(
    runs: list[RunReader], report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only run.json, which says when the report was made, differs; made in the same working directory, as commands name paths from there."""
    monkeypatch.chdir(report.parent)
    again = write_report(runs, tmp_path / "again").parent
    for path in sorted(report.rglob("*")):
        if path.is_file() and path.name != "run.json":
            assert path.read_bytes() == (again / path.relative_to(report)).read_bytes(), path.name


def test_report_is_small_and_keeps_no_path_of_this_machine(runs: list[RunReader], report: Path) -> None:
    """At most 3 MB for five providers, and nothing that names a folder outside the working directory (its time: report_scale.py)."""
    assert (report / "report.html").stat().st_size < 3_000_000
    for path in report.rglob("*"):
        if path.suffix in (".html", ".md", ".json", ".csv", ".svg"):
            assert str(report.parent) not in path.read_text(encoding="utf-8"), path.name
    assert RunReader(report).run.config["runs"] == [f"../{run.folder.name}" for run in runs]


def test_comparison_csv_holds_the_summary_s_figures(runs: list[RunReader], report: Path) -> None:
    """Latencies in seconds, empty cells where nothing is known, one line an operation."""
    lines = list(csv.DictReader(io.StringIO((report / "comparison.csv").read_text())))
    summary = runs[-1].summary()
    assert summary is not None
    for row in summary.rows:
        line = next(line for line in lines if line["provider"] == row.provider and line["n"])
        assert float(line["p50_s"]) == row.latency_s["p50"].value
        assert float(line["p50_s_low"]) == row.latency_s["p50"].low
        cost = row.cost_usd_per_1000_good_images
        assert line["cost_usd_per_1000_good_images"] == ("" if cost is None else str(cost.value))
    assert len(lines) == 10  # every operation that was checked, each once


def test_verdicts_csv_holds_every_verdict(runs: list[RunReader], report: Path) -> None:
    """One line for each, and no text that a spreadsheet would run."""
    lines = list(csv.DictReader(io.StringIO((report / "verdicts.csv").read_text())))
    judged = [run.verdicts() for run in runs]
    assert len(lines) == sum(len(found.verdicts) for found in judged if found)
    assert not [cell for line in lines for cell in line.values() if cell.startswith(("=", "+", "-", "@"))]


def test_badge_is_what_shields_reads(report: Path) -> None:
    """Schema version, label, message and colour."""
    badge = json.loads((report / "badge.json").read_text())
    assert badge == {"schemaVersion": 1, "label": "testcard", "message": "fail (0 of 5)", "color": "red"}


def test_png_figures_open_and_are_sharp(report: Path) -> None:
    """Every PNG decodes and is wide enough for a slide."""
    for path in (report / "figures").glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
            assert picture.width >= 1400


def test_command_prints_verdict_and_place(runs: list[RunReader], tmp_path: Path) -> None:
    """`testcard report RUN…` exits 0 once the report is written; --json names its files."""
    result = CliRunner().invoke(command, [*(str(run.folder) for run in runs), "--out", str(tmp_path / "r"), "--json"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["outcome"] == "fail"
    assert Path(said["report"]).is_file()
    assert all((tmp_path / "r" / name).is_file() for name in said["files"].values())


def test_evaluate_folder_stands_for_its_children(
    runs: list[RunReader], report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report of the parent folder is the report of what is in it."""
    parent = tmp_path / "evaluation"
    shutil.copytree(runs[0].folder.parent, parent, ignore=shutil.ignore_patterns("report"))
    (parent / "run.json").unlink(missing_ok=True)
    moved = sorted(path.name for path in parent.iterdir())
    shutil.move(str(parent), str(tmp_path / "parts"))
    writer = RunWriter.create(parent, "evaluate")
    for name in moved:
        shutil.move(str(tmp_path / "parts" / name), str(parent / name))
    writer.update(children=[run.folder.name for run in runs])
    monkeypatch.chdir(parent)
    page = write_report([RunReader(parent)], tmp_path / "report")
    assert page.read_bytes() == (report / "report.html").read_bytes()


def test_nothing_to_report_on_is_a_usage_error(tmp_path: Path) -> None:
    """A run without verdicts or summary is refused, and no folder is left behind."""
    RunWriter.create(tmp_path / "empty", "check")
    with pytest.raises(UsageError, match="nothing to report on"):
        write_report([RunReader(tmp_path / "empty")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kept", ["check", "bench"])
def test_sections_without_data_are_left_out_and_the_method_says_why(runs: list[RunReader], tmp_path: Path, kept: str) -> None:
    """Checks alone and a benchmark alone give only sections that have something to say; no heading stands over nothing."""
    chosen = [run for run in runs if run.run.kind == kept]
    text = (write_report(chosen, tmp_path / "part").parent / "report.md").read_text()
    for name in ("Latency", "Load and goodput", "Errors and rate limits", "Cost"):
        assert (f"## {name}\n" in text) == (kept == "bench")
    for name in ("Conformance", "Findings", "Pictures"):
        assert (f"## {name}\n" in text) == (kept == "check")
    assert "## Against the baseline" not in text
    assert not re.search(r"\n## [^\n]+\n\n(## |$)", text)
    assert ("No benchmark is among the runs" in text) == (kept == "check")
    assert ("No check is among the runs" in text) == (kept == "bench")


def test_missing_bodies_leave_a_report_without_pictures(runs: list[RunReader], tmp_path: Path) -> None:
    """A run copied without its bodies is still readable."""
    shutil.copytree(runs[0].folder, tmp_path / "check-nanogpt", ignore=shutil.ignore_patterns("bodies"))
    text = (write_report([RunReader(tmp_path / "check-nanogpt")], tmp_path / "out").parent / "report.md").read_text()
    assert "## Pictures" not in text
    assert "## Findings" in text


def test_live_targets_wear_no_ribbon(synthetic: ModuleType, tmp_path: Path) -> None:
    """The ribbon is for mocks only, and names them when there are others."""
    live = synthetic.write_evaluation(tmp_path / "live", requests=60, makers=synthetic.MAKERS[:1], mock=False)
    mock = synthetic.write_evaluation(tmp_path / "mock", requests=60, makers=synthetic.MAKERS[1:2])
    alone = write_report(live, tmp_path / "alone").read_text()
    assert "Mock run" not in alone
    both = write_report([*live, *mock], tmp_path / "both").read_text()
    assert "<strong>Mock run:</strong> Nebul is a mock on this machine." in both
