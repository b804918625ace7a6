"""The live commands of the README end in an answer: exit 0, with nothing said to be inconclusive, on a server that takes its time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testcard.harness.cli import run
from testcard.harness.runs.folder import RunReader
from testcard.harness.targets import EmbeddedMocks, embedded_mocks


@pytest.fixture(scope="module")
def slow() -> Iterator[EmbeddedMocks]:
    """Pictures take 0.1 s: of the two that a live server takes, what a test can wait for."""
    with embedded_mocks(["nanogpt"], options=["--latency", "0.1"]) as mocks:
        yield mocks


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")


def test_a_check_of_sixty_requests_judges_every_must(slow: EmbeddedMocks, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan says how many fit, which rules stay not-run and that no must does; the check ends with exit 0 and says the same."""
    asked = ["check", f"nanogpt={slow.base_urls['nanogpt']}", "--live", "--max-requests", "60"]
    assert run([*asked, "--plan"]) == 0
    planned = capsys.readouterr().out
    assert "of 86 requests fit into --max-requests 60" in planned
    assert "not-run, should: request.refuses-invalid" in planned
    assert "If all goes well: exit 0; every must is judged." in planned
    assert run([*asked, "--plan", "--json"]) == 0
    foreseen = json.loads(capsys.readouterr().out)
    assert run([*asked, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "PASS:" in said.out
    assert "no must hangs on them" in said.err
    verdicts = RunReader(tmp_path / "run").verdicts()
    assert verdicts is not None
    assert verdicts.spend.requests <= 60
    left = {(one.operation, one.rule, one.level) for one in verdicts.verdicts if one.verdict == "not-run"}
    assert left == {(one["operation"], one["rule"], one["level"]) for one in foreseen["not_run"]}
    assert foreseen["exit_code_if_all_goes_well"] == 0


def test_a_check_that_leaves_musts_open_says_so_before(slow: EmbeddedMocks, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten requests: exit 5, as the plan says, with the number that would be enough."""
    asked = ["check", f"nanogpt={slow.base_urls['nanogpt']}", "--max-requests", "10"]
    assert run([*asked, "--plan"]) == 0
    planned = capsys.readouterr().out
    assert "not-run, must:" in planned
    assert "If all goes well: exit 5, for musts are not judged; about " in planned
    assert run([*asked, "--out", str(tmp_path / "run"), "--quiet"]) == 5
    said = capsys.readouterr()
    assert "http.status-documented" not in said.out  # no table
    assert said.out.startswith("INCONCLUSIVE: ")
    assert "next: allow more with --max-requests" in said.err


def test_a_benchmark_of_forty_requests_has_its_figures(slow: EmbeddedMocks, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Five requests in each of eight rounds: p50 with an interval, p95 with a value, both objectives of the live workload decided."""
    out = tmp_path / "run"
    asked = ["bench", f"nanogpt={slow.base_urls['nanogpt']}", "--live", "--max-requests", "40", "--out", str(out)]
    assert run([*asked, "--plan"]) == 0
    assert "if all goes well, and an answer takes less than 12 s on average: exit 0\nNothing was sent." in capsys.readouterr().out
    assert run([*asked, "--plan", "--json"]) == 0
    foreseen = json.loads(capsys.readouterr().out)
    assert (foreseen["requests_a_row"], foreseen["exit_code_if_all_goes_well"], out.exists()) == (40, 0, False)
    code = run(asked)
    said = capsys.readouterr().err
    assert code == (5 if "generator was late" in said else 0), said
    assert "budget: 40 requests, 40 for each of 1 row, over 8 rounds" in said
    assert "decides: p50<30s passes with at most 13 slower ones of 40 and fails from 27" in said
    assert "if all goes well, and an answer takes less than 12 s on average: exit 0" in said
    summary = RunReader(out).summary()
    assert summary is not None
    (row,) = summary.rows
    assert (row.requests, row.rounds, [gate.verdict for gate in row.gates]) == (40, 8, ["pass", "pass"])
    assert None not in (row.latency_s["p50"].low, row.latency_s["p50"].high, row.latency_s["p95"].value)


def test_a_plan_leaves_no_folder(slow: EmbeddedMocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent and nothing is written: an empty run folder would be the newest one for `testcard open`."""
    monkeypatch.chdir(tmp_path)
    assert run(["bench", f"nanogpt={slow.base_urls['nanogpt']}", "--max-requests", "40", "--plan"]) == 0
    assert list(tmp_path.iterdir()) == []
