"""Lists for named users and with events since training."""

from __future__ import annotations

import errno
import json
import os

import pandas as pd
import pytest
from facts import check_failed, warns

from crossrec_cli.errors import ExitCode


def test_one_users_list(trained, crossrec):
    done = crossrec("recommend", trained.path, "--user", "new", "--user", "metal3")
    lines = done.stdout.splitlines()
    assert lines[0] == "User new:"
    assert lines[1].startswith("   1. 0.")
    assert "User metal3:" in lines
    assert "book" in lines[1]
    document = json.loads(crossrec("recommend", trained.path, "--user", "new", "--json").stdout)
    assert [row["rank"] for row in document["lists"]["new"]] == [1, 2, 3, 4, 5]
    assert lines[1].split()[2] == document["lists"]["new"][0]["item_id"]
    assert lines[1].endswith(document["lists"]["new"][0]["text"])


def test_an_unknown_user_is_an_input_error(trained, crossrec):
    done = crossrec("recommend", trained.path, "--user", "nobody")
    assert done.exit_code == ExitCode.INPUT
    assert "nobody" in done.stderr
    done = crossrec("recommend", trained.path, "--set", "recommend.users=[jazz1, nobody]")
    assert done.exit_code == ExitCode.INPUT


def test_listed_users_alone_are_served(trained, crossrec):
    crossrec("recommend", trained.path, "--set", "recommend.users=[new, jazz1]")
    assert set(trained.table("recommend", "recommendations")["user_id"]) == {"new", "jazz1"}


def test_events_since_training_give_a_list_to_users_never_seen(trained, crossrec):
    """Three metal records, bought by somebody who was not there: metal books lead the list, and nothing is trained."""
    records = [f"metal-record-{number}" for number in range(3)]
    strange = "who-knows,no-such-item\n"
    events = trained.folder / "events.csv"
    events.write_text("user_id,item_id\n" + "".join(f"007,{item}\n" for item in records) + strange)
    done = crossrec("recommend", trained.path, "--events", events, "--user", "007")
    assert done.exit_code == 0, done.output
    assert warns(done, "recommend.events", "1 events", "items")
    assert done.stdout.splitlines()[1].split()[2].startswith("metal-book")
    assert crossrec("recommend", trained.path, "--events", events).exit_code == 0
    lists = trained.table("recommend", "recommendations")
    assert set(lists["user_id"]) > {"007", "jazz1", "who-knows"}
    again = crossrec("recommend", trained.path, "--events", events, "--json")
    assert not json.loads(again.stdout)["stages"][0]["ran"]
    events.write_text("user_id,item_id\n007,blues-record-1\n007,blues-record-2\n")
    done = crossrec("recommend", trained.path, "--events", events, "--user", "007")
    assert done.stdout.splitlines()[1].split()[2].startswith("blues-book")


def test_events_are_the_newest_of_a_known_users_history(trained, crossrec):
    owned = trained.table("preprocess", "interactions").query("original_user_id == 'jazz1'")["original_item_id"]
    offered = trained.table("recommend", "recommendations").query("user_id == 'jazz1'")["item_id"]
    events = pd.DataFrame({"user_id": ["jazz1"], "item_id": [offered.iloc[0]], "when": [1]})
    events.to_parquet(trained.folder / "events.parquet")
    done = crossrec("recommend", trained.path, "--events", trained.folder / "events.parquet")
    assert done.exit_code == 0, done.output
    now = trained.table("recommend", "recommendations").query("user_id == 'jazz1'")["item_id"]
    assert offered.iloc[0] not in set(now), "bought meanwhile"
    assert not set(now) & set(owned), "what was bought before stays bought"


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (None, [os.strerror(errno.ENOENT)]),
        ("user_id,thing\nada,1\n", ["'item_id'", "user_id", "thing"]),
        ("user_id,item_id\nada,1\n,2\n", ["row 2", "1 of 2", "missing user id 1"]),
        ("user_id,item_id\nada,1,3\n", ["line 2", 2, 3]),
    ],
)
def test_events_that_cannot_be_read_say_why(content, facts, trained, crossrec):
    events = trained.folder / "events.csv"
    if content:
        events.write_text(content)
    done = crossrec("recommend", trained.path, "--events", events)
    check_failed(done, ExitCode.INPUT, "recommend.events", events, *facts)
    assert len(done.stderr.splitlines()) == 1
