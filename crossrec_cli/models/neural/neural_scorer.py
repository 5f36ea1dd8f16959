"""neural: order, and what the others miss: an item tower and a user encoder, trained by gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.base import Floats, NewItems, Parts, Scorer, TrainingData
from crossrec_cli.models.neural.attribution import history_parts
from crossrec_cli.models.neural.tower import InterestModel, ItemRows, UserEncoder
from crossrec_cli.models.ragged import Bools, Ints, Ragged

NAME = "neural"
NEIGHBOURS, SHARPNESS = 20, 1 / 0.03
"""Trained items that an item without purchases takes after, and what their cosines are multiplied by to be the logits
of their shares. On validation of the Complete Journey and of Amazon 2 to 20 neighbours, with a fitting sharpness,
differ by less than two draws of items."""
CELLS = 2**22
"""Cosines held at once, 16 MB."""
ENCODER, ADAPTOR, TRAINED = "encoder.", "adaptor.", "trained"
"""In a scorer's state: what the names of the user encoder's and of the text map's weights begin with, and which items
were bought in training."""


@dataclass(frozen=True)
class NeuralFeature:
    """u·v(i) + b(i); the last dimension is the bias."""

    name: str
    encoder: UserEncoder
    items: ItemRows

    @torch.no_grad()
    def user_vectors(self, histories: Ragged, tags: Ragged) -> Floats:
        """See ``Feature``."""
        users = self.encoder.eval().user_vectors(self.items, histories, tags).float().cpu().numpy()
        return np.concatenate([users, np.ones((len(users), 1), np.float32)], axis=1)

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; of a sequence by how much the score falls without each interaction."""
        return history_parts(self.encoder.eval(), self.items, histories, tags, listed)


def neural(model: InterestModel, data: TrainingData) -> Scorer:
    """A trained model; items that nobody bought take after those of their domain that read alike."""
    learned = model.tower.item_embeddings()
    vectors = torch.cat([learned.vectors, learned.bias.unsqueeze(1)], dim=1).float().cpu().numpy()
    trained = data.histories.item_stats.trained
    for of_domain in (data.is_target, ~data.is_target):
        cold, known = np.flatnonzero(of_domain & ~trained), np.flatnonzero(of_domain & trained)
        vectors[cold] = lent(data.texts[cold], data.texts[known], vectors[known], vectors[cold])
    items = _items(vectors, data.is_target, model.device)
    weights = {name: weight.detach().cpu().numpy() for name, weight in model.state_dict().items()}
    state = {f"{ENCODER}{name}": weight for name, weight in weights.items() if not name.startswith("tower.")}
    text = {name.removeprefix("tower."): weight for name, weight in weights.items() if "tower.adaptor." in name}
    return Scorer(NAME, vectors, (NeuralFeature(NAME, model, items),), state | text | {TRAINED: trained})


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
    return NeuralFeature(NAME, encoder, _items(vectors, is_target, torch.device("cpu")))


def place(scorer: Scorer, new: NewItems) -> Floats:
    """Vectors of new items: as those that read alike, else where their texts stand, without a bias."""
    texts = new.texts @ scorer.state[f"{ADAPTOR}weight"].T + scorer.state[f"{ADAPTOR}bias"]
    found = np.concatenate([texts, np.zeros((len(texts), 1), np.float32)], axis=1)
    if new.known is None:
        return found
    for target in (True, False):
        mine = new.is_target == target
        known = np.flatnonzero(scorer.state[TRAINED] & (new.known.is_target == target))
        vectors = np.asarray(scorer.item_vectors)[known]
        found[mine] = lent(new.texts[mine], new.known.texts[known], vectors, found[mine])
    return found


def lent(texts: Floats, known_texts: Floats, known_vectors: Floats, otherwise: Floats) -> Floats:
    """The mean of the items that are nearest by their texts, made as long as these are: it would be shorter.

    Args:
        texts: of items that nobody bought, rows of length 1, or 0 where there is none; (n, r).
        known_texts: of trained items, (m, r).
        known_vectors: theirs, the bias last, (m, d + 1).
        otherwise: what an item without text has, or all where nothing is trained; (n, d + 1).
    """
    found = otherwise.copy()
    if not len(known_texts):
        return found
    vectors, bias = torch.from_numpy(known_vectors[:, :-1]), torch.from_numpy(known_vectors[:, -1])
    lengths = vectors.norm(dim=1)
    has_text = np.flatnonzero(texts.any(axis=1))
    for some in np.array_split(has_text, -(-len(has_text) * len(known_texts) // CELLS) or 1):
        best = torch.topk(torch.from_numpy(texts[some] @ known_texts.T), min(NEIGHBOURS, len(known_texts)), dim=1)
        share = torch.softmax(SHARPNESS * best.values, dim=1)
        mean = F.normalize((share.unsqueeze(2) * vectors[best.indices]).sum(dim=1), dim=1)
        found[some, :-1] = mean * (share * lengths[best.indices]).sum(dim=1, keepdim=True)
        found[some, -1] = (share * bias[best.indices]).sum(dim=1)
    return found


def _items(vectors: Floats, is_target: Bools, device: torch.device) -> ItemRows:
    parts = (vectors[:, :-1], vectors[:, -1], is_target.astype(np.float32))
    return ItemRows(*(torch.tensor(part, device=device) for part in parts))  # copies, as Arrow's memory is read-only
