"""neural: order, and what the others miss: an item tower and a user encoder, trained by gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from crossrec_cli.config.schema import Interest
from crossrec_cli.interest.batches import Bools, Ints, Ragged
from crossrec_cli.interest.model import InterestModel, Items, UserEncoder
from crossrec_cli.models.attribution import history_parts
from crossrec_cli.models.base import Floats, NewItems, Scorer

NAME = "neural"
ENCODER, ADAPTOR = "encoder.", "adaptor."
"""What the names of the user encoder's and of the text map's weights begin with."""


@dataclass(frozen=True)
class NeuralFeature:
    """u·v(i) + b(i); the last dimension is the bias."""

    name: str
    encoder: UserEncoder
    items: Items

    @torch.no_grad()
    def user_vectors(self, histories: Ragged, tags: Ragged) -> Floats:
        """See ``Feature``."""
        users = self.encoder.eval().user_vectors(self.items, histories, tags).float().cpu().numpy()
        return np.concatenate([users, np.ones((len(users), 1), np.float32)], axis=1)

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Floats:
        """See ``Feature``; of a sequence by how much the score falls without each interaction."""
        return history_parts(self.encoder.eval(), self.items, histories, tags, listed)


def neural(model: InterestModel) -> Scorer:
    """A trained model."""
    items = model.tower.known()
    vectors = torch.cat([items.vectors, items.bias.unsqueeze(1)], dim=1).float().cpu().numpy()
    weights = {name: weight.detach().cpu().numpy() for name, weight in model.state_dict().items()}
    state = {f"{ENCODER}{name}": weight for name, weight in weights.items() if not name.startswith("tower.")}
    text = {name.removeprefix("tower."): weight for name, weight in weights.items() if "tower.adaptor." in name}
    return Scorer(NAME, vectors, (NeuralFeature(NAME, model, items),), state | text)


def restored(vectors: Floats, state: Mapping[str, Floats], is_target: Bools, interest: Interest) -> NeuralFeature:
    """The feature of a scorer that was saved, on a CPU.

    Args:
        vectors: the scorer's, (I, d + 1).
        state: the scorer's.
        is_target: the items to recommend, (I,).
        interest: sizes; the kind of user encoder is told by the weights.
    """
    weights = {
        name.removeprefix(ENCODER): torch.from_numpy(weight)
        for name, weight in state.items()
        if name.startswith(ENCODER)
    }
    bag, sequence = (any(name.startswith(f"{part}.") for name in weights) for part in ("bag", "sequence"))
    kind = "hybrid" if bag and sequence else "bag" if bag else "sequence"
    encoder = UserEncoder(interest.model_copy(update={"user_encoder": kind}), len(weights["tags.weight"]))
    encoder.load_state_dict(weights)
    known = (np.array(vectors[:, :-1]), np.array(vectors[:, -1]), is_target.astype(np.float32))  # torch's to write to
    return NeuralFeature(NAME, encoder, Items(*map(torch.from_numpy, known)))


def place(scorer: Scorer, new: NewItems) -> Floats:
    """Vectors of new items: where their texts stand, without a bias."""
    texts = new.texts @ scorer.state[f"{ADAPTOR}weight"].T + scorer.state[f"{ADAPTOR}bias"]
    return np.concatenate([texts, np.zeros((len(texts), 1), np.float32)], axis=1)
