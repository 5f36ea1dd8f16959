"""What is swapped in: a watch that survives whatever it finds, and tries again."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from facts import Heard

from crossrec_cli.artifacts.store import MANIFEST
from crossrec_cli.config.list_fields import Serve
from crossrec_cli.serving import live
from crossrec_cli.serving.event_store import Events, UserEvent


@pytest.fixture
def service(tmp_path, monkeypatch) -> live.Service:
    """Of an export whose model is its manifest's text; a manifest ``broken`` cannot be loaded."""
    manifest = tmp_path / MANIFEST
    manifest.write_text("first")

    def load(config, exported, report):
        text = manifest.read_text()
        if text == "broken":
            raise OSError("a file is damaged")
        return SimpleNamespace(model_id=text, data_sha256="", has_interactions=None)

    monkeypatch.setattr(live, "Live", load)
    monkeypatch.setattr(live, "checked", lambda path: path)
    return live.Service(None, SimpleNamespace(path=tmp_path), Heard(), Events(9))


def test_what_could_not_be_loaded_is_tried_again_and_told_once(service, monkeypatch):
    manifest = service.exported.path / MANIFEST
    manifest.write_text("broken")
    assert [service.refresh(), service.refresh()] == [False, False]
    assert (service.live.model_id, len(service.report.warnings)) == ("first", 1)
    assert service.swaps == {"done": 0, "failed": 2}
    monkeypatch.setattr(
        live, "Live", lambda *_: SimpleNamespace(model_id="mended", data_sha256="", has_interactions=None)
    )
    assert service.refresh(), "the manifest is the same, and what was wrong is not"
    assert service.live.model_id == "mended"


def test_the_watch_outlives_a_manifest_that_is_missing_for_a_moment(service, monkeypatch):
    """The file is away at the first check, and back before the second."""
    manifest, pauses, looked = service.exported.path / MANIFEST, [], threading.Semaphore(0)
    refresh = service.refresh
    manifest.unlink()

    def watched() -> bool:
        done = refresh()
        if not done:
            manifest.write_text("second")
        looked.release()
        return done

    def wait(pause: float) -> bool:
        pauses.append(pause)
        return len(pauses) > 3

    monkeypatch.setattr(service, "refresh", watched)
    monkeypatch.setattr(service._stopped, "wait", wait)
    service.start()
    for _ in range(3):
        assert looked.acquire(timeout=20)
    assert service.live.model_id == "second"
    assert service.swaps == {"done": 1, "failed": 1}
    assert pauses[:3] == [live.CHECK_SECONDS, 2 * live.CHECK_SECONDS, live.CHECK_SECONDS]


def test_a_try_that_fails_again_and_again_is_made_less_and_less_often(service, monkeypatch):
    pauses: list[float] = []

    def wait(pause: float) -> bool:
        pauses.append(pause)
        return len(pauses) > 6

    monkeypatch.setattr(service, "refresh", lambda: False)
    monkeypatch.setattr(service._stopped, "wait", wait)
    service._watch()
    assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


@pytest.mark.parametrize(("minutes", "weight"), [(None, [1.0] * 5), (30.0, [0.25, 0.5, 1.0, 1.0, live.LEAST_WEIGHT])])
def test_events_halve_every_half_life_and_no_event_weighs_nothing(service, monkeypatch, minutes, weight):
    now = 1_000_000_000.0
    monkeypatch.setattr(live.time, "time", lambda: now)
    service.config = SimpleNamespace(serve=Serve(session_half_life_minutes=minutes))
    service.events.add([UserEvent("u", "a", now - 3600), UserEvent("u", "b", now - 1800), UserEvent("other", "z", now)])
    found = service.since("u", [("c", None), ("d", now + 60), ("e", 0.0)])
    assert [one.item for one in found] == ["a", "b", "c", "d", "e"]
    assert [one.weight for one in found] == pytest.approx(weight)
