"""Loading and saving: from stages' files to arrays and models, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import safetensors.torch
from safetensors import SafetensorError

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import (
    ADDED,
    FUSED,
    INTERACTIONS,
    ITEM_TEXT,
    ITEMS,
    SHARED_MODEL,
    TAG_NAMES,
    UPDATED,
    USERS,
)
from crossrec_cli.config.training_fields import Interest
from crossrec_cli.errors import ArtifactError
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.histories import Histories, load_histories
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Ints
from crossrec_cli.models.saved import ModelFiles, load
from crossrec_cli.models.shared_model import SharedModel


@dataclass(frozen=True)
class Dataset:
    """preprocess's tables, ready for the model."""

    items: pa.Table
    users: pa.Table
    histories: Histories

    @property
    def known_users(self) -> Ints:
        """Indices of the users who have an id, int64; those without one were forgotten, and get no list."""
        return np.flatnonzero(self.users[c.USER_ID].is_valid().to_numpy())

    @property
    def target_items(self) -> Ints:
        """Indices of the items to recommend, sorted, int64."""
        return target_of(self.histories)


def target_of(histories: Histories) -> Ints:
    """Indices of the items to recommend, sorted, int64."""
    return np.flatnonzero(histories.item_stats.is_target)


def load_dataset(inputs: Mapping[str, Path], tag_names: list[str] | None = None, validated: bool = False) -> Dataset:
    """Read preprocess's tables.

    Args:
        inputs: the files that the stage reads.
        tag_names: the model's tags; from pretrain-adapt unless they are given.
        validated: whether validation is over; see ``load_histories``.
    """
    if tag_names is None:
        tag_names = parquet.read_table(inputs[TAG_NAMES])[c.TAG].to_pylist()
    items, users = load_items(inputs), parquet.read_table(inputs[USERS])
    interactions = parquet.read_table(inputs[INTERACTIONS], [c.USER_INDEX, c.ITEM_INDEX, c.WEIGHT, c.SPLIT])
    return Dataset(items, users, load_histories(interactions, items, users, tag_names, validated))


def load_items(inputs: Mapping[str, Path]) -> pa.Table:
    """The catalogue as ``items add`` changed it, then the items that it added: rows of ``schemas.ITEMS``."""
    catalogue, *others = (
        parquet.read_table(inputs[file], schemas.ITEMS.names).cast(schemas.ITEMS)
        if file in inputs
        else schemas.ITEMS.empty_table()
        for file in (ITEMS, UPDATED, ADDED)  # cast, as DuckDB writes every column as nullable
    )
    updated, added = others
    return pa.concat_tables([with_rows(catalogue, updated), added])


def with_rows(items: pa.Table, changed: pa.Table) -> pa.Table:
    """A catalogue whose rows of the same index are replaced by the changed ones."""
    if not changed.num_rows:
        return items
    rows = np.arange(items.num_rows)
    rows[changed[c.ITEM_INDEX].to_numpy()] = items.num_rows + np.arange(changed.num_rows)
    return pa.concat_tables([items, changed]).take(rows)


def texts_of(items: pa.Table) -> list[str]:
    """Each item's text for the language model; empty for an item without text."""
    texts: list[str] = pc.fill_null(items[c.TEXT], "").to_pylist()
    return texts


def training_data(inputs: Mapping[str, Path], dataset: Dataset) -> TrainingData:
    """The data that scorers learn from."""
    times = parquet.read_table(inputs[INTERACTIONS], [c.TIMESTAMP])[c.TIMESTAMP]
    interaction_times = None if times.null_count else times.cast(pa.int64()).to_numpy()
    shared = SharedModel.load(inputs[SHARED_MODEL]) if SHARED_MODEL in inputs else None
    embeddings = parquet.read_embeddings(inputs[ITEM_TEXT])
    return TrainingData(dataset.histories, dataset.items, embeddings, interaction_times, shared=shared)


def after_validation(inputs: Mapping[str, Path], data: TrainingData) -> TrainingData:
    """The same data with the purchases that validation held back; text embeddings are not read again."""
    return replace(data, histories=load_dataset(inputs, validated=True).histories)


def load_model(inputs: Mapping[str, Path], weights: str, interest: Interest, data: TrainingData) -> InterestModel:
    """The neural model with the weights that a stage left.

    Raises:
        ArtifactError: if they cannot be read, or are another model's.
    """
    try:
        state = safetensors.torch.load_file(inputs[weights])
        model = InterestModel(interest, data.texts, data.histories.item_stats, len(state["tags.weight"]))
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError, KeyError, OSError, ValueError) as error:
        raise ArtifactError(f"{inputs[weights]}: not this model's weights: {str(error).splitlines()[0]}") from None
    return model


def load_fused(inputs: Mapping[str, Path], interest: Interest) -> FusedModel:
    """The model that finetune left, with the items that were added since."""
    return load(ModelFiles(*(inputs[file] for file in FUSED)), inputs.get(ADDED), interest)
