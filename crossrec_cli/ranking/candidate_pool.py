"""recommend.rules as arrays: what may be recommended at all, what to whom, and how lists are filled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.config.list_fields import PriceRange, Recommend
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.ragged import Bools, Ints, Ragged, numbered
from crossrec_cli.ranking.shop_rules import Cap, ListRules, RuledLists, first_failing
from crossrec_cli.ranking.topk import Chunk, cells
from crossrec_cli.runtime.progress import Reporter

KEY = "recommend.rules"
FACTOR = "factor"
LISTED = pa.schema([pa.field(c.ITEM_ID, pa.string(), nullable=False)])
FACTORS = pa.schema([*LISTED, pa.field(FACTOR, pa.float64(), nullable=False)])
PATH = " > "
PLACES = "places_kept_out"
SHORT = "short_lists"
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class CandidatePool:
    """The target items that a list may hold, and the rules that fill one."""

    items: Ints
    """Those items' indices, sorted; int64 (C,)."""
    number: Ints
    """For each item of the catalogue its place among those, −1 where it is none of them."""
    filters: tuple[str, ...]
    """The rules that meet all users alike."""
    failing: Ints
    """For each target item the place of the filter that keeps it out, −1 for none."""
    barred: Ragged
    """What each user may not be shown again."""
    rules: ListRules
    groups: Mapping[str, list[str]]
    """The names of what caps count."""
    missing: Counter[str] = field(default_factory=Counter)
    """How often each of the other rules kept an item out of a list so far."""
    short: list[int] = field(default_factory=list)
    """How many lists of each chunk have fewer than k items."""

    def lists(self, chunk: Chunk, users: Ints) -> RuledLists:
        """The lists of a chunk's users, whose scores stand as they are; what kept others out is counted."""
        of_chunk = users[chunk.begin : chunk.begin + len(chunk.scores)]
        found = self.rules.lists(chunk.scores, cells(self.barred.take(of_chunk), self.number))
        self.missing.update(found.missing)
        self.short.append(int(((found.places >= 0).sum(dim=1) < self.rules.k).sum()))
        return found

    def taken(self) -> dict[str, Any]:
        """What the rules kept out of lists since this was last asked."""
        found = {PLACES: dict(self.missing), SHORT: sum(self.short)}
        self.missing.clear()
        self.short.clear()
        return found

    def summary(self, taken: Iterable[Mapping[str, Any]]) -> dict[str, object]:
        """What the rules kept out: target items by the filters, places in lists by the others."""
        items = {name: int((self.failing == place).sum()) for place, name in enumerate(self.filters)}
        places, short = Counter[str](), 0
        for part in taken:
            places.update(part[PLACES])
            short += part[SHORT]
        return {"items_kept_out": items, PLACES: dict(places), SHORT: short}


def load_candidate_pool(
    config: Recommend, dataset: Dataset, barred: Ragged, fused: FusedModel, report: Reporter
) -> CandidatePool:
    """Read the rules' files, and leave only what may be recommended.

    Raises:
        InputError: if a file cannot be used, or nothing may be recommended.
    """
    rules, target = config.rules, dataset.target_items
    passes = _filters(config, dataset, target, report)
    failing = first_failing(passes, len(target))
    items = target[failing < 0]
    if not len(items):
        taken = ", ".join(f"{name} {(failing == place).sum():,}" for place, name in enumerate(passes))
        raise InputError(f"{KEY}: no target item is left to recommend; kept out: {taken}")
    caps, groups = _caps(config, dataset, items, report)
    new = torch.from_numpy(dataset.histories.item_stats.popularity[items] == 0)
    if rules.new_items and not new.any():
        report.warn(f"{KEY}.new_items: no target item is new; data.min_interactions.item: 0 keeps what nobody bought")
    return CandidatePool(
        items,
        numbered(items, dataset.items.num_rows),
        tuple(passes),
        failing,
        barred,
        ListRules(
            k=config.k,
            probability=torch.sigmoid,
            min_score=rules.min_score,
            boost=_boost(rules.boosts, dataset, items, report) if rules.boosts else None,
            caps=caps,
            diversity=rules.diversity or 0.0,
            texts=_directions(fused, items) if rules.diversity else None,
            new=new if rules.new_items else None,
            new_items=rules.new_items or 0,
        ),
        groups,
    )


def bought_lately(histories: Ragged, known: Ragged, times: pa.ChunkedArray, days: float) -> Ragged:
    """What users did in the last so many days before the newest time in the data, or since.

    Args:
        histories: everybody's, which begin with what is known.
        known: what stands in the data, of fewer users perhaps.
        times: when each of it happened; where that is missing it counts as lately.
        days: how many.
    """
    when = times.to_numpy()
    age = (np.datetime64(pc.max(times).as_py()) - when) / DAY
    place = np.arange(len(histories.values)) - np.repeat(histories.starts, histories.lengths)
    length = np.zeros_like(histories.lengths)
    length[: len(known.lengths)] = known.lengths
    ages = np.zeros(len(histories.values))
    ages[place < np.repeat(length, histories.lengths)] = age
    return histories.where(~(ages > days))


def _filters(config: Recommend, dataset: Dataset, target: Ints, report: Reporter) -> dict[str, Bools]:
    """Which target items pass each of the rules that meet all users alike."""
    rules, passes = config.rules, {}
    for name, path, wanted in (
        ("in_stock", rules.in_stock, True),
        ("allow", rules.allow, True),
        ("block", rules.block, False),
    ):
        if path:
            places, _ = _named_items(name, path, LISTED, dataset, report)
            named = np.zeros(dataset.items.num_rows, bool)
            named[places] = True
            passes[name] = named[target] == wanted
    if rules.price != PriceRange():
        prices = pc.take(dataset.items[c.PRICE], target).to_numpy()
        low, high = rules.price.min, rules.price.max
        passes["price"] = (prices >= (0 if low is None else low)) & (prices <= (np.inf if high is None else high))
    return passes


def _named_items(name: str, path: str, schema: pa.Schema, dataset: Dataset, report: Reporter) -> tuple[Ints, pa.Table]:
    """The items that a rule's file names, as indices, and its rows; ids that the data lack are told and left out."""
    table = read_file(Path(path), f"{KEY}.{name}", schema)
    places = parquet.places(table[c.ITEM_ID], dataset.items[c.ITEM_ID])
    if unknown := int((places < 0).sum()):
        report.warn(f"{KEY}.{name}: {unknown:,} of {len(places):,} items are not in the data")
    return places[places >= 0], table.filter(pa.array(places >= 0))


def _boost(path: str, dataset: Dataset, items: Ints, report: Reporter) -> Tensor:
    """What is added to the candidates' logits, so that the odds of the probability are multiplied by the factors."""
    places, table = _named_items("boosts", path, FACTORS, dataset, report)
    factors, where = table[FACTOR].to_numpy(), f"{KEY}.boosts: {path}"
    ids = table[c.ITEM_ID].to_pylist()
    for item, factor in zip(ids, factors.tolist(), strict=True):
        if not 0 < factor < np.inf:
            raise InputError(f"{where}: {item}: the factor {factor:g} is not above 0 and finite")
    if len(twice := np.flatnonzero(np.bincount(places) > 1)):
        raise InputError(f"{where}: {dataset.items[c.ITEM_ID][int(twice[0])]} stands there more than once")
    log_factor = np.zeros(dataset.items.num_rows, np.float32)
    log_factor[places] = np.log(factors)
    return torch.from_numpy(log_factor[items])


def _directions(fused: FusedModel, items: Ints) -> Tensor:
    """What the candidates' texts say, rows of length 1; (C, r).

    Raises:
        ConfigError: if texts are not among the scorers.
    """
    if fused.text_vectors is None:
        raise ConfigError([f"{KEY}.diversity: compares texts; put 'text' among interest.scorers, or leave it out"])
    return torch.from_numpy(fused.text_vectors[items])


def _caps(
    config: Recommend, dataset: Dataset, items: Ints, report: Reporter
) -> tuple[dict[str, Cap], dict[str, list[str]]]:
    """The caps over the candidates, and their groups' names."""
    caps, names = {}, {}
    labels = {"per_category": _categories, "per_brand": _brands}
    for name, most in (("per_category", config.rules.per_category), ("per_brand", config.rules.per_brand)):
        if most is None:
            continue
        group = labels[name](dataset, items).combine_chunks().dictionary_encode()
        codes = torch.from_numpy(pc.fill_null(group.indices, -1).to_numpy().astype(np.int64))
        caps[name], names[name] = Cap(codes, most), group.dictionary.to_pylist()
        kind = name.removeprefix("per_")
        if not names[name]:
            report.warn(f"{KEY}.{name}: no target item has a {kind}; the rule does nothing")
        elif (room := caps[name].room()) < config.k:
            report.warn(f"{KEY}.{name}: lists end at {room:,} items, as there is no other {kind}")
    return caps, names


def _categories(dataset: Dataset, items: Ints) -> pa.ChunkedArray:
    """Each candidate's category, cut at the widest level at which target items differ."""
    column = dataset.items[c.CATEGORY]
    every = pc.unique(pc.drop_null(pc.take(column, dataset.target_items))).to_pylist()
    levels = zip(*(path.split(PATH) for path in every), strict=False)
    level = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels)) + 1
    cut = {path: PATH.join(path.split(PATH)[:level]) for path in every}
    return pa.chunked_array([pa.array(map(cut.get, pc.take(column, items).to_pylist()), pa.string())])


def _brands(dataset: Dataset, items: Ints) -> pa.ChunkedArray:
    return pc.take(dataset.items[c.BRAND], items)
