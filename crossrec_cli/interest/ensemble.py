"""Several interest models as one: each trained with other chance errs in other ways, and their mean errs less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from crossrec_cli.config.schema import Interest
from crossrec_cli.interest.batches import Bools, Domain
from crossrec_cli.interest.model import InterestModel, Items, Whitening, whitening

FIRST = "models.0."
"""What the names of the first member's weights begin with."""


class Ensemble(nn.Module):
    """``interest.members`` models; interest is σ(scale · m + shift), m being the mean of their u·v(i) + b(i).

    ``score_scale`` and ``score_shift`` are fitted on validation after training, so that the score is a probability.
    """

    score_scale: Tensor
    score_shift: Tensor

    def __init__(self, members: Iterable[InterestModel]) -> None:
        super().__init__()
        self.models = nn.ModuleList(members)
        self.register_buffer("score_scale", torch.ones(()))
        self.register_buffer("score_shift", torch.zeros(()))

    @classmethod
    def create(cls, config: Interest, embeddings: npt.NDArray[np.float32], domain: Domain, tags: int) -> Ensemble:
        """Untrained members for a catalogue whose text embeddings are float32 (I, width); ``tags`` is their number."""
        facts = (domain.popularity, domain.is_target)
        popularity, in_target = (torch.from_numpy(fact.astype(np.float32)) for fact in facts)
        white = whitening(embeddings)
        text = white.of([embeddings], len(embeddings))
        return cls(InterestModel(config, text, white, popularity, in_target, tags) for _ in range(config.members))

    @classmethod
    def restore(
        cls,
        config: Interest,
        embeddings: Iterable[npt.NDArray[np.float32]],
        weights: Mapping[str, Tensor],
        added: Bools | None = None,
    ) -> Ensemble:
        """The ensemble whose ``state_dict`` this is.

        Args:
            config: as it was trained.
            embeddings: the catalogue's text embeddings, and behind them the added items', in parts.
            weights: the ``state_dict``.
            added: for each item that came after training whether it is in the target; to the model they are cold.
        """
        if added is not None:
            weights = _grown(weights, torch.from_numpy(added.astype(np.float32)))
        white = Whitening(weights[f"{FIRST}tower.text_mean"], weights[f"{FIRST}tower.text_matrix"])
        popularity, in_target = (weights[f"{FIRST}tower.{name}"] for name in ("popularity", "in_target"))
        text, tags = white.of(embeddings, len(popularity)), len(weights[f"{FIRST}tags.weight"])
        facts = (text, white, popularity, in_target, tags)
        found = cls(InterestModel(config, *facts) for _ in range(config.members))
        if f"models.{config.members}.nobody" in weights:
            found = found.with_linear(config)
        found.load_state_dict(dict(weights))
        return found

    def with_linear(self, config: Interest) -> Ensemble:
        """The same members and, behind them, an untaught one for ``linear.learn``.

        It has a bag alone, and of users without target history it says nothing: most draws of them rank worse with it
        (benchmarks/README.md).
        """
        first = self.members[0]
        tower, tags = first.tower, first.tags.num_embeddings
        white = Whitening(tower.text_mean, tower.text_matrix)
        bag = config.model_copy(update={"user_encoder": "bag"})
        linear = InterestModel(bag, tower.text, white, tower.popularity, tower.in_target, tags)
        linear.new_users.zero_()
        return Ensemble([*self.members, linear.to(self.device)])

    @property
    def members(self) -> list[InterestModel]:
        """The models; they share no weights, and each is trained by itself."""
        return [model for model in self.models if isinstance(model, InterestModel)]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.members[0].device

    def known(self) -> list[Items]:
        """All items as each member knows them."""
        return [member.tower.known() for member in self.members]

    @property
    def leans(self) -> bool:
        """Whether it matters how much target items lean on their neighbours; see ``ItemTower``."""
        return self.members[0].tower.leans

    def smooth(self, smoothing: float) -> None:
        """Have little-bought target items lean on their neighbours; see ``ItemTower``."""
        for member in self.members:
            member.tower.smoothing.fill_(smoothing)

    def release(self) -> None:
        """Let go of texts and ids, once all items are known."""
        for member in self.members:
            member.tower.release()

    def calibrated(self, logits: Tensor) -> Tensor:
        """Mean logits u·v(i) + b(i) to probabilities."""
        return torch.sigmoid(self.score_scale * logits + self.score_shift)


def _grown(weights: Mapping[str, Tensor], in_target: Tensor) -> dict[str, Tensor]:
    """A ``state_dict`` with more items at the end, that have neither interactions nor an id embedding nor a bias."""
    more = {
        "tower.in_target": in_target,
        "tower.popularity": torch.zeros_like(in_target),
        "tower.bias": torch.zeros_like(in_target),
        "tower.id_embedding.weight": torch.zeros(len(in_target), weights[f"{FIRST}tower.id_embedding.weight"].shape[1]),
    }
    ends = {name: end for name in weights for part, end in more.items() if name.endswith(part)}
    return {name: torch.cat([known, ends[name]]) if name in ends else known for name, known in weights.items()}
