"""Excel files: what stands in their cells is read as it was meant, or not at all."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime, time

import pandas as pd
import pyarrow as pa
import pytest
from conftest import make_shop, planted_tables
from facts import check_failed, fails

from crossrec_cli.config.load import load_config
from crossrec_cli.config.schema import Runtime
from crossrec_cli.config.source_fields import Source
from crossrec_cli.data import engine
from crossrec_cli.data.cells import identifier, moment
from crossrec_cli.data.excel import write_as_parquet
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.errors import ExitCode, InputError, UnavailableError

openpyxl = pytest.importorskip("openpyxl", reason="the extra dev writes the files of these tests")
NOON = datetime(2024, 1, 1, 12)


def write(path, *rows, epoch=None):
    """A workbook of these rows, and a second sheet with others."""
    book = openpyxl.Workbook()
    if epoch:
        book.epoch = epoch
    for row in rows:
        book.active.append(row)
    book.create_sheet("other").append(["nothing"])
    book.save(path)
    return path


@pytest.fixture
def cells(tmp_path):
    """The first sheet as the engine reads it, with each column passed through a function of cells."""

    def read(*rows, of=None, **options):
        path = write(tmp_path / "x.xlsx", *rows, **options)
        with engine.connect("duckdb", tmp_path / "scratch", Runtime()) as tables:
            raw = tables.read(Source(path=str(path)))
            columns = {name: of(raw[name]) if of else raw[name] for name in raw.columns if name != "source_row"}
            return tables.fetch(raw.select("source_row", **columns).order_by("source_row")).to_pydict()

    return read


def test_a_column_of_one_kind_keeps_it_and_a_mixed_one_is_text(cells):
    rows = cells(
        ["whole", "part", "time", "mixed", None, "error", "flag"],
        [12345, 1.5, NOON, "A1", "x", "#N/A", True],
        [None] * 7,
        [7, 2, date(2024, 1, 2), 7, None, "#N/A", False],
        [8, None, None, NOON, None, None, None],
    )
    assert rows == {
        "source_row": [1, 2, 3, 4],
        "whole": [12345, None, 7, 8],
        "part": [1.5, None, 2.0, None],
        "time": [NOON, None, datetime(2024, 1, 2), None],
        "mixed": ["A1", None, "7", "2024-01-01 12:00:00"],
        "column5": ["x", None, None, None],
        "error": [None] * 4,
        "flag": ["true", None, "false", None],
    }
    assert isinstance(rows["whole"][0], int)


def test_ids_that_excel_made_numbers_are_those_of_the_shop(cells):
    rows = cells(["all", "some"], [12345.0, 12345.0], [7.0, "007"], of=identifier)
    assert rows["all"] == ["12345", "7"]
    assert rows["some"] == ["12345", "007"]


def test_times_of_both_calendars_and_numbers_of_days(cells):
    assert cells(["t"], [NOON], [time(3)], of=moment)["t"] == [NOON, None]
    assert cells(["t"], [NOON], epoch=openpyxl.utils.datetime.CALENDAR_MAC_1904)["t"] == [NOON]


def test_what_is_no_workbook_or_has_no_header_is_named(tmp_path):
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"PK\x03\x04 nothing")
    with fails(InputError, path):
        write_as_parquet(str(path), tmp_path / "copy.parquet")
    for rows in ([], [[None, None], ["user", "item"]], [["user", "User"]]):
        with fails(InputError, path):
            write_as_parquet(str(write(path, *rows)), tmp_path / "copy.parquet")
    with fails(InputError, "s3://bucket/a.xlsx"):
        write_as_parquet("s3://bucket/a.xlsx", tmp_path / "copy.parquet")


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.xlsx", ["user"], ["a"])
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with fails(UnavailableError, path, "crossrec[excel]"):
        write_as_parquet(str(path), tmp_path / "copy.parquet")


@pytest.fixture
def spreadsheets(tmp_path, tiny_bert):
    """The planted shop with all of its files as Excel files."""
    shop = make_shop(tmp_path, tiny_bert)
    for name in ("interactions", "items", "users"):
        pd.read_parquet(tmp_path / f"{name}.parquet").to_excel(tmp_path / f"{name}.xlsx", index=False)
    platform = shop.config["data"]["platforms"][0]
    for part in ("interactions", "items", "users"):
        platform[part]["path"] = platform[part]["path"].replace(".parquet", ".xlsx")
    return shop


def test_a_shop_of_spreadsheets_is_the_same_as_one_of_parquet_files(spreadsheets, tmp_path, tiny_bert, crossrec):
    (tmp_path / "other").mkdir()
    shop = make_shop(tmp_path / "other", tiny_bert)
    links = pd.DataFrame({"new": ["jazz0", "jazz1"], "old": ["metal0", "metal1"]})
    links.to_excel(tmp_path / "links.xlsx", index=False)
    links.to_parquet(tmp_path / "links.parquet")
    for one, form in ((spreadsheets, "xlsx"), (shop, "parquet")):
        ends = {side: {"platform": "shop", "id": column} for side, column in (("left", "new"), ("right", "old"))}
        one.config["data"]["identity"] = {"users": [{"path": str(tmp_path / f"links.{form}"), **ends}]}
        assert crossrec("preprocess", one.path).exit_code == 0
    for name in ("interactions", "items", "users", "cases"):
        pd.testing.assert_frame_equal(spreadsheets.table("preprocess", name), shop.table("preprocess", name))


def test_init_reads_spreadsheets_and_says_so_where_it_cannot(spreadsheets, crossrec, monkeypatch):
    for file in spreadsheets.folder.glob("*.parquet"):
        file.unlink()
    (spreadsheets.folder / "~$items.xlsx").write_bytes(b"of an open file")
    (spreadsheets.folder / "config.yaml").unlink(missing_ok=True)
    done = crossrec("init", spreadsheets.folder, "--json")
    answer, path = json.loads(done.stdout), spreadsheets.folder / "crossrec.yaml"
    assert answer["todo"] == answer["passed_over"] == []
    platform = load_config(path).data.platforms[0]
    assert platform.interactions.columns.timestamp == "time"
    assert platform.items.columns.category == "kind"
    assert platform.users.path.endswith("users.xlsx")
    path.unlink()
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    passed_over = json.loads(crossrec("init", spreadsheets.folder, "--json").stdout)["passed_over"]
    assert sum("crossrec[excel]" in reason for reason in passed_over) == 3


def test_days_as_numbers_are_times_and_init_knows_them(tmp_path, crossrec):
    _, rows = planted_tables()
    days = [(row["time"] - datetime(1899, 12, 30)).days + 0.5 for row in rows]
    purchases = pd.DataFrame(rows).assign(time=[str(day).replace(".", ",") for day in days])
    purchases.to_csv(tmp_path / "sold.csv", sep=";", index=False)
    assert json.loads(crossrec("init", tmp_path, "--json").stdout)["todo"] == []
    config = tmp_path / "crossrec.yaml"
    assert load_config(config).data.platforms[0].interactions.columns.timestamp == "time"
    assert crossrec("preprocess", config, "--set", f"run_dir={tmp_path / 'run'}").exit_code == 0
    kept = pd.read_parquet(tmp_path / "run" / "preprocess" / "current" / "interactions.parquet")
    assert set(kept["timestamp"]) == {row["time"] + pd.Timedelta(hours=12) for row in rows}


def test_a_column_in_which_excel_may_have_swapped_day_and_month_is_refused(spreadsheets, crossrec):
    path = spreadsheets.folder / "interactions.xlsx"
    rows = pd.read_excel(path, engine="openpyxl").assign(time=lambda table: table["time"].astype(object))
    rows.loc[3, "time"] = "13/02/2024"
    rows.to_excel(path, index=False)
    check_failed(crossrec("preprocess", spreadsheets.path), ExitCode.INPUT, path, "time", "13/02/2024")


def test_small_files_may_be_spreadsheets(tmp_path):
    schema = pa.schema([pa.field("user_id", pa.string(), nullable=False), pa.field("item_id", pa.string())])
    path = write(tmp_path / "new.xlsx", ["user_id", "item_id"], [1003, "a"], ["1004", 7])
    assert read_file(path, "--users", schema).to_pydict() == {"user_id": ["1003", "1004"], "item_id": ["a", "7"]}
