"""A file of further items, compared with the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import LISTINGS
from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.schema import Config
from crossrec_cli.data import engine
from crossrec_cli.data.catalogue import id_prefix, more_items
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.errors import ConfigError

FACTS = (c.PRICE, c.TEXT, c.CATEGORY, c.BRAND)
"""What a file may change of an existing item; an empty cell changes nothing."""
MOVED = "in another domain than before, which needs a new training"


@dataclass(frozen=True)
class ItemChange:
    """New and changed items of a file. All tables have the columns of ``schemas.ITEMS``."""

    new: pa.Table
    """Items that the catalogue does not have."""
    existing: pa.Table
    """Items of the file that the catalogue has, as they were before."""
    rows: pa.Table
    """Those of ``existing`` that change, as they are after it."""
    changed: dict[str, int]
    """How many items change, by column."""

    @classmethod
    def of(cls, given: pa.Table, catalogue: pa.Table, left_out: dict[str, int], keep: bool) -> ItemChange:
        """Compare a file's items with the catalogue; items that cannot be used are counted in ``left_out``.

        Args:
            given: the file's items, with ids as the catalogue has them; their domain may be null.
            catalogue: the existing items.
            left_out: how many items are skipped, by reason.
            keep: whether items without a text are kept.
        """
        row = parquet.row_indices(given[c.ITEM_ID], catalogue[c.ITEM_ID])
        exists = pa.array(row >= 0)
        after, before = given.filter(exists), catalogue.take(row[row >= 0])
        moved = pc.invert(pc.fill_null(pc.equal(after[c.DOMAIN], before[c.DOMAIN]), False))
        left_out[MOVED] = pc.sum(moved).as_py() or 0
        facts = {name: pc.coalesce(after[name], before[name]) for name in FACTS}
        differs = {
            name: pc.and_not(pc.fill_null(pc.not_equal(facts[name], before[name]), facts[name].is_valid()), moved)
            for name in FACTS
        }
        same = {name: before[name] for name in schemas.ITEMS.names}
        rows = pa.table(same | facts).select(schemas.ITEMS.names).cast(schemas.ITEMS)
        changes = reduce(pc.or_, differs.values())
        fresh = given.filter(pc.invert(exists))
        tests = {"outside the domains": pc.is_null(fresh[c.DOMAIN])}
        if not keep:
            tests["item without text"] = pc.and_not(pc.is_null(fresh[c.TEXT]), tests["outside the domains"])
        left_out |= {reason: pc.sum(met).as_py() or 0 for reason, met in tests.items()}
        new = fresh.filter(pc.invert(reduce(pc.or_, tests.values())))
        changed = {name: count for name, met in differs.items() if (count := pc.sum(met).as_py())}
        return cls(new, before, rows.filter(changes), changed)


def platform_index(data: Data, platform: str | None) -> int:
    """The index of the platform with that name; without a name, of the only one.

    Raises:
        ConfigError: if there is no such platform, or several and no name.
    """
    names = [shop.name for shop in data.platforms]
    if platform is None and len(names) == 1:
        return 0
    if platform not in names:
        wrong = "name one" if platform is None else f"there is no '{platform}'"
        raise ConfigError([f"--platform: {wrong}; the config has {', '.join(names)}"])
    return names.index(platform)


def read_items_file(job: Job, index: int, file: Path, catalogue: pa.Table) -> tuple[pa.Table, dict[str, int], int]:
    """A file's items as rows of ``schemas.ITEMS``; how many were skipped, by reason; how many others describe.

    If an item is on several platforms, the description of the platform that the config names first is used.
    """
    config: Config = job.config
    with engine.connect(config.data.engine, job.out / ".scratch", config.runtime) as tables:
        ledger = Ledger(tables, config.data.clean)
        items = tables.fetch(
            more_items(tables, config.data, config.domains, index, str(file), ledger).order_by(c.ITEM_ID)
        )
    left_out = {reason: int(count) for measure, reason, _, count in ledger.measures if measure == "removed"}
    ids, linked = _as_in_catalogue(items[c.ITEM_ID], config.data, index, job.inputs, catalogue)
    items = items.set_column(items.column_names.index(c.ITEM_ID), c.ITEM_ID, ids).filter(pa.array(~linked))
    _, first = np.unique(items[c.ITEM_ID].to_numpy(), return_index=True)
    items = items.take(first)  # two ids of the platform may be one item
    nothing = {c.ITEM_INDEX: pa.nulls(items.num_rows), c.PRICE_BAND: pa.nulls(items.num_rows)}
    columns = dict(zip(items.column_names, items.columns, strict=True)) | nothing
    return pa.table(columns).select(schemas.ITEMS.names).cast(schemas.ITEMS), left_out, int(linked.sum())


def _as_in_catalogue(
    ids: pa.ChunkedArray, data: Data, index: int, inputs: Mapping[str, Path], catalogue: pa.Table
) -> tuple[pa.ChunkedArray, npt.NDArray[np.bool_]]:
    """A platform's ids as the catalogue has them, and which belong to items that another platform describes."""
    if LISTINGS not in inputs:
        return ids, np.zeros(len(ids), bool)
    shop = data.platforms[index]
    listings = parquet.read_table(inputs[LISTINGS])
    listings = listings.filter(pc.equal(listings[c.PLATFORM], shop.name))
    names = pc.binary_join_element_wise(id_prefix(shop, data), listings[c.PLATFORM_ITEM_ID], "")
    index = pc.take(listings[c.ITEM_INDEX], pc.index_in(ids, value_set=names.combine_chunks()))
    others = pc.not_equal(pc.take(catalogue[c.PLATFORM], index), shop.name)
    linked: npt.NDArray[np.bool_] = pc.fill_null(others, False).to_numpy()
    return pc.coalesce(pc.take(catalogue[c.ITEM_ID], index), ids), linked
