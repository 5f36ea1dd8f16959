"""What a folder's files seem to be, from their columns' names and what is in them."""

from __future__ import annotations

import pandas as pd
import pytest
from facts import fails, lacking

from crossrec_cli.config.schema import Runtime
from crossrec_cli.data import engine
from crossrec_cli.data.guess import guess
from crossrec_cli.data.profile import Table
from crossrec_cli.errors import InputError


@pytest.fixture
def guessed(tmp_path):
    """Guess at files of these names and contents: ``guessed({"a.csv": "user,item\\n1,2\\n"}, user_id="user")``."""

    def run(files, **given):
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        with engine.connect("duckdb", tmp_path / ".scratch", Runtime(num_threads=1)) as tables:
            return guess(tables, tmp_path, {name: [column] for name, column in given.items()})

    return run


def lines(header, *rows, times=1):
    return "\n".join([header, *rows * times]) + "\n"


def test_purchases_and_not_their_pairs_are_counted_where_one_file_is_both(guessed):
    found = guessed({"a.csv": lines("user,item,time,category", *(f"{u},{i},2024-01-01,{c}" for u, i, c in ROWS))})
    assert found.categories == {"X": 3, "Y": 1}


ROWS = [(1, "a", "X"), (1, "a", "X"), (2, "a", "X"), (2, "b", "Y")]


def test_an_item_of_two_categories_counts_in_the_most_frequent(guessed):
    found = guessed(
        {"a.csv": lines("user,item,time,category", "1,a,2024-01-01,X", "2,a,2024-01-01,Y", "3,a,2024-01-01,Y")}
    )
    assert found.categories == {"Y": 3}
    assert found.target == "*", "of one category alone there is nothing to cross"


@pytest.mark.parametrize(
    ("header", "row", "interactions", "items"),
    [
        (
            "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
            "5363,85123A,Holder,6,12/13/2010 8:26,2.55,17850,France",
            {"user_id": "CustomerID", "item_id": "StockCode", "timestamp": "InvoiceDate", "quantity": "Quantity"},
            {"item_id": "StockCode", "price": "UnitPrice"},
        ),
        (
            "Name,Email,Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Vendor",
            "#1,a@b.c,2024-01-02 10:00:00 +0100,1,Tea,2.50,T-1,Acme",
            {"user_id": "Email", "item_id": "Lineitem sku", "timestamp": "Created at", "quantity": "Lineitem quantity"},
            {"item_id": "Lineitem sku", "brand": "Vendor", "price": "Lineitem price"},
        ),
        (
            "session_id,listing_id,pos,domain",
            "s1,77,1,Books",
            {"user_id": "session_id", "item_id": "listing_id", "order": "pos"},
            {"item_id": "listing_id", "category": "domain"},
        ),
        (
            "Kunde,Kundennummer,Artikel,Artikelnummer,Bestelldatum,Warengruppe,Marke,Preis,Menge",
            'Ann,7,Tee,A1,24.12.2023,Food,Acme,"2,50",1',
            {"user_id": "Kundennummer", "item_id": "Artikelnummer", "timestamp": "Bestelldatum", "quantity": "Menge"},
            {"item_id": "Artikelnummer", "category": "Warengruppe", "brand": "Marke", "price": "Preis"},
        ),
        (
            "用户,商品,时间,类别,品牌,价格,数量",
            "7,茶,2024-01-02 10:00:00,Food,Acme,2.50,1",
            {"user_id": "用户", "item_id": "商品", "timestamp": "时间", "quantity": "数量"},
            {"item_id": "商品", "category": "类别", "brand": "品牌", "price": "价格"},
        ),
    ],
)
def test_words_for_columns(guessed, header, row, interactions, items):
    found = guessed({"a.csv": lines(header, row, times=3)})
    assert found.interactions.means == interactions
    assert found.items.means == items
    assert not found.interactions.missing


def test_a_column_that_is_named_goes_before_its_words(guessed):
    text = lines(
        "Debitor,user,ArtX,item,Tag,time,Gruppe", "7,1,a,2,2024-05-01,2024-01-01,G", "8,1,b,2,2024-05-01,2024-01-01,H"
    )
    named = {"user_id": "Debitor", "item_id": "ArtX", "timestamp": "Tag", "category": "Gruppe"}
    found = guessed({"a.csv": text}, **named)
    assert found.interactions.means | found.items.means == named
    assert found.categories == {"G": 1, "H": 1}
    with fails(InputError, "'Debitr'", "'Debitor'"):
        guessed({}, user_id="Debitr")


def test_times_are_found_by_what_is_in_them(guessed):
    header = "user,item,when,day,note"
    found = guessed({"a.csv": lines(header, "1,a,13.01.2024,7,x", "1,b,14.01.2024,8,y")})
    assert found.interactions.means["timestamp"] == "when"
    assert [*found.time_formats] == ["%d.%m.%Y"]
    found = guessed(
        {"a.csv": lines("user,item,time", "1,a,2024-01-13 10:00:00 +0100", "1,b,2024-01-14 10:00:00 +0100")}
    )
    assert [*found.time_formats] == ["%Y-%m-%d %H:%M:%S %z"]
    found = guessed({"a.csv": lines("user,item,time", "1,a,2024-01-13T10:00:00Z", "1,b,2024-01-14T10:00:00+01:00")})
    assert found.interactions.means["timestamp"] == "time"
    assert not found.time_formats
    found = guessed({"a.csv": lines("user,item,born,seen", "1,a,1999-01-01,2024-01-01", "1,b,1999-01-01,2024-01-01")})
    assert found.interactions.missing == ["timestamp"], "of two that no name tells apart neither is taken"


def test_days_that_are_no_times_give_the_order(guessed):
    found = guessed({"a.csv": lines("user,item,day", "1,a,40148.42", "1,b,711")})
    assert found.interactions.means["order"] == "day"


def test_a_text_of_order_lines_says_something_of_the_item(guessed):
    rows = [f"{number % 3},i{number % 4},2024-01-01,Tea {number % 4},c{number % 5} town,shop" for number in range(60)]
    found = guessed({"a.csv": lines("user,item,time,words,place,all", *rows)})
    assert found.items.rest == ["words"]
    assert found.items.table is found.interactions.table


def test_an_items_file_needs_neither_a_category_nor_a_known_name_of_its_id(guessed):
    purchases = lines("user,item,time", *(f"u{number % 5},i{number % 7},2024-01-01" for number in range(70)))
    goods = lines("no,title,price", *(f"i{number},Tea {number},2.5" for number in range(9)))
    people = lines("no,town", *(f"u{number},{'ab'[number % 2]}" for number in range(5)))
    found = guessed({"a.csv": purchases, "goods.csv": goods, "people.csv": people})
    assert found.items.means == {"item_id": "no", "price": "price"}
    assert found.items.rest == ["title"]
    assert found.users.means == {"user_id": "no"}
    assert found.users.rest == ["town"]
    assert found.target == "*"
    assert not found.passed_over


def test_what_repeats_like_an_id_is_named_first(guessed):
    rows = [f"{number % 6},i{number % 7},2024-01-01,{number},{number % 2},1.{number % 9 + 1}" for number in range(84)]
    found = guessed({"a.csv": lines("Wer,item,time,line,flag,sum", *rows)})
    assert found.interactions.missing == ["user_id"]
    assert found.interactions.likely("user_id") == ["Wer"]


def test_rows_without_a_user_are_counted(guessed):
    found = guessed(
        {"a.csv": lines("user,item,time", "1,a,2024-01-01", ",b,2024-01-01", " ,c,2024-01-01", "2,a,2024-01-01")}
    )
    assert found.guests == 0.5


def test_inches_are_no_quotes(guessed):
    rows = [f'{number},i{number},2024-01-01,"{number}" pipe' for number in range(5)]
    found = guessed({"a.csv": lines("user,item,time,title", *rows)})
    assert found.interactions.table.source.csv.quote == ""


def test_of_a_file_that_is_torn_far_down_the_beginning_counts(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(lines("user,item", "1,a", "1,b"))
    with engine.connect("duckdb", tmp_path / ".scratch", Runtime(num_threads=1)) as tables:
        table = Table.read(tables, str(file))
        file.write_text(lines("user,item", "1,a", "1,b", "7,8,9"))  # as if it stood far behind what is looked at
        table.deepen(tables)
        assert tables.count(table.sample) == 2
    assert "line 4" in table.problem


def test_parts_of_one_export_are_read_by_a_glob(guessed):
    text = lines("user,item,time", "1,a,2024-01-01", "2,a,2024-01-01")
    found = guessed({"2023.csv": text, "2024.csv": text + "3,b,2024-02-01\n"})
    assert found.interactions.table.path.endswith("2024.csv")
    assert ["glob" in reason for reason in found.passed_over] == [True]


def test_a_file_that_is_torn_further_down_is_named_and_its_columns_are_known(guessed):
    found = guessed(
        {"a.csv": lines("user,item,time", "1,a,2024-01-01", *["1,b,2024-01-01"] * 5, "1,b,2024-01-01,7,8,9")}
    )
    assert found.interactions.means == {"user_id": "user", "item_id": "item", "timestamp": "time"}
    assert len(found.torn) == 1
    assert not lacking(found.torn[0], "a.csv", "line 8", 3, 4)
    assert not found.passed_over


def test_what_cannot_be_read_is_named(guessed, tmp_path):
    (tmp_path / "inside").mkdir()
    files = {"torn.parquet": "PAR1", "a.xlsx": "x", "b.png": "x", "empty.csv": "", "notes.txt": "nothing"}
    found = guessed(files)
    assert found.interactions.table is None
    names = ["inside", *files]
    assert [sum(name in reason for reason in found.passed_over) for name in names] == [1] * len(names)
    assert len(found.passed_over) == len(names)


def test_lists_and_numbers_of_parquet_files(guessed, tmp_path):
    rows = {"user": [1, 1, 2], "item": [7, 8, 7], "time": pd.to_datetime(["2024-01-01"] * 3)}
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    goods = {"item": [7, 8], "categories": [["A", "B"], ["C"]], "more": [{"x": 1}, {"x": 2}]}
    pd.DataFrame(goods).to_parquet(tmp_path / "b.parquet")
    found = guessed({})
    assert found.interactions.means == {"user_id": "user", "item_id": "item", "timestamp": "time"}
    assert found.categories == {"A": 2, "C": 1}


def test_what_a_column_is_called_it_must_also_hold(guessed):
    header = "user,item,time,Vorgang,Bewertung,Menge"
    found = guessed({"a.csv": lines(header, *(f"1,i{n},2024-01-01,V{n},fine {n},{n}" for n in range(40)))})
    assert found.interactions.means == {"user_id": "user", "item_id": "item", "timestamp": "time", "quantity": "Menge"}
    assert found.events == {}
