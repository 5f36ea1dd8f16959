"""How a column is read, by what stands in all of it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import fails, lacking
from small import BASE, cleaned, kinds, measured, reasons, ruled, table, write

from crossrec_cli.config.data_fields import Clean
from crossrec_cli.config.schema import Runtime
from crossrec_cli.config.source_fields import Source
from crossrec_cli.data import engine
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.data.readings import Origin, read_cells
from crossrec_cli.errors import InputError


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    with engine.connect("duckdb", tmp_path_factory.mktemp("engine") / "scratch", Runtime()) as opened:
        yield opened


@pytest.fixture
def column(tables, tmp_path):
    """What a column's cells mean, and which way was chosen."""

    def read(kind: str, cells: list, of: pa.DataType | None = None, time_format: str | None = None):
        path = tmp_path / "x.parquet"
        pq.write_table(pa.table({"cell": pa.array(cells, of or pa.string())}), path)
        raw = tables.read(Source(path=str(path)))
        ledger = Ledger(tables, Clean())
        origin = Origin("shop items", str(path), "data.items", time_format)
        found = read_cells(tables, raw, {"ours": "cell"}, {"ours": kind, "absent": "id"}, origin, ledger)
        kept = tables.fetch(raw.select("source_row", **found).order_by("source_row"))["ours"].to_pylist()
        return kept, [reading for *_, reading in ledger.readings]

    return read


DAYS = [
    ({"45292": datetime(2024, 1, 1), "45292.5": datetime(2024, 1, 1, 12)}, "Excel's days"),
    ({"45292,25": datetime(2024, 1, 1, 6), "2024-01-02": datetime(2024, 1, 2)}, "Excel's days"),
    ({"45292": datetime(2024, 1, 1), "13/02/2024": datetime(2024, 2, 13)}, "Excel's days"),
    ({"45292": datetime(1970, 1, 1, 12, 34, 52), "1714521600": datetime(2024, 5, 1)}, None),
    ({"20000": datetime(1970, 1, 1, 5, 33, 20)}, None),
]


@pytest.mark.parametrize(("cells", "chosen"), DAYS)
def test_numbers_are_days_of_excel_where_nearly_all_of_a_column_can_be(column, cells, chosen):
    assert column("time", list(cells)) == (list(cells.values()), [chosen] if chosen else [])


@pytest.mark.parametrize("of", [pa.int64(), pa.float64()])
def test_numbers_without_text_are_days_of_excel_too(column, of):
    days = [datetime(2024, 1, 1) + timedelta(days=number) for number in range(20)]
    empty = datetime(1970, 1, 1)
    cells = [*range(45292, 45292 + len(days)), 0]  # what Excel shows of an empty cell that a formula copies
    assert column("time", cells, of) == ([*days, empty], ["Excel's days"])
    exact = datetime(2024, 1, 1, 14, 30)
    assert column("time", [45292 + 14.5 / 24], pa.float64()) == ([exact], ["Excel's days"])


NUMBERS = [
    ("decimal comma", {"5.950": 5950, "750": 750, "12,99": 12.99, "1,234": 1.234}),
    ("decimal comma", {"5.950": 5950, "750": 750}),  # decimals of three digits, and others without any
    ("decimal comma", {"1.234.567": 1234567, "5.950": 5950}),
    ("decimal point", {"5.950": 5.95, "7500": 7500}),  # 7500 has no separator, so 5950 would have none
    ("decimal point", {"5.950": 5.95, "0.750": 0.75, "3": 3}),
    ("decimal point", {"5.950": 5.95, "12.000": 12}),
    ("decimal point", {"5.950": 5.95, "12.99": 12.99, "1,234": 1234, "750": 750}),
    ("decimal point", {"1.234": 1.234, "1,234,567": 1234567, "750": 750}),
    (None, {"750": 750, "7500": 7500, "free": None}),
]


@pytest.mark.parametrize(("reading", "cells"), NUMBERS)
def test_a_columns_decimals_are_of_one_kind(column, reading, cells):
    found, chosen = column("number", list(cells))
    assert dict(zip(cells, found, strict=True)) == cells
    assert chosen == ([reading] if reading else [])


def test_day_or_month_first_as_the_whole_column_says(column):
    first, second = datetime(2009, 12, 1, 10, 6), datetime(2009, 1, 12)
    found, chosen = column("time", ["01/12/2009 10:06", "12/01/2009", "31/12/2009", None])
    assert (found[:2], chosen) == ([first, second], ["day first"])
    found, chosen = column("time", ["12/01/2009 10:06:00 AM", "01/12/2009", "12/31/2009"])
    assert (found[:2], chosen) == ([first, second], ["month first"])


def test_times_in_iso_8601_alone_are_read_as_among_others(column):
    """Such a column is read by a shorter expression."""
    cells = ["2024-02-29", "2023-02-29", "2024-13-01", "0000-01-01", "9999-12-31T23:59:59.999999", None]
    cells += ["2024-02-01 10:05", "2024-02-01T10:05:06.25Z", "2024-02-01T23:30:00-05:00", "0001-01-01T00:30+01:00"]
    cells += ["2024-02-01T25:00", "2024-02-01T10:05:06+0130", "2024-02-01T10:05+01"]
    alone, _ = column("time", cells)
    among, _ = column("time", [*cells, "1.5.2024", "1714521600", " 2024-02-01"])
    assert alone == among[: len(cells)]
    assert alone[:5] == [datetime(2024, 2, 29), None, None, None, datetime(9999, 12, 31, 23, 59, 59, 999999)]
    assert alone[8] == datetime(2024, 2, 2, 4, 30)
    assert among[len(cells) :] == [datetime(2024, 5, 1), datetime(2024, 5, 1), datetime(2024, 2, 1)]


@pytest.mark.parametrize("cells", [["01/12/2009 10:06", "12/01/2009"], ["31/12/2009", "12/31/2009"]])
def test_ambiguous_dates_name_a_value_the_column_and_the_key(column, cells):
    with fails(InputError, cells[0], "'cell'", "data.items.timestamp_format") as caught:
        column("time", cells)
    formats = re.findall("'(%[^']+)'", str(caught.value))
    assert {datetime.strptime("11/12/2009 10:06"[: 16 if "%H" in one else 10], one).day for one in formats} == {11, 12}
    found, chosen = column("time", cells, None, "%d/%m/%Y")
    assert found[-1] == {"12/01/2009": datetime(2009, 1, 12), "12/31/2009": None}[cells[-1]]
    assert chosen == ["%d/%m/%Y"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [(pa.float64(), 2.0**53), (pa.float64(), 1.5), (pa.float32(), 2.0**24), (pa.float64(), -(2.0**60))],
)
def test_a_float_id_that_is_not_one_integer_is_an_error_that_says_how_to_write_ids(column, kind, value):
    limit = "2^24" if kind == pa.float32() else "2^53"
    with fails(InputError, "x.parquet", "'cell'", "data.items", value, limit, "text", "int64"):
        column("id", [1.0, None, value], kind)


def test_other_float_ids_are_integers(column):
    assert column("id", [1.0, None, float("nan"), float("inf"), 2.0**53 - 1], pa.float64())[0] == [
        "1", None, None, None, "9007199254740991",
    ]  # fmt: skip


IDS = range(2**53, 2**53 + 70)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["interactions", "items", "users"])
def test_ids_as_floats_beyond_2_53_merge_nothing(tmp_path, part):
    """A left join in pandas makes int64 ids floats, of which 70 become 35."""
    rows = pd.DataFrame({"user": IDS, "item": IDS, "time": "2024-01-01"})
    items = pd.DataFrame({"item": IDS, "kind": "book", "title": "x"})
    users = pd.DataFrame({"user": IDS, "town": "X"})
    tables = [rows, items, users]
    tables[part] = tables[part].astype({tables[part].columns[0]: float})
    with fails(InputError, f"'{tables[part].columns[0]}'", 2.0**53, "2^53", "text", "int64"):
        cleaned(write(tmp_path, shop=tuple(tables)))


def test_ids_that_were_floats_before_they_became_text_are_the_same_ids(tmp_path):
    rows = table("user item time", BASE + "13758 1 2024-01-01\n 13758 2 2024-01-02")
    items = kinds("r0", "b0", "b1", "1.0", "2.0")
    users = table("user town", "13758.0 X")
    found = cleaned(write(tmp_path, shop=(rows, items, users)))
    assert found["users"].set_index("user_id")["tags"].map(list).to_dict() == {"13758": ["town=X"], "base": []}
    assert set(found["interactions"]["item_id"]) == {"r0", "b0", "b1", "1", "2"}
    listed = measured(found, "listed_users")
    assert listed == {("in the users file", "shop"): 1, ("with an interaction", "shop"): 1}


def rejected_as(folder: Path, **columns: list) -> str:
    """Why all the rows are refused where they are too many: the message."""
    rows = pd.DataFrame({"user": "u", "item": "b0"} | columns)
    shop = write(folder, shop=(rows, kinds("r0", "b0", "b1")))
    shop.config["data"]["clean"]["max_rejected"] = 0.05
    with fails(InputError) as caught:
        ruled(shop)
    return str(caught.value)


def test_numbers_that_are_no_times_are_too_early_not_1970(tmp_path):
    early = table("user item time", BASE + "u b0 40148.42\n u b0 2009\n u b0 200912\n u b1 20091201100600")
    found = ruled(write(tmp_path, shop=(early, kinds("r0", "b0", "b1"))))
    assert reasons(found) == dict.fromkeys((4, 5, 6), "too early")
    mine = found["interactions"].query("user_id == 'u'")
    assert mine["timestamp"].tolist() == [pd.Timestamp("2009-12-01 10:06:00")]
    told = rejected_as(tmp_path, time=[2009.5, 2010.5])
    assert not lacking(told, "too early 2", "'time'", "'2009.5'", "data.clean.earliest")


def test_an_unreadable_time_names_a_value_the_column_and_the_key(tmp_path):
    told = rejected_as(tmp_path, time=["2024-01-01", "1.12.09 8:26"])
    assert not lacking(told, "row 2", "'time'", "'1.12.09 8:26'", "data.platforms[0].interactions.timestamp_format")


def test_the_format_of_an_interactions_file(tmp_path):
    rows = table("user item time", "u r0 01.12.09\n u b0 02.12.09\n u b1 03.12.09")
    shop = write(tmp_path, shop=(rows, kinds("r0", "b0", "b1")))
    shop.config["data"]["platforms"][0]["interactions"]["timestamp_format"] = "%d.%m.%y"
    times = ruled(shop)["interactions"]["timestamp"]
    assert times.tolist() == [pd.Timestamp(f"2009-12-0{day}") for day in (1, 2, 3)]
