from __future__ import annotations

import threading
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from facts import fails

from crossrec_cli.artifacts import schemas
from crossrec_cli.errors import InputError, UnavailableError
from crossrec_cli.serving import impression_log
from crossrec_cli.serving.exploration import ShownItem
from crossrec_cli.serving.impression_log import Feedback, FeedbackCounts, ImpressionLog


def items(names: str) -> list[ShownItem]:
    return [ShownItem({"item_id": name, "rank": rank}, 1 / rank) for rank, name in enumerate(names, 1)]


def table(log: ImpressionLog) -> pd.DataFrame:
    parts = list(log.tables())
    assert all(part.schema == schemas.IMPRESSIONS for part in parts)
    return pa.concat_tables([schemas.IMPRESSIONS.empty_table(), *parts]).to_pandas()


def test_a_list_is_logged_with_what_became_of_its_items(tmp_path):
    log, before = ImpressionLog(tmp_path / "new" / "log"), time.time()
    first, second = log.add("u1", "old", 3, items("abc")), log.add(None, "new", 5, items("b"))
    counts = log.take([Feedback(first, "b", "click"), Feedback(first, "b", "purchase"), Feedback(second, "b", "click")])
    assert counts == FeedbackCounts(3, 0, 0)
    rows = table(log)
    assert rows["impression"].tolist() == [first, first, first, second]
    assert rows["item_id"].tolist() == ["a", "b", "c", "b"]
    assert rows["rank"].tolist() == [1, 2, 3, 1]
    assert rows["propensity"].tolist() == [1.0, 1 / 2, 1 / 3, 1.0]
    assert rows["click"].tolist() == [0, 1, 0, 1]
    assert rows["purchase"].tolist() == [0, 1, 0, 0]
    assert rows["user_id"].fillna("nobody").tolist() == ["u1", "u1", "u1", "nobody"]
    assert rows["variant"].tolist() == ["old"] * 3 + ["new"]
    assert rows["k"].tolist() == [3, 3, 3, 5]
    assert rows["timestamp"].between(pd.Timestamp(before - 1e-3, unit="s"), pd.Timestamp(time.time(), unit="s")).all()
    assert log.counts() == (2, 0, 2, 1)


def test_an_empty_list_is_a_row_without_an_item(tmp_path):
    log = ImpressionLog(tmp_path)
    log.add("u1", "old", 3, [])
    (row,) = table(log).to_dict("records")
    assert (row["user_id"], row["k"]) == ("u1", 3)
    assert all(pd.isna(row[name]) for name in ("item_id", "rank", "propensity", "click", "purchase"))


def test_the_same_feedback_once_more_changes_nothing(tmp_path):
    log = ImpressionLog(tmp_path)
    shown_as = log.add("u1", "old", 3, items("abc"))
    for _ in range(3):
        log.take([Feedback(shown_as, "a", "click")] * 2)
    assert table(log)["click"].tolist() == [1, 0, 0]


def test_unknown_impressions_and_items_are_counted_and_change_nothing(tmp_path):
    log = ImpressionLog(tmp_path)
    shown_as = log.add("u1", "old", 3, items("abc"))
    number, token = shown_as.split("-")
    wrong = [
        f"{number}-{token[::-1]}x",
        number,
        f"{number}x-{token}",
        f"0{shown_as}",
        "",
        f"99-{token}",
        "9" * 40,
        "١-1",
    ]
    counts = log.take([Feedback(one, "a", "click") for one in wrong] + [Feedback(shown_as, "z", "click")])
    assert counts == FeedbackCounts(0, len(wrong), 1)
    assert table(log)["click"].sum() == 0


def test_two_servers_share_a_log_and_it_outlives_them(tmp_path):
    one, other = ImpressionLog(tmp_path), ImpressionLog(tmp_path)
    ids = [log.add(f"u{number}", "v", 3, items("ab")) for number in range(20) for log in (one, other)]
    assert other.take([Feedback(ids[0], "a", "click")]).taken == 1
    assert len(set(ids)) == 40
    rows = table(ImpressionLog.existing(tmp_path))
    assert rows["impression"].nunique() == 40
    assert rows["click"].sum() == 1


def test_threads_that_log_at_once_lose_nothing(tmp_path):
    logs = [ImpressionLog(tmp_path) for _ in range(2)]

    def add(log: ImpressionLog) -> None:
        for _ in range(50):
            log.add("u", "v", 3, items("ab"))

    threads = [threading.Thread(target=add, args=(log,)) for log in logs * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logs[0].counts().lists == 200


def test_a_log_that_grows_too_large_loses_its_oldest_lists(tmp_path, monkeypatch):
    monkeypatch.setattr(impression_log, "LISTS_READ", 50)
    log = ImpressionLog(tmp_path, max_bytes=150_000)
    for number in range(2_000):
        shown_as = log.add(f"user{number}", "v", 10, items("abcdefghij"))
        log.take([Feedback(shown_as, "a", "click")])
    lists, dropped, clicks, _ = log.counts()
    assert lists + dropped == 2_000
    assert 100 < lists < 1_500
    assert clicks == lists
    rows = table(log)
    assert rows.groupby("impression").size().tolist() == [10] * lists
    assert rows["user_id"].iloc[-1] == "user1999"
    assert rows["click"].sum() == lists
    assert (tmp_path / "impressions.db").stat().st_size < 250_000


def test_what_is_no_log_is_told(tmp_path):
    with fails(InputError, tmp_path / "none"):
        ImpressionLog.existing(tmp_path / "none")
    assert not (tmp_path / "none").exists(), "reading makes no log"
    (tmp_path / "impressions.db").write_text("these are no impressions, but a text that is longer than a header")
    with fails(UnavailableError, tmp_path / "impressions.db"):
        ImpressionLog(tmp_path)
    with fails(InputError, tmp_path / "impressions.db"):
        ImpressionLog.existing(tmp_path)
    with fails(UnavailableError, "serve.log", tmp_path / "impressions.db"):
        ImpressionLog(Path(tmp_path / "impressions.db"))


def test_all_feedback_of_a_request_is_stored_or_none(tmp_path):
    log = ImpressionLog(tmp_path)
    shown_as = log.add("u1", "old", 3, items("abc"))
    with pytest.raises(UnavailableError):
        log.take([Feedback(shown_as, "a", "click"), Feedback(shown_as, "b", None)])
    assert table(log)["click"].sum() == 0
