"""What users did since training: it changes their interest at once, and nothing is trained again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import INTERACTIONS
from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.schema import Config
from crossrec_cli.config.source_fields import Event, InteractionColumns, Interactions, Source
from crossrec_cli.data.clean import ROW_RULES
from crossrec_cli.data.extra_files import IDS, opened, require
from crossrec_cli.data.interactions import CLOCK, IS_RETURN, read_interactions
from crossrec_cli.data.ledger import UNUSABLE, Ledger
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.data.row_rules import duplicates, no_repeats, no_returns
from crossrec_cli.errors import InputError
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.ragged import Bools, Ints, Ragged
from crossrec_cli.runtime.progress import Reporter

KEY = "recommend.events"
KEYS = {c.USER_KEY: c.PLATFORM_USER_ID, c.ITEM_KEY: c.PLATFORM_ITEM_ID}
"""The file's ids are those of lists, so they serve as keys as they are."""
CARRIED = (*KEYS, CLOCK, c.EVENT, c.QUANTITY, c.RATING, c.WEIGHT, IS_RETURN, SOURCE_ROW, c.REASON)

BEFORE = 2**40
"""What ``SOURCE_ROW`` of a row of the data lies below its number, so that it is below 0 and comes first."""


@dataclass(frozen=True)
class Newest:
    """Histories with what happened since the data were read."""

    known: Dataset
    """What of the data still counts: not what was given back since, nor what ``data.repeats`` keeps once and newer."""
    kept: Bools
    """Which rows of interactions.parquet that is; (rows,)."""
    dataset: Dataset
    """The same with the events behind it; users never seen follow the others."""

    @classmethod
    def of(cls, config: Config, inputs: Mapping[str, Path], known: Dataset, report: Reporter) -> Newest:
        """After recommend.events, where the config names any.

        Raises:
            InputError: if they cannot be read, or too many of them are unusable.
        """
        if config.recommend.events is None:
            return cls(known, np.ones(len(known.histories.items.values), bool), known)
        again, events = _cleaned(config, Path(config.recommend.events), inputs, known, report)
        row, weight = (events[name].to_numpy() for name in (SOURCE_ROW, c.WEIGHT))
        before = known.histories.items
        kept, weights = np.ones(len(before.values), bool), before.weights_or_ones.copy()
        kept[again] = False
        kept[row[row < 0] + BEFORE] = True
        weights[row[row < 0] + BEFORE] = weight[row < 0]
        place = np.arange(len(before.values)) - before.starts[before.rows]
        trains = kept & (place < known.histories.train_lengths[before.rows])
        scattered = known.histories.scattered
        histories = replace(
            known.histories,
            items=replace(before, weights=weights).where(kept),
            train_lengths=np.bincount(before.rows[trains], minlength=known.histories.users),
            scattered=None if scattered is None else scattered[kept],
        )
        left = replace(known, histories=histories)
        dataset, unknown = with_events(left, events.filter(pa.array(row >= 0)))
        if unknown:
            report.warn(f"{KEY}: {unknown:,} events are with items that are not in the data")
        return cls(left, kept, dataset)

    def times(self, inputs: Mapping[str, Path]) -> pa.ChunkedArray:
        """When each interaction of ``known`` happened."""
        return parquet.read_table(inputs[INTERACTIONS], [c.TIMESTAMP])[c.TIMESTAMP].filter(pa.array(self.kept))


def with_events(dataset: Dataset, events: pa.Table) -> tuple[Dataset, int]:
    """The dataset after some more interactions, those of users never seen among them.

    Args:
        dataset: as it was in training.
        events: user id, item id and weight, each user's oldest first; they come after what is known of the user.

    Returns:
        The new dataset, whose new users follow the old ones, and how many events were with items that it does not know.
    """
    ids = pc.unique(pa.chunked_array([*dataset.users[c.USER_ID].chunks, *events[c.USER_ID].chunks], pa.string()))
    who = pc.index_in(events[c.USER_ID], value_set=ids)
    what = pc.index_in(events[c.ITEM_ID], value_set=dataset.items[c.ITEM_ID].combine_chunks())
    known = what.is_valid()
    added = what.filter(known).to_numpy().astype(np.int64)
    before = dataset.histories
    rows = np.concatenate([before.items.rows, who.filter(known).to_numpy().astype(np.int64)])
    order = np.argsort(rows, kind="stable")
    values = np.concatenate([before.items.values, added])
    worth = events[c.WEIGHT].filter(known).to_numpy().astype(np.float32)
    weights = np.concatenate([before.items.weights_or_ones, worth])
    none = np.zeros(len(ids) - before.users, np.int64)
    scattered = before.scattered
    histories = replace(
        before,
        items=Ragged(values[order], np.bincount(rows, minlength=len(ids)), weights[order]),
        train_lengths=np.concatenate([before.train_lengths, none]),
        tags=Ragged(before.tags.values, np.concatenate([before.tags.lengths, none])),
        scattered=None if scattered is None else np.concatenate([scattered, np.zeros(len(added), bool)])[order],
    )
    return Dataset(dataset.items, pa.table({c.USER_ID: ids}), histories), events.num_rows - len(added)


def _cleaned(
    config: Config, path: Path, inputs: Mapping[str, Path], known: Dataset, report: Reporter
) -> tuple[Ints, pa.Table]:
    """The events by the rules of preprocess, as if they stood behind what the data have of the same users and items.

    Returns:
        The rows of interactions.parquet that are of a user and an item of the events; and what is left of both,
        oldest first: user id, item id, weight, and ``SOURCE_ROW``, below 0 for what is of the data.
    """
    with opened(path, KEY) as (tables, source, raw):
        require(raw, IDS, f"{KEY}: {path}")
        data = _taken_as(config.data, source, raw.columns, report)
        ledger = Ledger(tables, data.clean)
        rows = read_interactions(tables, data, 0, None, ledger)
        rows = tables.keep(rows.rename(KEYS).select(*CARRIED), str(path))
        again = _rows_of(known, tables.fetch(rows.select(*KEYS).distinct()))
        if len(again):
            rows = rows.union(_of_the_data(again, known, inputs, rows.schema().to_pyarrow(), data))
        rows, repeats = duplicates(rows, data)
        hints = dict.fromkeys(ROW_RULES, "look at its columns and at what the config's interactions take")
        rows = ledger.remove_flagged(
            tables.keep(rows, KEY), [*ROW_RULES, *repeats], "interactions", first=True, hints=hints
        )
        for rule in (no_returns, no_repeats):
            rows = rule(tables, rows, data, ledger)
        left = rows.select(CLOCK, SOURCE_ROW, c.WEIGHT, **{c.USER_ID: rows[c.USER_KEY], c.ITEM_ID: rows[c.ITEM_KEY]})
        found = tables.fetch(left.order_by(CLOCK, SOURCE_ROW))
    for measure, reason, _, count in ledger.measures:
        if measure == "removed" and count:
            (report.warn if reason in UNUSABLE else report.log)(f"{KEY}: {count:,.0f} rows are left out: {reason}")
    return again, found


def _taken_as(data: Data, source: Source, names: Collection[str], report: Reporter) -> Data:
    """The data as if the file were the interactions of one platform, whose ids are those of the tables.

    Raises:
        InputError: if two platforms disagree on what an event is worth.
    """
    spec, worth = data.platforms[0].interactions, dict[str, Event]()
    for shop in data.platforms if c.EVENT in names else ():
        for name, event in shop.interactions.events.items():
            if worth.setdefault(name, event) != event:
                raise InputError(f"{KEY}: the platforms of the config disagree on what the event '{name}' is worth")
    if c.EVENT in names and not any(shop.interactions.columns.event for shop in data.platforms):
        report.warn(f"{KEY}: its column 'event' counts for nothing, as the config's interactions have no such column")
        names = set(names) - {c.EVENT}
    elif c.EVENT not in names and spec.columns.event is None:
        worth = spec.events  # of the one word that every row then has
    columns = InteractionColumns(
        user_id=c.USER_ID,
        item_id=c.ITEM_ID,
        **{name: name for name in (c.TIMESTAMP, c.EVENT, c.QUANTITY, c.RATING) if name in names},
        **({} if c.TIMESTAMP in names else {c.ORDER: SOURCE_ROW}),
    )
    changed = {"path": source.path, "csv": source.csv, "columns": columns, "events": worth}
    interactions: Interactions = spec.model_copy(update=changed)
    platform = data.platforms[0].model_copy(update={"interactions": interactions})
    return data.model_copy(update={"platforms": (platform,)})


def _rows_of(known: Dataset, pairs: pa.Table) -> Ints:
    """The rows of the data's histories, in their order, that are of these users and items."""
    user, item = (
        parquet.places(pairs[mine], theirs)
        for mine, theirs in ((c.USER_KEY, known.users[c.USER_ID]), (c.ITEM_KEY, known.items[c.ITEM_ID]))
    )
    there, size, items = (user >= 0) & (item >= 0), known.items.num_rows, known.histories.items
    return np.flatnonzero(np.isin(items.rows * size + items.values, (user * size + item)[there]))


def _of_the_data(again: Ints, known: Dataset, inputs: Mapping[str, Path], schema: pa.Schema, data: Data) -> ir.Table:
    """Rows of the data as the rules take them: earlier than all events, where the times of both are not known."""
    facts = parquet.read_table(inputs[INTERACTIONS], [c.TIMESTAMP, c.EVENT, c.QUANTITY, c.RATING]).take(again)
    items, weight = known.histories.items, known.histories.items.weights_or_ones[again]
    if data.repeats == "sum":  # which multiplied it by them, and will again
        weight = weight / pc.fill_null(pc.abs(facts[c.QUANTITY]), 1.0).to_numpy()
    timed = pa.types.is_timestamp(schema.field(CLOCK).type)
    columns = {name: facts[name] for name in (c.EVENT, c.QUANTITY, c.RATING)} | {
        c.USER_KEY: pc.take(known.users[c.USER_ID], items.rows[again]),
        c.ITEM_KEY: pc.take(known.items[c.ITEM_ID], items.values[again]),
        CLOCK: pc.fill_null(facts[c.TIMESTAMP], datetime(1, 1, 1)) if timed else np.full(len(again), -1.0),
        c.WEIGHT: weight,
        IS_RETURN: np.zeros(len(again), bool),
        SOURCE_ROW: again - BEFORE,
        c.REASON: pa.nulls(len(again)),
    }
    return ibis.memtable(pa.table(columns).select(schema.names).cast(schema))
