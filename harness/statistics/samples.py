"""The samples of a run as analysis sees them: read from its folder, with pictures that came again marked as what they are.

A request is answered with a duplicate where one of its pictures (the same bytes, or the same pixels where both were decoded) came
earlier, by scheduled start, from the same target, model and operation, as the answer to a request that asked for another picture
(`asked` differs: another prompt or seed). The first of them keeps its outcome; what is a duplicate itself makes none of others.
They are found over the samples of all processes together, when a benchmark seals them. (Within one answer the judge of the load
process finds them.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from testcard.harness.runs.folder import RunReader
from testcard.harness.runs.samples import column_names, is_sealed, read_table

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd
    import pyarrow as pa

#: Columns that only tell which pictures are the same: a text for each request, which a frame does not carry unless it is asked for.
HASHES = ("picture_hashes",)
CELL = ("provider", "model", "operation", "target")
#: The columns that decide.
NEEDED = (*CELL, "scheduled_s", "outcome", "flaw", "asked", "picture_hashes")


def read(run: RunReader, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The run's samples as a frame with the columns of `SAMPLE_COLUMNS` but `HASHES` first, in file order (`columns`: only these).

    Texts are categories.
    """
    if columns is None:
        columns = [name for name in column_names(run) if name not in HASHES]
    if is_sealed(run):
        table = read_table(run, columns)
    else:  # pictures that came again are marked when shards are sealed; what was never sealed is read as if it had been
        marked = duplicates_marked(read_table(run, list(dict.fromkeys((*columns, *NEEDED)))))
        table = marked.select([name for name in marked.column_names if name in columns])
    texts = [field.name for field in table.schema if str(field.type) in ("string", "large_string")]
    frame: pd.DataFrame = table.to_pandas(categories=texts, split_blocks=True, self_destruct=True)
    return frame


def duplicates_marked(table: pa.Table) -> pa.Table:
    """The samples with the outcome `invalid-picture` and the flaw `duplicate` where an otherwise sound answer repeats a picture.

    Samples of versions that did not keep hashes come back as they are.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if any(name not in table.column_names for name in NEEDED) or table["picture_hashes"].null_count == len(table):
        return table
    repeated = pa.array(_repeated(table))
    marked: Any = pc.and_(repeated, pc.is_in(table["outcome"], value_set=pa.array(["ok", "slow"])))
    for name, text in (("outcome", "invalid-picture"), ("flaw", "duplicate")):
        place = table.column_names.index(name)
        table = table.set_column(place, table.schema.field(place), pc.if_else(marked, pa.scalar(text), table[name]))
    return table


def _repeated(table: pa.Table) -> npt.NDArray[Any]:
    import numpy as np
    import pyarrow.compute as pc

    found = np.zeros(len(table), dtype=bool)
    lists: Any = pc.split_pattern(table["picture_hashes"].combine_chunks(), " ")
    row = pc.list_parent_indices(lists).to_numpy()
    mark = _codes(pc.list_flatten(lists))
    cell = np.zeros(len(table), dtype=np.int64)
    for name in CELL:
        codes = _codes(table[name])
        cell = cell * (int(codes.max(initial=0)) + 2) + codes + 1
    asked = table["asked"].fill_null(-1).to_numpy()
    order = np.lexsort((table["scheduled_s"].to_numpy()[row], cell[row], mark))
    row, mark = row[order], mark[order]
    if not len(row):
        return found
    begins = np.ones(len(row), dtype=bool)
    begins[1:] = (mark[1:] != mark[:-1]) | (cell[row[1:]] != cell[row[:-1]])
    starts, group = np.flatnonzero(begins), np.cumsum(begins) - 1
    place = np.arange(len(row))
    while True:  # each answer depends on earlier ones only, so this ends; mostly after the second time
        original = np.minimum.reduceat(np.where(found[row], len(row), place), starts)[group]
        again = (original < place) & (asked[row] != asked[row[np.minimum(original, place)]])
        now = np.zeros_like(found)
        now[row[again]] = True
        if (now == found).all():
            return found
        found = now


def _codes(column: Any) -> npt.NDArray[Any]:
    """A number for each value, equal for equal ones; −1 for null."""
    import numpy as np

    whole = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    codes = whole.dictionary_encode().indices.fill_null(-1)
    return np.asarray(codes.to_numpy(zero_copy_only=False), dtype=np.int64)
