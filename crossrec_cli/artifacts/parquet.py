"""Read and write crossrec's Parquet files, and convert columns to arrays."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossrec_cli.artifacts.columns import EMBEDDING
from crossrec_cli.errors import ArtifactError


def vector_column(vectors: npt.NDArray[np.float32]) -> pa.Array:
    """A float32 matrix (rows, width) as a column of lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])


def vectors(table: pa.Table) -> npt.NDArray[np.float32]:
    """The column ``EMBEDDING`` as a float32 matrix (rows, width), in Arrow's memory, which is read-only."""
    column = table[EMBEDDING].combine_chunks()
    matrix: npt.NDArray[np.float32] = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
    return matrix


def embedding_parts(path: Path) -> Iterator[npt.NDArray[np.float32]]:
    """An item_text.parquet as matrices of some thousand rows each, in Arrow's memory, which is read-only.

    Raises:
        ArtifactError: if it cannot be read.
    """
    with readable(path):
        with pq.ParquetFile(path, pre_buffer=False) as file:  # a buffer would keep everything that was read
            for batch in file.iter_batches(columns=[EMBEDDING]):
                column = batch[EMBEDDING]
                yield column.flatten().to_numpy().reshape(len(column), column.type.list_size)
        pa.default_memory_pool().release_unused()  # hundreds of megabytes after a large file


def read_embeddings(path: Path) -> npt.NDArray[np.float32]:
    """The same as one float32 matrix (rows, width); a million texts are in memory once and not twice."""
    with pq.ParquetFile(path) as file:
        rows = file.metadata.num_rows
    matrix, begin = np.empty((rows, 0), np.float32), 0
    for part in embedding_parts(path):
        if not begin:
            matrix = np.empty((rows, part.shape[1]), np.float32)
        matrix[begin : begin + len(part)] = part
        begin += len(part)
    return matrix


def row_indices(column: pa.ChunkedArray, values: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """For each cell of a column its row in ``values``, -1 if it is empty or not there; int64 (rows,)."""
    index = pc.fill_null(pc.index_in(column, value_set=values.combine_chunks(), skip_nulls=True), -1)
    rows: npt.NDArray[np.int64] = index.to_numpy().astype(np.int64)
    return rows


def write_table(path: Path, schema: pa.Schema, columns: Mapping[str, object]) -> None:
    """Write columns (arrays or lists, all of one length) as one Parquet file."""
    pq.write_table(pa.table(dict(columns)).select(schema.names).cast(schema), path, compression="zstd")


def write_parts(path: Path, schema: pa.Schema, parts: Iterable[pa.Table]) -> int:
    """Write tables one after another as one Parquet file, which is complete or as it was; returns the rows."""
    draft, written = path.with_name(f".{path.name}.{os.getpid()}"), 0
    try:
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            for part in parts:
                writer.write_table(part)
                written += part.num_rows
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return written


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one of crossrec's Parquet files.

    Raises:
        ArtifactError: if it cannot be read or lacks a column.
    """
    with readable(path):
        with pq.ParquetFile(path) as file:  # pq.read_table imports pyarrow.dataset, and pandas where it is installed
            table = file.read(columns and list(columns))
        return table if columns is None else table.select(list(columns))


def read_rows(path: Path, column: str, values: Sequence[str]) -> pa.Table:
    """The rows that have one of some values in a column; the other columns are read where there are such rows only.

    Raises:
        ArtifactError: if the file cannot be read.
    """
    wanted = pa.array(values, pa.string())
    with readable(path), pq.ParquetFile(path) as file:
        groups = range(file.num_row_groups)
        cells = (file.read_row_group(group, [column])[column] for group in groups)
        has_some = [bool(pc.any(pc.is_in(ids, value_set=wanted)).as_py()) for ids in cells]
        rows = file.read_row_groups([group for group in groups if has_some[group]])
    return rows.filter(pc.is_in(rows[column], value_set=wanted))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Name the file in errors of reading it.

    Raises:
        ArtifactError: instead of what the reader raises.
    """
    try:
        yield
    except (OSError, pa.ArrowException, KeyError) as error:
        raise ArtifactError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
