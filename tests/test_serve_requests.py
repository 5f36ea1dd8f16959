"""Requests that are wrong, too large or without a token; metrics; the schema."""

from __future__ import annotations

from collections import Counter

import pytest
from facts import lacking
from fastapi.testclient import TestClient
from served import client_of, listed, service_of, untouched

from crossrec_cli.serving.app import MAX_BYTES, create_app


@pytest.fixture
def client(trained):
    return client_of(trained)


@pytest.fixture(scope="module")
def stateless(pristine):
    return untouched(pristine)


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
