"""Files that people hand in are read as preprocess reads its own, and their ids are those of the tables."""

from __future__ import annotations

from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from facts import fails

from crossrec_cli.config.schema import Runtime
from crossrec_cli.data import engine
from crossrec_cli.data.cells import identifier
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.data.ids import as_id, as_ids
from crossrec_cli.errors import InputError

IDS = pa.schema([pa.field("user_id", pa.string(), nullable=False), pa.field("item_id", pa.string())])
PADDED = [" ann ", "\u3000bob\n", "\ufeff7", "a b", "NA", "null", "nan", "None"]
PLAIN = ["ann", "bob", "7", "a b", "NA", "null", "nan", "None"]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet", "txt"])
def test_padded_ids_are_those_of_the_tables_and_words_stay_words(tmp_path, form):
    path, rows = tmp_path / f"file.{form}", pd.DataFrame({"user_id": PADDED, "item_id": PADDED})
    if form == "parquet":
        rows.to_parquet(path)
    elif form == "jsonl":
        rows.to_json(path, orient="records", lines=True)
    else:
        rows.to_csv(path, index=False, sep="\t" if form == "tsv" else ",")
    found = read_file(path, "--users", IDS)
    assert found["user_id"].to_pylist() == found["item_id"].to_pylist() == PLAIN


def test_one_rule_for_an_id_wherever_it_enters(tmp_path):
    """The tables' rule, that of single ids and that of several give the same, and refuse the same."""
    strange = ["", " \t", "a\x00b", "\x1f"]
    frame = ibis.memtable(pa.table({"id": [*PADDED, *strange]}))
    with engine.connect("duckdb", tmp_path / "scratch", Runtime()) as tables:
        of_tables = tables.fetch(frame.select(id=identifier(frame["id"])))["id"].to_pylist()
    assert of_tables == [*PLAIN, *[None] * len(strange)]
    assert as_ids(PADDED, "--user").to_pylist() == [as_id(value) for value in PADDED] == PLAIN
    for value in strange:
        with fails(ValueError):
            as_id(value)
        with fails(InputError, "--user"):
            as_ids(["a", value], "--user")
    assert [as_id(value) for value in (1, 1.0, -3.0, 2.0**53 - 1)] == ["1", "1", "-3", "9007199254740991"]
    for number in (1.5, 2.0**53, float("nan"), float("inf")):
        with fails(ValueError, number):
            as_id(number)


def test_float_ids_are_whole_numbers_or_an_error(tmp_path):
    path = tmp_path / "users.parquet"
    pd.DataFrame({"user_id": [1.0, 2.0**53 - 1], "item_id": [np.nan, 3.0]}).to_parquet(path)
    found = read_file(path, "--users", IDS)
    assert found["user_id"].to_pylist() == ["1", "9007199254740991"]
    assert found["item_id"].to_pylist() == [None, "3"]
    for number in (1.5, 2.0**53):
        pd.DataFrame({"user_id": [1.0, number], "item_id": [1, 2]}).to_parquet(path)
        with fails(InputError, "--users", path, "row 2", "user_id", number):
            read_file(path, "--users", IDS)


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"user_id,item_id\na,b\n  ,c\n", ["row 2", "user_id"]),
        (b"user_id,item_id\na,b\nc\x01d,c\n", ["row 2", "user_id", r"'c\x01d'"]),
        (b"user,item_id\na,b\n", ["'user_id'", "user", "item_id"]),
        (b"user_id,item_id\na,b,c\n", ["line 2", 2, 3]),
        (b"", []),
        (None, []),
    ],
)
def test_what_cannot_be_read_is_one_line_that_begins_with_the_key(tmp_path, content, facts):
    path = tmp_path / "file.csv"
    if content is not None:
        path.write_bytes(content)
    with fails(InputError, path, *facts) as caught:
        read_file(path, "--users", IDS)
    assert str(caught.value).startswith("--users: ")


def test_a_number_is_a_number_or_an_error_with_its_row(tmp_path):
    schema = pa.schema([*IDS, pa.field("factor", pa.float64(), nullable=False)])
    path = Path(tmp_path / "boosts.csv")
    path.write_text("user_id,item_id,factor\na,NA,2\nb,c,NA\n")
    with fails(InputError, "recommend.rules.boosts", path, "row 2", "factor", "'NA'"):
        read_file(path, "recommend.rules.boosts", schema)
    path.write_text("user_id,item_id,factor\na,NA,2\n")
    assert read_file(path, "recommend.rules.boosts", schema).to_pylist() == [
        {"user_id": "a", "item_id": "NA", "factor": 2.0}
    ]
