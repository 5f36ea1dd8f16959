"""recommend.rules as arrays: which items may be recommended, which of them to each user, and how lists are filled."""

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
LANGUAGES = "languages"
FACTOR = "factor"
LISTED = pa.schema([pa.field(c.ITEM_ID, pa.string(), nullable=False)])
FACTORS = pa.schema([*LISTED, pa.field(FACTOR, pa.float64(), nullable=False)])
PLACES = "places_kept_out"
SHORT = "short_lists"
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class CandidatePool:
    """The target items that a list may hold, and the rules that fill one."""

    items: Ints
    """Those items' indices, sorted; int64 (C,)."""
    number: Ints
    """For each item of the catalogue, its index in ``items``; −1 where it is not a candidate."""
    filters: tuple[str, ...]
    """The names of the rules that apply to all users."""
    failing: Ints
    """For each target item, the index of the first filter that removes it; −1 for none."""
    barred: Ragged
    """The items that may not be shown to each user again."""
    rules: ListRules
    groups: Mapping[str, list[str]]
    """By cap, the names of its groups."""
    missing: Counter[str] = field(default_factory=Counter)
    """How many items each of the other rules has removed from lists so far."""
    short: list[int] = field(default_factory=list)
    """For each chunk, how many lists have fewer than k items."""

    def lists(self, chunk: Chunk, users: Ints) -> RuledLists:
        """The lists of a chunk's users, whose scores are not changed; counts what the rules removed."""
        chunk_users = users[chunk.begin : chunk.begin + len(chunk.scores)]
        ruled = self.rules.lists(chunk.scores, cells(self.barred.take(chunk_users), self.number))
        self.missing.update(ruled.missing)
        self.short.append(int(((ruled.columns >= 0).sum(dim=1) < self.rules.k).sum()))
        return ruled

    def take_counts(self) -> dict[str, Any]:
        """The counts of what the rules removed from lists since the last call."""
        counts = {PLACES: dict(self.missing), SHORT: sum(self.short)}
        self.missing.clear()
        self.short.clear()
        return counts

    def summary(self, counts: Iterable[Mapping[str, Any]]) -> dict[str, object]:
        """What the rules removed: target items by the filters, places in lists by the other rules."""
        items = {name: int((self.failing == index).sum()) for index, name in enumerate(self.filters)}
        places, short = Counter[str](), 0
        for part in counts:
            places.update(part[PLACES])
            short += part[SHORT]
        return {"items_kept_out": items, PLACES: dict(places), SHORT: short}


def load_candidate_pool(
    config: Recommend, dataset: Dataset, barred: Ragged, fused: FusedModel, report: Reporter
) -> CandidatePool:
    """Read the rules' files, and keep only what may be recommended.

    Raises:
        InputError: if a file cannot be used, or nothing may be recommended.
    """
    rules, target = config.rules, dataset.target_items
    passes = _filters(config, dataset, target, report)
    failing = first_failing(passes, len(target))
    items = target[failing < 0]
    if not len(items):
        kept_out = ", ".join(f"{name} {(failing == index).sum():,}" for index, name in enumerate(passes))
        raise InputError(f"{KEY}: no target item is left to recommend; kept out: {kept_out}")
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


def bought_lately(histories: Ragged, earlier: Ragged, times: pa.ChunkedArray, days: float) -> Ragged:
    """Interactions of the last so many days before the newest time in the data, all later ones, and dislikes.

    Args:
        histories: of all users; each begins with the same user's ``earlier``.
        earlier: the interactions of the data, perhaps of fewer users.
        times: the time of each of these; where it is missing, the interaction counts as recent.
        days: how many days.
    """
    timestamps = times.to_numpy()
    earlier_ages = (np.datetime64(pc.max(times).as_py()) - timestamps) / DAY
    position = np.arange(len(histories.values)) - np.repeat(histories.starts, histories.lengths)
    earlier_lengths = np.zeros_like(histories.lengths)
    earlier_lengths[: len(earlier.lengths)] = earlier.lengths
    age_days = np.zeros(len(histories.values))
    age_days[position < np.repeat(earlier_lengths, histories.lengths)] = earlier_ages
    return histories.where(~(age_days > days) | ~histories.liked)


def _filters(config: Recommend, dataset: Dataset, target: Ints, report: Reporter) -> dict[str, Bools]:
    """For each rule that applies to all users, which target items pass it."""
    rules, passes = config.rules, {}
    if config.languages:
        spoken = pc.take(dataset.items[c.LANGUAGE], target)
        passes[LANGUAGES] = pc.is_in(spoken, pa.array(config.languages, pa.string())).to_numpy()
        passes[LANGUAGES] |= spoken.is_null().to_numpy()
    for name, path, keeps_named in (
        ("in_stock", rules.in_stock, True),
        ("allow", rules.allow, True),
        ("block", rules.block, False),
    ):
        if path:
            indices, _ = _named_items(name, path, LISTED, dataset, report)
            named = np.zeros(dataset.items.num_rows, bool)
            named[indices] = True
            passes[name] = named[target] == keeps_named
    if rules.price != PriceRange():
        prices = pc.take(dataset.items[c.PRICE], target).to_numpy()
        low, high = rules.price.min, rules.price.max
        passes["price"] = (prices >= (0 if low is None else low)) & (prices <= (np.inf if high is None else high))
    return passes


def _named_items(name: str, path: str, schema: pa.Schema, dataset: Dataset, report: Reporter) -> tuple[Ints, pa.Table]:
    """The items of a rule's file, as indices, and its rows; unknown ids are counted in a warning and skipped."""
    table = read_file(Path(path), f"{KEY}.{name}", schema)
    indices = parquet.row_indices(table[c.ITEM_ID], dataset.items[c.ITEM_ID])
    if unknown := int((indices < 0).sum()):
        report.warn(f"{KEY}.{name}: {unknown:,} of {len(indices):,} items are not in the data")
    return indices[indices >= 0], table.filter(pa.array(indices >= 0))


def _boost(path: str, dataset: Dataset, items: Ints, report: Reporter) -> Tensor:
    """The term added to the candidates' logits, which multiplies the odds by the file's factors."""
    indices, table = _named_items("boosts", path, FACTORS, dataset, report)
    factors, source = table[FACTOR].to_numpy(), f"{KEY}.boosts: {path}"
    ids = table[c.ITEM_ID].to_pylist()
    for item, factor in zip(ids, factors.tolist(), strict=True):
        if not 0 < factor < np.inf:
            raise InputError(f"{source}: {item}: the factor {factor:g} is not above 0 and finite")
    if len(repeated := np.flatnonzero(np.bincount(indices) > 1)):
        raise InputError(f"{source}: {dataset.items[c.ITEM_ID][int(repeated[0])]} is in the file more than once")
    log_factor = np.zeros(dataset.items.num_rows, np.float32)
    log_factor[indices] = np.log(factors)
    return torch.from_numpy(log_factor[items])


def _directions(fused: FusedModel, items: Ints) -> Tensor:
    """The candidates' text vectors, rows of length 1; (C, r).

    Raises:
        ConfigError: if texts are not among the scorers.
    """
    if fused.text_vectors is None:
        raise ConfigError([f"{KEY}.diversity: compares texts; put 'text' among interest.scorers, or remove the rule"])
    return torch.from_numpy(fused.text_vectors[items])


def _caps(
    config: Recommend, dataset: Dataset, items: Ints, report: Reporter
) -> tuple[dict[str, Cap], dict[str, list[str]]]:
    """The caps over the candidates, and their groups' names."""
    caps, group_names = {}, {}
    label_functions = {"per_category": _categories, "per_brand": _brands}
    for name, limit in (("per_category", config.rules.per_category), ("per_brand", config.rules.per_brand)):
        if limit is None:
            continue
        labels_of_items = label_functions[name](dataset, items).combine_chunks().dictionary_encode()
        codes = torch.from_numpy(pc.fill_null(labels_of_items.indices, -1).to_numpy().astype(np.int64))
        caps[name], group_names[name] = Cap(codes, limit), labels_of_items.dictionary.to_pylist()
        kind = name.removeprefix("per_")
        if not group_names[name]:
            report.warn(f"{KEY}.{name}: no target item has a {kind}; the rule does nothing")
        elif (longest := caps[name].longest()) < config.k:
            report.warn(f"{KEY}.{name}: lists end at {longest:,} items, as there is no other {kind}")
    return caps, group_names


def _categories(dataset: Dataset, items: Ints) -> pa.ChunkedArray:
    """Each candidate's category, cut at the highest level at which target items differ."""
    column = dataset.items[c.CATEGORY]
    categories = pc.unique(pc.drop_null(pc.take(column, dataset.target_items))).to_pylist()
    levels = zip(*(path.split(c.PATH) for path in categories), strict=False)
    level = sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels)) + 1
    shortened = {path: c.PATH.join(path.split(c.PATH)[:level]) for path in categories}
    return pa.chunked_array([pa.array(map(shortened.get, pc.take(column, items).to_pylist()), pa.string())])


def _brands(dataset: Dataset, items: Ints) -> pa.ChunkedArray:
    return pc.take(dataset.items[c.BRAND], items)
