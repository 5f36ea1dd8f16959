"""Item texts to vectors without running a transformer: a text is the mean of its tokens' vectors.

The tokens' vectors are distilled from a language model, as model2vec does (Tulkens & van Dongen 2024,
https://doi.org/10.5281/zenodo.17270888): each token is read by itself, once for all shops. The rarer a token is in the
catalogue, the more it counts (Arora et al. 2017, https://openreview.net/forum?id=SyK00v5xx).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from platformdirs import user_cache_path
from safetensors import SafetensorError
from torch import Tensor, nn

from crossrec_cli.artifacts import user_cache
from crossrec_cli.config.training_fields import Encoder, TextTraining
from crossrec_cli.errors import UnavailableError
from crossrec_cli.runtime.device import Compute
from crossrec_cli.runtime.progress import Reporter
from crossrec_cli.text.encode import TokenEncoder
from crossrec_cli.text.find import fingerprint, hash_settings
from crossrec_cli.text.transformer import TransformerEncoder, load_tokenizer

VERSION = 1
"""Raise it when ``distill`` returns other vectors than before."""
WIDTH = 256
"""Directions kept of a token's vector."""
TOKENS_TOGETHER = 1024
TEXTS_TOGETHER = 4096
COMMON = 1e-3
"""A token that is this share of the catalogue's tokens counts half."""
KEPT = 4
"""How many language models stay in the user's cache; 31 MB each with 30,522 tokens."""
VECTORS = "weight"

Floats = npt.NDArray[np.float32]


class StaticEncoder(TokenEncoder):
    """The mean of token vectors; a prefix is read with each token when these are distilled, not with a text."""

    KIND = "static"
    SPECIAL_TOKENS = False
    model: nn.EmbeddingBag

    def __init__(self, folder: Path, config: Encoder, compute: Compute, vectors: Tensor) -> None:
        """Load the tokenizer.

        Args:
            folder: of the language model, as ``locate`` found it.
            config: its token limit.
            compute: the device.
            vectors: of the tokens, each times its weight; float32 (tokens, width).
        """
        super().__init__(folder, config, compute)
        self.tokenizer = load_tokenizer(folder, config.trust_remote_code)
        self.model = nn.EmbeddingBag.from_pretrained(vectors, mode="mean").to(compute.device)

    @classmethod
    def distilled(
        cls, folder: Path, config: Encoder, compute: Compute, texts: Sequence[str], report: Reporter
    ) -> StaticEncoder:
        """From the language model, for a catalogue with these texts."""
        encoder = cls(folder, config, compute, torch.from_numpy(_token_vectors(folder, config, compute, report)))
        weights = rarity(encoder.tokens(list(dict.fromkeys(texts))), encoder.model.num_embeddings)
        encoder.model.weight.data *= torch.from_numpy(weights)[:, None].to(compute.device)
        return encoder

    @property
    def width(self) -> int:
        """The length of an embedding."""
        return self.model.embedding_dim

    @property
    def batch_size(self) -> int:
        """As many as are fast: a text takes little memory."""
        return TEXTS_TOGETHER

    def trainable(self, how: str, config: TextTraining) -> nn.Module:
        """See ``TokenEncoder``; all token vectors are trained."""
        if how == "lora":
            raise UnavailableError("adapt.language_model: lora is for transformers; full trains a static encoder")
        return self.model.requires_grad_(True)

    def vectors(self, model: nn.Module, tokens: list[list[int]]) -> Tensor:
        """See ``TokenEncoder``; zeros for a text without tokens."""
        flat = torch.tensor([token for text in tokens for token in text], dtype=torch.int64)
        starts = np.cumsum([0, *map(len, tokens[:-1])])
        vectors: Tensor = model(flat.to(self.compute.device), torch.from_numpy(starts).to(self.compute.device))
        return vectors


def rarity(tokens: Sequence[Sequence[int]], size: int) -> Floats:
    """The weight of each token, (size,): a / (a + its share of all tokens), 1 for a token that does not occur."""
    flat = np.fromiter((token for text in tokens for token in text), np.int64)
    counts = np.bincount(flat, minlength=size)
    return (COMMON / (COMMON + counts / max(len(flat), 1))).astype(np.float32)


def distill(encoder: TransformerEncoder, report: Reporter) -> Floats:
    """The vector of every token when it is read by itself, centred, in its main directions.

    Returns:
        float32 array of shape (tokens, width), of width 256 at most.
    """
    before, after = special_tokens(encoder)
    words = encoder.model.get_input_embeddings()
    assert isinstance(words, nn.Embedding)
    size = min(max(encoder.tokenizer.get_vocab().values()) + 1, words.num_embeddings)  # some vocabularies have gaps
    vectors = np.empty((size, encoder.width), np.float32)
    with report.progress("distilling the language model", size, "tokens") as advance:
        for begin in range(0, size, TOKENS_TOGETHER):
            some = range(begin, min(begin + TOKENS_TOGETHER, size))
            vectors[begin : some.stop] = encoder.embed_batch([[*before, token, *after] for token in some])
            advance(len(some))
    vectors -= vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    return np.ascontiguousarray(vectors @ directions[:, ::-1][:, :WIDTH])


def special_tokens(encoder: TransformerEncoder) -> tuple[list[int], list[int]]:
    """The tokens that the tokenizer puts before and after a text."""
    (empty, letter) = encoder.tokens(["", "a"])
    before = next((n for n, (one, other) in enumerate(zip(empty, letter, strict=False)) if one != other), len(empty))
    return empty[:before], empty[before:]


def _token_vectors(folder: Path, config: Encoder, compute: Compute, report: Reporter) -> Floats:
    """``distill``, or what it made earlier for the same weights, from the user's cache."""
    path = user_cache_path("crossrec") / "static" / f"{_key(folder, config, compute)}.safetensors"
    with suppress(SafetensorError, OSError, KeyError):
        vectors: Floats = safetensors.torch.load_file(path)[VECTORS].numpy()
        return vectors
    vectors = distill(TransformerEncoder(folder, config, compute), report)
    user_cache.keep(path, lambda draft: safetensors.torch.save_file({VECTORS: torch.from_numpy(vectors)}, draft))
    with suppress(OSError):
        for old in sorted(path.parent.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)[:-KEPT]:
            old.unlink()
    return vectors


def _key(folder: Path, config: Encoder, compute: Compute) -> str:
    """A hash of everything on which the vectors depend, to the last bit."""
    return hash_settings(
        VERSION,
        fingerprint(folder),
        config.pooling,
        compute.device.type,
        str(compute.dtype),
        torch.get_num_threads(),
        *([config.prefix] if config.prefix else []),
    )
