"""Planted shops, in each of which one kind of knowledge alone says what is bought next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from crossrec_cli.artifacts import columns as c
from crossrec_cli.federation.text_sums import co_purchases
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.histories import Cases, Histories, ItemStats
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.models.shared_model import SharedModel

USERS, SOURCE, WIDTH, GROUPS, FEW_GROUPS, OF_GROUP, BOUGHT = 240, 60, 32, 90, 10, 6, 5


def shop(knows: str, seed: int = 0, users: int = USERS) -> tuple[TrainingData, Cases, Cases]:
    """A shop whose target items come in groups of six, and whose users each want a group.

    Where ``text``, ``words`` or ``attributes`` tell groups apart there are so many groups that hardly anybody buys the
    same. ``linear``: few groups, and those who want one have bought the same in the source. ``popularity``: the groups
    mean nothing, some items are sold far more. ``order``: each purchase is of the group behind the one before it, as
    the texts tell.

    Returns:
        What may be learned; validation cases, everybody's last purchase but one; test cases, the last.
    """
    rng = np.random.default_rng(seed)
    groups = FEW_GROUPS if knows in ("linear", "popularity") else GROUPS
    items = SOURCE + OF_GROUP * groups
    group, is_target = np.arange(items) % groups, np.arange(items) >= SOURCE
    target = np.flatnonzero(is_target)
    sold = 1 / np.arange(1, len(target) + 1) if knows == "popularity" else np.ones(len(target))
    lists = []
    for _ in range(users):
        wanted = int(rng.integers(groups))
        before = np.flatnonzero(~is_target & (group == wanted) if knows == "linear" else ~is_target)
        fits = sold * (group[target] == wanted) if knows != "popularity" else sold
        bought = rng.choice(target, BOUGHT, replace=False, p=fits / fits.sum())
        if knows == "order":
            bought = [rng.choice(target[group[target] == (wanted + step) % groups]) for step in range(BOUGHT)]
        lists.append([*rng.choice(before, 5, replace=False).tolist(), *map(int, bought)])
    histories = Ragged.of(lists)
    train = histories.lengths - 2
    popularity = np.bincount(histories.take(np.arange(users), train).values, minlength=items)
    data = TrainingData(
        Histories(histories, train, Ragged.of([[]] * users), ItemStats(is_target, popularity)),
        *_items(knows, group, rng),
    )
    everybody = np.arange(users)
    valid, test = (
        Cases(everybody, train + later, histories.slice(everybody, train + later, train + later + 1))
        for later in (0, 1)
    )
    return data, valid, test


def _items(knows: str, group: np.ndarray, rng: np.random.Generator) -> tuple[pa.Table, np.ndarray]:
    """What is known of the items, of which one thing tells the groups."""
    texts = [" ".join(rng.choice(["old", "new", "big", "small", "round", "thin", "red"], 3)) for _ in group]
    embeddings = rng.normal(size=(len(group), WIDTH)).astype(np.float32)
    if knows == "words":
        texts = [f"model{number} {text}" for number, text in zip(group, texts, strict=True)]
    if knows == "text":
        embeddings += 3 * rng.normal(size=(group.max() + 1, WIDTH)).astype(np.float32)[group]
    if knows == "order":  # what is asked for is what the next group's texts say
        angle = 2 * np.pi * group / 8  # the latest purchase is nearer to the next than the one before it
        embeddings[:, :2] += 30 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    brand = [f"brand {number}" if knows == "attributes" else None for number in group]
    nothing = pa.nulls(len(group), pa.string())
    columns = {c.TEXT: texts, c.BRAND: pa.array(brand, pa.string()), c.CATEGORY: nothing, c.PRICE_BAND: nothing}
    return pa.table(columns), embeddings


def federated(data: TrainingData) -> TrainingData:
    """The same shop in a federation whose only platform it is."""
    history, following, _ = co_purchases(data, data.texts.shape[1])
    return replace(data, shared=SharedModel("encoder", data.whitening, history, following, {}))
