"""The log of an experiment: what each variant showed its users, and what it brought. Read out of core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.data.extra_files import opened, require
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.errors import InputError
from crossrec_cli.evaluation.metrics import Floats
from crossrec_cli.evaluation.rates import UserTotals
from crossrec_cli.models.ragged import Bools, Ints

if TYPE_CHECKING:  # Ibis takes a moment to import
    import ibis.expr.types as ir

KEY = "ab"
NEEDED = (c.IMPRESSION, c.TIMESTAMP, c.USER_ID, c.ITEM_ID)
REWARDS = (c.CLICK, c.PURCHASE)
DAY, LISTS, LISTED = "day", "lists", "listed"


@dataclass(frozen=True)
class ShownLists:
    """All lists of a variant, also those of anonymous users."""

    lists: int
    anonymous: int
    """Lists of users without an id; they are in no rate."""
    items: int
    """How many different items were shown."""
    empty: float
    """The share of lists without items."""
    short: float
    """The share of lists with fewer items than were asked for; nan where the log does not say how many were."""


@dataclass(frozen=True)
class Variant:
    """One variant's users, and their lists by day."""

    name: str
    shown: ShownLists
    users: pa.ChunkedArray
    """The users' ids."""
    user: Ints
    """A user's index, for each day on which the user saw lists, (n,)."""
    day: Ints
    """That day, in days since 1970, UTC, (n,)."""
    lists: Floats
    """How many lists the user saw on that day, (n,)."""
    rewards: Mapping[str, Floats]
    """The rewards for these lists, by name, (n,) each."""

    def totals(self, reward: str, chosen: Bools | None = None) -> UserTotals:
        """Each user's totals, over the chosen of the n days."""
        weights = np.ones(len(self.lists)) if chosen is None else chosen.astype(np.float64)

        def summed(values: Floats) -> Floats:
            return np.bincount(self.user, values * weights, minlength=len(self.users)).astype(np.float64)

        return UserTotals(summed(self.lists), summed(self.rewards[reward]))

    def without(self, users: pa.ChunkedArray) -> Variant:
        """This variant without some users."""
        stays = pc.invert(pc.is_in(self.users, value_set=users.combine_chunks()))
        index = np.where(stays.to_numpy(), np.cumsum(stays.to_numpy()) - 1, -1)[self.user]
        kept = index >= 0
        rewards = {name: values[kept] for name, values in self.rewards.items()}
        return replace(
            self,
            users=self.users.filter(stays),
            user=index[kept],
            day=self.day[kept],
            lists=self.lists[kept],
            rewards=rewards,
        )


def read_variants(path: Path, whole: bool) -> dict[str, Variant]:
    """The variants of a log, by name.

    Args:
        path: Parquet or CSV as ``crossrec feedback`` writes it; ``k`` may be missing.
        whole: whether all of it is one variant, whose name is the path; then ``variant`` may be missing too.

    Raises:
        InputError: if it cannot be read, or a cell is missing or wrong.
    """
    where = f"{KEY}: {path}"
    with opened(path, KEY) as (tables, _, raw):
        require(raw, NEEDED if whole else (*NEEDED, c.VARIANT), where)
        rewards = [name for name in REWARDS if name in raw.columns]
        if not rewards:
            raise InputError(f"{where}: no column '{c.CLICK}' or '{c.PURCHASE}'")
        rows = tables.keep(_rows(raw, rewards, str(path) if whole else None), str(path))
        _check(tables.fetch(_first_wrong_rows(rows, rewards)), where)
        lists = tables.keep(_lists(rows, rewards), str(path))
        shown = tables.fetch(_shown(lists, rows)).to_pylist()
        days = tables.fetch(_days(lists, rewards))
    if not shown:
        raise InputError(f"{where}: has no rows")
    return {str(row[c.VARIANT]): _variant(row, days, rewards) for row in shown}


def _rows(raw: ir.Table, rewards: Sequence[str], name: str | None) -> ir.Table:
    """The cells as text, numbers and days, null where they are not such, and rewards also as written."""
    import ibis  # noqa: PLC0415

    from crossrec_cli.data.cells import identifier, moment, number, words  # noqa: PLC0415  Ibis

    return raw.select(
        SOURCE_ROW,
        words(raw[c.IMPRESSION]).name(c.IMPRESSION),
        moment(raw[c.TIMESTAMP]).date().name(DAY),
        identifier(raw[c.USER_ID]).name(c.USER_ID),
        identifier(raw[c.ITEM_ID]).name(c.ITEM_ID),
        (words(raw[c.VARIANT]) if name is None else ibis.literal(name)).name(c.VARIANT),
        (number(raw[c.K]) if c.K in raw.columns else ibis.null("float64")).name(c.K),
        **{reward: number(raw[reward]) for reward in rewards},
        **{f"{reward} as written": words(raw[reward]) for reward in rewards},
    )


def _first_wrong_rows(rows: ir.Table, rewards: Sequence[str]) -> ir.Table:
    """By problem, the first row that has it."""
    wrong = {
        f"no {c.IMPRESSION}": rows[c.IMPRESSION].isnull(),
        f"no {c.VARIANT}": rows[c.VARIANT].isnull(),
        f"{c.TIMESTAMP} is missing or no time": rows[DAY].isnull(),
    } | {
        f"{reward} is no number of 0 or more": rows[f"{reward} as written"].notnull()
        & (rows[reward].isnull() | (rows[reward] < 0))
        for reward in rewards
    }
    return rows.aggregate(**{problem: rows[SOURCE_ROW].min(where=is_wrong) for problem, is_wrong in wrong.items()})


def _check(first_rows: pa.Table, where: str) -> None:
    from crossrec_cli.data.engine import FILE  # noqa: PLC0415  Ibis

    for problem, row in first_rows.to_pylist()[0].items():
        if row is not None:
            raise InputError(f"{where}, row {row % FILE}: {problem}")


def _lists(rows: ir.Table, rewards: Sequence[str]) -> ir.Table:
    """A row a list."""
    return rows.group_by(c.VARIANT, c.IMPRESSION).aggregate(
        rows[c.USER_ID].max().name(c.USER_ID),
        rows[DAY].min().name(DAY),
        rows[c.ITEM_ID].count().name(LISTED),
        rows[c.K].max().name(c.K),
        **{reward: rows[reward].sum().fill_null(0.0) for reward in rewards},
    )


def _shown(lists: ir.Table, rows: ir.Table) -> ir.Table:
    """The fields of ``ShownLists`` by variant."""
    items = rows.group_by(c.VARIANT).aggregate(items=rows[c.ITEM_ID].nunique())
    counts = lists.group_by(c.VARIANT).aggregate(
        lists=lists.count(),
        anonymous=lists[c.USER_ID].isnull().sum(),
        empty=(lists[LISTED] == 0).mean(),
        short=(lists[LISTED] < lists[c.K]).mean(),
    )
    return counts.inner_join(items, c.VARIANT).order_by(c.VARIANT)


def _days(lists: ir.Table, rewards: Sequence[str]) -> ir.Table:
    """A row a variant, user and day."""
    of_users = lists.filter(lists[c.USER_ID].notnull())
    days = of_users.group_by(c.VARIANT, c.USER_ID, DAY).aggregate(
        of_users.count().name(LISTS), **{reward: of_users[reward].sum() for reward in rewards}
    )
    return days.order_by(c.VARIANT, c.USER_ID, DAY)


def _variant(shown: Mapping[str, Any], days: pa.Table, rewards: Sequence[str]) -> Variant:
    """The variant of a row of ``_shown``."""
    days = days.filter(pc.equal(days[c.VARIANT], shown[c.VARIANT]))
    users = days[c.USER_ID].combine_chunks().dictionary_encode()
    short = float("nan") if shown["short"] is None else shown["short"]
    return Variant(
        shown[c.VARIANT],
        ShownLists(shown["lists"], shown["anonymous"], shown["items"], shown["empty"], short),
        pa.chunked_array([users.dictionary], pa.string()),
        users.indices.to_numpy().astype(np.int64),
        days[DAY].cast(pa.date32()).cast(pa.int32()).to_numpy().astype(np.int64),
        days[LISTS].to_numpy().astype(np.float64),
        {reward: days[reward].to_numpy().astype(np.float64) for reward in rewards},
    )
