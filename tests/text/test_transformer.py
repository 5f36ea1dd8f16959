from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import needs_gpu
from facts import fails
from transformers import (
    BertModel,
    GPT2Config,
    GPT2Model,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
    T5Model,
    ViTConfig,
    ViTModel,
    XLNetConfig,
    XLNetModel,
)

from crossrec_cli.config.schema import Runtime
from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import ConfigError, UnavailableError
from crossrec_cli.runtime.device import Compute, prepare
from crossrec_cli.text.find import fingerprint, locate
from crossrec_cli.text.transformer import TransformerEncoder, pool

FP32 = Compute(torch.device("cpu"), torch.float32)
TEXTS = ["jazz record red", "metal", "", "jazz book old rare live", "metal", "jazz record red"]


def ignore(done: int, detail: str = "") -> None:
    pass


def test_order_batches_and_repeats_do_not_matter(tiny_bert):
    once = TransformerEncoder(tiny_bert, Encoder(batch_size=64), FP32).embed(TEXTS, ignore)
    one_by_one = TransformerEncoder(tiny_bert, Encoder(batch_size=1), FP32).embed(TEXTS, ignore)
    assert once.shape == (6, 32)
    np.testing.assert_allclose(once, one_by_one, atol=1e-5)
    assert np.array_equal(once[0], once[5])
    assert not np.allclose(once[0], once[1])


def test_each_distinct_text_is_encoded_once(tiny_bert):
    counted = []
    TransformerEncoder(tiny_bert, Encoder(batch_size=2), FP32).embed(
        TEXTS, lambda done, detail="": counted.append(done)
    )
    assert sum(counted) == 4


def test_long_texts_are_cut(tiny_bert):
    encoder = TransformerEncoder(tiny_bert, Encoder(max_tokens=4), FP32)
    long, cut = encoder.embed(["jazz metal red blue green", "jazz metal"], ignore)
    np.testing.assert_allclose(long, cut, atol=1e-5)  # two words and the two marks around them


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_pooling_sees_no_padding(pooling):
    states = torch.arange(24.0).reshape(2, 4, 3)
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    expected = {"mean": states[0, :2].mean(0), "cls": states[0, 0], "last": states[0, 1]}[pooling]
    assert torch.equal(pool(states, mask, pooling)[0], expected)


def tiny_gpt(folder: Path, tiny_bert: Path) -> Path:
    """Write a GPT-2 with random weights that reads the same words and has no token to pad with."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_bert)
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, eos_token="[SEP]", unk_token="[UNK]")
    plain.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    GPT2Model(GPT2Config(**sizes)).save_pretrained(folder)
    return folder


def test_a_causal_model_without_a_pad_token(tmp_path: Path, tiny_bert):
    config = Encoder(model=str(tiny_gpt(tmp_path, tiny_bert)))
    assert TransformerEncoder(locate(config), config, FP32).pooling == "last", "the only token that has read the others"
    together = TransformerEncoder(locate(config), config, FP32).embed(["jazz", "jazz record red blue"], ignore)
    alone = TransformerEncoder(locate(config), config, FP32).embed(["jazz"], ignore)
    np.testing.assert_allclose(together[0], alone[0], atol=1e-5)


def test_of_a_model_that_also_writes_what_reads_is_used(tmp_path, tiny_bert):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_bert)
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5Model(T5Config(**sizes)).save_pretrained(tmp_path / "whole")
    # As sentence-t5 is published:
    T5EncoderModel.from_pretrained(tmp_path / "whole").save_pretrained(tmp_path / "reads")
    found = []
    for name in ("whole", "reads"):
        tokenizer.save_pretrained(tmp_path / name)
        encoder = TransformerEncoder(tmp_path / name, Encoder(), FP32)
        assert encoder.pooling == "mean"
        found.append(encoder.embed(TEXTS, ignore))
    np.testing.assert_array_equal(*found)


def test_a_model_of_pictures_is_refused(tmp_path, tiny_bert):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(**sizes, image_size=4, patch_size=2)).save_pretrained(tmp_path)
    PreTrainedTokenizerFast.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    with fails(UnavailableError, tmp_path, "vit"):
        TransformerEncoder(tmp_path, Encoder(), FP32)


def test_a_model_that_reads_texts_of_any_length(tmp_path, tiny_bert):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_bert)
    tokenizer.save_pretrained(tmp_path)
    sizes = {"vocab_size": len(tokenizer), "d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16}
    XLNetModel(XLNetConfig(**sizes)).save_pretrained(tmp_path)
    assert TransformerEncoder(tmp_path, Encoder(), FP32).embed(TEXTS, ignore).shape == (len(TEXTS), 16)


@pytest.mark.parametrize(("stated", "expected"), [("cls_token", "cls"), ("lasttoken", "last"), ("mean_tokens", "mean")])
def test_a_folder_says_how_its_texts_are_read(stated, expected, tiny_bert, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    assert TransformerEncoder(folder, Encoder(), FP32).pooling == "mean"
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{mode}": mode == stated for mode in ("cls_token", "mean_tokens", "lasttoken")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    assert TransformerEncoder(folder, Encoder(), FP32).pooling == expected
    assert TransformerEncoder(folder, Encoder(pooling="cls"), FP32).pooling == "cls", "the config has the last word"
    assert fingerprint(folder) != fingerprint(tiny_bert)


def test_a_model_that_brings_its_own_code_is_asked_for_by_name(tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(tiny_bert, folder)
    code = f"""
from pathlib import Path
from transformers import BertConfig, BertModel
Path({str(ran)!r}).touch()
class OwnConfig(BertConfig):
    model_type = "own"
class OwnModel(BertModel):
    config_class = OwnConfig
"""
    (folder / "own.py").write_text(code)
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}}
    (folder / "config.json").write_text(json.dumps(settings))
    with fails(UnavailableError, "encoder.trust_remote_code: true"):
        TransformerEncoder(folder, Encoder(), FP32)
    assert not ran.exists()
    trusted = TransformerEncoder(folder, Encoder(trust_remote_code=True), FP32)
    assert ran.exists()
    expected = TransformerEncoder(tiny_bert, Encoder(), FP32).embed(["jazz"], ignore)
    np.testing.assert_allclose(trusted.embed(["jazz"], ignore), expected, atol=1e-6)


def test_a_folder_that_transformers_cannot_load(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "no-such-type"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with fails(UnavailableError, tmp_path):
        TransformerEncoder(tmp_path, Encoder(), FP32)


def test_missing_weights_are_refused(tiny_bert, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_bert, copy)
    weights = safetensors.torch.load_file(copy / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("encoder.")}
    safetensors.torch.save_file(kept, copy / "model.safetensors", {"format": "pt"})
    with fails(UnavailableError, copy, "encoder.layer.0"):
        TransformerEncoder(copy, Encoder(), FP32)
    (copy / "model.safetensors").write_bytes(b"garbage")
    with fails(UnavailableError, copy):
        TransformerEncoder(copy, Encoder(), FP32)


def test_texts_longer_than_the_model_reads_are_refused_in_the_config(tiny_bert):
    with fails(ConfigError, "encoder.max_tokens", 513, 512):
        TransformerEncoder(tiny_bert, Encoder(max_tokens=513), FP32)


@needs_gpu
def test_a_gpu_gives_what_the_cpu_gives(tiny_bert):
    gpu = TransformerEncoder(tiny_bert, Encoder(), prepare(Runtime(device="cuda", precision="fp32"), 0)).embed(
        TEXTS, ignore
    )
    np.testing.assert_allclose(gpu, TransformerEncoder(tiny_bert, Encoder(), FP32).embed(TEXTS, ignore), atol=1e-3)


@needs_gpu
def test_a_full_gpu_says_what_to_lower(tiny_bert, fill_gpu):
    encoder = TransformerEncoder(tiny_bert, Encoder(batch_size=4096), prepare(Runtime(device="cuda"), 0))
    fill_gpu(1e-4)
    with fails(ConfigError, "encoder.batch_size", 4096):
        encoder.embed([f"{number // 99} " * 99 + f"{number % 99}" for number in range(4096)], ignore)


def test_weights_kept_in_half_precision_compute_in_the_configs(tiny_bert, tmp_path):
    """Many models come in float16 or bfloat16; what is adapted from them would otherwise learn in it."""
    shutil.copytree(tiny_bert, tmp_path / "half")
    BertModel.from_pretrained(tiny_bert).half().save_pretrained(tmp_path / "half")
    half = TransformerEncoder(tmp_path / "half", Encoder(), FP32)
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    np.testing.assert_allclose(
        half.embed(TEXTS, ignore), TransformerEncoder(tiny_bert, Encoder(), FP32).embed(TEXTS, ignore), atol=1e-2
    )
