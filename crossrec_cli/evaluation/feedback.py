"""Off-policy evaluation: what users would think of other lists, from their feedback on the lists they were shown.

Impressions were logged under another ranking. An item that crossrec's list also shows is weighted by how much more
likely it would be seen there (Horvitz & Thompson 1952; for rankings Li et al. 2018,
https://doi.org/10.1145/3219819.3220028):

- ips: the mean of w · reward over all impressions, with w = 0 where crossrec does not show the item.
- snips: Σ w · reward / Σ w (Swaminathan & Joachims 2015), slightly biased, with much lower variance.

Both, like the logged mean, are rewards per impression; for the logged lists themselves ips equals that mean. What w is
follows from the columns:

- ``rank`` r alone: an impression at r is seen with probability 1/r (Joachims et al. 2017,
  https://doi.org/10.1145/3018661.3018699), and w = r / r' for crossrec's rank r'.
- ``propensity`` p alone, that of the item at its rank: w = 1 / (k · p), as crossrec puts it at one of k ranks.
- both, as ``crossrec feedback`` writes them: w = 1 / p where crossrec has the item at the same rank, else 0. It assumes
  nothing of how ranks are seen, only that an item's reward depends on no other item of the list. Of lists of k items
  the first k ranks of the log count. Nothing is known of an item at a rank where the log never shows it, such as
  another first item than the log's: ips counts that as no reward, snips leaves it out.

A row without an item is an empty list, and is no impression; one without a user is of somebody without an id, and is
skipped like those of users who are not in the data. The effective sample size is (Σ w)² / Σ w² (Kish 1965).
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
from crossrec_cli.models.ragged import Bools, Ints
from crossrec_cli.runtime.progress import Reporter

REWARDS = (c.CLICK, c.PURCHASE, "rating")
REQUIRED = pa.schema([pa.field(c.USER_ID, pa.string()), pa.field(c.ITEM_ID, pa.string())])
OPTIONAL = pa.schema([pa.field(name, pa.float64()) for name in (*REWARDS, c.RANK, c.PROPENSITY)])
BOUNDS = {c.RANK: "at least 1", c.PROPENSITY: "above 0 and at most 1"}


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
    rank: Floats | None
    """The rank at which the item was shown, from 1, (n,); None where the file has none."""
    propensity: Floats | None
    """The probability that the item was shown at its rank, (n,); None where the file has none, but ranks."""
    rewards: Mapping[str, Floats]
    """By name, (n,) each; nan where unknown."""

    @classmethod
    def of(cls, table: pa.Table, users: pa.Table, items: pa.Table, where: str) -> Impressions:
        """From a file's table and preprocess's tables; impressions of users that are not in the data are skipped.

        Raises:
            InputError: if it has no reward, neither rank nor propensity, or one of these out of its bounds.
        """
        rewards = [name for name in REWARDS if name in table.column_names]
        if not rewards:
            raise InputError(f"{where}: no column 'click', 'purchase' or 'rating'")
        shown_as = [name for name in BOUNDS if name in table.column_names]
        if not shown_as:
            raise InputError(f"{where}: needs a column 'rank' or 'propensity'")
        has_item = table[c.ITEM_ID].is_valid().to_numpy()
        values = {name: table[name].to_numpy().astype(np.float64) for name in (*rewards, *shown_as)}
        for name in shown_as:
            _check_shown(values[name], has_item, name, where)
        for name in rewards:
            _check_reward(values[name], name, where)
        user = parquet.row_indices(table[c.USER_ID], users[c.USER_ID])
        kept = (user >= 0) & has_item
        if not kept.any():
            raise InputError(f"{where}: none of its {has_item.sum():,} impressions is of a user in the data")
        values = {name: column[kept] for name, column in values.items()}
        item = parquet.row_indices(table[c.ITEM_ID], items[c.ITEM_ID])[kept]
        return cls(
            user[kept], item, values.get(c.RANK), values.get(c.PROPENSITY), {name: values[name] for name in rewards}
        )

    def judged(self, rank: Ints, ks: Sequence[int], parts: Mapping[str, Ints]) -> list[Judgement]:
        """Every figure of every reward.

        Args:
            rank: of the item in crossrec's list, from 1; 0 where it is not in the list, (n,).
            ks: how long the lists are.
            parts: segments of the impressions, as their indices.
        """
        rows = []
        for k in ks:
            weights, counted = self._weights(rank, k), self._counted(k)
            for reward, values in self.rewards.items():
                known = counted & np.isfinite(values)
                for segment, in_segment in parts.items():
                    figures = self._figures(weights, values, in_segment[known[in_segment]])
                    rows += [Judgement(reward, segment, k, *figure) for figure in figures]
        return rows

    def _counted(self, k: int) -> Bools:
        """The impressions that say something of lists of k items, (n,)."""
        if self.rank is None or self.propensity is None:
            return np.ones(len(self.user), bool)
        return self.rank <= k

    def _weights(self, rank: Ints, k: int) -> Floats:
        """How much more likely crossrec's first k show the item, at the same rank where that is known, (n,)."""
        weights: Floats
        if self.propensity is None:
            assert self.rank is not None
            weights = self.rank / np.maximum(rank, 1)
        elif self.rank is None:
            weights = 1 / (k * self.propensity)
        else:
            weights = (rank == self.rank) / self.propensity
        return np.where((rank > 0) & (rank <= k), weights, 0.0)

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


def _check_shown(values: Floats, has_item: Bools, name: str, where: str) -> None:
    """Check a rank or propensity: there where an item is, and within its bounds.

    Raises:
        InputError: if a value is invalid, or there is no item, but a value.
    """
    within = (values >= 1) & np.isfinite(values) if name == c.RANK else (values > 0) & (values <= 1)
    invalid = np.where(has_item, ~within, np.isfinite(values))  # nan as well
    if invalid.any():
        row = int(invalid.argmax())
        problem = f"{name} is {values[row]:g}; it must be {BOUNDS[name]}" if has_item[row] else f"no {c.ITEM_ID}"
        raise InputError(f"{where}, row {row + 1}: {problem}")


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


def read_impressions(chosen: Evaluate, dataset: Dataset, report: Reporter) -> Impressions | None:
    """Read the file of evaluate.feedback; None where the config names none. Skipped impressions are counted."""
    if not chosen.feedback:
        return None
    key = "evaluate.feedback"
    table = read_file(Path(chosen.feedback), key, REQUIRED, OPTIONAL)
    impressions = Impressions.of(table, dataset.users, dataset.items, f"{key}: {chosen.feedback}")
    shown, of_users = len(table) - table[c.ITEM_ID].null_count, len(impressions.user)
    if of_users < shown:
        report.say(
            f"{key}: {shown - of_users:,} of {shown:,} impressions are skipped: of users who are not in the data"
        )
    return impressions
