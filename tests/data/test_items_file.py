"""What a file of items says of those that are there, and which of them another platform has already."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
from small import BASE, kinds, table, write

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import ITEMS, LISTINGS, UPDATED
from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.load import load_config
from crossrec_cli.data.items_file import MOVED, ItemChange, _as_in_catalogue
from crossrec_cli.models.dataset import load_items
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.stages import preprocess as stage


def items(*rows: tuple[str, str | None, float | None, str | None], first: int | None = 0) -> pa.Table:
    """Rows of (item_id, domain, price, text)."""
    names = (c.ITEM_ID, c.DOMAIN, c.PRICE, c.TEXT)
    of = [dict(zip(names, row, strict=True)) | {c.PLATFORM: "shop", c.CATEGORY: "books"} for row in rows]
    index = [None if first is None else first + place for place in range(len(of))]
    return pa.Table.from_pylist(
        [row | {c.ITEM_INDEX: at} for row, at in zip(of, index, strict=True)], schema=schemas.ITEMS
    )


HERE = items(("a", "target", 5.0, "one"), ("b", "source", None, "two"), ("c", "target", 7.0, "three"))


def test_new_existing_and_changed_are_told_apart():
    given = items(
        ("a", "target", 6.0, None),  # another price, and no text, which stays
        ("b", "source", 3.0, "two"),  # a price at last
        ("c", "target", 7.0, "three"),  # as it was
        ("d", "target", 1.0, "four"),
        ("e", "source", 1.0, "five"),
        ("f", None, 1.0, "six"),
        ("g", "target", 1.0, None),
        first=None,
    )
    left_out: dict[str, int] = {}
    found = ItemChange.of(given, HERE, left_out, keep=False)
    assert found.new[c.ITEM_ID].to_pylist() == ["d", "e"]
    assert found.existing[c.ITEM_ID].to_pylist() == ["a", "b", "c"]
    assert found.changed == {c.PRICE: 2}
    columns = [c.ITEM_INDEX, c.ITEM_ID, c.PRICE, c.TEXT]
    assert [list(row.values()) for row in found.rows.select(columns).to_pylist()] == [
        [0, "a", 6.0, "one"],
        [1, "b", 3.0, "two"],
    ]
    assert left_out == {MOVED: 0, "outside the domains": 1, "item without text": 1}
    kept = ItemChange.of(given, HERE, {}, keep=True)
    assert kept.new[c.ITEM_ID].to_pylist() == ["d", "e", "g"]


def test_what_changes_its_domain_is_left_as_it_is():
    left_out: dict[str, int] = {}
    given = items(("a", "source", 6.0, "one"), ("b", None, 6.0, "x"), first=None)
    found = ItemChange.of(given, HERE, left_out, keep=False)
    assert (left_out[MOVED], found.changed, found.rows.num_rows) == (2, {}, 0)


def test_changed_rows_take_the_place_of_the_catalogues(tmp_path):
    parquet.write_table(tmp_path / "items.parquet", schemas.ITEMS, HERE.to_pydict())
    parquet.write_table(
        tmp_path / "updated.parquet", schemas.ITEMS, items(("b", "source", 3.0, "2"), first=1).to_pydict()
    )
    inputs = {ITEMS: tmp_path / "items.parquet", UPDATED: tmp_path / "updated.parquet"}
    assert load_items({ITEMS: inputs[ITEMS]}).equals(HERE)
    found = load_items(inputs)
    assert found[c.TEXT].to_pylist() == ["one", "2", "three"]
    assert found[c.PRICE].to_pylist() == [5.0, 3.0, 7.0]
    assert found[c.ITEM_INDEX].to_pylist() == [0, 1, 2]


def test_an_item_that_is_linked_with_another_platforms_is_recognised(tmp_path):
    rows = table("user item time", BASE)
    other = rows.assign(item=rows["item"].map({"r0": "m0", "b0": "m1", "b1": "m2"}))
    catalogue = kinds("r0", "b0", "b1")
    shop = write(tmp_path, shop=(rows, catalogue), mall=(other, catalogue.assign(item=["m0", "m1", "m2"])))
    pd.DataFrame({"ours": ["b0"], "theirs": ["m1"]}).to_parquet(tmp_path / "links.parquet")
    link = {"left": {"platform": "shop", "id": "ours"}, "right": {"platform": "mall", "id": "theirs"}}
    shop.config["data"]["identity"] = {"items": [{"path": str(tmp_path / "links.parquet"), **link}]}
    out, config = Path(tempfile.mkdtemp(dir=tmp_path)), load_config(shop.path)
    stage.run(Job(config, {}, out, Silent(), out))
    catalogue = parquet.read_table(out / "items.parquet")
    for index, (platform, own) in enumerate({"shop": ["b0", "b1", "new"], "mall": ["m1", "m2", "new"]}.items()):
        ids = pa.chunked_array([[f"{platform}:{name}" for name in own]])
        found, linked = _as_in_catalogue(ids, config.data, index, {LISTINGS: out / "listings.parquet"}, catalogue)
        assert linked.tolist() == [platform == "mall", False, False]  # the platform named first describes it,
        assert found.to_pylist() == ["mall:m1", f"{platform}:{own[1]}", f"{platform}:new"]  # the first id names it
