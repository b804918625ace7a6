"""`testcard evaluate` as a new user runs it: five mocks in, a report out; and what happens when a target is dead or Ctrl-C comes."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.validate import validate_run
from testcard.harness.targets import embedded_mocks
from testkit.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "testcard.harness.cli", "evaluate"]
PROVIDERS = ("nanogpt", "nebul", "nvidia-nim-image", "nvidia-nim-vision", "opengpu-relay")


def clean_environment() -> dict[str, str]:
    """The environment without anything that would colour the output or hand a key over."""
    return {key: value for key, value in os.environ.items() if not key.startswith("TESTCARD_")} | {"NO_COLOR": "1"}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One whole evaluation of the five mocks, shared by the tests of this module."""
    folder = tmp_path_factory.mktemp("evaluate")
    done = subprocess.run(
        [*COMMAND, "--size", "256x256", "--out", str(folder / "run")],
        capture_output=True,
        text=True,
        timeout=400,
        env=clean_environment(),
        cwd=folder,
        check=False,
    )
    return done, folder / "run"


def test_five_mocks_pass_and_the_report_is_named(evaluated: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """Against conforming mocks the exit code is 0, and the last lines say where the report is."""
    done, run = evaluated
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout
    assert str(run / "report" / "report.html") in done.stdout
    assert (run / "report" / "report.html").stat().st_size <= 3_000_000
    assert "bench: started" in done.stderr


def test_every_file_of_every_run_fits_its_schema(evaluated: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """run.json, exchanges, verdicts, summary, samples and badge all fit what is published."""
    _, run = evaluated
    folders = [run, *(run / child for child in RunReader(run).run.children)]
    assert {folder.name for folder in folders[1:]} == {*(f"check-{name}" for name in PROVIDERS), "bench", "report"}
    assert {folder.name: validate_run(folder) for folder in folders} == {folder.name: [] for folder in folders}


def test_no_key_reaches_a_run(evaluated: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """The key never stands in an authorization header of a recorded exchange."""
    _, run = evaluated
    for name in PROVIDERS:
        for exchange in RunReader(run / f"check-{name}").exchanges():
            for header, value in exchange.request.headers:
                if header.lower() in ("authorization", "x-api-key"):
                    assert not re.search(r"\btestcard$", value), f"{name} {exchange.id}: {header}"


def test_benchmark_has_a_row_for_each_target(evaluated: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """summary.json has all five providers, each with enough samples for an interval on p95, and counts what the samples hold."""
    import pyarrow.parquet as parquet

    _, run = evaluated
    reader = RunReader(run / "bench")
    summary = reader.summary()
    assert summary is not None
    assert {row.provider for row in summary.rows} == set(PROVIDERS)
    assert all(row.latency_s["p95"].low is not None for row in summary.rows), [(row.provider, row.requests) for row in summary.rows]
    table = parquet.read_table(run / "bench" / "samples.parquet", columns=["provider", "warmup"])
    counted = sum(1 for warmup in table.column("warmup").to_pylist() if not warmup)
    assert counted == sum(row.requests for row in summary.rows)


def test_dead_target_exits_3_and_the_others_are_judged(tmp_path: Path) -> None:
    """A target that does not answer is named with exit 3; the rest is checked, and a report is still made.

    Each target is loaded with its own operations and models, not with those of the others.
    """
    (tmp_path / "testcard.toml").write_text(
        '[[target]]\nprovider = "nvidia-nim-image"\nbase_url = "http://127.0.0.1:9"\n\n'
        '[[target]]\nprovider = "nebul"\noperations = ["createImageVariation"]\n\n'
        '[[target]]\nprovider = "nanogpt"\nmodels = ["flux-kontext"]\n'
        '[bench]\nworkload = "./tiny.toml"\n'
    )
    (tmp_path / "tiny.toml").write_text(TINY_WORKLOAD)
    done = subprocess.run(
        [*COMMAND, "--out", "run", "--json", "--size", "256x256"],
        capture_output=True,
        text=True,
        timeout=200,
        env=clean_environment(),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 3, done.stderr + done.stdout
    result = json.loads(done.stdout)
    assert result["steps"]["check nvidia-nim-image"] == 3
    assert result["steps"]["check nebul"] == result["steps"]["check nanogpt"] == 0
    assert Path(tmp_path / result["report"]).is_file()
    cells = RunReader(tmp_path / "run" / "bench").run.config["cells"]
    assert [(cell["provider"], cell["operation"], cell["model"]) for cell in cells] == [
        ("nebul", "createImageVariation", "black-forest-labs/FLUX.1-Kontext-dev"),
        ("nanogpt", "createImage", "flux-kontext"),
    ]


def test_each_target_gets_its_own_key(tmp_path: Path) -> None:
    """A user's key for one target goes to that target alone, in the check and in the benchmark; the mocks get theirs."""
    with embedded_mocks(["nanogpt"], options=["--api-key", "sk-of-the-real-one"]) as real:
        (tmp_path / "testcard.toml").write_text(
            f'[[target]]\nprovider = "nanogpt"\nbase_url = "{real.base_urls["nanogpt"]}"\nkey_env = "MY_KEY"\n\n'
            '[[target]]\nprovider = "nvidia-nim-image"\n[bench]\nworkload = "./tiny.toml"\n'
        )
        (tmp_path / "tiny.toml").write_text(TINY_WORKLOAD)
        environment = {**clean_environment(), "MY_KEY": "sk-of-the-real-one", "TESTCARD_API_KEY": "sk-of-another"}
        command = [*COMMAND, "--out", "run", "--json", "--size", "256x256", "--max-requests", "60"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment, cwd=tmp_path, check=False)
    assert done.returncode in (0, 5), done.stderr + done.stdout  # 5: sixty requests are not all of a check
    summary = RunReader(tmp_path / "run" / "bench").summary()
    assert summary is not None
    assert {row.provider: (row.ok > 0, row.errors) for row in summary.rows} == {"nanogpt": (True, {}), "nvidia-nim-image": (True, {})}
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or b"sk-of-" not in path.read_bytes(), f"a key stands in {path}"


def begun(folder: Path, **how: Any) -> subprocess.Popen[str]:
    """An evaluation of two mocks whose first check has recorded an exchange."""
    process = subprocess.Popen(
        [*COMMAND, *PROVIDERS[:2], "--out", str(folder / "run"), "--json"],
        text=True,
        env=clean_environment(),
        cwd=folder,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how},
    )
    exchanges = [folder / "run" / f"check-{name}" / "exchanges.jsonl" for name in PROVIDERS]
    deadline = time.monotonic() + PATIENCE_S
    while not any(path.exists() for path in exchanges) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_was_recorded(tmp_path: Path, number: signal.Signals) -> None:
    """A signal to the command alone ends its children, seals the run as interrupted and exits 130.

    SIGTERM also where SIGINT is ignored, as in a shell's background job, which children inherit.
    """
    ignored = (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if number == signal.SIGTERM else None
    process = begun(tmp_path, preexec_fn=ignored)
    process.send_signal(number)
    printed, talk = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, talk
    assert "testcard report" in talk
    assert json.loads(printed)["outcome"] == "interrupted"
    reader = RunReader(tmp_path / "run")
    assert reader.run.outcome == "interrupted"
    assert reader.run.children
    assert {child.run.outcome for child in reader.children()} <= {"interrupted", "pass"}


def test_a_closed_terminal_is_an_interruption(tmp_path: Path) -> None:
    """Nobody sees it, but the run is sealed as after Ctrl-C, although nothing can be written to the terminal any more."""
    ours, theirs = pty.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = begun(tmp_path, preexec_fn=take_terminal, **terminal)
    os.close(theirs)
    os.close(ours)
    assert process.wait(timeout=60) == 130
    assert RunReader(tmp_path / "run").run.outcome == "interrupted"


def test_children_end_when_the_evaluation_is_killed(tmp_path: Path) -> None:
    """No check goes on spending without a parent: each seals its run as interrupted and leaves."""
    process = begun(tmp_path)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    begun_checks = [path.parent for path in (tmp_path / "run").glob("check-*/run.json")]
    assert begun_checks
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and any(RunReader(path).run.outcome == "running" for path in begun_checks):
        time.sleep(0.1)
    assert {RunReader(path).run.outcome for path in begun_checks} <= {"interrupted", "pass"}


TINY_WORKLOAD = """
description = "as little as shows that a benchmark ran"
task = "auto"
arrival = "constant"
rounds = 1
[[stage]]
rate_rps = 20
duration_s = 1.5
"""
