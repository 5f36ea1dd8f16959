"""What users did since training: it changes their interest at once, and nothing is trained again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from crossrec_cli.artifacts import tables as t
from crossrec_cli.errors import InputError
from crossrec_cli.interest.batches import Ragged
from crossrec_cli.stages.load import World

IDS = (t.USER_ID, t.ITEM_ID)


def read_events(path: Path) -> pa.Table:
    """The columns ``user_id`` and ``item_id`` of a Parquet or CSV file, as strings.

    Raises:
        InputError: if it cannot be read, lacks one of them, or leaves an id empty.
    """
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            as_text = pa.csv.ConvertOptions(column_types=dict.fromkeys(IDS, pa.string()), strings_can_be_null=True)
            table = pa.csv.read_csv(path, convert_options=as_text)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"recommend.events: {path}: cannot be read: {str(error).splitlines()[0]}") from None
    for name in IDS:
        if name not in table.column_names:
            there = ", ".join(table.column_names)
            raise InputError(f"recommend.events: {path}: no column '{name}'; there is {there}")
        if table[name].null_count:
            row = table[name].is_null().to_numpy().argmax() + 1
            raise InputError(f"recommend.events: {path}, row {row}: no {name}")
    return table.select(IDS).cast(pa.schema(dict.fromkeys(IDS, pa.string())))


def with_events(world: World, events: pa.Table) -> tuple[World, int]:
    """The world after some more interactions, those of users never seen among them.

    Args:
        world: as it was in training.
        events: from ``read_events``, each user's oldest first; they come after what is known of the user.

    Returns:
        The new world, whose new users follow the old ones, and how many events were with items that it does not know.
    """
    items = {item: index for index, item in enumerate(world.items[t.ITEM_ID].to_pylist())}
    users = {user: index for index, user in enumerate(world.users[t.USER_ID].to_pylist())}
    who, what = (events[name].to_pylist() for name in IDS)
    for user in who:
        users.setdefault(user, len(users))
    known = [(users[user], items[item]) for user, item in zip(who, what, strict=True) if item in items]
    new = len(users) - world.users.num_rows
    before = world.histories
    rows, added = np.array(known, np.int64).reshape(-1, 2).T
    rows = np.concatenate([before.items.rows, rows])
    order = np.argsort(rows, kind="stable")
    values = np.concatenate([before.items.values, added])
    weights = np.concatenate([before.items.weights_or_ones, np.ones(len(known), np.float32)])
    none = np.zeros(new, np.int64)
    histories = replace(
        before,
        items=Ragged(values[order], np.bincount(rows, minlength=len(users)), weights[order]),
        train_lengths=np.concatenate([before.train_lengths, none]),
        tags=Ragged(before.tags.values, np.concatenate([before.tags.lengths, none])),
    )
    ids = pa.table({t.USER_ID: pa.array(list(users), pa.string())})
    return World(world.items, ids, histories), events.num_rows - len(known)
