"""The two towers as ONNX, and all items' vectors: together they score without crossrec, and without torch.

All that is linear behind the towers is folded into what they give: the mean over the members and the calibration. The
probability that crossrec shows is σ(user · vector + bias), so any index of inner products can serve.

Shapes: B users, n places of a history, N items, w the width of a text embedding, D = members · dim.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name
from torch import Tensor, nn

from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.interest.model import InterestModel, Items
from crossrec_cli.interest.neighbours import FAR, NEIGHBOURS, SHARPNESS

OPSET = 20
IN_ONE_FILE = 2**30
"""Bytes of weights; an ONNX file ends at 2 GiB, so more go into a file beside it."""


def folded(model: Ensemble, known: list[Items]) -> Items:
    """All items as they are to be multiplied with what the user tower gives: vectors (N, D), bias (N,)."""
    bias = torch.stack([items.bias for items in known]).mean(dim=0)
    vectors = torch.cat([items.vectors for items in known], dim=1)
    return Items(vectors, model.score_scale * bias + model.score_shift, known[0].in_target)


def write_user_tower(path: Path, model: Ensemble) -> None:
    """Write ``UserTower`` of a model on the CPU; it needs no items, so the model may have released them."""
    member = model.members[0]
    dim, tags = len(model.members) * len(member.nobody), member.tags.num_embeddings
    batch, places = torch.export.Dim("batch"), torch.export.Dim("places")
    history = {0: batch, 1: places}
    inputs = {
        "vectors": (torch.zeros(2, 3, dim), history),
        "weights": (torch.ones(2, 3), history),
        "in_target": (torch.zeros(2, 3), history),
        "tags": (torch.zeros(2, tags), {0: batch}),
    }
    _write(path, UserTower(model), inputs, ["user"])


def write_item_tower(path: Path, model: Ensemble) -> None:
    """Write ``NewItems`` of a model on the CPU."""
    items, width = torch.export.Dim("items"), len(model.members[0].tower.text_mean)
    inputs = {"embedding": (torch.zeros(2, width), {0: items}), "in_target": (torch.zeros(2), {0: items})}
    _write(path, NewItems(model), inputs, ["vector", "bias"])


class UserTower(nn.Module):
    """What users want, from their histories' item vectors."""

    def __init__(self, model: Ensemble) -> None:
        super().__init__()
        self.model = model

    def forward(self, vectors: Tensor, weights: Tensor, in_target: Tensor, tags: Tensor) -> Tensor:
        """User vectors (B, D).

        Args:
            vectors: of the items of each history, oldest first, filled up on the right; (B, n, D).
            weights: how much each counts, 0 where it was filled up; (B, n).
            in_target: 1.0 for items of the target domain, else 0.0; (B, n).
            tags: 1.0 for each tag that a user bears, else 0.0; (B, tags).
        """
        members = self.model.members
        users = [
            _user(member, part, weights, in_target, tags)
            for member, part in zip(members, vectors.chunk(len(members), dim=2), strict=True)
        ]
        return torch.cat(users, dim=1) * (self.model.score_scale / len(members))


def _user(member: InterestModel, vectors: Tensor, weights: Tensor, in_target: Tensor, tags: Tensor) -> Tensor:
    """One member's, (B, d): ``InterestModel.user_vectors`` without lists of different lengths."""
    prefix = member.nobody + tags @ member.tags.weight
    parts = []
    if member.bag is not None:
        counts = weights * member.bag.counts(in_target)
        parts.append(member.bag(prefix + (counts.unsqueeze(2) * vectors).sum(dim=1)))
    if member.sequence is not None:
        filled = (weights > 0).sum(dim=1, keepdim=True)
        read = filled.clamp(max=member.max_sequence)
        latest = torch.arange(member.max_sequence) + filled - read  # places behind the filled ones tell nothing:
        places = torch.minimum(latest, filled - 1).clamp(min=0)  # no state knows what stands after its own
        states = member.sequence(prefix, _at(vectors, places), in_target.gather(1, places))
        parts.append(_at(states, read).squeeze(1))
    bought = ((weights > 0) * in_target).amax(dim=1, keepdim=True)
    return torch.stack(parts).sum(dim=0) * torch.where(bought > 0, 1.0, member.new_users)


def _at(rows: Tensor, places: Tensor) -> Tensor:
    """Of (B, n, d) the rows at some places, int64 (B, m): (B, m, d)."""
    return rows.gather(1, places.unsqueeze(2).expand(-1, -1, rows.shape[2]))


class NewItems(nn.Module):
    """Where items stand that nobody has bought yet: as ``ItemTower.known`` has it, near their neighbours by text."""

    text_mean: Tensor
    text_matrix: Tensor
    directions: Tensor
    trained_in_target: Tensor
    bias: Tensor
    score_scale: Tensor
    score_shift: Tensor

    def __init__(self, model: Ensemble) -> None:
        super().__init__()
        tower = model.members[0].tower
        trained = (tower.popularity > 0) & tower.text.any(dim=1)
        self.register_buffer("text_mean", tower.text_mean)
        self.register_buffer("text_matrix", tower.text_matrix)
        self.register_buffer("directions", F.normalize(tower.text[trained], dim=1).T.contiguous())
        self.register_buffer("trained_in_target", tower.in_target[trained])
        self.adaptors = nn.ModuleList(member.tower.adaptor for member in model.members)
        own = [member.tower.eval()(torch.nonzero(trained).squeeze(1)) for member in model.members]
        for number, items in enumerate(own):
            self.register_buffer(f"vectors_{number}", items.vectors.detach())
        self.register_buffer("bias", torch.stack([items.bias for items in own]).mean(dim=0).detach())
        self.register_buffer("score_scale", model.score_scale)
        self.register_buffer("score_shift", model.score_shift)

    def forward(self, embedding: Tensor, in_target: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (N, D) and bias (N,).

        Args:
            embedding: the language model's, of each item's text; (N, w).
            in_target: 1.0 for items of the target domain, else 0.0; (N,).
        """
        text = (embedding - self.text_mean) @ self.text_matrix
        far = in_target.unsqueeze(1) != self.trained_in_target
        cosine = F.normalize(text, dim=1) @ self.directions - FAR * far
        best = torch.topk(cosine, min(NEIGHBOURS, len(self.trained_in_target)), dim=1)
        share = torch.softmax(SHARPNESS * best.values, dim=1).unsqueeze(2)
        lonely = far.all(dim=1, keepdim=True)
        vectors = []
        for number, adaptor in enumerate(self.adaptors):
            around = getattr(self, f"vectors_{number}")[best.indices]
            length = (share * around.norm(dim=2, keepdim=True)).sum(dim=1)
            lent = F.normalize((share * around).sum(dim=1), dim=1) * length
            vectors.append(torch.where(lonely, adaptor(text), lent))
        bias = torch.where(lonely.squeeze(1), 0.0, (share.squeeze(2) * self.bias[best.indices]).sum(dim=1))
        return torch.cat(vectors, dim=1), self.score_scale * bias + self.score_shift


def _write(path: Path, module: nn.Module, inputs: dict[str, tuple[Tensor, dict[int, Any]]], outputs: list[str]) -> None:
    weights = sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())
    with _quiet():
        torch.onnx.export(
            module.eval(),
            tuple(example for example, _ in inputs.values()),
            path,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=tuple(dims for _, dims in inputs.values()),
            opset_version=OPSET,
            dynamo=True,
            external_data=weights > IN_ONE_FILE,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch's exporter tells much that is of no use here; and the fused attention of a CPU has no ONNX."""
    fused, logger = torch.backends.mha.get_fastpath_enabled(), logging.getLogger("torch.onnx")
    level = logger.level
    torch.backends.mha.set_fastpath_enabled(False)
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        logger.setLevel(level)
