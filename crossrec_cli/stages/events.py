"""What users did since training: it changes their interest at once, and nothing is trained again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import tables as t
from crossrec_cli.interest.batches import Ragged
from crossrec_cli.stages.load import World

EVENTS = pa.schema([pa.field(t.USER_ID, pa.string(), nullable=False), pa.field(t.ITEM_ID, pa.string(), nullable=False)])


def with_events(world: World, events: pa.Table) -> tuple[World, int]:
    """The world after some more interactions, those of users never seen among them.

    Args:
        world: as it was in training.
        events: as ``EVENTS``, each user's oldest first; they come after what is known of the user.

    Returns:
        The new world, whose new users follow the old ones, and how many events were with items that it does not know.
    """
    ids = pc.unique(pa.chunked_array([*world.users[t.USER_ID].chunks, *events[t.USER_ID].chunks], pa.string()))
    who = pc.index_in(events[t.USER_ID], value_set=ids)
    what = pc.index_in(events[t.ITEM_ID], value_set=world.items[t.ITEM_ID].combine_chunks())
    known = what.is_valid()
    added = what.filter(known).to_numpy().astype(np.int64)
    before = world.histories
    rows = np.concatenate([before.items.rows, who.filter(known).to_numpy().astype(np.int64)])
    order = np.argsort(rows, kind="stable")
    values = np.concatenate([before.items.values, added])
    weights = np.concatenate([before.items.weights_or_ones, np.ones(len(added), np.float32)])
    none = np.zeros(len(ids) - before.users, np.int64)
    histories = replace(
        before,
        items=Ragged(values[order], np.bincount(rows, minlength=len(ids)), weights[order]),
        train_lengths=np.concatenate([before.train_lengths, none]),
        tags=Ragged(before.tags.values, np.concatenate([before.tags.lengths, none])),
    )
    return World(world.items, pa.table({t.USER_ID: ids}), histories), events.num_rows - len(added)
