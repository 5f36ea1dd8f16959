"""Which ids of several platforms or devices mean the same person or item.

Links make groups of ids; a group is one person or item, and bears the id of its first member that occurs. A wrong
link joins two people for good, so a group that holds two ids of one platform, though no table joins that platform's
ids with one another, is left apart unless the config says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.source_fields import ItemMatch, Links
from crossrec_cli.data.catalogue import file_column, own_id, union
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.data.readings import Origin, read_cells
from crossrec_cli.errors import InputError

OWN = "own_id"
"""The platform's own id."""
ACCOUNT = "account"
"""Number of a platform's id, int32."""
KEY = "key"
"""Number of the person or item that it belongs to, int32; numbers are in the order of the ids."""
ID = "id"
"""That person's or item's id."""
LEFT, RIGHT = "left", "right"
COMMON_WORD = 100
"""A word in more texts than this leads to no pair of items; it still counts in their confidence."""

Ints = npt.NDArray[np.int64]


def number(
    engine: Engine, own: ir.Table, data: Data, links: Sequence[ir.Table], ledger: Ledger, of: str, repeats: bool
) -> ir.Table:
    """Number ids and the people or items that they belong to.

    Args:
        engine: the engine.
        own: platform and own id of all there are.
        data: names the platforms, and says what to do with conflicts.
        links: pairs of ids that mean the same, as ``read_links`` gives them.
        ledger: told how many were joined, and of conflicts and cycles.
        of: users or items.
        repeats: whether ``own`` may hold an id twice.

    Returns:
        platform, own id, ``ACCOUNT``, ``KEY``, ``ID``; kept.
    """
    ids = own.select(c.PLATFORM, OWN)
    if links:
        ends = [
            pairs.select(**{c.PLATFORM: pairs[f"{side}_{c.PLATFORM}"], OWN: pairs[side]})
            for pairs in links
            for side in (LEFT, RIGHT)
        ]
        ids = union([ids.mutate(occurs=True), *(end.mutate(occurs=False) for end in ends)])
        ids = ids.group_by(c.PLATFORM, OWN).aggregate(occurs=ids["occurs"].any())
    elif repeats:
        ids = ids.distinct()
    ids = with_id(ids, data)
    order = [ID] if len(data.platforms) == 1 else [ID, c.PLATFORM]  # "a:b" may be b of a, or a's own
    ids = ids.mutate(**{ACCOUNT: ibis.row_number().over(order_by=order).cast("int32")})
    if not links:
        return engine.keep(ids.mutate(**{KEY: ids[ACCOUNT]}), of)
    ids = engine.keep(ids, of)
    firsts = _first_of_group(engine, ids, links, data, ledger, of)
    first = ids.select(**{"first": ids[ACCOUNT], "first_id": ids[ID]})
    ids = ids.left_join(firsts, ACCOUNT)
    ids = ids.mutate(first=ibis.coalesce(ids["first"], ids[ACCOUNT])).drop(f"{ACCOUNT}_right")
    ids = ids.inner_join(first, "first")
    key = (ibis.dense_rank().over(order_by=ids["first"])).cast("int32")
    return engine.keep(ids.select(c.PLATFORM, OWN, ACCOUNT, **{KEY: key, ID: ids["first_id"]}), of)


def with_id(own: ir.Table, data: Data) -> ir.Table:
    """With ``ID``: the own id, behind the platform's name where there are several."""
    prefix = ibis.cases(*((own[c.PLATFORM] == shop.name, own_id(shop, data)) for shop in data.platforms), else_="")
    return own.mutate(**{ID: prefix + own[OWN]})


def read_links(engine: Engine, tables: Sequence[Links], key: str, ledger: Ledger) -> list[ir.Table]:
    """The mapping tables: left and right id, each with its platform; rows that lack one are passed over."""
    found = []
    for index, spec in enumerate(tables):
        raw, here = engine.read(spec), f"{key}[{index}]"
        names = {LEFT: spec.left.id, RIGHT: spec.right.id}
        for side, name in names.items():
            file_column(raw, name, f"{here}.{side}.id", spec.path)
        ends = read_cells(engine, raw, names, {LEFT: "id", RIGHT: "id"}, Origin(here, spec.path, here), ledger)
        shops = {
            f"{side}_{c.PLATFORM}": ibis.literal(end.platform) for side, end in ((LEFT, spec.left), (RIGHT, spec.right))
        }
        found.append(engine.keep(raw.select(**ends, **shops).drop_null([LEFT, RIGHT]), spec.path))
    return found


def _first_of_group(
    engine: Engine, ids: ir.Table, links: Sequence[ir.Table], data: Data, ledger: Ledger, of: str
) -> ir.Table:
    """For every linked account, the first account of its group, of those that occur if one does."""
    edges = engine.fetch(union([_edges(ids, pairs) for pairs in links]).distinct())
    left, right = (edges[side].to_numpy().astype(np.int64) for side in (LEFT, RIGHT))
    linked = np.unique(np.concatenate([left, right]))
    all_ids = engine.fetch(ids.select(ACCOUNT, c.PLATFORM, "occurs").order_by(ACCOUNT))
    shop, occurs = (all_ids[name].to_numpy(zero_copy_only=False)[linked] for name in (c.PLATFORM, "occurs"))
    ends = (np.searchsorted(linked, left), np.searchsorted(linked, right))
    groups = _Groups.of(*ends, shop, occurs, _joined_within(data, of))
    conflicts = groups.conflicts
    ledger.note("identity", "conflicts", len(conflicts), of)
    ledger.note("identity", "cycles", groups.cycles, of)
    if len(conflicts) and data.identity.conflicts == "fail":
        raise InputError(_conflict(engine, ids, linked[groups.group == conflicts[0]], of))
    apart = np.isin(groups.group, conflicts) if data.identity.conflicts == "apart" else np.zeros(len(linked), bool)
    first = np.where(apart, linked, linked[groups.first])
    ledger.note("identity", "joined", int((first != linked).sum()), of)
    return ibis.memtable(
        {ACCOUNT: linked.astype(np.int32), "first": first.astype(np.int32)}, schema={ACCOUNT: "int32", "first": "int32"}
    )


def _edges(ids: ir.Table, pairs: ir.Table) -> ir.Table:
    """The pairs as account numbers, the smaller left."""
    for side in (LEFT, RIGHT):
        end = ids.select(**{side: ids[OWN], f"{side}_{c.PLATFORM}": ids[c.PLATFORM], f"{side}_{ACCOUNT}": ids[ACCOUNT]})
        pairs = pairs.inner_join(end, [side, f"{side}_{c.PLATFORM}"])
    a, b = pairs[f"{LEFT}_{ACCOUNT}"], pairs[f"{RIGHT}_{ACCOUNT}"]
    return pairs.filter(a != b).select(**{LEFT: ibis.least(a, b), RIGHT: ibis.greatest(a, b)})


def _joined_within(data: Data, of: str) -> set[str]:
    """Platforms some of whose own ids are said to mean the same, such as devices of one account."""
    tables = data.identity.users if of == "users" else data.identity.items
    return {links.left.platform for links in tables if links.left.platform == links.right.platform}


@dataclass(frozen=True)
class _Groups:
    """Linked ids by group."""

    group: Ints
    """Of each linked id."""
    first: Ints
    """Of each linked id, the first of its group; one that no file but the mapping table has only if all are such."""
    conflicts: Ints
    """Groups that hold two ids of one platform that nothing joins within."""
    cycles: int
    """Groups with a link more than it takes to join them: harmless alone, telling beside a conflict."""

    @classmethod
    def of(
        cls, left: Ints, right: Ints, shop: npt.NDArray[Any], occurs: npt.NDArray[np.bool_], within: set[str]
    ) -> _Groups:
        size = len(shop)
        graph = coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(size, size))
        groups, group = connected_components(graph, directed=False)
        members = np.bincount(group, minlength=groups)
        links = np.bincount(group[left], minlength=groups)
        order = np.argsort(~occurs, kind="stable")
        _, first = np.unique(group[order], return_index=True)
        shops, number = np.unique(shop.astype(str), return_inverse=True)
        counted = np.bincount(group * len(shops) + number, minlength=groups * len(shops)).reshape(groups, len(shops))
        counted[:, np.isin(shops, sorted(within))] = 0
        conflicts = np.flatnonzero((counted > 1).any(axis=1))
        return cls(group.astype(np.int64), order[first][group], conflicts, int((links >= members).sum()))


def _conflict(engine: Engine, ids: ir.Table, accounts: Ints, of: str) -> str:
    some = engine.fetch(ids.filter(ids[ACCOUNT].isin(accounts[:5].tolist())).select(ID).order_by(ID))[ID].to_pylist()
    return (
        f"data.identity.{of}: links join {', '.join(some)} though they hold two ids of one platform, and "
        "data.identity.conflicts is 'fail'"
    )


def propose(engine: Engine, listings: ir.Table, match: ItemMatch) -> ir.Table:
    """Pairs of items of different platforms, each the other's best, by the words that their texts share.

    Confidence is the weighted Jaccard similarity of their words, a word weighing ln(items / items that have it).

    Args:
        engine: the engine.
        listings: platform, ``OWN``, ``ID``, text.
        match: from which confidence on.

    Returns:
        ``ID``, other id, ``confidence``; kept.
    """
    word = listings[c.TEXT].lower().re_replace(r"[^\p{L}\p{N}]+", " ").strip().split(" ").unique().unnest()
    of = listings.drop_null(c.TEXT).select(c.PLATFORM, ID, word=word)
    of = engine.keep(of.filter(of["word"] != ""), "items")
    total = listings.count().as_scalar()
    common = of.group_by("word").aggregate(items=of.count())
    of = of.inner_join(common, "word")
    of = engine.keep(of.mutate(weight=(total / of["items"]).ln()), "items")
    whole = of.group_by(ID).aggregate(whole=of["weight"].sum())
    rare = of.filter(of["items"] <= COMMON_WORD)
    other = rare.select("word", **{f"other_{c.PLATFORM}": rare[c.PLATFORM], f"other_{ID}": rare[ID]})
    ends = [ID, f"other_{ID}", c.PLATFORM, f"other_{c.PLATFORM}"]
    pairs = rare.inner_join(other, "word")
    pairs = pairs.filter(pairs[c.PLATFORM] < pairs[f"other_{c.PLATFORM}"]).select(ends).distinct()
    shared = pairs.inner_join(of.select(ID, "word", "weight"), ID)
    shared = shared.semi_join(of.select("word", **{f"other_{ID}": of[ID]}), ["word", f"other_{ID}"])
    shared = shared.group_by(ends).aggregate(shared=ibis._["weight"].sum())
    shared = shared.filter(shared["shared"] > 0)  # a word that all items have says nothing
    shared = shared.inner_join(whole, ID)
    shared = shared.inner_join(whole.select(**{f"other_{ID}": whole[ID], "other_whole": whole["whole"]}), f"other_{ID}")
    confidence = shared["shared"] / (shared["whole"] + shared["other_whole"] - shared["shared"])
    return engine.keep(_mutual(shared.mutate(confidence=confidence.round(9)), match), "items")


def _mutual(pairs: ir.Table, match: ItemMatch) -> ir.Table:
    """Each the other's best on its platform, ties by id."""
    order = [ibis.desc("confidence"), ID, f"other_{ID}"]
    pairs = pairs.mutate(
        best=ibis.row_number().over(group_by=[ID, f"other_{c.PLATFORM}"], order_by=order),
        best_of_other=ibis.row_number().over(group_by=[f"other_{ID}", c.PLATFORM], order_by=order),
    )
    wanted = (pairs["best"] == 0) & (pairs["best_of_other"] == 0) & (pairs["confidence"] >= match.propose)
    return pairs.filter(wanted).select(ID, f"other_{ID}", "confidence")


def as_links(listings: ir.Table, proposed: ir.Table) -> ir.Table:
    """Proposed pairs in the form of ``read_links``."""
    for side, name in ((LEFT, ID), (RIGHT, f"other_{ID}")):
        end = listings.select(**{name: listings[ID], side: listings[OWN], f"{side}_{c.PLATFORM}": listings[c.PLATFORM]})
        proposed = proposed.inner_join(end, name)
    return proposed.select(LEFT, f"{LEFT}_{c.PLATFORM}", RIGHT, f"{RIGHT}_{c.PLATFORM}")
