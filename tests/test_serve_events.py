"""What a server learns while it runs: events, opinions, newer artifacts, feedback on logged lists."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from served import client_of, listed, of_command, service_of, untouched

from crossrec_cli.config.load import load_config
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.serving.app import create_app
from crossrec_cli.serving.event_store import Events, UserEvent
from crossrec_cli.serving.live import Service

TASTES = ("jazz", "metal", "blues")


@pytest.fixture
def client(trained):
    return client_of(trained)


@pytest.fixture(scope="module")
def stateless(pristine):
    return untouched(pristine)


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

    plain, fading = (client_of(trained, *overrides) for overrides in ((), ("serve.session_half_life_minutes=5",)))
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


def test_lists_are_logged_explored_and_judged_by_their_feedback(trained, crossrec):
    """Two variants, of which only the second one's lists are clicked; the log is what evaluate and ab read."""
    log = trained.folder / "log"
    before = listed(client_of(trained), "jazz3")
    shown = []
    for variant, explore in (("plain", 0), ("bold", 1)):
        overrides = (f"serve.log={log}", f"serve.explore={explore}", f"serve.variant={variant}")
        client = client_of(trained, *overrides)
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
