"""Find and open the raw files that the config names, and read their headers."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from crossrec_cli.config.source_fields import Csv, Source
from crossrec_cli.errors import InputError

COMPRESSED = (".gz", ".zst")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
RECBOLE = (".inter", ".item", ".user")
_RECBOLE = Csv(delimiter="\t", quote="")
BROKEN = (OSError, EOFError, zlib.error, pa.ArrowException)
"""What the readers of files raise."""
JSON_LINES = (".jsonl", ".ndjson", ".json")
EXCEL = (".xlsx", ".xlsm")
HEADER = 2**20
"""Characters that a header may have."""
KEYS_SEEN_IN = 10_000
"""Lines of a JSON file that are read for its keys."""


@dataclass(frozen=True)
class RawFiles:
    """The files of one source, of one format."""

    paths: list[str]
    """Sorted paths, or one address on a network."""
    form: str
    """``parquet``, ``csv``, ``json`` or ``excel``."""
    csv: Csv
    columns: list[str] = field(default_factory=list)
    """Of text files; the engine reads those of the others."""
    has_header: bool = True
    folder: str = ""
    """The folder of Parquet parts, if the names of subfolders are columns, as in ``year=2024/``."""


def is_address(path: str) -> bool:
    """Whether the engine reads it over a network."""
    return "://" in path


def input_files(pattern: str) -> list[str]:
    """The files of a path, folder or glob, sorted; an address is returned as it is.

    Raises:
        InputError: if there is none.
    """
    if is_address(pattern):
        return [pattern]
    try:
        if Path(pattern).is_file():
            return [pattern]  # even if its name has brackets
        inside = Path(pattern).is_dir()
        names = _parts(Path(pattern)) if inside else glob(pattern, recursive=True)  # noqa: PTH207  Path.glob takes no absolute pattern
        files = sorted(str(name) for name in names if Path(name).is_file())
    except OSError as error:
        raise InputError(f"{Path(pattern).absolute()}: {error.strerror or error}") from None
    if not files:
        what = "no Parquet file in this folder" if inside else f"no such file{_instead(Path(pattern))}"
        raise InputError(f"{Path(pattern).absolute()}: {what}")
    return files


def _instead(path: Path) -> str:
    """The file with the most similar name in the same folder, for a message."""
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = get_close_matches(path.name, names, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _parts(folder: Path) -> Iterator[Path]:
    """Parquet files in a folder, without Spark's other files, whose names begin with a dot or an underscore."""
    for path in folder.rglob("*.parquet"):
        if not any(name.startswith((".", "_")) for name in path.relative_to(folder).parts):
            yield path


def find(source: Source) -> RawFiles:
    """A source's files, their format and, for text files, their columns.

    Raises:
        InputError: if there is none, one is empty, or they have different formats or columns.
    """
    paths = input_files(source.path)
    form, delimiter = file_form(paths[0], source.csv)
    if any(file_form(path, source.csv) != (form, delimiter) for path in paths):
        raise InputError(f"{source.path}: names files of different formats")
    layout = source.csv or (_RECBOLE if _suffix(paths[0]) in RECBOLE else Csv(delimiter=delimiter or ","))
    local = [path for path in paths if not is_address(path)]
    if empty := next((path for path in local if not Path(path).stat().st_size), None):
        raise InputError(f"{empty}: is empty")
    folder = source.path if Path(source.path).is_dir() else ""
    if form == "csv" and layout.names:
        for path in local:
            _beginning(path, layout)
        return RawFiles(paths, form, layout, check_names(paths[0], layout.names), has_header=False)
    if form in ("parquet", "excel") or not local:
        return RawFiles(paths, form, layout, folder=folder)
    if form == "json":
        keys = dict.fromkeys(key for path in paths for key in _keys(path))
        if not keys:
            raise InputError(f"{source.path}: its first {KEYS_SEEN_IN:,} lines have no keys")
        return RawFiles(paths, form, layout, check_names(source.path, list(keys)))
    return RawFiles(paths, form, layout, same_header(paths, [_header(path, layout) for path in paths]))


def same_header(paths: Sequence[str], headers: Sequence[list[str]]) -> list[str]:
    """The header that all files have.

    Raises:
        InputError: if one has another.
    """
    if odd := next((path for path, header in zip(paths, headers, strict=True) if header != headers[0]), None):
        raise InputError(f"{odd}: has other columns than {paths[0]}, or in another order")
    return headers[0]


def check_names(path: str, names: Sequence[str]) -> list[str]:
    """Check column names; engines ignore case.

    Raises:
        InputError: if two are equal, or one is ``SOURCE_ROW``.
    """
    seen: dict[str, str] = {SOURCE_ROW: ""}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if not other:
            raise InputError(f"{path}: has a column '{name}', a name that crossrec needs for itself; rename it")
        if other != name:
            raise InputError(f"{path}: has columns '{other}' and '{name}', which differ only in case; rename one")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path}: names the column '{twice}' twice")
    return list(names)


def file_form(path: str, layout: Csv | None) -> tuple[str, str]:
    """Format and delimiter, from the file's name unless the config has a layout."""
    suffix = _suffix(path)
    if layout is not None:
        return "csv", layout.delimiter
    if suffix in DELIMITERS or suffix in RECBOLE:
        return "csv", DELIMITERS.get(suffix, "\t")
    if suffix in JSON_LINES:
        return "json", ""
    if suffix == ".parquet":
        return "parquet", ""
    if suffix.lower() in EXCEL:
        return "excel", ""
    suffixes = ", ".join([".parquet", *DELIMITERS, *JSON_LINES, *RECBOLE, *EXCEL])
    raise InputError(
        f"{path}: unknown kind of file; known are {suffixes}, text files also with .gz or .zst; for others describe "
        "the format under 'csv'"
    )


def _suffix(path: str) -> str:
    """The suffix of the name, before that of a compression."""
    file = Path(path)
    return file.with_suffix("").suffix if file.suffix in COMPRESSED else file.suffix


def open_text(path: str, encoding: str) -> TextIO:
    """A text file on this machine, decompressed, with its line ends unchanged."""
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding=encoding, newline="")
    raw = pa.input_stream(path, compression="zstd" if path.endswith(".zst") else None)
    return io.TextIOWrapper(raw, encoding=encoding, newline="")


def _beginning(path: str, layout: Csv) -> str:
    """A text file's first characters; checks the encoding, which DuckDB checks less strictly."""
    encoding = {"utf-8": "utf-8-sig", "utf-16": "utf-16-le"}.get(layout.encoding, layout.encoding)
    try:
        with open_text(path, encoding) as file:
            text = file.read(HEADER)
    except UnicodeError as error:
        raise InputError(f"{path}: is not {layout.encoding}: {error}; {other_encoding(layout.encoding)}") from None
    except BROKEN as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if text.startswith("\ufffe"):
        raise InputError(f"{path}: is UTF-16 in big-endian order; only little-endian is read, so convert it")
    if layout.encoding != "utf-16" and "\0" in text.partition("\n")[0]:
        raise InputError(f"{path}: line 1: has NUL bytes; if it is UTF-16, set csv.encoding to utf-16")
    return text.removeprefix("\ufeff")


def other_encoding(encoding: str) -> str:
    """What to try if a file has another encoding than the config says."""
    if encoding != "utf-8":
        return "set csv.encoding to the file's encoding, or convert it to UTF-8"
    return "set csv.encoding to windows-1252, in which Western exports are often written, or to utf-16"


def _header(path: str, layout: Csv) -> list[str]:
    """The names in the first line."""
    quoting = {"quotechar": layout.quote} if layout.quote else {"quoting": csv.QUOTE_NONE}
    try:
        cells = next(_split(_beginning(path, layout), layout.delimiter, quoting), [])
    except csv.Error as error:
        raise InputError(f"{path}: line 1: is not a header: {error}") from None
    if len(cells) == 1 and (other := next((sign for sign in ";\t|," if sign in cells[0]), None)):
        shown = "a tab" if other == "\t" else f"'{other}'"
        raise InputError(
            f"{path}: line 1: is one column, '{cells[0][:80]}'; if its delimiter is {shown}, set csv.delimiter"
        )
    return header_names(path, cells)


def header_names(path: str, cells: Sequence[str]) -> list[str]:
    """Column names of a header; RecBole writes their types after a colon.

    Raises:
        InputError: if there is none, or one is there twice.
    """
    is_recbole = _suffix(path) in RECBOLE
    names = [name.strip().partition(":")[0] if is_recbole else name.strip() for name in cells]
    if not any(names):
        raise InputError(f"{path}: line 1: names no column")
    return check_names(path, [name or f"column{number}" for number, name in enumerate(names, 1)])


def _split(text: str, delimiter: str, quoting: Mapping[str, Any]) -> Iterator[list[str]]:
    lines = io.StringIO(text, newline="")
    if len(delimiter) > 1:  # MovieLens writes "::"
        return (line.rstrip("\r\n").split(delimiter) for line in lines)
    return csv.reader(lines, delimiter=delimiter, **quoting)


def _keys(path: str) -> Iterator[str]:
    """The keys of a JSON file's first lines."""
    try:
        with open_text(path, "utf-8-sig") as file:
            for number, line in enumerate(islice(file, KEYS_SEEN_IN), 1):
                if not line.strip():
                    continue
                row = json.loads(line, parse_int=str)
                if not isinstance(row, dict):
                    raise InputError(f"{path}: line {number}: is not an object with keys; each line must be one")
                yield from row
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {number}: is not JSON: {error.msg} at column {error.colno}") from None
    except (*BROKEN, UnicodeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def check_complete(paths: Sequence[str]) -> None:
    """Read Zstandard files to the end, since DuckDB accepts a truncated one.

    Raises:
        InputError: if one is damaged.
    """
    for path in paths:
        if path.endswith(".zst") and not is_address(path):
            try:
                with pa.input_stream(path, compression="zstd") as stream:
                    while stream.read(2**20):
                        pass
            except BROKEN as error:
                raise InputError(f"{path}: cannot be read: {error}") from None


SOURCE_ROW = "source_row"
"""The source of a row: ``number of its file * FILE + row in it``, rows counted from 1."""
