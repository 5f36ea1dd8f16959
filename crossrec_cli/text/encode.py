"""Item texts to vectors: what the kinds of encoders have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from crossrec_cli.config.training_fields import Encoder, TextTraining
from crossrec_cli.runtime import distributed
from crossrec_cli.runtime.device import Compute, memory_or
from crossrec_cli.runtime.progress import Advance


class TextEncoder(ABC):
    """A language model and its tokenizer, ready to embed texts."""

    KIND: ClassVar[str]
    """Its name in the config."""
    SPECIAL_TOKENS: ClassVar[bool]
    """Whether a text is read with the tokens that mark its start and its end."""
    tokenizer: PreTrainedTokenizerBase
    model: nn.Module

    def __init__(self, folder: Path, config: Encoder, compute: Compute) -> None:
        self.folder = folder
        self.config = config
        self.compute = compute

    @property
    @abstractmethod
    def width(self) -> int:
        """The length of an embedding."""

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """How many texts are embedded at once."""

    @abstractmethod
    def trainable(self, how: str, config: TextTraining) -> nn.Module:
        """The model, in which only the weights to train require gradients.

        Args:
            how: ``lora`` or ``full``.
            config: settings of the training.

        Raises:
            UnavailableError: if the model cannot be trained so.
        """

    @abstractmethod
    def vectors(self, model: nn.Module, tokens: list[list[int]]) -> torch.Tensor:
        """The vectors of texts, float32 (texts, width), from their tokens."""

    def embed(self, texts: Sequence[str], advance: Advance) -> npt.NDArray[np.float32]:
        """Embed texts, each distinct one once, in batches of similar length.

        Args:
            texts: any strings; they may be empty.
            advance: called with the number of distinct texts embedded since the last call.

        Returns:
            float32 array of shape (len(texts), width).

        Raises:
            ConfigError: if the memory does not hold a batch.
        """
        if not texts:
            return np.empty((0, self.width), dtype=np.float32)
        distinct, which = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
        tokens = self.tokens(list(distinct))
        by_length = sorted(range(len(distinct)), key=lambda i: len(tokens[i]))
        vectors = np.zeros((len(distinct), self.width), dtype=np.float32)
        starts = range(0, len(by_length), self.batch_size)
        for start in starts[distributed.strided_shard()]:
            batch = by_length[start : start + self.batch_size]
            vectors[batch] = self.embed_batch([tokens[i] for i in batch])
            advance(len(batch))
        distributed.add([torch.from_numpy(vectors)])
        return vectors[which]

    def forward(self, model: nn.Module, texts: Sequence[str]) -> torch.Tensor:
        """Embeddings by a model that is being trained, float32 (len(texts), width), with gradients."""
        return self.vectors(model, self.tokens(texts))

    @torch.inference_mode()
    def embed_batch(self, tokens: list[list[int]]) -> npt.NDArray[np.float32]:
        """The vectors of a batch of texts, (texts, width), from their tokens."""
        lower = f"lower it from {self.config.batch_size}"
        with memory_or(lower, key="encoder.batch_size"), self.compute.autocast():
            return self.vectors(self.model, tokens).cpu().numpy()

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text's tokens."""
        tokens: list[list[int]] = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.config.max_tokens,
            add_special_tokens=self.SPECIAL_TOKENS,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        return tokens
