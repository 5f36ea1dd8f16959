"""Interactions since training: they change users' interest at once, without training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import INTERACTIONS
from crossrec_cli.config.schema import Config
from crossrec_cli.data.raw_files import SOURCE_ROW
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.ragged import Bools, Ragged
from crossrec_cli.runtime.progress import Reporter


@dataclass(frozen=True)
class UpdatedDataset:
    """The dataset with the events that happened since the data were read."""

    earlier: Dataset
    """The data without interactions that were returned since, or that ``data.repeats`` replaces by newer ones."""
    kept: Bools
    """Which rows of interactions.parquet ``earlier`` has; (rows,)."""
    dataset: Dataset
    """``earlier`` followed by the events; new users come after the others."""

    @classmethod
    def of(cls, config: Config, inputs: Mapping[str, Path], earlier: Dataset, report: Reporter) -> UpdatedDataset:
        """With the events of recommend.events, where the config names a file.

        Raises:
            InputError: if they cannot be read, or too many of them are unusable.
        """
        if config.recommend.events is None:
            return cls(earlier, np.ones(len(earlier.histories.items.values), bool), earlier)
        from crossrec_cli.ranking.event_file import DATA_ROW_OFFSET, KEY, clean_events  # noqa: PLC0415  Ibis takes a moment

        affected, events = clean_events(config, Path(config.recommend.events), inputs, earlier, report)
        row, weight = (events[name].to_numpy() for name in (SOURCE_ROW, c.WEIGHT))
        histories_before = earlier.histories.items
        kept, weights = np.ones(len(histories_before.values), bool), histories_before.weights_or_ones.copy()
        kept[affected] = False
        kept[row[row < 0] + DATA_ROW_OFFSET] = True
        weights[row[row < 0] + DATA_ROW_OFFSET] = weight[row < 0]
        position = np.arange(len(histories_before.values)) - histories_before.starts[histories_before.rows]
        trains = kept & (position < earlier.histories.train_lengths[histories_before.rows])
        scattered = earlier.histories.scattered
        histories = replace(
            earlier.histories,
            items=replace(histories_before, weights=weights).where(kept),
            train_lengths=np.bincount(histories_before.rows[trains], minlength=earlier.histories.users),
            scattered=None if scattered is None else scattered[kept],
        )
        remaining = replace(earlier, histories=histories)
        dataset, unknown = with_events(remaining, events.filter(pa.array(row >= 0)))
        if unknown:
            report.warn(f"{KEY}: {unknown:,} events are with items that are not in the data")
        return cls(remaining, kept, dataset)

    def times(self, inputs: Mapping[str, Path]) -> pa.ChunkedArray:
        """The time of each interaction of ``earlier``."""
        return parquet.read_table(inputs[INTERACTIONS], [c.TIMESTAMP])[c.TIMESTAMP].filter(pa.array(self.kept))


def with_events(dataset: Dataset, events: pa.Table) -> tuple[Dataset, int]:
    """The dataset with further interactions, which may be of new users.

    Args:
        dataset: as it was in training.
        events: user id, item id and weight, each user's oldest first; they are appended to the user's history.

    Returns:
        The new dataset, whose new users come after the others, and how many events were with items that it lacks.
    """
    known, named = dataset.users[c.USER_ID], pc.unique(events[c.USER_ID])
    new = named.filter(pc.invert(pc.is_in(named, value_set=known.combine_chunks())))
    ids = pa.concat_arrays([*known.chunks, new])
    user_index = pc.index_in(events[c.USER_ID], value_set=ids)
    item_index = pc.index_in(events[c.ITEM_ID], value_set=dataset.items[c.ITEM_ID].combine_chunks())
    has_item = item_index.is_valid()
    added = item_index.filter(has_item).to_numpy().astype(np.int64)
    before = dataset.histories
    rows = np.concatenate([before.items.rows, user_index.filter(has_item).to_numpy().astype(np.int64)])
    order = np.argsort(rows, kind="stable")
    values = np.concatenate([before.items.values, added])
    event_weights = events[c.WEIGHT].filter(has_item).to_numpy().astype(np.float32)
    weights = np.concatenate([before.items.weights_or_ones, event_weights])
    zeros = np.zeros(len(ids) - before.users, np.int64)
    scattered = before.scattered
    histories = replace(
        before,
        items=Ragged(values[order], np.bincount(rows, minlength=len(ids)), weights[order]),
        train_lengths=np.concatenate([before.train_lengths, zeros]),
        tags=Ragged(before.tags.values, np.concatenate([before.tags.lengths, zeros])),
        scattered=None if scattered is None else np.concatenate([scattered, np.zeros(len(added), bool)])[order],
    )
    return Dataset(dataset.items, pa.table({c.USER_ID: ids}), histories), events.num_rows - len(added)


def followed_by(history: Ragged, newest: Ragged) -> Ragged:
    """One user's history and newer events as one list, without what a newer opinion of the same item overrules.

    Args:
        history: of one user, or of none.
        newest: of the same user.
    """
    values = np.concatenate([history.values, newest.values])
    weights = np.concatenate([history.weights_or_ones, newest.weights_or_ones])
    items, last = np.unique(values[::-1], return_index=True)
    newest_of_item = weights[::-1][last] > 0
    kept = newest_of_item[np.searchsorted(items, values)] == (weights > 0)
    return Ragged(values[kept], np.array([kept.sum()]), weights[kept])
