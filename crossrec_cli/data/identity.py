"""Which ids of several platforms or devices mean the same person or item.

Links make groups of ids. A group is one person or item, and has the id of its first member that occurs. A wrong
link joins two people for good. So the ids of a group stay apart if two of them are of one platform and no table joins
ids within that platform, unless the config decides otherwise.
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
from crossrec_cli.config.identity_fields import ItemMatch, Links
from crossrec_cli.data.catalogue import file_column, id_prefix, union
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.ids import IdForms
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.data.readings import Origin, read_cells
from crossrec_cli.errors import InputError

LEFT, RIGHT = "left", "right"
OTHER_ITEM_ID = f"other_{c.ITEM_ID}"
COMMON_WORD = 100
"""A word in more texts than this does not propose pairs of items; it still counts in their confidence."""

Ints = npt.NDArray[np.int64]


def number(
    engine: Engine,
    ids: ir.Table,
    data: Data,
    links: Sequence[ir.Table],
    ledger: Ledger,
    forms: IdForms,
    repeats: bool,
) -> ir.Table:
    """Number ids and the people or items that they belong to.

    Args:
        engine: the engine.
        ids: platform and platform's id of all there are.
        data: the platforms, and what to do with conflicts.
        links: pairs of ids that mean the same, as ``read_links`` returns them.
        ledger: counts how many were joined, conflicts and cycles.
        forms: the names of the columns.
        repeats: whether ``ids`` may have an id twice.

    Returns:
        platform and all of ``forms``; kept.
    """
    own = forms.platform_id
    ids = ids.select(c.PLATFORM, own)
    if links:
        ends = [
            pairs.select(**{c.PLATFORM: pairs[f"{side}_{c.PLATFORM}"], own: pairs[side]})
            for pairs in links
            for side in (LEFT, RIGHT)
        ]
        ids = union([ids.mutate(occurs=True), *(end.mutate(occurs=False) for end in ends)])
        ids = ids.group_by(c.PLATFORM, own).aggregate(occurs=ids["occurs"].any())
    elif repeats:
        ids = ids.distinct()
    ids = ids.mutate(**{forms.list_id: list_id(ids, data, forms)})
    # "a:b" may be b of platform a, or a platform's own "a:b".
    order = [forms.list_id] if len(data.platforms) == 1 else [forms.list_id, c.PLATFORM]
    ids = ids.mutate(**{forms.number: ibis.row_number().over(order_by=order).cast("int32")})
    if not links:
        return engine.keep(ids.mutate(**{forms.key: ids[forms.number]}), forms.kind)
    ids = engine.keep(ids, forms.kind)
    firsts = _first_of_group(engine, ids, links, data, ledger, forms)
    first = ids.select(**{"first": ids[forms.number], "first_id": ids[forms.list_id]})
    ids = ids.left_join(firsts, forms.number)
    ids = ids.mutate(first=ibis.coalesce(ids["first"], ids[forms.number])).drop(f"{forms.number}_right")
    ids = ids.inner_join(first, "first")
    key = (ibis.dense_rank().over(order_by=ids["first"])).cast("int32")
    ids = ids.select(c.PLATFORM, own, forms.number, **{forms.key: key, forms.list_id: ids["first_id"]})
    return engine.keep(ids, forms.kind)


def list_id(ids: ir.Table, data: Data, forms: IdForms) -> ir.StringValue:
    """The id that lists would have if no links joined it: with several platforms, after the platform's name."""
    prefix = ibis.cases(*((ids[c.PLATFORM] == shop.name, id_prefix(shop, data)) for shop in data.platforms), else_="")
    return prefix + ids[forms.platform_id]


def read_links(engine: Engine, specs: Sequence[Links], key: str, ledger: Ledger) -> list[ir.Table]:
    """The mapping tables: left and right id, each with its platform. Rows without one of the ids are skipped."""
    tables = []
    for index, spec in enumerate(specs):
        raw, table_key = engine.read(spec), f"{key}[{index}]"
        names = {LEFT: spec.left.id, RIGHT: spec.right.id}
        for side, name in names.items():
            file_column(raw, name, f"{table_key}.{side}.id", spec.path)
        ends = read_cells(
            engine, raw, names, {LEFT: "id", RIGHT: "id"}, Origin(table_key, spec.path, table_key), ledger
        )
        shops = {
            f"{side}_{c.PLATFORM}": ibis.literal(end.platform) for side, end in ((LEFT, spec.left), (RIGHT, spec.right))
        }
        tables.append(engine.keep(raw.select(**ends, **shops).drop_null([LEFT, RIGHT]), spec.path))
    return tables


def _first_of_group(
    engine: Engine, ids: ir.Table, links: Sequence[ir.Table], data: Data, ledger: Ledger, forms: IdForms
) -> ir.Table:
    """For every linked id the first of its group, by number; one that occurs if there is any."""
    edges = engine.fetch(union([_edges(ids, pairs, forms) for pairs in links]).distinct())
    left, right = (edges[side].to_numpy().astype(np.int64) for side in (LEFT, RIGHT))
    linked = np.unique(np.concatenate([left, right]))
    all_ids = engine.fetch(ids.select(forms.number, c.PLATFORM, "occurs").order_by(forms.number))
    shop, occurs = (all_ids[name].to_numpy(zero_copy_only=False)[linked] for name in (c.PLATFORM, "occurs"))
    ends = (np.searchsorted(linked, left), np.searchsorted(linked, right))
    groups = _Groups.of(*ends, shop, occurs, _joined_within(data, forms))
    conflicts = groups.conflicts
    ledger.note("identity", "conflicts", len(conflicts), forms.kind)
    ledger.note("identity", "cycles", groups.cycles, forms.kind)
    if len(conflicts) and data.identity.conflicts == "fail":
        raise InputError(_conflict(engine, ids, linked[groups.group == conflicts[0]], forms))
    apart = np.isin(groups.group, conflicts) if data.identity.conflicts == "apart" else np.zeros(len(linked), bool)
    first = np.where(apart, linked, linked[groups.first])
    ledger.note("identity", "joined", int((first != linked).sum()), forms.kind)
    return ibis.memtable(
        {forms.number: linked.astype(np.int32), "first": first.astype(np.int32)},
        schema={forms.number: "int32", "first": "int32"},
    )


def _edges(ids: ir.Table, pairs: ir.Table, forms: IdForms) -> ir.Table:
    """The pairs as numbers of ids, the smaller one left."""
    numbers = {side: f"{side}_{forms.number}" for side in (LEFT, RIGHT)}
    for side in (LEFT, RIGHT):
        platform = f"{side}_{c.PLATFORM}"
        end = {side: ids[forms.platform_id], platform: ids[c.PLATFORM], numbers[side]: ids[forms.number]}
        pairs = pairs.inner_join(ids.select(**end), [side, platform])
    a, b = pairs[numbers[LEFT]], pairs[numbers[RIGHT]]
    return pairs.filter(a != b).select(**{LEFT: ibis.least(a, b), RIGHT: ibis.greatest(a, b)})


def _joined_within(data: Data, forms: IdForms) -> set[str]:
    """Platforms with a table that joins their own ids, such as devices of one account."""
    specs = {"users": data.identity.users, "items": data.identity.items}[forms.kind]
    return {links.left.platform for links in specs if links.left.platform == links.right.platform}


@dataclass(frozen=True)
class _Groups:
    """Linked ids by group."""

    group: Ints
    """Of each linked id."""
    first: Ints
    """Of each linked id, the first of its group; one that only a mapping table has, if there is no other."""
    conflicts: Ints
    """Groups with two ids of one platform, though no table joins ids within that platform."""
    cycles: int
    """Groups with more links than needed to join them: harmless, but a hint at what is wrong if there are conflicts."""

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


def _conflict(engine: Engine, ids: ir.Table, numbers: Ints, forms: IdForms) -> str:
    name = forms.list_id
    some = engine.fetch(ids.filter(ids[forms.number].isin(numbers[:5].tolist())).select(name).order_by(name))
    return (
        f"data.identity.{forms.kind}: links join {', '.join(some[name].to_pylist())} though they hold two ids of one "
        "platform, and data.identity.conflicts is 'fail'"
    )


def propose(engine: Engine, items: ir.Table, match: ItemMatch) -> ir.Table:
    """Pairs of items of different platforms, each the other's best, by the words that their texts share.

    Confidence is the weighted Jaccard similarity of their words; a word's weight is ln(items / items that have it).

    Args:
        engine: the engine.
        items: platform, item_id, text.
        match: the least confidence.

    Returns:
        item_id, other_item_id, ``confidence``; kept.
    """
    item, other_item = c.ITEM_ID, OTHER_ITEM_ID
    word = items[c.TEXT].lower().re_replace(r"[^\p{L}\p{N}]+", " ").strip().split(" ").unique().unnest()
    words = items.drop_null(c.TEXT).select(c.PLATFORM, item, word=word)
    words = engine.keep(words.filter(words["word"] != ""), "items")
    total = items.count().as_scalar()
    frequency = words.group_by("word").aggregate(items=words.count())
    words = words.inner_join(frequency, "word")
    words = engine.keep(words.mutate(weight=(total / words["items"]).ln()), "items")
    sums = words.group_by(item).aggregate(sum=words["weight"].sum())
    rare = words.filter(words["items"] <= COMMON_WORD)
    other = rare.select("word", **{f"other_{c.PLATFORM}": rare[c.PLATFORM], other_item: rare[item]})
    ends = [item, other_item, c.PLATFORM, f"other_{c.PLATFORM}"]
    pairs = rare.inner_join(other, "word")
    pairs = pairs.filter(pairs[c.PLATFORM] < pairs[f"other_{c.PLATFORM}"]).select(ends).distinct()
    shared = pairs.inner_join(words.select(item, "word", "weight"), item)
    shared = shared.semi_join(words.select("word", **{other_item: words[item]}), ["word", other_item])
    shared = shared.group_by(ends).aggregate(shared=ibis._["weight"].sum())
    shared = shared.filter(shared["shared"] > 0)  # a word that all items have has weight 0
    shared = shared.inner_join(sums, item)
    shared = shared.inner_join(sums.select(**{other_item: sums[item], "other_sum": sums["sum"]}), other_item)
    confidence = shared["shared"] / (shared["sum"] + shared["other_sum"] - shared["shared"])
    return engine.keep(_mutual(shared.mutate(confidence=confidence.round(9)), match), "items")


def _mutual(pairs: ir.Table, match: ItemMatch) -> ir.Table:
    """Pairs in which each is the other's best on its platform, ties by id."""
    order = [ibis.desc("confidence"), c.ITEM_ID, OTHER_ITEM_ID]
    pairs = pairs.mutate(
        best=ibis.row_number().over(group_by=[c.ITEM_ID, f"other_{c.PLATFORM}"], order_by=order),
        best_of_other=ibis.row_number().over(group_by=[OTHER_ITEM_ID, c.PLATFORM], order_by=order),
    )
    chosen = (pairs["best"] == 0) & (pairs["best_of_other"] == 0) & (pairs["confidence"] >= match.propose)
    return pairs.filter(chosen).select(c.ITEM_ID, OTHER_ITEM_ID, "confidence")


def as_links(items: ir.Table, proposed: ir.Table) -> ir.Table:
    """Proposed pairs in the form of ``read_links``."""
    for side, name in ((LEFT, c.ITEM_ID), (RIGHT, OTHER_ITEM_ID)):
        end = {name: items[c.ITEM_ID], side: items[c.PLATFORM_ITEM_ID], f"{side}_{c.PLATFORM}": items[c.PLATFORM]}
        proposed = proposed.inner_join(items.select(**end), name)
    return proposed.select(LEFT, f"{LEFT}_{c.PLATFORM}", RIGHT, f"{RIGHT}_{c.PLATFORM}")
