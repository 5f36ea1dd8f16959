"""A cache of embeddings between runs, so that the next run encodes only new texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.errors import ArtifactError
from crossrec_cli.runtime import distributed
from crossrec_cli.runtime.progress import Reporter
from crossrec_cli.text.encode import TextEncoder
from crossrec_cli.text.find import hash_settings

VERSION = 1
"""Raise it when a transformer's embeddings change: older cached vectors are then not used."""
KEPT = 2
"""How many files are kept, each of one language model with its settings."""


def embed(encoder: TextEncoder, texts: Sequence[str], folder: Path, report: Reporter) -> npt.NDArray[np.float32]:
    """As ``TextEncoder.embed``, but texts that were read before are not encoded again.

    The last bits of an embedding depend on the other texts of its batch, so they may differ between a run that uses
    the cache and one that does not.

    Args:
        encoder: the language model.
        texts: any strings.
        folder: of the cache; one file for each model and its settings, with the texts of its latest run.
        report: shows how many texts are encoded.

    Returns:
        float32 array of shape (len(texts), hidden size).
    """
    if encoder.settings is None:  # a static one reads about as fast as texts are hashed
        with report.progress("reading item texts", len(set(texts)), "texts") as advance:
            return encoder.embed(texts, advance)
    distinct, which = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
    names = [hashlib.sha256(text.encode()).digest()[:16] for text in distinct]
    path = folder / f"{_key(encoder)}.parquet"
    cached_rows, cached = _load(path, encoder.width)
    vectors = np.empty((len(distinct), encoder.width), np.float32)
    rows = np.array([cached_rows.get(name, -1) for name in names], dtype=np.int64)
    vectors[rows >= 0] = cached[rows[rows >= 0]]
    missing = np.flatnonzero(rows < 0)
    with report.progress("reading item texts", len(missing), "texts") as advance:
        vectors[missing] = encoder.embed([distinct[number] for number in missing], advance)
    if len(missing) < len(distinct):
        report.say(f"{len(distinct) - len(missing):,} of {len(distinct):,} texts were read in an earlier run")
    if distributed.leads() and (len(missing) or len(names) < len(cached_rows)):
        _save(path, names, vectors)
    return vectors[which]


def _key(encoder: TextEncoder) -> str:
    """A hash of everything that an embedding depends on, except the text."""
    return hash_settings(VERSION, *(encoder.settings or []))


def _load(path: Path, width: int) -> tuple[dict[bytes, int], npt.NDArray[np.float32]]:
    """The row of each text's hash, and the vectors; both empty if the file does not exist or is damaged."""
    try:
        table = parquet.read_table(path)
        return {name: row for row, name in enumerate(table[c.TEXT_HASH].to_pylist())}, parquet.vectors(table)
    except (ArtifactError, KeyError, ValueError):
        return {}, np.empty((0, width), np.float32)


def _save(path: Path, names: Sequence[bytes], vectors: npt.NDArray[np.float32]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    columns = {c.TEXT_HASH: pa.array(names, pa.binary(16)), c.EMBEDDING: parquet.vector_column(vectors)}
    parquet.write_table(draft, schemas.cached_embeddings(vectors.shape[1]), columns)
    draft.replace(path)
    for old in sorted(path.parent.glob("*.parquet"), key=lambda file: file.stat().st_mtime)[:-KEPT]:
        old.unlink()
