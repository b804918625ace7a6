"""`testcard bench` as a user runs it: exit codes, what is printed, what is kept, against the mock and against nobody."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pyarrow.parquet as pq
import pytest

from testcard.harness.cli import run
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.records import SAMPLE_COLUMNS, Summary
from testcard.harness.runs.validate import validate_run
from testcard.harness.targets import EmbeddedMocks, embedded_mocks
from testcard.harness.text.commands import typed_path
from testkit.command_line import typed
from testkit.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "testcard.harness.cli", "bench"]


@pytest.fixture(scope="module")
def mocks() -> Iterator[EmbeddedMocks]:
    with embedded_mocks(["nanogpt", "nebul"], options=["--latency", "lognormal:0.05,0.3"]) as running:
        yield running


def environment(**more: str) -> dict[str, str]:
    keep = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return {**keep, "TESTCARD_PROGRESS": "none", "NO_COLOR": "1", **more}


def bench(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return typed(["bench", *arguments], env=environment(**more))


def test_the_warm_up_of_a_closed_loop_throws_away_no_paid_request(tmp_path: Path) -> None:
    """A server of 0.5 s and a warm-up of 0.15 s: every first request of a round ends after the warm-up, and counts. Rates divide by the
    time that the two users really took: 4/s, although each round was to last 0.6 s and lasted 1 s."""
    with embedded_mocks(["nanogpt"], options=["--latency", "0.5"]) as mocks:
        out = tmp_path / "run"
        done = bench(
            "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--users", "2", "--duration", "1.8", "--warmup", "0.15", "--rounds", "3",
            "--size", "256x256", "--slo", "goodput_rps>5", "--out", str(out),
        )  # fmt: skip
    summary = msgspec.json.decode((out / "summary.json").read_bytes(), type=Summary)
    (row,) = summary.rows
    assert pq.read_table(out / "samples.parquet")["warmup"].to_pylist().count(True) == 0, done.stderr
    assert row.requests == 12
    assert row.achieved_rps == row.goodput_rps == pytest.approx(4.0, rel=0.1)
    assert row.gates[0].verdict != "pass"


def billed(mocks: EmbeddedMocks) -> int:
    """Requests for work that the mock has counted, of all providers."""
    base = next(iter(mocks.base_urls.values())).rsplit("/", 1)[0]
    with urllib.request.urlopen(f"{base}/_testcard/counters") as answer:
        counters = json.load(answer)
    return _billed(counters)


def _billed(counters: Any) -> int:
    if isinstance(counters, dict):
        if isinstance(counters.get("billed_requests"), int):
            return int(counters["billed_requests"])
        return sum(_billed(value) for value in counters.values())
    return 0


def test_two_targets_take_turns_and_everything_is_kept(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """Exit 0; the mock's count = samples = summary; Parquet has the published columns; --json prints summary.json; no key anywhere."""
    out = tmp_path / "run"
    before = billed(mocks)
    done = bench(
        "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--target", f"nebul={mocks.base_urls['nebul']}",
        "--rate", "25", "--arrival", "constant", "--duration", "1.6", "--warmup", "0.2", "--rounds", "2",
        "--slo", "p50<5s", "--slo", "error_rate<50%", "--max-requests", "500", "--out", str(out), "--json",
        TESTCARD_API_KEY=mocks.api_key,
    )  # fmt: skip
    # A machine that is busy with other tests may make the generator late, and then the run has to say so.
    late = "the load generator was late" in done.stderr
    assert done.returncode == (5 if late else 0), done.stderr
    assert late or done.stderr.endswith(f"next: testcard report {typed_path(out)}\n")
    reader = RunReader(out)
    table = pq.read_table(out / "samples.parquet")
    assert table.column_names == list(SAMPLE_COLUMNS)
    assert billed(mocks) - before == len(table) == 100
    summary = msgspec.json.decode(done.stdout, type=Summary)
    assert done.stdout == (out / "summary.json").read_text()
    assert sum(row.requests for row in summary.rows) == table["warmup"].to_pylist().count(False) == 80
    assert {row.provider for row in summary.rows} == {"nanogpt", "nebul"}
    latency_s = [done - scheduled for done, scheduled in zip(table["done_s"].to_pylist(), table["scheduled_s"].to_pylist(), strict=True)]
    assert statistics.median(latency_s) == pytest.approx(0.08, abs=0.04)
    for row in summary.rows:
        assert (row.offered_rps, row.rounds, row.ok) == (pytest.approx(25), 2, 40)
        assert row.outcome == "pass" or (late and "late" in (row.note or ""))
        # Samples that a busy machine has made alike are too few for an interval, and then no figure is shown.
        assert row.latency_s["p50"].value in (None, pytest.approx(0.08, abs=0.04))
        assert row.cost_usd_per_image is not None
    assert [block["provider"] for block in map(json.loads, (out / "blocks.jsonl").read_text().splitlines())][:2] != ["nanogpt"] * 2
    assert (reader.run.outcome, reader.run.exit_code, reader.run.kind) == ("inconclusive" if late else "pass", done.returncode, "bench")
    assert validate_run(out) == []
    assert not list(out.glob("*.arrow"))
    secret = mocks.api_key.encode()
    for path in (path for path in out.iterdir() if path.suffix != ".parquet"):
        assert b'"api_key"' not in path.read_bytes()
        assert b"Bearer " + secret not in path.read_bytes()


def test_an_objective_that_is_broken_exits_1_and_is_named(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """A server of about 50 ms under p50<1ms, closed loop: exit 1, the table and the gate on stdout, the reason on stderr."""
    done = bench(
        "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--users", "3", "--duration", "1", "--rounds", "1", "--warmup", "0",
        "--slo", "p50<1ms", "--out", str(tmp_path / "run"),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "fail: p50<1ms" in done.stdout
    assert "3 users" in done.stdout
    assert "p50<1ms failed" in done.stderr
    row = RunReader(tmp_path / "run").summary().rows[0]  # type: ignore[union-attr]
    assert (row.users, row.offered_rps) == (3, None)
    assert 30 <= row.requests <= 60


def test_a_budget_that_ends_where_its_plan_ends_is_a_finished_run(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """--max-requests 5: the mock sees five; objectives that nobody named and five cannot decide are left out, and this is said: exit 0.

    One that was named stays undecided: exit 5, with the number of requests that would decide it.
    """
    before = billed(mocks)
    done = bench(
        "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--rate", "50", "--duration", "3", "--rounds", "1", "--max-requests", "5",
        "--out", str(tmp_path / "run"),
    )  # fmt: skip
    late = "generator was late" in done.stderr
    assert done.returncode == (5 if late else 0), done.stderr
    assert billed(mocks) - before == 5
    assert "counts only if broken: p95<8s and error_rate<5%" in done.stderr
    assert "if all goes well: exit 0" in done.stderr
    run = RunReader(tmp_path / "run").run
    assert (run.outcome, run.stops) == ("inconclusive" if late else "pass", [])
    named = bench(
        "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--rate", "50", "--duration", "3", "--rounds", "1", "--max-requests", "5",
        "--slo", "p95<8s", "--out", str(tmp_path / "named"),
    )  # fmt: skip
    assert named.returncode == 5, named.stderr
    assert "if all goes well: exit 5, for p95<8s stays undecided; --max-requests 72 could decide" in named.stderr


def test_ctrl_c_keeps_everything_and_exits_130(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """SIGINT to the whole process group: exit 130, the mock's count = samples = summary, and the folder says interrupted."""
    out = tmp_path / "run"
    before = billed(mocks)
    process = subprocess.Popen(
        [
            *COMMAND,
            "--target",
            f"nanogpt={mocks.base_urls['nanogpt']}",
            "--rate",
            "40",
            "--duration",
            "60",
            "--warmup",
            "0",
            "--out",
            str(out),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while billed(mocks) - before < 40 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert "interrupted" in stderr
    reader = RunReader(out)
    samples = len(pq.read_table(out / "samples.parquet"))
    summary = reader.summary()
    assert summary is not None
    assert billed(mocks) - before == samples == sum(row.requests for row in summary.rows) >= 40
    assert (reader.run.outcome, reader.run.exit_code) == ("interrupted", 130)
    assert str(out) in stdout


def test_a_load_process_that_dies_is_said_and_loses_only_what_it_had_not_written(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """SIGKILL of the load process: exit 4, the samples it had flushed are sealed and summarised."""
    out = tmp_path / "run"
    process = subprocess.Popen(
        [
            *COMMAND,
            "--target",
            f"nanogpt={mocks.base_urls['nanogpt']}",
            "--rate",
            "40",
            "--duration",
            "60",
            "--rounds",
            "1",
            "--out",
            str(out),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    deadline = time.monotonic() + PATIENCE_S
    while not (shard := out / "samples-0.arrow").exists() or shard.stat().st_size < 8000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (child,) = psutil.Process(process.pid).children()
    child.kill()
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 4, stderr
    assert "the load process died (signal 9)" in stderr
    assert len(pq.read_table(out / "samples.parquet")) >= 20
    run = RunReader(out)
    assert run.run.outcome == "error"
    assert run.summary().rows[0].requests >= 10  # type: ignore[union-attr]


def test_saturation_is_searched_in_few_stages_and_what_broke_first_is_said(tmp_path: Path) -> None:
    """A mock that takes 50 ms and works on 4 at once can hold 80/s and no more; stages that broke fail nothing.

    How near the answer comes on a quiet machine is measured by tests/performance/saturation.py: a busy one slows the mock too.
    """
    out = tmp_path / "run"
    with embedded_mocks(["nanogpt", "nebul"], options=["--latency", "0.05", "--max-concurrent", "4"]) as mocks:
        done = bench(
            "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--find-saturation", "--rate", "50", "--arrival", "constant",
            "--duration", "3", "--slo", "p95<0.4s", "--max-stages", "10", "--out", str(out), "--json",
        )  # fmt: skip
        served = billed(mocks)
    found = json.loads(done.stdout)["results"][0]
    stages = found["stages"]
    assert done.returncode == (0 if found["conclusive"] else 5), done.stderr
    assert 3 <= len(stages) <= 10
    broke = min(stage["rate_rps"] for stage in stages if not stage["held"])
    held = max(stage["rate_rps"] for stage in stages if stage["held"] and stage["rate_rps"] < broke)
    assert held >= 20  # a quarter of it: the slowest machine so far held 48
    assert 0.97 * held - 0.1 <= found["holds_rps"] <= held <= 88
    assert found["breaks_rps"] == broke
    assert found["conclusive"] == (broke <= 1.04 * held)
    assert all(stage["held"] == (not stage["why"]) for stage in stages if stage["sure"])
    assert "p95<0.4s" in found["sentence"] or "falls behind" in found["sentence"]
    assert validate_run(out) == []
    assert served == len(pq.read_table(out / "samples.parquet"))
    assert {row.outcome for row in RunReader(out).summary().rows} == {"pass"}  # type: ignore[union-attr]


def test_nobody_there_is_exit_3_and_a_wrong_key_too(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """A dead port: told before a run exists. A refused key: told after the first answer, with what to check."""
    dead = bench("--target", "nanogpt=http://127.0.0.1:9", "--out", str(tmp_path / "dead"))
    assert dead.returncode == 3
    assert "nothing answers at http://127.0.0.1:9" in dead.stderr
    assert not (tmp_path / "dead").exists()
    wrong = bench(
        "--target",
        f"nanogpt={mocks.base_urls['nanogpt']}",
        "--rate",
        "5",
        "--duration",
        "2",
        "--out",
        str(tmp_path / "wrong"),
        TESTCARD_API_KEY="nope",
    )
    assert wrong.returncode == 3
    assert "401" in wrong.stderr
    assert "key" in wrong.stderr
    assert "nope" not in (tmp_path / "wrong" / "run.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--target", "nobody=http://127.0.0.1:9"], "there is no provider nobody"),
        (["--target", "nanogpt=https://nano-gpt.com"], "--live"),
        (["--target", "nanogpt=https://nano-gpt.com", "--live"], "--max-cost"),
        (["--rate", "1", "--users", "1"], "exclude each other"),
        (["--slo", "p95<8"], "unit"),
        (["--find-saturation", "--users", "3"], "neither --users nor --rounds"),
        (["--max-stages", "3"], "belongs to --find-saturation"),
        (["--workload", "nothing"], "there is no workload nothing"),
        (["--rate", "fast"], "fast"),
        (["--target", "nanogpt=http://127.0.0.1:9", "--operation", "paint"], "paint"),
    ],
)
def test_usage_errors_exit_2_and_say_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    """Nothing is sent and no folder is made."""
    out = tmp_path / "run"
    assert run(["bench", *arguments, "--out", str(out)]) == 2
    assert expected in capsys.readouterr().err
    assert not out.exists()
