"""docs/load.md: every command line on the page runs as it stands there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from testcard.benchmarks.plan.workload import parse_workload
from testcard.harness.statistics.percentiles import needed
from testcard.harness.statistics.rates import wilson
from testkit.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "load.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
#: 5: a busy machine may make the generator late, and some of the lines have too few requests to decide anything; it is said there.
FINE = (0, 5)


def own_address() -> str:
    found = [each.address for name in psutil.net_if_addrs().values() for each in name if each.family == socket.AF_INET]
    return next((address for address in found if not address.startswith("127.")), "127.0.0.1")


@contextmanager
def mock(*arguments: str) -> Iterator[dict[str, str]]:
    """A mock as the page starts it, until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "testcard.harness.cli", "mock", *arguments, "--json", "--until-stdin-closes"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    urls: dict[str, str] = json.loads(process.stdout.readline())["base_urls"]
    yield urls
    process.stdin.close()
    process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lines_of(block: str) -> list[str]:
    return [line for line in block.splitlines() if line.strip() and not line.startswith("#")]


def start(line: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    """The line in a shell, where `testcard` is the one under test."""
    call = line.replace("testcard ", f"{sys.executable} -m testcard.harness.cli ", 1)
    keep = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return subprocess.Popen(
        ["sh", "-c", call], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**keep, "TESTCARD_PROGRESS": "none", **environment},
    )  # fmt: skip


def test_every_line_against_this_machine_runs(tmp_path: Path) -> None:
    """Each exits 0, or 5 where it says why: with the page's workload file, and master and workers together. Two blocks run at a time: most of
    their time is waiting."""
    (tmp_path / "load.toml").write_text(next(text for kind, text in BLOCKS if kind == "toml"))
    blocks = [lines_of(text) for kind, text in BLOCKS if kind == "sh"]
    first = blocks[0][0]
    assert first.startswith("testcard mock nanogpt --port 8080")
    options = first.removeprefix("testcard mock nanogpt --port 8080").rstrip(" &").split()
    ran = 0

    def carry_out(calls: list[str]) -> list[tuple[str, int, str]]:
        """Call, exit code and stderr of a block's lines; one after the other, but for a master with its workers."""
        together = any("--master " in call for call in calls)
        started = []
        for call in calls:
            started.append((call, start(call, tmp_path, TESTCARD_API_KEY="testcard", TESTCARD_FLEET_SECRET="a secret of this test")))
            if not together:
                started[-1][1].wait(timeout=PATIENCE_S)
        return [(call, process.returncode, talk) for call, process in started for talk in [process.communicate(timeout=PATIENCE_S)[1]]]

    with mock("nanogpt", "--port", "0", *options) as urls:
        port = str(free_port())
        todo = []
        for block in blocks:
            calls = [
                line.replace("http://127.0.0.1:8080", urls["nanogpt"]).replace("load-1.example", "127.0.0.1")
                for line in block
                if line.startswith("testcard ") and " mock " not in line and " --live" not in line and " calibrate" not in line
            ]
            together = any("--master " in call for call in calls)
            todo.append([f"{call} --master-port {port}" for call in calls] if together else calls)
        with ThreadPoolExecutor(2) as pool:
            for done in pool.map(carry_out, todo):
                for call, code, stderr in done:
                    assert code in FINE, f"{call}\n{stderr}"
                    ran += 1
    assert ran >= 8


def test_the_live_lines_run_against_mocks_at_another_address(tmp_path: Path) -> None:
    """With each provider's own variable, within their limits; the terms are pointed to first."""
    lines = next(lines_of(text) for kind, text in BLOCKS if kind == "sh" and "NEBUL_API_KEY" in text)
    keys = dict(line.removeprefix("export ").split("#")[0].strip().split("=") for line in lines if line.startswith("export "))
    calls = [line for line in lines if line.startswith("testcard ")]
    assert len(calls) == 2
    with mock("nanogpt", "nebul", "--host", own_address(), "--port", "0", "--latency", "0.2") as urls:
        for call in calls:
            limit = int(re.findall(r"--max-requests (\d+)", call)[0])
            call = call.replace("https://nano-gpt.com", urls["nanogpt"]).replace("https://api.inference.nebul.io", urls["nebul"])
            with urllib.request.urlopen(urls["nanogpt"].rsplit("/", 1)[0] + "/_testcard/counters") as answer:
                before = json.load(answer)["billed_requests"]
            process = start(call, tmp_path, **keys)
            _, stderr = process.communicate(timeout=PATIENCE_S)
            assert process.returncode in FINE, stderr
            assert "terms" in stderr.splitlines()[0]
            with urllib.request.urlopen(urls["nanogpt"].rsplit("/", 1)[0] + "/_testcard/counters") as answer:
                after = json.load(answer)
            assert 4 <= after["billed_requests"] - before <= limit
        assert {name: one["createImage"]["billed_requests"] > 0 for name, one in after["providers"].items()} == {
            "nanogpt": True,
            "nebul": True,
        }


def test_the_workload_file_and_the_sample_sizes_are_true() -> None:
    """The file is accepted; the numbers in the table of objectives are what the statistics ask for."""
    parse_workload(tomllib.loads(next(text for kind, text in BLOCKS if kind == "toml")), "docs/load.md")
    table = dict(re.findall(r"^\| `([^`]+)`[^|]*\| (\d+)", PAGE, re.MULTILINE))
    assert {name: int(table[f"{name}<…"]) for name in ("p50", "p95", "p99")} == {
        "p50": needed(0.5),
        "p95": needed(0.95),
        "p99": needed(0.99),
    }
    for text, share in (("error_rate<5%", 0.05), ("error_rate<1%", 0.01)):
        n = int(table[text])
        assert (wilson(0, n).high or 1.0) < share <= (wilson(0, n - 1).high or 1.0)


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md"])
def test_the_page_is_linked(page: str) -> None:
    """Who reads those finds it."""
    assert "docs/load.md" in (ROOT / page).read_text(encoding="utf-8")
