"""Samples survive a kill and read the same from shards and from Parquet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from testcard.harness.errors import UsageError
from testcard.harness.runs.folder import RunReader, RunWriter
from testcard.harness.runs.records import SAMPLE_COLUMNS
from testcard.harness.runs.samples import schema
from testcard.harness.statistics.samples import HASHES, read

FRAME_COLUMNS = [name for name in SAMPLE_COLUMNS if name not in HASHES]


def a_batch(start: int, n: int) -> pa.RecordBatch:
    columns = {
        "provider": ["nanogpt"] * n,
        "model": [None] * n,
        "round": list(range(start, start + n)),
        "scheduled_s": [float(i) for i in range(start, start + n)],
        "outcome": ["ok"] * n,
        "warmup": [False] * n,
    }
    return pa.RecordBatch.from_arrays([pa.array(columns.get(f.name, [None] * n), f.type) for f in schema()], schema=schema())


def a_shard(path: Path, batches: int, *, close: bool = True) -> None:
    with path.open("wb") as file:
        stream = pa.ipc.new_stream(file, schema())
        for number in range(batches):
            stream.write_batch(a_batch(number * 100, 100))
        if close:
            stream.close()


@pytest.fixture
def run(tmp_path: Path) -> RunWriter:
    return RunWriter.create(tmp_path / "run", "bench")


def test_shards_of_several_processes_are_read_together(run: RunWriter) -> None:
    """Every process appends to its own shard; a reader sees all of them, with the columns of the format."""
    a_shard(run.folder / "samples-0.arrow", 2)
    a_shard(run.folder / "samples-1.arrow", 1)
    frame = read(RunReader(run.folder))
    assert len(frame) == 300
    assert list(frame.columns) == FRAME_COLUMNS
    assert frame["model"].isna().all()


@pytest.mark.parametrize("cut", [1, 50, 900])
def test_a_shard_cut_by_a_kill_loses_only_its_last_batch(run: RunWriter, cut: int) -> None:
    """Whatever the place of the cut, whole batches are read and nothing is raised."""
    path = run.folder / "samples-0.arrow"
    a_shard(path, 3, close=False)
    path.write_bytes(path.read_bytes()[:-cut])
    assert len(read(RunReader(run.folder))) == 200


def test_every_cut_is_survived(run: RunWriter) -> None:
    """A shard cut anywhere, even inside its header, reads as a whole number of batches."""
    path = run.folder / "samples-0.arrow"
    a_shard(path, 2, close=False)
    whole = path.read_bytes()
    seen = set()
    for length in np.linspace(0, len(whole), 60).astype(int):
        path.write_bytes(whole[:length])
        seen.add(len(read(RunReader(run.folder))))
    assert seen == {0, 100, 200}


def test_parquet_wins_over_shards(run: RunWriter) -> None:
    """Once sealed, the Parquet file is the record; shards left beside it are not counted twice."""
    a_shard(run.folder / "samples-0.arrow", 2)
    pq.write_table(pa.Table.from_batches([a_batch(0, 100), a_batch(100, 100)]), run.add_file("samples", "samples.parquet"))
    assert len(read(RunReader(run.folder))) == 200


def test_missing_columns_come_back_empty_and_further_ones_are_kept(run: RunWriter) -> None:
    """A run of an older or newer version still reads."""
    table = pa.table({"provider": ["a"], "scheduled_s": [1.5], "mood": ["good"], "images": pa.array([3], pa.int64())})
    pq.write_table(table, run.add_file("samples", "samples.parquet"))
    frame = read(RunReader(run.folder))
    assert list(frame.columns) == [*FRAME_COLUMNS, "mood"]
    assert (frame["images"][0], frame["mood"][0]) == (3, "good")
    assert frame["done_s"].isna().all()


def test_a_spoilt_file_is_a_usage_error(run: RunWriter) -> None:
    """A file that is no Parquet, or whose columns are of other kinds, is named."""
    path = run.add_file("samples", "samples.parquet")
    path.write_bytes(b"PAR1 this is not parquet PAR1")
    with pytest.raises(UsageError, match=r"samples\.parquet"):
        read(RunReader(run.folder))
    pq.write_table(pa.table({"done_s": ["soon"]}), path)
    with pytest.raises(UsageError, match="column done_s"):
        read(RunReader(run.folder))


def test_a_run_without_samples_is_an_empty_frame(run: RunWriter) -> None:
    """Nothing recorded yet is no error."""
    frame = read(RunReader(run.folder))
    assert len(frame) == 0
    assert list(frame.columns) == FRAME_COLUMNS


def test_only_some_columns_can_be_read(run: RunWriter) -> None:
    """A comparison reads what it needs: the same values, from shards, from Parquet and from a run without samples."""
    wanted = ["provider", "scheduled_s", "target"]
    assert list(read(RunReader(run.folder), columns=wanted).columns) == wanted
    a_shard(run.folder / "samples-0.arrow", 2)
    whole, part = read(RunReader(run.folder)), read(RunReader(run.folder), columns=wanted)
    assert list(part.columns) == wanted
    assert part["scheduled_s"].equals(whole["scheduled_s"])
    pq.write_table(pa.table({"provider": ["a"], "scheduled_s": [1.5], "mood": ["good"]}), run.add_file("samples", "samples.parquet"))
    frame = read(RunReader(run.folder), columns=wanted)
    assert list(frame.columns) == wanted
    assert frame["target"].isna().all()
