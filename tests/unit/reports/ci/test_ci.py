"""What a CI job shows of a check: annotations, the job summary, the badge; and the files in the check's own folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import SpecGap, Verdict, Waived, WaiverNote
from testcard.harness.runs.validate import validate_run
from testcard.reports.ci.github import workflow_commands, workflow_commands_of
from testcard.reports.content.evidence import gather
from testcard.reports.pages.markdown import MOST_BYTES, MOST_FINDINGS, summary_md
from testcard.reports.pages.page import compose
from testcard.reports.pages.render import write_check_files
from testkit.waiting import PATIENCE_S

Make = Callable[..., RunReader]
As = Callable[..., Verdict]


def summary(*runs: RunReader) -> str:
    return summary_md(compose(gather(runs)))


def test_the_ten_worst_are_annotated(check_run: Make, judged_as: As) -> None:
    """Broken musts first and as errors, shoulds as warnings; what was not broken is not annotated; never more than ten."""
    kept = [judged_as("deviates", rule=f"a.b{number}") for number in range(8)]
    broken = [judged_as("fail", rule=f"c.d{number}") for number in range(5)]
    lines = workflow_commands(gather([check_run(judged_as("pass"), *kept, *broken, judged_as("unproven"))]))
    assert [line.split(" ")[0] for line in lines] == ["::error"] * 5 + ["::warning"] * 5
    assert lines[0] == (
        "::error file=specs/providers/nebul/openapi.yaml,line=13,title=c.d0%3A Nebul%2C createImage::"
        "seen%0APromised: A picture has the size that was asked for. (002.txt, “Sizes”)%0AMore: testcard rules c.d0"
    )


def test_strict_makes_shoulds_errors(check_run: Make, judged_as: As) -> None:
    """As they count, they are annotated as what counts."""
    (line,) = workflow_commands(gather([check_run(judged_as("deviates"), strict=True)]))
    assert line.startswith("::error ")


@pytest.mark.parametrize("nasty", ["a\n::set-output name=x::y", "100%\r\n::error::x", "a,b:c", "\x1b[0m\x00"])
def test_a_server_cannot_write_commands(check_run: Make, judged_as: As, nasty: str) -> None:
    """Whatever it says stays inside the one line and the one message."""
    run = check_run(judged_as("fail", nasty, operation=nasty))
    (line,) = workflow_commands(gather([run]))
    assert "\n" not in line
    assert "\r" not in line
    assert "\x1b" not in line
    head = line.split("::", 2)[1]
    assert head.count(",") == 2
    assert "100%\r" not in line
    assert ("100%25" in line) == ("100%" in nasty)


def test_a_summary_of_a_check_is_about_conformance(check_run: Make, judged_as: As) -> None:
    """The verdict, the gates, a line for each operation, the findings; no column of figures that were not measured."""
    text = summary(check_run(judged_as("fail", "128x128 came"), judged_as("pass", rule="image.count"), judged_as("deviates", rule="a.b")))
    assert text.startswith("## Testcard: FAIL\n\n**FAIL** Nebul breaks 1 must.")
    assert "| Nebul | createImage | 1/2 | 1 | 1 | 0 | 0 |" in text
    assert "- ✗ **Nebul** · createImage · image.size: 128x128 came" in text
    assert "p95" not in text


def test_a_summary_of_a_benchmark_compares(runs: list[RunReader]) -> None:
    """With measured rows the comparison is there as it is in the report."""
    text = summary(*runs)
    assert "### Comparison" in text
    assert "p95" in text


def test_strict_is_said_and_counts(check_run: Make, judged_as: As) -> None:
    """Under --strict the gate is about shoulds too, and the sentence says what broke."""
    text = summary(check_run(judged_as("deviates"), judged_as("pass", rule="image.count"), strict=True))
    assert "**FAIL** Nebul breaks 1 should." in text
    assert "musts and shoulds broken = 0" in text
    both = summary(check_run(judged_as("deviates"), judged_as("fail", rule="image.count"), strict=True))
    assert "breaks 1 must and 1 should." in both
    kept = summary(check_run(judged_as("pass"), strict=True, outcome="pass"))
    assert "keeps every must and should that was checked." in kept
    unproven = summary(check_run(judged_as("unproven", level="should"), strict=True, outcome="inconclusive"))
    assert unproven.startswith("## Testcard: INCONCLUSIVE\n\n**INCONCLUSIVE** Nebul cannot be judged.")


def test_waivers_are_in_the_summary(check_run: Make, judged_as: As) -> None:
    """A pass that rests on a waiver says so; an expired waiver is a gate of its own; all are listed with owner and reason."""
    waived = judged_as("waived", waiver=Waived(instead_of="fail", reason="ticket <12>", owner="ann", expires="2027-01-01"))
    used = WaiverNote(
        rule="image.size", operation=None, reason="ticket <12>", owner="ann", expires="2027-01-01", state="used", detail="covers 1 finding",
        findings=[("image.size", "createImage")],
    )  # fmt: skip
    text = summary(check_run(waived, waivers=[used], outcome="pass"))
    assert "The target keeps every must that was checked but 1 waived finding." in text
    assert "The waiver of image.size covers 1 finding (ann, until 2027-01-01: ticket &lt;12&gt;)." in text
    expired = WaiverNote(
        rule="a.b", operation=None, reason="r", owner="o", expires="2026-01-01", state="expired", detail="has expired: a.b counts again",
        findings=[("a.b", "createImage")],
    )  # fmt: skip
    text = summary(check_run(judged_as("deviates", rule="a.b"), waivers=[expired]))
    assert "**FAIL** Nebul relies on an expired waiver." in text
    assert "| waivers | expired = 0 | 1 expired (a.b) |" in text


def test_a_summary_fits_whatever_was_said(check_run: Make, judged_as: As) -> None:
    """Ten findings are shown, the rest counted; the whole stays under 900 kB even where gates alone would not."""
    text = summary(check_run(*(judged_as("fail", "x" * 50_000, rule=f"a.b{number}") for number in range(40))))
    assert text.count("**Nebul** ·") == MOST_FINDINGS
    assert "30 more are in the report." in text
    huge = WaiverNote(
        rule="a.*", operation=None, reason="r" * 2_000_000, owner="o", expires="2026-01-01", state="unused", detail="is unused"
    )
    text = summary(check_run(judged_as("pass"), waivers=[huge], outcome="pass"))
    assert len(text.encode()) < MOST_BYTES
    assert text.endswith("The rest is in the report.\n")


def test_a_check_keeps_its_files_in_its_folder(check_run: Make, judged_as: As) -> None:
    """Report, JUnit, SARIF, summary and badge, all listed; the folder is whole; the same run gives the same bytes."""
    run = check_run(judged_as("fail"), judged_as("pass", rule="image.count"), gaps=[SpecGap(operation="createImage", detail="gap")])
    writer = RunWriter(run.folder, run.run)
    told = write_check_files(writer)
    files = RunReader(run.folder).run.files
    assert files == {
        "exchanges": "exchanges.jsonl", "verdicts": "verdicts.json", "report": "report.html", "job_summary": "summary.md",
        "junit": "junit.xml", "sarif": "results.sarif", "badge": "badge.json",
    }  # fmt: skip
    assert validate_run(run.folder) == []
    assert told.summary == (run.folder / "summary.md").read_text(encoding="utf-8")
    assert len(told.annotations) == 1
    assert json.loads((run.folder / "badge.json").read_text()) == {
        "schemaVersion": 1, "label": "testcard", "message": "fail (0 of 1)", "color": "red",
    }  # fmt: skip
    before = {name: (run.folder / name).read_bytes() for name in files.values()}
    write_check_files(writer)
    assert before == {name: (run.folder / name).read_bytes() for name in files.values()}


def test_a_report_brings_them_too(report: Path) -> None:
    """`testcard report` of several checks writes one JUnit and one SARIF file for all of them."""
    files = RunReader(report).run.files
    assert (files["junit"], files["sarif"]) == ("junit.xml", "results.sarif")
    assert len(json.loads((report / "results.sarif").read_text())["runs"]) == 5


def test_html_shows_strictness_and_waivers(check_run: Make, judged_as: As) -> None:
    """The page names the waiver in the register of evidence and lists what became of each, escaped."""
    waived = judged_as("waived", waiver=Waived(instead_of="fail", reason="<b>ticket</b>", owner="ann", expires="2027-01-01"))
    note = WaiverNote(
        rule="image.size",
        operation=None,
        reason="<b>ticket</b>",
        owner="ann",
        expires="2027-01-01",
        state="used",
        detail="covers 1 finding",
    )
    run = check_run(waived, waivers=[note], outcome="pass")
    write_check_files(RunWriter(run.folder, run.run))
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "Waived until 2027-01-01 by ann: &lt;b&gt;ticket&lt;/b&gt;. Seen: seen" in text
    assert "The waiver of image.size covers 1 finding (ann, until 2027-01-01: &lt;b&gt;ticket&lt;/b&gt;)." in text


def test_nothing_that_draws_is_loaded_for_a_check(check_run: Make, judged_as: As) -> None:
    """A check has no figures, so its files cost neither matplotlib's nor pandas' start (0.5 s of CPU)."""
    run = check_run(judged_as("fail"))
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from testcard.harness.runs.folder import RunReader, RunWriter\n"
        "from testcard.reports.pages.render import write_check_files\n"
        "run = RunReader(Path(sys.argv[1]))\n"
        "write_check_files(RunWriter(run.folder, run.run))\n"
        "print({'matplotlib', 'pandas', 'scipy'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(run.folder)], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stdout == "set()\n"
    assert (run.folder / "report.html").is_file()


def test_a_run_without_anything_judged_has_no_annotation(tmp_path: Path) -> None:
    """A check that was refused its key wrote no verdicts: nothing is annotated, and `evaluate` keeps the exit code that it came to."""
    RunWriter.create(tmp_path / "refused", "check")
    assert workflow_commands_of([RunReader(tmp_path / "refused")]) == []
