"""What any shop could do without this model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array, csr_matrix
from torch import Tensor

from crossrec_cli.errors import UnavailableError
from crossrec_cli.evaluation.ease import ease, ease_cells
from crossrec_cli.models.base import TrainingData, purchases
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.linear import SOURCE_WEIGHT, source_counts
from crossrec_cli.models.ragged import Bools, Ints, Ragged, numbered
from crossrec_cli.ranking.topk import ScoreFunction

LARGEST = 2**28
"""Cells of the largest dense matrix that a baseline may need, 2 GB in float64."""
FEW_BUYERS = 10.0
"""Within a tag, everybody's popularity counts as much as so many of its users."""
FACTORS = 64
IALS_EPOCHS = 15


class TooLargeError(Exception):
    """A baseline would need more memory than a machine has to spare; says how much."""


@dataclass(frozen=True)
class Shop:
    """What a baseline may learn from."""

    data: TrainingData
    before: TrainingData
    """What it might before validation: settings are chosen with this."""
    candidates: Ints
    """Item indices to score, sorted, int64 (C,)."""
    valid: Cases
    """By which settings are chosen."""
    mask_seen: bool
    """Whether what a user has is no candidate."""
    seed: int

    @property
    def histories(self) -> Histories:
        """Everybody's."""
        return self.data.histories

    @property
    def in_target(self) -> Bools:
        """The target's items, (I,)."""
        return self.histories.item_stats.is_target

    @property
    def everything(self) -> Bools:
        """All items, (I,)."""
        return np.ones(len(self.in_target), bool)


@dataclass(frozen=True)
class Baseline:
    """A way to rank, with the settings to choose from on validation."""

    title: str
    make: Callable[[Shop, float], ScoreFunction]
    settings: tuple[float, ...] = (0.0,)

    def tuned(self, shop: Shop, quality: Callable[[ScoreFunction], float]) -> tuple[ScoreFunction, float]:
        """The setting whose scorer is best, and that setting.

        Raises:
            TooLargeError: if it does not fit in memory.
            UnavailableError: if its library is not there.
        """
        setting = self.settings[0]
        if len(self.settings) > 1:
            earlier = replace(shop, data=shop.before)
            setting = max(self.settings, key=lambda one: quality(self.make(earlier, one)))
        return self.make(shop, setting), setting


def popularity_scorer(shop: Shop) -> ScoreFunction:
    """Everybody gets what was bought most in training."""
    scores = torch.from_numpy(_counts(shop).astype(np.float32))

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        return scores.repeat(len(histories.lengths), 1)

    return score


def tag_popularity_scorer(shop: Shop) -> ScoreFunction:
    """What was bought most by users with the same tags, the mean over a user's tags; without tags, by everybody."""
    training, tags = shop.histories.training, shop.histories.tags
    number = numbered(shop.candidates, len(shop.in_target))
    bought = purchases(training, number, len(shop.candidates))
    share = (_counts(shop) / max(len(training.lengths), 1)).astype(np.float32)
    weight = (1 / (np.bincount(tags.values) + FEW_BUYERS)).astype(np.float32)
    bears = csr_array((weight[tags.values], (tags.rows, tags.values)), shape=(len(tags.lengths), len(weight)))
    per_tag = csr_array(bears.T @ bought)

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        known = tags.where(tags.values < len(weight))
        mean = (1 / np.maximum(known.lengths, 1)[known.rows]).astype(np.float32)
        mine = csr_array((mean, (known.rows, known.values)), shape=(len(known.lengths), len(weight)))
        everybody = np.bincount(known.rows, mean * weight[known.values] * FEW_BUYERS, minlength=len(known.lengths))
        smoothing = np.where(known.lengths > 0, everybody, 1.0).astype(np.float32)
        scores = (mine @ per_tag).toarray()
        scores += np.outer(smoothing, share)
        return torch.from_numpy(scores)

    return score


def knn_scorer(shop: Shop, neighbours: int) -> ScoreFunction:
    """The items bought most often together with those of the history, by the cosine of their buyers.

    Sarwar et al. 2001, https://doi.org/10.1145/371920.372071, with each candidate's nearest items alone.
    """
    number = np.arange(len(shop.in_target))
    bought = purchases(shop.histories.training, number, len(number))
    norm = np.maximum(np.sqrt(bought.sum(axis=0)), 1.0).astype(np.float32)
    unit = csr_array(bought / norm[None, :])
    alike = (unit.T @ unit[:, shop.candidates]).tocoo()
    other = alike.row != shop.candidates[alike.col]
    rows, columns, values = alike.row[other], alike.col[other], alike.data[other]
    order = np.lexsort((rows, -values, columns))
    place = np.arange(len(order)) - np.searchsorted(columns[order], columns[order])
    kept = order[place < neighbours]
    weights = csr_array((values[kept], (rows[kept], columns[kept])), shape=(len(number), len(shop.candidates)))

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        return torch.from_numpy((purchases(histories, number, len(number)) @ weights).toarray())

    return score


def ials_scorer(shop: Shop, alpha: float) -> ScoreFunction:
    """Factors of users and items (Hu, Koren & Volinsky 2008, https://doi.org/10.1109/ICDM.2008.22), by ``implicit``.

    Raises:
        UnavailableError: if ``implicit`` is not installed.
    """
    try:
        from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415  an extra
    except ImportError:
        raise UnavailableError(
            "evaluate.baselines: ials needs the package implicit; pip install 'crossrec[ials]'"
        ) from None
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  comes with implicit

    number = np.arange(len(shop.in_target))
    with threadpool_limits(1, "blas"):  # it has threads of its own, and would warn
        model = AlternatingLeastSquares(FACTORS, alpha=alpha, iterations=IALS_EPOCHS, random_state=shop.seed)
        model.fit(csr_matrix(purchases(shop.histories.training, number, len(number))), show_progress=False)
    wanted = torch.from_numpy(model.item_factors[shop.candidates]).T.contiguous()

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        given = csr_matrix(purchases(histories, number, len(number)))
        return torch.from_numpy(model.recalculate_user(np.arange(given.shape[0]), given)) @ wanted

    return score


def ease_scorer(shop: Shop, within: Bools, l2: float, source_weight: float = 1.0) -> ScoreFunction:
    """The linear item-to-item model with a closed form, EASE (Steck 2019, https://arxiv.org/abs/1905.03375).

    Args:
        shop: trained on the training part of its histories, each item once a user.
        within: the items that it knows, bool (I,); what else is in a history it passes over.
        l2: the weight λ of its regularisation.
        source_weight: how much a source item in a history counts, in training too; one of the target counts 1.

    Raises:
        TooLargeError: if its matrices do not fit in memory.
    """
    known_items, candidates = int(within.sum()), shop.candidates
    cells = ease_cells(shop.histories.users, known_items, len(candidates))
    if cells > LARGEST:
        raise TooLargeError(f"a matrix of {8 * cells / 1e9:,.0f} GB")
    number = numbered(np.flatnonzero(within), len(within))
    counts = source_counts(shop.in_target[within], source_weight)
    bought = csr_array(purchases(shop.histories.training, number, known_items) * counts[None, :])
    wanted = number[candidates]
    weights = np.zeros((known_items, len(candidates)), np.float32)
    known = wanted >= 0
    weights[:, known] = ease(bought, wanted[known], l2) * counts[:, None]

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        return torch.from_numpy(purchases(histories, number, known_items) @ weights)

    return score


def weighed(shop: Shop, scorers: Sequence[str]) -> ScoreFunction:
    """Scorers that need no training, later purchases counting more, as validation has it likeliest."""
    fused = FusedModel.fitted(scorers, shop.before, shop.valid, shop.candidates, shop.mask_seen, shop.seed)
    return fused.refitted(shop.data, shop.seed).candidate_scorer(shop.candidates)


BASELINES = {
    "popularity": Baseline("popularity", lambda shop, _: popularity_scorer(shop)),
    "tag_popularity": Baseline("popularity within tags", lambda shop, _: tag_popularity_scorer(shop)),
    "text": Baseline("text cosine", lambda shop, _: weighed(shop, ["text"])),
    "words": Baseline("tf-idf of words", lambda shop, _: weighed(shop, ["words"])),
    "text_knn": Baseline("tf-idf of words plus item-kNN", lambda shop, _: weighed(shop, ["words", "neighbours"])),
    "item_knn": Baseline("item-kNN", lambda shop, neighbours: knn_scorer(shop, int(neighbours)), (20, 100, 500)),
    "ease_target": Baseline(
        "EASE, target alone", lambda shop, l2: ease_scorer(shop, shop.in_target, l2), (100, 300, 1000, 3000)
    ),
    "ease": Baseline(
        "EASE, all items", lambda shop, l2: ease_scorer(shop, shop.everything, l2), (300, 1000, 3000, 10_000)
    ),
    "ease_weighted": Baseline(
        f"EASE, source counting {SOURCE_WEIGHT:g}",
        lambda shop, l2: ease_scorer(shop, shop.everything, l2, SOURCE_WEIGHT),
        (100, 300, 1000, 3000),
    ),
    "ease_text": Baseline("EASE with texts", lambda shop, _: weighed(shop, ["linear"])),
    "ials": Baseline("iALS", ials_scorer, (1, 5, 20)),
}
"""By their names in the config. Their settings' units: neighbours, λ, and the weight of a purchase."""


def _counts(shop: Shop) -> npt.NDArray[np.int64]:
    """How often each candidate was bought in training, (C,)."""
    counts: npt.NDArray[np.int64] = np.bincount(shop.histories.training.values, minlength=len(shop.in_target))
    return counts[shop.candidates]
