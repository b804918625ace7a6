"""Samples on disk: the published columns, readable in the middle, sealed in order."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testcard.benchmarks.judging.recorder import FLUSH_ROWS, ShardWriter, column, seal
from testcard.harness.runs.records import SAMPLE_COLUMNS
from testcard.harness.runs.samples import read_shard


def sample(at: float, worker: int = 0) -> tuple[object, ...]:
    known: dict[str, object] = {
        "provider": "p", "operation": "o", "stage": "s", "round": 1, "scheduled_s": at, "outcome": "ok", "warmup": False, "worker": worker,
    }  # fmt: skip
    return tuple(known.get(name) for name in SAMPLE_COLUMNS)


def test_a_shard_is_readable_before_it_is_closed(tmp_path: Path) -> None:
    """What was flushed can be read although the process never ended its stream."""
    shard = ShardWriter(tmp_path, 0)
    for index in range(FLUSH_ROWS + 5):
        shard.add(sample(index))
    assert len(read_shard(shard.path)) == FLUSH_ROWS
    shard.flush()
    assert len(read_shard(shard.path)) == FLUSH_ROWS + 5
    cut = tmp_path / "samples-9.arrow"
    cut.write_bytes(shard.path.read_bytes()[:-40])
    assert len(read_shard(cut)) == FLUSH_ROWS


@given(
    texts=st.lists(st.none() | st.text(), max_size=40),
    numbers=st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=40),
    floats=st.lists(st.none() | st.floats(allow_nan=False), max_size=40),
    flags=st.lists(st.none() | st.booleans(), max_size=40),
)
def test_columns_made_from_buffers_hold_what_was_put_in(
    texts: list[str | None], numbers: list[int | None], floats: list[float | None], flags: list[bool | None]
) -> None:
    """Texts, integers, floats and flags with nulls anywhere come back as they were, and Arrow finds the arrays valid."""
    pairs: list[tuple[list[Any], pa.DataType]] = [
        (texts, pa.string()), (numbers, pa.int32()), (numbers, pa.int64()), (floats, pa.float64()), (flags, pa.bool_()),
    ]  # fmt: skip
    for values, kind in pairs:
        made = column(values, kind)
        made.validate(full=True)
        assert made.to_pylist() == values


def test_recording_imports_no_pandas(tmp_path: Path) -> None:
    """A first flush that imported pandas would stop the load for 150 ms."""
    code = (
        "import sys, pathlib; from testcard.benchmarks.judging.recorder import ShardWriter; from testcard.harness.runs.records import SAMPLE_COLUMNS; "
        "known = {'provider': 'p', 'round': 1, 'warmup': True}; shard = ShardWriter(pathlib.Path(sys.argv[1]), 0); "
        "shard.add(tuple(known.get(name) for name in SAMPLE_COLUMNS)); shard.close(); print('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_sealing_merges_the_workers_in_order_and_marks_what_is_left_out(tmp_path: Path) -> None:
    """One Parquet file with the published columns, sorted by scheduled start; the shards are gone."""
    for worker, times in ((0, [3.0, 1.0]), (1, [2.0, 0.5])):
        shard = ShardWriter(tmp_path, worker)
        for at in times:
            shard.add(sample(at, worker))
        shard.close()
    assert seal(tmp_path, [(1, 1.5, 2.5)]) == 4
    table = pq.read_table(tmp_path / "samples.parquet")
    assert table.column_names == list(SAMPLE_COLUMNS)
    assert [str(field.type).replace("double", "float64") for field in table.schema] == list(SAMPLE_COLUMNS.values())
    assert table["scheduled_s"].to_pylist() == [0.5, 1.0, 2.0, 3.0]
    assert table["warmup"].to_pylist() == [False, False, True, False]
    assert not list(tmp_path.glob("*.arrow"))


def test_a_run_without_samples_seals_to_an_empty_table(tmp_path: Path) -> None:
    """Nothing recorded: still a file with all columns."""
    assert seal(tmp_path) == 0
    assert pq.read_table(tmp_path / "samples.parquet").column_names == list(SAMPLE_COLUMNS)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([None] * 9, pa.float64()),
        ([None] * 9, pa.string()),
        ([0.25] * 9, pa.float64()),
        ([7] * 9, pa.int32()),
        ([2**40] * 9, pa.int64()),
        (["ok"] * 9, pa.string()),
        ([""] * 9, pa.string()),
        (["ü–"] * 9, pa.string()),
        ([True] * 9, pa.bool_()),
        ([False] * 9, pa.bool_()),
        ([None, 0.5, None], pa.float64()),
        ([0.5, 1.5, 2], pa.float64()),
        ([1, None, 3], pa.int64()),
        (["a", None, "", "bc"], pa.string()),
        ([True, None, False], pa.bool_()),
        ([True, False, True], pa.bool_()),
        ([], pa.string()),
    ],
)
def test_columns_hold_what_was_put_in(values: list[Any], kind: pa.DataType) -> None:
    """All alike, all missing, some missing, none: as pyarrow itself would make it."""
    made = column(tuple(values), kind)
    made.validate(full=True)
    assert made.type == kind
    assert made.to_pylist() == pa.array(values, kind).to_pylist()
