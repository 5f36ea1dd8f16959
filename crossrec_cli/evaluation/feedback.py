"""Off-policy evaluation: what users would think of other lists, from their feedback on the lists they were shown.

Impressions were logged under another ranking. An item that crossrec's list also shows is weighted by how much more
likely it would be seen there (Horvitz & Thompson 1952; for rankings Li et al. 2018,
https://doi.org/10.1145/3219819.3220028):

- ips: the mean of w · reward over all impressions, with w = 0 where crossrec does not show the item.
- snips: Σ w · reward / Σ w (Swaminathan & Joachims 2015), slightly biased, with much lower variance.

Both, like the logged mean, are rewards per impression; for the logged lists themselves ips equals that mean. Where
a rank r is given, an impression at r is seen with probability 1/r (Joachims et al. 2017,
https://doi.org/10.1145/3018661.3018699), and w = r / r' for crossrec's rank r'. Where a propensity p is given, that of
the item in its place, w = 1 / (k · p): crossrec puts it in one of k. The effective sample size is (Σ w)² / Σ w² (Kish
1965).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.config.schema import Evaluate
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.errors import InputError
from crossrec_cli.evaluation.metrics import Floats
from crossrec_cli.evaluation.significance import ENDS, RESAMPLES, resamples
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.ragged import Ints

PROPENSITY = "propensity"
REWARDS = ("click", "purchase", "rating")
REQUIRED = pa.schema(
    [pa.field(c.USER_ID, pa.string(), nullable=False), pa.field(c.ITEM_ID, pa.string(), nullable=False)]
)
OPTIONAL = pa.schema(
    [
        *(pa.field(name, pa.float64()) for name in REWARDS),
        pa.field(c.RANK, pa.float64(), nullable=False),
        pa.field(PROPENSITY, pa.float64(), nullable=False),
    ]
)


class Judgement(NamedTuple):
    """A row of ``schemas.FEEDBACK``."""

    reward: str
    segment: str
    k: int
    measure: str
    value: float
    low: float
    high: float
    effective: float
    impressions: int


@dataclass(frozen=True)
class Impressions:
    """The items shown to users of the data, and their feedback."""

    user: Ints
    """User indices, (n,)."""
    item: Ints
    """Item indices, −1 for an item that is not in the data; (n,)."""
    propensity: Floats
    """The probability that the item was shown there, or, where ranks are known, that the user saw it there; (n,)."""
    ranked: bool
    """Whether ranks are known."""
    rewards: Mapping[str, Floats]
    """By name, (n,) each; nan where unknown."""

    @classmethod
    def of(cls, table: pa.Table, users: pa.Table, items: pa.Table, where: str) -> Impressions:
        """From a file's table and preprocess's tables; impressions of users that are not in the data are skipped.

        Raises:
            InputError: if it has no reward, neither or both of rank and propensity, or one of these out of its bounds.
        """
        rewards = [name for name in REWARDS if name in table.column_names]
        if not rewards:
            raise InputError(f"{where}: no column 'click', 'purchase' or 'rating'")
        if (c.RANK in table.column_names) == (PROPENSITY in table.column_names):
            raise InputError(f"{where}: needs exactly one of the columns 'rank' and 'propensity'")
        name, bounds = (c.RANK, "at least 1") if c.RANK in table.column_names else (PROPENSITY, "above 0 and at most 1")
        values_given = table[name].to_numpy()
        within = (
            (values_given >= 1) & np.isfinite(values_given)
            if name == c.RANK
            else (values_given > 0) & (values_given <= 1)
        )
        outside = ~within  # nan as well
        if outside.any():
            row = int(outside.argmax())
            raise InputError(f"{where}, row {row + 1}: {name} is {values_given[row]:g}; it must be {bounds}")
        values = {reward: table[reward].to_numpy().astype(np.float64) for reward in rewards}
        for reward, column in values.items():
            _check_reward(column, reward, where)
        user = parquet.row_indices(table[c.USER_ID], users[c.USER_ID])
        item = parquet.row_indices(table[c.ITEM_ID], items[c.ITEM_ID])
        kept = user >= 0
        if not kept.any():
            raise InputError(f"{where}: none of its {len(kept):,} impressions is of a user in the data")
        return cls(
            user[kept],
            item[kept],
            (1 / values_given if name == c.RANK else values_given)[kept],
            name == c.RANK,
            {reward: column[kept] for reward, column in values.items()},
        )

    def judged(self, rank: Ints, ks: Sequence[int], parts: Mapping[str, Ints]) -> list[Judgement]:
        """Every figure of every reward.

        Args:
            rank: of the item in crossrec's list, from 1; 0 where it is not in the list, (n,).
            ks: how long the lists are.
            parts: segments of the impressions, as their indices.
        """
        return [
            Judgement(reward, segment, k, *figure)
            for k in ks
            for reward, values in self.rewards.items()
            for segment, in_segment in parts.items()
            for figure in self._figures(self._weights(rank, k), values, in_segment[np.isfinite(values[in_segment])])
        ]

    def _weights(self, rank: Ints, k: int) -> Floats:
        """How much more likely crossrec's first k show the item, (n,)."""
        shown = (rank > 0) & (rank <= k)
        ours = 1 / np.maximum(rank, 1) if self.ranked else 1 / k
        weights: Floats = np.where(shown, ours / self.propensity, 0.0)
        return weights

    def _figures(
        self, weight: Floats, reward: Floats, chosen: Ints
    ) -> list[tuple[str, float, float, float, float, int]]:
        """Measure, value, interval, effective sample size and number of impressions."""
        weight = weight[chosen]
        users, user_number = np.unique(self.user[chosen], return_inverse=True)
        columns = (reward[chosen], weight * reward[chosen], weight, np.ones(len(weight)))
        totals: list[Floats] = [
            np.bincount(user_number, values, minlength=len(users)).astype(np.float64) for values in columns
        ]
        logged, weighted, weights, counts = totals
        share = weight / max(weight.max(initial=0.0), 1e-300)  # the squares of large weights would overflow
        squares = float(np.square(share).sum())
        effective = float(share.sum()) ** 2 / squares if squares else 0.0
        return [
            ("logged", *_ratio(logged, counts), float(len(weight)), len(weight)),
            ("ips", *_ratio(weighted, counts), effective, len(weight)),
            ("snips", *_ratio(weighted, weights), effective, len(weight)),
        ]


def _check_reward(reward: Floats, name: str, where: str) -> None:
    """Check that clicks and purchases are 0 or more, and that no value is infinite.

    Raises:
        InputError: if a value is invalid.
    """
    invalid = np.isinf(reward) | ((reward < 0) if name != "rating" else False)
    if invalid.any():
        row = int(invalid.argmax())
        expected = "a number" if name == "rating" else "a number of 0 or more"
        raise InputError(f"{where}, row {row + 1}: {name} is {reward[row]:g}; it must be {expected}")


def _ratio(numerator: Floats, denominator: Floats) -> tuple[float, float, float]:
    """Σ above / Σ below, and its 95 % bootstrap interval over users."""
    if not denominator.sum():
        return float("nan"), float("nan"), float("nan")
    above, below = np.zeros((2, RESAMPLES))
    for users, counts in resamples(len(numerator)):
        above += numerator[users] @ counts
        below += denominator[users] @ counts
    low, high = np.percentile(above / np.maximum(below, 1e-12), ENDS)
    return float(numerator.sum() / denominator.sum()), float(low), float(high)


def read_impressions(chosen: Evaluate, dataset: Dataset) -> Impressions | None:
    """Read the file of evaluate.feedback; None where the config names none."""
    if not chosen.feedback:
        return None
    key = "evaluate.feedback"
    table = read_file(Path(chosen.feedback), key, REQUIRED, OPTIONAL)
    return Impressions.of(table, dataset.users, dataset.items, f"{key}: {chosen.feedback}")
