"""Makes lists: loaded once, then used for some users at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.config.list_fields import Rules
from crossrec_cli.config.schema import Config
from crossrec_cli.data.ids import as_ids
from crossrec_cli.errors import InputError
from crossrec_cli.models.dataset import Dataset, load_dataset, load_fused
from crossrec_cli.models.domain_parts import PartedScorer, PartedUsers
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.histories import Histories
from crossrec_cli.models.ragged import Ints, Ragged, Weights
from crossrec_cli.ranking.candidate_pool import CandidatePool, bought_lately, load_candidate_pool
from crossrec_cli.ranking.history_updates import UpdatedDataset, followed_by
from crossrec_cli.ranking.reasons import Why
from crossrec_cli.ranking.topk import Chunk, chunks, top_k
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Advance, Reporter

ALL_USERS = "all"
"""Instead of ids: all users."""


class RequestBatch(NamedTuple):
    """Users who get lists together."""

    dataset: Dataset
    """With all of their interactions."""
    pool: CandidatePool
    """With the items that may not be shown to each of them again."""


class Recommender:
    """Makes lists of the best k target items that the rules allow, from each user's whole history."""

    def __init__(self, config: Config, inputs: Mapping[str, Path], report: Reporter) -> None:
        """Load the model, the users and the rules.

        Args:
            config: the whole config.
            inputs: the files that recommend reads.
            report: gets warnings about the files that the config names.
        """
        self.config, self.inputs, chosen = config, inputs, config.recommend
        device.prepare(config.runtime)
        self.updated = UpdatedDataset.of(config, inputs, load_dataset(inputs), report)
        self.earlier, self.dataset = self.updated.earlier, self.updated.dataset
        self.fused = load_fused(inputs, config.interest)
        self.pool = candidate_pool_of(config, inputs, self.updated, self.fused, report)
        self.with_rules = chosen.rules != Rules() or bool(chosen.languages) or not self._bars_all_seen
        self.scorer = self.fused.candidate_scorer(self.pool.items)
        self.why = Why.of(self.fused, self.dataset, chosen.reasons, config.report.language)
        self.schema = pa.schema([*schemas.RECOMMENDATIONS, *(schemas.WHY if chosen.reasons else ())])

    def with_pool(self, pool: CandidatePool) -> Recommender:
        """The same, with other rules."""
        other = copy(self)
        other.pool = pool
        return other

    @property
    def _bars_all_seen(self) -> bool:
        """Whether exactly what is in a history, or nothing, may not be shown."""
        return self.config.recommend.exclude_seen == self.config.recommend.exclude_disliked

    def users(self, named: Sequence[str], option: str) -> Ints:
        """The indices of users, int64, in the order of the ids.

        Raises:
            InputError: if one of them is not in the data; ``option`` names the option with the id.
        """
        ids = as_ids(named, option)
        indices = parquet.row_indices(pa.chunked_array([ids]), self.dataset.users[c.USER_ID])
        if (indices < 0).any():
            user = ids[int((indices < 0).argmax())]
            rules = "data.clean and data.min_interactions may have removed it"
            raise InputError(f"{option}: no user '{user}' in the data; {rules}; a user of recommend.events gets a list")
        return indices

    def chosen_users(self) -> Ints:
        """Indices of the users that ``recommend.users`` names, in the users table's order.

        Raises:
            InputError: if one of them is not in the data.
        """
        named = self.config.recommend.users
        if named == (ALL_USERS,):
            return self.dataset.known_users
        return np.unique(self.users(named, "recommend.users"))

    def lists(self, users: Ints, advance: Advance | None = None) -> Iterator[pa.Table]:
        """Rows of ``schemas.RECOMMENDATIONS``, some users at a time, with reasons where the config has them.

        Args:
            users: indices, int64.
            advance: gets the number of users listed since the last call.
        """
        return self.lists_of(RequestBatch(self.dataset, self.pool), users, advance)

    def one(
        self, user: str, at: int, since: Ints, tags: Ints, k: int, since_weights: Weights | None = None
    ) -> RequestBatch:
        """A request batch of one user, with the newest events.

        Args:
            user: the id.
            at: the user's index in the data, −1 for a new user.
            since: items of the events since then, oldest first, int64; they count as bought just now. The newest
                opinion of an item is the one that counts.
            tags: of a new user, int64.
            k: how long the list is.
            since_weights: how much each of these events counts, float32, below 0 for a dislike; None: 1 each.
        """
        known_index, histories = np.array([at] if at >= 0 else [], np.int64), self.dataset.histories
        history, barred = histories.items.take(known_index), self.pool.barred.take(known_index).values
        newest = Ragged(since, np.array([len(since)]), since_weights)
        now = followed_by(history, newest)
        user_tags = histories.tags.take(known_index) if at >= 0 else Ragged(tags, np.array([len(tags)]))
        chosen = self.config.recommend
        barred_since = np.where(newest.liked, chosen.exclude_seen, chosen.exclude_disliked)
        barred = np.concatenate([barred, since[barred_since]])
        dataset = Dataset(
            self.dataset.items,
            pa.table({c.USER_ID: pa.array([user], pa.string())}),
            Histories(now, np.zeros(1, np.int64), user_tags, histories.item_stats),
        )
        pool = replace(
            self.pool,
            barred=Ragged(barred, np.array([len(barred)])),
            rules=replace(self.pool.rules, k=k),
            missing=Counter(),
            short=[],
        )
        return RequestBatch(dataset, pool)

    def lists_of(self, request_batch: RequestBatch, users: Ints, advance: Advance | None = None) -> Iterator[pa.Table]:
        """``lists`` for some users of a request batch."""
        histories, hide_seen = (
            request_batch.dataset.histories,
            self.config.recommend.exclude_seen and not self.with_rules,
        )
        lengths, scorer = histories.items.lengths[users], PartedScorer(self.scorer)
        for chunk in chunks(scorer, histories, users, lengths, self.pool.items, hide_seen, advance):
            best = (
                self._ruled(request_batch.pool, chunk, users)
                if self.with_rules
                else top_k(chunk, request_batch.pool.rules.k)
            )
            chunk_users = users[chunk.begin :][: len(chunk.scores)]
            yield self._rows(request_batch, chunk_users, *best, scorer.users).cast(self.schema)

    @staticmethod
    def _ruled(pool: CandidatePool, chunk: Chunk, users: Ints) -> tuple[Tensor, Tensor]:
        """The rules' lists in the form of ``top_k``: scores and columns (B, k), scores −inf where a list ends."""
        columns = pool.lists(chunk, users).columns
        scores = chunk.scores.gather(1, columns.clamp(min=0))
        return scores.masked_fill(columns < 0, -torch.inf), columns

    def _rows(
        self, request_batch: RequestBatch, users: Ints, scores: Tensor, columns: Tensor, parted: PartedUsers
    ) -> pa.Table:
        """Some users' lists (B, k) as rows, with their reasons."""
        shown = (scores > -np.inf).numpy()  # a user who has bought nearly everything gets a shorter list
        items = self.pool.items[columns.numpy()]
        listed, parts = items[shown], parted.parts(items, scores.numpy())
        values = {
            c.USER_ID: pc.take(
                request_batch.dataset.users[c.USER_ID], np.broadcast_to(users[:, None], shown.shape)[shown]
            ),
            c.RANK: np.broadcast_to(np.arange(1, shown.shape[1] + 1), shown.shape)[shown],
            c.ITEM_ID: pc.take(self.dataset.items[c.ITEM_ID], listed),
            c.SCORE: torch.sigmoid(scores).numpy()[shown],
            c.SOURCE_SHARE: pa.array(parts.source_share[shown], from_pandas=True),
            c.PRICE: pc.take(self.dataset.items[c.PRICE], listed),
            c.TEXT: pc.take(self.dataset.items[c.TEXT], listed),
        }
        if self.config.recommend.reasons:
            why = replace(self.why, histories=request_batch.dataset.histories)
            reasons = why.of_lists(users, items, shown, parted, parts)
            values |= dict(zip(reasons.column_names, reasons.columns, strict=True))
        return pa.table(values)


def candidate_pool_of(
    config: Config, inputs: Mapping[str, Path], updated: UpdatedDataset, fused: FusedModel, report: Reporter
) -> CandidatePool:
    """The items that may be recommended, and those that may not be shown to each user."""
    chosen, barred = config.recommend, updated.dataset.histories.items
    if chosen.exclude_seen and chosen.rules.rebuy_after_days is not None:
        days = chosen.rules.rebuy_after_days
        barred = bought_lately(barred, updated.earlier.histories.items, updated.times(inputs), days)
    barred = barred.where(np.where(barred.liked, chosen.exclude_seen, chosen.exclude_disliked))
    return load_candidate_pool(chosen, updated.dataset, barred, fused, report)
