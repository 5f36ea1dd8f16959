"""Lists in some languages only, and reasons in the shop's."""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa
import pytest

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.field_types import SCORERS
from crossrec_cli.models import federated
from crossrec_cli.ranking.reason_sentences import OF_SCORER, WORDINGS, NamedItem, language_of, sentence


@pytest.fixture
def spoken(shop):
    """The planted shop, whose jazz books are German, blues books Chinese and metal books of no known language."""
    items = pd.read_parquet(shop.folder / "items.parquet")
    languages = {"jazz-book": "DE", "blues-book": "zh", "metal-book": None}
    items["spoken"] = [languages.get(item.rpartition("-")[0], "en") for item in items["item"]]
    items.to_parquet(shop.folder / "items.parquet")
    shop.config["data"]["platforms"][0]["items"]["columns"]["language"] = "spoken"
    shop.config["data"]["detect_language"] = False
    shop.config["interest"] = {"scorers": ["text", "popularity"]}
    return shop


def listed(shop, crossrec, *options) -> tuple[pd.DataFrame, dict]:
    done = crossrec("recommend", shop.path, "--json", *options)
    assert done.exit_code == 0, done.output
    return shop.table("recommend", "recommendations"), json.loads(done.stdout)["stages"][0]["summary"]


def test_lists_keep_to_languages_and_reasons_are_in_the_shops(spoken, crossrec):
    assert crossrec("run", spoken.path, "--to", "finetune").exit_code == 0
    both = {"jazz", "blues", "metal"}
    for languages, kept in (("[de]", {"jazz", "metal"}), ("[de, zh]", both), ("[]", both)):
        lists, summary = listed(
            spoken, crossrec, "--set", f"recommend.languages={languages}", "--set", "recommend.k=36"
        )
        assert set(lists["item_id"].str.partition("-")[0]) == kept
        assert summary.get("items_kept_out", {}).get("languages", 0) == 12 * (3 - len(kept))
    done = crossrec(
        "recommend", spoken.path, "--user", "blues1", "--why-not", "blues-book-1", "--set", "recommend.languages=[de]"
    )
    assert "recommend.languages" in done.stdout
    assert " zh" in done.stdout
    sentences = {}
    for language in ("auto", "en", "de", "zh"):
        lists, _ = listed(spoken, crossrec, "--set", f"report.language={language}", "--set", "recommend.k=36")
        sentences[language] = lists["because"].tolist()
    assert sentences["de"] == sentences["auto"] or sentences["zh"] == sentences["auto"], "12 books each"
    assert not {*sentences["en"]} & {*sentences["de"]}
    assert not {*sentences["zh"]} & {*sentences["de"]}


def items(*languages: str | None) -> pa.Table:
    """Target items in these languages, after ten source items in English."""
    domains = [c.SOURCE] * 10 + [c.TARGET] * len(languages)
    return pa.table({c.DOMAIN: domains, c.LANGUAGE: pa.array(["en"] * 10 + [*languages], pa.string())})


def test_auto_takes_the_language_of_most_target_items_if_it_can():
    assert language_of("auto", items("zh", "zh", "de", None, None, None)) == "zh"
    assert language_of("auto", items("fr", "fr", "de")) == "en"
    assert language_of("auto", items(None)) == language_of("auto", items()) == "en"
    assert language_of("de", items("zh")) == "de"


@pytest.mark.parametrize("language", WORDINGS)
def test_every_language_has_a_sentence_for_every_scorer(language):
    assert OF_SCORER.keys() == {*SCORERS, federated.NAME}
    assert WORDINGS[language].kinds.keys() == set(OF_SCORER.values())
    reasons = [NamedItem(f"thing {number}", c.SOURCE, scorer, 0.25) for number, scorer in enumerate(SCORERS)]
    text = sentence(reasons, ["brand Acme", "soap"], language)
    assert all(text.count(name) == 1 for name in (*(reason.name for reason in reasons), "Acme", "soap"))
    assert ("source" in text) == ("brand" in text) == (language == "en")
    assert sentence([], [], language) == WORDINGS[language].nothing
