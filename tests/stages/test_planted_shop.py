"""What a shop whose answer is known gets from the five stages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import STAGES, books_found, make_shop, needs_gpu
from facts import lacking

from crossrec_cli.artifacts import schemas


def test_text_carries_a_taste_from_source_to_target(trained):
    """Metal records and metal books never meet in training; the shared word is all that links them."""
    items = trained.table("preprocess", "items").set_index("item_index")["item_id"]
    interactions = trained.table("preprocess", "interactions")
    train = interactions[interactions["split"] == "train"]
    names = train["item_index"].map(items)
    books, records = (
        set(train.loc[names.str.startswith(f"metal-{kind}"), "user_index"]) for kind in ("book", "record")
    )
    assert books, "metal books are in training"
    assert records, "so are metal records"
    assert not books & records
    cases = trained.table("preprocess", "cases")
    metal_tests = cases[(cases["split"] == "test") & cases["user_index"].isin(records)]
    assert len(metal_tests) == 40
    assert books_found(trained) > 0.3
    lists = trained.table("recommend", "recommendations")
    lists = lists[lists["user_id"].str.fullmatch(r"metal\d+")]
    assert len(lists) == 40 * 5
    assert lists["item_id"].str.startswith("metal").mean() > 0.9, "who has a metal book by now"


def test_without_text_shared_users_alone_carry_a_taste(tmp_path, tiny_bert, crossrec):
    """Texts that say nothing: the test above really measures the text.

    Jazz people still get jazz books: they bought books in training.
    """
    shop = make_shop(tmp_path, tiny_bert, text="{kind}")
    assert crossrec("run", shop.path).exit_code == 0
    assert books_found(shop) < 0.21
    lists = shop.table("recommend", "recommendations")
    jazz = lists[lists["user_id"].str.startswith("jazz")]
    assert jazz["item_id"].str.startswith("jazz").mean() > 0.9


@pytest.mark.parametrize("encoder", ["sequence", "hybrid"])
def test_the_other_user_encoders_carry_it_too(trained, crossrec, encoder):
    trained.config["interest"]["user_encoder"] = encoder
    done = crossrec("run", trained.path, "--to", "evaluate")
    assert done.exit_code == 0, done.output
    assert books_found(trained) > 0.3


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("encoder", ["bag", "hybrid"])
def test_every_stage_runs_on_a_gpu_and_finds_the_taste_there(shop, crossrec, encoder, precision):
    shop.config["runtime"] = {"device": "auto", "precision": precision}
    shop.config["interest"]["user_encoder"] = encoder
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    assert books_found(shop) > 0.3
    held = shop.table("finetune", "learning_curve")["peak_memory_bytes"]
    assert held.between(1, 2**28).all(), "the GPU's memory, not that of a process with torch in it"


@needs_gpu
@pytest.mark.parametrize("how", ["lora", "full"])
def test_the_language_model_is_adapted_on_a_gpu(shop, crossrec, how):
    shop.config["adapt"] |= {"language_model": how, "text": {"steps": 20}}
    shop.config["runtime"] = {"device": "cuda", "precision": "bf16"}
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output


def test_a_user_without_any_purchase_is_known_by_tags(trained):
    """'new' bears the tag of the jazz people."""
    lists = trained.table("recommend", "recommendations").set_index("user_id")
    assert lists.loc["new", "item_id"].str.startswith("jazz").all()


def test_each_stage_by_itself_gives_what_run_gives(trained, crossrec, tmp_path):
    run = trained.run_dir
    trained.config["run_dir"] = str(tmp_path / "again")
    for stage in STAGES:
        done = crossrec(stage, trained.path)
        assert done.exit_code == 0, done.output
        for file in sorted((run / stage / "current").iterdir()):
            if file.name not in {"manifest.json", "learning_curve.parquet"}:  # they hold times
                twin = trained.run_dir / stage / "current" / file.name
                assert twin.read_bytes() == file.read_bytes(), f"{stage}/{file.name} differs"


def test_tables_hold_what_they_say(trained):
    lists = trained.table("recommend", "recommendations")
    users = trained.table("preprocess", "users")
    items = trained.table("preprocess", "items")
    assert list(lists.columns) == [*schemas.RECOMMENDATIONS.names, *schemas.WHY.names]
    assert set(lists["user_id"]) == set(users["user_id"]), "everybody gets a list, 'new' without a purchase too"
    assert lists["score"].between(0, 1, inclusive="neither").all()
    assert (lists.groupby("user_id")["score"].diff().dropna() <= 0).all()
    assert set(lists["item_id"]) <= set(items.loc[items["domain"] == "target", "item_id"])
    bought = pd.read_parquet(trained.folder / "interactions.parquet")
    assert lists.merge(bought, left_on=["user_id", "item_id"], right_on=["user", "item"]).empty


def parts_add_up(lists: pd.DataFrame) -> None:
    """To the score as log-odds; those of the scorers up to what is added to all scores of a user."""
    odds = np.log(lists["score"] / (1 - lists["score"]))
    whole = lists[["from_source", "from_target", "from_sales", "from_rest"]].sum(axis=1)
    np.testing.assert_allclose(whole, odds, atol=1e-3)
    of_group = odds - lists["by_scorer"].map(lambda parts: sum(part["part"] for part in parts))
    assert (of_group.groupby(lists["user_id"]).max() - of_group.groupby(lists["user_id"]).min()).max() < 1e-3


def test_reasons_name_what_carried_an_item_and_their_parts_add_up_to_its_score(trained):
    """Who bought metal records, and only the other day a metal book, is shown metal books because of these."""
    lists = trained.table("recommend", "recommendations")
    parts_add_up(lists)
    metal = lists[lists["user_id"].str.fullmatch(r"metal\d+") & lists["item_id"].str.startswith("metal")]
    assert metal["reasons"].str[0].map(lambda why: why["item_id"].startswith("metal")).mean() > 0.95
    assert (metal["from_source"] > metal["from_target"]).mean() > 0.95
    assert (metal["from_source"] > 0).all()
    shares = metal["reasons"].map(lambda why: [one["share"] for one in why])
    assert shares.map(lambda some: min(some) > 0 and sum(some) <= 1 + 1e-5).all()
    names = trained.table("preprocess", "items").set_index("item_id")["text"]
    first = metal["reasons"].str[0].map(lambda why: names[why["item_id"]])
    assert all(name in because for name, because in zip(first, metal["because"], strict=True))
    nobody = lists[lists["user_id"] == "new"]
    assert (nobody["reasons"].str.len() == 0).all()
    assert (nobody[["from_source", "from_target"]] == 0).all(axis=None)


def test_the_source_share_is_that_of_the_parts_and_unknown_without_purchases(trained):
    lists = trained.table("recommend", "recommendations").set_index("user_id")
    assert lists.loc["new", "source_share"].isna().all()
    others = lists.drop("new")
    source, target = others["from_source"].abs(), others["from_target"].abs()
    np.testing.assert_allclose(others["source_share"], source / (source + target), atol=1e-5)
    readers = others[others.index.str.contains("reader")]
    assert (readers["source_share"] == 0).all(), "they bought books alone"


def test_reasons_are_left_out_where_none_are_wanted(trained, crossrec):
    before = trained.table("recommend", "recommendations")
    assert crossrec("recommend", trained.path, "--set", "recommend.reasons=0").exit_code == 0
    pd.testing.assert_frame_equal(trained.table("recommend", "recommendations"), before[schemas.RECOMMENDATIONS.names])


def test_a_score_is_a_probability_on_validation(trained):
    """Summed over the books not yet bought, the scores of a user's next purchase come to about one."""
    trained.config["recommend"] = {"k": 36, "exclude_seen": True}
    lists = trained.table("recommend", "recommendations")
    assert 0.02 < lists["score"].mean() < 0.4


def test_learning_is_written_down(trained):
    for stage, epochs in (("pretrain-adapt", 10), ("finetune", 5)):
        learning = trained.table(stage, "learning_curve")
        assert learning["epoch"].tolist() == list(range(1, epochs + 1))
        assert np.isfinite(learning["loss"]).all()
        assert learning["loss"].iloc[-1] < learning["loss"].iloc[0]
        assert learning["learning_rate"].is_monotonic_decreasing


def test_a_manifest_tells_what_an_artifact_was_made_from(trained):
    manifest = json.loads((trained.run_dir / "finetune" / "current" / "manifest.json").read_text())
    assert manifest["config"]["finetune.epochs"] == 5
    assert {"preprocess/cases.parquet", "pretrain-adapt/model.safetensors"} <= set(manifest["inputs"])
    assert manifest["files"]["learning_curve.parquet"]["rows"] == 5
    assert manifest["versions"]["torch"]
    assert manifest["wall_seconds"] > 0
    assert manifest["peak_memory_bytes"] > 10**7
    assert Path(trained.run_dir / "finetune" / "current").is_symlink()


def test_the_log_file_holds_every_epoch(trained):
    log = (trained.run_dir / "run.log").read_text()
    losses = trained.table("pretrain-adapt", "learning_curve")["loss"]
    assert len(losses) == 10
    for epoch, loss in enumerate(losses, 1):
        assert any(not lacking(line, "pretrain-adapt", f"epoch {epoch}", f"{loss:.4f}") for line in log.splitlines())
    assert all(f"INFO {stage}: " in log for stage in STAGES)
