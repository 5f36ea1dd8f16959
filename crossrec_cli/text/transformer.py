"""Item texts to vectors, with a pretrained transformer."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from crossrec_cli.artifacts.file_hashes import sha256_of
from crossrec_cli.config.training_fields import Encoder, TextTraining
from crossrec_cli.errors import ConfigError, UnavailableError
from crossrec_cli.runtime.device import Compute
from crossrec_cli.text.encode import TokenEncoder, prefixes_of
from crossrec_cli.text.find import POOLING_FILE, PROMPTS_FILE, fingerprint, pickled

_BROKEN = (OSError, ValueError, KeyError, RuntimeError, AttributeError, SafetensorError)
"""What transformers raises where it cannot load a model."""


class TransformerEncoder(TokenEncoder):
    """A transformer that reads each text."""

    KIND = "transformer"
    SPECIAL_TOKENS = True
    model: PreTrainedModel

    def __init__(self, folder: Path, config: Encoder, compute: Compute) -> None:
        """Load the model.

        Args:
            folder: its files, as ``locate`` found them.
            config: pooling, prefixes, token limit and batch size.
            compute: device and precision.

        Raises:
            UnavailableError: if transformers cannot load it, or not all of it, or it does not read texts.
            ConfigError: if it cannot read as many tokens as the config says.
        """
        super().__init__(folder, config, compute)
        self.tokenizer, self.model = _load(folder, config.trust_remote_code)
        limits = self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", 0)
        longest = min(limit for limit in limits if limit > 0)  # XLNet has -1 for no limit
        if config.max_tokens > longest:
            raise ConfigError([f"encoder.max_tokens: is {config.max_tokens}, but this model reads {longest} at most"])
        self.pooling = config.pooling if config.pooling != "auto" else pooling_of(folder, self.model.config)
        self.prefixes = prefixes_of(config, prompts_of(folder))
        self.weights: Path | None = None  # of another training than the folder's
        # In float32 whatever precision its file has; half weights would otherwise be adapted in half precision.
        self.model.float().to(compute.device).eval()  # type: ignore[no-untyped-call]

    @property
    def width(self) -> int:
        """The length of an embedding."""
        width: int = self.model.config.hidden_size
        return width

    @property
    def batch_size(self) -> int:
        """As in the config."""
        return self.config.batch_size

    @property
    def settings(self) -> list[object]:
        """See ``TextEncoder``."""
        return [
            fingerprint(self.folder),
            self.config.max_tokens,
            self.pooling,
            str(self.compute.dtype),
            *([self.prefixes] if any(self.prefixes) else []),
            *([sha256_of(self.weights)] if self.weights else []),
        ]

    def trainable(self, how: str, config: TextTraining) -> nn.Module:
        """See ``TokenEncoder``; with ``full`` all but the word embeddings and the first layers is trained."""
        if how == "lora":
            return _with_lora(self.model, config)
        layers = next(part for part in self.model.modules() if isinstance(part, nn.ModuleList))
        for part in (self.model.get_input_embeddings(), *list(layers)[: config.frozen_layers]):
            part.requires_grad_(False)
        return self.model

    def vectors(self, model: nn.Module, tokens: list[list[int]]) -> torch.Tensor:
        """See ``TokenEncoder``."""
        batch = self.tokenizer.pad({"input_ids": tokens}, return_tensors="pt").to(self.compute.device)
        return pool(model(**batch).last_hidden_state.float(), batch["attention_mask"], self.pooling)


def _load(folder: Path, trust: bool) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """A tokenizer that pads on the right, and the model; of an encoder-decoder such as T5 only the encoder."""
    tokenizer = load_tokenizer(folder, trust)
    model: PreTrainedModel
    with _loading(folder):
        model, report = AutoModel.from_pretrained(
            folder, use_safetensors=not pickled(folder), output_loading_info=True, trust_remote_code=trust
        )
    has_decoder = model.config.model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    reader = model.get_encoder() if has_decoder else model
    if reader.main_input_name != "input_ids" or not hasattr(reader.config, "hidden_size"):
        raise UnavailableError(f"{folder}: a {model.config.model_type} does not read texts")
    unused = ("pooler.", "decoder.") if has_decoder else ("pooler.",)
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(unused))
    if missing:
        raise UnavailableError(f"{folder}: its weights lack {len(missing)} of the model's, {missing[0]} first")
    return tokenizer, reader


def load_tokenizer(folder: Path, trust: bool) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder; it pads on the right.

    Raises:
        UnavailableError: if transformers cannot load it.
    """
    with _loading(folder):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # GPT-2 and similar models have none; padding is masked
    tokenizer.padding_side = "right"
    return tokenizer


@contextmanager
def _loading(folder: Path) -> Iterator[None]:
    """Load something of a model without a word of transformers, or say why not."""
    disable_progress_bar()  # type: ignore[no-untyped-call]  # loading takes a second; its bar would fill a log
    set_verbosity_error()  # type: ignore[no-untyped-call]  # the important part of its report becomes an error
    try:
        yield
    except pickle.UnpicklingError:
        raise UnavailableError(f"{folder}: its pickled weights hold more than tensors, or are damaged") from None
    except _BROKEN as error:
        if "trust_remote_code" in str(error):
            raise UnavailableError(
                f"{folder}: this model needs the code in its folder; read it, then set encoder.trust_remote_code: true"
            ) from None
        raise UnavailableError(f"{folder}: transformers cannot load it: {str(error).splitlines()[0]}") from None


def _with_lora(model: PreTrainedModel, config: TextTraining) -> nn.Module:
    try:
        from peft import LoraConfig, get_peft_model  # noqa: PLC0415  an extra
    except ImportError:
        raise UnavailableError.without("peft", "lora", "adapt.language_model: lora") from None
    lora = LoraConfig(r=config.rank, lora_alpha=2 * config.rank, target_modules="all-linear")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # about how peft uses transformers
            adapted: nn.Module = get_peft_model(model, lora)
    except ValueError as error:  # some architectures have no layer that it supports
        raise UnavailableError(f"adapt.language_model: lora does not support this model, full may: {error}") from None
    return adapted


def pooling_of(folder: Path, model: PretrainedConfig) -> str:
    """The pooling of a model: as sentence-transformers stored it in its folder, else by the model's type."""
    try:
        stated = json.loads((folder / POOLING_FILE).read_text())
    except (OSError, ValueError):
        also = MODEL_FOR_MASKED_LM_MAPPING_NAMES, MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        causal = model.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
        return "last" if causal and not any(model.model_type in others for others in also) else "mean"
    modes = {"pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
    return next((pooling for mode, pooling in modes.items() if stated.get(mode)), "mean")


def prompts_of(folder: Path) -> tuple[str, str]:
    """What a model's authors put before a document and before a query, as sentence-transformers stored it."""
    try:
        prompts = json.loads((folder / PROMPTS_FILE).read_text(encoding="utf-8"))["prompts"]
        return str(prompts.get("document") or prompts.get("passage") or ""), str(prompts.get("query") or "")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "", ""


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector for each text.

    Args:
        states: float tensor of shape (texts, tokens, hidden size), padded on the right.
        mask: int tensor of shape (texts, tokens), 1 where there is a token.
        pooling: ``mean``, ``cls`` (the first token) or ``last``.

    Returns:
        Tensor of shape (texts, hidden size).
    """
    if pooling == "cls":
        return states[:, 0]
    lengths = mask.sum(dim=1, keepdim=True)
    if pooling == "last":
        return states[torch.arange(len(states)), (lengths.squeeze(1) - 1).clamp(min=0)]
    return (states * mask.unsqueeze(-1)).sum(dim=1) / lengths.clamp(min=1)
