"""One taste in three languages: a model that knows translations carries it over, one that has them wrong does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import WORDS, books_found, make_shop, random_bert

from crossrec_cli.config.training_fields import Encoder, Interest
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.whitening import Whitening
from crossrec_cli.runtime.device import Compute
from crossrec_cli.text.transformer import TransformerEncoder

LANGUAGES = ("", "ito", "ska")
"""English, and two whose words are the English ones with another ending."""
CPU = Compute(torch.device("cpu"), torch.float32)


def said_in(language: str, text: str) -> str:
    return " ".join(word + language if word in WORDS else word for word in text.split())


@pytest.fixture(scope="module")
def untaught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT that reads the words of all three languages and knows none of them."""
    words = [word + language for language in LANGUAGES for word in WORDS]
    return random_bert(tmp_path_factory.mktemp("untaught"), words)


def taught(untaught: Path, folder: Path, meant: dict[str, list[str]]) -> Path:
    """The same, where each language's words read nearly like the English ones that are given for them."""
    encoder = TransformerEncoder(untaught, Encoder(), CPU)
    words = encoder.model.get_input_embeddings().weight
    number = encoder.tokenizer.convert_tokens_to_ids
    with torch.no_grad():
        for language, english in meant.items():
            own = number([word + language for word in WORDS])
            words[own] = words[number(english)] + words[own] / 5
    encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def multilingual(untaught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return taught(untaught, tmp_path_factory.mktemp("multilingual"), dict.fromkeys(LANGUAGES[1:], WORDS))


@pytest.fixture(scope="module")
def mistaught(untaught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It takes one language's jazz for metal, metal for blues and blues for jazz.

    One that knows nothing would be no control: how its random words lie is as good as right half of the time.
    """
    jazz, metal, blues, *others = WORDS
    meant = {"ito": WORDS, "ska": [metal, blues, jazz, *others]}
    return taught(untaught, tmp_path_factory.mktemp("mistaught"), meant)


def nearest_is_a_translation(folder: Path) -> float:
    """Of all items in the item tower, those whose two nearest are the same item in the other languages."""
    items = [f"{first} {second}" for first in WORDS[:6] for second in WORDS[6:12]]
    texts = [said_in(language, item) for item in items for language in LANGUAGES]
    embeddings = TransformerEncoder(folder, Encoder(), CPU).embed(texts, lambda *_: None)
    everywhere = np.ones(len(texts), bool)
    torch.manual_seed(0)
    white, domain = Whitening.of(embeddings)(embeddings), ItemStats(everywhere, everywhere.astype(int))
    model = InterestModel(Interest(dim=64, user_encoder="bag"), white, domain, tags=0).eval()
    with torch.no_grad():
        alike = torch.nn.functional.normalize(model.tower().vectors)
        alike = alike @ alike.T - 2 * torch.eye(len(texts))
    nearest = alike.topk(2, dim=1).indices.numpy() // 3
    return float((nearest == np.arange(len(texts))[:, None] // 3).mean())


def test_three_languages_of_one_item_land_together(multilingual, untaught):
    assert nearest_is_a_translation(multilingual) > 0.9
    assert nearest_is_a_translation(untaught) < 0.3


def shares_across_languages(folder: Path, model: Path, crossrec) -> tuple[float, float]:
    """``books_found`` of the planted shop with its records in one language and its books in another.

    And of what reads most like queries in a third, how much is what they name.
    """
    shop = make_shop(folder, model)
    items = pd.read_parquet(folder / "items.parquet")
    language = items["kind"].map({"record": "ito", "book": "ska"})
    items["title"] = [said_in(*pair) for pair in zip(language, items["title"], strict=True)]
    items.to_parquet(folder / "items.parquet")
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    right = []
    for wanted in ("jazz book", "metal record", "blues book"):
        done = crossrec("search", shop.path, wanted, "--json", "--set", "search.k=200")
        assert done.exit_code == 0, done.output
        results = sorted(json.loads(done.stdout)["found"]["results"], key=lambda row: -row["relevance"])
        right += [row["item_id"].startswith(wanted.replace(" ", "-")) for row in results[:10]]
    return books_found(shop), float(np.mean(right))


@pytest.mark.slow
def test_a_taste_and_a_query_cross_from_one_language_to_another(multilingual, mistaught, tmp_path, crossrec):
    shares, searches = {}, {}
    for name, model in (("multilingual", multilingual), ("mistaught", mistaught)):
        (tmp_path / name).mkdir()
        shares[name], searches[name] = shares_across_languages(tmp_path / name, model, crossrec)
    assert shares["multilingual"] > 0.3
    assert shares["multilingual"] > shares["mistaught"] + 0.2
    assert searches["multilingual"] > 0.9
    assert searches["mistaught"] < 0.7
