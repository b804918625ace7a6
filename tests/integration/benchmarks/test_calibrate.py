"""`testcard calibrate` as a user runs it, with fewer and shorter levels: real servers, real load processes, real figures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from testcard.benchmarks.calibration import command
from testcard.benchmarks.calibration.command import Extent, LoadRun, answers
from testcard.harness.cli import run
from testcard.harness.progress import Progress
from testkit.waiting import PATIENCE_S


def test_a_calibration_states_rates_cpu_lag_and_fidelity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON on stdout and in the file alike; a trusted rate is one of the levels; exit 5 exactly when it says inconclusive."""
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    monkeypatch.setattr(command, "QUICK", Extent(0.3, (0.05, 0.3), 5.0, 0.5, False))
    out = tmp_path / "calibration.json"
    code = run(["calibrate", "--quick", "--json", "--out", str(out)])
    printed = capsys.readouterr().out
    assert printed == out.read_text()
    found = json.loads(printed)
    assert found["schema"] == "testcard.calibration/1"
    assert code == {"pass": 0, "inconclusive": 5}[found["outcome"]]
    assert (found["outcome"] == "pass") == (found["reason"] is None)
    assert [(answer["name"], answer["checked"]) for answer in found["answers"]] == [("small", "structure"), ("large", "structure")]
    for answer in found["answers"]:
        assert answer["peak_rps"] > 10
        assert 1e-5 < answer["peak_cpu_s_per_request"] < 0.05
        trusted = [level["offered_rps"] for level in answer["levels"] if level["trusted"]]
        assert answer["trusted_rps"] == max(trusted, default=None)
        for level in answer["levels"]:
            assert level["requests"] == pytest.approx(0.3 * level["offered_rps"], abs=1.0)
            assert level["trusted"] == (level["why"] is None)
    assert [(one["requests"], len(one["quantiles"])) for one in found["fidelity"]] == [(50, 4)] * 4
    for one in found["fidelity"]:
        for quantile in one["quantiles"]:
            # Never early: the servers do not answer before their time, and a schedule begins when it says.
            assert quantile["measured_s"] >= quantile["true_s"] - 0.02
            assert quantile["measured_s"] < quantile["true_s"] + 0.5  # a machine that is busy with other tests


def test_two_processes_share_the_levels(tmp_path: Path) -> None:
    """Each level is sent whole, by both together; CPU a request is that of both."""
    with Progress("x") as progress:
        (found,) = answers(LoadRun(tmp_path, 2, progress), Extent(0.3, (0.05, 0.2), 60.0, 0.5, False), [("small", 1_500)], "structure")
    assert found.levels
    for level in found.levels:
        assert level.offered_rps is not None
        assert level.requests == pytest.approx(0.3 * level.offered_rps, abs=1.0)
    assert 1e-5 < found.peak_cpu_s_per_request < 0.05


def test_ctrl_c_ends_a_calibration_with_130_and_leaves_no_process(tmp_path: Path) -> None:
    """A calibration that is not whole says nothing: no figures, no file, no server left behind."""
    out = tmp_path / "calibration.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "testcard.harness.cli", "calibrate", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TESTCARD_PROGRESS": "none"},
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    children: list[psutil.Process] = []
    while len(children) < 2 and time.monotonic() < deadline:
        children = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, stdout, out.exists()) == (130, "", False), stderr
    assert "interrupted" in stderr
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
