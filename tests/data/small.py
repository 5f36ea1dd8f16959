"""Small shops written row by row, for tests whose answer is worked out by hand."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from conftest import Shop

from crossrec_cli.config.load import load_config
from crossrec_cli.data import engine
from crossrec_cli.data.catalogue import assign_domains, price_bands, read_items
from crossrec_cli.data.clean import ROW_RULES, clean
from crossrec_cli.data.interactions import columns_to_carry, read_interactions
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.data.row_rules import decayed, duplicates, no_bots, no_repeats, no_returns

INTERACTIONS = {
    "user": "user_id",
    "item": "item_id",
    "time": "timestamp",
    "order": "order",
    "event": "event",
    "quantity": "quantity",
    "rating": "rating",
}
ITEMS = {"item": "item_id", "kind": "category", "brand": "brand", "price": "price", "language": "language"}
BASE = """
    base  r0  2024-01-01
    base  b0  2024-01-02
    base  b1  2024-01-03
"""
"""Somebody with a test and a validation purchase, without whom there is nothing to split."""


def table(columns: str, text: str) -> pd.DataFrame:
    """Rows of words, as text; ``-`` is a missing one. Rows with fewer words miss the last ones."""
    names = columns.split()
    return pd.read_csv(io.StringIO(text), sep=r"\s+", names=names, dtype=str, na_values=["-"], keep_default_na=False)


def kinds(*names: str) -> pd.DataFrame:
    """Items of these ids: b… are books, the target, and all others are records; the title is the id."""
    rows = [{"item": name, "kind": "book" if name.startswith("b") else "record", "title": name} for name in names]
    return pd.DataFrame(rows)


def write(folder: Path, **platforms: tuple[pd.DataFrame, ...]) -> Shop:
    """A shop that reads these tables: of each platform the interactions, the items, and perhaps the users.

    Columns are mapped by their names, all of the users' but ``user`` are tags, and nothing is too few.
    """
    folder.mkdir(exist_ok=True)
    found = []
    for name, (rows, items, *users) in platforms.items():
        rows.to_parquet(folder / f"{name}-interactions.parquet")
        items.to_parquet(folder / f"{name}-items.parquet")
        platform = {
            "name": name,
            "interactions": {
                "path": str(folder / f"{name}-interactions.parquet"),
                "columns": {ours: column for column, ours in _mapped(INTERACTIONS, rows)},
            },
            "items": {
                "path": str(folder / f"{name}-items.parquet"),
                "columns": {ours: column for column, ours in _mapped(ITEMS, items)},
                "text": "{title}",
            },
        }
        if users:
            users[0].to_parquet(folder / f"{name}-users.parquet")
            platform["users"] = {
                "path": str(folder / f"{name}-users.parquet"),
                "columns": {"user_id": "user"},
                "tags": [column for column in users[0].columns if column != "user"],
            }
        found.append(platform)
    config = {
        "run_dir": str(folder / "run"),
        "data": {
            "platforms": found,
            "min_interactions": {"user": 0, "item": 0},
            "clean": {"max_rejected": 1.0},
            "detect_language": False,
        },
        "domains": {"target": {"category": "book"}},
        "runtime": {"num_threads": 1},
    }
    return Shop(folder, config)


def _mapped(names: dict[str, str], rows: pd.DataFrame) -> list[tuple[str, str]]:
    return [(column, ours) for column, ours in names.items() if column in rows.columns]


def reasons(found: dict[str, pd.DataFrame], of: str = "interactions") -> dict[int, str]:
    """Why each row of a table's one file was left out."""
    rows = found["rejected"]
    rows = rows[rows["table"] == of]
    assert rows["row"].is_unique
    return dict(zip(rows["row"], rows["reason"], strict=True))


def measured(found: dict[str, pd.DataFrame], measure: str) -> dict[tuple[str, str | None], float]:
    """A measure's figures by label and other."""
    rows = found["quality"]
    rows = rows[rows["measure"] == measure]
    assert not rows.duplicated(["label", "other"]).any()
    return {(row.label, None if pd.isna(row.other) else row.other): row.value for row in rows.itertuples()}


GUESTS = 0.25
"""The share of ``order_lines`` without a customer."""


def order_lines(folder: Path) -> Path:
    """A German shop's raw export: one table of order lines, with guests, and neither an items file nor a category.

    Semicolons, dd.mm.yyyy, decimal commas, Windows-1252. Each of 60 customers buys goods of one word in their names.
    """
    rng = np.random.default_rng(0)
    words = ["Käse", "Soße", "Müsli", "Tee – grün"]
    rows = []
    for order in range(480):
        customer = order // 4 % 60
        for line, number in enumerate(rng.choice(12, int(rng.integers(1, 5)), replace=False), 1):
            item = customer % 4 * 12 + int(number)
            rows.append(
                {
                    "Belegnummer": f"R{order:05}",
                    "Pos": line,
                    "Kundennummer": "" if order % 4 == 0 else str(10_000 + customer),
                    "Bestelldatum": f"{pd.Timestamp('2023-01-05') + pd.Timedelta(days=order):%d.%m.%Y}",
                    "Artikelnummer": f"A{item:03}",
                    "Bezeichnung": f"{words[item // 12]} {item} g",
                    "Menge": int(rng.integers(1, 4)),
                    "Einzelpreis": f"{1 + item % 7},{item:02}",
                    "Land": "AT" if order % 9 == 0 else "DE",
                }
            )
    folder.mkdir()
    pd.DataFrame(rows).to_csv(folder / "bestellungen.csv", sep=";", index=False, encoding="cp1252")
    return folder


def cleaned(shop: Shop) -> dict[str, pd.DataFrame]:
    """What cleaning alone leaves and rejects, in half the time of the whole stage.

    A column in which all interactions would agree is not there.
    """
    config = load_config(shop.path)
    rejected = Path(tempfile.mkdtemp(dir=shop.folder)) / "rejected.parquet"
    with engine.connect("duckdb", rejected.parent / ".scratch", config.runtime) as tables:
        ledger = Ledger(tables, config.data.clean)
        done = clean(tables, config, ledger)
        ledger.write(rejected)
        rows = done.rows.inner_join(done.left_users, "user_key").inner_join(done.left_items, "item_key")
        rows = rows.inner_join(done.users.select("user_key", "user_id"), "user_key")
        rows = rows.inner_join(done.items.select("item_key", "item_id"), "item_key").rename(timestamp="clock")
        if "user_number" in rows.columns:
            ids = done.user_ids.select("user_number", "platform", "original_user_id")
            rows = rows.inner_join(ids, "user_number")
        kept = {
            "interactions": tables.fetch(rows.order_by("user_key", "timestamp", "item_key")).to_pandas(),
            "items": tables.fetch(done.items).to_pandas(),
            "users": tables.fetch(done.users).to_pandas(),
        }
        if done.item_links is not None:
            kept["item_links"] = tables.fetch(done.item_links).to_pandas()
    quality = pd.DataFrame(ledger.measures, columns=["measure", "label", "other", "value"])
    return kept | {"rejected": pd.read_parquet(rejected), "quality": quality}


def ruled(shop: Shop) -> dict[str, pd.DataFrame]:
    """What the rules for rows alone leave of one platform's interactions and reject, whatever the items: in a fifth of
    ``cleaned``'s time.
    """
    config = load_config(shop.path)
    rejected = Path(tempfile.mkdtemp(dir=shop.folder)) / "rejected.parquet"
    with engine.connect("duckdb", rejected.parent / ".scratch", config.runtime) as tables:
        ledger = Ledger(tables, config.data.clean)
        rows = read_interactions(tables, config.data, 0, None, ledger)
        rows = rows.rename(user_key="original_user_id", item_key="original_item_id")
        rows = rows.select("source_row", "user_key", "item_key", "clock", "reason", *columns_to_carry(config.data))
        rows, repeats = duplicates(tables.keep(rows, "interactions"), config.data)
        rows = tables.keep(rows, "interactions")
        rows = ledger.remove_flagged(rows, [*ROW_RULES, *repeats], "interactions", first=True)
        for rule in (no_returns, no_repeats, no_bots):
            rows = rule(tables, rows, config.data, ledger)
        rows = decayed(tables, rows, config.data).order_by("user_key", "clock", "item_key")
        kept = tables.fetch(rows.rename(user_id="user_key", item_id="item_key", timestamp="clock")).to_pandas()
        ledger.write(rejected)
    return {"interactions": kept, "rejected": pd.read_parquet(rejected)}


def catalogue(shop: Shop) -> pd.DataFrame:
    """The items with their domains and price bands, as they are read."""
    config = load_config(shop.path)
    with engine.connect("duckdb", Path(tempfile.mkdtemp(dir=shop.folder)) / ".scratch", config.runtime) as tables:
        items = read_items(tables, config.data, Ledger(tables, config.data.clean))
        items = items.rename(item_id="original_item_id")
        return tables.fetch(price_bands(assign_domains(tables, items, config.domains))).to_pandas()


def planned(folder, more, **clean):
    """The base rows and these, under other cleaning rules."""
    rows = pd.concat([table("user item time", BASE), table("user item time", more)])
    shop = write(folder, shop=(rows, kinds("r0", "r1", "b0", "b1")))
    shop.config["data"]["clean"] |= clean
    return shop


def with_base(folder, columns, more, **of_base):
    """The base's rows with further columns, alike in all of them, then more rows."""
    base, rows = table("user item time", BASE).assign(**of_base), table(f"user item time {columns}", more)
    return write(folder, shop=(pd.concat([base, rows]), kinds("r0", "b0", "b1")))


def days_of(found, user):
    """Day of February and weight of each of a user's interactions."""
    rows = found["interactions"]
    rows = rows[rows["user_id"] == user]
    return [(row.timestamp.day, row.weight) for row in rows.itertuples()]


def zstd(content: bytes) -> bytes:
    written = pa.BufferOutputStream()
    with pa.CompressedOutputStream(written, "zstd") as stream:
        stream.write(content)
    return written.getvalue().to_pybytes()
