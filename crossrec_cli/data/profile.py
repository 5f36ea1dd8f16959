"""The files of a folder as tables, and what the cells of each column look like."""

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
from crossrec_cli.data.cells import identifier, words
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.raw_files import DELIMITERS, SOURCE_ROW, find
from crossrec_cli.data.sniff import SPREADSHEETS, SURE, TEXT_FILES, layout, suffix_of, time_formats
from crossrec_cli.errors import InputError

SAMPLE = 1_000_000
"""Rows that are read of a file that is of use."""
SAMPLE_ROWS = 10_000
"""Rows of each file whose columns are looked at."""
TIMES = 50_000
"""Different times on which a date format is tried."""
REPEATED = 1.2
"""How often an id is there on average, at least, where it says who bought or what."""
EXPLAINED = 0.8
"""What an item's id must say of a column, for the column to describe the item: 0 is nothing, 1 is everything."""

DECIMAL_COMMA = r"^[-+]?\d{1,3}(\.?\d{3})*,\d+$"
FRACTION = r"^[-+]?[\d.,]*[.,]\d+$"

ISO_TIME = r"^(199\d|20\d\d)-(0[1-9]|1[0-2])-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$"
_SINCE_1970 = [(631_152_000 * unit, 4_102_444_800 * unit) for unit in (1, 10**3, 10**6, 10**9)]
_DATES = [(19_900_101 * 10**zeros, 21_001_231 * 10**zeros) for zeros in (0, 4, 6)]
TIME_NUMBERS = [*_SINCE_1970, *_DATES]
"""Numbers that are times from 1990 to 2100: seconds, milliseconds and so on since 1970, and 20240501."""
FIGURES = ("filled", "distinct", "numbers", "fractions", "times")


@dataclass(frozen=True)
class Column:
    """What was seen in the cells of one column."""

    filled: int
    """Cells with something in them."""
    distinct: int
    numbers: int
    """Cells that read as a number."""
    fractions: int
    """Cells that read as a number that is not whole."""
    times: int
    """Cells that read as a time without more being said."""
    is_text: bool

    @property
    def repeats(self) -> bool:
        """Whether it repeats as an id does: each value some times, and not a few values all the time."""
        return self.filled >= REPEATED * self.distinct and self.distinct >= max(2, sqrt(self.filled) / 2)

    def mostly(self, count: int) -> bool:
        """Whether so many cells are nearly all that are filled."""
        return count >= SURE * self.filled > 0


@dataclass
class Table:
    """One file, or a folder of Parquet parts."""

    source: Source
    columns: list[str]
    sample: ir.Table
    """Its first rows: those looked at, and after ``deepen`` many more."""
    seen: dict[str, Column]
    problem: str = ""
    """Why no more of it could be read."""

    @classmethod
    def read(cls, engine: Engine, path: str) -> Table:
        """Look at the beginning of a file, or at its header where nothing else can be read.

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
            problem = f"{error}; its header alone was read"
            header = pa.schema([(name, pa.string()) for name in find(source).columns])
            sample = engine.keep(ibis.memtable(header.empty_table()), path)
        columns = [column for column in sample.columns if column != SOURCE_ROW]
        return cls(source, columns, sample, seen(engine, sample, columns), problem)

    def deepen(self, engine: Engine) -> None:
        """Read more of a file that is of use."""
        try:
            self.source, self.sample = _first_rows(engine, self.source, SAMPLE)
        except InputError as error:
            self.problem = self.problem or f"{error}; its first {SAMPLE_ROWS:,} rows alone were read"

    @property
    def path(self) -> str:
        """Where it is."""
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
        """Those of the columns that say something of the item, and not of the purchase: the same on nearly all rows.

        By Goodman and Kruskal's lambda: how much seldomer the most frequent value of the item is wrong than the most
        frequent value of all. Items with one row say nothing; without two others every column is taken.
        """
        cells = {name: words(self.sample[name]) for name in names}
        rows = self.sample.select(item=identifier(self.sample[item]), **cells)
        rows = rows.filter(rows["item"].notnull())
        times = rows.group_by("item").aggregate(times=rows.count()).filter(lambda counted: counted["times"] > 1)
        rows = engine.keep(rows.semi_join(times, "item"), self.path)
        total, found = engine.count(rows), []
        if engine.count(rows.select("item").distinct()) <= 1:
            return [*names]
        for name in names:
            pairs = rows.group_by("item", name).aggregate(n=rows.count())
            within = pairs.group_by("item").aggregate(n=pairs["n"].max())
            overall = pairs.group_by(name).aggregate(n=pairs["n"].sum())
            sums = within.aggregate(by_item=within["n"].sum()).cross_join(overall.aggregate(by_all=overall["n"].max()))
            by_item, by_all = engine.fetch(sums).to_pylist()[0].values()
            if by_item - by_all >= EXPLAINED * (total - by_all) > 0:
                found.append(name)
        engine.drop(rows)
        return found


def _first_rows(engine: Engine, source: Source, rows: int) -> tuple[Source, ir.Table]:
    """A file's first rows, and how it is read: without quotes, as in 5" pipe, if it is not read with them.

    Raises:
        InputError: if it is read neither way.
    """
    try:
        return source, engine.keep(engine.read(source, rows), source.path)
    except InputError:
        suffix = suffix_of(source.path)
        if source.csv is None and suffix not in DELIMITERS:
            raise
        written = source.csv or Csv(delimiter=DELIMITERS[suffix])
        unquoted = source.model_copy(update={"csv": written.model_copy(update={"quote": ""})})
        with suppress(InputError):
            return unquoted, engine.keep(engine.read(unquoted, rows), source.path)
        raise


def seen(engine: Engine, sample: ir.Table, columns: Sequence[str]) -> dict[str, Column]:
    """What is in the first cells of each column."""
    first = sample.limit(SAMPLE_ROWS)
    texts = engine.keep(first.select(**{f"text{place}": words(first[name]) for place, name in enumerate(columns)}), "")
    figures: dict[str, ir.Value] = {}
    for place, name in enumerate(columns):
        text, cell = texts[f"text{place}"], sample[name]
        value = text.try_cast("float64")
        is_number = value.notnull() | text.re_search(DECIMAL_COMMA)
        is_time = ibis.or_(text.re_search(ISO_TIME), *(value.between(low, high) for low, high in TIME_NUMBERS))
        figures |= {
            f"filled{place}": text.count(),
            f"distinct{place}": text.nunique(),
            f"numbers{place}": is_number.sum(),
            f"fractions{place}": (is_number & text.re_search(FRACTION)).sum(),
            f"times{place}": text.count() if cell.type().is_timestamp() or cell.type().is_date() else is_time.sum(),
        }
    row = engine.fetch(texts.aggregate(**figures)).to_pylist()[0]
    engine.drop(texts)
    return {
        name: Column(
            **{key: row[f"{key}{place}"] or 0 for key in FIGURES}, is_text=bool(sample[name].type().is_string())
        )
        for place, name in enumerate(columns)
    }


def tables(engine: Engine, folder: Path) -> tuple[list[Table], list[str]]:
    """What can be read, and what cannot and why."""
    found, broken = [], []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir() and not any(entry.rglob("*.parquet")):
            broken.append(f"{entry}: a folder without Parquet files; give it to 'crossrec init' by itself")
        elif suffix_of(entry.name) in SPREADSHEETS:
            broken.append(f"{entry}: a spreadsheet; save it as CSV")
        else:
            try:
                found.append(Table.read(engine, str(entry)))
            except InputError as error:
                broken.append(str(error))
    return found, broken
