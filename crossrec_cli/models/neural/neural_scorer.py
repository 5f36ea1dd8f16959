"""neural: an item tower and a user encoder, trained by gradients: for order, and for what the other scorers miss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name
from torch import Tensor

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.base import Domain, NewItems, Scorer, TrainingData, VectorParts
from crossrec_cli.models.history_sums import Parts
from crossrec_cli.models.neural.attribution import history_parts, vector_parts
from crossrec_cli.models.neural.nearest import nearest
from crossrec_cli.models.neural.tower import InterestModel, ItemRows, UserEncoder
from crossrec_cli.models.ragged import Bools, Ints, Ragged
from crossrec_cli.models.vectors import Floats

NAME = "neural"
ITEM_CHUNK = 4_096
"""Items that are interpolated at once, whose neighbours' vectors take 42 MB."""
NEIGHBOURS, SHARPNESS = 20, 1 / 0.03
"""Nearest trained items from which a cold-start item's vector is interpolated, and the factor that turns their cosines
into the logits of their shares. On validation of the Complete Journey and of Amazon 2 to 20 neighbours, with a fitting
sharpness, differ by less than two draws of items."""
ENCODER, ADAPTOR, TRAINED = "encoder.", "adaptor.", "trained"
"""In a scorer's state: the prefixes of the user encoder's and of the text projection's weights, and which items were
bought in training."""


@dataclass(frozen=True)
class NeuralFeature:
    """u·v(i) + b(i); the last dimension is the bias."""

    name: str
    encoder: UserEncoder
    items: ItemRows

    @torch.no_grad()
    def user_vectors(self, histories: Ragged, tags: Ragged) -> Floats:
        """See ``Feature``."""
        return _with_bias(self.encoder.eval().user_vectors(self.items, histories, tags), 1)

    def vector_parts(self, histories: Ragged, tags: Ragged, domain: Domain) -> VectorParts:
        """See ``Feature``; for a sequence, see ``attribution.vector_parts``."""
        total, of_domain, rest = vector_parts(self.encoder.eval(), self.items, histories, tags, domain)
        return VectorParts(_with_bias(total, 1), _with_bias(of_domain, 0), _with_bias(rest, 1))

    def parts(self, histories: Ragged, tags: Ragged, listed: Ints) -> Parts:
        """See ``Feature``; for a sequence, the fall of the score without each interaction."""
        return history_parts(self.encoder.eval(), self.items, histories, tags, listed)


def _with_bias(users: Tensor, weight: float) -> Floats:
    """Users' vectors (B, d), followed by the weight of an item's bias, (B, d + 1)."""
    vectors = users.float().cpu().numpy()
    return np.concatenate([vectors, np.full((len(vectors), 1), weight, np.float32)], axis=1)


def neural(model: InterestModel, data: TrainingData) -> Scorer:
    """The scorer of a trained model; a cold-start item's vector is interpolated from items of its domain by text."""
    rows = model.tower.item_embeddings()
    vectors = torch.cat([rows.vectors, rows.bias.unsqueeze(1)], dim=1).float().cpu().numpy()
    del rows  # half a gigabyte for a million items
    trained = data.histories.item_stats.trained
    for in_domain in (data.is_target, ~data.is_target):
        cold, warm = np.flatnonzero(in_domain & ~trained), np.flatnonzero(in_domain & trained)
        vectors[cold] = interpolate(data.texts[cold], data.texts[warm], vectors[warm], vectors[cold])
    items = _items(vectors, data.is_target, model.device)
    weights = {name: weight.detach().cpu().numpy() for name, weight in model.state_dict().items()}
    state = {f"{ENCODER}{name}": weight for name, weight in weights.items() if not name.startswith("tower.")}
    text_weights = {name.removeprefix("tower."): weight for name, weight in weights.items() if "tower.adaptor." in name}
    return Scorer(NAME, vectors, (NeuralFeature(NAME, model, items),), state | text_weights | {TRAINED: trained})


def restored(vectors: Floats, state: Mapping[str, Floats], is_target: Bools, interest: Interest) -> NeuralFeature:
    """The feature of a saved scorer, on a CPU.

    Args:
        vectors: the scorer's item vectors, (I, d + 1).
        state: the scorer's state.
        is_target: the items to recommend, (I,).
        interest: sizes; the kind of user encoder follows from the weights' names.
    """
    weights = {
        name.removeprefix(ENCODER): torch.from_numpy(weight)
        for name, weight in state.items()
        if name.startswith(ENCODER)
    }
    encoder = UserEncoder(interest.model_copy(update={"user_encoder": kind_of(state)}), len(weights["tags.weight"]))
    encoder.load_state_dict(weights)
    return NeuralFeature(NAME, encoder, _items(vectors, is_target, torch.device("cpu")))


def kind_of(state: Mapping[str, Floats]) -> str:
    """The kind of user encoder, from a scorer's state."""
    bag, sequence = (any(name.startswith(f"{ENCODER}{part}.") for name in state) for part in ("bag", "sequence"))
    return "hybrid" if bag and sequence else "bag" if bag else "sequence"


def new_vectors(scorer: Scorer, new: NewItems) -> Floats:
    """Vectors of new items, interpolated by text; without trained items, the projection of the text, without bias."""
    texts = new.texts @ scorer.state[f"{ADAPTOR}weight"].T + scorer.state[f"{ADAPTOR}bias"]
    vectors = np.concatenate([texts, np.zeros((len(texts), 1), np.float32)], axis=1)
    if new.trained is None:
        return vectors
    trained = scorer.state[TRAINED]  # items that were added before come after these
    for is_target in (True, False):
        in_domain = new.is_target == is_target
        warm = np.flatnonzero(trained & (new.trained.is_target[: len(trained)] == is_target))
        warm_vectors = np.asarray(scorer.item_vectors)[warm]
        vectors[in_domain] = interpolate(
            new.texts[in_domain], new.trained.texts[warm], warm_vectors, vectors[in_domain]
        )
    return vectors


def interpolate(texts: Floats, trained_texts: Floats, trained_vectors: Floats, otherwise: Floats) -> Floats:
    """The mean of the items that are nearest by text, scaled to their mean length, as averaging shortens it.

    Args:
        texts: of cold-start items, rows of length 1, or 0 where there is no text; (n, r).
        trained_texts: of trained items, (m, r).
        trained_vectors: of the same items, the bias last, (m, d + 1).
        otherwise: vectors of items without text, and of all items where none is trained; (n, d + 1).
    """
    interpolated = otherwise.copy()
    if not len(trained_texts):
        return interpolated
    vectors, bias = torch.from_numpy(trained_vectors[:, :-1]), torch.from_numpy(trained_vectors[:, -1])
    lengths = vectors.norm(dim=1)
    has_text = np.flatnonzero(texts.any(axis=1))
    all_cosines, all_nearest = nearest(texts[has_text], trained_texts, NEIGHBOURS)
    for begin in range(0, len(has_text), ITEM_CHUNK):
        rows = slice(begin, begin + ITEM_CHUNK)
        share, items = torch.softmax(SHARPNESS * all_cosines[rows], dim=1), all_nearest[rows]
        mean = F.normalize((share.unsqueeze(2) * vectors[items]).sum(dim=1), dim=1)
        interpolated[has_text[rows], :-1] = mean * (share * lengths[items]).sum(dim=1, keepdim=True)
        interpolated[has_text[rows], -1] = (share * bias[items]).sum(dim=1)
    return interpolated


def _items(vectors: Floats, is_target: Bools, device: torch.device) -> ItemRows:
    parts = (vectors[:, :-1], vectors[:, -1], is_target.astype(np.float32))
    return ItemRows(*(torch.tensor(part, device=device) for part in parts))  # copies, as Arrow's memory is read-only
