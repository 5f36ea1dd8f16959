"""What the model's stages share: the files by name, and how they become arrays and models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import safetensors.torch
from safetensors import SafetensorError

from crossrec_cli.artifacts import tables as t
from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.config.schema import Interest
from crossrec_cli.errors import ArtifactError
from crossrec_cli.interest.batches import Cases, Histories, load_cases, load_histories
from crossrec_cli.interest.model import InterestModel
from crossrec_cli.stages import PREPROCESS, PRETRAIN_ADAPT, Job
from crossrec_cli.stages.preprocess import CASES, INTERACTIONS, ITEMS, USERS

TEXT_EMBEDDINGS = "item_text.parquet"
TAG_NAMES = "tags.parquet"
LEARNING = "history.parquet"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class World:
    """preprocess's tables, ready for the model."""

    items: pa.Table
    users: pa.Table
    histories: Histories
    artifact: Artifact

    @property
    def target_items(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Indices of the items to recommend, sorted, int64."""
        return np.flatnonzero(self.histories.domain.is_target)

    def cases(self, split: str) -> Cases:
        """The held-out cases of ``valid`` or ``test``."""
        return load_cases(t.read_table(self.artifact.file(CASES)), split)


def load_world(job: Job, tag_names: list[str] | None = None) -> World:
    """Read preprocess's tables; the model's tags come from pretrain-adapt unless they are given."""
    artifact = job.inputs[PREPROCESS]
    if tag_names is None:
        tag_names = t.read_table(job.inputs[PRETRAIN_ADAPT].file(TAG_NAMES))[t.TAG].to_pylist()
    items, users = t.read_table(artifact.file(ITEMS)), t.read_table(artifact.file(USERS))
    interactions = t.read_table(artifact.file(INTERACTIONS), [t.USER_INDEX, t.ITEM_INDEX, t.SPLIT])
    return World(items, users, load_histories(interactions, items, users, tag_names), artifact)


def load_model(job: Job, trained_by: str, interest: Interest) -> InterestModel:
    """The model as a stage left it.

    Raises:
        ArtifactError: if its weights cannot be read.
    """
    table = t.read_table(job.inputs[PRETRAIN_ADAPT].file(TEXT_EMBEDDINGS), [t.EMBEDDING])
    column = table[t.EMBEDDING].combine_chunks()
    embeddings = column.flatten().to_numpy().reshape(len(column), -1).copy()  # Arrow's own memory is read-only
    path = job.inputs[trained_by].file(WEIGHTS)
    try:
        return InterestModel.restore(interest, embeddings, safetensors.torch.load_file(path))
    except (SafetensorError, RuntimeError, KeyError, OSError) as error:
        raise ArtifactError(f"{path}: not this model's weights: {str(error).splitlines()[0]}") from None


def save_model(job: Job, model: InterestModel) -> None:
    """Write the weights into the stage's files."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(weights, job.out / WEIGHTS)
