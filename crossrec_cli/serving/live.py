"""Answers requests from one set of artifacts in memory, and replaces it when newer artifacts are there."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import ADDITIONS, FUSION, INTERACTIONS, RECOMMEND, SEARCH, TAG_NAMES
from crossrec_cli.artifacts.store import CURRENT, MANIFEST, Artifact, checked, read_manifest
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import CrossrecError, InputError, UnavailableError
from crossrec_cli.models.ragged import Ints, Weights
from crossrec_cli.pipeline.current import inputs_of, up_to_date
from crossrec_cli.pipeline.table import BY_NAME
from crossrec_cli.ranking.recommender import Recommender, RequestBatch
from crossrec_cli.ranking.similar_items import SimilarItems
from crossrec_cli.ranking.why_not import kept_out
from crossrec_cli.runtime.progress import Reporter
from crossrec_cli.serving.event_store import Events, UserEvent
from crossrec_cli.serving.exploration import Row, explored
from crossrec_cli.serving.impression_log import ImpressionLog

if TYPE_CHECKING:
    from crossrec_cli.ranking.searcher import Searcher

REASONS = 3
"""How many history items explain an answer if ``recommend.reasons`` is 0."""
CHECK_SECONDS = 2.0
"""Seconds between two checks for newer artifacts."""
MAX_RETRY_SECONDS = 30.0
"""After each failure the pause doubles, up to this: every attempt reads all files."""
LEAST_WEIGHT = 1e-6
"""Of an event, however old: a weight is above 0."""
_ONE: Final = np.zeros(1, np.int64)


class WeightedItem(NamedTuple):
    """An item of an event since the data were read."""

    item: str
    weight: float
    """How much it counts, relative to a purchase of the data; below 0: a dislike."""


class Live:
    """Answers from one set of artifacts. It never changes, so any number of threads may use it."""

    def __init__(self, config: Config, exported: Artifact | None, report: Reporter) -> None:
        """Load all artifacts.

        Args:
            config: the whole config.
            exported: an export to serve instead of the run.
            report: gets warnings, also on why there is no search.
        """
        inputs = inputs_of(config, RECOMMEND, report, exported)
        self.recommender = Recommender(config, inputs, report)
        self.similar_items = SimilarItems(self.recommender)
        self.model_id = read_manifest(inputs[FUSION].parent / MANIFEST).id
        folder = inputs[INTERACTIONS].parent
        self.data_sha256 = Artifact(folder, read_manifest(folder / MANIFEST)).sha256(INTERACTIONS)
        self.why = replace(self.recommender.why, most=config.recommend.reasons or REASONS)
        dataset = self.recommender.dataset
        self.users, self.items = (
            {name: index for index, name in enumerate(column.to_pylist()) if name is not None}
            for column in (dataset.users[c.USER_ID], dataset.items[c.ITEM_ID])
        )
        self.tags = {name: index for index, name in enumerate(parquet.read_table(inputs[TAG_NAMES])[c.TAG].to_pylist())}
        self.searcher = None if exported else _searcher(config, self.recommender, report)
        self._one_query = threading.Lock()  # a tokenizer is not safe in several threads

    def recommend(self, user: str, since: Sequence[WeightedItem], tags: Sequence[str], k: int) -> list[Row]:
        """The user's list, best first: rows of ``schemas.RECOMMENDATIONS``, with reasons if the config has them."""
        rows: list[Row] = self._list(self._batch(user, since, tags, k)).drop_columns([c.USER_ID]).to_pylist()
        return rows

    def explain(self, user: str, since: Sequence[WeightedItem], tags: Sequence[str], k: int, item: str) -> Row:
        """Why an item is, or is not, in the user's list: a row of ``schemas.WHY`` with ``score`` and ``place``.

        Raises:
            InputError: if there is no such item.
        """
        if item not in self.items:
            raise InputError(f"no item '{item}' in the data")
        request_batch = self._batch(user, since, tags, k)
        item_index = np.array([[self.items[item]]])
        why = replace(self.why, histories=request_batch.dataset.histories)
        row: Row = why.of_lists(_ONE, item_index, np.ones((1, 1), bool)).to_pylist()[0]
        total = sum(row[part] for part in (c.FROM_SOURCE, c.FROM_TARGET, c.FROM_SALES, c.FROM_REST))
        users_list, index = self._list(request_batch), self.users.get(user, -1)
        rank_or_rule = kept_out(self.recommender, request_batch, 0, index, users_list, item)
        return {c.SCORE: float(torch.sigmoid(torch.tensor(total))), "place": rank_or_rule} | row

    def similar(self, item: str, k: int) -> list[Row]:
        """The items that an item's buyers are likely to buy, best first: rows of ``schemas.SIMILAR``.

        Raises:
            InputError: if there is no such item.
        """
        if item not in self.items:
            raise InputError(f"no item '{item}' in the data")
        (table,) = self.similar_items.lists(np.array([self.items[item]]), k)
        rows: list[Row] = table.drop_columns([c.ITEM_ID]).to_pylist()
        return rows

    def search(self, query: str, user: str | None, since: Sequence[WeightedItem], k: int) -> list[Row]:
        """A query's results, best first: rows of ``schemas.FOUND``.

        Raises:
            LookupError: if the run has no search index.
        """
        if self.searcher is None:
            raise LookupError
        if not query.strip():
            return []
        user_in_data = user if user in self.users else None
        items, weights = self._known(since)
        with self._one_query:
            results = self.searcher.search(query, user_in_data, items, k, weights)
        rows: list[Row] = results.drop_columns([c.QUERY, c.USER_ID]).to_pylist()
        return rows

    def has_interactions(self, user: str, events: Sequence[UserEvent]) -> list[bool]:
        """For each event, whether the data have one of the user that says the same of the item."""
        index = self.users.get(user)
        if index is None:
            return [False] * len(events)
        history = self.recommender.earlier.histories.items.take(np.array([index]))
        opinions = set(zip(history.values.tolist(), history.liked.tolist(), strict=True))
        return [(self.items.get(event.item), not event.disliked) in opinions for event in events]

    def _batch(self, user: str, since: Sequence[WeightedItem], tags: Sequence[str], k: int) -> RequestBatch:
        items, weights = self._known(since)
        indices = _indices(items, self.items), _indices(tags, self.tags)
        return self.recommender.one(user, self.users.get(user, -1), *indices, k, weights)

    def _known(self, since: Sequence[WeightedItem]) -> tuple[list[str], Weights]:
        """The items that are in the data, and their weights, float32."""
        known = [one for one in since if one.item in self.items]
        return [one.item for one in known], np.array([one.weight for one in known], np.float32)

    def _list(self, request_batch: RequestBatch) -> pa.Table:
        (table,) = self.recommender.lists_of(request_batch, _ONE)
        return table


def _indices(names: Sequence[str], index_of: Mapping[str, int]) -> Ints:
    """The indices of names, int64; unknown names are skipped."""
    return np.array([index_of[name] for name in names if name in index_of], np.int64)


def _searcher(config: Config, recommender: Recommender, report: Reporter) -> Searcher | None:
    """The searcher; None, with a warning, if ``crossrec search`` has not made an index of these artifacts."""
    try:
        index = up_to_date(config, SEARCH, report)
        from crossrec_cli.ranking.searcher import Searcher  # noqa: PLC0415  transformers takes a moment to import

        return Searcher.load(config, inputs_of(config, SEARCH, report), index.path, recommender)
    except CrossrecError as error:
        report.warn(f"/search answers 503: {error}")
        return None


class Service:
    """The current ``Live``, replaced when newer artifacts are there, with the events since the data and a log."""

    def __init__(
        self,
        config: Config,
        exported: Artifact | None,
        report: Reporter,
        events: Events,
        impressions: ImpressionLog | None = None,
        seed: int | None = None,
    ) -> None:
        """Load the artifacts.

        Args:
            config: the whole config.
            exported: an export to serve instead of the run.
            report: gets messages.
            events: since the data were read.
            impressions: where lists are logged; None: nowhere.
            seed: of ``serve.explore``; None: another one in each process.
        """
        self.config, self.exported, self.report, self.events = config, exported, report, events
        self.impressions, self._chance, self.not_logged = impressions, Random(seed), 0
        self._loaded = self._identity()
        self.live = Live(config, exported, report)
        self.events.follow(self.live.data_sha256, self.live.has_interactions)
        self.swaps = {"done": 0, "failed": 0}
        self._problem = ""
        """Why the last check failed; empty if it did not."""
        self._stopped = threading.Event()

    def since(self, user: str, history: Sequence[tuple[str, float | None]] = ()) -> list[WeightedItem]:
        """A user's items since the data were read, oldest first.

        Args:
            user: the id.
            history: further items, and when each was, in seconds since 1970; None: now.
        """
        events = [*self.events.all_of(user), *(UserEvent(user, item, at) for item, at in history)]
        now, half_life = time.time(), self.config.serve.session_half_life_minutes or np.inf
        ages = [0.0 if event.time is None else max(now - event.time, 0.0) / 60 for event in events]
        return [
            WeightedItem(event.item, (-1 if event.disliked else 1) * max(0.5 ** (age / half_life), LEAST_WEIGHT))
            for event, age in zip(events, ages, strict=True)
        ]

    def shown(self, rows: list[Row], user: str | None, k: int, model: str) -> tuple[list[Row], str | None]:
        """A list as it is shown, and the id by which it is in the log.

        The answer does not depend on the log: where that cannot be written, the list has no id, and is counted.

        Args:
            rows: the list as it is ranked.
            user: who sees it; None: somebody without an id.
            k: how many items were asked for.
            model: the id of the model.
        """
        settings = self.config.serve
        shown = explored(rows, settings.explore, self._chance)
        rows = [item.row for item in shown]
        if self.impressions is None:
            return rows, None
        try:
            return rows, self.impressions.add(user, settings.variant or model, k, shown)
        except UnavailableError as error:
            if not self.not_logged:
                self.report.warn(f"{error}; crossrec_lists_not_logged counts the lists that are missing in the log")
            self.not_logged += 1
            return rows, None

    def refresh(self) -> bool:
        """Load newer artifacts if there are any; requests in progress end with the old ones.

        If they cannot be loaded, for example while a stage is being written, the old ones stay until a later check
        succeeds.

        Returns:
            Whether the newest artifacts are loaded now.
        """
        try:
            identity = self._identity()
            if identity == self._loaded:
                self._problem = ""
                return True
            exported = checked(self.exported.path) if self.exported else None
            live = Live(self.config, exported, self.report)
            self.events.follow(live.data_sha256, live.has_interactions)
        except Exception as error:
            self.swaps["failed"] += 1
            if str(error) != self._problem:
                self.report.warn(f"newer artifacts cannot be loaded yet: {error}")
            self._problem = str(error)
            return False
        self.live = live
        self._loaded, self._problem = identity, ""
        self.swaps["done"] += 1
        self.report.say(f"now serving {live.model_id}")
        return True

    def start(self) -> None:
        """Check for newer artifacts regularly, in a thread."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def stop(self) -> None:
        """Stop the checks."""
        self._stopped.set()

    def _watch(self) -> None:
        pause = CHECK_SECONDS
        while not self._stopped.wait(pause):
            pause = CHECK_SECONDS if self.refresh() else min(2 * pause, MAX_RETRY_SECONDS)

    def _identity(self) -> list[str]:
        """Identifies the artifacts on disk by a few links; it changes with every commit."""
        if self.exported:
            return [(self.exported.path / MANIFEST).read_text(encoding="utf-8")]
        stages = sorted({*BY_NAME[RECOMMEND].upstream, ADDITIONS, SEARCH})
        links = [self.config.run_path / stage / CURRENT for stage in stages]
        return [link.readlink().name if link.is_symlink() else "" for link in links]
