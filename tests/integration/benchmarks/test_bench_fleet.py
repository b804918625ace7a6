"""Load from several processes: one schedule shared, one budget kept, every sample home, losses said, across network namespaces too."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.validate import validate_run
from testcard.harness.targets import EmbeddedMocks, embedded_mocks
from testcard.reports.pages.render import comparison_csv, composed
from testkit.waiting import PATIENCE_S

TESTCARD = [sys.executable, "-m", "testcard.harness.cli"]


@pytest.fixture(scope="module")
def mocks() -> Iterator[EmbeddedMocks]:
    with embedded_mocks(["nanogpt"], options=["--latency", "0.05"]) as running:
        yield running


def environment(**more: str) -> dict[str, str]:
    keep = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    return {**keep, "TESTCARD_PROGRESS": "none", "NO_COLOR": "1", "TESTCARD_FLEET_SECRET": "a secret of the tests", **more}


def start(*arguments: str, before: tuple[str, ...] = (), **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, *TESTCARD, "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
        start_new_session=True,
    )


def billed(base_url: str) -> int:
    with urllib.request.urlopen(f"{base_url}/_testcard/counters") as answer:
        return int(json.load(answer)["billed_requests"])


def samples_of(out: Path) -> Any:
    return pq.read_table(out / "samples.parquet").to_pandas()


def counts(out: Path) -> set[int]:
    """How many requests the samples, the summary and the report speak of: one number where all agree."""
    run = RunReader(out)
    summary = run.summary()
    report = csv.DictReader(io.StringIO(comparison_csv(composed([run])[1].comparison)))
    return {len(samples_of(out)), 0 if summary is None else sum(row.requests for row in summary.rows), sum(int(row["n"]) for row in report)}


def wait_for(condition: Any, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if "testcard.benchmarks.fleet.worker" in child.cmdline()]


def test_two_processes_send_one_schedule_and_every_sample_comes_home(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """Every arrival of the constant rate once, half of them by each; the mock's count = samples = summary; one Parquet, no key on disk."""
    out, before = tmp_path / "run", billed(mocks.base_urls["nanogpt"])
    process = start(
        "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--processes", "2", "--rate", "50", "--arrival", "constant", "--duration", "1.6",
        "--rounds", "1", "--warmup", "0", "--max-requests", "1000", "--out", str(out),
    )  # fmt: skip
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == (5 if "generator was late" in stderr else 0), stderr
    frame = samples_of(out).sort_values("scheduled_s")
    assert counts(out) == {billed(mocks.base_urls["nanogpt"]) - before} == {80}
    assert frame["worker"].value_counts().to_dict() == {0: 40, 1: 40}
    gaps = [later - earlier for earlier, later in itertools.pairwise(frame["scheduled_s"])]
    assert max(abs(gap - 0.02) for gap in gaps) < 1e-6
    assert validate_run(out) == []
    assert not list(out.glob("*.arrow"))
    blocks = [json.loads(line) for line in (out / "blocks.jsonl").read_text().splitlines()]
    assert sorted((block["worker"], block["scheduled"], block["offered_rps"]) for block in blocks) == [(0, 40, 25.0), (1, 40, 25.0)]


def test_a_budget_leased_to_three_processes_is_used_up_and_not_exceeded(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """--max-requests 11 at 90/s: eleven, not one more, not one less; there the plan ends, and the run is finished."""
    out, before = tmp_path / "run", billed(mocks.base_urls["nanogpt"])
    process = start(
        "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--processes", "3", "--rate", "90", "--duration", "3", "--rounds", "1", "--warmup", "0",
        "--max-requests", "11", "--out", str(out),
    )  # fmt: skip
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == (5 if "generator was late" in stderr else 0), stderr
    assert "the budget of 11 requests is spent" not in stderr
    assert counts(out) == {billed(mocks.base_urls["nanogpt"]) - before} == {11}


def test_ctrl_c_brings_home_what_two_processes_sent(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """SIGINT to the whole process group: exit 130, the mock's count = samples = summary."""
    out, before = tmp_path / "run", billed(mocks.base_urls["nanogpt"])
    process = start(
        "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--processes", "2", "--rate", "60", "--duration", "60", "--warmup", "0",
        "--out", str(out),
    )  # fmt: skip
    wait_for(lambda: billed(mocks.base_urls["nanogpt"]) - before >= 40)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, stderr
    assert counts(out) == {billed(mocks.base_urls["nanogpt"]) - before}
    assert len(samples_of(out)) >= 40
    assert RunReader(out).run.outcome == "interrupted"


def test_a_worker_that_dies_loses_only_what_it_had_not_sent_on_and_the_run_says_so(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """SIGKILL of one of two: the other goes on to the end; inconclusive, naming the worker; at most two seconds of one half are missing."""
    out, before = tmp_path / "run", billed(mocks.base_urls["nanogpt"])
    process = start(
        "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--processes", "2", "--rate", "60", "--arrival", "constant", "--duration", "3",
        "--rounds", "1", "--warmup", "0", "--max-requests", "5000", "--out", str(out),
    )  # fmt: skip
    wait_for(lambda: billed(mocks.base_urls["nanogpt"]) - before >= 60)
    workers_of(process)[0].kill()
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 5, stderr
    assert "died (signal 9)" in stderr
    assert "counts as spent" in stderr
    frame = samples_of(out)
    assert sorted(frame["worker"].value_counts())[-1] == 90  # the survivor's whole half
    assert 0 <= billed(mocks.base_urls["nanogpt"]) - before - len(frame) <= 65
    run = RunReader(out).run
    assert (run.outcome, "died" in (run.reason or "")) == ("inconclusive", True)


def test_a_master_and_two_workers_share_a_run_and_ctrl_c_ends_all(mocks: EmbeddedMocks, tmp_path: Path) -> None:
    """Three commands of their own: the master's run folder holds every sample; workers exit with the run."""
    out, before = tmp_path / "run", billed(mocks.base_urls["nanogpt"])
    port = free_port()
    workers = [start("--worker", "--master-port", str(port)) for _ in range(2)]  # before their master, which they wait for
    master = start(
        "--master", "--bind", "127.0.0.1", "--master-port", str(port), "--expect-workers", "2",
        "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--users", "4", "--duration", "60", "--rounds", "1", "--warmup", "0",
        "--out", str(out),
    )  # fmt: skip
    try:
        wait_for(lambda: billed(mocks.base_urls["nanogpt"]) - before >= 60)
    except AssertionError:
        for process in (master, *workers):
            kill(process)
        raise
    os.killpg(master.pid, signal.SIGINT)
    _, stderr = master.communicate(timeout=PATIENCE_S)
    assert master.returncode == 130, stderr
    for worker in workers:
        _, said = worker.communicate(timeout=PATIENCE_S)
        assert worker.returncode == 0, said
        assert "connected to the master" in said
    assert counts(out) == {billed(mocks.base_urls["nanogpt"]) - before}
    assert len(samples_of(out)) >= 60
    summary = RunReader(out).summary()
    assert summary is not None
    assert [row.users for row in summary.rows] == [4]  # of both workers together
    assert set(samples_of(out)["worker"]) == {0, 1}


def kill(process: subprocess.Popen[str]) -> None:
    """Ends what a test that failed left running."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def namespaces(count: int) -> Iterator[tuple[list[str], str]]:
    """So many network namespaces on a bridge of this machine, and its address; skips where the system does not allow them.

    The network is this process's own: what a run that was killed left behind is in nobody's way.
    """
    network = f"10.{100 + os.getpid() // 250 % 100}.{os.getpid() % 250}"
    names = [f"tc{os.getpid()}n{index}" for index in range(count)]
    bridge = f"tcb{os.getpid()}"

    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=True, text=True)

    with ExitStack() as stack:
        try:
            ip("link", "add", bridge, "type", "bridge")
            stack.callback(ip, "link", "del", bridge, check=False)
            ip("addr", "add", f"{network}.1/24", "dev", bridge)
            ip("link", "set", bridge, "up")
            for index, name in enumerate(names):
                ip("netns", "add", name)
                stack.callback(ip, "netns", "del", name, check=False)
                ip("link", "add", f"{name}h", "type", "veth", "peer", "name", "eth0", "netns", name)
                ip("link", "set", f"{name}h", "master", bridge, "up")
                ip("-n", name, "addr", "add", f"{network}.{index + 2}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"network namespaces cannot be made here: {getattr(error, 'stderr', '') or error}")
        yield names, f"{network}.1"


def test_workers_in_network_namespaces_of_their_own(tmp_path: Path) -> None:
    """A server, a master and two workers that share no loopback: server count = samples = summary = report, each worker with its
    own key and --live; once to the end of the run, once until Ctrl-C."""
    with namespaces(2) as (names, address), ExitStack() as stack:
        mock = subprocess.Popen(
            [*TESTCARD, "mock", "nanogpt", "--host", address, "--port", "0", "--latency", "0.05", "--json", "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(mock.wait, 10)
        assert mock.stdin is not None
        assert mock.stdout is not None
        stack.callback(mock.stdin.close)
        url = json.loads(mock.stdout.readline())["base_urls"]["nanogpt"]
        key = {"TESTCARD_API_KEY": "testcard"}
        for interrupted in (False, True):
            out, before, port = tmp_path / f"run-{interrupted}", billed(url), free_port()
            master = start(
                "--master", "--bind", address, "--master-port", str(port), "--expect-workers", "2", "--target", f"nanogpt={url}",
                "--live", "--max-requests", "2000", "--rate", "40", "--arrival", "constant", "--duration", "40" if interrupted else "2",
                "--rounds", "1", "--warmup", "0", "--max-in-flight", "50", "--out", str(out), **key,
            )  # fmt: skip
            workers = [
                start(
                    "--worker", "--master-host", address, "--master-port", str(port), "--live",
                    before=("ip", "netns", "exec", name), **key,
                )
                for name in names
            ]  # fmt: skip
            for process in (master, *workers):
                stack.callback(kill, process)
            if interrupted:
                wait_for(lambda before=before: billed(url) - before >= 40)
                os.killpg(master.pid, signal.SIGINT)
            _, stderr = master.communicate(timeout=PATIENCE_S)
            for worker in workers:
                _, said = worker.communicate(timeout=PATIENCE_S)
                assert worker.returncode == 0, said
            expected = 130 if interrupted else 5 if "generator was late" in stderr else 0
            assert master.returncode == expected, stderr
            assert counts(out) == {billed(url) - before}
            frame = samples_of(out)
            assert set(frame["worker"]) == {0, 1}
            if not interrupted:
                assert frame["worker"].value_counts().to_dict() == {0: 40, 1: 40}
                assert set(frame["outcome"]) == {"ok"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--worker", "--processes", "2"], "--worker goes with neither"),
        (["--master", "--processes", "2"], "exclude each other"),
        (["--expect-workers", "2"], "belong to --master"),
    ],
)
def test_flags_that_clash_are_told(capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str) -> None:
    """Exit 2, before anything is started."""
    from testcard.harness.cli import run

    assert run(["bench", *arguments]) == 2
    assert expected in capsys.readouterr().err
