"""The sample shows what the README says: personal care, of many kinds, for the buyers of groceries."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from crossrec_cli.config.load import load_config

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def items() -> pd.DataFrame:
    found = pd.read_parquet(ROOT / "sample_data/items.parquet")
    found[["domain", "pool", "type"]] = found["category"].str.split(" > ", expand=True)
    return found


def test_it_is_small():
    assert sum(path.stat().st_size for path in (ROOT / "sample_data").glob("*.parquet")) < 1_000_000


def test_the_target_is_of_many_kinds_and_no_food(items):
    (target,) = load_config(ROOT / "configs/demo.yaml").domains.target.category
    found = items[items["domain"] == target]
    assert len(found) == 350
    assert set(found["department"]) == {"DRUG GM", "COSMETICS"}
    assert found["pool"].nunique() > 10
    assert found["pool"].value_counts(normalize=True).max() < 0.15
    assert found.groupby(["pool", "type"]).size().max() <= 8


def test_a_list_of_the_demo_has_at_most_two_of_a_category(items):
    config = load_config(ROOT / "configs/demo.yaml")
    assert config.recommend.rules.per_category == 2
    assert items.loc[items["domain"] == "PERSONAL CARE", "pool"].nunique() * 2 >= config.recommend.k


def test_the_texts_have_all_columns_that_tell_products_apart(items):
    (platform,) = load_config(ROOT / "configs/demo.yaml").data.platforms
    columns = ["product_type", "product_category", "brand", "manufacturer_id", "package_size"]
    assert all(f"{{{column}}}" in platform.items.text for column in columns)
    assert items[columns].drop_duplicates().shape[0] > 0.75 * len(items)
