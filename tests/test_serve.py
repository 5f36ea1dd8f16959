"""Answers over HTTP: ``crossrec serve``."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from facts import check_failed, lacking
from fastapi.testclient import TestClient

from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.serving.app import MAX_BYTES, create_app
from crossrec_cli.serving.event_store import Events, UserEvent
from crossrec_cli.serving.impression_log import ImpressionLog
from crossrec_cli.serving.live import Service


def service_of(shop, *overrides: str, most: int = 1000) -> Service:
    config = load_config(shop.path, overrides)
    log = ImpressionLog(Path(config.serve.log)) if config.serve.log else None
    return Service(config, None, Silent(), Events(most), log, seed=1)


@pytest.fixture
def client(trained):
    return TestClient(create_app(service_of(trained), None))


@pytest.fixture(scope="module")
def stateless(pristine):
    """A client of the planted shop for requests that leave nothing behind; it has all in memory."""
    shop, copy = pristine
    shutil.rmtree(shop.folder)
    shutil.copytree(copy, shop.folder, symlinks=True)
    return TestClient(create_app(service_of(shop), None))


def listed(client, user: str, **more: object) -> list[str]:
    answer = client.post("/recommend", json={"user_id": user, **more})
    assert answer.status_code == 200, answer.text
    return [row["item_id"] for row in answer.json()["items"]]


def of_command(crossrec, shop, user: str, *more: object) -> list[dict]:
    done = crossrec("recommend", shop.path, "--user", user, "--json", *more)
    return json.loads(done.stdout)["lists"][user]


@pytest.mark.parametrize("rules", [[], ["recommend.rules.per_brand=2", "recommend.rules.min_score=1e-6"]])
def test_a_list_is_the_one_that_recommend_makes(trained, crossrec, rules):
    client = TestClient(create_app(service_of(trained, *rules), None))
    overrides = [word for rule in rules for word in ("--set", rule)]
    for user in ("jazz3", "metal7", "new"):
        answer = client.post("/recommend", json={"user_id": user}).json()
        theirs = of_command(crossrec, trained, user, *overrides)
        assert answer["known"]
        assert [row["item_id"] for row in answer["items"]] == [row["item_id"] for row in theirs]
        assert [row["score"] for row in answer["items"]] == pytest.approx([row["score"] for row in theirs], rel=1e-4)


def test_events_are_there_after_a_restart(trained):
    def restarted() -> TestClient:
        service = Service(load_config(trained.path), None, Silent(), Events(1000, trained.run_dir / "events.db"))
        return TestClient(create_app(service, None))

    first = restarted()
    bought = listed(first, "jazz3")[0]
    first.post(
        "/events", json={"events": [{"user_id": "jazz3", "item_id": item} for item in (bought, "metal-record-1")]}
    )
    second = restarted()
    assert bought not in listed(second, "jazz3", k=36)
    assert second.get("/healthz").json()["events"] == first.get("/healthz").json()["events"] == 2


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


def test_events_change_the_next_list_and_what_was_bought_is_gone(trained, client, crossrec):
    first = listed(client, "jazz3")[0]
    news = [{"user_id": "jazz3", "item_id": first}] + [
        {"user_id": user, "item_id": f"metal-record-{number}"} for user in ("jazz3", "stranger") for number in range(9)
    ]
    answer = client.post("/events", json={"events": [*news, {"user_id": "jazz3", "item_id": "nothing"}]}).json()
    assert answer == {"taken": 20, "unknown_items": 1}
    assert first not in (left := listed(client, "jazz3", k=36))
    assert len(left) == 31  # of 36 books, but the four of before and this one
    assert all(item.startswith("metal") for item in listed(client, "stranger"))
    events = trained.folder / "events.csv"
    pd.DataFrame(news).to_csv(events, index=False)
    for user in ("jazz3", "stranger"):
        theirs = of_command(crossrec, trained, user, "--events", events)
        assert listed(client, user) == [row["item_id"] for row in theirs]


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
    plain = TestClient(create_app(service_of(trained, "recommend.reasons=0"), None))
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


def test_lists_are_logged_explored_and_judged_by_their_feedback(trained, crossrec):
    """Two variants, of which only the second one's lists are clicked; the log is what evaluate and ab read."""
    log = trained.folder / "log"
    before = listed(TestClient(create_app(service_of(trained), None)), "jazz3")
    shown = []
    for variant, explore in (("plain", 0), ("bold", 1)):
        overrides = (f"serve.log={log}", f"serve.explore={explore}", f"serve.variant={variant}")
        client = TestClient(create_app(service_of(trained, *overrides), None))
        for number in range(20):
            user = f"{'jazz' if explore else 'metal'}{number}"
            answer = client.post("/recommend", json={"user_id": user}).json()
            assert [row["rank"] for row in answer["items"]] == [1, 2, 3, 4, 5]
            feedback = [
                {"impression": answer["shown_as"], "item_id": answer["items"][0]["item_id"], "kind": kind}
                for kind in (("click", "purchase") if explore else ())
            ]
            taken = client.post("/feedback", json={"feedback": feedback}).json()
            assert taken == {"taken": len(feedback), "unknown_impressions": 0, "unknown_items": 0}
            shown.append([row["item_id"] for row in answer["items"]])
        client.post("/recommend", json={"history": ["jazz-record-1"], "k": 3})
    explored = shown[23]
    assert (explored[0], sorted(explored)) == (before[0], sorted(before))
    assert explored != before
    unknown = [{"impression": "77-x", "item_id": "a", "kind": "click"}]
    unknown.append({"impression": answer["shown_as"], "item_id": "jazz-record-1", "kind": "click"})
    taken = client.post("/feedback", json={"feedback": unknown}).json()
    assert taken == {"taken": 0, "unknown_impressions": 1, "unknown_items": 1}

    done = crossrec("feedback", log, "--json")
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)
    assert (written["lists"], written["clicks"], written["purchases"], written["rows"]) == (42, 20, 20, 206)
    rows = pd.read_parquet(written["path"])
    assert rows.groupby("impression", sort=False)["item_id"].agg(list).tolist()[:20] == shown[:20]
    plain, bold = (rows[(rows["variant"] == name) & rows["user_id"].notna()] for name in ("plain", "bold"))
    assert (plain["propensity"] == 1).all()
    assert set(bold["propensity"]) == {1, 1 / 4}
    assert (bold["click"] == (bold["rank"] == 1)).all()

    done = crossrec("ab", written["path"], "--a", "plain", "--json")
    rates = json.loads(done.stdout)["rewards"]["click"]
    assert (rates["a"], rates["b"]) == (0, 1)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.feedback={written['path']}")
    assert done.exit_code == 0, done.output
    judged = trained.table("evaluate", "feedback").query("segment == 'all' and reward == 'click'").set_index("measure")
    assert judged.loc["logged", "impressions"] == 200
    assert judged.loc["logged", "value"] == pytest.approx(20 / 200)


def test_the_answer_does_not_need_the_log(trained, stateless):
    assert stateless.post("/recommend", json={"user_id": "jazz3"}).json()["shown_as"] is None
    assert stateless.post("/feedback", json={"feedback": []}).status_code == 503
    service = service_of(trained, f"serve.log={trained.folder / 'log'}")
    client = TestClient(create_app(service, None))
    assert client.post("/recommend", json={"user_id": "jazz3"}).json()["shown_as"]
    service.impressions._database.close()
    for _ in range(2):
        answer = client.post("/recommend", json={"user_id": "jazz3"})
        assert (answer.status_code, answer.json()["shown_as"], len(answer.json()["items"])) == (200, None, 5)
    assert "crossrec_lists_not_logged_total 2.0" in client.get("/metrics").text


def test_old_events_of_a_session_count_less_if_asked(trained):
    """An hour ago it was metal, now it is jazz: with a half-life of minutes jazz counts, and all is still owned."""
    an_hour_ago = (pd.Timestamp.now("UTC") - pd.Timedelta(hours=1)).isoformat()
    old = [{"item_id": f"metal-record-{number}", "timestamp": an_hour_ago} for number in range(8)]
    owned = {"item_id": "metal-book-1", "timestamp": an_hour_ago}
    new = [f"jazz-record-{number}" for number in range(3)]

    def metal(client: TestClient, body: dict) -> int:
        rows = client.post("/recommend", json=body).json()["items"]
        assert "metal-book-1" not in {row["item_id"] for row in rows}
        return sum(row["item_id"].startswith("metal") for row in rows)

    plain, fading = (
        TestClient(create_app(service_of(trained, *overrides), None))
        for overrides in ((), ("serve.session_half_life_minutes=5",))
    )
    request = {"history": [*old, owned, *new]}
    assert metal(plain, request) >= 3
    assert metal(fading, request) == 0
    assert metal(fading, {"history": [entry["item_id"] for entry in (*old, owned)] + new}) >= 3, "without a time: now"
    for client in (plain, fading):
        events = [{"user_id": "guest", **entry} for entry in (*old, owned)]
        events += [{"user_id": "guest", "item_id": item} for item in new]
        assert client.post("/events", json={"events": events}).json()["taken"] == 12
    assert metal(plain, {"user_id": "guest"}) >= 3
    assert metal(fading, {"user_id": "guest"}) == 0


def test_what_may_be_bought_again_stays(trained):
    client = TestClient(create_app(service_of(trained, "recommend.exclude_seen=false"), None))
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
    client = TestClient(create_app(service_of(trained), None))
    found = client.post("/search", json={"query": "metal book", "user_id": "nobody", "k": 4}).json()["items"]
    assert len(found) == 4
    assert all(row["item_id"].startswith("metal-book") for row in found)
    assert client.post("/search", json={"query": " "}).json()["items"] == []


def test_newer_artifacts_are_swapped_in_and_broken_ones_are_not(trained, crossrec):
    service = service_of(trained)
    client = TestClient(create_app(service, None))
    before, model = listed(client, "jazz3", k=36), client.get("/healthz").json()["model"]
    client.post("/events", json={"events": [{"user_id": "jazz3", "item_id": "metal-record-1"}]})
    service.refresh()
    assert service.swaps == {"done": 0, "failed": 0}
    trained.config["finetune"]["epochs"] = 1
    assert crossrec("finetune", trained.path).exit_code == 0
    service.config = load_config(trained.path)
    service.refresh()
    assert service.swaps == {"done": 1, "failed": 0}
    assert client.get("/healthz").json()["model"] != model
    assert client.get("/healthz").json()["events"] == 1
    assert listed(client, "jazz3", k=36) != before
    newer = client.get("/healthz").json()["model"]
    assert crossrec("finetune", trained.path, "--force").exit_code == 0
    path = trained.run_dir / "finetune/current/scorers.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    service.refresh()
    assert service.swaps == {"done": 1, "failed": 1}
    assert client.get("/healthz").json()["model"] == newer
    assert listed(client, "jazz3")


TASTES = ("jazz", "metal", "blues")


def test_a_dislike_counts_in_the_next_list_until_the_user_buys_it_after_all(trained, client):
    def listed() -> dict[str, float]:
        items = client.post("/recommend", json={"user_id": "new", "k": 36}).json()["items"]
        return {row["item_id"]: row["score"] for row in items}

    before = listed()
    disliked = next(item for item in before if item.startswith("jazz"))
    opinion = {"user_id": "new", "item_id": disliked, "disliked": True}
    assert client.post("/events", json={"events": [opinion]}).json()["taken"] == 1
    after = listed()
    assert disliked not in after
    changes = {taste: [after[item] - before[item] for item in after if item.startswith(taste)] for taste in TASTES}
    assert np.mean(changes["jazz"]) < min(np.mean(changes["metal"]), np.mean(changes["blues"]))
    client.post("/events", json={"events": [{"user_id": "new", "item_id": disliked}]})
    why = client.post("/explain", json={"user_id": "new", "item_id": disliked}).json()["place"]
    assert "bought" in why and "disliked" not in why


def test_events_that_the_newer_data_hold_are_forgotten(trained, crossrec):
    service = service_of(trained)
    service.events.add(
        [
            UserEvent("jazz3", "metal-record-1"),
            UserEvent("stranger", "jazz-record-1"),
            UserEvent("jazz3", "metal-record-2"),
        ]
    )
    path = trained.folder / "interactions.parquet"
    bought = pd.read_parquet(path)
    bought.loc[len(bought)] = ["jazz3", "metal-record-1", pd.Timestamp("2024-01-30")]
    bought.to_parquet(path)
    trained.config["adapt"]["epochs"] = trained.config["finetune"]["epochs"] = 1
    service.config = load_config(trained.path)
    for stage in ("preprocess", "pretrain-adapt", "finetune"):
        assert crossrec(stage, trained.path).exit_code == 0
    service.refresh()
    assert service.swaps["done"] == 1
    assert (service.events.of("jazz3"), service.events.of("stranger")) == (["metal-record-2"], ["jazz-record-1"])


def test_a_token_is_asked_for_where_one_is_set(trained):
    client = TestClient(create_app(service_of(trained), "sesame"))
    ask = {"user_id": "jazz3"}
    assert client.post("/recommend", json=ask).status_code == 401
    assert client.post("/recommend", json=ask, headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert client.get("/metrics").status_code == 401
    assert client.get("/healthz").status_code == 200
    assert client.post("/recommend", json=ask, headers={"Authorization": "Bearer sesame"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/recommend", {"user_id": "a", "k": 101}, "body.k"),
        ("/recommend", {"user_id": "a", "k": 0}, "body.k"),
        ("/recommend", {"user_id": "a", "k": True}, "body.k"),
        ("/recommend", {"user": "a"}, "body.user"),
        ("/recommend", {"user_id": True}, "body.user_id"),
        ("/recommend", {"user_id": 1.5}, "body.user_id"),
        ("/recommend", {"user_id": " "}, "body.user_id"),
        ("/recommend", {"history": ["a\x01b"]}, "body.history.0.item_id"),
        ("/recommend", {"history": [{"item_id": "a", "timestamp": "soon"}]}, "body.history.0.timestamp"),
        ("/recommend", {"user_id": "a", "history": ["x"] * 1001}, "body.history"),
        ("/events", {"events": [{"user_id": "a"}]}, "body.events.0.item_id"),
        ("/search", {"query": ""}, "body.query"),
        ("/feedback", {"feedback": [{"impression": "1-a", "item_id": "a", "kind": "look"}]}, "body.feedback.0.kind"),
        ("/feedback", {"feedback": [{"item_id": "a", "kind": "click"}]}, "body.feedback.0.impression"),
    ],
)
def test_wrong_requests_are_told_in_one_line(stateless, path, body, where):
    answer = stateless.post(path, json=body)
    assert answer.status_code == 422
    [line] = answer.json()["detail"].splitlines()
    assert line.startswith(f"{where}: ")
    assert body.get("k") != 101 or not lacking(line, 100), "how many there may be"


def test_what_is_no_text_is_refused(stateless):
    answer = stateless.post(
        "/recommend", content=b'{"user_id": "\\ud800"}', headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422


@pytest.mark.parametrize("told", [True, False], ids=["length told", "in pieces"])
def test_a_body_that_is_too_large_is_not_read(stateless, told):
    piece = b"x" * 2**16
    content = piece * 17 if told else (piece for _ in range(17))
    answer = stateless.post("/recommend", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert f"{MAX_BYTES:,}" in answer.json()["detail"]


def test_metrics_count_by_route(client):
    listed(client, "jazz3")
    client.post("/recommend", json={"k": 0})
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert 'crossrec_requests_total{path="/recommend",status="200"} 1.0' in text
    assert 'crossrec_requests_total{path="/recommend",status="422"} 1.0' in text
    assert 'crossrec_requests_total{path="other",status="404"} 1.0' in text
    assert 'crossrec_request_seconds_count{path="/recommend"} 2.0' in text
    assert "crossrec_events 0.0" in text


@pytest.mark.slow
def test_schemathesis_finds_nothing(trained, crossrec):
    import schemathesis  # noqa: PLC0415  it takes seconds to import
    from hypothesis import HealthCheck, Phase, given, settings  # noqa: PLC0415

    assert crossrec("search", trained.path).exit_code == 0
    app = create_app(service_of(trained, f"serve.log={trained.folder / 'log'}"), None)
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    seen = Counter[str]()
    chosen = settings(
        max_examples=25,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    for operation in (found.ok() for found in schema.get_all_operations()):

        @chosen
        @given(operation.as_strategy())
        def check(case):
            case.call_and_validate()
            seen[case.path] += 1

        check()
    answers = {"/recommend", "/similar", "/search", "/explain"}
    assert set(seen) == {*answers, "/events", "/feedback", "/healthz", "/metrics"}


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
