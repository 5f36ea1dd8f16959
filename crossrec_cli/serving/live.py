"""What answers requests: one set of artifacts in memory, and the newest one in its place as soon as it is there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

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
from crossrec_cli.ranking.searcher import Searcher
from crossrec_cli.ranking.why_not import kept_out
from crossrec_cli.runtime.progress import Reporter
from crossrec_cli.serving.event_store import Events

NAMED = 3
"""So many history items explain an answer, where the config names none."""
LOOK_EVERY = 2.0
"""Seconds between two looks for newer artifacts."""
RETRY_AT_LEAST_EVERY = 30.0
"""What cannot be loaded is tried again after twice as long each time, up to this: each try reads files through."""
_ONE: Final = np.zeros(1, np.int64)
Row = dict[str, Any]


class Live:
    """Answers from one set of artifacts. It is not changed once it is made, so any number of threads may ask it."""

    def __init__(self, config: Config, exported: Artifact | None, report: Reporter) -> None:
        """Load everything.

        Args:
            config: the whole config.
            exported: an export to serve in place of the run.
            report: told what is strange, and why there is no search if there is none.
        """
        inputs = inputs_of(config, RECOMMEND, report, exported)
        self.recommender = Recommender(config, inputs, report)
        self.model_id = read_manifest(inputs[FUSION].parent / MANIFEST).id
        self.data = Artifact(folder := inputs[INTERACTIONS].parent, read_manifest(folder / MANIFEST)).sha256(
            INTERACTIONS
        )
        self.why = replace(self.recommender.why, most=config.recommend.reasons or NAMED)
        dataset = self.recommender.dataset
        self.users, self.items = (
            {name: place for place, name in enumerate(column.to_pylist())}
            for column in (dataset.users[c.USER_ID], dataset.items[c.ITEM_ID])
        )
        self.tags = {name: place for place, name in enumerate(parquet.read_table(inputs[TAG_NAMES])[c.TAG].to_pylist())}
        self.searcher = None if exported else _searcher(config, self.recommender, report)
        self._one_query = threading.Lock()  # a tokenizer serves one thread at a time

    def recommend(self, user: str, since: Sequence[str], tags: Sequence[str], k: int) -> list[Row]:
        """The user's list, best first: rows of ``schemas.RECOMMENDATIONS``, with reasons where the config has them."""
        rows: list[Row] = self._list(self._party(user, since, tags, k)).drop_columns([c.USER_ID]).to_pylist()
        return rows

    def explain(self, user: str, since: Sequence[str], tags: Sequence[str], k: int, item: str) -> Row:
        """Why an item is, or is not, in the user's list, and what speaks for it: a row of ``schemas.WHY`` and more.

        Raises:
            InputError: if there is no such item.
        """
        if item not in self.items:
            raise InputError(f"no item '{item}' in the data")
        request_batch = self._party(user, since, tags, k)
        listed = np.array([[self.items[item]]])
        why = replace(self.why, histories=request_batch.dataset.histories)
        row: Row = why.of_lists(_ONE, listed, np.ones((1, 1), bool)).to_pylist()[0]
        total = sum(row[part] for part in (c.FROM_SOURCE, c.FROM_TARGET, c.FROM_SALES, c.FROM_REST))
        place = kept_out(self.recommender, request_batch, 0, self.users.get(user, -1), self._list(request_batch), item)
        return {c.SCORE: float(torch.sigmoid(torch.tensor(total))), "place": place} | row

    def search(self, query: str, user: str | None, since: Sequence[str], k: int) -> list[Row]:
        """What a query finds, best first: rows of ``schemas.FOUND``.

        Raises:
            LookupError: if the run has no search index.
        """
        if self.searcher is None:
            raise LookupError
        if not query.strip():
            return []
        known = user if user in self.users else None
        with self._one_query:
            found = self.searcher.search(query, known, [item for item in since if item in self.items], k)
        rows: list[Row] = found.drop_columns([c.QUERY, c.USER_ID]).to_pylist()
        return rows

    def held_already(self, user: str, items: Sequence[str]) -> list[bool]:
        """Of items, whether the data have it that a user did something with them."""
        at = self.users.get(user)
        if at is None:
            return [False] * len(items)
        held = set(self.recommender.earlier.histories.items.take(np.array([at])).values.tolist())
        return [self.items.get(item) in held for item in items]

    def _party(self, user: str, since: Sequence[str], tags: Sequence[str], k: int) -> RequestBatch:
        return self.recommender.one(
            user, self.users.get(user, -1), _places(since, self.items), _places(tags, self.tags), k
        )

    def _list(self, request_batch: RequestBatch) -> pa.Table:
        (table,) = self.recommender.lists_of(request_batch, _ONE)
        return table


def _places(names: Sequence[str], places: Mapping[str, int]) -> Ints:
    """Where names stand; those that are not known are passed over."""
    return np.array([places[name] for name in names if name in places], np.int64)


def _searcher(config: Config, recommender: Recommender, report: Reporter) -> Searcher | None:
    """None, and a warning, where ``crossrec search`` has not made an index of these artifacts."""
    try:
        made = up_to_date(config, SEARCH, report)
        return Searcher.load(config, inputs_of(config, SEARCH, report), made.path, recommender)
    except CrossrecError as error:
        report.warn(f"/search answers 503: {error}")
        return None


class Service:
    """Holds what answers now, and what happened since the data were read."""

    def __init__(self, config: Config, exported: Artifact | None, report: Reporter, events: Events) -> None:
        self.config, self.exported, self.report, self.events = config, exported, report, events
        self._seen = self._identity()
        self.live = Live(config, exported, report)
        self.swaps = {"done": 0, "failed": 0}
        self._problem = ""
        """What the last look failed for."""
        self._stopped = threading.Event()

    def look(self) -> bool:
        """Where newer artifacts are there, load them; requests under way end with the old ones.

        While a stage is being made anew, or is damaged, what was loaded before goes on answering, and the next look
        tries again.

        Returns:
            Whether the newest artifacts answer now.
        """
        try:
            now = self._identity()
            if now == self._seen:
                self._problem = ""
                return True
            exported = checked(self.exported.path) if self.exported else None
            live = Live(self.config, exported, self.report)
        except Exception as error:
            self.swaps["failed"] += 1
            if str(error) != self._problem:
                self.report.warn(f"the newer artifacts are not served yet: {error}")
            self._problem = str(error)
            return False
        before, self.live = self.live, live
        self._seen, self._problem = now, ""
        if live.data != before.data:
            self.events.forget(live.held_already)
        self.swaps["done"] += 1
        self.report.say(f"now serving {live.model_id}")
        return True

    def start(self) -> None:
        """Look again and again, in a thread of its own."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def stop(self) -> None:
        """Have that end."""
        self._stopped.set()

    def _watch(self) -> None:
        pause = LOOK_EVERY
        while not self._stopped.wait(pause):
            pause = LOOK_EVERY if self.look() else min(2 * pause, RETRY_AT_LEAST_EVERY)

    def _identity(self) -> list[str]:
        """What stands on the disk now; it changes with every commit, for the price of reading a few links."""
        if self.exported:
            return [(self.exported.path / MANIFEST).read_text(encoding="utf-8")]
        stages = sorted({*BY_NAME[RECOMMEND].upstream, ADDITIONS, SEARCH})
        links = [self.config.run_path / stage / CURRENT for stage in stages]
        return [link.readlink().name if link.is_symlink() else "" for link in links]
