"""Answers requests from one set of artifacts in memory, and replaces it when newer artifacts are there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import ADDITIONS, FUSION, INTERACTIONS, RECOMMEND, SEARCH, TAG_NAMES
from crossrec_cli.artifacts.store import CURRENT, MANIFEST, Artifact, checked, read_manifest
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import CrossrecError, InputError
from crossrec_cli.models.ragged import Ints
from crossrec_cli.pipeline.current import inputs_of, up_to_date
from crossrec_cli.pipeline.table import BY_NAME
from crossrec_cli.ranking.recommender import Recommender, RequestBatch
from crossrec_cli.ranking.similar_items import SimilarItems
from crossrec_cli.ranking.why_not import kept_out
from crossrec_cli.runtime.progress import Reporter
from crossrec_cli.serving.event_store import Events

if TYPE_CHECKING:
    from crossrec_cli.ranking.searcher import Searcher

REASONS = 3
"""How many history items explain an answer if ``recommend.reasons`` is 0."""
CHECK_SECONDS = 2.0
"""Seconds between two checks for newer artifacts."""
MAX_RETRY_SECONDS = 30.0
"""After each failure the pause doubles, up to this: every attempt reads all files."""
_ONE: Final = np.zeros(1, np.int64)
Row = dict[str, Any]


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

    def recommend(self, user: str, since: Sequence[str], tags: Sequence[str], k: int) -> list[Row]:
        """The user's list, best first: rows of ``schemas.RECOMMENDATIONS``, with reasons if the config has them."""
        rows: list[Row] = self._list(self._batch(user, since, tags, k)).drop_columns([c.USER_ID]).to_pylist()
        return rows

    def explain(self, user: str, since: Sequence[str], tags: Sequence[str], k: int, item: str) -> Row:
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

    def search(self, query: str, user: str | None, since: Sequence[str], k: int) -> list[Row]:
        """A query's results, best first: rows of ``schemas.FOUND``.

        Raises:
            LookupError: if the run has no search index.
        """
        if self.searcher is None:
            raise LookupError
        if not query.strip():
            return []
        user_in_data = user if user in self.users else None
        with self._one_query:
            results = self.searcher.search(query, user_in_data, [item for item in since if item in self.items], k)
        rows: list[Row] = results.drop_columns([c.QUERY, c.USER_ID]).to_pylist()
        return rows

    def has_interactions(self, user: str, items: Sequence[str]) -> list[bool]:
        """For each item, whether the data have an interaction of the user with it."""
        index = self.users.get(user)
        if index is None:
            return [False] * len(items)
        history = set(self.recommender.earlier.histories.items.take(np.array([index])).values.tolist())
        return [self.items.get(item) in history for item in items]

    def _batch(self, user: str, since: Sequence[str], tags: Sequence[str], k: int) -> RequestBatch:
        return self.recommender.one(
            user, self.users.get(user, -1), _indices(since, self.items), _indices(tags, self.tags), k
        )

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
    """The current ``Live``, replaced when newer artifacts are there, and the events since the data were read."""

    def __init__(self, config: Config, exported: Artifact | None, report: Reporter, events: Events) -> None:
        self.config, self.exported, self.report, self.events = config, exported, report, events
        self._loaded = self._identity()
        self.live = Live(config, exported, report)
        self.events.follow(self.live.data_sha256, self.live.has_interactions)
        self.swaps = {"done": 0, "failed": 0}
        self._problem = ""
        """Why the last check failed; empty if it did not."""
        self._stopped = threading.Event()

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
