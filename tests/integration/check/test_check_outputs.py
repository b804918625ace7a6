"""What a check leaves behind and says: its files, waivers, --strict, --rejudge, GitHub Actions, and the exit codes that come of them."""

from __future__ import annotations

import json
import shutil
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.check import run as checks
from testcard.harness.cli import run
from testcard.harness.cli.check import output as check_output
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.validate import validate_run
from testcard.harness.targets import embedded_mocks

KEY = "sk-outputs-0123456789"
Capture = pytest.CaptureFixture[str]
TODAY = datetime.now(UTC).date()
NEBUL = Path(__file__).parents[3] / "specs" / "providers" / "nebul"
NARROW = ["--rule", "image.format", "--rule", "image.size", "--rule", "auth.required"]


@pytest.fixture(scope="module")
def faulty() -> Iterator[str]:
    """A Nebul mock that gives JPEG for PNG: a broken must on each of three operations."""
    with embedded_mocks(["nebul"], options=["--api-key", KEY, "--fault", "image.format"]) as mocks:
        yield mocks.base_urls["nebul"]


@pytest.fixture(scope="module")
def lenient() -> Iterator[str]:
    """A NanoGPT mock that accepts any key: a broken should."""
    with embedded_mocks(["nanogpt"], options=["--api-key", KEY, "--fault", "auth.wrong-refused"]) as mocks:
        yield mocks.base_urls["nanogpt"]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tests' own key and folder, and no CI around them."""
    monkeypatch.setenv("TESTCARD_API_KEY", KEY)
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def requests_seen(url: str) -> int:
    with urllib.request.urlopen(f"{url}/_testcard/counters", timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return int(found["requests"])


def waivers(folder: Path, *entries: tuple[str, str | None, int], provider: str = "nebul") -> Path:
    """A file of waivers: rule, operation, days from today until it expires."""
    text = ""
    for rule, operation, days in entries:
        text += f"[[waiver]]\nrule = {json.dumps(rule)}\nprovider = {json.dumps(provider)}\nreason = 'ticket 12'\nowner = 'ann'\n"
        text += f"expires = {TODAY + timedelta(days=days)}\n" + (f"operation = {json.dumps(operation)}\n" if operation else "")
    path = folder / "waivers.toml"
    path.write_text(text)
    return path


def verdicts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "verdicts.json").read_text())
    return found


def words(folder: Path, rule: str) -> list[str]:
    return [one["verdict"] for one in verdicts(folder)["verdicts"] if one["rule"] == rule]


def test_a_check_leaves_everything_in_its_folder(faulty: str, capsys: Capture) -> None:
    """Seven files, all listed and whole, small, without the key; each tells of the same three findings, at the contract in the repository."""
    shutil.copytree(NEBUL, "specs/nebul")
    assert run(["check", "specs/nebul", "--base-url", faulty, "--out", "run"]) == 1
    folder = Path("run")
    files = RunReader(folder).run.files
    assert {"verdicts", "junit", "sarif", "job_summary", "badge", "report", "exchanges"} <= set(files)
    assert validate_run(folder) == []
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 20_000_000
    assert (folder / "report.html").stat().st_size < 1_000_000
    for path in folder.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    broken = {one["operation"] for one in verdicts(folder)["verdicts"] if one["verdict"] == "fail" and one["rule"] == "image.format"}
    assert len(broken) == 3
    failed = {case.attrib["name"] for case in ET.parse(folder / "junit.xml").iter("testcase") if case.find("failure") is not None}
    assert {f"image.format [{operation}]" for operation in broken} <= failed
    (sarif,) = json.loads((folder / "results.sarif").read_text())["runs"]
    found = [one for one in sarif["results"] if one["ruleId"] == "image.format"]
    contract = (NEBUL / "openapi.yaml").read_text().splitlines()
    for result in found:
        place = result["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == "specs/nebul/openapi.yaml"
        assert result["properties"]["place"] == "/data/0"
        at = place["region"]["startLine"]
        assert (contract[at - 2].strip(), contract[at - 1].strip()) == ("type: array", "items:")
        owner = next(line.strip() for line in reversed(contract[:at]) if line.startswith("    ") and not line.startswith("     "))
        assert owner == "ImageResponse:", "the list of pictures, in the schema of the answers"
    assert len(found) == 3
    gaps = [one for one in sarif["results"] if one["ruleId"] == "spec.gap"]
    assert {contract[one["locations"][0]["physicalLocation"]["region"]["startLine"] - 1].strip() for one in gaps} == {"responses:"}
    assert "image.format" in (folder / "summary.md").read_text()
    assert "image.format" in (folder / "report.html").read_text()
    assert json.loads((folder / "badge.json").read_text())["message"].startswith("fail")
    assert "::error" not in capsys.readouterr().out


def test_a_waived_finding_passes(faulty: str, tmp_path: Path, capsys: Capture) -> None:
    """With a waiver that holds today, the run passes and says what it passed over."""
    file = waivers(tmp_path, ("image.format", None, 0))
    assert run(["check", "nebul", "--base-url", faulty, *NARROW, "--waivers", str(file), "--out", "run"]) == 0
    said = capsys.readouterr()
    assert f"⊘ waived      image.format   must    fail, waived until {TODAY} by ann: ticket 12" in said.out
    assert "PASS: 6 pass, 3 waived" in said.out
    assert "waiver of" not in said.err
    assert words(tmp_path / "run", "image.format") == ["waived"] * 3
    (note,) = verdicts(tmp_path / "run")["waivers"]
    assert (note["state"], len(note["findings"])) == ("used", 3)
    assert not list(ET.parse("run/junit.xml").iter("failure"))
    (sarif,) = json.loads((tmp_path / "run/results.sarif").read_text())["runs"]
    assert [one["suppressions"][0]["justification"] for one in sarif["results"] if one["ruleId"] == "image.format"] == [
        f"until {TODAY} by ann: ticket 12"
    ] * 3
    assert validate_run("run") == []


def test_an_expired_waiver_fails_with_its_name(faulty: str, tmp_path: Path, capsys: Capture) -> None:
    """The day after, the finding counts again; exit 1; stderr, run.json and the summary say that the waiver has expired."""
    file = waivers(tmp_path, ("image.format", None, -1))
    assert run(["check", "nebul", "--base-url", faulty, *NARROW, "--waivers", str(file), "--out", "run"]) == 1
    said = capsys.readouterr().err
    assert "waiver of image.format has expired: image.format on createImage" in said
    assert "(ann, until" in said
    assert words(tmp_path / "run", "image.format") == ["fail"] * 3
    assert "has expired" in str(RunReader("run").run.reason)
    assert "has expired" in Path("run/summary.md").read_text()
    assert "waiver of image.format [every operation]" in Path("run/junit.xml").read_text()


def test_idle_waivers_are_told_and_pass(faulty: str, tmp_path: Path, capsys: Capture) -> None:
    """A waiver of what is kept, and one that names nothing, are said on stderr and in the files; the exit code is the findings'."""
    file = waivers(tmp_path, ("image.format", None, 9), ("image.size", None, 9), ("imgae.*", None, 9))
    assert run(["check", "nebul", "--base-url", faulty, *NARROW, "--waivers", str(file), "--out", "run"]) == 0
    said = capsys.readouterr().err
    assert "waiver of image.size is not needed" in said
    assert "waiver of imgae.* is unused" in said
    assert [note["state"] for note in verdicts(tmp_path / "run")["waivers"]] == ["used", "unexpected-pass", "unused"]
    assert "is not needed" in Path("run/summary.md").read_text()


def test_waivers_come_from_testcard_toml(faulty: str, tmp_path: Path, capsys: Capture) -> None:
    """[[waiver]] in testcard.toml holds without a flag; --waivers takes its place; a mistake in it is exit 2 with its key."""
    (tmp_path / "testcard.toml").write_text(waivers(tmp_path, ("image.format", None, 0)).read_text())
    assert run(["check", "nebul", "--base-url", faulty, *NARROW, "--out", "one"]) == 0
    assert run(["check", "nebul", "--base-url", faulty, *NARROW, "--waivers", str(waivers(tmp_path)), "--out", "two"]) == 1
    (tmp_path / "waivers.toml").write_text("[[waiver]]\nrule = 'a'\nuntil = 2030-01-01\n")
    assert run(["check", "nebul", "--base-url", faulty, "--waivers", "waivers.toml", "--out", "three"]) == 2
    assert "waivers.toml:1: waiver.0." in capsys.readouterr().err
    assert not Path("three").exists()


def test_strict_makes_shoulds_count(lenient: str, tmp_path: Path, capsys: Capture) -> None:
    """A deviation passes; with --strict, or strict in testcard.toml, it fails in exit code, outcome, JUnit and SARIF."""
    narrow = ["check", "nanogpt", "--base-url", lenient, "--rule", "auth.*"]
    assert run([*narrow, "--out", "lax"]) == 0
    assert "≈ deviates" in capsys.readouterr().out
    assert not list(ET.parse("lax/junit.xml").iter("failure"))
    assert run([*narrow, "--strict", "--out", "strict"]) == 1
    (tmp_path / "testcard.toml").write_text("[check]\nstrict = true\n")
    assert run([*narrow, "--out", "configured"]) == 1
    for folder in (Path("strict"), Path("configured")):
        assert verdicts(folder)["outcome"] == "fail"
        assert len(list(ET.parse(folder / "junit.xml").iter("failure"))) == 1
        (sarif,) = json.loads((folder / "results.sarif").read_text())["runs"]
        assert [one["level"] for one in sarif["results"] if one["ruleId"] == "auth.wrong-refused"] == ["error"]
        assert "musts and shoulds broken = 0" in (folder / "summary.md").read_text()
    assert run([*narrow, "--waivers", str(waivers(tmp_path, ("auth.*", None, 1), provider="nanogpt")), "--out", "waived"]) == 0


def test_a_replay_is_the_run_again_without_a_request(faulty: str, tmp_path: Path, capsys: Capture) -> None:
    """Identical verdicts, JUnit results and fingerprints in a new folder; the mock sees nothing; the run's own waivers hold."""
    file = waivers(tmp_path, ("image.format", "createImage", 0))
    assert run(["check", "nebul", "--base-url", faulty, *NARROW, "--waivers", str(file), "--out", "run"]) == 1
    before = requests_seen(faulty)
    assert run(["check", "nebul", "--rejudge", "run", "--out", "again"]) == 1
    assert run(["check", "nebul", "--rejudge", "again", "--out", "once-more"]) == 1
    assert requests_seen(faulty) == before
    for folder in ("again", "once-more"):
        assert Path(folder, "verdicts.json").read_bytes() == Path("run/verdicts.json").read_bytes()
        assert list(RunReader(folder).exchanges()) == list(RunReader("run").exchanges())
        assert validate_run(folder) == []
        results = [json.loads(Path(name, "results.sarif").read_text())["runs"][0]["results"] for name in ("run", folder)]
        assert results[0] == results[1]
    said = capsys.readouterr()
    assert "again" in said.out
    assert "has changed since" not in said.err


def test_a_replay_can_be_waived_anew(faulty: str, tmp_path: Path) -> None:
    """--waivers on a recorded run shows what they would do, at no cost, as of the day of the run; so does --strict."""
    assert run(["check", "nebul", "--base-url", faulty, *NARROW, "--out", "run"]) == 1
    assert run(["check", "nebul", "--rejudge", "run", "--waivers", str(waivers(tmp_path, ("image.*", None, 0))), "--out", "waived"]) == 0
    assert run(["check", "nebul", "--rejudge", "waived", "--waivers", str(waivers(tmp_path)), "--out", "unwaived"]) == 1
    assert run(["check", "nebul", "--rejudge", "waived", "--strict", "--out", "strict"]) == 0
    assert RunReader("strict").run.config["strict"] is True
    assert words(tmp_path / "strict", "image.format") == ["waived"] * 3


def test_a_replay_of_an_old_run_keeps_its_day(faulty: str, tmp_path: Path) -> None:
    """A waiver that held when the run was made still covers its findings when it is judged again long after."""
    file = waivers(tmp_path, ("image.format", None, -400))
    assert run(["check", "nebul", "--base-url", faulty, *NARROW, "--waivers", str(file), "--out", "run"]) == 1
    record = json.loads(Path("run/run.json").read_text())
    record["started"] = f"{TODAY - timedelta(days=401)}T10:00:00.000Z"
    Path("run/run.json").write_text(json.dumps(record))
    assert run(["check", "nebul", "--rejudge", "run", "--out", "again"]) == 0
    assert run(["check", "nebul", "--rejudge", "again", "--out", "third"]) == 0


def test_github_actions_is_told(faulty: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job summary is appended to, never replaced; annotations come on stdout; with --json stdout is the verdicts alone."""
    summary = tmp_path / "step-summary.md"
    summary.write_text("what was there\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    shutil.copytree(NEBUL, "specs/nebul")
    assert run(["check", "specs/nebul", "--base-url", faulty, *NARROW, "--out", "run"]) == 1
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("::")]
    assert len(lines) == 3
    at = {line.partition(",line=")[2].partition(",")[0] for line in lines if line.startswith("::error file=specs/nebul/openapi.yaml")}
    contract = (NEBUL / "openapi.yaml").read_text().splitlines()
    assert [contract[int(number) - 1].strip() for number in at] == ["items:"], "all three at the list of pictures, not at their operations"
    assert summary.read_text() == "what was there\n" + Path("run/summary.md").read_text()
    assert run(["check", "specs/nebul", "--base-url", faulty, *NARROW, "--out", "json", "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == verdicts(tmp_path / "json")
    assert said.err.count("::error file=") == 3
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "such" / "place"))
    assert run(["check", "specs/nebul", "--rejudge", "run", "--out", "third"]) == 1
    assert "the job summary cannot be written" in capsys.readouterr().err


def test_an_occupied_folder_is_found_before_a_mock_is_started(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """--out is looked at first: nothing is started for a run that could not be kept."""

    def started(*_: object, **__: object) -> None:
        raise AssertionError("a target was opened")

    monkeypatch.setattr(checks, "open_target", started)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_text("x")
    (tmp_path / "file").write_text("x")
    for name, said in (("taken", "not empty"), ("file", "is a file"), ("file/below", "cannot be written")):
        assert run(["check", "nanogpt", "--out", name]) == 2
        assert said in capsys.readouterr().err
    monkeypatch.setenv("TESTCARD_TRACEBACK", "1")
    with pytest.raises(AssertionError, match="opened"):
        run(["check", "nanogpt", "--out", "free"])
    assert not Path("free").exists()


def test_a_renderer_that_breaks_hides_no_verdict(lenient: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of ours in a report is exit 4 and named; the verdicts are printed and kept."""

    def broken(name: str) -> Any:
        raise RuntimeError(f"no {name}")

    monkeypatch.setattr(check_output, "resolve", broken)
    assert run(["check", "nanogpt", "--base-url", lenient, "--rule", "auth.*", "--out", "run"]) == 4
    said = capsys.readouterr()
    assert "internal error: the report could not be written: RuntimeError" in said.err
    assert "auth.required" in said.out
    assert verdicts(Path("run"))["outcome"] == "pass"
    assert (RunReader("run").run.outcome, RunReader("run").run.exit_code) == ("error", 4)


def test_a_budget_that_ends_and_a_must_that_breaks(faulty: str) -> None:
    """What was broken before the money ran out is exit 1, not 5; with nothing broken it is 5; the files are there in both."""
    assert run(["check", "nebul", "--base-url", faulty, *NARROW, "--max-images", "2", "--out", "one"]) == 1
    assert run(["check", "nebul", "--base-url", faulty, "--rule", "image.size", "--max-images", "2", "--out", "five"]) == 5
    for folder in ("one", "five"):
        assert validate_run(folder) == []
        assert [one for one in ET.parse(f"{folder}/junit.xml").iter("skipped") if one.attrib["message"].startswith("not-run")]
