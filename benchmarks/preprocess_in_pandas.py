"""What `crossrec preprocess` does with the data of benchmarks/preprocess.py, as a pandas script.

python benchmarks/preprocess_in_pandas.py FOLDER_WITH_THE_DATA FOLDER_FOR_THE_RESULT [categories]

With "categories", ids become categoricals before the heavy part, as somebody who knows pandas well would do.
"""

from __future__ import annotations

import hashlib
import html
import sys
from pathlib import Path

import pandas as pd
from preprocess_data import SEED

TARGET = ["t1", "t2", "t3"]
PRIME = 2**31 - 1
"""Random numbers of ids are from 1 to below it."""
CATEGORIES = "categories" in sys.argv


class Log:
    """The rows that were dropped and why, and how many were left after each step."""

    def __init__(self) -> None:
        self.rejected: list[pd.DataFrame] = []
        self.left: list[tuple[str, int]] = []

    def drop(self, rows: pd.DataFrame, bad: pd.Series, reason: str, table: str = "interactions") -> pd.DataFrame:
        """The other rows; the bad ones are noted, with their row in the file, counted from 1."""
        ids = rows.loc[bad, [name for name in ("user_id", "item_id") if name in rows]]
        self.rejected.append(ids.assign(table=table, row=ids.index + 1, reason=reason))
        rows = rows[~bad]
        self.left.append((f"{table}: {reason}", len(rows)))
        return rows


def main() -> None:
    """Read, clean, split, write."""
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    log = Log()
    items = clean_items(pd.read_parquet(data / "items.parquet"), log)
    rows = clean_interactions(pd.read_parquet(data / "interactions.parquet"), items, log)
    rows = enough_interactions(rows, log)
    rows, items, users, cases = numbered_and_split(rows, items, log)
    tables = {
        "interactions": rows[["user_index", "position", "item_index", "user_id", "item_id", "timestamp", "split"]],
        "items": items,
        "users": users,
        "cases": cases,
        "rejected": pd.concat(log.rejected),
        "quality": pd.DataFrame(log.left, columns=["step", "rows"]),
    }
    for name, table in tables.items():
        table.to_parquet(out / f"{name}.parquet", compression="zstd", index=False)


def clean_items(items: pd.DataFrame, log: Log) -> pd.DataFrame:
    """One row an item, with its text, price, price band and domain."""
    items = log.drop(items, items["item_id"].isna(), "missing id", "items")
    title, brand = clean_text(items["title"]), clean_text(items["brand"])
    items = items[["item_id", "category"]].assign(
        domain=items["category"].isin(TARGET).map({True: "target", False: "source"}),
        brand=brand,
        price=parse_price(items["price"]),
        text=((title + ". ").where(title != "", "") + brand).str.strip(),
    )
    items = log.drop(items, items["item_id"].duplicated(), "duplicate", "items")
    prices = items.groupby("category")["price"]
    third = (prices.rank(method="min") - 1) * 3 // prices.transform("count")
    items = items.assign(price_band=third.map({0: "low", 1: "middle", 2: "high"}))
    return log.drop(items, items["text"] == "", "no text", "items")


def clean_text(text: pd.Series) -> pd.Series:
    """Without markup, control characters and needless space; empty where there is none."""
    text = text.fillna("").map(html.unescape).str.replace(r"</?[A-Za-z][^<>]*>", " ", regex=True)
    text = text.str.normalize("NFKC").str.replace(r"[\x00-\x1f\x7f-\x9f]", " ", regex=True)
    return text.str.replace(r"\s+", " ", regex=True).str.strip()


def parse_price(price: pd.Series) -> pd.Series:
    """Numbers from "$1,234.56", "12,99 €" and the like."""
    digits = price.str.replace(r"[^0-9.,]", "", regex=True)
    european = digits.str.replace(".", "").str.replace(",", ".")
    plain = digits.str.replace(",", "")
    return pd.to_numeric(european.where(digits.str.contains(r",\d\d?$"), plain), errors="coerce")


def clean_interactions(rows: pd.DataFrame, items: pd.DataFrame, log: Log) -> pd.DataFrame:
    """The first purchase of each user and item, without what is damaged, clicked twice or done by a machine."""
    rows = log.drop(rows, rows["user_id"].isna() | rows["item_id"].isna(), "missing id")
    rows = log.drop(rows, rows["timestamp"].isna(), "missing time")
    tomorrow = pd.Timestamp.now("UTC").tz_localize(None) + pd.Timedelta(days=1)
    rows = log.drop(rows, rows["timestamp"] > tomorrow, "future")
    rows = log.drop(rows, ~rows["item_id"].isin(items["item_id"]), "unknown item")
    if CATEGORIES:
        rows = rows.astype({"user_id": "category", "item_id": "category"})
    rows = rows.sort_values(["user_id", "item_id", "timestamp"])
    rows = log.drop(rows, rows.duplicated(["user_id", "item_id", "timestamp"]), "duplicate")
    since_same = rows.groupby(["user_id", "item_id"], observed=True)["timestamp"].diff()
    rows = log.drop(rows, since_same <= pd.Timedelta(seconds=5), "near-duplicate")
    rows = log.drop(rows, rows.duplicated(["user_id", "item_id"]), "repeat of user and item")
    a_day = rows.groupby(["user_id", rows["timestamp"].dt.floor("D")], observed=True)["item_id"].transform("size")
    machines = rows.loc[a_day > 1000, "user_id"].unique()
    return log.drop(rows, rows["user_id"].isin(machines), "bot")


def enough_interactions(rows: pd.DataFrame, log: Log, minimum: int = 5) -> pd.DataFrame:
    """The rows of users and items with enough of them, repeated until nothing more is removed."""
    before = -1
    while len(rows) != before:
        before = len(rows)
        for key in ("user_id", "item_id"):
            of_key = rows.groupby(key, observed=True)[key].transform("size")
            rows = log.drop(rows, of_key < minimum, f"too few of {key}")
    return rows


def numbered_and_split(
    rows: pd.DataFrame, items: pd.DataFrame, log: Log
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Interactions, items, users and cases; again without the items that no training has, until there are none."""
    while True:
        numbered, left_items, users = (number_categories if CATEGORIES else number)(rows, items)
        numbered, cases = leave_last_out(numbered)
        trained = numbered.loc[numbered["split"] == "train", "item_id"].unique()
        untrained = ~rows["item_id"].isin(trained)
        if not untrained.any():
            return numbered, left_items, users, cases
        rows = log.drop(rows, untrained, "not in training")


def number(rows: pd.DataFrame, items: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Users and items numbered in the order of their ids, and each history in the order of time."""
    items = items[items["item_id"].isin(rows["item_id"])].sort_values("item_id", ignore_index=True)
    users = pd.DataFrame({"user_id": rows["user_id"].unique()}).sort_values("user_id", ignore_index=True)
    items, users = items.assign(item_index=items.index), users.assign(user_index=users.index)
    rows = rows.merge(users, on="user_id").merge(items[["item_id", "item_index", "domain"]], on="item_id")
    rows["is_target"] = rows["domain"] == "target"
    return in_order(rows, items, users), items, users


def number_categories(rows: pd.DataFrame, items: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The same, where the categories' codes are the numbers."""
    rows = rows.assign(**{key: rows[key].cat.remove_unused_categories() for key in ("user_id", "item_id")})
    users = pd.DataFrame({"user_id": rows["user_id"].cat.categories})
    items = items.set_index("item_id").loc[rows["item_id"].cat.categories].reset_index(names="item_id")
    rows["user_index"], rows["item_index"] = rows["user_id"].cat.codes, rows["item_id"].cat.codes
    rows["is_target"] = rows["item_index"].isin(items.index[items["domain"] == "target"])
    items, users = items.rename_axis("item_index").reset_index(), users.rename_axis("user_index").reset_index()
    return in_order(rows, items, users), items, users


def in_order(rows: pd.DataFrame, items: pd.DataFrame, users: pd.DataFrame) -> pd.DataFrame:
    """Histories in the order of time; purchases of one moment in a random order of the user's own."""
    of_user = rows["user_index"].map(draw(users["user_id"])).astype("int64")
    of_item = rows["item_index"].map(draw(items["item_id"])).astype("int64")
    rows = rows.assign(lot=of_user * of_item % PRIME)
    rows = rows.sort_values(["user_index", "timestamp", "lot", "item_index"], ignore_index=True)
    rows["position"] = rows.groupby("user_index").cumcount()
    return rows


def draw(ids: pd.Series) -> pd.Series:
    """A random number from 1 to PRIME - 1 for each id."""
    digests = (hashlib.blake2b(f"{SEED}:{value}".encode(), digest_size=8).digest() for value in ids)
    return pd.Series([1 + int.from_bytes(digest) % (PRIME - 1) for digest in digests])


def leave_last_out(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Each user's last target purchase is the test, the one before it validation; what is before both trains."""
    rows["history_length"] = rows.groupby(["user_index", "timestamp"])["position"].transform("min")
    target = rows[rows["is_target"]]
    from_the_end = target.groupby("user_index").cumcount(ascending=False)
    cases = target[from_the_end < 2].assign(split=from_the_end.map({0: "test", 1: "valid"}))
    cases = cases[["split", "user_index", "item_index", "history_length"]]
    train_length = rows["user_index"].map(cases.groupby("user_index")["history_length"].min())
    test_length = rows["user_index"].map(cases[cases["split"] == "test"].set_index("user_index")["history_length"])
    rows["split"] = "held_out"
    rows.loc[test_length.isna() | (rows["position"] < test_length), "split"] = "valid"
    rows.loc[train_length.isna() | (rows["position"] < train_length), "split"] = "train"
    return rows, cases.sort_values(["split", "user_index", "item_index"])


if __name__ == "__main__":
    main()
