"""Locust's page over a run of ours, in a browser: its counts are there, its buttons are not."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from testcard.harness.targets import embedded_mocks
from testkit.waiting import PATIENCE_S


def test_the_page_shows_our_counts_and_no_button_to_start_or_stop(browser: Any, tmp_path: Path) -> None:
    """Thirty requests, then a wait: the row of the stage says 30, the table's sum too; edit, stop and reset are not offered."""
    workload = tmp_path / "load.toml"
    workload.write_text('arrival = "constant"\n[[stage]]\nrate_rps = 30\nduration_s = 1\n[[stage]]\nrate_rps = 0.1\nduration_s = 20\n')
    with embedded_mocks(["nanogpt"], options=["--latency", "0.05"]) as mocks:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "testcard.harness.cli", "bench", "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--workload",
                str(workload), "--web", "--web-port", "0", "--out", str(tmp_path / "run"),
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        try:
            address = next(found[1] for line in process.stderr if (found := re.match(r"web: (http://\S+) ", line)))
            page = browser.new_page()
            page.goto(address)
            page.wait_for_function("document.querySelectorAll('tbody tr').length >= 3", timeout=15_000)
            counts = "Object.fromEntries([...document.querySelectorAll('tbody tr')].map(row => [row.children[1].innerText, row.children[2].innerText]))"
            page.wait_for_function(
                f"Object.entries({counts}).some(([name, count]) => name.endsWith(' 30/s') && count === '30')", timeout=20_000
            )
            with urllib.request.urlopen(f"{mocks.base_urls['nanogpt']}/_testcard/counters") as answer:
                assert json.load(answer)["billed_requests"] in (30, 31, 32)
            assert "testcard bench leads it" in page.inner_text("body")
            assert [page.get_by_role("button", name=name).count() for name in ("Edit", "Stop", "Reset")] == [0, 0, 0]
            page.screenshot(path=tmp_path / "page.png")
            page.close()
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=PATIENCE_S)
