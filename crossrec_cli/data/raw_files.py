"""The raw files that the config names: found, opened, their headers read."""

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
"""What Python's readers raise."""
JSON_LINES = (".jsonl", ".ndjson", ".json")
HEADER = 2**20
"""Characters in which a header ends."""
KEYS_SEEN_IN = 10_000
"""Lines of a JSON file that tell which keys it has."""


@dataclass(frozen=True)
class RawFiles:
    """The files of one source, in one form."""

    paths: list[str]
    """Files, sorted, or one address on a network."""
    form: str
    """``parquet``, ``csv`` or ``json``."""
    csv: Csv
    columns: list[str] = field(default_factory=list)
    """Of the text forms; Parquet files tell by themselves."""
    has_header: bool = True
    folder: str = ""
    """Where Parquet parts lie whose folders' names are columns, as in ``year=2024/``."""


def is_address(path: str) -> bool:
    """Whether it is for the engine to read, over a network."""
    return "://" in path


def input_files(pattern: str) -> list[str]:
    """The files that a path, folder or glob names, sorted; an address is handed on as it is.

    Raises:
        InputError: if there is none.
    """
    if is_address(pattern):
        return [pattern]
    try:
        if Path(pattern).is_file():
            return [pattern]  # even if its name holds brackets
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
    """The file of the same folder whose name is nearest, for a message."""
    there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = get_close_matches(path.name, there, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _parts(folder: Path) -> Iterator[Path]:
    """Parquet files in a folder; what begins with a dot or a dash is no part, as Spark leaves it behind."""
    for path in folder.rglob("*.parquet"):
        if not any(name.startswith((".", "_")) for name in path.relative_to(folder).parts):
            yield path


def find(source: Source) -> RawFiles:
    """A source's files, their form and, of text forms, their columns.

    Raises:
        InputError: if there is none, one is empty, or they are not alike.
    """
    paths = input_files(source.path)
    form, delimiter = file_form(paths[0], source.csv)
    if any(file_form(path, source.csv) != (form, delimiter) for path in paths):
        raise InputError(f"{source.path}: names files of different forms")
    layout = source.csv or (_RECBOLE if _suffix(paths[0]) in RECBOLE else Csv(delimiter=delimiter or ","))
    local = [path for path in paths if not is_address(path)]
    if empty := next((path for path in local if not Path(path).stat().st_size), None):
        raise InputError(f"{empty}: is empty")
    folder = source.path if Path(source.path).is_dir() else ""
    if form == "csv" and layout.names:
        for path in local:
            _beginning(path, layout)
        return RawFiles(paths, form, layout, checked(paths[0], layout.names), has_header=False)
    if form == "parquet" or not local:
        return RawFiles(paths, form, layout, folder=folder)
    if form == "json":
        keys = dict.fromkeys(key for path in paths for key in _keys(path))
        if not keys:
            raise InputError(f"{source.path}: its first {KEYS_SEEN_IN:,} lines hold no keys")
        return RawFiles(paths, form, layout, checked(source.path, list(keys)))
    return RawFiles(paths, form, layout, alike(paths, [_header(path, layout) for path in paths]))


def alike(paths: Sequence[str], headers: Sequence[list[str]]) -> list[str]:
    """The one header of several files.

    Raises:
        InputError: if one has another.
    """
    if odd := next((path for path, header in zip(paths, headers, strict=True) if header != headers[0]), None):
        raise InputError(f"{odd}: has other columns than {paths[0]}, or in another order")
    return headers[0]


def checked(path: str, names: Sequence[str]) -> list[str]:
    """Column names, as engines take them, to which case means nothing.

    Raises:
        InputError: if two are alike, or one is ``SOURCE_ROW``.
    """
    seen: dict[str, str] = {SOURCE_ROW: ""}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if not other:
            raise InputError(f"{path}: has a column '{name}', a name that crossrec needs for itself; rename it")
        if other != name:
            raise InputError(f"{path}: has columns '{other}' and '{name}', which differ in case alone; rename one")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path}: names the column '{twice}' twice")
    return list(names)


def file_form(path: str, layout: Csv | None) -> tuple[str, str]:
    """Form and delimiter, from the file's name unless the config says how it is written."""
    suffix = _suffix(path)
    if layout is not None:
        return "csv", layout.delimiter
    if suffix in DELIMITERS or suffix in RECBOLE:
        return "csv", DELIMITERS.get(suffix, "\t")
    if suffix in JSON_LINES:
        return "json", ""
    if suffix == ".parquet":
        return "parquet", ""
    known = ", ".join([".parquet", *DELIMITERS, *JSON_LINES, *RECBOLE])
    raise InputError(
        f"{path}: unknown kind of file; known are {known}, the text forms also with .gz or .zst; else say "
        "under 'csv' how it is written"
    )


def _suffix(path: str) -> str:
    """What its name ends with, before a compression's."""
    file = Path(path)
    return file.with_suffix("").suffix if file.suffix in COMPRESSED else file.suffix


def open_text(path: str, encoding: str) -> TextIO:
    """A text file on this machine, unpacked; its line ends as they are."""
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding=encoding, newline="")
    raw = pa.input_stream(path, compression="zstd" if path.endswith(".zst") else None)
    return io.TextIOWrapper(raw, encoding=encoding, newline="")


def _beginning(path: str, layout: Csv) -> str:
    """A text file's first characters; DuckDB itself looks at the encoding less closely."""
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
        raise InputError(f"{path}: line 1: holds NUL bytes; if it is UTF-16, set csv.encoding to utf-16")
    return text.removeprefix("\ufeff")


def other_encoding(encoding: str) -> str:
    """What to try where a file is not written as the config says."""
    if encoding != "utf-8":
        return "set csv.encoding to what it is, or convert it to UTF-8"
    return "set csv.encoding to windows-1252, in which Western exports are often written, or to utf-16"


def _header(path: str, layout: Csv) -> list[str]:
    """The names in the first row."""
    quoting = {"quotechar": layout.quote} if layout.quote else {"quoting": csv.QUOTE_NONE}
    try:
        cells = next(_split(_beginning(path, layout), layout.delimiter, quoting), [])
    except csv.Error as error:
        raise InputError(f"{path}: line 1: is no header: {error}") from None
    if len(cells) == 1 and (other := next((sign for sign in ";\t|," if sign in cells[0]), None)):
        shown = "a tab" if other == "\t" else f"'{other}'"
        raise InputError(
            f"{path}: line 1: is one column, '{cells[0][:80]}'; if its delimiter is {shown}, set csv.delimiter"
        )
    return header_names(path, cells)


def header_names(path: str, cells: Sequence[str]) -> list[str]:
    """Column names out of a header; RecBole writes their types behind a colon.

    Raises:
        InputError: if there is none, or one stands there twice.
    """
    is_recbole = _suffix(path) in RECBOLE
    names = [name.strip().partition(":")[0] if is_recbole else name.strip() for name in cells]
    if not any(names):
        raise InputError(f"{path}: line 1: names no column")
    return checked(path, [name or f"column{place}" for place, name in enumerate(names, 1)])


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
                    raise InputError(f"{path}: line {number}: is not an object with keys; one is wanted on each line")
                yield from row
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {number}: is not JSON: {error.msg} at column {error.colno}") from None
    except (*BROKEN, UnicodeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def check_whole(paths: Sequence[str]) -> None:
    """Read Zstandard files through, as DuckDB takes one that was cut off for whole."""
    for path in paths:
        if path.endswith(".zst") and not is_address(path):
            try:
                with pa.input_stream(path, compression="zstd") as stream:
                    while stream.read(2**20):
                        pass
            except BROKEN as error:
                raise InputError(f"{path}: cannot be read: {error}") from None


SOURCE_ROW = "source_row"
"""Where a row comes from: ``number of its file * FILE + row in it``, rows counted from 1."""
