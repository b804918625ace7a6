"""Run against baseline, as `testcard compare` and `testcard report --baseline` say it: exit codes, sentences, figure, section."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from testcard.harness import cli
from testcard.harness.runs import samples
from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import CheckedTarget, ClauseRef, Spend, TargetRecord, Verdict, Verdicts
from testcard.harness.runs.validate import validate_run
from testcard.harness.statistics.summary import StageFacts, summarise
from testcard.reports.content.baseline import side
from testcard.reports.content.evidence import gather

HOSTILE = "</script><b onmouseover=alert(1)>`m`|\x1b[31m"
EACH = 60


def a_bench(
    folder: Path, *, factor: float = 1.0, seed: int = 1, rounds: int = 8, size: str = "512x512", twins: bool = False, slo: str = "p95<8s"
) -> Path:
    """A benchmark of one provider (or of the same one at two addresses) with log-normal latencies around `factor` × 0.5 s."""
    targets = [
        TargetRecord(provider="nanogpt", name="NanoGPT", base_url=f"http://127.0.0.1:{8000 + place}", mock=True, prices="illustrative")
        for place in range(2 if twins else 1)
    ]
    writer = RunWriter.create(folder, "bench", targets=targets, seed=seed)
    generator = np.random.default_rng(seed)
    tables = []
    for place in range(len(targets)):
        number = np.repeat(np.arange(rounds), EACH)
        start = np.sort(generator.uniform(0, 6, (rounds, EACH)), axis=1).ravel() + 60.0 * number + 10.0 * place
        done = start + factor * (1 + place) * 0.5 * generator.lognormal(0, 0.1, rounds * EACH)
        values = {
            "provider": "nanogpt", "model": HOSTILE, "operation": "createImage", "round": number, "stage": "10/s", "scheduled_s": start,
            "sent_s": start, "first_byte_s": done, "last_byte_s": done, "done_s": done, "status": 200, "outcome": "ok", "bytes": 1000,
            "images": 1, "megapixels": 0.25, "cost_usd": 0.01, "warmup": False, "target": place, "worker": 0,
        }  # fmt: skip
        arrays = [
            pa.nulls(len(start), field.type)
            if field.name not in values
            else pa.array(np.broadcast_to(np.asarray(values[field.name]), len(start)).tolist(), type=field.type)
            for field in samples.schema()
        ]
        tables.append(pa.Table.from_arrays(arrays, schema=samples.schema()))
    table = pa.concat_tables(tables)
    pq.write_table(table, writer.add_file("samples", "samples.parquet"))
    summary = summarise(
        table.to_pandas(),
        objectives=[slo],
        facts={"10/s": StageFacts(duration_s=6.0 * rounds)},
        workload={"sizes": [size], "arrival": "poisson", "stage": [{"name": None, "rate_rps": 10.0, "users": None}]},
    )
    writer.write("summary", "summary.json", summary)
    writer.finish("pass", 0)
    return folder


def test_a_report_against_a_baseline_has_one_verdict_and_its_exit_code(benches: dict[str, Path], tmp_path: Path) -> None:
    """A run that misses its own objective and is no worse than its baseline: FAIL and 1, not FAIL and 0; alone the report exits 0."""
    missing = a_bench(tmp_path / "missing", seed=5, slo="p95<0.4s")
    for number, (name, code, outcome) in enumerate((("missing", 1, "fail"), ("twin", 0, "pass"), ("short", 5, "inconclusive"))):
        run = missing if name == "missing" else benches[name]
        out = tmp_path / f"report-{number}"
        assert cli.run(["report", str(run), "--baseline", str(benches["old"]), "--out", str(out)]) == code
        written = RunReader(out).run
        assert (written.outcome, written.exit_code) == (outcome, code)
    assert cli.run(["report", str(missing), "--out", str(tmp_path / "alone")]) == 0


def a_check(folder: Path, word: str) -> Path:
    writer = RunWriter.create(
        folder, "check", targets=[TargetRecord(provider="nanogpt", name="NanoGPT", base_url="http://127.0.0.1:8000", mock=True)]
    )
    verdict = Verdict(
        rule="image.size",
        operation="createImage",
        level="must",
        verdict=word,  # type: ignore[arg-type]
        detail=f"256x256 {HOSTILE}",
        clause=ClauseRef(document="d", heading="h"),
    )
    record = Verdicts(
        provider="nanogpt",
        target=CheckedTarget(base_url="http://127.0.0.1:8000", mock=True),
        outcome="fail" if word == "fail" else "pass",
        spend=Spend(),
        verdicts=[verdict],
    )
    writer.write("verdicts", "verdicts.json", record)
    writer.finish(record.outcome, 0)
    return folder


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Benchmarks: a baseline, a twin, a slower and a faster one, one of another size, and one of three rounds."""
    top = tmp_path_factory.mktemp("benches")
    return {
        "old": a_bench(top / "old"),
        "twin": a_bench(top / "twin", seed=2),
        "slower": a_bench(top / "slower", factor=1.3, seed=3),
        "faster": a_bench(top / "faster", factor=0.7, seed=4),
        "larger": a_bench(top / "larger", size="1024x1024"),
        "short": a_bench(top / "short", rounds=3),
    }


@pytest.mark.parametrize(
    ("new", "code", "word", "said"),
    [
        ("twin", 0, "PASS", "p50 latency"),
        ("slower", 1, "FAIL", "p50 latency is worse"),
        ("faster", 0, "PASS", "p50 latency is better"),
        ("larger", 2, "NOT COMPARABLE", "not comparable because size: 1024x1024 against 512x512."),
        ("short", 5, "INCONCLUSIVE", "no decision, because 3 rounds of alike size against 8; a decision needs 4 on each side."),
    ],
)
def test_compare_says_one_sentence_a_metric_and_gates(
    benches: dict[str, Path], capsys: pytest.CaptureFixture[str], new: str, code: int, word: str, said: str
) -> None:
    """Exit 0 without a regression, 1 with one, 2 where the runs measured different things, 5 where too little was measured."""
    assert cli.run(["compare", str(benches[new]), str(benches["old"])]) == code
    shown = capsys.readouterr().out
    assert said in shown
    assert shown.splitlines()[-1].startswith(word)
    assert "\x1b" not in shown
    if new != "larger":
        said_of = "\n".join(line for line in shown.splitlines() if line.startswith("  "))
        assert all(name in said_of for name in ("p50 latency", "p95 latency", "throughput", "error rate"))
        assert sum(line.strip().startswith("≈") for line in said_of.splitlines()) <= 1  # what did not move is one line
        assert said_of.count("no decision, because 3 rounds") == (new == "short")  # and so is what one reason leaves open
    assert cli.run(["compare", str(benches[new]), str(benches["old"]), "--json"]) == code
    data = json.loads(capsys.readouterr().out)
    assert data["exit_code"] == code
    assert all(change["sentence"] for change in data["changes"])


def test_a_newly_broken_must_is_a_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two checks: newly broken exits 1 and says since when; fixed exits 0."""
    good, bad = a_check(tmp_path / "good", "pass"), a_check(tmp_path / "bad", "fail")
    assert cli.run(["compare", str(bad), str(good)]) == 1
    assert "image.size on createImage is newly broken, pass before, first seen 20" in capsys.readouterr().out
    assert cli.run(["compare", str(good), str(bad)]) == 0
    assert "image.size on createImage is fixed." in capsys.readouterr().out


def test_two_clean_checks_and_an_evaluation(benches: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No rule broken on either side: nothing got worse. An evaluation stands for its check and its benchmark."""
    good, also_good = a_check(tmp_path / "good", "pass"), a_check(tmp_path / "also-good", "pass")
    assert cli.run(["compare", str(good), str(also_good)]) == 0
    assert "nothing got worse" in capsys.readouterr().out
    folders = []
    for name, bench, word in (("before", "old", "pass"), ("after", "slower", "fail")):
        writer = RunWriter.create(tmp_path / name, "evaluate")
        a_check(writer.folder / "check-nanogpt", word)
        shutil.copytree(benches[bench], writer.folder / "bench")
        writer.update(children=["check-nanogpt", "bench"])
        folders.append(str(writer.folder))
    assert cli.run(["compare", folders[1], folders[0]]) == 1
    shown = capsys.readouterr().out
    assert "p50 latency is worse" in shown
    assert "image.size on createImage is newly broken" in shown


def test_runs_with_nothing_in_common_are_a_usage_error(
    benches: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A benchmark against a check, and a folder that is no run: exit 2, with what to do."""
    check = a_check(tmp_path / "check", "pass")
    assert cli.run(["compare", str(benches["old"]), str(check)]) == 2
    assert "the one was checked, the other benchmarked" in capsys.readouterr().err
    assert cli.run(["compare", str(benches["old"]), str(tmp_path)]) == 2
    assert "next:" in capsys.readouterr().err


def test_the_report_shows_the_forest_plot_the_sentences_and_the_gates(
    benches: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """report --baseline: exit 1, verdict FAIL with the reason, gate lines, figure as SVG and PNG, everything escaped, the same bytes twice."""
    pages = []
    for name in ("one", "two"):
        out = tmp_path / name / "report"
        assert cli.run(["report", str(benches["slower"]), "--baseline", str(benches["old"]), "--out", str(out)]) == 1
        pages.append(out)
    capsys.readouterr()
    html = (pages[0] / "report.html").read_text(encoding="utf-8")
    section = html[html.index('<section id="baseline"') : html.index('<section id="method"')]
    assert "p50 latency is worse" in section
    assert 'id="figure-baseline-ratios"' in section
    assert "no worse than the baseline" in html[: html.index('<section id="comparison"')]
    assert "<b onmouseover" not in html
    assert "\x1b" not in html
    text = (pages[0] / "report.md").read_text(encoding="utf-8")
    assert "figures/baseline-ratios.png" in text
    assert "p50 latency is worse" in text
    for name in ("report.html", "report.md", "figures/baseline-ratios.svg", "figures/baseline-ratios.png"):
        assert (pages[0] / name).read_bytes() == (pages[1] / name).read_bytes()
    run = RunReader(pages[0]).run
    assert (run.outcome, run.exit_code) == ("fail", 1)
    assert validate_run(pages[0]) == []
    assert json.loads((pages[0] / "badge.json").read_text())["message"] == "fail (against the baseline)"


def test_a_report_without_a_baseline_has_no_such_section_and_exits_zero(benches: dict[str, Path], tmp_path: Path) -> None:
    """As before: the report exits 0 whatever it says."""
    assert cli.run(["report", str(benches["slower"]), "--out", str(tmp_path / "report")]) == 0
    assert 'id="baseline"' not in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_compare_can_leave_a_report(benches: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--out writes the same report; what is refused or undecided is in it too, and the exit code stays."""
    for name, code, said in (("larger", 2, "not comparable because size"), ("short", 5, "3 rounds of alike size against 8")):
        out = tmp_path / name
        assert cli.run(["compare", str(benches[name]), str(benches["old"]), "--out", str(out)]) == code
        assert f"report  {out / 'report.html'}" in capsys.readouterr().out
        html = (out / "report.html").read_text(encoding="utf-8")
        assert said in html
        assert RunReader(out).run.outcome == "inconclusive"


def test_two_targets_of_one_provider_keep_their_own_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One provider at two addresses: compared address by address, named with it, and drawn as two rows in the report."""
    old, new = a_bench(tmp_path / "old", twins=True), a_bench(tmp_path / "new", twins=True, seed=5)
    assert cli.run(["compare", str(new), str(old)]) == 0
    shown = capsys.readouterr().out
    assert "NanoGPT (127.0.0.1:8000)" in shown
    assert "NanoGPT (127.0.0.1:8001)" in shown
    evidence = gather([RunReader(new)])
    assert [party.label for party in evidence.parties] == ["NanoGPT (127.0.0.1:8000)", "NanoGPT (127.0.0.1:8001)"]
    assert [len(evidence.samples(series)) for series in evidence.series] == [8 * EACH, 8 * EACH]
    medians = [series.row.latency_s["p50"].value for series in evidence.series]
    assert medians[0] is not None
    assert medians[1] is not None
    assert medians[1] > 1.5 * medians[0]


def test_samples_are_read_once(benches: dict[str, Path]) -> None:
    """A report hands the comparison the frames that it has read already."""
    run = RunReader(benches["old"])
    evidence = gather([run])
    assert side([run], evidence).benches[0].samples is evidence.frames[0]


def test_figures_over_time_from_an_index(benches: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """history writes an index of the runs; report --history draws it; a file that is none is a usage error."""
    index = tmp_path / "index.sqlite"
    assert cli.run(["history", str(benches["old"].parent), "--index", str(index)]) == 0
    assert cli.run(["report", str(benches["old"]), "--history", str(index), "--out", str(tmp_path / "report")]) == 0
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert 'id="figure-history"' in html
    assert (tmp_path / "report" / "figures" / "history.png").stat().st_size > 5000
    assert cli.run(["report", str(benches["old"]), "--history", str(tmp_path / "none"), "--out", str(tmp_path / "other")]) == 2
    assert "no history index" in capsys.readouterr().err
