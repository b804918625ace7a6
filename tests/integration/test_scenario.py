"""One timeline of a mock, healthy, limited, failing, recovered, under client, check and benchmark: each says what happened to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from testcard.harness.client import Client, ClientEvent, RateLimited, Retry, ServerFailed
from testcard.harness.pytest_plugin import CheckFactory
from testcard.harness.runs.folder import RunReader
from testcard.mocks.running import RunningMock, running_mock

PHASES: dict[str, Any] = {
    "phase": [
        {"name": "healthy", "requests": 8},
        {"name": "limited", "requests": 2, "refuse": ["limit"]},
        {"name": "failing", "requests": 2, "refuse": ["overloaded"]},
        {"name": "recovered"},
    ]
}
ALL = ["healthy", "limited", "failing", "recovered"]


def passed(mock: RunningMock) -> list[str]:
    """The phases in which requests for work came, in order."""
    return list(dict.fromkeys(str(one["phase"]) for one in mock.requests() if one["method"] == "POST"))


def test_a_client_meets_every_phase() -> None:
    """Its errors have their kinds, its policy waits a limit out and repeats nothing that failed, and in the end it has pictures again."""
    events: list[ClientEvent] = []
    kinds: list[str] = []
    with running_mock("nanogpt") as mock:
        mock.play(PHASES)
        policy = Retry(attempts=2, base_s=0.0, jitter=0.0)
        with Client("nanogpt", base_url=mock.base_url, api_key=mock.api_key, hooks=[events.append], retry=policy) as client:
            for _ in range(12):
                try:
                    client.generate("a red boat", size=(256, 256))
                    kinds.append("ok")
                except (RateLimited, ServerFailed) as error:
                    kinds.append(type(error).__name__)
        assert passed(mock) == ALL
    assert kinds == [*["ok"] * 8, "RateLimited", "ServerFailed", "ServerFailed", "ok"]
    assert [event.seconds for event in events if event.kind == "retrying"] == [1.0]


def test_a_check_tells_of_every_phase(testcard_check: CheckFactory) -> None:
    """It waits the limit out, finds the failure, and judges the pictures that came before and after."""
    with running_mock("nanogpt") as mock:
        mock.play(PHASES)
        done = testcard_check(
            "nanogpt", base_url=mock.base_url, rules=("image.size", "http.no-server-error", "rate.retry-after", "request.*")
        )
        assert passed(mock) == ALL
    words = {verdict.rule: verdict.verdict for verdict in done.verdicts.verdicts}
    assert done.outcome == "fail"
    assert (words["http.no-server-error"], words["image.size"], words["rate.retry-after"]) == ("fail", "pass", "pass")


def test_a_benchmark_tells_of_every_phase(tmp_path: Path) -> None:
    """Its summary counts what was refused and what failed apart from what came before and after, and says how long the limit asked to wait."""
    with running_mock("nanogpt") as mock:
        mock.play(PHASES)
        command = [sys.executable, "-m", "testcard.harness.cli", "bench", f"nanogpt={mock.base_url}", "--out", str(tmp_path / "run")]
        # With a limit of requests no turn is taken again, whose first try would be left out of the figures.
        options = ["--users", "1", "--duration", "60", "--warmup", "0", "--rounds", "1", "--max-requests", "20"]
        environment = {**os.environ, "TESTCARD_API_KEY": mock.api_key, "TESTCARD_PROGRESS": "none"}
        done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert passed(mock) == ALL, done.stderr
    assert done.returncode in (0, 1, 5), done.stderr
    summary = RunReader(tmp_path / "run").summary()
    assert summary is not None, done.stderr
    (row,) = summary.rows
    assert (row.requests, row.ok, row.errors) == (20, 16, {"rate-limited": 2, "server-error": 2})
    assert row.rate_limits is not None
    assert row.rate_limits.share.value == 0.1
    assert row.rate_limits.retry_after_s["longest"].value == 1.0
