from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from facts import check_failed, fails, warns

from crossrec_cli.errors import ConfigError, ExitCode, InputError
from crossrec_cli.evaluation.experiment import Experiment

START = pd.Timestamp("2024-05-01 08:00")


def shown(variant: str, user: str | None, day: int, items: str, clicked: str = "", k: int = 3) -> pd.DataFrame:
    """The rows of one list."""
    rows = pd.DataFrame({"item_id": list(items) or [None], "rank": [*range(1, len(items) + 1)] or [None]})
    clicks = [int(item in clicked) for item in items] or [None]
    time = START + pd.Timedelta(days=day)
    return rows.assign(user_id=user, variant=variant, timestamp=time, click=clicks, purchase=0, k=k, propensity=1.0)


def written(path: Path, lists: list[pd.DataFrame]) -> Path:
    return saved(path, pd.concat([rows.assign(impression=f"list{number}") for number, rows in enumerate(lists)]))


def saved(path: Path, rows: pd.DataFrame) -> Path:
    rows = rows.astype({"rank": "Int64", "click": "Int64", "user_id": "string", "item_id": "string"})
    rows.to_csv(path, index=False) if path.suffix == ".csv" else rows.to_parquet(path)
    return path


BY_HAND = [
    shown("new", "u1", 0, "abc", "a"),
    shown("new", "u1", 1, "ab", ""),
    shown("new", "u2", 1, "abd", "ad"),
    shown("new", None, 1, "xyz", "x"),
    shown("new", "u5", 0, "", k=3),
    shown("new", "both", 0, "pqr", "pqr"),
    shown("old", "both", 0, "abc", ""),
    shown("old", "u3", 0, "abc", "b"),
    shown("old", "u4", 1, "abc", ""),
]


@pytest.mark.parametrize("name", ["log.parquet", "log.csv"])
def test_by_hand(tmp_path, name):
    found = Experiment.read([written(tmp_path / name, BY_HAND)], a="old", b=None)
    assert (found.a.name, found.b.name, found.users_in_both, found.users) == ("old", "new", 1, 5)
    rate = found.rewards["click"]
    assert (rate.a, rate.b) == pytest.approx((1 / 2, 3 / 4)), "without anonymous lists, and who saw both"
    assert rate.difference.mean == pytest.approx(1 / 4)
    assert found.rewards["purchase"].b == 0
    of_new = found.b.shown
    assert (of_new.lists, of_new.anonymous, of_new.items) == (6, 1, 10)
    assert (of_new.empty, of_new.short) == pytest.approx((1 / 6, 2 / 6))
    assert found.b.lists.sum() == 4


def test_rates_by_day_and_then_by_week(tmp_path):
    found = Experiment.read([written(tmp_path / "log.parquet", BY_HAND)], a="old", b="new")
    rows = [(one.begins, one.variant, one.users, one.lists, one.rates["click"]) for one in found.periods()]
    first, second = date(2024, 5, 1), date(2024, 5, 2)
    assert rows == [
        (first, "old", 1, 1, 1.0),
        (first, "new", 2, 2, 0.5),
        (second, "old", 1, 1, 0.0),
        (second, "new", 2, 2, 1.0),
    ]
    later = [*BY_HAND, shown("old", "u3", 30, "abc", "a")]
    weeks = [*Experiment.read([written(tmp_path / "log.parquet", later)], a="old", b="new").periods()]
    assert [one.days for one in weeks[::2]] == [7, 7, 7, 7, 3]
    assert weeks[0].lists == 2
    assert (weeks[-2].rates["click"], weeks[-1].lists) == (1.0, 0)


def test_two_logs_are_two_variants_whatever_models_made_their_lists(tmp_path):
    mine = written(tmp_path / "mine.parquet", [shown(f"model{day}", f"u{day}", day, "abc", "a") for day in range(4)])
    theirs = written(tmp_path / "theirs.parquet", [shown("model0", f"v{day}", day, "abc") for day in range(3)])
    found = Experiment.read([mine, theirs], None, None)
    assert (found.a.name, len(found.a.users), len(found.b.users)) == (str(mine), 4, 3)
    assert (found.rewards["click"].a, found.rewards["click"].b) == (1, 0)


def crowd(lift: float, novelty: float, users: int = 600) -> pd.DataFrame:
    """Users of two variants who come on two of ten days; B's lift, and how much of it is gone in the last five."""
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(users), 2)
    day = np.argsort(rng.random((users, 10)), axis=1)[:, :2].ravel()
    clicked = rng.random(len(day)) < 0.3 + (user % 2) * lift * (1 - novelty * (day >= 5))
    columns = {"impression": np.arange(len(day)), "timestamp": START + pd.to_timedelta(day, unit="D")}
    columns |= {"user_id": [f"u{one}" for one in user], "variant": np.where(user % 2, "b", "a")}
    columns |= {"item_id": "x", "rank": 1, "k": 1, "propensity": 1.0, "click": clicked.astype(int), "purchase": 0}
    return pd.DataFrame(columns)


def test_a_lift_that_wears_off_is_seen_in_the_halves_and_a_lasting_one_is_not(tmp_path):
    worn = Experiment.read([saved(tmp_path / "worn.parquet", crowd(0.4, 1.0))], None, None).novelty("click")
    assert worn.first.difference.low > 0.2
    assert worn.second.difference.low < 0 < worn.second.difference.high
    assert worn.change.high < -0.2
    lasting = Experiment.read([saved(tmp_path / "lasting.parquet", crowd(0.4, 0.0))], None, None).novelty("click")
    assert lasting.change.low < 0 < lasting.change.high
    assert lasting.second.difference.low > 0.2
    one_day = [shown(name, f"{name}{user}", 0, "a") for name in "ab" for user in range(3)]
    found = Experiment.read([written(tmp_path / "day.parquet", one_day)], None, None)
    assert found.novelty("click") is None


def test_the_command_fails_only_where_b_is_worse_and_only_if_asked(tmp_path, crossrec):
    log = saved(tmp_path / "log.parquet", crowd(0.2, 0.0))
    done = crossrec("ab", log, "--a", "a", "--json", "--fail")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["variants"]["b"]["name"] == "b"
    assert document["rewards"]["click"]["difference"]["low"] > 0
    assert document["rewards"]["click"]["enough_users"] is False, "to find 5 % of a rate of .3"
    assert not document["sample_ratio_mismatch"]
    assert document["rewards"]["purchase"]["difference"]["low"] is None
    assert crossrec("ab", log, "--a", "a", "--detect", "0.9", "--json").stdout.count('"enough_users": true') == 1
    done = crossrec("ab", log, "--a", "b", "--fail", "--json")
    assert done.exit_code == ExitCode.REGRESSION
    assert json.loads(done.stdout)["against"]["lost"] == ["click"]
    assert crossrec("ab", log, "--a", "b").exit_code == 0
    check_failed(crossrec("ab", log, "--fail"), ExitCode.CONFIG, "--a")


def test_users_that_went_missing_are_noticed(tmp_path, crossrec):
    rows = crowd(0.0, 0.0)
    log = saved(tmp_path / "log.parquet", rows[~rows["user_id"].str.endswith(("1", "3"))])
    done = crossrec("ab", log)
    assert done.exit_code == 0, done.output
    assert warns(done, 300, 180)
    assert not warns(crossrec("ab", log, "--share-a", "0.62"), 300, 180)
    assert warns(crossrec("ab", written(tmp_path / "both.parquet", BY_HAND)), 1, "both")


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        ({"click": "-1"}, ["row 2", "click", 0]),
        ({"click": "often"}, ["row 2", "click", 0]),
        ({"timestamp": "soon"}, ["row 2", "timestamp"]),
        ({"impression": ""}, ["row 2", "impression"]),
        ({"variant": ""}, ["row 2", "variant"]),
    ],
)
def test_wrong_cells_are_told(tmp_path, change, facts):
    path = written(tmp_path / "log.csv", BY_HAND)
    rows = pd.read_csv(path, dtype=str)
    for name, value in change.items():
        rows.loc[1, name] = value
    rows.to_csv(path, index=False)
    with fails(InputError, path, *facts):
        Experiment.read([path], None, None)


def test_logs_that_cannot_be_compared_are_told(tmp_path):
    log = written(tmp_path / "log.parquet", BY_HAND)
    three = written(tmp_path / "three.parquet", [*BY_HAND, shown("other", "u9", 0, "a")])
    one = written(tmp_path / "one.parquet", BY_HAND[-2:])
    for logs, names, kind, facts in (
        ([log], ("older", None), InputError, ["older", "new", "old"]),
        ([log], ("new", "new"), InputError, ["two variants"]),
        ([three], (None, None), InputError, [3, "--a", "--b"]),
        ([three], ("new", None), InputError, [3, "--a", "--b"]),
        ([one], (None, None), InputError, ["two variants", "old"]),
        ([log, log], (None, None), ConfigError, ["two logs"]),
        ([log, one], ("new", None), ConfigError, ["--a"]),
        ([tmp_path / "no.parquet"], (None, None), InputError, ["no.parquet"]),
    ):
        with fails(kind, *facts):
            Experiment.read(logs, *names)
    anonymous = written(tmp_path / "anonymous.parquet", [shown("new", None, 0, "a"), shown("old", "u", 0, "a")])
    with fails(InputError, "new", "no users"):
        Experiment.read([anonymous], None, None)
    table = pd.read_parquet(log)
    table.drop(columns=["click", "purchase"]).to_parquet(log)
    with fails(InputError, "'click'", "'purchase'"):
        Experiment.read([log], None, None)
    table.drop(columns="impression").to_parquet(log)
    with fails(InputError, "'impression'"):
        Experiment.read([log], None, None)


@pytest.mark.parametrize(("lift", "lost"), [(0.07, []), (0.09, ["click"])])
def test_two_rewards_are_two_tests_that_one_small_p_value_does_not_pass(lift, lost, tmp_path):
    rows = crowd(lift, 0.0)
    rows["purchase"] = (np.random.default_rng(5).random(len(rows)) < 0.2).astype(int)
    found = Experiment.read([saved(tmp_path / "log.parquet", rows)], "b", "a")
    click, purchase = found.rewards["click"].difference, found.rewards["purchase"].difference
    assert click.p < 0.05 < purchase.p
    assert found.p_values == pytest.approx({"click": 2 * click.p, "purchase": purchase.p})
    assert found.lost == lost
