"""Servers in this process, and what they answer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from conftest import Shop
from fastapi.testclient import TestClient

from crossrec_cli.config.load import load_config
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.serving.app import create_app
from crossrec_cli.serving.event_store import Events
from crossrec_cli.serving.impression_log import ImpressionLog
from crossrec_cli.serving.live import Service


def service_of(shop, *overrides: str, most: int = 1000) -> Service:
    config = load_config(shop.path, overrides)
    log = ImpressionLog(Path(config.serve.log)) if config.serve.log else None
    return Service(config, None, Silent(), Events(most), log, seed=1)


def client_of(shop, *overrides: str) -> TestClient:
    return TestClient(create_app(service_of(shop, *overrides), None))


def untouched(pristine: tuple[Shop, Path]) -> TestClient:
    """A client of the planted shop for requests that leave nothing behind; it has all in memory."""
    shop, copy = pristine
    shutil.rmtree(shop.folder)
    shutil.copytree(copy, shop.folder, symlinks=True)
    return client_of(shop)


def listed(client, user: str, **more: object) -> list[str]:
    answer = client.post("/recommend", json={"user_id": user, **more})
    assert answer.status_code == 200, answer.text
    return [row["item_id"] for row in answer.json()["items"]]


def of_command(crossrec, shop, user: str, *more: object) -> list[dict]:
    done = crossrec("recommend", shop.path, "--user", user, "--json", *more)
    return json.loads(done.stdout)["lists"][user]
