"""The language model, adapted on the source, is kept where that helps."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from conftest import make_shop
from facts import check_failed, warns

from crossrec_cli.artifacts.files import SEARCH
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.ranking.searcher import Searcher

LANGUAGE_MODEL_FILE = "pretrain-adapt/current/language_model.safetensors"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["transformer", "static"])
def test_an_adapted_language_model_is_kept_where_it_ranks_the_source_better(shop, crossrec, kind):
    """Sixty numbers drown the one word of a text that says who buys it; only who buys what tells which word counts."""
    rng = np.random.default_rng(0)
    items = pd.read_parquet(shop.folder / "items.parquet")
    noise = [" ".join(map(str, rng.integers(0, 100, 60))) for _ in range(len(items))]
    items["title"] = items["title"].str.split().str[0] + " " + noise
    items.to_parquet(shop.folder / "items.parquet")
    rows = pd.read_parquet(shop.folder / "interactions.parquet")
    more = [
        {"user": f"more{user}", "item": f"{('jazz', 'metal', 'blues')[user % 3]}-record-{number}", "time": time}
        for user in range(1000)
        for number, time in zip(rng.choice(40, 8, replace=False), pd.date_range("2024-01-01", periods=8), strict=True)
    ]
    pd.concat([rows, pd.DataFrame(more)]).to_parquet(shop.folder / "interactions.parquet")
    text = {"steps": 100, "batch_size": 32, "lr": 5e-3}
    shop.config["adapt"] |= {"epochs": 1, "language_model": "full", "text": text}
    shop.config["interest"]["scorers"] = ["text", "popularity"]
    shop.config["encoder"]["kind"] = kind
    assert crossrec("preprocess", shop.path).exit_code == 0
    done = crossrec("pretrain-adapt", shop.path)
    assert done.exit_code == 0, done.output
    assert (shop.run_dir / "pretrain-adapt/current/language_model.safetensors").exists()
    done = crossrec("transfer", shop.path, "--set", "transfer.seeds=[1]")
    assert done.exit_code == 0, done.output
    found = shop.table("transfer", "transfer").set_index(["segment", "control"])["hr@10"]["cold user"]
    assert found["crossrec"] > found["frozen texts"] + 0.2
    assert crossrec("finetune", shop.path).exit_code == 0
    text = pd.read_parquet(shop.run_dir / "preprocess/current/items.parquet")["text"]
    assert crossrec("search", shop.path).exit_code == 0
    config = load_config(shop.path)
    inputs = inputs_of(config, SEARCH)
    searcher = Searcher.load(config, inputs, shop.run_dir / SEARCH / "current")
    query = searcher.encoder.embed(list(text[:5]), lambda *_: None)
    read = shop.table("pretrain-adapt", "item_text")["embedding"]
    np.testing.assert_allclose(query, np.stack(read[:5]), atol=1e-4)
    weights = (shop.run_dir / LANGUAGE_MODEL_FILE).read_bytes()
    done = crossrec("pretrain-adapt", shop.path, "--set", "adapt.init=previous", "--json")
    assert json.loads(done.stdout)["stages"][0]["summary"]["language_model"] == "full"
    assert (shop.run_dir / LANGUAGE_MODEL_FILE).read_bytes() == weights
    again = shop.table("pretrain-adapt", "item_text")["embedding"]
    np.testing.assert_allclose(np.stack(again), np.stack(read), atol=1e-4)


def test_an_adapted_language_model_that_ranks_no_better_is_not_kept(tmp_path, tiny_bert, crossrec):
    """Texts that all read the same cannot tell anything apart, whatever is learned."""
    shop = make_shop(tmp_path, tiny_bert, text="{kind}")
    shop.config["adapt"] |= {"epochs": 1, "language_model": "full", "text": {"steps": 2}}
    done = crossrec("run", shop.path, "--to", "pretrain-adapt")
    assert done.exit_code == 0, done.output
    assert warns(done, "NDCG@10 0.0000", "12 held-out")
    assert not (shop.run_dir / "pretrain-adapt/current/language_model.safetensors").exists()
    frozen = shop.table("pretrain-adapt", "item_text")
    assert crossrec("run", shop.path, "--set", "adapt.language_model=frozen", "--to", "pretrain-adapt").exit_code == 0
    assert shop.table("pretrain-adapt", "item_text")["embedding"].map(list).equals(frozen["embedding"].map(list))


def test_a_night_reads_texts_as_the_run_before_did(shop, crossrec):
    """The rarity of words, which a static encoder counts, changes with the catalogue; yesterday's vectors must fit."""
    shop.config["encoder"]["kind"] = "static"
    shop.config["adapt"]["epochs"] = 0
    previous = ("--set", "adapt.init=previous")
    check_failed(crossrec("run", shop.path, "--to", "pretrain-adapt", *previous), ExitCode.CONFIG, "adapt.init")
    assert crossrec("run", shop.path, "--to", "pretrain-adapt").exit_code == 0
    then, read = (shop.run_dir / LANGUAGE_MODEL_FILE).read_bytes(), shop.table("pretrain-adapt", "item_text")
    items = pd.read_parquet(shop.folder / "items.parquet")
    more = pd.DataFrame({"item": [f"more{n}" for n in range(30)], "kind": "book", "title": "jazz jazz live"})
    pd.concat([items, more]).to_parquet(shop.folder / "items.parquet")
    assert crossrec("run", shop.path, "--to", "pretrain-adapt", *previous).exit_code == 0
    assert (shop.run_dir / LANGUAGE_MODEL_FILE).read_bytes() == then
    now = shop.table("pretrain-adapt", "item_text")
    assert len(now) == len(read) + 30
    rows = set(map(tuple, now["embedding"]))
    assert all(tuple(vector) in rows for vector in read["embedding"])
    assert crossrec("run", shop.path, "--to", "pretrain-adapt").exit_code == 0
    assert (shop.run_dir / LANGUAGE_MODEL_FILE).read_bytes() != then
    changed = crossrec("pretrain-adapt", shop.path, *previous, "--set", "encoder.kind=auto")
    check_failed(changed, ExitCode.CONFIG, "encoder.kind")
