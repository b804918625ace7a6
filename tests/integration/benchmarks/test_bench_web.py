"""`bench --web`: Locust's page shows what the server was asked, and cannot make a run send anything."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from testcard.harness.cli import run
from testcard.harness.targets import EmbeddedMocks, embedded_mocks
from testkit.waiting import PATIENCE_S

#: Two busy seconds, then two requests in 20 s: time to look at counts that stand still.
WORKLOAD = """
arrival = "constant"
[[stage]]
rate_rps = 20
duration_s = 1.5
[[stage]]
rate_rps = 0.1
duration_s = 20
"""


@pytest.fixture(scope="module")
def mocks() -> Iterator[EmbeddedMocks]:
    with embedded_mocks(["nanogpt"], options=["--latency", "0.05"]) as running:
        yield running


@contextmanager
def watched(mocks: EmbeddedMocks, folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run with its web page, and the page's address; interrupted at the end."""
    (folder / "load.toml").write_text(WORKLOAD)
    process = subprocess.Popen(
        [
            sys.executable, "-m", "testcard.harness.cli", "bench", "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--workload",
            str(folder / "load.toml"), "--max-requests", "200", "--web", "--web-port", "0", "--out", str(folder / "run"), *more,
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "TESTCARD_PROGRESS": "none"},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.match(r"web: (http://127\.0\.0\.1:\d+) ", line):
                yield process, found[1]
                break
        else:
            pytest.fail("no address was printed")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


def asked(url: str, data: bytes | None = None) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=5) as answer:
        return json.load(answer)


def settled(mocks: EmbeddedMocks, page: str, at_least: int) -> dict[str, Any]:
    """What the page says once it shows as many requests as the mock has counted."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        served = asked(f"{mocks.base_urls['nanogpt']}/_testcard/counters")["billed_requests"]
        shown: dict[str, Any] = asked(f"{page}/stats/requests")
        if shown["stats"][-1]["num_requests"] == served >= at_least:
            return shown
        time.sleep(0.3)
    raise AssertionError(f"the page shows {shown['stats'][-1]['num_requests']} requests, the mock served {served}")


def test_the_page_shows_what_the_server_was_asked_and_starts_nothing(tmp_path: Path) -> None:
    """Counts, failures and rows over HTTP; a swarm, a stop and a reset are refused with 403; mock's count = samples at the end."""
    with embedded_mocks(["nanogpt"], options=["--latency", "0.05", "--fault", "image.decodes@0.3"]) as mocks:
        with watched(mocks, tmp_path) as (process, page):
            shown = settled(mocks, page, 31)
            assert shown["state"] == "running"
            *rows, total = shown["stats"]
            assert {row["name"].split()[0] for row in rows} == {"nanogpt"}
            assert {row["name"].split()[-1]: row["num_requests"] for row in rows} == {"20/s": 30, "0.1/s": total["num_requests"] - 30}
            assert 0 < total["num_failures"] < total["num_requests"]
            assert {error["error"] for error in shown["errors"]} == {"invalid-picture"}
            for path, form in (("swarm", b"user_count=50&spawn_rate=50"), ("stop", b""), ("stats/reset", b""), ("user", b"{}")):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    asked(f"{page}/{path}", form)
                assert refused.value.code == 403
                assert "only shows the run" in json.load(refused.value)["message"]
            time.sleep(1.0)
            assert settled(mocks, page, 31)["stats"][-1]["num_requests"] == total["num_requests"]
            with urllib.request.urlopen(page) as answer:
                assert "testcard bench leads it" in answer.read().decode()
            assert process.poll() is None
        served = asked(f"{mocks.base_urls['nanogpt']}/_testcard/counters")["billed_requests"]
    assert process.returncode == 130
    assert served == len(pq.read_table(tmp_path / "run" / "samples.parquet")) == total["num_requests"]


def test_the_master_s_page_shows_every_worker_s_requests(tmp_path: Path) -> None:
    """--processes 2: both workers are listed, and the sum of what they sent is shown."""
    with embedded_mocks(["nanogpt"], options=["--latency", "0.05"]) as mocks, watched(mocks, tmp_path, "--processes", "2") as (_, page):
        shown = settled(mocks, page, 31)
        assert (shown["state"], len(shown["workers"])) == ("running", 2)
        with pytest.raises(urllib.error.HTTPError):
            asked(f"{page}/swarm", b"user_count=50&spawn_rate=50")


def test_a_port_that_is_taken_and_flags_that_clash(mocks: EmbeddedMocks, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 2 with what to do; nothing was sent."""
    port = mocks.base_urls["nanogpt"].rsplit(":", 1)[1]
    before = asked(f"{mocks.base_urls['nanogpt']}/_testcard/counters")["billed_requests"]
    target = ["--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--out", str(tmp_path / "run")]
    assert run(["bench", *target, "--web", "--web-port", port.partition("/")[0]]) == 2
    assert "--web-port" in capsys.readouterr().err
    assert asked(f"{mocks.base_urls['nanogpt']}/_testcard/counters")["billed_requests"] == before
    assert run(["bench", "--web-port", "1"]) == 2
    assert "--web-port belongs to --web" in capsys.readouterr().err
    assert run(["bench", "--worker", "--web"]) == 2
    assert "belongs to the master" in capsys.readouterr().err
