"""A fused model in files: all items' vectors and the weights as Parquet, the rest as safetensors.

A sparse vector is two lists, its terms' indices and their values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors
import safetensors.numpy
from safetensors import SafetensorError
from scipy.sparse import csr_array

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.config.training_fields import Interest
from crossrec_cli.errors import ArtifactError
from crossrec_cli.models import popularity
from crossrec_cli.models.base import Feature, HistoryFeature, Scorer
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.fusion import KNOTS, Fusion
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.scorers import features_of
from crossrec_cli.models.vectors import Floats, Matrix, rows_after
from crossrec_cli.models.whitening import Whitening

TAGS = "tags"
"""In the metadata of the weights: the user tags, in the order of the tag vectors."""
WIDTH = b"width"
"""In a sparse column's metadata: how many terms there are."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of a fused model."""

    vectors: Path
    fusion: Path
    weights: Path
    terms: Path


def save(fused: FusedModel, items: pa.Table, files: ModelFiles, tags: Sequence[str] = ()) -> None:
    """Write a model of these items, rows of ``schemas.ITEMS``, and of these user tags."""
    vectors = {scorer.name: scorer.item_vectors for scorer in fused.scorers}
    write_vectors(files.vectors, items.select([c.ITEM_INDEX, c.ITEM_ID, c.DOMAIN]), vectors)
    parquet.write_table(files.fusion, schemas.FUSION, _fusion_columns(fused))
    state = {f"{one.name}/{name}": array for one in fused.scorers for name, array in one.state.items()}
    state |= {"whitening/mean": fused.whitening.mean, "whitening/matrix": fused.whitening.matrix}
    arrays = {name: np.ascontiguousarray(array) for name, array in state.items()}
    safetensors.numpy.save_file(arrays, files.weights, {TAGS: json.dumps(list(tags))})
    terms = [(one.name, term) for one in fused.scorers for term in one.terms]
    parquet.write_table(
        files.terms, schemas.TERMS, {c.SCORER: [name for name, _ in terms], c.TERM: [term for _, term in terms]}
    )


def load(files: ModelFiles, added: Path | None, interest: Interest) -> FusedModel:
    """Read a model, and the items that were added to it.

    Raises:
        ArtifactError: if a file cannot be read, or is of another model.
    """
    table, terms = parquet.read_table(files.fusion), parquet.read_table(files.terms)
    names = list(dict.fromkeys(name for name in table[c.SCORER].to_pylist() if name))
    is_target, vectors = read_vectors(files.vectors, names)
    try:
        state = safetensors.numpy.load_file(files.weights)
        whitening = Whitening(state["whitening/mean"], state["whitening/matrix"])
        if added:
            added_target, added_vectors = read_vectors(added, names)
            is_target = np.concatenate([is_target, added_target])
            vectors = {name: rows_after(vectors[name], added_vectors[name]) for name in names}
        scorers = []
        for name in names:
            scorer_state = {key.partition("/")[2]: array for key, array in state.items() if key.startswith(f"{name}/")}
            scorer_terms = terms[c.TERM].filter(pa.compute.equal(terms[c.SCORER], name)).to_pylist()
            rows = table.filter(pa.compute.equal(table[c.SCORER], name)).to_pylist()
            features = _features(name, vectors[name], scorer_state, is_target, rows, interest)
            scorers.append(Scorer(name, vectors[name], features, scorer_state, scorer_terms, rows[0][c.VARIANT]))
    except (SafetensorError, RuntimeError, KeyError, OSError, ValueError) as error:
        raise ArtifactError(f"{files.weights}: not this model's weights: {str(error).splitlines()[0]}") from None
    return FusedModel(scorers, _fusion(table), is_target, whitening)


def read_tags(weights: Path) -> list[str]:
    """The user tags of a model, in the order of its tag vectors, from the file of its weights.

    Raises:
        ArtifactError: if it cannot be read.
    """
    try:
        with safetensors.safe_open(weights, "numpy") as file:
            tags: list[str] = json.loads(file.metadata()[TAGS])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{weights}: has no list of tags: {str(error).splitlines()[0]}") from None
    return tags


def write_vectors(path: Path, items: pa.Table, vectors: Mapping[str, Matrix]) -> None:
    """Write some columns of the items, followed by each scorer's vectors."""
    for name, matrix in vectors.items():
        if isinstance(matrix, np.ndarray):
            items = items.append_column(
                f"{name}_vector", parquet.vector_column(np.ascontiguousarray(matrix, np.float32))
            )
            continue
        offsets = pa.array(matrix.indptr.astype(np.int32))
        values = pa.ListArray.from_arrays(offsets, pa.array(matrix.data.astype(np.float32)))
        indices = pa.ListArray.from_arrays(offsets, pa.array(matrix.indices.astype(np.int32)))
        width = {WIDTH: str(matrix.shape[1]).encode()}
        items = items.append_column(pa.field(f"{name}_vector", values.type, metadata=width), values)
        items = items.append_column(f"{name}_terms", indices)
    pq.write_table(items, path, compression="zstd")


def read_vectors(path: Path, names: list[str]) -> tuple[np.ndarray, dict[str, Matrix]]:
    """Read which items are in the target, bool (I,), and each scorer's vectors, (I, d)."""
    table = parquet.read_table(path)
    vectors: dict[str, Matrix] = {}
    for name in names:
        if f"{name}_vector" not in table.column_names:
            raise ArtifactError(f"{path}: has no vectors of the scorer '{name}'; add the items again")
        column = table[f"{name}_vector"].combine_chunks()
        metadata = table.schema.field(f"{name}_vector").metadata
        if not metadata:
            vectors[name] = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
            continue
        indices = table[f"{name}_terms"].combine_chunks()
        cells = (column.flatten().to_numpy(), indices.flatten().to_numpy(), column.offsets.to_numpy())
        vectors[name] = csr_array(cells, shape=(len(column), int(metadata[WIDTH])))
    return np.array([domain == c.TARGET for domain in table[c.DOMAIN].to_pylist()], bool), vectors


def _fusion_columns(fused: FusedModel) -> dict[str, list[object]]:
    """One row a feature and knot, and one a knot for the shift."""
    rows: list[tuple[object, ...]] = []
    features = [(scorer, feature) for scorer in fused.scorers for feature in scorer.features]
    for number, (scorer, feature) in enumerate(features):
        decay = feature.decay if isinstance(feature, HistoryFeature) else None
        spread = fused.fusion.spread[number]
        weights = fused.fusion.weights[:, number]
        rows += [
            (scorer.name, scorer.variant, feature.name, decay, knot, weight, spread)
            for knot, weight in zip(KNOTS, weights, strict=True)
        ]
    rows += [
        (None, None, c.SHIFT, None, knot, shift, None) for knot, shift in zip(KNOTS, fused.fusion.shift, strict=True)
    ]
    return dict(zip(schemas.FUSION.names, map(list, zip(*rows, strict=True)), strict=True))


def _fusion(table: pa.Table) -> Fusion:
    rows = table.to_pylist()
    of_features = [row for row in rows if row[c.SCORER]]
    names = tuple(dict.fromkeys(row[c.FEATURE] for row in of_features))
    weights = np.array([row[c.WEIGHT] for row in of_features], np.float32).reshape(len(names), len(KNOTS)).T
    spread = np.array([row[c.SPREAD] for row in of_features][:: len(KNOTS)], np.float32)
    shift = np.array([row[c.WEIGHT] for row in rows if not row[c.SCORER]], np.float32)
    return Fusion(names, np.ascontiguousarray(weights), shift, spread)


def _features(
    name: str,
    vectors: Matrix,
    state: Mapping[str, Floats],
    is_target: np.ndarray,
    rows: list[dict[str, object]],
    interest: Interest,
) -> list[Feature]:
    """A scorer's features with the decays that were chosen."""
    if name == neural_scorer.NAME:
        return [neural_scorer.restored(np.asarray(vectors), state, is_target, interest)]
    decays = {str(row[c.FEATURE]): row[c.DECAY] for row in rows}
    facts = [fact for fact in decays if fact != popularity.TAG_SALES]
    return [
        feature.with_decay(float(str(decays[feature.name]))) if isinstance(feature, HistoryFeature) else feature
        for feature in features_of(name, vectors, is_target, facts)
    ]
