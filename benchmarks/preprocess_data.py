"""Purchases at a chosen size for benchmarks/preprocess.py: a shop's items and interactions, with the usual flaws."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SEED = 7
CHUNK = 1_000_000
TARGET_CATEGORIES = ["t1", "t2", "t3"]
CATEGORIES = [*TARGET_CATEGORIES, *(f"s{number}" for number in range(1, 18))]
DAY = 24 * 60 * 60
START = 1_672_531_200  # 2023-01-01 in seconds since 1970
DAYS = 730
FUTURE = 4_070_908_800  # 2099-01-01
MISSING = -1

Numbers = npt.NDArray[np.int64]


def generate(folder: Path, rows: int) -> None:
    """Write items.parquet and interactions.parquet; the same number of rows gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    shop = Shop(rows)
    _write(folder / "items.parquet", (_items(shop, start) for start in range(0, shop.items, CHUNK)))
    chunks = (_interactions(shop, start, min(CHUNK, rows - start)) for start in range(0, rows, CHUNK))
    _write(folder / "interactions.parquet", chunks)


class Shop:
    """How much each user buys, and how often each item is bought."""

    def __init__(self, rows: int) -> None:
        self.users = max(rows // 20, 1)
        self.items = max(min(1_000_000, rows // 10), 1)
        shuffle = np.random.default_rng(SEED)
        self.user_of_rank = shuffle.permutation(self.users)
        self.item_of_rank = shuffle.permutation(self.items)
        exponential = -np.log((np.arange(self.users) + 0.5) / self.users)  # purchases a user: geometric
        self.user_shares = np.cumsum(exponential) / exponential.sum()
        zipf = 1 / np.arange(1, self.items + 1)
        self.item_shares = np.cumsum(zipf) / zipf.sum()

    def draw_users(self, random: np.random.Generator, size: int) -> Numbers:
        """Users, the active ones more often."""
        return self.user_of_rank[np.searchsorted(self.user_shares[:-1], random.random(size))]

    def draw_items(self, random: np.random.Generator, size: int) -> Numbers:
        """Items, the popular ones more often."""
        return self.item_of_rank[np.searchsorted(self.item_shares[:-1], random.random(size))]


def _write(path: Path, chunks: Iterator[pa.Table]) -> None:
    first = next(chunks)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for chunk in chunks:
            writer.write_table(chunk)


def _ids(prefix: str, numbers: Numbers, digits: int) -> pa.Array:
    text = pc.utf8_lpad(pa.array(numbers, mask=numbers == MISSING).cast(pa.string()), digits, "0")
    return pc.binary_join_element_wise(prefix, text, "")


def _interactions(shop: Shop, start: int, rows: int) -> pa.Table:
    """Purchases in baskets, 5 % of them again later, 0.2 % by a machine in one day, 1 % twice; some of them damaged."""
    random = np.random.default_rng([SEED, 1, start])
    again, by_machine, twice = rows // 20, rows // 500, rows // 100
    honest = rows - again - by_machine - twice
    user = shop.draw_users(random, honest)
    item = shop.draw_items(random, honest + by_machine)
    time = _visits(user, random)
    repeated = random.integers(honest, size=again)
    machine_time = START + random.integers(DAYS) * DAY + random.integers(DAY, size=by_machine)
    machine = np.full(by_machine, shop.users + start // CHUNK)
    user = np.concatenate([user, machine, user[repeated]])
    item = np.concatenate([item, item[repeated]])
    time = np.concatenate([time, machine_time, time[repeated] + _delays(again, random)])
    _damage(shop, user, item, time, random)
    order = random.permutation(np.concatenate([np.arange(len(user)), random.integers(len(user), size=twice)]))
    seconds = pa.array(time[order], mask=time[order] == MISSING)
    return pa.table(
        {
            "user_id": _ids("U", user[order], 8),
            "item_id": _ids("B", item[order], 9),
            "timestamp": seconds.cast(pa.timestamp("s")).cast(pa.timestamp("us")),
        }
    )


def _visits(user: Numbers, random: np.random.Generator) -> Numbers:
    """Times of purchases: each user comes at twelve moments, so that baskets share theirs."""
    visit = (user * 12 + random.integers(12, size=len(user))).astype(np.uint64)
    scattered = (visit * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return START + (scattered % np.uint64(DAYS * DAY)).astype(np.int64)


def _delays(size: int, random: np.random.Generator) -> Numbers:
    """Seconds until the same is bought again; one in ten is a double click."""
    click = random.random(size) < 0.1
    return np.where(click, random.integers(1, 6, size=size), random.integers(60, 30 * DAY, size=size))


def _damage(shop: Shop, user: Numbers, item: Numbers, time: Numbers, random: np.random.Generator) -> None:
    """Missing users, items that are not in the catalogue, missing and future times; in place."""
    user[random.random(len(user)) < 0.002] = MISSING
    item[random.random(len(item)) < 0.003] += shop.items
    time[random.random(len(time)) < 0.002] = MISSING
    time[random.random(len(time)) < 0.001] = FUTURE


def _items(shop: Shop, start: int) -> pa.Table:
    """The catalogue: categories evenly over popular and rare items; one id in 5,000 missing, one row in 1,000 twice."""
    random = np.random.default_rng([SEED, 2, start])
    rank = np.arange(start, min(start + CHUNK, shop.items))
    number = shop.item_of_rank[rank]
    number[random.random(len(rank)) < 0.0002] = MISSING
    share = ((rank + 1) * 0.6180339887498949) % 1
    category = np.where(share < 0.1, share * 30, 3 + (share - 0.1) / 0.9 * 17).astype(np.int64)
    words = pa.array(_words())
    brand = words.take(pa.array(random.integers(len(words), size=len(rank)), mask=random.random(len(rank)) < 0.1))
    table = pa.table(
        {
            "item_id": _ids("B", number, 9),
            "category": pa.array(CATEGORIES).take(pa.array(category)),
            "brand": pc.utf8_capitalize(brand),
            "price": pa.array(_prices(len(rank), random)),
            "title": _titles(words, len(rank), random),
        }
    )
    return table.take(np.concatenate([np.arange(len(rank)), random.integers(len(rank), size=len(rank) // 1000)]))


def _words() -> list[str]:
    """Four thousand words."""
    syllables = [consonant + vowel for consonant, vowel in product("bdfgklmnprstvz", "aeiou")]
    return ["".join(word) for word in islice(product(syllables, repeat=3), 0, 340_000, 85)]


def _titles(words: pa.Array, size: int, random: np.random.Generator) -> pa.Array:
    """Three to eight words; one in fifty as HTML, one in a thousand missing."""
    length = random.integers(3, 9, size=size)
    columns = [words.take(pa.array(random.integers(len(words), size=size), mask=length <= nth)) for nth in range(8)]
    title = pc.utf8_capitalize(pc.binary_join_element_wise(*columns, " ", null_handling="skip"))
    marked = pc.binary_join_element_wise("<b>", title, "</b> &amp; ", columns[0], "")
    title = pc.if_else(pa.array(random.random(size) < 0.02), marked, title)
    return pc.if_else(pa.array(random.random(size) < 0.001), pa.scalar(None, pa.string()), title)


def _prices(size: int, random: np.random.Generator) -> list[str]:
    """Prices as three kinds of people type them."""
    amounts = random.lognormal(3, 1.2, size=size)
    return [
        (f"${amount:,.2f}", f"{amount:.2f} €".replace(".", ","), f"{amount:.2f}")[form]
        for amount, form in zip(amounts, random.integers(3, size=size), strict=True)
    ]
