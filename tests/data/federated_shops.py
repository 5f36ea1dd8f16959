"""The planted shop's users on several platforms, after preprocess."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pandas as pd
import pytest
from conftest import Shop, make_shop
from typer.testing import CliRunner

from crossrec_cli.cli import app


def platforms_of(count: int, factory: pytest.TempPathFactory, model: Path, **config: object) -> list[Shop]:
    """So many platforms, whose config has these sections; users are cut by their number."""
    shops = []
    for number in range(count):
        shop = make_shop(factory.mktemp(f"platform{number}"), model)
        rows = pd.read_parquet(shop.folder / "interactions.parquet")
        mine = rows["user"].str.extract(r"(\d+)")[0].astype(int) % count == number
        rows[mine].to_parquet(shop.folder / "interactions.parquet")
        shop.config |= deepcopy(config)
        assert CliRunner().invoke(app, ["preprocess", str(shop.path)]).exit_code == 0
        shops.append(shop)
    return shops
