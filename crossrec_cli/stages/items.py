"""items: what is for sale since training, read by the same language model; nothing is trained again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import ADDED, FUSED, ITEMS, LISTINGS, UPDATED
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.artifacts.store import hash_file
from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.schema import Config
from crossrec_cli.data import engine
from crossrec_cli.data.catalogue import more_items, own_id
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.errors import ConfigError
from crossrec_cli.models.base import Matrix, rows_after
from crossrec_cli.models.dataset import load_fused, texts_of, with_rows
from crossrec_cli.models.fused import Fused
from crossrec_cli.models.saved import read_vectors, write_vectors
from crossrec_cli.runtime import device
from crossrec_cli.text.saved_encoder import load_encoder

FACTS = (c.PRICE, c.TEXT, c.CATEGORY, c.BRAND)
"""What a file may change of an item that is there; what it leaves empty stays."""
MOVED = "in another domain than before, which takes training anew"


def run(job: Job, file: Path, platform: str | None) -> Summary:
    """Write the items added before and those of a file, and what it changes of the items that are there.

    Args:
        job: its inputs have the earlier additions, where these are of the same catalogue.
        file: in the shape of the platform's items file.
        platform: whose they are; None where there is one.

    Raises:
        ConfigError: if it is not clear whose they are.
        InputError: if the file cannot be used.
    """
    config, inputs = job.config, job.inputs
    index, sha256 = _place(config.data, platform), hash_file(file)
    compute = device.prepare(config.runtime, config.seed)
    catalogue = parquet.read_table(inputs[ITEMS], schemas.ITEMS.names).cast(schemas.ITEMS)
    updated = parquet.read_table(inputs[UPDATED]) if UPDATED in inputs else schemas.ITEMS.empty_table()
    encoder = load_encoder(config.encoder, inputs, compute)
    fused = load_fused({file: inputs[file] for file in FUSED}, config.interest)
    before = _Additions.load(inputs[ADDED], fused) if ADDED in inputs else _Additions.none(fused)
    given, left_out, linked = _read(job, index, file, catalogue)
    here = pa.concat_tables([with_rows(catalogue, updated), before.items])
    change = _Change.of(given, here, left_out, keep=config.data.clean.items_without_text == "keep")
    of_catalogue = pc.less(change.rows[c.ITEM_INDEX], len(catalogue))
    given = pa.concat_tables([change.rows.filter(pc.invert(of_catalogue)), change.new])
    texts = texts_of(given)
    with job.report.progress("reading item texts", len(set(texts)), "texts") as advance:
        read = encoder.embed(texts, advance)
    added = before.followed_by(given, fused.placed(given, read))
    number = pa.array(np.arange(len(catalogue), len(catalogue) + added.items.num_rows), pa.int32())
    place = added.items.column_names.index(c.ITEM_INDEX)
    write_vectors(job.output(ADDED), added.items.set_column(place, c.ITEM_INDEX, number), added.vectors)
    newer = change.rows.filter(of_catalogue)
    stay = parquet.places(updated[c.ITEM_INDEX], newer[c.ITEM_INDEX]) < 0
    updated = pa.concat_tables([updated.filter(pa.array(stay)), newer]).sort_by(c.ITEM_INDEX)
    pq.write_table(updated, job.output(UPDATED), compression="zstd")
    return {
        "file": str(file),
        "sha256": sha256,
        "new": _by_domain(change.new),
        "existing": _by_domain(change.existing),
        "changed": change.changed,
        "linked": linked,
        "left_out": left_out,
        "added_in_all": added.items.num_rows,
        "changed_in_all": updated.num_rows,
    }


def _by_domain(items: pa.Table) -> dict[str, int]:
    domains = items[c.DOMAIN].to_pylist()
    return {name: domains.count(name) for name in (c.SOURCE, c.TARGET)}


@dataclass(frozen=True)
class _Change:
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
    def of(cls, given: pa.Table, here: pa.Table, left_out: dict[str, int], keep: bool) -> _Change:
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


def _place(data: Data, platform: str | None) -> int:
    """Which of the config's platforms is meant."""
    names = [shop.name for shop in data.platforms]
    if platform is None and len(names) == 1:
        return 0
    if platform not in names:
        wrong = "name one" if platform is None else f"there is no '{platform}'"
        raise ConfigError([f"--platform: {wrong}; the config has {', '.join(names)}"])
    return names.index(platform)


def _read(job: Job, index: int, file: Path, catalogue: pa.Table) -> tuple[pa.Table, dict[str, int], int]:
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


@dataclass(frozen=True)
class _Additions:
    """Items that came after training."""

    items: pa.Table
    """Rows of ``schemas.ITEMS``."""
    vectors: Mapping[str, Matrix]
    """Of each scorer, (items, d)."""

    @classmethod
    def none(cls, fused: Fused) -> _Additions:
        return cls(schemas.ITEMS.empty_table(), {scorer.name: scorer.item_vectors[:0] for scorer in fused.scorers})

    @classmethod
    def load(cls, path: Path, fused: Fused) -> _Additions:
        return cls(parquet.read_table(path, schemas.ITEMS.names), read_vectors(path, fused.names)[1])

    def followed_by(self, items: pa.Table, vectors: Mapping[str, Matrix]) -> _Additions:
        """These and further ones, which take the place of those with the same ids."""
        stay = parquet.places(self.items[c.ITEM_ID], items[c.ITEM_ID]) < 0
        kept = self.items.filter(pa.array(stay))
        after = {name: rows_after(self.vectors[name][stay], more) for name, more in vectors.items()}
        return _Additions(pa.concat_tables([kept, items]), after)
