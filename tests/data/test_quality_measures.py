"""The figures of quality.parquet, against pandas on what was kept."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from conftest import preprocess
from small import BASE, kinds, measured, table, write

SHARES = ["0.01", "0.02", "0.05", "0.1", "0.2", "0.3", "0.5", "0.75", "1.0"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A shop with 140 target items; the category Media has source and target below it, Rest has 17 categories."""
    rng = np.random.default_rng(4)
    size = 4000
    rows = pd.DataFrame(
        {"user": rng.integers(0, 90, size), "item": (rng.zipf(1.2, size) * 7 + rng.integers(0, 5, size)) % 300}
    )
    rows.loc[rows["user"] < 20, "item"] = rows["item"] % 140  # buy in the target alone
    rows.loc[rows["user"] >= 70, "item"] = 140 + rows["item"] % 160
    rows.loc[:299, "item"], rows.loc[:299, "user"] = np.arange(300), rng.integers(20, 70, 300)  # everything is bought
    rows["time"] = pd.Timestamp("2023-11-15") + pd.to_timedelta(rng.integers(0, 200 * 24, size), unit="h")
    kind = [
        "Media > Book" if item < 140 else f"Media > Disc > {item}" if item < 150 else f"C{item % 17:02} > x"
        for item in range(300)
    ]
    items = pd.DataFrame({"item": range(300), "title": "x", "kind": kind})
    shop = write(tmp_path_factory.mktemp("shop"), shop=(rows.astype({"user": str}), items))
    shop.config["domains"]["target"]["category"] = "Media > Book"
    shop.config["data"]["min_interactions"] = {"user": 3, "item": 1}
    tables = preprocess(shop)
    widest = tables["items"].set_index("item_index")["category"].str.split(" > ").str[0]
    tables["interactions"]["widest"] = tables["interactions"]["item_index"].map(widest)
    return tables


def test_sizes_and_density_of_source_and_target(found):
    rows = found["interactions"]
    figures = {name: measured(found, name) for name in ("interactions", "users", "items", "density")}
    for domain, part in rows.groupby("domain"):
        users, items = part["user_id"].nunique(), part["item_id"].nunique()
        assert figures["interactions"][domain, None] == len(part)
        assert figures["users"][domain, None] == users
        assert figures["items"][domain, None] == items
        assert figures["density"][domain, None] == pytest.approx(len(part) / (users * items))
    both = set.intersection(*(set(part["user_id"]) for _, part in rows.groupby("domain")))
    assert figures["users"]["both", None] == len(both)
    assert 0 < len(both) < min(figures["users"]["source", None], figures["users"]["target", None])


def test_how_much_the_most_bought_items_take(found):
    figures = measured(found, "popularity")
    assert set(figures) == {(share, domain) for share in SHARES for domain in ("source", "target")}
    for domain, part in found["interactions"].groupby("domain"):
        sizes = part["item_id"].value_counts()
        for share in SHARES:
            head = -(-len(sizes) * Fraction(share) // 1)  # rounded up
            assert figures[share, domain] == pytest.approx(sizes.head(int(head)).sum() / len(part)), (share, domain)
    assert (
        found["items"]["domain"].value_counts()["target"] == 140
    )  # of which 5 % are 7, but 7.000000000000001 in floats


def test_users_shared_by_the_largest_widest_categories(found):
    """A category with both source and target below it is two: what they share is what matters."""
    rows = found["interactions"]
    name = rows["widest"] + np.where(rows["widest"] == "Media", " (" + rows["domain"] + ")", "")
    buyers = rows.groupby(name)["user_id"].agg(set)
    largest = buyers.map(len).sort_values(ascending=False, kind="stable").index[:15]
    assert len(largest) < len(buyers)
    figures = measured(found, "shared_users")
    assert {len(buyers[name]) for name, _ in figures} == {len(buyers[name]) for name in largest}
    for (one, other), n in figures.items():
        assert n == len(buyers[one] & buyers[other])
    assert ("Media (source)", "Media (target)") in figures
    names = {one for one, _ in figures}
    assert len(names) == 15
    assert set(figures) == {(one, other) for one in names for other in names if buyers[one] & buyers[other]}


def test_interactions_per_month(found):
    months = found["interactions"]["timestamp"].dt.strftime("%Y-%m").value_counts().to_dict()
    assert measured(found, "per_period") == {(month, "shop"): n for month, n in months.items()}
    assert len(months) > 6


def test_what_spans_many_years_is_counted_by_the_year_and_by_platform(tmp_path):
    one = table("user item time", BASE + "ann r0 2018-03-01\n ann b0 2018-05-01")
    two = table("user item time", BASE)
    shop = write(tmp_path, one=(one, kinds("r0", "b0", "b1")), two=(two, kinds("r0", "b0", "b1")))
    found = preprocess(shop)
    assert measured(found, "per_period") == {("2018", "one"): 2, ("2024", "one"): 3, ("2024", "two"): 3}


def test_with_an_order_alone_there_are_no_periods(tmp_path):
    rows = table("user item order", "base r0 1\n base b0 2\n base b1 3")
    found = preprocess(write(tmp_path, shop=(rows, kinds("r0", "b0", "b1"))))
    assert measured(found, "per_period") == {}
    assert measured(found, "interactions") == {("source", None): 1, ("target", None): 2}


def test_what_was_left_out_is_counted_by_table_and_each_step_by_what_it_left(tmp_path):
    rows = table("user item time", BASE + "base b0 2024-02-01\n ann r0 2024-02-01\n - r0 2024-02-01")
    users = pd.DataFrame({"user": ["base", "base", None]})
    found = preprocess(write(tmp_path, shop=(rows, pd.concat([kinds("r0", "b0", "b1")] * 2), users)))
    removed = {key: n for key, n in measured(found, "removed").items() if n}
    assert removed == {
        ("repeat of an id", "items"): 3,
        ("repeat of an id", "users"): 1,
        ("missing user id", "users"): 1,
        ("missing user id", "interactions"): 1,
        ("repeat of user and item", "interactions"): 1,
    }
    assert measured(found, "interactions_left")["read", None] == 6
    assert measured(found, "interactions_left")["clean", None] == 4
    assert measured(found, "users_left")["clean", None] == 2
    assert measured(found, "items_left")["clean", None] == 3
