"""Events that users share with threads: the newest are kept, in their order, whatever is forgotten meanwhile."""

from __future__ import annotations

import threading

from crossrec_cli.serving.event_store import Events


def test_of_too_many_events_the_oldest_are_forgotten():
    events = Events(3)
    events.add([("a", "1"), ("b", "2"), ("a", "3"), ("b", "4"), ("a", "5")])
    assert (events.of("a"), events.of("b"), len(events)) == (["3", "5"], ["4"], 3)
    events.forget(lambda user, items: [item == "4" for item in items])
    assert (events.of("a"), events.of("b"), len(events)) == (["3", "5"], [], 2)


def test_events_that_come_while_others_are_forgotten_find_the_way_free_and_stay_the_newest():
    events = Events(5)
    events.add([("a", "1"), ("a", "2"), ("b", "3")])
    came = []

    def which(user: str, items: list[str]) -> list[bool]:
        if not came:
            request = threading.Thread(target=events.add, args=([("a", "9"), ("c", "10")],))
            request.start()
            request.join(timeout=20)
            came.append(not request.is_alive())
        return [item == "1" for item in items]

    events.forget(which)
    assert came == [True], "the lock is not held while it is decided what to forget"
    assert events.of("a") == ["2", "9"]
    assert (events.of("b"), events.of("c"), len(events)) == (["3"], ["10"], 4)


def test_what_newer_events_have_displaced_meanwhile_is_forgotten_once():
    events = Events(2)
    events.add([("a", "1"), ("a", "2")])

    def which(user: str, items: list[str]) -> list[bool]:
        events.add([("b", "3")])
        return [True] * len(items)

    events.forget(which)
    assert (events.of("a"), events.of("b"), len(events)) == ([], ["3"], 1)
