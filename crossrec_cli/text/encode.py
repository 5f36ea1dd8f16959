"""Item texts to vectors, with a pretrained language model."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import ConfigError, UnavailableError
from crossrec_cli.runtime import distributed
from crossrec_cli.runtime.device import Compute, memory_or
from crossrec_cli.runtime.progress import Advance
from crossrec_cli.text.find import POOLING_FILE, pickled

_BROKEN = (OSError, ValueError, KeyError, RuntimeError, AttributeError, SafetensorError)
"""What transformers raises where it cannot load a model."""


class TextEncoder:
    """A language model and its tokenizer, ready to embed texts."""

    def __init__(self, folder: Path, config: Encoder, compute: Compute) -> None:
        """Load the model.

        Args:
            folder: its files, as ``locate`` found them.
            config: pooling, token limit and batch size.
            compute: device and precision.

        Raises:
            UnavailableError: if transformers cannot load it, or not all of it, or it does not read texts.
            ConfigError: if it cannot read as many tokens as the config says.
        """
        self.folder = folder
        self.config = config
        self.compute = compute
        self.tokenizer, self.model = _load(folder, config.trust_remote_code)
        limits = self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", 0)
        longest = min(limit for limit in limits if limit > 0)  # XLNet has -1 for no limit
        if config.max_tokens > longest:
            raise ConfigError([f"encoder.max_tokens: is {config.max_tokens}, but this model reads {longest} at most"])
        self.pooling = config.pooling if config.pooling != "auto" else pooling_of(folder, self.model.config)
        # In float32 whatever precision its file has; half weights would otherwise be adapted in half precision.
        self.model.float().to(compute.device).eval()  # type: ignore[no-untyped-call]

    @property
    def width(self) -> int:
        """The length of an embedding."""
        width: int = self.model.config.hidden_size
        return width

    def embed(self, texts: Sequence[str], advance: Advance) -> npt.NDArray[np.float32]:
        """Embed texts, each distinct one once, in batches of similar length.

        Args:
            texts: any strings; they may be empty.
            advance: called with the number of distinct texts embedded since the last call.

        Returns:
            float32 array of shape (len(texts), hidden size).

        Raises:
            ConfigError: if the memory does not hold a batch.
        """
        if not texts:
            return np.empty((0, self.width), dtype=np.float32)
        distinct, which = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
        tokens = self._tokens(list(distinct))
        by_length = sorted(range(len(distinct)), key=lambda i: len(tokens[i]))
        vectors = np.zeros((len(distinct), self.width), dtype=np.float32)
        starts = range(0, len(by_length), self.config.batch_size)
        for start in starts[distributed.strided_shard()]:
            batch = by_length[start : start + self.config.batch_size]
            vectors[batch] = self._embed_batch([tokens[i] for i in batch])
            advance(len(batch))
        distributed.add([torch.from_numpy(vectors)])
        return vectors[which]

    def forward(self, model: torch.nn.Module, texts: Sequence[str]) -> torch.Tensor:
        """Embeddings by a model that is being trained, float32 (len(texts), hidden size), with gradients."""
        return self._pooled(model, self._tokens(texts))

    @torch.inference_mode()
    def _embed_batch(self, tokens: list[list[int]]) -> npt.NDArray[np.float32]:
        lower = f"lower it from {self.config.batch_size}"
        with memory_or(lower, key="encoder.batch_size"), self.compute.autocast():
            return self._pooled(self.model, tokens).cpu().numpy()

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        tokens: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.config.max_tokens)[
            "input_ids"
        ]
        return tokens

    def _pooled(self, model: torch.nn.Module, tokens: list[list[int]]) -> torch.Tensor:
        batch = self.tokenizer.pad({"input_ids": tokens}, return_tensors="pt").to(self.compute.device)
        return pool(model(**batch).last_hidden_state.float(), batch["attention_mask"], self.pooling)


def _load(folder: Path, trust: bool) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """A tokenizer that pads on the right, and the model; of an encoder-decoder such as T5 only the encoder."""
    disable_progress_bar()  # type: ignore[no-untyped-call]  # loading takes a second; its bar would fill a log
    set_verbosity_error()  # type: ignore[no-untyped-call]  # the important part of its report becomes an error below
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)
        model: PreTrainedModel
        model, report = AutoModel.from_pretrained(
            folder, use_safetensors=not pickled(folder), output_loading_info=True, trust_remote_code=trust
        )
    except pickle.UnpicklingError:
        raise UnavailableError(f"{folder}: its pickled weights hold more than tensors, or are damaged") from None
    except _BROKEN as error:
        if "trust_remote_code" in str(error):
            raise UnavailableError(
                f"{folder}: this model needs the code in its folder; read it, then set encoder.trust_remote_code: true"
            ) from None
        raise UnavailableError(f"{folder}: transformers cannot load it: {str(error).splitlines()[0]}") from None
    has_decoder = model.config.model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    reader = model.get_encoder() if has_decoder else model
    if reader.main_input_name != "input_ids" or not hasattr(reader.config, "hidden_size"):
        raise UnavailableError(f"{folder}: a {model.config.model_type} does not read texts")
    unused = ("pooler.", "decoder.") if has_decoder else ("pooler.",)
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(unused))
    if missing:
        raise UnavailableError(f"{folder}: its weights lack {len(missing)} of the model's, {missing[0]} first")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # GPT-2 and similar models have none; padding is masked
    tokenizer.padding_side = "right"
    return tokenizer, reader


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
