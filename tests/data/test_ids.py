"""Ids that are one but for the space around them."""

from __future__ import annotations

import pandas as pd
import pytest
from small import BASE, cleaned, kinds, measured, table, write


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_ids_that_become_one_by_trimming_are_counted(tmp_path, form):
    """Three ways to write ann are one user, two to write r0 one item; cy is padded and nobody else's."""
    rows = table("user item time", BASE)
    more = [("ann", "r0"), (" ann", " r0"), ("ann\u3000", "b0"), (" cy", "b1"), (" cy", "r0")]
    padded = pd.DataFrame([(user, item, "2024-02-01") for user, item in more], columns=rows.columns)
    shop = write(tmp_path, shop=(pd.concat([rows, padded]), kinds("r0", "b0", "b1")))
    if form == "csv":
        path = tmp_path / "rows.csv"
        pd.concat([rows, padded]).to_csv(path, index=False)
        shop.config["data"]["platforms"][0]["interactions"]["path"] = str(path)
    found = cleaned(shop)
    assert set(found["users"]["user_id"]) == {"base", "ann", "cy"}
    label = "joined by the space around them"
    assert measured(found, "identity") == {(label, "users"): 2, (label, "items"): 1}
