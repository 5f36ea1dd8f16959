"""A file of interactions since training, cleaned by preprocess's rules."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
from crossrec_cli.data.row_rules import duplicates, no_overruled, no_repeats, no_returns
from crossrec_cli.errors import InputError
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.ragged import Ints
from crossrec_cli.runtime.progress import Reporter

KEY = "recommend.events"
KEYS = {c.USER_KEY: c.PLATFORM_USER_ID, c.ITEM_KEY: c.PLATFORM_ITEM_ID}
"""Here the keys are the ids of lists, which are text, and not numbers."""
CARRIED = (*KEYS, CLOCK, c.EVENT, c.QUANTITY, c.RATING, c.WEIGHT, IS_RETURN, SOURCE_ROW, c.REASON)

DATA_ROW_OFFSET = 2**40
"""``SOURCE_ROW`` of a row of the data is its number minus this: below 0, so that it comes before the events."""


def clean_events(
    config: Config, path: Path, inputs: Mapping[str, Path], dataset: Dataset, report: Reporter
) -> tuple[Ints, pa.Table]:
    """The events cleaned by preprocess's rules, together with the data's interactions of the same users and items.

    Returns:
        The rows of interactions.parquet with the same user and item as an event; and what the rules keep of both,
        oldest first: user id, item id, weight, and ``SOURCE_ROW``, below 0 for rows of the data.
    """
    with opened(path, KEY) as (tables, source, raw):
        require(raw, IDS, f"{KEY}: {path}")
        data = _as_one_platform(config.data, source, raw.columns, report)
        ledger = Ledger(tables, data.clean)
        rows = read_interactions(tables, data, 0, None, ledger)
        rows = tables.keep(rows.rename(KEYS).select(*CARRIED), str(path))
        affected = _matching_rows(dataset, tables.fetch(rows.select(*KEYS).distinct()))
        if len(affected):
            rows = rows.union(_data_rows(affected, dataset, inputs, rows.schema().to_pyarrow(), data))
        rows, repeats = duplicates(rows, data)
        hints = dict.fromkeys(ROW_RULES, lambda: "check its columns and the config's interactions")
        rows = ledger.remove_flagged(
            tables.keep(rows, KEY), [*ROW_RULES, *repeats], "interactions", first=True, hints=hints
        )
        rows = no_returns(tables, rows, data, ledger)
        rows = no_overruled(tables, rows, config.data, ledger)  # the file may lack the events that are dislikes
        rows = no_repeats(tables, rows, data, ledger)
        kept = rows.select(CLOCK, SOURCE_ROW, c.WEIGHT, **{c.USER_ID: rows[c.USER_KEY], c.ITEM_ID: rows[c.ITEM_KEY]})
        cleaned = tables.fetch(kept.order_by(CLOCK, SOURCE_ROW))
    for measure, reason, _, count in ledger.measures:
        if measure == "removed" and count:
            (report.warn if reason in UNUSABLE else report.log)(f"{KEY}: {count:,.0f} rows are removed: {reason}")
    return affected, cleaned


def _as_one_platform(data: Data, source: Source, names: Collection[str], report: Reporter) -> Data:
    """A config that reads the file as the interactions of one platform, whose ids are those of the tables.

    Raises:
        InputError: if two platforms disagree on what an event is worth.
    """
    interactions_config, event_values = data.platforms[0].interactions, dict[str, Event]()
    for platform_config in data.platforms if c.EVENT in names else ():
        for name, event in platform_config.interactions.events.items():
            if event_values.setdefault(name, event) != event:
                raise InputError(f"{KEY}: the platforms of the config disagree on what the event '{name}' is worth")
    if c.EVENT in names and not any(platform_config.interactions.columns.event for platform_config in data.platforms):
        report.warn(f"{KEY}: its column 'event' is ignored, as the config's interactions have no such column")
        names = set(names) - {c.EVENT}
    elif c.EVENT not in names and interactions_config.columns.event is None:
        event_values = interactions_config.events  # of the one event name that all rows then have
    columns = InteractionColumns(
        user_id=c.USER_ID,
        item_id=c.ITEM_ID,
        **{name: name for name in (c.TIMESTAMP, c.EVENT, c.QUANTITY, c.RATING) if name in names},
        **({} if c.TIMESTAMP in names else {c.ORDER: SOURCE_ROW}),
    )
    changed = {"path": source.path, "csv": source.csv, "columns": columns, "events": event_values}
    interactions: Interactions = interactions_config.model_copy(update=changed)
    platform = data.platforms[0].model_copy(update={"interactions": interactions})
    return data.model_copy(update={"platforms": (platform,)})


def _matching_rows(dataset: Dataset, pairs: pa.Table) -> Ints:
    """Positions in the data's flat histories of interactions with the same user and item as one of the pairs."""
    user_index, item_index = (
        parquet.row_indices(pairs[column], ids)
        for column, ids in ((c.USER_KEY, dataset.users[c.USER_ID]), (c.ITEM_KEY, dataset.items[c.ITEM_ID]))
    )
    both_known, size, items = (user_index >= 0) & (item_index >= 0), dataset.items.num_rows, dataset.histories.items
    return np.flatnonzero(np.isin(items.rows * size + items.values, (user_index * size + item_index)[both_known]))


def _data_rows(affected: Ints, dataset: Dataset, inputs: Mapping[str, Path], schema: pa.Schema, data: Data) -> ir.Table:
    """Rows of the data as the rules expect them; without times, they are earlier than all events."""
    facts = parquet.read_table(inputs[INTERACTIONS], [c.TIMESTAMP, c.EVENT, c.QUANTITY, c.RATING]).take(affected)
    items, weight = dataset.histories.items, dataset.histories.items.weights_or_ones[affected]
    if data.repeats == "sum":  # which multiplied the weight by the quantity, and will do so again
        weight = weight / pc.fill_null(pc.abs(facts[c.QUANTITY]), 1.0).to_numpy()
    timed = pa.types.is_timestamp(schema.field(CLOCK).type)
    columns = {name: facts[name] for name in (c.EVENT, c.QUANTITY, c.RATING)} | {
        c.USER_KEY: pc.take(dataset.users[c.USER_ID], items.rows[affected]),
        c.ITEM_KEY: pc.take(dataset.items[c.ITEM_ID], items.values[affected]),
        CLOCK: pc.fill_null(facts[c.TIMESTAMP], datetime(1, 1, 1)) if timed else np.full(len(affected), -1.0),
        c.WEIGHT: weight,
        IS_RETURN: np.zeros(len(affected), bool),
        SOURCE_ROW: affected - DATA_ROW_OFFSET,
        c.REASON: pa.nulls(len(affected)),
    }
    return ibis.memtable(pa.table(columns).select(schema.names).cast(schema))
