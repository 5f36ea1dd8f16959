"""What holds for any messy shop that Hypothesis makes up: no row vanishes, nothing leaks, no form or order matters."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
import pandas as pd
import pytest
from conftest import Shop, preprocess
from hypothesis import HealthCheck, Phase, given, settings

FEW = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "phases": [Phase.generate],  # making a failing example smaller would take minutes
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
USERS = {user: user.strip() for user in ("u1", " u1\t", "u2", "007", "7", "ü3 👩\u200d🚀", 'u"4,')}
NO_USERS = [None, "", " ", "u\0", "u\n1"]
ITEMS = [f"{kind}{number}" for kind in "sb" for number in range(5)]
"""s… are the source, b… the target."""
NO_ITEMS = [None, "", "unheard of", "s\x011"]
DAYS = [pd.Timestamp("2024-01-01") + pd.Timedelta(days=day) for day in range(0, 60, 7)]
TIMES = (
    {str(day.date()): day for day in DAYS}
    | {f" {day.isoformat()}Z": day for day in DAYS}
    | {str(int(day.timestamp())): day for day in DAYS[:3]}
    | {str(int(day.timestamp()) * 1000 + 1000): day + pd.Timedelta(seconds=1) for day in DAYS[:3]}
    | {day.isoformat() + "+01:00": day - pd.Timedelta(hours=1) for day in DAYS[-2:]}
)
FUTURE = {"2999-01-01": pd.Timestamp("2999-01-01")}
NO_TIMES = [None, "soon", "2024-13-01", "1e300", "nan"]
EVENTS = ["buy", "buy", "view", "stars", "refund", "odd", None]
QUANTITIES = ["1", "1", "2", "1,5", "-1", "0", "many", None]
RATINGS = ["5", "4.5", "1", "—", None]
TITLES = ["<b>Rock</b> &amp; Roll", "ﬁne  wine", "中文", "كتاب", "👩\u200d🚀", 'say "a, b"', "a\nb\r\nc", " ", None]
PRICES = ["$1,234.56", "12,99 €", "7", "free", "-1", "1e300", "", None]
PLANTED = [
    {"user": f"p{person}", "item": item, "time": str(DAYS[day].date()), "event": "buy", "quantity": "1", "rating": "5"}
    for person in range(4)
    for item, day in zip(
        ["s0", f"s{1 + person % 2}", *(f"b{(person + n) % 4}" for n in range(4))], (0, 1, 2, 3, 5, 7), strict=True
    )
]
"""Four people for whom there is something to hold out however it is split, and to train on."""
STRATEGIES = {
    "leave_last_out": {},
    "time": {"valid_from": "2024-01-29", "test_from": "2024-02-10"},
    "cold_users": {"share": 0.25},
    "cold_items": {"share": 0.2},
}


@dataclass
class Tables:
    """What the files shall hold, all of it as text, and how it shall be cleaned."""

    rows: pd.DataFrame
    items: pd.DataFrame
    settings: dict


def mostly(good, bad):
    return st.one_of(*[st.sampled_from(list(good))] * 5, st.sampled_from(bad))


@st.composite
def tables(draw):
    row = {
        "user": mostly(USERS, NO_USERS),
        "item": mostly(ITEMS, NO_ITEMS),
        "time": mostly(TIMES, [*FUTURE, *NO_TIMES]),
        "event": st.sampled_from(EVENTS),
        "quantity": st.sampled_from(QUANTITIES),
        "rating": st.sampled_from(RATINGS),
    }
    rows = draw(st.lists(st.fixed_dictionaries(row), min_size=20, max_size=50))
    rows += draw(st.lists(st.sampled_from(rows + PLANTED), max_size=10))
    titles = st.one_of(st.sampled_from(TITLES), st.text(st.characters(exclude_categories=["Cs"]), max_size=10))
    items = [
        {
            "item": item,
            "kind": {"s": "music|rock", "b": "books"}[item[0]],
            "title": draw(titles),
            "price": draw(st.sampled_from(PRICES)),
        }
        for item in draw(st.permutations([*ITEMS, *ITEMS[2:6]]))  # some twice
    ]
    items.append({"item": None, "kind": "books", "title": "nobody's", "price": None})
    return Tables(pd.DataFrame(rows + PLANTED, dtype=object), pd.DataFrame(items, dtype=object), draw(choices()))


def choices():
    """Settings under ``data``."""
    clean = st.fixed_dictionaries(
        {
            "max_rejected": st.just(1.0),
            "latest": st.just("2025-01-01"),
            "future": st.sampled_from(["drop", "keep"]),
            "duplicates": st.sampled_from(["drop", "keep"]),
            "near_duplicates": st.sampled_from([0, 5]),
            "returns": st.sampled_from(["cancel", "drop", "keep"]),
            "bots": st.sampled_from([None, 6]),
            "items_without_text": st.just("keep"),
        }
    )
    return st.fixed_dictionaries(
        {
            "clean": clean,
            "repeats": st.sampled_from(["strongest", "first", "last", "sum", "keep"]),
            "half_life_days": st.sampled_from([None, 10.0]),
            "min_interactions": st.sampled_from([{"user": 0, "item": 0}, {"user": 2, "item": 2}]),
        }
    )


def write(folder: Path, made: Tables, form: str = "parquet", files: int = 1, strategy: str = "leave_last_out") -> Shop:
    """The tables as files of that form, the rows over so many of them."""
    for name, table, parts in (("rows", made.rows, files), ("items", made.items, 1)):
        for part in range(parts):
            path, some = folder / f"{name}-{part}.{form}", table.iloc[part::parts]
            if form == "parquet":
                some.to_parquet(path, index=False)
            elif form == "csv":
                some.to_csv(path, index=False, lineterminator="\r\n")  # else pandas does not quote a lone "\r"
            else:
                some.to_json(path, orient="records", lines=True)
    columns = {"user_id": "user", "item_id": "item", "timestamp": "time"}
    platform = {
        "name": "shop",
        "interactions": {
            "path": str(folder / f"rows-*.{form}"),
            "columns": columns | {name: name for name in ("event", "quantity", "rating")},
            "events": {"buy": {}, "view": {"weight": 0.1}, "stars": {"at_least": 4.0}, "refund": {"returns": True}},
        },
        "items": {
            "path": str(folder / f"items-*.{form}"),
            "columns": {"item_id": "item", "category": "kind", "price": "price"},
            "text": "{title}. {kind}",
        },
    }
    config = {
        "run_dir": str(folder / "run"),
        "data": {"platforms": [platform], "detect_language": False, **made.settings},
        "domains": {"target": {"category": "books"}},
        "split": {"strategy": strategy, **STRATEGIES[strategy]},
        "runtime": {"num_threads": 1},
    }
    return Shop(folder, config)


def run(made: Tables, **how) -> dict[str, pd.DataFrame]:
    with tempfile.TemporaryDirectory() as folder:
        return preprocess(write(Path(folder), made, **how))


def rows_with_reasons(made: Tables, found: dict[str, pd.DataFrame], files: int = 1) -> pd.DataFrame:
    """The rows with the reason why each was left out, null where it was not; users and times as they are read."""
    rejected = found["rejected"]
    rejected = rejected[rejected["table"] == "interactions"]
    place = rejected["file"].str.extract(r"rows-(\d+)\.")[0].astype(int) + (rejected["row"] - 1) * files
    assert place.is_unique
    assert place.between(0, len(made.rows) - 1).all()
    reasons = pd.Series(rejected["reason"].to_numpy(), index=place)
    rows = made.rows.reset_index(drop=True)
    return rows.assign(
        reason=reasons.reindex(rows.index),
        user=rows["user"].map(lambda user: USERS.get(user, user)),
        read_time=rows["time"].map(TIMES | FUTURE),
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=2, **FEW)
@given(made=tables())
def test_every_row_is_kept_or_left_out_once_with_its_reason_and_nothing_leaks(strategy, made):
    found = run(made, files=2, strategy=strategy)
    rows = rows_with_reasons(made, found, files=2)
    kept = counted(rows[rows["reason"].isna()], "user", "item", "read_time")
    assert counted(found["interactions"], "original_user_id", "original_item_id", "timestamp") == kept
    check_reasons(rows)
    check_leaks(found, strategy)


def counted(table: pd.DataFrame, *columns: str) -> Counter:
    return Counter(table[list(columns)].itertuples(index=False, name=None))


def check_reasons(rows: pd.DataFrame) -> None:
    """The rules that look at one row alone met what they should, the first that fits."""
    rest = pd.Series(data=True, index=rows.index)
    for reason, met in (
        ("missing user id", rows["user"].isin(NO_USERS)),
        ("missing item id", rows["item"].isin([None, "", "s\x011"])),
        ("unreadable time", rows["time"].isin(NO_TIMES)),
        ("unreadable quantity", rows["quantity"] == "many"),
        ("unreadable rating", rows["rating"] == "—"),
    ):
        assert ((rows["reason"] == reason) == (rest & met)).all(), reason
        rest &= ~met


def check_leaks(found: dict[str, pd.DataFrame], strategy: str) -> None:
    """From the times of the interactions and from the cases, nothing else."""
    rows, cases = found["interactions"], found["cases"]
    trains = rows[rows["split"] == "train"]
    assert {"train", "held_out"} <= set(rows["split"]) <= {"train", "valid", "held_out"}
    assert "test" in set(cases["split"])
    assert set(cases["domain"]) == {"target"}
    place = ["user_id", "item_id", "position", "timestamp"]
    asked = cases.merge(rows[place], on=["user_id", "item_id"])
    asked = asked[asked["position"] >= asked["history_length"]]
    assert set(counted(asked, "split", "user_id", "item_id")) == set(counted(cases, "split", "user_id", "item_id"))
    first = trains["user_id"].map(asked.groupby("user_id")["timestamp"].min())
    assert (first.isna() | (trains["timestamp"] < first)).all()
    told = asked.merge(rows[place], on="user_id", suffixes=("", "_told"))
    told = told[told["position_told"] < told["history_length"]]
    assert (told["timestamp_told"] < told["timestamp"]).all()
    test, valid = (cases[cases["split"] == name] for name in ("test", "valid"))
    if strategy == "leave_last_out":
        latest = rows[rows["domain"] == "target"].groupby("user_id")["timestamp"].max()
        assert (asked[asked["split"] == "test"].groupby("user_id")["timestamp"].max() == latest).all()
    if strategy == "time":
        assert (trains["timestamp"] < STRATEGIES["time"]["valid_from"]).all()
        for name, begins in (("valid", "valid_from"), ("test", "test_from")):
            when = STRATEGIES["time"][begins]
            assert (told.loc[told["split"] == name, "timestamp_told"] < when).all()
            assert (asked.loc[asked["split"] == name, "timestamp"] >= when).all()
    if strategy == "cold_users":
        assert not set(test["user_id"]) & set(valid["user_id"])
        assert not set(trains.loc[trains["domain"] == "target", "user_id"]) & set(cases["user_id"])
        assert (cases["cold_user"] & (cases["history_length"] > 0)).all()
    if strategy == "cold_items":
        assert not set(test["item_id"]) & set(valid["item_id"])
        assert not set(trains["item_id"]) & set(cases["item_id"])
        assert cases["cold_item"].all()


@pytest.mark.slow
@settings(max_examples=3, **FEW)
@given(made=tables(), seed=st.integers(0, 99), files=st.integers(1, 4))
def test_neither_the_order_of_the_rows_nor_the_number_of_files_matters(made, seed, files):
    once = run(made)
    shuffled = Tables(*(table.sample(frac=1, random_state=seed) for table in (made.rows, made.items)), made.settings)
    again = run(shuffled, files=files)
    columns = ["user", "item", "read_time", "event", "quantity", "rating", "reason"]
    before, after = (
        counted(rows.astype(object).fillna(""), *columns)
        for rows in (rows_with_reasons(made, once), rows_with_reasons(shuffled, again, files))
    )
    assert before == after
    check_same(once, again, but="rejected")


@pytest.mark.slow
@settings(max_examples=2, **FEW)
@given(made=tables())
def test_csv_json_lines_and_parquet_give_the_same(made):
    parquet = run(made)
    parquet["rejected"]["file"] = ""
    for form in ("csv", "jsonl"):
        other = run(made, form=form)
        other["rejected"]["file"] = ""
        check_same(parquet, other)


def check_same(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame], but: str = "") -> None:
    assert set(one) == set(other) >= {"interactions", "items", "users", "cases", "rejected", "quality"}
    for name in set(one) - {but}:
        pd.testing.assert_frame_equal(one[name], other[name], obj=name)
