"""``crossrec run --nightly``: going on from the model before, and keeping yesterday's lists where it became worse."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from facts import check_failed

from crossrec_cli.errors import ExitCode


def night(shop, crossrec, *more):
    return crossrec("run", shop.path, "--nightly", "--json", *more)


def test_a_night_goes_on_with_new_users_items_and_tags(trained, crossrec):
    before = trained.table("finetune", "fusion")
    items, users = (pd.read_parquet(trained.folder / f"{name}.parquet") for name in ("items", "users"))
    rows = pd.read_parquet(trained.folder / "interactions.parquet")
    late = rows["time"].max() + pd.Timedelta(days=1)
    new = pd.DataFrame({"item": ["jazz-book-new"], "kind": ["book"], "title": ["jazz book live 99"]})
    bought = pd.DataFrame(
        {"user": ["fresh", "jazz1"], "item": ["jazz-record-3", "jazz-book-new"], "time": [late, late]}
    )
    pd.concat([new, items[items["item"] != "metal-record-0"]]).to_parquet(trained.folder / "items.parquet")
    pd.concat([rows[rows["item"] != "metal-record-0"], bought]).to_parquet(trained.folder / "interactions.parquet")
    pd.concat([pd.DataFrame({"user": ["fresh"], "club": ["0"]}), users]).to_parquet(trained.folder / "users.parquet")
    done = json.loads(night(trained, crossrec).stdout)
    stages = {stage["stage"]: stage for stage in done["stages"]}
    assert stages["finetune"]["summary"]["epochs"] == 1
    after = trained.table("finetune", "fusion")
    pd.testing.assert_frame_equal(after, before)  # choices and weights stay
    assert done["against"]["ours"] > done["against"]["theirs"] * 0.9
    lists = trained.table("recommend", "recommendations")
    assert {"fresh", "jazz2"} < set(lists["user_id"])
    vectors = trained.table("finetune", "item_vectors").set_index("item_id")["neural_vector"]
    assert np.isfinite(vectors["jazz-book-new"]).all() and "metal-record-0" not in vectors
    for command in (["recommend", trained.path, "--user", "fresh"], ["search", trained.path, "jazz"]):
        assert crossrec(*command).exit_code == 0, "what a night leaves is read without its options"
    again = json.loads(night(trained, crossrec).stdout)
    assert not any(stage["ran"] for stage in again["stages"])


def test_lists_stay_where_the_model_became_worse(trained, crossrec):
    lists = trained.table("recommend", "recommendations")
    rows = pd.read_parquet(trained.folder / "interactions.parquet")
    books = rows["item"].str.contains("-book-")
    shuffled = np.random.default_rng(0).permutation(rows.loc[books, "item"].to_numpy())
    rows.loc[books, "item"] = shuffled
    rows.to_parquet(trained.folder / "interactions.parquet")
    done = night(trained, crossrec)
    assert done.exit_code == ExitCode.REGRESSION
    assert json.loads(done.stdout)["against"]["ours"] < json.loads(done.stdout)["against"]["theirs"]
    pd.testing.assert_frame_equal(trained.table("recommend", "recommendations"), lists)


def test_the_first_night_trains_everything(shop, crossrec):
    done = json.loads(night(shop, crossrec, "--quick", "--set", "evaluate.baselines=[text]").stdout)
    assert [stage["ran"] for stage in done["stages"]] == [True] * 5
    assert "valid_ndcg@10" in done["stages"][2]["summary"]


def test_without_a_fitting_model_there_is_nothing_to_go_on_from(trained, crossrec):
    check_failed(night(trained, crossrec, "--quick"), ExitCode.CONFIG, "finetune.init", "neural")
    check_failed(
        crossrec(
            "run",
            trained.path,
            "--set",
            f"run_dir={trained.folder / 'other'}",
            "--set",
            "finetune.init=previous",
            "--to",
            "finetune",
        ),
        ExitCode.CONFIG,
        "finetune.init",
    )
