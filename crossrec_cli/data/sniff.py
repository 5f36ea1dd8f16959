"""Detect how a text file is written: encoding, delimiter, header, and the format of its dates."""

from __future__ import annotations

import codecs
import re
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa

from crossrec_cli.config.source_fields import Csv
from crossrec_cli.data.raw_files import COMPRESSED, DELIMITERS
from crossrec_cli.errors import InputError

TEXT_FILES = (*DELIMITERS, ".txt", ".dat", ".data")
SPREADSHEETS = (".xls", ".xlsb", ".ods", ".numbers")
READ = 2**26
"""Bytes that the encoding is detected from; the first umlaut may come late."""
CHUNK = 2**20
DECODERS = {"utf-8": "utf-8-sig", "windows-1252": "cp1252", "utf-16": "utf-16"}
LONGEST_RUN = 2
"""In a Western text the mean run of bytes above ASCII is not longer: é or ö, rarely two of them."""
EARLIEST, LATEST = 1990, 2100
"""Years of plausible times of a shop."""
SURE = 0.9
"""The share of a column's values that a date format must read."""
FIRST = 20
"""Values that all formats are tried on; those that read them are tried on all others."""

_DATES = [
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d", "%Y年%m月%d日"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%m-%d-%y"),
    *("%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y"),
]
_TIMES = ["%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H:%M:%S %z", "%H:%M:%S%z", "%I:%M %p", "%I:%M:%S %p", "%H:%M Uhr"]
_FORMATS = [*_DATES, *(date + between + time for date, between, time in product(_DATES, (" ", ", ", ""), _TIMES))]


def layout(path: str) -> Csv | None:
    """The layout of a text file; None if its name is enough.

    Raises:
        InputError: if it cannot be read, or is in an encoding that crossrec does not read.
    """
    suffix, encoding = suffix_of(path), _encoding(path)
    first = next(_chunks(path), b"").decode(DECODERS[encoding], "replace")
    delimiter, has_header, width = _dialect(first.rpartition("\n")[0] or first)
    if width < 2:
        if suffix not in DELIMITERS:
            return None
        delimiter, has_header = DELIMITERS[suffix], True
    names = () if has_header else tuple(f"column{number}" for number in range(1, width + 1))
    detected = Csv(delimiter=delimiter, encoding=encoding, names=names)
    by_name = DELIMITERS.get(suffix) if suffix in path else None  # the engine needs lower case
    return None if by_name and detected == Csv(delimiter=by_name) else detected


def _dialect(text: str) -> tuple[str, bool, int]:
    """Delimiter, whether there is a header, and the number of columns: one if there is no delimiter."""
    query = "SELECT Delimiter, HasHeader, len(Columns) FROM sniff_csv($path, ignore_errors = true, strict_mode = false)"
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as connection:
        file = Path(folder) / "beginning.csv"
        file.write_text(text, encoding="utf-8", newline="")  # DuckDB itself reads few encodings
        try:
            result = connection.execute(query, {"path": str(file)}).fetchone()
        except duckdb.Error:
            result = None
    return result or (",", True, 1)


def suffix_of(path: str) -> str:
    """The suffix of a file's name, in lower case, before that of a compression."""
    file = Path(path.lower())
    return file.with_suffix("").suffix if file.suffix in COMPRESSED else file.suffix


def _encoding(path: str) -> Literal["utf-8", "windows-1252", "utf-16"]:
    """The encoding, from a file's first bytes, and from bytes above ASCII."""
    decoder, is_utf8, runs, beyond = codecs.getincrementaldecoder("utf-8")(), True, 0, 0
    for number, chunk in enumerate(_chunks(path)):
        if number == 0 and (chunk.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in chunk[:2]):
            return "utf-16"
        if is_utf8:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                is_utf8 = False
        if not chunk.isascii():
            matches = re.findall(rb"[\x80-\xff]+", chunk)
            runs, beyond = runs + len(matches), beyond + sum(map(len, matches))
    if is_utf8:
        return "utf-8"
    if beyond > LONGEST_RUN * runs:
        raise InputError(f"{path}: is neither UTF-8, UTF-16 nor Windows-1252; write it as UTF-8")
    return "windows-1252"


def _chunks(path: str) -> Iterator[bytes]:
    try:
        with pa.input_stream(path) as stream:
            for _ in range(READ // CHUNK):
                if not (chunk := stream.read(CHUNK)):
                    return
                yield chunk
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def time_formats(values: Sequence[str]) -> dict[str, str]:
    """The formats of ``strptime`` that read the most of these times; of formats with the same results, the first.

    Returns:
        For each format an example: a value and how it is read. There are two if every day is 12 or less, since the day
        or the month may come first; none if no format reads nearly all.
    """
    first = values[:FIRST]
    near = [form for form in _FORMATS if sum(map(bool, _read(form, first))) >= SURE * len(first)]
    readings = {tuple(_read(form, values)): form for form in reversed(near)}
    counts = [sum(map(bool, reading)) for reading in readings]
    enough = max([*counts, SURE * len(values), 1])
    best = {form: reading for (reading, form), n in zip(readings.items(), counts, strict=True) if n >= enough}
    rows = zip(*best.values(), strict=True)
    example = next((index for index, row in enumerate(rows) if len(set(row)) == len(row) and all(row)), 0)
    return {form: f"{values[example]} is {best[form][example]}" for form in reversed(best)}


def _read(form: str, values: Sequence[str]) -> list[datetime | None]:
    """The values as times, None if the format does not read one."""
    times: list[datetime | None] = []
    for value in values:
        try:
            moment = datetime.strptime(value, form)
        except ValueError:
            times.append(None)
        else:
            times.append(moment if EARLIEST <= moment.year <= LATEST else None)
    return times
