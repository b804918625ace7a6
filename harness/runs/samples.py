"""Samples of a benchmark on disk: appended to Arrow IPC shards while it runs, sealed into samples.parquet, read back from either.

What they mean is `harness.statistics.samples`'s: read them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testcard.harness.errors import UsageError
from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.reading import CHANGED, require_regular
from testcard.harness.runs.records import SAMPLE_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_PATTERN = "samples-*.arrow"


def schema() -> pa.Schema:
    """The Arrow schema of samples: `SAMPLE_COLUMNS`, every column nullable."""
    import pyarrow as pa

    types: dict[str, Any] = {
        "string": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
    }
    return pa.schema([(name, types[kind]) for name, kind in SAMPLE_COLUMNS.items()])


def is_sealed(run: RunReader) -> bool:
    """Whether the run's samples stand in samples.parquet."""
    path = run.path("samples")
    return path is not None and path.suffix == ".parquet"


def read_table(run: RunReader, columns: Sequence[str] | None = None) -> pa.Table:
    """The run's samples as recorded: from samples.parquet, else from its shards; empty where it has neither. `columns`: only these.

    Missing columns come back as nulls and further ones are kept. A shard's cut last batch is left out. `UsageError` for a file
    that is neither, or whose columns have other types.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run.evidence("samples")
    if path is not None and path.suffix == ".parquet":
        require_regular(path)
        try:
            wanted = None if columns is None else [name for name in columns if name in pq.read_schema(path).names]
            table = pq.read_table(path, columns=wanted)
            table.validate(full=True)
            return _conform(table, path, columns)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UsageError(f"{path}: {error}", hint=CHANGED) from None
    tables = [_conform(read_shard(shard), shard, columns) for shard in sorted(run.folder.glob(SHARD_PATTERN))]
    if tables:
        return pa.concat_tables(tables, promote_options="default")
    return schema().empty_table() if columns is None else schema().empty_table().select(list(columns))


def read_shard(path: Path) -> pa.Table:
    """Every whole record batch of one Arrow IPC stream; what a kill cut off at the end is left out. `UsageError`: it is no file."""
    import pyarrow as pa

    require_regular(path)
    batches: list[Any] = []
    shape = schema()
    try:
        with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as stream:
            shape = stream.schema
            while True:
                batch = stream.read_next_batch()
                batch.validate(full=True)  # offsets that lead out of it would be followed
                batches.append(batch)
    except (StopIteration, pa.ArrowException, OSError, EOFError, ValueError):
        pass  # the end, or the middle of the batch that was being written when the process died
    return pa.Table.from_batches(batches, schema=shape)


def column_names(run: RunReader) -> list[str]:
    """The columns that a run's samples have, those of the format first."""
    path = run.path("samples")
    if path is None or path.suffix != ".parquet":
        return list(SAMPLE_COLUMNS)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        require_regular(path)
        return list(dict.fromkeys([*SAMPLE_COLUMNS, *pq.read_schema(path).names]))
    except (pa.ArrowException, OSError, ValueError, UsageError):
        return list(SAMPLE_COLUMNS)  # reading it will say what is wrong


def _conform(table: Any, path: Path, only: Sequence[str] | None = None) -> Any:
    import pyarrow as pa

    columns = {}
    for field in schema():
        if only is not None and field.name not in only:
            continue
        if field.name not in table.column_names:
            columns[field.name] = pa.nulls(len(table), field.type)
            continue
        try:
            columns[field.name] = table[field.name].cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise UsageError(f"{path}: column {field.name} is {table[field.name].type}, not {field.type}") from None
    further = {name: table[name] for name in table.column_names if name not in columns and (only is None or name in only)}
    return pa.table({**columns, **further})
