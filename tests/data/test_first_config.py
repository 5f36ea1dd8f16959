"""The config that crossrec init writes for a raw export."""

from __future__ import annotations

import json

from small import GUESTS, order_lines

from crossrec_cli.config.load import load_config
from crossrec_cli.config.source_fields import Csv, InteractionColumns, ItemColumns


def test_order_lines_of_a_raw_export_need_no_edit(tmp_path, crossrec):
    """One table: semicolons, dd.mm.yyyy, Windows-1252, guests without an account, no categories, German headers."""
    folder = order_lines(tmp_path / "shop")
    done = crossrec("init", folder, "--json")
    answer = json.loads(done.stdout)
    assert answer["todo"] == answer["passed_over"] == answer["torn"] == []
    assert crossrec("config", "validate", folder / "crossrec.yaml").exit_code == 0
    config = load_config(folder / "crossrec.yaml")
    platform = config.data.platforms[0]
    assert platform.interactions.csv == platform.items.csv == Csv(delimiter=";", encoding="windows-1252")
    assert platform.interactions.path == platform.items.path
    assert platform.interactions.columns == InteractionColumns(
        user_id="Kundennummer", item_id="Artikelnummer", timestamp="Bestelldatum", quantity="Menge"
    )
    assert platform.interactions.timestamp_format == "%d.%m.%Y"
    assert platform.items.columns == ItemColumns(item_id="Artikelnummer", price="Einzelpreis")
    assert platform.items.text == "{Bezeichnung}"
    assert config.domains.target.category == ("*",)
    assert GUESTS < config.data.clean.max_rejected < 1
