"""What `crossrec preprocess` does with the data of benchmarks/preprocess.py, as a Polars script.

pip install polars
python benchmarks/preprocess_in_polars.py FOLDER_WITH_THE_DATA FOLDER_FOR_THE_RESULT

Lazy queries on the streaming engine, ids as numbers from the first join on, as somebody who knows Polars well would do.
"""

from __future__ import annotations

import hashlib
import html
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from preprocess_data import SEED

TARGET = ["t1", "t2", "t3"]
PRIME = 2**31 - 1
"""Random numbers of ids are from 1 to below it."""
SPLITS = pl.Enum(["held_out", "test", "train", "valid"])


class Log:
    """The rows that were dropped and why, and how many were left after each step."""

    def __init__(self) -> None:
        self.rejected: list[pl.DataFrame] = []
        self.left: list[tuple[str, int]] = []

    def sift(self, rows: pl.LazyFrame, reasons: dict[str, pl.Expr], table: str = "interactions") -> pl.DataFrame:
        """The rows that no reason is true of; the others are noted with the first that is."""
        first = pl.coalesce(pl.when(bad).then(pl.lit(reason)) for reason, bad in reasons.items())
        rows = rows.with_columns(reason=first.cast(pl.Enum(list(reasons))))
        noted = pl.col("^(user|item|user_id|item_id|row|reason)$")
        good, bad = pl.col("reason").is_null(), pl.col("reason").is_not_null()
        kept, rejected = pl.collect_all(
            [rows.filter(good).drop("reason"), rows.filter(bad).select(noted)], engine="streaming"
        )
        left = kept.height + rejected.height
        for reason in reasons:
            left -= rejected.filter(pl.col("reason") == reason).height
            self.left.append((f"{table}: {reason}", left))
        self.rejected.append(rejected.with_columns(pl.col("reason").cast(pl.String), table=pl.lit(table)))
        return kept


def main() -> None:
    """Read, clean, split, write."""
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    log = Log()
    items = clean_items(data / "items.parquet", log)
    rows, users = clean_interactions(data / "interactions.parquet", items, log)
    rows = enough_interactions(rows, log)
    rows = in_order(rows, users, items)
    rows, cases = split(rows, log)
    rejected = with_ids(pl.concat(log.rejected, how="diagonal"), users, items)
    users, items = numbered(rows, users, "user"), numbered(rows, items, "item")
    columns = ["user_index", "position", "item_index", "user_id", "item_id", "timestamp", "split"]
    cases_columns = ["split", "user_index", "item_index", "history_length"]
    tables = {
        "interactions": joined(rows, users, items).select(columns),
        "items": items.lazy().drop("item"),
        "users": users.lazy().drop("user"),
        "cases": joined(cases, users, items).select(cases_columns).sort("split", "user_index", "item_index"),
        "rejected": rejected,
        "quality": pl.LazyFrame(log.left, schema=["step", "rows"], orient="row"),
    }
    for name, table in tables.items():
        table.sink_parquet(out / f"{name}.parquet", compression="zstd", engine="streaming")


def clean_items(path: Path, log: Log) -> pl.DataFrame:
    """One row an item, with its text, price, price band and domain."""
    title, brand = pl.col("title"), pl.col("brand")
    items = (
        pl.scan_parquet(path, row_index_name="row", row_index_offset=1)
        .with_columns(clean_text("title"), clean_text("brand"), parse_price("price"))
        .select(
            "item_id",
            "category",
            "brand",
            "price",
            "row",
            domain=pl.when(pl.col("category").is_in(TARGET)).then(pl.lit("target")).otherwise(pl.lit("source")),
            text=(pl.when(title != "").then(title + ". ").otherwise(pl.lit("")) + brand).str.strip_chars(),
        )
    )
    item = pl.col("item_id")
    items = log.sift(items, {"missing id": item.is_null(), "duplicate": ~item.is_first_distinct()}, "items").lazy()
    third = (pl.col("price").rank("min") - 1) * 3 // pl.col("price").count()
    bands = pl.lit(pl.Series(["low", "middle", "high"])).gather(third.over("category"))
    items = log.sift(items.with_columns(price_band=bands), {"no text": pl.col("text") == ""}, "items").lazy()
    return items.drop("row").sort("item_id").with_row_index("item").collect(engine="streaming")


def clean_text(name: str) -> pl.Expr:
    """Without markup, control characters and needless space; empty where there is none."""
    text = pl.col(name).fill_null("").map_batches(unescape, pl.String, is_elementwise=True)
    text = text.str.replace_all(r"</?[A-Za-z][^<>]*>", " ").str.normalize("NFKC")
    return text.str.replace_all(r"[\x00-\x1f\x7f-\x9f]", " ").str.replace_all(r"\s+", " ").str.strip_chars()


def unescape(text: pl.Series) -> pl.Series:
    """Python reads HTML's entities, which Polars does not: only where there can be any."""
    escaped = text.filter(text.str.contains("&", literal=True)).unique()
    return text.replace(escaped, pl.Series([html.unescape(value) for value in escaped], dtype=pl.String))


def parse_price(name: str) -> pl.Expr:
    """Numbers from "$1,234.56", "12,99 €" and the like."""
    digits = pl.col(name).str.replace_all(r"[^0-9.,]", "")
    european = digits.str.replace_all(".", "", literal=True).str.replace_all(",", ".", literal=True)
    plain = digits.str.replace_all(",", "", literal=True)
    return pl.when(digits.str.contains(r",\d\d?$")).then(european).otherwise(plain).cast(pl.Float64, strict=False)


def clean_interactions(path: Path, items: pl.DataFrame, log: Log) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first purchase of each user and item, without what is damaged, clicked twice or done by a machine; users."""
    users = pl.scan_parquet(path).select(pl.col("user_id").unique()).collect(engine="streaming")
    users = users.drop_nulls().sort("user_id").with_row_index("user")
    rows = log.sift(*damaged(path, users, items)).drop("user_id", "item_id")
    user, item, time = pl.col("user"), pl.col("item"), pl.col("timestamp")
    pair = user.cast(pl.UInt64) * 2**32 + item
    rows = rows.sort(pair, "timestamp", "row")  # twice as fast as by user, item, time and row
    same = (user == user.shift()) & (item == item.shift())
    repeats = {
        "duplicate": same & (time == time.shift()),
        "near-duplicate": same & (time.diff() <= timedelta(seconds=5)),
        "repeat of user and item": same,
    }
    rows = log.sift(rows.lazy(), repeats)
    a_day = rows.lazy().group_by("user", time.dt.date()).len()
    machines = a_day.filter(pl.col("len") > 1000).collect(engine="streaming")
    return log.sift(rows.lazy(), {"bot": user.is_in(machines["user"].implode())}), users


def damaged(path: Path, users: pl.DataFrame, items: pl.DataFrame) -> tuple[pl.LazyFrame, dict[str, pl.Expr]]:
    """The interactions with numbers for ids, and what makes them useless."""
    rows = (
        pl.scan_parquet(path, row_index_name="row", row_index_offset=1)
        .join(users.lazy(), on="user_id", how="left")
        .join(items.lazy().select("item_id", "item"), on="item_id", how="left")
    )
    tomorrow = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    return rows, {
        "missing id": pl.col("user_id").is_null() | pl.col("item_id").is_null(),
        "missing time": pl.col("timestamp").is_null(),
        "future": pl.col("timestamp") > tomorrow,
        "unknown item": pl.col("item").is_null(),
    }


def enough_interactions(rows: pl.DataFrame, log: Log, minimum: int = 5) -> pl.DataFrame:
    """The rows of users and items with enough of them, repeated until nothing more is removed."""
    before = -1
    while rows.height != before:
        before = rows.height
        for key in ("user", "item"):
            rows = log.sift(rows.lazy(), {f"too few of {key}": pl.len().over(key) < minimum})
    return rows


def in_order(rows: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Histories in the order of time; purchases of one moment in a random order of the user's own."""
    users = numbered(rows, users, "user").select("user", of_user=pl.col("user_id").map_batches(draw, pl.Int64))
    items = numbered(rows, items, "item").select(
        "item", of_item=pl.col("item_id").map_batches(draw, pl.Int64), is_target=pl.col("domain") == "target"
    )
    return (
        joined(rows, users, items)
        .with_columns(lot=(pl.col("of_user") * pl.col("of_item") % PRIME).cast(pl.Int32))
        .select("user", "item", "timestamp", "row", "is_target", "lot")
        .sort("user", "timestamp", "lot", "item")
        .drop("lot")
        .collect(engine="streaming")
    )


def numbered(rows: pl.DataFrame, ids: pl.DataFrame, key: str) -> pl.DataFrame:
    """The users or items that are left, numbered in the order of their ids."""
    return ids.join(rows.select(pl.col(key).unique()), on=key, how="semi").sort(key).with_row_index(f"{key}_index")


def joined(rows: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> pl.LazyFrame:
    """In the same order, with what is known of each user and item."""
    with_users = rows.lazy().join(users.lazy(), on="user", how="left", maintain_order="left")
    return with_users.join(items.lazy(), on="item", how="left", maintain_order="left")


def with_ids(rejected: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> pl.LazyFrame:
    """What was dropped, with the ids in the place of numbers."""
    rows = joined(rejected, users, items.select("item", "item_id"))
    ids = [pl.coalesce(name, f"{name}_right").alias(name) for name in ("user_id", "item_id")]
    return rows.select(*ids, "table", "row", "reason")


def draw(ids: pl.Series) -> pl.Series:
    """A random number from 1 to PRIME - 1 for each id."""
    digests = (hashlib.blake2b(f"{SEED}:{value}".encode(), digest_size=8).digest() for value in ids)
    return pl.Series([1 + int.from_bytes(digest) % (PRIME - 1) for digest in digests], dtype=pl.Int64)


def split(rows: pl.DataFrame, log: Log) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Interactions and cases; again without the items that no training has, until there are none."""
    while True:
        divided, cases = leave_last_out(rows)
        trained = divided.lazy().filter(pl.col("split") == "train").select("item", trained=True).unique()
        marked = rows.lazy().join(trained, on="item", how="left", maintain_order="left")
        left = log.sift(marked, {"not in training": pl.col("trained").is_null()})
        if left.height == rows.height:
            return divided, cases
        rows = left.drop("trained")


def leave_last_out(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Each user's last target purchase is the test, the one before it validation; what is before both trains."""
    rows = with_positions(rows)
    from_the_end = pl.int_range(pl.len()).reverse().over("user")
    kinds = pl.when(from_the_end == 0).then(pl.lit("test")).when(from_the_end == 1).then(pl.lit("valid"))
    cases = rows.filter("is_target").with_columns(split=kinds.cast(SPLITS)).drop_nulls("split")
    length, position = pl.col("history_length"), pl.col("position")
    lengths = cases.group_by("user").agg(train=length.min(), test=length.filter(pl.col("split") == "test").first())
    part = (
        pl.when(pl.col("train").is_null() | (position < pl.col("train")))
        .then(pl.lit("train", SPLITS))
        .when(position < pl.col("test"))
        .then(pl.lit("valid", SPLITS))
        .otherwise(pl.lit("held_out", SPLITS))
    )
    divided = rows.lazy().join(lengths.lazy(), on="user", how="left", maintain_order="left")
    divided = divided.select("user", "position", "item", "timestamp", split=part)
    return divided.collect(engine="streaming"), cases.select("user", "item", "split", "history_length")


def with_positions(rows: pl.DataFrame) -> pl.DataFrame:
    """Each row's place in the history, and that of its moment's first; the order tells both, without groups."""
    user, time, row = pl.col("user"), pl.col("timestamp"), pl.int_range(pl.len(), dtype=pl.Int32)
    new_user = (user != user.shift()).fill_null(True)
    new_moment = new_user | (time != time.shift())
    rows = rows.with_columns(position=row - pl.when(new_user).then(row).forward_fill())
    return rows.with_columns(history_length=pl.when(new_moment).then("position").forward_fill())


if __name__ == "__main__":
    main()
