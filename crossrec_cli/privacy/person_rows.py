"""The rows of some people in one file: how many there are, and a copy of the file without them.

A Parquet file has the rows of people if it has a column of users: ``USER_ID``, or ``USER_INDEX``, whose meaning is in
the users.parquet next to it. Of text files, CSV and JSON lines with ``USER_ID`` do. All other rows stay as they are.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import REJECTED, USERS
from crossrec_cli.artifacts.store import MANIFEST, read_manifest
from crossrec_cli.config.secrets import mask
from crossrec_cli.data.raw_files import COMPRESSED, DELIMITERS, JSON_LINES
from crossrec_cli.errors import ArtifactError
from crossrec_cli.privacy.people import People

USERS_FILE, REJECTED_FILE = Path(USERS).name, Path(REJECTED).name
NOBODY: dict[str, Any] = {c.USER_INDEX: 0, c.USER_ID: None, c.PLATFORM: None, c.TAGS: [], c.ACTIVITY: 0}
"""What takes the place of a user's row: the numbers of the others stay."""
TEXTS = (".csv", ".jsonl")
EVENTS_COPY = "events-"
"""The beginning of the name of an export's copy of ``recommend.events``, which is CSV whatever else its suffix says."""
Record = tuple[str, str | float | None]
"""Some lines of a text file, and the cell with the user's id in them; None where there is none."""


@dataclass(frozen=True)
class PersonRows:
    """A file with rows of people."""

    file: Path
    rows: int
    ids: frozenset[str]
    """Those of the people whom the file names by these ids."""


def rows_in(file: Path, people: People) -> PersonRows | None:
    """How many rows of people a file has; None if it has none.

    Raises:
        ArtifactError: if it cannot be read.
    """
    if file.suffix == ".parquet":
        count, ids = _in_parquet(file, people)
    elif _form(file) in TEXTS or file.name.startswith(EVENTS_COPY):
        theirs = [one for _, cell in _records(file) if (one := people.one_in(cell))]
        count, ids = len(theirs), set(theirs)
    else:
        return None
    return PersonRows(file, count, frozenset(ids)) if count else None


def write_without(file: Path, people: People, target: Path) -> None:
    """Write a copy of a file without the rows of people; the copy is complete or does not appear.

    Raises:
        ArtifactError: if the file cannot be read.
    """
    if file.suffix == ".parquet":
        with parquet.readable(file), pq.ParquetFile(file) as opened:
            schema = _nullable(opened.schema_arrow) if file.name == USERS_FILE else opened.schema_arrow
            parquet.write_parts(target, schema, _parts_without(file, opened, people))
        return
    draft = target.with_name(f".draft-{target.name}")  # its suffix says how it is compressed
    with _text(pa.output_stream(draft, compression="detect")) as copy:
        for lines, cell in _records(file):
            if not people.one_in(cell):
                copy.write(lines)
    draft.replace(target)


def _in_parquet(file: Path, people: People) -> tuple[int, set[str]]:
    with parquet.readable(file), pq.ParquetFile(file) as opened:
        needed = _columns(file, opened.schema_arrow.names)
        if not needed:
            return 0, set()
        count, ids, theirs = 0, set[str](), _Theirs.of(file, people)
        for batch in opened.iter_batches(columns=needed):
            rows = batch.filter(theirs.mask(batch))
            count += rows.num_rows
            cells = rows[c.USER_ID].to_pylist() if c.USER_ID in needed else []
            ids |= {one for cell in cells if (one := people.one_in(cell))}
        return count, ids


def _columns(file: Path, names: list[str]) -> list[str]:
    """The columns that say whose a row is; none if the file has no rows of people."""
    if file.name == REJECTED_FILE:
        return [c.FILE, c.ROW]
    if c.USER_INDEX in names and file.name != USERS_FILE:
        return [c.USER_INDEX]
    return [c.USER_ID] if c.USER_ID in names else []


def _parts_without(file: Path, opened: pq.ParquetFile, people: People) -> Iterator[pa.Table]:
    """The file's row groups without the rows of people."""
    theirs = _Theirs.of(file, people)
    for number in range(opened.num_row_groups):
        rows = opened.read_row_group(number)
        mask = theirs.mask(rows)
        yield _blanked(rows, mask) if file.name == USERS_FILE else rows.filter(pc.invert(mask))


def _nullable(schema: pa.Schema) -> pa.Schema:
    """The schema of a users.parquet with columns that may be empty; DuckDB declares some that may not."""
    return pa.schema([field.with_nullable(True) for field in schema], schema.metadata)


def _blanked(rows: pa.Table, mask: Any) -> pa.Table:
    """A users.parquet with nobody in some rows."""
    rows = rows.cast(_nullable(rows.schema))
    nobody = pa.table({name: [NOBODY.get(name)] for name in rows.column_names}, schema=rows.schema)
    order = np.where(np.asarray(mask), rows.num_rows, np.arange(rows.num_rows))
    index = rows.column_names.index(c.USER_INDEX)
    blanked = pa.concat_tables([rows, nobody]).take(order)
    return blanked.set_column(index, rows.schema.field(index), rows[c.USER_INDEX])


@dataclass(frozen=True)
class _Theirs:
    """Which rows of a file are of the people."""

    people: People
    users: pa.Array
    """Their indices, where the file has indices."""
    rows: dict[str, pa.Array]
    """Their rows in the raw files, where the file has such."""
    as_written: bool
    """Whether the file has ids as somebody wrote them, with space around them, or as numbers."""

    @classmethod
    def of(cls, file: Path, people: People) -> _Theirs:
        users, rows = pa.array([], pa.int32()), {}
        if file.name == REJECTED_FILE:
            inputs = read_manifest(file.with_name(MANIFEST)).inputs
            same = [name for name, sha in people.raw_hashes.items() if inputs.get(mask(name)) == sha]
            rows = {name: pa.array(people.raw_rows[name], pa.int64()) for name in same}
        elif file.name != USERS_FILE and (table := file.with_name(USERS_FILE)).exists():
            all_users = parquet.read_table(table, [c.USER_INDEX, c.USER_ID])
            users = all_users.filter(pc.is_in(all_users[c.USER_ID], people.column))[c.USER_INDEX].combine_chunks()
        return cls(people, users, rows, file.name.startswith(EVENTS_COPY))

    def mask(self, rows: pa.Table | pa.RecordBatch) -> Any:
        """Which rows they are; boolean, without nulls."""
        if c.FILE in rows.schema.names and c.ROW in rows.schema.names:
            mask = pa.array(np.zeros(rows.num_rows, bool))
            for file, of_file in self.rows.items():
                mask = pc.or_(mask, pc.and_(pc.equal(rows[c.FILE], file), pc.is_in(rows[c.ROW], of_file)))
            return mask
        if c.USER_ID in rows.schema.names:
            cells = rows[c.USER_ID]
            if self.as_written or not pa.types.is_string(cells.type):
                return pa.array([self.people.one_in(cell) is not None for cell in cells.to_pylist()], pa.bool_())
            return pc.is_in(cells, self.people.column)
        return pc.is_in(rows[c.USER_INDEX], self.users)


def _form(file: Path) -> str:
    """The suffix of a text file, before that of a compression."""
    return file.with_suffix("").suffix if file.suffix in COMPRESSED else file.suffix


def _records(file: Path) -> Iterator[Record]:
    """A text file in parts, each with its line ends; put together they are the file."""
    try:
        with _text(pa.input_stream(file, compression="detect")) as text:
            yield from (
                _json_records(text)
                if _form(file) in JSON_LINES
                else _csv_records(text, DELIMITERS.get(_form(file), ","))
            )
    except (OSError, UnicodeError, ValueError, csv.Error) as error:
        raise ArtifactError(f"{file}: cannot be read: {error}") from None


@contextmanager
def _text(stream: Any) -> Iterator[TextIO]:
    with io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
        yield text


def _json_records(text: TextIO) -> Iterator[Record]:
    for line in text:
        row = json.loads(line) if line.strip() else None
        yield line, row.get(c.USER_ID) if isinstance(row, dict) else None


def _csv_records(text: TextIO, delimiter: str) -> Iterator[Record]:
    """A record may have several lines, where a cell in quotes has line ends."""
    lines: list[str] = []

    def remembered() -> Iterator[str]:
        for line in text:
            lines.append(line)
            yield line

    column: int | None = None
    for number, cells in enumerate(csv.reader(remembered(), delimiter=delimiter)):
        if number == 0:
            names = [name.removeprefix("\ufeff").strip() for name in cells]
            column = names.index(c.USER_ID) if c.USER_ID in names else None
        has_id = number > 0 and column is not None and column < len(cells)
        yield "".join(lines), cells[column] if has_id and column is not None else None
        lines.clear()
