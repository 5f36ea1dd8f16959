"""The files of a folder as tables, and statistics of each column's cells."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from crossrec_cli.config.source_fields import Csv, Source
from crossrec_cli.data.cells import EXCEL_DAYS, identifier, words
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.raw_files import DELIMITERS, SOURCE_ROW, find
from crossrec_cli.data.sniff import SPREADSHEETS, SURE, TEXT_FILES, layout, suffix_of, time_formats
from crossrec_cli.errors import InputError, UnavailableError

SAMPLE = 1_000_000
"""Rows that are read of a file that is used."""
SAMPLE_ROWS = 10_000
"""Rows of each file that the statistics are computed from."""
TIMES = 50_000
"""How many distinct times a date format is tried on."""
REPEATED = 1.2
"""The least mean number of rows for each id, in a column of users or items of interactions."""
EXPLAINED = 0.8
"""A column describes the item if the item's id predicts it so well: 0 is not at all, 1 is exactly."""

DECIMAL_COMMA = r"^[-+]?\d{1,3}(\.?\d{3})*,\d+$"
FRACTION = r"^[-+]?[\d.,]*[.,]\d+$"

ISO_TIME = r"^(199\d|20\d\d)-(0[1-9]|1[0-2])-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$"
_SINCE_1970 = [(631_152_000 * unit, 4_102_444_800 * unit) for unit in (1, 10**3, 10**6, 10**9)]
_DATES = [(19_900_101 * 10**zeros, 21_001_231 * 10**zeros) for zeros in (0, 4, 6)]
TIME_NUMBERS = [*_SINCE_1970, *_DATES]
"""Numbers that are times from 1990 to 2100: seconds, milliseconds and so on since 1970, and 20240501."""
FIGURES = ("filled", "distinct", "numbers", "fractions", "times", "excel_days")


@dataclass(frozen=True)
class Column:
    """Statistics of one column's cells."""

    filled: int
    """Cells that are not empty."""
    distinct: int
    numbers: int
    """Cells with a number."""
    fractions: int
    """Cells with a number that is not an integer."""
    times: int
    """Cells with a time that needs no format."""
    excel_days: int
    """Cells with a number that is a day from 1990 to 2100 in Excel."""
    is_text: bool

    @property
    def repeats(self) -> bool:
        """Whether it repeats like an id: each value a few times, and not a few values all the time."""
        return self.filled >= REPEATED * self.distinct and self.distinct >= max(2, sqrt(self.filled) / 2)

    def mostly(self, count: int) -> bool:
        """Whether that is nearly all of the filled cells."""
        return count >= SURE * self.filled > 0


@dataclass
class Table:
    """One file, or a folder of Parquet parts."""

    source: Source
    columns: list[str]
    sample: ir.Table
    """Its first ``SAMPLE_ROWS`` rows; after ``deepen`` its first ``SAMPLE``."""
    seen: dict[str, Column]
    problem: str = ""
    """Why not all of it could be read."""

    @classmethod
    def read(cls, engine: Engine, path: str) -> Table:
        """Read the beginning of a file, or its header if nothing else can be read.

        Raises:
            InputError: if it cannot be read.
        """
        is_text = suffix_of(path) in TEXT_FILES and Path(path).is_file()
        source, problem = Source(path=path, csv=layout(path) if is_text else None), ""
        try:
            source, sample = _first_rows(engine, source, SAMPLE_ROWS)
        except InputError as error:
            if not is_text:
                raise
            problem = f"{error}; only its header was read"
            header = pa.schema([(name, pa.string()) for name in find(source).columns])
            sample = engine.keep(ibis.memtable(header.empty_table()), path)
        columns = [column for column in sample.columns if column != SOURCE_ROW]
        return cls(source, columns, sample, seen(engine, sample, columns), problem)

    def deepen(self, engine: Engine) -> None:
        """Read more of a file that is used."""
        try:
            self.source, self.sample = _first_rows(engine, self.source, SAMPLE)
        except InputError as error:
            self.problem = self.problem or f"{error}; its first {SAMPLE_ROWS:,} rows were read, and no more"

    @property
    def path(self) -> str:
        """The file's path."""
        return self.source.path

    @property
    def size(self) -> int:
        """Bytes on disk."""
        file = Path(self.path)
        parts = file.rglob("*.parquet") if file.is_dir() else [file]
        return sum(part.stat().st_size for part in parts)

    def time_formats(self, engine: Engine, name: str) -> dict[str, str]:
        """The formats that read a text column's times; see ``sniff.time_formats``."""
        if not self.seen[name].is_text or self.seen[name].mostly(self.seen[name].numbers):
            return {}
        times = self.sample.select(time=words(self.sample[name])).drop_null().distinct().limit(TIMES)
        return time_formats(engine.fetch(times)["time"].to_pylist())

    def empty_share(self, engine: Engine, name: str) -> float:
        """The share of rows without an id."""
        missing = identifier(self.sample[name]).isnull().mean()
        return float(engine.fetch(self.sample.aggregate(share=missing))["share"][0].as_py() or 0)

    def describe(self, engine: Engine, item: str, names: Sequence[str]) -> list[str]:
        """The columns that describe the item and not the purchase: the same on nearly all rows of an item.

        By Goodman and Kruskal's lambda: how much rarer the item's most frequent value is wrong than the most frequent
        value of all. Items with one row are no evidence; without two other items every column is returned.
        """
        cells = {name: words(self.sample[name]) for name in names}
        rows = self.sample.select(item=identifier(self.sample[item]), **cells)
        rows = rows.filter(rows["item"].notnull())
        times = rows.group_by("item").aggregate(times=rows.count()).filter(lambda counted: counted["times"] > 1)
        rows = engine.keep(rows.semi_join(times, "item"), self.path)
        total, described = engine.count(rows), []
        if engine.count(rows.select("item").distinct()) <= 1:
            return [*names]
        for name in names:
            pairs = rows.group_by("item", name).aggregate(n=rows.count())
            within = pairs.group_by("item").aggregate(n=pairs["n"].max())
            overall = pairs.group_by(name).aggregate(n=pairs["n"].sum())
            sums = within.aggregate(by_item=within["n"].sum()).cross_join(overall.aggregate(by_all=overall["n"].max()))
            by_item, by_all = engine.fetch(sums).to_pylist()[0].values()
            if by_item - by_all >= EXPLAINED * (total - by_all) > 0:
                described.append(name)
        engine.drop(rows)
        return described


def _first_rows(engine: Engine, source: Source, rows: int) -> tuple[Source, ir.Table]:
    """A file's first rows, and its source: without quotes if it cannot be read with them, because of 5" pipe.

    Raises:
        InputError: if it cannot be read either way.
    """
    try:
        return source, engine.keep(engine.read(source, rows), source.path)
    except InputError:
        suffix = suffix_of(source.path)
        if source.csv is None and suffix not in DELIMITERS:
            raise
        csv = source.csv or Csv(delimiter=DELIMITERS[suffix])
        unquoted = source.model_copy(update={"csv": csv.model_copy(update={"quote": ""})})
        with suppress(InputError):
            return unquoted, engine.keep(engine.read(unquoted, rows), source.path)
        raise


def seen(engine: Engine, sample: ir.Table, columns: Sequence[str]) -> dict[str, Column]:
    """Statistics of each column's first cells."""
    first = sample.limit(SAMPLE_ROWS)
    texts = engine.keep(first.select(**{f"text{index}": words(first[name]) for index, name in enumerate(columns)}), "")
    figures: dict[str, ir.Value] = {}
    for index, name in enumerate(columns):
        text, cell = texts[f"text{index}"], sample[name]
        value = text.try_cast("float64")
        is_number = value.notnull() | text.re_search(DECIMAL_COMMA)
        is_time = ibis.or_(text.re_search(ISO_TIME), *(value.between(low, high) for low, high in TIME_NUMBERS))
        figures |= {
            f"filled{index}": text.count(),
            f"distinct{index}": text.nunique(),
            f"numbers{index}": is_number.sum(),
            f"fractions{index}": (is_number & text.re_search(FRACTION)).sum(),
            f"excel_days{index}": text.replace(",", ".").try_cast("float64").between(*EXCEL_DAYS).sum(),
            f"times{index}": text.count() if cell.type().is_timestamp() or cell.type().is_date() else is_time.sum(),
        }
    row = engine.fetch(texts.aggregate(**figures)).to_pylist()[0]
    engine.drop(texts)
    return {
        name: Column(
            **{key: row[f"{key}{index}"] or 0 for key in FIGURES}, is_text=bool(sample[name].type().is_string())
        )
        for index, name in enumerate(columns)
    }


def tables(engine: Engine, folder: Path) -> tuple[list[Table], list[str]]:
    """The files that can be read, and the reasons for those that cannot."""
    readable, broken = [], []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "_", "~$")):  # the last is Excel's mark of an open file
            continue
        if entry.is_dir() and not any(entry.rglob("*.parquet")):
            broken.append(f"{entry}: a folder without Parquet files; give it to 'crossrec init' by itself")
        elif suffix_of(entry.name) in SPREADSHEETS:
            broken.append(f"{entry}: a spreadsheet; save it as .xlsx or CSV")
        else:
            try:
                readable.append(Table.read(engine, str(entry)))
            except (InputError, UnavailableError) as error:
                broken.append(str(error))
    return readable, broken
