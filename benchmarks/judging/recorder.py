"""Samples: a row for each finished attempt, buffered, appended to the process's own Arrow shard, sealed into one Parquet file at the end."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from testcard.harness.runs.samples import SHARD_PATTERN, read_shard, schema
from testcard.harness.statistics.samples import duplicates_marked

if TYPE_CHECKING:  # the command's process seals shards and knows nothing of gevent
    from testcard.benchmarks.judging.judge import Judgement
    from testcard.benchmarks.plan.cells import Attempt


def sample(attempt: Attempt, judgement: Judgement, zero_s: float, worker: int) -> tuple[Any, ...]:
    """The row, its values in the order of `SAMPLE_COLUMNS`; its times count from `zero_s`, the run's start on the load clock."""
    cell, reply, sent_s = attempt.cell, attempt.reply, attempt.sent_s
    first = last = status = connect = None
    if reply is not None:
        status = reply.status
        if reply.first_byte_s:
            first = reply.first_byte_s - zero_s
        if reply.last_byte_s and reply.failure is None:
            last = reply.last_byte_s - zero_s
        if reply.connected_s:
            connect = reply.connected_s - reply.sent_s
    token = judgement.first_token_s
    return (
        cell.label,
        cell.model,
        cell.operation,
        attempt.round,
        attempt.stage,
        attempt.scheduled_s - zero_s,
        sent_s - zero_s,
        first,
        last,
        attempt.done_s - zero_s,
        status,
        judgement.outcome,
        judgement.bytes,
        judgement.images,
        judgement.megapixels,
        judgement.tokens,
        judgement.cost_usd,
        attempt.warmup,
        attempt.queue_s,
        attempt.download_s,
        token - sent_s if token else None,
        cell.target,
        worker,
        attempt.lag_s,
        connect,
        judgement.inter_token_s,
        judgement.retry_after_s,
        judgement.pictures,
        judgement.flaw,
        asked(attempt),
        judgement.picture_hashes,
        judgement.unterminated,
        cell.asks[attempt.ask].request.steps,
    )


def asked(attempt: Attempt) -> int:
    """Equal numbers within a cell for requests that may rightly be answered with the same picture: those of the same bytes.

    Another prompt or another seed asks for another picture. Without a seed no document promises one to a request that is only
    repeated.
    """
    return (attempt.cell.asks[attempt.ask].alike + 1) << 32 | (attempt.seed or 0)


FLUSH_ROWS = 1000


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """A request that was recorded, for whoever shows them one by one (see `show.web_page`)."""

    provider: str
    model: str | None
    operation: str
    stage: str
    outcome: str
    latency_s: float
    bytes: int

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> RequestEnd:
        """A recorded sample as what a page shows of it."""
        latency_s = row["done_s"] - row["scheduled_s"]
        return cls(row["provider"], row["model"], row["operation"], row["stage"], row["outcome"], latency_s, row["bytes"] or 0)


class Writer(Protocol):
    """Where an engine puts its samples."""

    def add(self, row: tuple[Any, ...]) -> None:
        """Takes one row, its values in the order of `SAMPLE_COLUMNS`."""

    def flush(self) -> None:
        """Sees to it that every row so far would outlive this process."""

    def close(self) -> None:
        """Flushes and ends."""


class Rows:
    """Rows that have not been written yet."""

    def __init__(self) -> None:
        self.schema = schema()
        self._rows: list[tuple[Any, ...]] = []

    def add(self, row: tuple[Any, ...]) -> bool:
        """Buffers one row; whether 1,000 have gathered."""
        self._rows.append(row)
        return len(self._rows) >= FLUSH_ROWS

    def take(self) -> pa.RecordBatch | None:
        """What is buffered as one record batch, and forgotten here; None for nothing."""
        if not self._rows:
            return None
        rows, self._rows = self._rows, []
        arrays = [column(values, field.type) for values, field in zip(zip(*rows, strict=True), self.schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


class Shard:
    """`samples-<worker>.arrow`, an Arrow IPC stream: whatever was written is readable after a kill."""

    def __init__(self, folder: Path, worker: int) -> None:
        self.path = folder / SHARD_PATTERN.replace("*", str(worker))
        self.rows_written = 0
        self._file = pa.OSFile(str(self.path), "wb")
        self._stream = pa.ipc.new_stream(self._file, schema())
        self._file.flush()

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends a batch and hands it to the operating system."""
        self._stream.write_batch(batch)
        self._file.flush()
        self.rows_written += len(batch)

    def close(self) -> None:
        """Ends the stream."""
        self._stream.close()
        self._file.close()


class ShardWriter:
    """The writer of a process that has the run's folder at hand: into its own shard."""

    def __init__(self, folder: Path, worker: int) -> None:
        self._rows = Rows()
        self._shard = Shard(folder, worker)

    @property
    def path(self) -> Path:
        """The shard's file."""
        return self._shard.path

    def add(self, row: tuple[Any, ...]) -> None:
        """Buffers one row; writes when 1,000 have gathered."""
        if self._rows.add(row):
            self.flush()

    def flush(self) -> None:
        """Writes what is buffered."""
        batch = self._rows.take()
        if batch is not None:
            self._shard.write(batch)

    def close(self) -> None:
        """Writes the rest and ends the shard."""
        self.flush()
        self._shard.close()


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The values (None: null) as an Arrow array of a sample column's type.

    Made from buffers, because `pa.array` imports pandas the first time: 150 ms in which a load process sends nothing.
    """
    count = len(values)
    if values and values.count(values[0]) == count:  # most columns of a batch: what was asked for, where, and what never happened
        return _alike(values[0], count, kind)
    validity = _bitmap([value is not None for value in values]) if None in values else None
    if pa.types.is_string(kind):
        pieces = [b"" if value is None else value.encode() for value in values]
        ends = array("i", itertools.accumulate(map(len, pieces), initial=0))
        return pa.Array.from_buffers(kind, count, [validity, pa.py_buffer(ends.tobytes()), pa.py_buffer(b"".join(pieces))])
    if pa.types.is_boolean(kind):
        return pa.Array.from_buffers(kind, count, [validity, _bitmap([bool(value) for value in values])])
    data = array(_CODES[str(kind)], values if validity is None else [0 if value is None else value for value in values])
    return pa.Array.from_buffers(kind, count, [validity, pa.py_buffer(data.tobytes())])


_CODES = {"double": "d", "int32": "i", "int64": "q"}


def _alike(value: Any, count: int, kind: pa.DataType) -> pa.Array:
    """So many times the same value."""
    if value is None:
        return pa.nulls(count, kind)
    if pa.types.is_string(kind):
        text = value.encode()
        ends = array("i", range(0, len(text) * count + 1, len(text))) if text else array("i", bytes(4 * (count + 1)))
        return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(text * count)])
    if pa.types.is_boolean(kind):
        return pa.Array.from_buffers(kind, count, [None, pa.py_buffer((b"\xff" if value else b"\0") * ((count + 7) // 8))])
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer((array(_CODES[str(kind)], [value]) * count).tobytes())])


def _bitmap(flags: Sequence[bool]) -> pa.Buffer:
    """One bit a flag, the first in the lowest bit of the first byte."""
    number = int("".join("1" if flag else "0" for flag in reversed(flags)) or "0", 2)
    return pa.py_buffer(number.to_bytes((len(flags) + 7) // 8, "little"))


def seal(folder: Path, left_out: Sequence[tuple[int, float, float]] = (), name: str = "samples.parquet") -> int:
    """Merges the folder's shards, in order of scheduled start, into one Parquet file and removes them. Returns the number of rows.

    Requests of a worker scheduled within one of `left_out` (worker, from, to; seconds of the run) are marked as warm-up, and
    answers that repeat a picture of another request as invalid.
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
    table = duplicates_marked(table.set_column(table.column_names.index("warmup"), "warmup", warm))
    part = folder / f".{name}.part"
    pq.write_table(table, part, compression="zstd")
    part.replace(folder / name)
    for shard in shards:
        shard.unlink()
    return len(table)
