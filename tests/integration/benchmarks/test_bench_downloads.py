"""The limit on downloads in a benchmark: what is in flight is finished, nothing more is sent, and the run says that it decides nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from testcard.harness.targets import embedded_mocks
from testkit.waiting import PATIENCE_S

WORKLOAD = """
rounds = 1
warmup_s = 0
task = "generate"
extra = { response_format = "url" }

[[stage]]
rate_rps = 2
duration_s = 6
"""


def test_downloads_that_are_spent_end_a_run_and_cut_nothing_short(tmp_path: Path) -> None:
    """One download allowed, two seconds an answer: every request that was sent has its answer, one picture was fetched, exit 5."""
    workload = tmp_path / "addresses.toml"
    workload.write_text(WORKLOAD, encoding="utf-8")
    environment = {**os.environ, "TESTCARD_PROGRESS": "none", "NO_COLOR": "1"}
    with embedded_mocks(["nanogpt"], options=["--latency", "2"]) as mocks:
        done = subprocess.run(
            [
                sys.executable, "-m", "testcard.harness.cli", "bench", "--target", f"nanogpt={mocks.base_urls['nanogpt']}",
                "--workload", str(workload), "--max-downloads", "1", "--out", str(tmp_path / "run"),
            ],
            capture_output=True, text=True, env=environment, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    assert done.returncode == 5, done.stderr
    assert "the budget of 1 download is spent" in done.stderr
    assert "allow more with --max-downloads" in done.stderr
    frame = pq.read_table(tmp_path / "run" / "samples.parquet").to_pandas()
    assert len(frame) > 1
    assert set(frame["status"]) == {200}
    assert int(frame["download_s"].notna().sum()) == 1
