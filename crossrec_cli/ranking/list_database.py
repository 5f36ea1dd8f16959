"""Lists and vectors in a database, by its ADBC driver.

One transaction replaces all rows: readers see the old ones or the new.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossrec_cli.config.list_fields import Database
from crossrec_cli.config.secrets import mask
from crossrec_cli.errors import UnavailableError

if TYPE_CHECKING:  # torch takes a moment to import
    from crossrec_cli.ranking.vector_tables import VectorTables

ALIASES = {"postgres": "postgresql"}
SQLITE = "sqlite"


def publish(lists: Path, database: Database, vectors: VectorTables | None = None) -> dict[str, int]:
    """Replace the rows of a table by those of a recommendations.parquet, without the columns that hold lists.

    A table that exists keeps its rights and indices, and must have the same columns; else it is made. The same with
    the tables of vectors, in the same transaction, where there are any.

    Returns:
        The number of rows by table.

    Raises:
        UnavailableError: if the database cannot be reached, or refuses; it is then as before.
    """
    with (
        _connection(database) as (connection, driver_error),
        connection.cursor() as cursor,
        pq.ParquetFile(lists) as file,
    ):
        exists = _has_table(connection, driver_error, database.table)
        if exists:
            cursor.execute(f'DELETE FROM "{database.table}"')
        flat = pa.schema([field for field in file.schema_arrow if not pa.types.is_list(field.type)])
        batches = file.iter_batches(columns=flat.names)
        rows = pa.RecordBatchReader.from_batches(
            flat, (pa.record_batch(batch.columns, schema=flat) for batch in batches)
        )
        cursor.adbc_ingest(database.table, rows, mode="append" if exists else "create")
        tables = {database.table: int(file.metadata.num_rows)}
        if vectors and database.vectors:
            from crossrec_cli.ranking.vector_database import write_vectors  # noqa: PLC0415  torch takes a moment

            tables |= write_vectors(connection, database.vectors, vectors)
        connection.commit()
        return tables


def users_table(vectors: str) -> str:
    """The table with the users' vectors, where ``recommend.to.vectors`` is the name."""
    return f"{vectors}_users"


def count_rows_of(users: Collection[str], database: Database) -> dict[str, int]:
    """How many rows some users have in the tables of lists and vectors; users without any are missing.

    Raises:
        UnavailableError: if the database cannot be reached, or refuses.
    """
    counts = Counter[str]()
    with _connection(database) as (connection, driver_error), connection.cursor() as cursor:
        for table in _tables_of_users(connection, driver_error, database):
            cursor.execute(f'SELECT user_id, count(*) FROM "{table}" WHERE {_of(users)} GROUP BY user_id')
            counts.update(dict(cursor.fetchall()))
    return dict(counts)


def delete_rows_of(users: Collection[str], database: Database) -> None:
    """Delete the rows of some users from the tables of lists and vectors, in one transaction.

    Raises:
        UnavailableError: if the database cannot be reached, or refuses; it is then as before.
    """
    with _connection(database) as (connection, driver_error), connection.cursor() as cursor:
        for table in _tables_of_users(connection, driver_error, database):
            cursor.execute(f'DELETE FROM "{table}" WHERE {_of(users)}')
        connection.commit()


def _tables_of_users(connection: Any, driver_error: type[Exception], database: Database) -> list[str]:
    """The tables with users that exist."""
    names = [database.table, *([users_table(database.vectors)] if database.vectors else [])]
    return [name for name in names if _has_table(connection, driver_error, name)]


def _of(users: Collection[str]) -> str:
    """The condition in SQL; drivers differ in how they write parameters."""
    return f"user_id IN ({', '.join(_quoted(user) for user in users)})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def check_driver(database: Database) -> None:
    """Find a missing driver before a long training, not after it.

    Raises:
        UnavailableError: if it is missing.
    """
    if not find_spec(driver := _driver(database)):
        package = driver.replace("_", "-")
        raise UnavailableError(f"recommend.to: needs the package {package}; pip install 'crossrec[database]' {package}")


def _driver(database: Database) -> str:
    scheme = database.uri.partition("://")[0]
    return f"adbc_driver_{ALIASES.get(scheme, scheme)}"


@contextmanager
def _connection(database: Database) -> Iterator[tuple[Any, type[Exception]]]:
    """A connection in a transaction, which ends without effect unless it is committed, and the driver's errors."""
    check_driver(database)
    driver = import_module(f"{_driver(database)}.dbapi")
    scheme, _, rest = database.uri.partition("://")
    try:
        with driver.connect(rest.removeprefix("/") if scheme == SQLITE else database.uri) as connection:
            yield connection, driver.Error
    except driver.Error as error:
        raise UnavailableError(f"recommend.to: {mask(database.uri)}: {mask(str(error).splitlines()[0])}") from None


def _has_table(connection: Any, driver_error: type[Exception], table: str) -> bool:
    """Whether a plain name finds a table, in whatever schema."""
    try:
        connection.adbc_get_table_schema(table)
    except driver_error:
        connection.rollback()
        return False
    return True
