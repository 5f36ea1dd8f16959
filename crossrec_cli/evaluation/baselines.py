"""Baselines: what any shop could do without this model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csc_array, csr_array, csr_matrix
from torch import Tensor

from crossrec_cli.errors import UnavailableError
from crossrec_cli.evaluation.ease import Ease, ease_cells, ease_work
from crossrec_cli.models.base import Scorer, TrainingData, purchases
from crossrec_cli.models.fused import Fitting
from crossrec_cli.models.histories import Cases, Histories
from crossrec_cli.models.linear import SOURCE_WEIGHT, source_counts
from crossrec_cli.models.ragged import Bools, Ints, Ragged, numbered
from crossrec_cli.models.vectors import Floats, scaled_columns
from crossrec_cli.ranking.topk import ScoreFunction
from crossrec_cli.runtime import distributed

MAX_CELLS = 2**28
"""Cells of the largest dense matrix that a baseline may need, 2 GB in float64."""
MAX_WORK = 5 * 10**10
"""Multiplications that a setting of a baseline may take, some seconds on two cores; up to five are solved."""
FEW_BUYERS = 10.0
"""Smoothing: within a tag, the popularity among all users counts as much as so many of its users."""
FACTORS = 64
IALS_EPOCHS = 15
NEIGHBOURS = (20, 100, 500)


class TooLargeError(Exception):
    """A baseline would need more than ``MAX_CELLS`` or ``MAX_WORK``; the message has how much."""


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
    learned: Sequence[Scorer] = ()
    """Crossrec's scorers, which learned from ``data``; a baseline of the same scorers learns them no second time."""

    @cached_property
    def fitting(self) -> Fitting:
        """What the baselines share that are scorers with weights."""
        return Fitting(self.before, self.valid, self.candidates, self.mask_seen, self.seed, self.learned)

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
    make: Callable[[BaselineInputs], Callable[[float], ScoreFunction]]
    """Learns from the data what all settings share; gives the scorer of each."""
    settings: tuple[float, ...] = (0.0,)

    def tuned(self, inputs: BaselineInputs, quality: Callable[[ScoreFunction], float]) -> tuple[ScoreFunction, float]:
        """The best setting's scorer, and that setting; the processes of a job share out the settings.

        Raises:
            TooLargeError: if it does not fit in memory.
            UnavailableError: if its library is not installed.
        """
        setting = self.settings[0]
        if len(self.settings) > 1:
            of_setting, shard = self.make(replace(inputs, data=inputs.before)), distributed.strided_shard()
            qualities = torch.zeros(len(self.settings), dtype=torch.float64)
            of_shard = [quality(of_setting(one)) for one in self.settings[shard]]
            qualities[shard] = torch.tensor(of_shard, dtype=torch.float64)
            distributed.add([qualities])
            setting = self.settings[int(np.argmax(qualities.numpy()))]
        return self.make(inputs)(setting), setting


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


def knn_scorer(inputs: BaselineInputs, most: int) -> Callable[[float], ScoreFunction]:
    """The items bought most often together with those of the history, by the cosine of their buyers.

    Sarwar et al. 2001, https://doi.org/10.1145/371920.372071, with each candidate's nearest items only; by how many
    these are, ``most`` at most.
    """
    number = np.arange(len(inputs.in_target))
    bought = purchases(inputs.histories.training, number, len(number))
    norm = np.maximum(np.sqrt(bought.sum(axis=0)), 1.0).astype(np.float32)
    unit = csr_array(bought / norm[None, :])
    similarity = csc_array(unit.T @ unit[:, inputs.candidates])
    lengths = np.diff(similarity.indptr)
    is_near = similarity.data >= np.repeat(_nth_largest(similarity, most + 1), lengths)  # an item is near itself, too
    is_near &= similarity.indices != np.repeat(inputs.candidates, lengths)
    columns = np.repeat(np.arange(len(lengths)), lengths)[is_near]
    rows, values = similarity.indices[is_near], similarity.data[is_near]
    order = np.lexsort((rows, -values, columns))
    rows, values, columns = rows[order], values[order], columns[order]
    neighbour_rank = np.arange(len(order)) - np.searchsorted(columns, columns)

    def of_setting(neighbours: float) -> ScoreFunction:
        kept = neighbour_rank < neighbours
        weights = csr_array((values[kept], (rows[kept], columns[kept])), shape=(len(number), len(inputs.candidates)))

        def score(histories: Ragged, tags: Ragged) -> Tensor:
            return torch.from_numpy((purchases(histories, number, len(number)) @ weights).toarray())

        return score

    return of_setting


def ials_scorer(inputs: BaselineInputs, alpha: float) -> ScoreFunction:
    """Factors of users and items (Hu, Koren & Volinsky 2008, https://doi.org/10.1109/ICDM.2008.22), by ``implicit``.

    Raises:
        UnavailableError: if ``implicit`` is not installed.
    """
    try:
        from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415  an extra
    except ImportError:
        raise UnavailableError.without("implicit", "ials", "evaluate.baselines: ials") from None
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


def ease_scorer(inputs: BaselineInputs, within: Bools, source_weight: float = 1.0) -> Callable[[float], ScoreFunction]:
    """The linear item-to-item model with a closed form, EASE (Steck 2019, https://arxiv.org/abs/1905.03375), by its λ.

    Args:
        inputs: trained on the training part of their histories, each item once a user.
        within: the items of the model, bool (I,); other items of a history are skipped.
        source_weight: weight of a source item, in histories and in training; a target item has 1.

    Raises:
        TooLargeError: if its matrices do not fit in memory, or take too long to solve.
    """
    item_count, number = int(within.sum()), numbered(np.flatnonzero(within), len(within))
    outputs = number[inputs.candidates]
    is_known = outputs >= 0
    size = inputs.histories.users, item_count, int(is_known.sum())
    if (cells := ease_cells(*size)) > MAX_CELLS:
        raise TooLargeError(f"a matrix of {8 * cells / 1e9:,.0f} GB")
    if (work := ease_work(*size)) > MAX_WORK:
        raise TooLargeError(f"{work / 1e9:,.0f} billion multiplications for each λ")
    counts = source_counts(inputs.in_target[within], source_weight)

    def weighted(histories: Ragged) -> csr_array:
        return csr_array(scaled_columns(purchases(histories, number, item_count), counts))

    model = Ease.of(weighted(inputs.histories.training), outputs[is_known])

    def of_setting(l2: float) -> ScoreFunction:
        solution = model.solved(l2)

        def score(histories: Ragged, tags: Ragged) -> Tensor:
            scores = np.zeros((len(histories.lengths), len(outputs)), np.float32)
            scores[:, is_known] = model.scores(weighted(histories), solution)
            return torch.from_numpy(scores)

        return score

    return of_setting


def _nth_largest(matrix: csc_array, n: int) -> Floats:
    """The n-th largest value of each column, 0 where it has fewer."""
    columns = np.split(matrix.data, matrix.indptr[1:-1])
    return np.array([np.partition(values, -n)[-n] if len(values) >= n else 0 for values in columns], np.float32)


def weighted_scorer(inputs: BaselineInputs, scorers: Sequence[str]) -> ScoreFunction:
    """Scorers that need no training, with weights and decays fitted on validation."""
    fused = inputs.fitting.model(scorers)
    return fused.refitted(inputs.data, inputs.seed, inputs.learned).candidate_scorer(inputs.candidates)


BASELINES = {
    "popularity": Baseline("popularity", lambda inputs: _only(popularity_scorer(inputs))),
    "tag_popularity": Baseline("popularity within tags", lambda inputs: _only(tag_popularity_scorer(inputs))),
    "text": Baseline("text cosine", lambda inputs: _only(weighted_scorer(inputs, ["text"]))),
    "words": Baseline("tf-idf of words", lambda inputs: _only(weighted_scorer(inputs, ["words"]))),
    "text_knn": Baseline(
        "tf-idf of words plus item-kNN", lambda inputs: _only(weighted_scorer(inputs, ["words", "neighbours"]))
    ),
    "item_knn": Baseline("item-kNN", lambda inputs: knn_scorer(inputs, max(NEIGHBOURS)), NEIGHBOURS),
    "ease_target": Baseline(
        "EASE, target alone", lambda inputs: ease_scorer(inputs, inputs.in_target), (100, 300, 1000, 3000)
    ),
    "ease": Baseline(
        "EASE, all items", lambda inputs: ease_scorer(inputs, inputs.all_items), (300, 1000, 3000, 10_000)
    ),
    "ease_weighted": Baseline(
        f"EASE, source counting {SOURCE_WEIGHT:g}",
        lambda inputs: ease_scorer(inputs, inputs.all_items, SOURCE_WEIGHT),
        (100, 300, 1000, 3000),
    ),
    "ease_text": Baseline("EASE with texts", lambda inputs: _only(weighted_scorer(inputs, ["linear"]))),
    "ials": Baseline("iALS", lambda inputs: partial(ials_scorer, inputs), (1, 5, 20)),
}
"""By name in the config. The settings are numbers of neighbours, λ, or the weight of a purchase."""


def _only(scorer: ScoreFunction) -> Callable[[float], ScoreFunction]:
    """A scorer that has no settings."""
    return lambda _: scorer


def _counts(inputs: BaselineInputs) -> npt.NDArray[np.int64]:
    """How often each candidate was bought in training, (C,)."""
    counts: npt.NDArray[np.int64] = np.bincount(inputs.histories.training.values, minlength=len(inputs.in_target))
    return counts[inputs.candidates]
