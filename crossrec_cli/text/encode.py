"""Item texts to vectors: what the kinds of encoders have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

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
    """A language model, ready to embed texts."""

    KIND: ClassVar[str]
    """Its name in the config, and in the summary of pretrain-adapt."""

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

    @property
    def settings(self) -> list[object] | None:
        """JSON values of everything that an embedding depends on, except the text; None: not worth keeping."""
        return None

    @abstractmethod
    def prepared(self, texts: Sequence[str], query: bool = False) -> list[Any]:
        """What ``embed_batch`` needs of each text, such as its tokens; longer ones take longer.

        Args:
            texts: any strings.
            query: whether they are queries, which some models read differently.
        """

    @abstractmethod
    def embed_batch(self, prepared: list[Any]) -> npt.NDArray[np.float32]:
        """The vectors of a batch of texts, (texts, width), from what ``prepared`` returns of them."""

    def embed(self, texts: Sequence[str], advance: Advance, query: bool = False) -> npt.NDArray[np.float32]:
        """Embed texts, each distinct one once, in batches of similar length.

        Args:
            texts: any strings; they may be empty.
            advance: called with the number of distinct texts embedded since the last call.
            query: whether they are queries, else texts of items.

        Returns:
            float32 array of shape (len(texts), width).

        Raises:
            ConfigError: if the memory does not hold a batch.
        """
        if not texts:
            return np.empty((0, self.width), dtype=np.float32)
        distinct, which = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
        prepared = self.prepared(list(distinct), query)
        by_length = sorted(range(len(distinct)), key=lambda i: len(prepared[i]))
        vectors = np.zeros((len(distinct), self.width), dtype=np.float32)
        starts = range(0, len(by_length), self.batch_size)
        for start in starts[distributed.strided_shard()]:
            batch = by_length[start : start + self.batch_size]
            vectors[batch] = self.embed_batch([prepared[i] for i in batch])
            advance(len(batch))
        distributed.add([torch.from_numpy(vectors)])
        return vectors[which]


class TokenEncoder(TextEncoder):
    """A language model whose tokens and weights are at hand, so that it can be trained."""

    SPECIAL_TOKENS: ClassVar[bool]
    """Whether a text is read with the tokens that mark its start and its end."""
    tokenizer: PreTrainedTokenizerBase
    model: nn.Module
    prefixes: tuple[str, str] = "", ""
    """Before an item's text, and before a query."""

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

    def forward(self, model: nn.Module, texts: Sequence[str]) -> torch.Tensor:
        """Embeddings by a model that is being trained, float32 (len(texts), width), with gradients."""
        return self.vectors(model, self.tokens(texts))

    @torch.inference_mode()
    def embed_batch(self, prepared: list[Any]) -> npt.NDArray[np.float32]:
        """See ``TextEncoder``; of each text its tokens."""
        lower = f"lower it from {self.config.batch_size}"
        with memory_or(lower, key="encoder.batch_size"), self.compute.autocast():
            return self.vectors(self.model, prepared).cpu().numpy()

    def prepared(self, texts: Sequence[str], query: bool = False) -> list[Any]:
        """See ``TextEncoder``."""
        return self.tokens(texts, query)

    def tokens(self, texts: Sequence[str], query: bool = False) -> list[list[int]]:
        """The ids of each text's tokens, with those of its prefix."""
        tokens: list[list[int]] = self.tokenizer(
            [self.prefixes[query] + text for text in texts],
            truncation=True,
            max_length=self.config.max_tokens,
            add_special_tokens=self.SPECIAL_TOKENS,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        return tokens


def prefixes_of(config: Encoder, default: tuple[str, str]) -> tuple[str, str]:
    """What goes before an item's text and before a query: as the config says, else the model's default."""
    ours = config.prefix, config.query_prefix
    item, query = (own if prefix is None else prefix for prefix, own in zip(ours, default, strict=True))
    return item, query
