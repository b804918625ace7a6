"""A run that was killed before its closing step: `report`, `compare` and `--rejudge` work on what it had recorded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from testcard.harness.errors import UsageError
from testcard.harness.recovery import CUT_SHORT, RecoveredRun
from testcard.harness.runs.folder import RunReader, RunWriter
from testkit.command_line import typed

BEFORE = Path(__file__).parents[1] / "fixtures" / "runs_of_1d4f303"


def unfinished(folder: Path, *gone: str, **changes: object) -> None:
    """Makes a finished run one that was killed: it says that it is running, and some of its files were never written."""
    record = json.loads((folder / "run.json").read_bytes())
    record.update(outcome="running", exit_code=None, reason=None, ended=None, **changes)
    for kind in gone:
        name = record["files"].pop(kind, None)
        if name is not None:
            (folder / name).unlink(missing_ok=True)
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")


def killed_check(folder: Path) -> None:
    """Killed while a line was being written."""
    shutil.copytree(BEFORE / "check", folder)
    unfinished(folder, "verdicts", "badge")
    lines = (folder / "exchanges.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "exchanges.jsonl").write_bytes(b"".join(lines[:9]) + lines[9][:100])


def killed_bench(folder: Path) -> None:
    """Killed while a batch of samples and the line of a turn were being written."""
    shutil.copytree(BEFORE / "bench", folder)
    table = pq.read_table(folder / "samples.parquet")
    unfinished(folder, "samples", "summary")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        for batch in table.to_batches(max_chunksize=4):
            stream.write_batch(batch)
    data = sink.getvalue().to_pybytes()
    (folder / "samples-0.arrow").write_bytes(data[:-200])
    with (folder / "blocks.jsonl").open("ab") as file:
        file.write(b'{"sequence":')


def test_a_killed_check_is_reported(tmp_path: Path) -> None:
    """By the verdicts on the nine whole exchanges, and never as a pass."""
    killed_check(tmp_path / "run")
    recovered = RecoveredRun(tmp_path / "run").verdicts()
    assert recovered is not None
    assert recovered.spend.requests == 9
    ended = typed(["report", "run", "--out", "report"], cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert CUT_SHORT in ended.stderr
    assert not (tmp_path / "run" / "verdicts.json").exists()
    assert RunReader(tmp_path / "report").run.outcome != "pass"


def test_a_killed_check_is_judged_again(tmp_path: Path) -> None:
    """--rejudge needs no verdicts.json either; what was not sent is not-run, not broken."""
    killed_check(tmp_path / "run")
    ended = typed(["check", "nanogpt", "--rejudge", "run", "--out", "again"], cwd=tmp_path)
    assert ended.returncode in (1, 5), ended.stderr
    assert len(list(RunReader(tmp_path / "again").exchanges())) == 9


def test_a_killed_benchmark_is_reported_and_compared(tmp_path: Path) -> None:
    """By the whole batches of its shard: eight of ten samples."""
    killed_bench(tmp_path / "run")
    summary = RecoveredRun(tmp_path / "run").summary()
    assert summary is not None
    assert [row.requests for row in summary.rows] == [8]
    ended = typed(["report", "run", "--out", "report"], cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert CUT_SHORT in ended.stderr
    assert typed(["compare", "run", str(BEFORE / "bench")], cwd=tmp_path).returncode == 5
    assert sorted(one.name for one in (tmp_path / "run").iterdir()) == ["blocks.jsonl", "run.json", "samples-0.arrow"]


def test_a_killed_evaluation_is_reported(tmp_path: Path) -> None:
    """Of the runs that lie in it: one judged, one killed while it loaded."""
    shutil.copytree(BEFORE / "evaluate", tmp_path / "run", ignore=shutil.ignore_patterns("bench", "report"))
    unfinished(tmp_path / "run", "report", children=[])
    killed_bench(tmp_path / "run" / "bench")
    assert [child.run.kind for child in RecoveredRun(tmp_path / "run").children()] == ["bench", "check"]
    ended = typed(["report", "run", "--out", "report"], cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert CUT_SHORT in ended.stderr


@pytest.mark.parametrize("kind", ["check", "bench"])
def test_a_run_killed_at_its_first_moment_is_none_to_report_on_or_reported(kind: str, tmp_path: Path) -> None:
    """Nothing was sent yet: an answer all the same, and no traceback."""
    shutil.copytree(BEFORE / kind, tmp_path / "run")
    unfinished(tmp_path / "run", "exchanges", "verdicts", "samples", "summary", "blocks", "badge")
    ended = typed(["report", "run", "--out", "report"], cwd=tmp_path)
    assert ended.returncode in (0, 2), ended.stderr


def test_of_two_runs_in_one_folder_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found it empty; who came second is told before anything is sent, and the first run's record is untouched."""
    look: Callable[[Path], None] = lambda folder: None  # noqa: E731 (both have looked already)
    monkeypatch.setattr("testcard.harness.runs.folder.require_free", look)
    first = RunWriter.create(tmp_path / "run", "check", seed=1)
    with pytest.raises(UsageError, match="another run"):
        RunWriter.create(tmp_path / "run", "check", seed=2)
    assert RunReader(tmp_path / "run").run.seed == 1
    first.finish("pass", 0)
    assert sorted(one.name for one in (tmp_path / "run").iterdir()) == ["run.json"]


def test_the_end_is_written_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for run.json is kept from the start: the run says how it ended although nothing else fits."""
    writer = RunWriter.create(tmp_path / "run", "check")
    reserve = tmp_path / "run" / ".reserve"
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if reserve.exists():
            raise OSError(28, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    writer.finish("error", 4, "No space left on device")
    assert RunReader(tmp_path / "run").run.outcome == "error"


def test_nothing_is_sent_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is nearly full is refused before the first request."""
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("testcard.harness.runs.folder.shutil.disk_usage", lambda place: usage._replace(free=4096))
    ended = typed(["check", "nanogpt", "--out", "run"], cwd=tmp_path)
    assert ended.returncode == 2
    assert "only 4 KiB are free" in ended.stderr
