"""kill -9 of a process of a run: what was answered is on disk, nothing lives on, the folder is read, and the parent says who died.

A handful at fixed moments; `random_kills.py` beside this does a hundred at random ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from testcard.harness.cli import run
from testcard.harness.recovery import RecoveredRun
from testcard.harness.runs.folder import RunReader, RunWriter
from testkit.kills import Patience, killed_once

#: More than the product promises, because a machine that runs tests has other work too.
PATIENCE = Patience(exchanges_s=1.5, samples_s=3.0, orphans_s=20.0)


@pytest.mark.parametrize(
    ("kind", "victim", "at_s"),
    [("check", "command", 2.0), ("bench", "command", 4.0), ("bench", "load_process", 4.0)],
)
def test_what_was_answered_is_on_disk(kind: str, victim: str, at_s: float, tmp_path: Path) -> None:
    """Killed in the middle: no answer lost, no process left, the folder readable, the death said."""
    found = killed_once(kind, victim, tmp_path, at_s, PATIENCE)
    assert found.answered > 0
    assert (found.lost, found.orphans, found.unreadable, found.unsaid) == (0, [], "", False)


def test_a_second_signal_while_a_benchmark_is_summed_up_leaves_a_readable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C when all is sent and summary.json is about to be written: exit 130, and what was sent can be reported on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TESTCARD_PROGRESS", "none")
    write = RunWriter.write

    def interrupted(self: RunWriter, what: str, *rest: object) -> Path:
        if what == "summary":
            raise KeyboardInterrupt
        return write(self, what, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(RunWriter, "write", interrupted)
    bench = [
        "bench",
        "--target",
        "nanogpt",
        "--rate",
        "20",
        "--duration",
        "0.4",
        "--warmup",
        "0",
        "--rounds",
        "1",
        "--quiet",
        "--out",
        "run",
    ]
    assert run(bench) == 130
    assert RunReader("run").run.outcome == "interrupted"
    summary = RecoveredRun("run").summary()
    assert summary is not None
    assert sum(row.requests for row in summary.rows) > 0
