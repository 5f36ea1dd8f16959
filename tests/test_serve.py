"""Answers over HTTP: ``crossrec serve``."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from facts import check_failed, lacking
from served import client_of, listed, of_command, untouched

from crossrec_cli.errors import ExitCode


@pytest.fixture
def client(trained):
    return client_of(trained)


@pytest.fixture(scope="module")
def stateless(pristine):
    return untouched(pristine)


@pytest.mark.parametrize("rules", [[], ["recommend.rules.per_brand=2", "recommend.rules.min_score=1e-6"]])
def test_a_list_is_the_one_that_recommend_makes(trained, crossrec, rules):
    client = client_of(trained, *rules)
    overrides = [word for rule in rules for word in ("--set", rule)]
    for user in ("jazz3", "metal7", "new"):
        answer = client.post("/recommend", json={"user_id": user}).json()
        theirs = of_command(crossrec, trained, user, *overrides)
        assert answer["known"]
        assert [row["item_id"] for row in answer["items"]] == [row["item_id"] for row in theirs]
        assert [row["score"] for row in answer["items"]] == pytest.approx([row["score"] for row in theirs], rel=1e-4)


def test_similar_items_are_those_of_the_command(client, trained, crossrec):
    answer = client.post("/similar", json={"item_id": "jazz-record-3", "k": 4})
    assert answer.status_code == 200, answer.text
    done = crossrec("similar", trained.path, "jazz-record-3", "--k", "4", "--json")
    theirs = json.loads(done.stdout)["similar"]["jazz-record-3"]
    assert [row.pop("score") for row in answer.json()["items"]] == pytest.approx(
        [row["score"] for row in theirs], rel=1e-4
    )
    assert [row["similar_item_id"] for row in answer.json()["items"]] == [row["similar_item_id"] for row in theirs]
    assert client.post("/similar", json={"item_id": "gone"}).status_code == 404


def test_a_history_on_the_command_line_is_one_of_a_request(client, trained, crossrec):
    history = ["metal-record-1", "metal-record-2"]
    options = [word for item in history for word in ("--history", item)]
    for user, who, key in (([], {}, ""), (["--user", "jazz3"], {"user_id": "jazz3"}, "jazz3")):
        done = crossrec("recommend", trained.path, *user, *options, "--json")
        assert done.exit_code == 0, done.output
        theirs = json.loads(done.stdout)["lists"][key]
        answer = client.post("/recommend", json={**who, "history": history}).json()["items"]
        assert [row["item_id"] for row in theirs] == [row["item_id"] for row in answer]
    check_failed(crossrec("recommend", trained.path, "--history", "gone"), ExitCode.INPUT, "gone")
    both = crossrec("recommend", trained.path, "--user", "jazz3", "--user", "jazz4", *options)
    check_failed(both, ExitCode.CONFIG, "--history")


def test_a_history_and_tags_in_the_request_are_heeded_and_not_kept(stateless):
    before = listed(stateless, "stranger")
    history = [f"metal-record-{number}" for number in range(9)]
    assert all(item.startswith("metal") for item in listed(stateless, "stranger", history=history))
    assert sum(item.startswith("jazz") for item in listed(stateless, "stranger", tags=["club=a"])) >= 4  # jazz people's
    assert listed(stateless, "stranger") == before


def test_ids_are_taken_as_the_tables_hold_them_and_nobody_needs_one(client):
    """1, 1.0 and " 1 " are the user "1"; without an id the history counts, and what is unknown of it is counted."""
    history = [" metal-record-0\n", *(f"metal-record-{number}" for number in range(1, 9)), "nothing", 7]
    answers = [
        client.post("/recommend", json=user | {"history": history, "tags": ["club=a", "club=z"]}).json()
        for user in ({"user_id": 1}, {"user_id": 1.0}, {"user_id": " 1 "}, {})
    ]
    assert [answer["user_id"] for answer in answers] == ["1", "1", "1", None]
    assert all((answer["unknown_history"], answer["unknown_tags"]) == (2, 1) for answer in answers)
    assert all(answer["items"] == answers[0]["items"] and not answer["known"] for answer in answers)
    first = answers[-1]["items"][0]["item_id"]
    told = client.post("/explain", json={"history": history, "tags": ["club=a"], "item_id": first}).json()
    assert (told["user_id"], told["unknown_history"], lacking(told["place"], 1)) == (None, 2, [])
    assert client.post("/events", json={"events": [{"user_id": 1, "item_id": " jazz-record-1 "}]}).json() == {
        "taken": 1,
        "unknown_items": 0,
    }
    assert listed(client, "jazz3") == listed(client, " jazz3 ")
    assert client.post("/recommend", json={"user_id": "1"}).json()["items"] != answers[-1]["items"]


def test_reasons_are_in_the_answer_where_the_config_has_them(trained, client):
    theirs = trained.table("recommend", "recommendations").query("user_id == 'jazz3'")
    rows = client.post("/recommend", json={"user_id": "jazz3"}).json()["items"]
    assert [row["because"] for row in rows] == theirs["because"].tolist()
    plain = client_of(trained, "recommend.reasons=0")
    assert "because" not in plain.post("/recommend", json={"user_id": "jazz3"}).json()["items"][0]


def test_the_page_of_the_docs_needs_no_network(stateless):
    page = stateless.get("/docs").text
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)|url: ?['"]([^'"]+)""", page)
    found = [one or other for one, other in addresses]
    assert len(found) >= 4  # script, style, icon, schema
    for address in found:
        assert address.startswith("/"), address
        assert stateless.get(address).status_code == 200
    assert not re.search(r"https?://", page)
    assert stateless.get("/redoc").status_code == 404


def test_what_may_be_bought_again_stays(trained):
    client = client_of(trained, "recommend.exclude_seen=false")
    history = [f"metal-book-{number}" for number in range(3)]
    assert set(history) & set(listed(client, "stranger", history=history, k=36))


def test_an_explanation_adds_up_and_tells_the_place(stateless):
    history = [f"metal-record-{number}" for number in range(9)]
    items = stateless.post("/recommend", json={"user_id": "x", "history": history}).json()["items"]
    for item in items:
        answer = stateless.post(
            "/explain", json={"user_id": "x", "history": history, "item_id": item["item_id"]}
        ).json()
        assert answer["score"] == pytest.approx(item["score"], rel=1e-4)
        assert not lacking(answer["place"], item["rank"])
        assert {reason["item_id"] for reason in answer["reasons"]} <= set(history)
    bought = stateless.post("/explain", json={"user_id": "x", "history": ["metal-book-1"], "item_id": "metal-book-1"})
    assert not re.search(r"\d", bought.json()["place"]), "what is owned has no place"
    far = stateless.post("/explain", json={"user_id": "x", "history": history, "item_id": "jazz-book-1"}).json()
    assert re.search(r"\b\d+(st|nd|rd|th)\b", far["place"])
    assert stateless.post("/explain", json={"user_id": "x", "item_id": "jazz-book-99"}).status_code == 404


def test_search_finds_by_words_and_without_an_index_says_how_to_get_one(trained, client, crossrec):
    answer = client.post("/search", json={"query": "metal book"})
    assert answer.status_code == 503
    assert "crossrec search" in answer.json()["detail"]
    assert crossrec("search", trained.path, "metal book").exit_code == 0
    client = client_of(trained)
    found = client.post("/search", json={"query": "metal book", "user_id": "nobody", "k": 4}).json()["items"]
    assert len(found) == 4
    assert all(row["item_id"].startswith("metal-book") for row in found)
    assert client.post("/search", json={"query": " "}).json()["items"] == []


def test_from_the_shell_it_answers_and_ends_quietly(trained):
    command = [sys.executable, "-m", "crossrec_cli", "serve", str(trained.path), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"NO_COLOR": "1"}
    )
    try:
        port = next(found[1] for line in process.stderr if (found := re.search(r"http://127.0.0.1:(\d+)/docs", line)))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as page:
            answer = json.load(page)
        assert answer["users"] == 181
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out == ""
    assert err == ""  # no more than that line


def test_a_port_that_is_taken(trained, crossrec):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = crossrec("serve", trained.path, "--port", port)
    check_failed(done, ExitCode.CONFIG, port, os.strerror(errno.EADDRINUSE))


def test_without_the_extra_it_is_named(trained, crossrec, monkeypatch):
    from crossrec_cli.commands import serve  # noqa: PLC0415

    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    done = crossrec("serve", trained.path)
    check_failed(done, ExitCode.UNAVAILABLE, "pip install 'crossrec[serve]'")


def test_what_was_not_trained_is_not_served(shop, crossrec):
    done = crossrec("serve", shop.path)
    check_failed(done, ExitCode.ARTIFACT, shop.run_dir, "crossrec preprocess")
