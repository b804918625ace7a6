"""A mistake of ours, or a full disk, in any greenlet of any process ends the run with code 4, sealed, and says what it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from testcard.harness.runs.folder import RunReader
from testcard.harness.targets import embedded_mocks
from testkit.waiting import PATIENCE_S

#: Imported by every Python that finds it: lets one call of a method fail, in the processes that were started as a module.
SITE = """
import sys
if {module!r} in sys.orig_argv:
    import locust
    from {home} import {kind}
    method, calls = {kind}.{name}, []
    def fails_once(self, *rest):
        calls.append(True)
        if len(calls) == {call}:
            raise {error}
        return method(self, *rest)
    {kind}.{name} = fails_once
    if {module!r}.endswith(".worker"):  # the rest of its samples reaches the master long after word of its failure
        import gevent
        from testcard.benchmarks.load.engine import Engine
        drain = Engine._drain
        def drains_late(self):
            gevent.sleep(0.8)
            drain(self)
        Engine._drain = drains_late
"""
LOAD, WORKER = "testcard.benchmarks.run.load_process", "testcard.benchmarks.fleet.worker"


@pytest.mark.parametrize(
    ("module", "home", "kind", "name", "error", "said"),
    [
        (LOAD, "testcard.benchmarks.judging.recorder", "ShardWriter", "flush", "OSError(28, 'No space left on device')", "No space left"),
        (LOAD, "testcard.benchmarks.load.engine", "Engine", "progress", "RuntimeError('ours')", "RuntimeError: ours"),
        (WORKER, "testcard.benchmarks.load.engine", "Engine", "progress", "RuntimeError('ours')", "RuntimeError: ours"),
        (LOAD, "testcard.benchmarks.fleet.master", "Member", "keep", "RuntimeError('ours')", "RuntimeError: ours"),
    ],
    ids=["a full disk", "the report of a load process", "the report of a worker", "what a worker said to its master"],
)
def test_it_ends_the_run_with_its_code(tmp_path: Path, module: str, home: str, kind: str, name: str, error: str, said: str) -> None:
    """The load would go on for a minute; it ends at once, with everything that was sent on."""
    (tmp_path / "sitecustomize.py").write_text(
        SITE.format(module=module, home=home, kind=kind, name=name, error=error, call=3 if name == "progress" else 1)
    )
    more = ("--processes", "2") if module == WORKER or kind == "Member" else ()
    with embedded_mocks(["nanogpt"], options=["--latency", "0.02"]) as mocks:
        done = subprocess.run(
            [
                sys.executable, "-m", "testcard.harness.cli", "bench", "--target", f"nanogpt={mocks.base_urls['nanogpt']}", "--rate", "20",
                "--duration", "60", "--rounds", "1", "--warmup", "0", "--out", str(tmp_path / "run"), *more,
            ],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
            env={**os.environ, "TESTCARD_PROGRESS": "none", "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        with urllib.request.urlopen(f"{mocks.base_urls['nanogpt']}/_testcard/counters") as answer:
            served = json.load(answer)["billed_requests"]
    assert done.returncode == 4, done.stderr
    assert said in done.stderr
    run = RunReader(tmp_path / "run").run
    assert (run.outcome, run.exit_code) == ("error", 4)
    samples = len(pq.read_table(tmp_path / "run" / "samples.parquet"))
    assert samples <= served < 1000
    if kind != "Member" and name != "flush":  # what was lost there is what could not be written
        assert samples == served
