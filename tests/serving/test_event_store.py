"""Events that users share with threads: the newest are kept, in their order, whatever is forgotten meanwhile."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest
from facts import fails

from crossrec_cli.errors import UnavailableError
from crossrec_cli.serving.event_store import Events, UserEvent
from crossrec_cli.serving.sqlite_file import WAIT_SECONDS


def test_of_too_many_events_the_oldest_are_forgotten():
    events = Events(3)
    events.add(
        [UserEvent("a", "1"), UserEvent("b", "2"), UserEvent("a", "3"), UserEvent("b", "4"), UserEvent("a", "5")]
    )
    assert (events.of("a"), events.of("b"), len(events)) == (["3", "5"], ["4"], 3)
    events.follow("new data", lambda user, events: [event.item == "4" for event in events])
    assert (events.of("a"), events.of("b"), len(events)) == (["3", "5"], [], 2)


def test_events_have_the_time_at_which_they_happened_else_that_at_which_they_came():
    events, before = Events(9), time.time()
    events.add([UserEvent("a", "1"), UserEvent("a", "2", 1_000.5), UserEvent("b", "3", 2_000.0)])
    events.add([UserEvent("a", "4")])
    (_, second, old, _), (_, first, now, _), (_, last, later, _) = events.all_of("a")
    assert (second, first, last) == ("2", "1", "4"), "oldest first"
    assert old == 1_000.5
    assert before <= now <= later <= time.time()
    assert events.all_of("b") == [UserEvent("b", "3", 2_000.0)]


def test_events_that_come_while_others_are_forgotten_find_the_way_free_and_stay_the_newest():
    events = Events(5)
    events.add([UserEvent("a", "1"), UserEvent("a", "2"), UserEvent("b", "3")])
    came = []

    def which(user: str, stored: list[UserEvent]) -> list[bool]:
        if not came:
            request = threading.Thread(target=events.add, args=([UserEvent("a", "9"), UserEvent("c", "10")],))
            request.start()
            request.join(timeout=20)
            came.append(not request.is_alive())
        return [event.item == "1" for event in stored]

    events.follow("new data", which)
    assert came == [True], "the lock is not held while it is decided what to forget"
    assert events.of("a") == ["2", "9"]
    assert (events.of("b"), events.of("c"), len(events)) == (["3"], ["10"], 4)


def test_what_newer_events_have_displaced_meanwhile_is_forgotten_once():
    events = Events(2)
    events.add([UserEvent("a", "1"), UserEvent("a", "2")])

    def which(user: str, stored: list[UserEvent]) -> list[bool]:
        events.add([UserEvent("b", "3")])
        return [True] * len(stored)

    events.follow("new data", which)
    assert (events.of("a"), events.of("b"), len(events)) == ([], ["3"], 1)


def test_events_outlive_the_process_and_are_shared_by_two(tmp_path):
    first, second = (Events(10, tmp_path / "events.db") for _ in range(2))
    first.add([UserEvent("a", "1")])
    second.add([UserEvent("a", "2"), UserEvent("b", "3")])
    first.add([UserEvent("a", "4")])
    assert first.of("a") == second.of("a") == ["1", "2", "4"]
    assert Events(10, tmp_path / "events.db").of("b") == ["3"]


def test_new_data_are_compared_once_by_whoever_comes_first(tmp_path):
    first, second = (Events(10, tmp_path / "events.db") for _ in range(2))
    first.follow("monday", lambda user, stored: [])
    first.add([UserEvent("a", "1"), UserEvent("a", "2")])
    second.follow("monday", lambda user, stored: [True] * len(stored))
    assert len(second) == 2, "the data are the same"
    second.follow("tuesday", lambda user, stored: [event.item == "1" for event in stored])
    first.follow("tuesday", lambda user, stored: [True] * len(stored))
    assert first.of("a") == ["2"]


def test_a_file_that_grows_too_large_loses_its_oldest_events(tmp_path):
    events = Events(10**6, tmp_path / "events.db", max_bytes=200_000)
    for part in range(200):
        events.add([UserEvent(f"user{number % 7}", f"item{part * 100 + number}") for number in range(100)])
    assert 100 < len(events) < 10_000
    assert events.of("user3")[-1] == f"item{199 * 100 + 94}"
    assert (tmp_path / "events.db").stat().st_size < 400_000


def test_what_is_no_file_of_events_is_told(tmp_path):
    (tmp_path / "events.db").write_text("these are no events, but a text that is longer than a header")
    with fails(UnavailableError, tmp_path / "events.db"):
        Events(10, tmp_path / "events.db")


def test_all_events_of_a_request_are_stored_or_none(tmp_path):
    events = Events(10, tmp_path / "events.db")
    with pytest.raises(UnavailableError):
        events.add([UserEvent("a", "1"), UserEvent("b", None)])
    assert len(events) == 0


def test_reading_does_not_wait_for_who_writes(tmp_path):
    events = Events(10, tmp_path / "events.db")
    events.add([UserEvent("a", "1")])
    with closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def write() -> None:
            with fails(UnavailableError, "locked"):
                events.add([UserEvent("a", "2")])

        writer = threading.Thread(target=write)
        writer.start()
        started = time.monotonic()
        assert events.of("a") == ["1"]
        assert time.monotonic() - started < WAIT_SECONDS / 2
        writer.join()
    assert events.of("a") == ["1"], "the other one has not let it write"
