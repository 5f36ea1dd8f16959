from __future__ import annotations

import numpy as np
import pytest
import torch
from test_transformer import FP32, TEXTS

from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.runtime.device import Compute
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.text import cache
from crossrec_cli.text.transformer import TransformerEncoder


@pytest.fixture
def read(tiny_bert, tmp_path, monkeypatch):
    """Embeds with the cache, and says which texts the language model really read."""

    def embed(texts, folder=tiny_bert, compute=FP32, **settings):
        encoder, encoded = TransformerEncoder(folder, Encoder(**settings), compute), []
        plain = encoder.embed
        monkeypatch.setattr(encoder, "embed", lambda texts, advance: (encoded.extend(texts), plain(texts, advance))[1])
        vectors = cache.embed(encoder, texts, tmp_path / "embeddings", Silent())
        np.testing.assert_allclose(vectors, plain(texts, lambda done, detail="": None), atol=1e-5)
        return encoded

    return embed


def test_only_texts_that_are_new_are_read(read):
    assert sorted(read(TEXTS)) == sorted(set(TEXTS))
    assert read(TEXTS[::-1]) == []
    assert read([*TEXTS, "blue", "jazz"]) == ["blue", "jazz"]
    assert read(["blue"]) == []
    assert read(["jazz"]) == ["jazz"], "what the latest run did not need is forgotten"
    assert read([]) == []


def test_other_settings_are_other_embeddings(read):
    assert read(TEXTS)
    assert read(TEXTS, pooling="cls")
    assert read(TEXTS) == read(TEXTS, pooling="cls") == []
    assert read(TEXTS, max_tokens=8), "of three, the oldest goes"
    assert read(TEXTS)


def test_other_code_reads_the_texts_anew(read, monkeypatch):
    assert read(TEXTS)
    monkeypatch.setattr(cache, "VERSION", cache.VERSION + 1)
    assert read(TEXTS)


def test_other_weights_and_precisions_are_other_embeddings(read, tiny_bert, tmp_path):
    assert read(TEXTS)
    other = tmp_path / "other"
    encoder = TransformerEncoder(tiny_bert, Encoder(), FP32)
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight += 1
    encoder.model.save_pretrained(other)
    encoder.tokenizer.save_pretrained(other)
    assert read(TEXTS, folder=other)
    assert cache._key(
        TransformerEncoder(tiny_bert, Encoder(), Compute(torch.device("cpu"), torch.bfloat16))
    ) != cache._key(TransformerEncoder(tiny_bert, Encoder(), FP32))


def test_a_damaged_cache_is_written_anew(read, tmp_path):
    read(TEXTS)
    (file,) = (tmp_path / "embeddings").iterdir()
    file.write_bytes(file.read_bytes()[:-40])
    assert read(TEXTS)
    assert read(TEXTS) == []
