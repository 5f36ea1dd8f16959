"""Baselines: what any shop could do without this model."""

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

MAX_CELLS = 2**28
"""Cells of the largest dense matrix that a baseline may need, 2 GB in float64."""
FEW_BUYERS = 10.0
"""Smoothing: within a tag, the popularity among all users counts as much as so many of its users."""
FACTORS = 64
IALS_EPOCHS = 15


class TooLargeError(Exception):
    """A baseline would need more memory than ``MAX_CELLS``; the message has how much."""


@dataclass(frozen=True)
class BaselineInputs:
    """The data for a baseline."""

    data: TrainingData
    before: TrainingData
    """The data before validation, with which settings are chosen."""
    candidates: Ints
    """Item indices to score, sorted, int64 (C,)."""
    valid: Cases
    """The cases by which settings are chosen."""
    mask_seen: bool
    """Whether items in the user's history are excluded."""
    seed: int

    @property
    def histories(self) -> Histories:
        """The histories of all users."""
        return self.data.histories

    @property
    def in_target(self) -> Bools:
        """The target's items, (I,)."""
        return self.histories.item_stats.is_target

    @property
    def all_items(self) -> Bools:
        """All items, (I,)."""
        return np.ones(len(self.in_target), bool)


@dataclass(frozen=True)
class Baseline:
    """A ranking method, with the settings to choose from on validation."""

    title: str
    make: Callable[[BaselineInputs, float], ScoreFunction]
    settings: tuple[float, ...] = (0.0,)

    def tuned(self, inputs: BaselineInputs, quality: Callable[[ScoreFunction], float]) -> tuple[ScoreFunction, float]:
        """The setting whose scorer is best, and that setting.

        Raises:
            TooLargeError: if it does not fit in memory.
            UnavailableError: if its library is not installed.
        """
        setting = self.settings[0]
        if len(self.settings) > 1:
            earlier = replace(inputs, data=inputs.before)
            setting = max(self.settings, key=lambda one: quality(self.make(earlier, one)))
        return self.make(inputs, setting), setting


def popularity_scorer(inputs: BaselineInputs) -> ScoreFunction:
    """For every user, the items that were bought most in training."""
    scores = torch.from_numpy(_counts(inputs).astype(np.float32))

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        return scores.repeat(len(histories.lengths), 1)

    return score


def tag_popularity_scorer(inputs: BaselineInputs) -> ScoreFunction:
    """The items that users with the same tags bought most, the mean over a user's tags; without tags, all users."""
    training, tags = inputs.histories.training, inputs.histories.tags
    number = numbered(inputs.candidates, len(inputs.in_target))
    bought = purchases(training, number, len(inputs.candidates))
    share = (_counts(inputs) / max(len(training.lengths), 1)).astype(np.float32)
    weight = (1 / (np.bincount(tags.values) + FEW_BUYERS)).astype(np.float32)
    tag_weights = csr_array((weight[tags.values], (tags.rows, tags.values)), shape=(len(tags.lengths), len(weight)))
    per_tag = csr_array(tag_weights.T @ bought)

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        known_tags = tags.where(tags.values < len(weight))
        mean = (1 / np.maximum(known_tags.lengths, 1)[known_tags.rows]).astype(np.float32)
        user_tags = csr_array(
            (mean, (known_tags.rows, known_tags.values)), shape=(len(known_tags.lengths), len(weight))
        )
        prior_weight = np.bincount(
            known_tags.rows, mean * weight[known_tags.values] * FEW_BUYERS, minlength=len(known_tags.lengths)
        )
        smoothing = np.where(known_tags.lengths > 0, prior_weight, 1.0).astype(np.float32)
        scores = (user_tags @ per_tag).toarray()
        scores += np.outer(smoothing, share)
        return torch.from_numpy(scores)

    return score


def knn_scorer(inputs: BaselineInputs, neighbours: int) -> ScoreFunction:
    """The items bought most often together with those of the history, by the cosine of their buyers.

    Sarwar et al. 2001, https://doi.org/10.1145/371920.372071, with each candidate's nearest items only.
    """
    number = np.arange(len(inputs.in_target))
    bought = purchases(inputs.histories.training, number, len(number))
    norm = np.maximum(np.sqrt(bought.sum(axis=0)), 1.0).astype(np.float32)
    unit = csr_array(bought / norm[None, :])
    similarity = (unit.T @ unit[:, inputs.candidates]).tocoo()
    is_other = similarity.row != inputs.candidates[similarity.col]
    rows, columns, values = similarity.row[is_other], similarity.col[is_other], similarity.data[is_other]
    order = np.lexsort((rows, -values, columns))
    neighbour_rank = np.arange(len(order)) - np.searchsorted(columns[order], columns[order])
    kept = order[neighbour_rank < neighbours]
    weights = csr_array((values[kept], (rows[kept], columns[kept])), shape=(len(number), len(inputs.candidates)))

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        return torch.from_numpy((purchases(histories, number, len(number)) @ weights).toarray())

    return score


def ials_scorer(inputs: BaselineInputs, alpha: float) -> ScoreFunction:
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

    number = np.arange(len(inputs.in_target))
    with threadpool_limits(1, "blas"):  # it has its own threads, and warns about others
        model = AlternatingLeastSquares(FACTORS, alpha=alpha, iterations=IALS_EPOCHS, random_state=inputs.seed)
        model.fit(csr_matrix(purchases(inputs.histories.training, number, len(number))), show_progress=False)
    item_factors = torch.from_numpy(model.item_factors[inputs.candidates]).T.contiguous()

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        bought_before = csr_matrix(purchases(histories, number, len(number)))
        return torch.from_numpy(model.recalculate_user(np.arange(bought_before.shape[0]), bought_before)) @ item_factors

    return score


def ease_scorer(inputs: BaselineInputs, within: Bools, l2: float, source_weight: float = 1.0) -> ScoreFunction:
    """The linear item-to-item model with a closed form, EASE (Steck 2019, https://arxiv.org/abs/1905.03375).

    Args:
        inputs: trained on the training part of their histories, each item once a user.
        within: the items of the model, bool (I,); other items of a history are skipped.
        l2: the weight λ of its regularisation.
        source_weight: weight of a source item, in histories and in training; a target item has 1.

    Raises:
        TooLargeError: if its matrices do not fit in memory.
    """
    item_count, candidates = int(within.sum()), inputs.candidates
    cells = ease_cells(inputs.histories.users, item_count, len(candidates))
    if cells > MAX_CELLS:
        raise TooLargeError(f"a matrix of {8 * cells / 1e9:,.0f} GB")
    number = numbered(np.flatnonzero(within), len(within))
    counts = source_counts(inputs.in_target[within], source_weight)
    bought = csr_array(purchases(inputs.histories.training, number, item_count) * counts[None, :])
    columns = number[candidates]
    weights = np.zeros((item_count, len(candidates)), np.float32)
    is_known = columns >= 0
    weights[:, is_known] = ease(bought, columns[is_known], l2) * counts[:, None]

    def score(histories: Ragged, tags: Ragged) -> Tensor:
        return torch.from_numpy(purchases(histories, number, item_count) @ weights)

    return score


def weighted_scorer(inputs: BaselineInputs, scorers: Sequence[str]) -> ScoreFunction:
    """Scorers that need no training, with weights and decays fitted on validation."""
    fused = FusedModel.fitted(scorers, inputs.before, inputs.valid, inputs.candidates, inputs.mask_seen, inputs.seed)
    return fused.refitted(inputs.data, inputs.seed).candidate_scorer(inputs.candidates)


BASELINES = {
    "popularity": Baseline("popularity", lambda inputs, _: popularity_scorer(inputs)),
    "tag_popularity": Baseline("popularity within tags", lambda inputs, _: tag_popularity_scorer(inputs)),
    "text": Baseline("text cosine", lambda inputs, _: weighted_scorer(inputs, ["text"])),
    "words": Baseline("tf-idf of words", lambda inputs, _: weighted_scorer(inputs, ["words"])),
    "text_knn": Baseline(
        "tf-idf of words plus item-kNN", lambda inputs, _: weighted_scorer(inputs, ["words", "neighbours"])
    ),
    "item_knn": Baseline("item-kNN", lambda inputs, neighbours: knn_scorer(inputs, int(neighbours)), (20, 100, 500)),
    "ease_target": Baseline(
        "EASE, target alone", lambda inputs, l2: ease_scorer(inputs, inputs.in_target, l2), (100, 300, 1000, 3000)
    ),
    "ease": Baseline(
        "EASE, all items", lambda inputs, l2: ease_scorer(inputs, inputs.all_items, l2), (300, 1000, 3000, 10_000)
    ),
    "ease_weighted": Baseline(
        f"EASE, source counting {SOURCE_WEIGHT:g}",
        lambda inputs, l2: ease_scorer(inputs, inputs.all_items, l2, SOURCE_WEIGHT),
        (100, 300, 1000, 3000),
    ),
    "ease_text": Baseline("EASE with texts", lambda inputs, _: weighted_scorer(inputs, ["linear"])),
    "ials": Baseline("iALS", ials_scorer, (1, 5, 20)),
}
"""By name in the config. The settings are numbers of neighbours, λ, or the weight of a purchase."""


def _counts(inputs: BaselineInputs) -> npt.NDArray[np.int64]:
    """How often each candidate was bought in training, (C,)."""
    counts: npt.NDArray[np.int64] = np.bincount(inputs.histories.training.values, minlength=len(inputs.in_target))
    return counts[inputs.candidates]
