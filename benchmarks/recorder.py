"""Samples: buffered in the load process, appended to its own Arrow shard, sealed into one Parquet file at the end."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from testcard.harness.runs.records import SAMPLE_COLUMNS
from testcard.harness.runs.samples import SHARD_PATTERN, read_shard, schema

FLUSH_ROWS = 1000


class ShardWriter:
    """Appends rows to `samples-<worker>.arrow`, an Arrow IPC stream: whatever was flushed is readable after a kill."""

    def __init__(self, folder: Path, worker: int) -> None:
        self.path = folder / SHARD_PATTERN.replace("*", str(worker))
        self.rows_written = 0
        self._schema = schema()
        self._rows: list[tuple[Any, ...]] = []
        self._file = pa.OSFile(str(self.path), "wb")
        self._stream = pa.ipc.new_stream(self._file, self._schema)
        self._file.flush()

    def add(self, row: tuple[Any, ...]) -> None:
        """Buffers one row, its values in the order of `SAMPLE_COLUMNS`; writes when 1,000 have gathered."""
        self._rows.append(row)
        if len(self._rows) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes what is buffered as one record batch and hands it to the operating system."""
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [column(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        self._stream.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._file.flush()
        self.rows_written += len(self._rows)
        self._rows = []

    def close(self) -> None:
        """Writes the rest and ends the stream."""
        self.flush()
        self._stream.close()
        self._file.close()


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The values (None: null) as an Arrow array of a sample column's type.

    Made from buffers, because `pa.array` imports pandas the first time: 150 ms in which a load process sends nothing.
    """
    count = len(values)
    validity = _bitmap([value is not None for value in values]) if None in values else None
    if pa.types.is_string(kind):
        pieces = [b"" if value is None else value.encode() for value in values]
        ends = array("i", itertools.accumulate(map(len, pieces), initial=0))
        return pa.Array.from_buffers(kind, count, [validity, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(pieces))])
    if pa.types.is_boolean(kind):
        return pa.Array.from_buffers(kind, count, [validity, _bitmap([bool(value) for value in values])])
    code = {"double": "d", "int32": "i", "int64": "q"}[str(kind)]
    data = array(code, [0 if value is None else value for value in values])
    return pa.Array.from_buffers(kind, count, [validity, pa.py_buffer(data.tobytes())])


def _bitmap(flags: Sequence[bool]) -> pa.Buffer:
    """One bit a flag, the first in the lowest bit of the first byte."""
    number = int("".join("1" if flag else "0" for flag in reversed(flags)) or "0", 2)
    return pa.py_buffer(number.to_bytes((len(flags) + 7) // 8, "little"))


def row(values: dict[str, Any]) -> tuple[Any, ...]:
    """A row in the order of `SAMPLE_COLUMNS`; columns that `values` does not name are null."""
    return tuple(values.get(name) for name in SAMPLE_COLUMNS)


def seal(folder: Path, left_out: Sequence[tuple[int, float, float]] = (), name: str = "samples.parquet") -> int:
    """Merges the folder's shards, in order of scheduled start, into one Parquet file and removes them. Returns the number of rows.

    Requests of a worker scheduled within one of `left_out` (worker, from, to; seconds of the run) are marked as warm-up.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    shards: Sequence[Path] = sorted(folder.glob(SHARD_PATTERN))
    table = pa.concat_tables([schema().empty_table(), *(read_shard(shard) for shard in shards)]).sort_by("scheduled_s")
    warm: Any = table["warmup"]
    for worker, begin, end in left_out:
        at = table["scheduled_s"]
        inside = pc.and_(pc.equal(table["worker"], worker), pc.and_(pc.greater_equal(at, begin), pc.less(at, end)))
        warm = pc.or_(warm, inside)
    table = table.set_column(table.column_names.index("warmup"), "warmup", warm)
    part = folder / f".{name}.part"
    pq.write_table(table, part, compression="zstd")
    part.replace(folder / name)
    for shard in shards:
        shard.unlink()
    return len(table)
