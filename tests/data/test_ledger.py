"""Every row that is read is kept or written down as rejected: once, with its own file, row and reason."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from conftest import preprocess
from facts import fails, lacking
from small import BASE, cleaned, kinds, measured, reasons, ruled, table, write

from crossrec_cli.errors import InputError

EVENTS = {"view": {"weight": 0.25}, "buy": {"weight": 2.0}, "stars": {"at_least": 3}, "refund": {"returns": True}}
LATEST = datetime(2024, 3, 1)
TEXTLESS, OUTSIDE = "r-textless", "x-other"


def messy_rows(seed: int, size: int = 1500) -> pd.DataFrame:
    """All that can be wrong with a row, some of it twice over."""
    rng = np.random.default_rng(seed)
    days = rng.choice(["2024-01-0" + day for day in "123456789"], size)
    seconds = rng.choice(["00", "02", "05", "07", "12"], size)
    items = [f"b{i}" for i in range(5)] + [f"r{i}" for i in range(9)] + [TEXTLESS, OUTSIDE, "unheard-of"]
    quantities, ratings = np.array(["1", "2", "-1", "0", "many", None]), np.array(["5", "3", "2", "good", None])
    rows = pd.DataFrame(
        {
            "user": np.append([f"u{i}" for i in rng.zipf(1.3, size - 150) % 120], ["bot"] * 150),
            "item": rng.choice(items, size, p=[0.1] * 5 + [0.05] * 9 + [0.02, 0.02, 0.01]),
            "time": [f"{day}T10:00:{second}" for day, second in zip(days, seconds, strict=True)],
            "event": rng.choice(["view", "buy", "stars", "refund", "wish"], size, p=[0.3, 0.3, 0.2, 0.15, 0.05]),
            "quantity": rng.choice(quantities, size, p=[0.3, 0.2, 0.1, 0.02, 0.02, 0.36]),
            "rating": rng.choice(ratings, size, p=[0.3, 0.2, 0.1, 0.02, 0.38]),
        }
    )
    for column, wrong in (("user", None), ("item", " "), ("time", "soon"), ("time", None), ("time", "2024-03-02")):
        rows.loc[rng.choice(size, 5), column] = wrong
    return pd.concat([rows, rows.head(40)]).sample(frac=1, random_state=seed, ignore_index=True)


def number(text: str | None) -> float | None:
    return None if text in (None, "many", "good") else float(text)


def fault(row: dict) -> str | None:
    """Why a row cannot be used for what stands in it."""
    quantity, rating = number(row["quantity"]), number(row["rating"])
    category = {TEXTLESS: "record", OUTSIDE: "other"}.get(row["item"], row["item"])
    rules = {
        "missing user id": not row["user"],
        "missing item id": not row["item"] or not row["item"].strip(),
        "unreadable time": row["time"] in (None, "soon"),
        "unreadable quantity": row["quantity"] is not None and quantity is None,
        "unreadable rating": row["rating"] is not None and rating is None,
        "in the future": row["time"] not in (None, "soon") and datetime.fromisoformat(row["time"]) > LATEST,
        "unknown event": row["event"] == "wish",
        "rating too low": row["event"] == "stars" and (rating is None or rating < 3),
        "quantity zero": quantity == 0,
        "unknown item": row["item"] == "unheard-of",
        "item without text": row["item"] == TEXTLESS,
        "outside the domains": category == "other",
    }
    return next((why for why, holds in rules.items() if holds), None)


class Loop:
    """What becomes of every row, in plain Python."""

    def __init__(self, rows: list[dict], repeats: str, returns: str, near: int, bots: int, user: int, item: int):
        self.rows, self.why = rows, [fault(row) for row in rows]
        self.near, self.returns, self.repeats = near, returns, repeats
        self.pairs(self.twice)
        self.pairs(self.take_back)
        self.pairs(self.again)
        self.of_bots(bots)
        self.too_few(user, item)

    def left(self) -> list[int]:
        return [place for place, why in enumerate(self.why) if why is None]

    def pairs(self, rule) -> None:
        groups: dict[tuple, list[int]] = {}
        for place in self.left():
            groups.setdefault((self.rows[place]["user"], self.rows[place]["item"]), []).append(place)
        for places in groups.values():
            rule(sorted(places, key=self.tie_break_order))

    def tie_break_order(self, place: int) -> tuple:
        row = self.rows[place]
        numbers = [number(row[name]) for name in ("quantity", "rating")]
        return row["time"], row["event"], *((value is None, value or 0) for value in numbers), place

    def moment(self, place: int) -> datetime:
        return datetime.fromisoformat(self.rows[place]["time"])

    def is_return(self, place: int) -> bool:
        return self.rows[place]["event"] == "refund" or (number(self.rows[place]["quantity"]) or 0) < 0

    def weight(self, place: int) -> float:
        return EVENTS[self.rows[place]["event"]].get("weight", 1.0)

    def units(self, place: int) -> float:
        return abs(number(self.rows[place]["quantity"]) or 1)

    def twice(self, places: list[int]) -> None:
        seen, latest = set(), {}
        for place in places:
            kind = (self.rows[place]["event"], self.is_return(place), number(self.rows[place]["quantity"]))
            before = latest.get(kind)
            if self.tie_break_order(place)[:-1] in seen:
                self.why[place] = "duplicate"
            elif self.near and before and self.moment(place) - before <= timedelta(seconds=self.near):
                self.why[place] = "near duplicate"
            seen.add(self.tie_break_order(place)[:-1])
            latest[kind] = self.moment(place)

    def take_back(self, places: list[int]) -> None:
        back = [place for place in places if self.is_return(place)]
        rest = [place for place in places if not self.is_return(place)]
        if self.returns == "keep":
            return
        for place in back:
            self.why[place] = "a return"
        best = max((self.weight(place) for place in rest), default=0)
        bought = sum(self.units(place) for place in rest if self.weight(place) == best)
        if self.returns == "cancel" and back and sum(map(self.units, back)) >= bought:
            for place in rest:
                self.why[place] = "returned"

    def again(self, places: list[int]) -> None:
        if self.repeats == "keep":
            return
        order = {
            "strongest": lambda place: (-self.weight(place), self.tie_break_order(place)),
            "last": lambda place: (-self.moment(place).timestamp(), self.tie_break_order(place)),
        }
        stays = min(places, key=order.get(self.repeats, self.tie_break_order))
        for place in places:
            if place != stays:
                self.why[place] = "repeat of user and item"

    def of_bots(self, most: int) -> None:
        days = Counter((self.rows[place]["user"], self.moment(place).date()) for place in self.left())
        bots = {user for (user, _), n in days.items() if n > most}
        for place in self.left():
            if self.rows[place]["user"] in bots:
                self.why[place] = "by a bot"

    def too_few(self, user: int, item: int) -> None:
        core = self.left()
        while True:
            before = len(core)
            for name, least in (("user", user), ("item", item)):
                sizes = Counter(self.rows[place][name] for place in core)
                core = [place for place in core if sizes[self.rows[place][name]] >= least]
            if len(core) == before:
                break
        users = {self.rows[place]["user"] for place in core}
        for place in set(self.left()) - set(core):
            by = "item" if self.rows[place]["user"] in users else "user"
            self.why[place] = f"{by} with too few interactions"


SETTINGS = [
    {"repeats": "strongest", "returns": "cancel", "near": 5, "bots": 4, "user": 2, "item": 16},
    {"repeats": "last", "returns": "drop", "near": 2, "bots": 6, "user": 2, "item": 20},
    {"repeats": "sum", "returns": "keep", "near": 0, "bots": 5, "user": 3, "item": 20},
    {"repeats": "keep", "returns": "cancel", "near": 7, "bots": 12, "user": 4, "item": 20},
]


@pytest.mark.parametrize(("seed", "settings"), list(enumerate(SETTINGS)))
def test_every_row_of_messy_files_has_the_fate_that_a_plain_loop_gives_it(tmp_path, seed, settings):
    rows = messy_rows(seed)
    items = kinds(*(f"b{i}" for i in range(5)), *(f"r{i}" for i in range(9)), TEXTLESS, OUTSIDE)
    items.loc[items["item"] == OUTSIDE, "kind"] = "other"
    items.loc[items["item"] == TEXTLESS, "title"] = "<p> </p>"
    shop = write(tmp_path, shop=(rows, items))
    files = [tmp_path / f"part-{name}.csv" for name in "abc"]
    parts = [rows[:100], rows[100:130], rows[130:]]
    for part, file in zip(parts, files, strict=True):
        part.to_csv(file, index=False)
    platform, data = shop.config["data"]["platforms"][0], shop.config["data"]
    platform["interactions"] |= {"path": str(tmp_path / "part-*.csv"), "events": EVENTS}
    data["repeats"] = settings["repeats"]
    data["min_interactions"] = {name: settings[name] for name in ("user", "item")}
    data["clean"] |= {
        "returns": settings["returns"],
        "near_duplicates": settings["near"],
        "bots": settings["bots"],
        "latest": LATEST.isoformat(),
    }
    shop.config["domains"]["source"] = {"category": "record"}
    found = preprocess(shop)

    loop = Loop(rows.astype(object).where(rows.notna(), None).to_dict("records"), **settings)
    places = [(str(file), row + 1) for part, file in zip(parts, files, strict=True) for row in range(len(part))]
    expected = {place: why for place, why in zip(places, loop.why, strict=True) if why}
    rejected = found["rejected"]
    assert not rejected.duplicated(["file", "row"]).any()
    assert dict(zip(zip(rejected["file"], rejected["row"], strict=True), rejected["reason"], strict=True)) == expected
    assert rejected[["file", "row"]].equals(rejected[["file", "row"]].sort_values(["file", "row"], ignore_index=True))

    columns = ["original_user_id", "original_item_id", "timestamp", "event", "quantity", "rating"]
    kept = Counter(tuple(row) for row in found["interactions"][columns].astype(object).fillna("").to_numpy())
    stayed = [loop.rows[place] for place in loop.left()]
    assert kept == Counter(
        (
            row["user"],
            row["item"],
            pd.Timestamp(row["time"]),
            row["event"],
            *("" if (value := number(row[name])) is None else value for name in ("quantity", "rating")),
        )
        for row in stayed
    )
    counted = {label: n for (label, _), n in measured(found, "removed").items() if n}
    assert counted == dict(Counter(expected.values()))
    assert len(set(expected.values())) > 13


def test_rows_are_counted_from_1_in_each_file_of_each_table(tmp_path):
    rows = table("user item time", BASE + "- r0 2024-01-01\n base nothing 2024-01-01")
    items = pd.concat([kinds("r0", "b0", "b1"), pd.DataFrame({"item": [None], "kind": ["book"], "title": ["x"]})])
    users = pd.DataFrame({"user": ["base", None], "club": ["a", "b"]})
    shop = write(tmp_path, shop=(rows, items, users), other=(rows, items, users))
    rejected = preprocess(shop)["rejected"]
    found = {(row.table, row.file.rpartition("/")[2], row.row, row.reason) for row in rejected.itertuples()}
    assert found == {
        (of, f"{name}-{of}.parquet", row, why)
        for name in ("shop", "other")
        for of, row, why in [
            ("interactions", 4, "missing user id"),
            ("interactions", 5, "unknown item"),
            ("items", 4, "missing item id"),
            ("users", 2, "missing user id"),
        ]
    }


def test_of_equal_ids_in_a_catalogue_one_stays_and_the_others_are_written_down(tmp_path):
    items = pd.DataFrame(
        {
            "item": ["r0", "b0", "r0", "b1", "r0"],
            "kind": ["record", "book", "record", "book", "record"],
            "title": ["beta", "b", "alpha", "b", "alpha"],
        }
    )
    users = pd.DataFrame({"user": ["base", "base"], "club": ["z", "a"]})
    found = preprocess(write(tmp_path, shop=(table("user item time", BASE), items, users)))
    assert reasons(found, "items") == {3: "repeat of an id", 5: "repeat of an id"}
    assert found["items"].set_index("item_id")["text"]["r0"] == "alpha"
    assert reasons(found, "users") == {1: "repeat of an id"}
    assert found["users"]["tags"].map(list).tolist() == [["club=a"]]


FAULTS = [
    ("missing_ids", "user", "-", "missing user id"),
    ("missing_ids", "item", "-", "missing item id"),
    ("unreadable", "time", "soon", "unreadable time"),
    ("unreadable", "quantity", "many", "unreadable quantity"),
    ("unreadable", "rating", "good", "unreadable rating"),
    ("future", "time", "2999-01-01", "in the future"),
    ("unknown_events", "event", "wish", "unknown event"),
    ("unknown_items", "item", "unheard-of", "unknown item"),
]


def event_shop(folder, *more: dict):
    """The base rows as purchases, and one row more for each change to the first of them."""
    rows = table("user item time", BASE).assign(event="buy", quantity="1", rating="5")
    rows = pd.concat([rows, *(rows[:1].assign(**other) for other in more)])
    shop = write(folder, shop=(rows, kinds("r0", "b0", "b1")))
    shop.config["data"]["platforms"][0]["interactions"]["events"] = {"buy": {"at_least": 4}}
    return shop


def faulty_shop(folder, faults):
    return event_shop(folder, *({column: None if value == "-" else value} for _, column, value, _ in faults))


def test_each_fault_of_a_row_is_dropped_under_its_own_name(tmp_path):
    found = cleaned(faulty_shop(tmp_path, FAULTS))
    assert reasons(found) == {row: reason for row, (*_, reason) in enumerate(FAULTS, 4)}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: "-".join(fault[:3]))
def test_a_rule_set_to_fail_names_file_row_and_field(tmp_path, fault):
    rule, *_, reason = fault
    others = [other for other in FAULTS if other[0] != rule]
    shop = faulty_shop(tmp_path, [*others, fault])
    shop.config["data"]["clean"][rule] = "fail"
    row = 4 + len(others)
    look = cleaned if rule == "unknown_items" else ruled
    with fails(InputError, "interactions.parquet", f"row {row}", reason, f"data.clean.{rule}"):
        look(shop)


def test_too_many_unusable_rows_of_one_file_stop_it_however_good_the_others_are(tmp_path):
    base = table("user item time", BASE)
    bad = table("user item time", "ann r0 2024-01-01\n ann nothing 2024-01-01\n - r0 2024-01-01\n ann r0 soon")
    shop = write(tmp_path, shop=(base, kinds("r0", "b0", "b1")))
    pd.concat([base] * 20).to_csv(tmp_path / "part-1.csv", index=False)
    bad.to_csv(tmp_path / "part-2.csv", index=False)
    shop.config["data"]["platforms"][0]["interactions"]["path"] = str(tmp_path / "part-*.csv")
    shop.config["data"]["clean"]["max_rejected"] = 0.75
    assert len(cleaned(shop)["rejected"]) == 60
    shop.config["data"]["clean"]["max_rejected"] = 0.74
    counts = ("unknown item 1", "missing user id 1", "unreadable time 1")
    with fails(InputError, "part-2.csv", "row 2", "3 of 4", *counts, "data.clean.max_rejected", "0.74"):
        cleaned(shop)


def test_only_faults_of_the_file_count_towards_max_rejected(tmp_path):
    """Not what the config chooses to leave out: repeats, low ratings, duplicates."""
    shop = event_shop(tmp_path, {"rating": "3"}, {"time": "2024-01-05"}, {}, {"quantity": "0"})
    shop.config["data"]["clean"]["max_rejected"] = 0.0
    expected = {4: "rating too low", 5: "repeat of user and item", 6: "duplicate", 7: "quantity zero"}
    assert reasons(cleaned(shop)) == expected
    shop.config["data"]["platforms"][0]["interactions"]["events"] = {"heart": {}}
    with fails(InputError, "row 1", "7 of 7", "unknown event 7"):
        cleaned(shop)


def test_too_many_rows_without_a_user_name_the_key_and_only_ids_that_do_not_match_are_shown(tmp_path):
    rows = table("user item time", BASE + "- r0 2024-02-01\n - b0 2024-02-01")
    shop = write(tmp_path, shop=(rows, kinds("r0", "b0", "b1")))
    shop.config["data"]["clean"]["max_rejected"] = 0.3
    with fails(InputError, "2 of 5", "missing user id 2", "data.clean.max_rejected: 0.4") as told:
        cleaned(shop)
    assert lacking(str(told.value), "'r0'", "'b0'") == ["'r0'", "'b0'"], "no item's id"
    shop.config["data"]["clean"]["max_rejected"] = 0.4
    assert set(reasons(cleaned(shop)).values()) == {"missing user id"}
    rows["item"] = "x"
    rows.to_parquet(tmp_path / "shop-interactions.parquet")
    with fails(InputError, "unknown item 3", "'x'", "'b0'", "data.clean.max_rejected: 0.4"):
        cleaned(shop)


def test_excluded_items_are_left_out_of_both_files_with_a_reason_that_is_no_fault(tmp_path):
    odd = ["POST", "TEST-1", "TEST", "POSTER", "aTEST", "a.c", "abc"]
    rows = table("user item time", BASE + "\n".join(f"ann {item} 2024-02-01" for item in odd))
    shop = write(tmp_path, shop=(rows, kinds("r0", "b0", "b1", *odd)))
    shop.config["data"]["clean"]["max_rejected"] = 0.0
    shop.config["data"]["platforms"][0]["items"]["exclude"] = ["POST", "TEST*", "a.?"]
    found = cleaned(shop)
    gone = {4: "POST", 5: "TEST-1", 6: "TEST", 9: "a.c"}
    assert reasons(found) == dict.fromkeys(gone, "excluded item")
    assert reasons(found, "items") == dict.fromkeys(gone, "excluded item")
    assert set(found["items"]["item_id"]) == {"r0", "b0", "b1", "POSTER", "aTEST", "abc"}
    assert measured(found, "removed")["excluded item", "interactions"] == 4
