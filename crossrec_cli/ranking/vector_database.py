"""Vectors in Postgres, where SQL then ranks: in pgvector's types where the extension is installed, else as arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.ranking.list_database import users_table
from crossrec_cli.ranking.vector_tables import DENSE, SEEN, SHIFT, TERMS, WEIGHTS, VectorTables

SPARSE = "sparse"
MOST_WEIGHTS = 16_000
"""pgvector's limit of a sparse vector."""
WITH_PGVECTOR = "SELECT to_regtype('sparsevec') IS NOT NULL"
"""Whether its version 0.7 or a newer one is installed in this database."""
DENSE_TYPE = """
    SELECT format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = to_regclass('"{table}"') AND attname = 'dense'
"""
STAGING = "crossrec_new_vectors"


class _Column(NamedTuple):
    name: str
    kind: str
    """Its SQL type."""
    value: str
    """SQL for it, from a row of ``VectorTables``."""


def write_vectors(connection: Any, name: str, vectors: VectorTables) -> dict[str, int]:
    """Replace the rows of the tables ``name_items`` and ``name_users``, or make these, in the running transaction.

    Returns:
        The number of rows of each table.
    """
    with connection.cursor() as cursor:
        with_pgvector = bool(_value(cursor, WITH_PGVECTOR))
        own = _vector_columns(vectors.widths, with_pgvector)
        most = MOST_WEIGHTS if with_pgvector else None
        item_id, user_id = (_Column(key, "text PRIMARY KEY", key) for key in (c.ITEM_ID, c.USER_ID))
        of_users = [user_id, _Column(SHIFT, "real", SHIFT), _Column(SEEN, "text[]", SEEN), *own]
        return {
            f"{name}_items": _replace(cursor, f"{name}_items", vectors.items(most), [item_id, *own]),
            users_table(name): _replace(cursor, users_table(name), vectors.of_users(most), of_users),
        }


def _vector_columns(widths: tuple[int, int], with_pgvector: bool) -> list[_Column]:
    if not with_pgvector:
        return [
            _Column(DENSE, "real[]", DENSE),
            _Column(TERMS, "integer[]", TERMS),
            _Column(WEIGHTS, "real[]", WEIGHTS),
        ]
    dense, sparse = widths
    cells = f"SELECT string_agg(term || ':' || weight, ',') FROM unnest({TERMS}, {WEIGHTS}) AS cell (term, weight)"
    text = f"'{{' || coalesce(({cells}), '') || '}}/{sparse}'"
    # Without a width, since the number of words changes with each training, and an index could not hold so many.
    return [
        _Column(DENSE, f"vector({dense})", f"{DENSE}::vector({dense})"),
        _Column(SPARSE, "sparsevec", f"({text})::sparsevec"),
    ]


def _replace(cursor: Any, table: str, rows: pa.RecordBatchReader, columns: list[_Column]) -> int:
    """Replace a table's rows, or make the table; the rows come in by a table of this connection alone."""
    cursor.adbc_ingest(STAGING, rows, mode="create", temporary=True)
    kind = {column.name: column.kind for column in columns}
    if before := _value(cursor, DENSE_TYPE.format(table=table)):
        cursor.execute(f'DELETE FROM "{table}"')
        if before != kind[DENSE] and before.startswith("vector"):  # a training gave another width
            cursor.execute(f'ALTER TABLE "{table}" ALTER COLUMN {DENSE} TYPE {kind[DENSE]}')
    else:
        cursor.execute(f'CREATE TABLE "{table}" ({", ".join(f"{name} {of}" for name, of in kind.items())})')
    values = ", ".join(column.value for column in columns)
    cursor.execute(f'INSERT INTO "{table}" ({", ".join(kind)}) SELECT {values} FROM {STAGING}')
    count = int(_value(cursor, f"SELECT count(*) FROM {STAGING}"))
    cursor.execute(f"DROP TABLE {STAGING}")
    return count


def _value(cursor: Any, query: str) -> Any:
    """The one cell of a query's result; None if it has no row."""
    cursor.execute(query)
    row = cursor.fetchone()
    return row[0] if row else None
