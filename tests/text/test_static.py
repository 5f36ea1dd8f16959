"""The static encoder: the mean of token vectors that are distilled from a language model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from test_transformer import FP32, ignore
from transformers import BertModel

from crossrec_cli.artifacts.files import LANGUAGE_MODEL
from crossrec_cli.config.training_fields import Encoder, TextTraining
from crossrec_cli.errors import ArtifactError, UnavailableError
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.text import static
from crossrec_cli.text.encoders import load_encoder, open_encoder, save_encoder, was_adapted
from crossrec_cli.text.static import StaticEncoder, distill, rarity, special_tokens
from crossrec_cli.text.transformer import TransformerEncoder

WORDS = ["jazz", "metal", "blues", "record", "book", "red"]
TEXTS = ["jazz record", "record metal", "blues record", "book record red"]


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(static, "user_cache_path", lambda name: tmp_path / "user-cache" / name)
    return tmp_path / "user-cache" / "crossrec" / "static"


def distilled(folder: Path, texts: list[str] = TEXTS) -> StaticEncoder:
    return StaticEncoder.distilled(folder, Encoder(), FP32, texts, Silent())


def test_tokens_lie_to_each_other_as_the_language_model_reads_them_alone(tiny_bert):
    transformer = TransformerEncoder(tiny_bert, Encoder(), FP32)
    vectors = distill(transformer, Silent())[transformer.tokenizer.convert_tokens_to_ids(WORDS)]
    alone = transformer.embed(WORDS, ignore)

    def apart(some: np.ndarray) -> np.ndarray:
        return np.linalg.norm(some[:, None] - some, axis=2)

    assert vectors.shape == (6, 32)
    np.testing.assert_allclose(apart(vectors), apart(alone), atol=1e-4)


def test_a_text_is_the_mean_of_its_tokens_and_common_ones_count_less(tiny_bert):
    encoder = distilled(tiny_bert, [*TEXTS, *(f"record {number}" for number in range(100))])
    jazz, record, both, turned, empty = encoder.embed(["jazz", "record", "jazz record", "record jazz", ""], ignore)
    np.testing.assert_allclose(both, (jazz + record) / 2, atol=1e-6)
    assert np.array_equal(both, turned)
    assert not empty.any()
    unweighted = distill(TransformerEncoder(tiny_bert, Encoder(), FP32), Silent())
    number = encoder.tokenizer.convert_tokens_to_ids("record")
    share = 104 / (104 * 2 + 1)
    np.testing.assert_allclose(record, unweighted[number] * 1e-3 / (1e-3 + share), atol=1e-6)


def test_rarity_of_a_token_that_does_not_occur_is_1():
    np.testing.assert_allclose(rarity([[0, 0, 2], [2, 2]], 4), [1e-3 / 0.401, 1, 1e-3 / 0.601, 1], rtol=1e-5)
    assert rarity([], 2).tolist() == [1, 1]


def test_a_token_is_read_between_the_tokens_that_mark_a_text(tiny_bert):
    bert = TransformerEncoder(tiny_bert, Encoder(), FP32)
    assert special_tokens(bert) == ([bert.tokenizer.cls_token_id], [bert.tokenizer.sep_token_id])
    bert.tokens = lambda texts: [[], [7]]
    assert special_tokens(bert) == ([], []), "as of GPT-2"
    bert.tokens = lambda texts: [[1], [3, 9, 1]]
    assert special_tokens(bert) == ([], [1]), "as of T5"


def test_vectors_are_distilled_once_for_all_shops(tiny_bert, user_cache, monkeypatch):
    first = distilled(tiny_bert).embed(TEXTS, ignore)
    (file,) = user_cache.iterdir()
    once = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(static, "distill", lambda *_: pytest.fail("distilled again"))
        assert np.array_equal(distilled(tiny_bert).embed(TEXTS, ignore), first)
        distilled(tiny_bert, ["another shop"])
    file.write_bytes(once[:-10])
    assert np.array_equal(distilled(tiny_bert).embed(TEXTS, ignore), first), "a damaged file is made anew"
    assert file.read_bytes() == once


def test_other_weights_are_distilled_anew_and_the_cache_stays_small(tiny_bert, tmp_path, user_cache, monkeypatch):
    monkeypatch.setattr(static, "KEPT", 1)
    before = distilled(tiny_bert).embed(TEXTS, ignore)
    other = shutil.copytree(tiny_bert, tmp_path / "other")
    model = BertModel.from_pretrained(other)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight *= 2
    model.save_pretrained(other)
    assert not np.allclose(distilled(other).embed(TEXTS, ignore), before)
    assert len(list(user_cache.iterdir())) == 1


def test_a_cache_that_cannot_be_written_does_no_harm(tiny_bert, user_cache):
    user_cache.parent.mkdir(parents=True)
    user_cache.write_text("a file where the folder should be")
    assert distilled(tiny_bert).embed(TEXTS, ignore).any()


def test_auto_takes_what_costs_less(tiny_bert):
    """A text costs as much as four tokens; the vocabulary has some 130."""
    tokens = len(TransformerEncoder(tiny_bert, Encoder(), FP32).tokenizer)

    def kind(texts: int, **settings: str) -> str:
        config = Encoder(model=str(tiny_bert), **settings)
        return open_encoder(config, [f"jazz {number}" for number in range(texts)] * 3, FP32, Silent()).KIND

    assert kind(tokens // 4) == "transformer"
    assert kind(tokens // 4 + 1) == "static"
    assert kind(tokens // 4 + 1, kind="transformer") == "transformer"
    assert kind(1, kind="static") == "static"


def test_later_stages_have_the_encoder_that_was_saved(tiny_bert, tmp_path, monkeypatch):
    config, inputs = Encoder(model=str(tiny_bert)), {LANGUAGE_MODEL: tmp_path / "static.safetensors"}
    encoder = distilled(tiny_bert)
    save_encoder(inputs[LANGUAGE_MODEL], encoder, "frozen")
    monkeypatch.setattr(static, "distill", lambda *_: pytest.fail("distilled again"))
    loaded = load_encoder(config, inputs, FP32)
    assert np.array_equal(loaded.embed(TEXTS, ignore), encoder.embed(TEXTS, ignore))
    assert not was_adapted(inputs)
    save_encoder(inputs[LANGUAGE_MODEL], encoder, "full")
    assert was_adapted(inputs)
    inputs[LANGUAGE_MODEL].write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match=r"static\.safetensors"):
        load_encoder(config, inputs, FP32)


def test_lora_is_for_transformers(tiny_bert):
    with pytest.raises(UnavailableError, match=r"adapt\.language_model"):
        distilled(tiny_bert).trainable("lora", TextTraining())


def test_a_catalogue_of_many_texts_is_read_by_a_static_encoder(shop, tiny_bert, crossrec):
    """All stages work with it, and the manifest says which encoder it was."""
    shop.config["encoder"]["kind"] = "auto"
    done = crossrec("run", shop.path, "--quick")
    assert done.exit_code == 0, done.output
    manifest = json.loads((shop.run_dir / "pretrain-adapt/current/manifest.json").read_text())
    assert manifest["summary"]["encoder"] == "static"
    assert len(shop.table("recommend", "recommendations"))
    weights = shop.run_dir / "pretrain-adapt/current/language_model.safetensors"
    encoder = load_encoder(Encoder(model=str(tiny_bert)), {LANGUAGE_MODEL: weights}, FP32)
    embeddings = encoder.embed(list(shop.table("preprocess", "items")["text"]), ignore)
    np.testing.assert_allclose(embeddings, np.stack(shop.table("pretrain-adapt", "item_text")["embedding"]), atol=1e-6)
