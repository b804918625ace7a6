"""The index says what the run folders say, and can be thrown away."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from testcard.harness import cli
from testcard.harness.cli.history import chart, show
from testcard.harness.errors import UsageError
from testcard.harness.history.index import Index, broken_rules, histories, run_folders
from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import (
    CheckedTarget,
    ClauseRef,
    Estimate,
    Generator,
    Spend,
    Summary,
    SummaryRow,
    TargetRecord,
    Verdict,
    Verdicts,
)


def a_bench(folder: Path, day: int, p50: float, *, size: str = "512x512", outcome: str = "pass") -> Path:
    target = TargetRecord(provider="nanogpt", name="NanoGPT", base_url=f"http://127.0.0.1:{8000 + day}", mock=True)
    writer = RunWriter.create(folder, "bench", targets=[target])
    estimate = Estimate(value=p50, low=0.9 * p50, high=1.1 * p50, n=400)
    row = SummaryRow(
        provider="nanogpt", model="hidream", operation="createImage", stage="10/s", offered_rps=10.0, achieved_rps=10.0, requests=400, ok=400,
        errors={}, latency_s={"p50": estimate}, service_s={}, ttfb_s={}, images_per_s=10.0, megapixels_per_s=2.5, goodput_rps=10.0,
        cost_usd_per_image=None, generator=Generator(send_lag_p99_s=0.001, cpu_percent=10.0), outcome="pass", target=0,
    )  # fmt: skip
    writer.write("summary", "summary.json", Summary(rows=[row], workload={"sizes": [size]}))
    writer.update(started=f"2026-11-{day:02d}T08:00:00.000Z", outcome=outcome, exit_code=0)
    return folder


def a_check(folder: Path, day: int, **words: str) -> Path:
    writer = RunWriter.create(folder, "check")
    verdicts = [
        Verdict(
            rule=rule.replace("_", "."),
            operation="createImage",
            level="must",
            verdict=word,  # type: ignore[arg-type]
            detail=f"seen on day {day}",
            clause=ClauseRef(document="d", heading="h"),
        )
        for rule, word in words.items()
    ]
    target = CheckedTarget(base_url="http://127.0.0.1:1", mock=True)
    writer.write("verdicts", "verdicts.json", Verdicts(provider="nanogpt", target=target, outcome="pass", spend=Spend(), verdicts=verdicts))
    writer.update(started=f"2026-11-{day:02d}T08:00:00.000Z", outcome="pass", exit_code=0)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Ten benchmarks, each 5 % slower than the one before, and three checks that break and fix rules."""
    top = tmp_path / "testcard-runs"
    for day in range(1, 11):
        a_bench(top / f"bench-{day:02d}", day, 0.5 * 1.05**day)
    a_check(top / "evaluate" / "check-1", 1, image_size="pass", auth_required="fail")
    a_check(top / "evaluate" / "check-2", 2, image_size="fail", auth_required="fail")
    a_check(top / "check-3", 3, image_size="fail", auth_required="pass", image_count="unproven")
    return top


def test_trends_and_findings_are_those_of_the_folders(runs: Path) -> None:
    """A rising p50 over ten runs; each broken rule with first and last seen, and whether it still is."""
    index = Index(runs / ".history.sqlite")
    done = index.update([runs])
    assert (done.read, done.known, done.forgotten, done.unread) == (13, 0, 0, [])
    p50 = next(each for each in histories(index) if each.metric == "p50_s")
    assert [round(point.value, 4) for point in p50.points] == [round(0.5 * 1.05**day, 4) for day in range(1, 11)]
    assert p50.site == "mock"
    assert p50.trend.word == "rising"
    found = {each.rule: each for each in broken_rules(index)}
    assert {rule: (each.first_seen[:10], each.last_seen[:10], each.runs, each.judged, each.open) for rule, each in found.items()} == {
        "image.size": ("2026-11-02", "2026-11-03", 2, 3, True),
        "auth.required": ("2026-11-01", "2026-11-02", 2, 3, False),
    }
    assert found["image.size"].detail == "seen on day 3"
    index.close()


def test_a_broken_must_is_a_must_whatever_shoulds_the_rule_has_beside_it(tmp_path: Path) -> None:
    """A rule that is judged as a must and as a should of one operation has the level of the strongest that was broken."""

    def check(day: int, *verdicts: tuple[str, str]) -> None:
        writer = RunWriter.create(tmp_path / f"check-{day}", "check")
        judged = [
            Verdict(
                rule="request.refuses-invalid", operation="createImage", level=level, verdict=word, detail=f"{level} of day {day}",  # type: ignore[arg-type]
                clause=ClauseRef(document="d", heading="h"),
            )
            for level, word in verdicts
        ]  # fmt: skip
        target = CheckedTarget(base_url="http://127.0.0.1:1", mock=True)
        writer.write(
            "verdicts", "verdicts.json", Verdicts(provider="nanogpt", target=target, outcome="fail", spend=Spend(), verdicts=judged)
        )
        writer.update(started=f"2026-11-{day:02d}T09:00:00.000Z", outcome="fail", exit_code=1)

    def levels() -> list[tuple[str, str]]:
        index = Index(tmp_path / ".history.sqlite", rebuild=True)
        index.update([tmp_path])
        found = [(each.level, each.detail) for each in broken_rules(index)]
        index.close()
        return found

    check(1, ("must", "pass"), ("should", "deviates"))
    assert levels() == [("should", "should of day 1")]
    check(2, ("should", "deviates"), ("must", "fail"), ("info", "info"))
    assert levels() == [("must", "must of day 2")]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_no_word_is_broken_on_a_narrow_terminal(runs: Path, width: int) -> None:
    """Where the tables do not fit, lines say the same: every run's figures and findings whole."""
    index = Index(runs / ".history.sqlite")
    index.update([runs])
    show(histories(index), broken_rules(index), Console(file=(out := io.StringIO()), width=width))
    index.close()
    said = out.getvalue()
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= width
    for word in ("p50 latency", "0.814", "0.638", "(×1.28)", "above", "createImage", "image.size", "auth.required", "rising"):
        assert word in said, said
    assert ("figure" in said.splitlines()[0]) == (width == 200)


def test_two_mocks_of_one_provider_are_two_series(tmp_path: Path) -> None:
    """Each run measured two mocks at other ports: the first of a run goes with the first of the next."""
    for day in (1, 2, 3):
        folder = a_bench(tmp_path / f"bench-{day}", day, 0.5)
        writer, summary = RunReader(folder), RunReader(folder).summary()
        assert summary is not None
        targets = [msgspec.structs.replace(writer.run.targets[0], base_url=f"http://127.0.0.1:{9000 + day + k}") for k in (0, 1)]
        rows = [msgspec.structs.replace(summary.rows[0], target=k, latency_s={"p50": Estimate(value=0.5 + k, n=9)}) for k in (0, 1)]
        (folder / "summary.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(summary, rows=rows)))
        (folder / "run.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(writer.run, targets=targets)))
    index = Index(tmp_path / ".history.sqlite")
    index.update([tmp_path])
    found = {each.site: [point.value for point in each.points] for each in histories(index) if each.metric == "p50_s"}
    assert found == {"mock": [0.5] * 3, "mock 2": [1.5] * 3}
    index.close()


def test_only_runs_of_one_fingerprint_form_a_series(runs: Path) -> None:
    """Another size is another series; an interrupted run is in none."""
    a_bench(runs / "other-size", 11, 9.0, size="1024x1024")
    a_bench(runs / "interrupted", 12, 99.0, outcome="interrupted")
    index = Index(runs / ".history.sqlite")
    index.update([runs])
    lengths = sorted(len(each.points) for each in histories(index) if each.metric == "p50_s")
    assert lengths == [1, 10]
    index.close()


def test_an_update_reads_only_what_changed_and_forgets_what_is_gone(runs: Path) -> None:
    """The second look reads nothing; a changed run is read again; a deleted one disappears."""
    index = Index(runs / ".history.sqlite")
    index.update([runs])
    assert (index.update([runs]).read, index.update([runs]).known) == (0, 13)
    run = runs / "bench-10" / "run.json"
    run.write_bytes(run.read_bytes().replace(b'"outcome": "pass"', b'"outcome": "error"'))
    shutil.rmtree(runs / "check-3")
    done = index.update([runs])
    assert (done.read, done.known, done.forgotten) == (1, 11, 1)
    assert {len(each.points) for each in histories(index)} == {9}
    index.close()


def test_the_index_can_be_thrown_away_rebuilt_and_moved(runs: Path) -> None:
    """What it says after a rebuild, after a loss, and after the runs moved elsewhere is the same."""
    path = runs / ".history.sqlite"
    index = Index(path)
    index.update([runs])
    before = msgspec.json.encode([histories(index), broken_rules(index)])
    index.close()
    for rebuild in (True, False):
        if not rebuild:
            path.unlink()
        index = Index(path, rebuild=rebuild)
        assert index.update([runs]).read == 13
        assert msgspec.json.encode([histories(index), broken_rules(index)]) == before
        index.close()
    moved = runs.rename(runs.parent / "elsewhere")
    index = Index(moved / ".history.sqlite")
    assert index.update([moved]).known == 13
    assert msgspec.json.encode([histories(index), broken_rules(index)]) == before
    index.close()


def test_a_file_that_is_no_index_is_left_alone(tmp_path: Path) -> None:
    """A text file, and somebody else's database: refused, untouched, also by --rebuild."""
    text, foreign = tmp_path / "notes.txt", tmp_path / "other.sqlite"
    text.write_text("dear diary", encoding="utf-8")
    with sqlite3.connect(foreign) as database:
        database.execute("CREATE TABLE runs (a)")
    database.close()
    for path in (text, foreign):
        before = path.read_bytes()
        for rebuild in (False, True):
            with pytest.raises(UsageError, match="no history index"):
                Index(path, rebuild=rebuild)
        assert path.read_bytes() == before


def test_an_index_of_another_version_is_made_anew(runs: Path) -> None:
    """Tables of a version that is not ours are dropped and filled again from the folders."""
    path = runs / ".history.sqlite"
    index = Index(path)
    index.update([runs])
    index.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    index = Index(path)
    assert index.update([runs]).read == 13
    index.close()


def test_a_damaged_run_is_said_and_the_rest_is_shown(runs: Path) -> None:
    """One summary that is no JSON costs that run only."""
    (runs / "bench-04" / "summary.json").write_text("{", encoding="utf-8")
    index = Index(runs / ".history.sqlite")
    done = index.update([runs])
    assert done.read == 12
    assert len(done.unread) == 1
    assert "bench-04" in done.unread[0]
    assert len(index.query("SELECT * FROM runs")) == 12
    index.close()


def test_run_folders_are_found_at_any_depth(runs: Path) -> None:
    """Also inside an evaluation; a folder that does not exist is a usage error."""
    assert len(list(run_folders(runs))) == 13
    assert list(run_folders(runs / "check-3")) == [runs / "check-3"]
    with pytest.raises(UsageError, match="is no folder"):
        list(run_folders(runs / "nowhere"))


def test_the_command_prints_a_table_and_json(runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As a user runs it: exit 0, the index beside the runs, rows and findings on stdout; --json the same as data."""
    monkeypatch.chdir(runs.parent)
    assert cli.run(["history"]) == 0
    shown = capsys.readouterr()
    assert (runs / ".history.sqlite").is_file()
    for part in ("p50 latency, s", "rising (+", "image.size", "2026-11-02 08:00", "2 of 3", "kept on 2026-11-03", "▁"):
        assert part in shown.out
    assert "13 runs (13 read now, 0 gone)" in shown.err
    assert cli.run(["history", "--json", "--rebuild"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["runs"] == 13
    assert {each["rule"] for each in data["findings"]} == {"image.size", "auth.required"}
    assert next(each for each in data["trends"] if each["metric"] == "p50_s")["trend"]["word"] == "rising"


def test_no_runs_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Nowhere to look, and an empty folder: exit 2 and what to do."""
    monkeypatch.chdir(tmp_path)
    assert cli.run(["history"]) == 2
    assert "next:" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert cli.run(["history", "empty", "--index", "there.sqlite"]) == 2
    assert "no run to show" in capsys.readouterr().err


def test_little_charts() -> None:
    """Lowest to highest over the height; flat where nothing moves; the latest where there are many."""
    assert chart([1.0, 2.0, 3.0]) == "▁▅█"
    assert chart([2.0, 2.0]) == "▄▄"
    assert chart([0.0] * 50 + [1.0]).endswith("▁█")
    assert len(chart([float(v) for v in range(50)])) == 24
