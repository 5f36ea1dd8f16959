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
from crossrec_cli.data.catalogue import more_items, own_id
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.errors import ConfigError

FACTS = (c.PRICE, c.TEXT, c.CATEGORY, c.BRAND)
"""What a file may change of an item that is there; what it leaves empty stays."""
MOVED = "in another domain than before, which takes training anew"


@dataclass(frozen=True)
class ItemChange:
    """What a file says of items: rows of ``schemas.ITEMS`` each."""

    new: pa.Table
    """Of items that are not there yet."""
    existing: pa.Table
    """Of those that are, as they were."""
    rows: pa.Table
    """Of these the ones that change, as they are from now on."""
    changed: dict[str, int]
    """How many change in what."""

    @classmethod
    def of(cls, given: pa.Table, here: pa.Table, left_out: dict[str, int], keep: bool) -> ItemChange:
        """Compare a file's items with those that are there; what is left out is counted in ``left_out``.

        Args:
            given: the file's items, with the ids of those that are there; their domain may be null.
            here: the items that are there.
            left_out: how many are left out, by reason.
            keep: whether items without a text are.
        """
        place = parquet.places(given[c.ITEM_ID], here[c.ITEM_ID])
        there = pa.array(place >= 0)
        after, before = given.filter(there), here.take(place[place >= 0])
        moved = pc.invert(pc.fill_null(pc.equal(after[c.DOMAIN], before[c.DOMAIN]), False))
        left_out[MOVED] = pc.sum(moved).as_py() or 0
        facts = {name: pc.coalesce(after[name], before[name]) for name in FACTS}
        differs = {
            name: pc.and_not(pc.fill_null(pc.not_equal(facts[name], before[name]), facts[name].is_valid()), moved)
            for name in FACTS
        }
        same = {name: before[name] for name in schemas.ITEMS.names}
        rows = pa.table(same | facts).select(schemas.ITEMS.names).cast(schemas.ITEMS)
        some = reduce(pc.or_, differs.values())
        fresh = given.filter(pc.invert(there))
        tests = {"outside the domains": pc.is_null(fresh[c.DOMAIN])}
        if not keep:
            tests["item without text"] = pc.and_not(pc.is_null(fresh[c.TEXT]), tests["outside the domains"])
        left_out |= {reason: pc.sum(met).as_py() or 0 for reason, met in tests.items()}
        new = fresh.filter(pc.invert(reduce(pc.or_, tests.values())))
        changed = {name: count for name, met in differs.items() if (count := pc.sum(met).as_py())}
        return cls(new, before, rows.filter(some), changed)


def platform_index(data: Data, platform: str | None) -> int:
    """Which of the config's platforms is meant."""
    names = [shop.name for shop in data.platforms]
    if platform is None and len(names) == 1:
        return 0
    if platform not in names:
        wrong = "name one" if platform is None else f"there is no '{platform}'"
        raise ConfigError([f"--platform: {wrong}; the config has {', '.join(names)}"])
    return names.index(platform)


def read_items_file(job: Job, index: int, file: Path, catalogue: pa.Table) -> tuple[pa.Table, dict[str, int], int]:
    """A file's items as rows of ``schemas.ITEMS``, how many were left out and why, and how many others describe.

    An item that the catalogue has from another platform as well is described by the one that the config names first.
    """
    config: Config = job.config
    with engine.connect(config.data.engine, job.out / ".scratch", config.runtime) as tables:
        ledger = Ledger(tables, config.data.clean)
        found = tables.fetch(
            more_items(tables, config.data, config.domains, index, str(file), ledger).order_by(c.ITEM_ID)
        )
    left_out = {reason: int(count) for measure, reason, _, count in ledger.measures if measure == "removed"}
    ids, linked = _as_in_catalogue(found[c.ITEM_ID], config.data, index, job.inputs, catalogue)
    found = found.set_column(found.column_names.index(c.ITEM_ID), c.ITEM_ID, ids).filter(pa.array(~linked))
    _, first = np.unique(found[c.ITEM_ID].to_numpy(), return_index=True)
    found = found.take(first)  # two listings of one item may have become one id
    nothing = {c.ITEM_INDEX: pa.nulls(found.num_rows), c.PRICE_BAND: pa.nulls(found.num_rows)}
    columns = dict(zip(found.column_names, found.columns, strict=True)) | nothing
    return pa.table(columns).select(schemas.ITEMS.names).cast(schemas.ITEMS), left_out, int(linked.sum())


def _as_in_catalogue(
    ids: pa.ChunkedArray, data: Data, index: int, inputs: Mapping[str, Path], catalogue: pa.Table
) -> tuple[pa.ChunkedArray, npt.NDArray[np.bool_]]:
    """A platform's ids as the catalogue has them, and which are of items that another platform describes there."""
    if LISTINGS not in inputs:
        return ids, np.zeros(len(ids), bool)
    shop = data.platforms[index]
    own = parquet.read_table(inputs[LISTINGS])
    own = own.filter(pc.equal(own[c.PLATFORM], shop.name))
    names = pc.binary_join_element_wise(own_id(shop, data), own[c.ORIGINAL_ITEM_ID], "")
    place = pc.index_in(ids, value_set=names.combine_chunks())
    listed = pc.take(own[c.ITEM_INDEX], place)
    others = pc.not_equal(pc.take(catalogue[c.PLATFORM], listed), shop.name)
    linked: npt.NDArray[np.bool_] = pc.fill_null(others, False).to_numpy()
    return pc.coalesce(pc.take(catalogue[c.ITEM_ID], listed), ids), linked
