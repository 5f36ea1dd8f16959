"""An earlier model from which the next one goes on: every night, instead of training anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import FUSED, ITEM_VECTORS, WEIGHTS
from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.config.schema import Config
from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models import text
from crossrec_cli.models.base import Scorer, TrainingData
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.neural_scorer import ADAPTOR, ENCODER, TRAINED
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Ints
from crossrec_cli.models.saved import ModelFiles, load, read_tags
from crossrec_cli.models.scorers import names_of

SAME_TEXTS = 0.9
"""The median cosine of an item's text vectors then and now, below which another language model must have read them."""
TAG_ROWS = "tags.weight"


@dataclass(frozen=True)
class EarlierModel:
    """A model that finetune left, of the items that there were then."""

    fused: FusedModel
    item_ids: pa.ChunkedArray
    tags: pa.Array
    """In the order of its tag vectors."""

    @classmethod
    def load(cls, finetuned: Artifact, interest: Interest) -> EarlierModel:
        """From finetune's artifact.

        Raises:
            ArtifactError: if a file cannot be read.
        """
        fused = load(ModelFiles(*map(finetuned.file, FUSED)), None, interest)
        tags = pa.array(read_tags(finetuned.file(WEIGHTS)), pa.string())
        return cls(fused, parquet.read_table(finetuned.file(ITEM_VECTORS), [c.ITEM_ID])[c.ITEM_ID], tags)

    @cached_property
    def _scorers(self) -> dict[str, Scorer]:
        return {scorer.name: scorer for scorer in self.fused.scorers}

    def unfit(self, interest: Interest, data: TrainingData) -> str | None:
        """Why a model of these settings and data cannot go on from it; None if it can."""
        if set(self.fused.names) != set(names_of(interest, data)):
            return f"the model before has the scorers {', '.join(self.fused.names)}"
        if len(self.fused.whitening.mean) != data.embeddings.shape[1] or self._texts_differ(data):
            return "another language model read the texts of the model before"
        if neural_scorer.NAME in self._scorers:
            dim = self._scorers[neural_scorer.NAME].item_vectors.shape[1] - 1
            if dim != interest.dim:
                return f"interest.dim was {dim}"
        return None

    def _texts_differ(self, data: TrainingData) -> bool:
        if text.NAME not in self._scorers:
            return False
        now, then = self._common(data)
        cosines = (np.asarray(self._scorers[text.NAME].item_vectors)[then] * data.texts[now]).sum(axis=1)
        return bool(len(cosines) and np.median(cosines) < SAME_TEXTS)

    def _common(self, data: TrainingData) -> tuple[Ints, Ints]:
        """The indices now and then of the items that there were then."""
        then = parquet.row_indices(data.items[c.ITEM_ID], self.item_ids)
        return np.flatnonzero(then >= 0), then[then >= 0]

    def with_user_encoder(self, config: Config) -> Config:
        """The config with the kind of user encoder that the earlier model has."""
        if neural_scorer.NAME not in self._scorers:
            return config
        kind = neural_scorer.kind_of(self._scorers[neural_scorer.NAME].state)
        return config.model_copy(update={"interest": config.interest.model_copy(update={"user_encoder": kind})})

    def network(self, interest: Interest, data: TrainingData, tags: Sequence[str]) -> InterestModel | None:
        """The neural scorer's network as it ended, with the items of the data and these tags; None where there is none.

        An item's own vector is what its vector has beyond the map of its text. New items and tags are untrained.
        """
        scorer = self._scorers.get(neural_scorer.NAME)
        if scorer is None:
            return None
        model = InterestModel(interest, data.texts, data.histories.item_stats, len(tags))
        weights, state = model.state_dict(), scorer.state
        for name in weights.keys() & {key.removeprefix(ENCODER) for key in state} - {TAG_ROWS}:
            weights[name] = torch.from_numpy(state[f"{ENCODER}{name}"])
        then = parquet.row_indices(pa.chunked_array([pa.array(tags, pa.string())]), pa.chunked_array([self.tags]))
        weights[TAG_ROWS][then >= 0] = torch.from_numpy(state[f"{ENCODER}{TAG_ROWS}"][then[then >= 0]])
        text_map, shift = (state[f"{ADAPTOR}{part}"] for part in ("weight", "bias"))
        weights["tower.adaptor.weight"], weights["tower.adaptor.bias"] = map(torch.from_numpy, (text_map, shift))
        now, then = self._common(data)
        bought = state[TRAINED][then].astype(bool)
        now, vectors = now[bought], np.asarray(scorer.item_vectors)[then[bought]]
        own = vectors[:, :-1] - (data.texts[now] @ text_map.T + shift)
        weights["tower.id_embedding.weight"][now] = torch.from_numpy(own)
        weights["tower.bias"][now] = torch.from_numpy(vectors[:, -1].copy())
        model.load_state_dict(weights)
        return model
