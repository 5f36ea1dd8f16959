"""Similar items, and how they are related."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from facts import check_failed

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.files import SIMILAR
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.ranking.similar_items import ADDITION, ALIKE, BOUGHT, INSTEAD, SimilarItems
from crossrec_cli.runtime.progress import Silent


def similar_to(crossrec, shop, *items: str) -> dict[str, pd.DataFrame]:
    done = crossrec("similar", shop.path, *items, "--json", "--k", "8")
    assert done.exit_code == 0, done.output
    return {item: pd.DataFrame(rows) for item, rows in json.loads(done.stdout)["similar"].items()}


def test_a_record_leads_to_the_books_of_its_taste_and_a_book_to_others(trained, crossrec):
    lists = similar_to(crossrec, trained, "jazz-record-3", "metal-record-5", "jazz-book-2")
    assert list(lists) == ["jazz-record-3", "metal-record-5", "jazz-book-2"]
    for item, rows in lists.items():
        taste = item.split("-")[0]
        assert (rows["rank"] == np.arange(1, 9)).all()
        assert rows["score"].is_monotonic_decreasing
        assert rows["similar_item_id"].str.startswith(f"{taste}-book").mean() >= 0.75, item
    assert "jazz-book-2" not in set(lists["jazz-book-2"]["similar_item_id"])
    assert set(lists["jazz-record-3"]["kind"]) <= {ADDITION, ALIKE}, "a book is of another category than a record"


def test_all_lists_are_those_of_each_item(trained, crossrec):
    assert crossrec("similar", trained.path, "--all", "--k", "8").exit_code == 0
    table = pd.read_parquet(trained.run_dir / SIMILAR)
    assert table["item_id"].nunique() == 156
    one = similar_to(crossrec, trained, "blues-record-7")["blues-record-7"]
    of_all = table[table["item_id"] == "blues-record-7"].drop(columns="item_id").reset_index(drop=True)
    pd.testing.assert_frame_equal(of_all, one, check_dtype=False, rtol=1e-5)
    elsewhere = trained.folder / "elsewhere.parquet"
    assert crossrec("similar", trained.path, "--all", "--k", "2", "--out", elsewhere).exit_code == 0
    assert len(pd.read_parquet(elsewhere)) == 312


@pytest.fixture
def priced(trained) -> SimilarItems:
    """The planted shop, where half of the jazz books cost ten times as much and one has no category."""
    config = load_config(trained.path)
    recommender = Recommender(config, inputs_of(config, "recommend"), Silent())
    items = recommender.dataset.items.to_pandas()
    items["price"] = np.where(items["item_id"].str.endswith(("1", "3", "5", "7", "9")), 50.0, 5.0)
    items.loc[items["item_id"] == "jazz-book-6", "category"] = None
    schema = recommender.dataset.items.schema
    object.__setattr__(recommender.dataset, "items", pa.Table.from_pandas(items, schema, preserve_index=False))
    return SimilarItems(recommender)


def test_what_serves_instead_is_of_one_category_at_a_price_that_is_near(priced):
    ids = priced.recommender.dataset.items[c.ITEM_ID].to_pylist()
    (table,) = priced.lists(np.array([ids.index("jazz-book-2")]), 35)
    kinds = {row["similar_item_id"]: row["kind"] for row in table.to_pylist()}
    assert kinds["jazz-book-4"] == kinds["jazz-book-8"] == INSTEAD
    assert kinds["jazz-book-3"] in (BOUGHT, ALIKE), "its price is ten times as high"
    assert kinds["jazz-book-6"] in (BOUGHT, ALIKE), "its category is unknown"
    assert ADDITION not in kinds.values(), "all are books"


def test_rules_keep_items_from_the_lists(trained, crossrec):
    block = trained.folder / "block.csv"
    block.write_text("item_id\njazz-book-4\n")
    rule = ["--set", f"recommend.rules.block={block}"]
    done = crossrec("similar", trained.path, "jazz-book-2", "--json", "--k", "36", *rule)
    rows = json.loads(done.stdout)["similar"]["jazz-book-2"]
    assert len(rows) == 34, "36 books, without the item itself and the blocked one"
    assert "jazz-book-4" not in {row["similar_item_id"] for row in rows}


@pytest.mark.parametrize(
    "wrong", [[], ["jazz-book-2", "--all"], ["jazz-book-2", "--out", "x.parquet"], ["x", "--k", "0"]]
)
def test_wrong_options_end_it(trained, crossrec, wrong):
    assert crossrec("similar", trained.path, *wrong).exit_code == ExitCode.CONFIG


def test_an_item_that_is_not_there_ends_it(trained, crossrec):
    check_failed(crossrec("similar", trained.path, "jazz-book-2", "gone"), ExitCode.INPUT, "gone")
