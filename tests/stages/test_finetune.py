"""What finetune learns from, and what it leaves out."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from conftest import Shop
from facts import warns


def sold(shop: Shop) -> list[int]:
    """How often each item was bought in what the scorers learned from."""
    return np.expm1(shop.table("finetune", "item_vectors")["popularity_vector"].str[0]).round().astype(int).tolist()


def test_refit_learns_from_validation_too_and_keeps_the_weights(trained, crossrec):
    """What validation alone held back teaches; what the test asks for is still asked for."""
    folder = trained.run_dir / "finetune" / "current"
    refitted = {name: (folder / name).read_bytes() for name in ("item_vectors.parquet", "scorers.safetensors")}
    weights, of_all, neural = (
        trained.table("finetune", "fusion"),
        sold(trained),
        np.stack(trained.table("finetune", "item_vectors")["neural_vector"]),
    )
    assert crossrec("finetune", trained.path, "--set", "finetune.refit=false").exit_code == 0
    gained = (trained.table("preprocess", "interactions")["split"] == "valid").sum()
    assert 0 < gained == sum(of_all) - sum(sold(trained))
    pd.testing.assert_frame_equal(trained.table("finetune", "fusion"), weights)
    assert not np.allclose(np.stack(trained.table("finetune", "item_vectors")["neural_vector"]), neural)
    assert crossrec("finetune", trained.path).exit_code == 0
    assert {name: (folder / name).read_bytes() for name in refitted} == refitted


@pytest.mark.parametrize(
    "split",
    [
        {"strategy": "time", "valid_from": "2024-01-10", "test_from": "2024-01-20"},
        {"strategy": "cold_users", "share": 0.2},
    ],
    ids=lambda split: split["strategy"],
)
def test_refit_learns_from_users_without_test_cases(shop, crossrec, split):
    """They like one book; half of them bought it before the validation period, a third in it, the others in the test.

    Some others bought any other book, early.
    """
    rows = [
        (f"u{user}", item, pd.Timestamp("2024-01-01") + pd.Timedelta(days=day))
        for user in range(120)
        for item, day in (
            (f"jazz-record-{user % 40}", 0),
            (f"metal-record-{user % 37}", 1),
            ("blues-book-7", (5, 12, 25)[(user >= 60) + (user >= 100)]),
        )
    ]
    rows += [(f"other{book}", f"{taste}-book-{book}", rows[0][2]) for taste in ("jazz", "metal") for book in range(12)]
    pd.DataFrame(rows, columns=["user", "item", "time"]).to_parquet(shop.folder / "interactions.parquet")
    shop.config["split"] = split
    shop.config["adapt"]["epochs"], shop.config["finetune"] = 1, {"epochs": 1}
    done = crossrec("run", shop.path, "--to", "finetune")
    assert done.exit_code == 0, done.output
    rows, cases = (shop.table("preprocess", name) for name in ("interactions", "cases"))
    tested = set(cases.loc[cases["split"] == "test", "user_index"])
    teaching = rows[rows["split"] != "held_out"]
    gained = teaching[(teaching["split"] == "valid") & ~teaching["user_index"].isin(tested)]
    assert len(gained) == {"time": 40, "cold_users": 24}[split["strategy"]]
    assert sold(shop) == np.bincount(teaching["item_index"], minlength=len(shop.table("preprocess", "items"))).tolist()


def test_quick_leaves_the_trained_scorer_out(quick):
    scorers = set(quick.table("finetune", "fusion")["scorer"].dropna())
    assert scorers == {"text", "words", "attributes", "popularity", "neighbours", "linear"}
    assert quick.table("finetune", "learning_curve").empty
    found = quick.table("evaluate", "metrics").query("segment == 'all' and metric == 'ndcg'").groupby("model")["value"]
    assert found.max()["crossrec"] > found.max()["popularity"]


@pytest.mark.parametrize("epochs", [0, 2])
def test_without_validation_every_epoch_is_trained_and_the_scorers_count_as_usual(shop, crossrec, epochs):
    hour = {"valid_from": "2024-01-22T01:00:00", "test_from": "2024-01-22T02:00:00"}  # they buy at midnight
    shop.config["split"] = {"strategy": "time", **hour}
    shop.config["adapt"]["epochs"], shop.config["finetune"]["epochs"] = 1, epochs
    done = crossrec("run", shop.path, "--to", "finetune")
    assert done.exit_code == 0, done.output
    assert warns(done, "validation")
    assert shop.table("finetune", "learning_curve")["epoch"].tolist() == list(range(1, epochs + 1))
    summary = json.loads(crossrec("finetune", shop.path, "--json").stdout)["stages"][0]["summary"]
    assert summary["valid_ndcg@10"] is None
    assert summary["scorers"]["linear"] > 0
