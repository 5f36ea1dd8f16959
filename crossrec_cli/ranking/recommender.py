"""What makes lists: loaded once, asked for some users at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.histories import Histories
from crossrec_cli.models.ragged import Ints, Ragged
from crossrec_cli.ranking.candidate_pool import CandidatePool, bought_lately, load_candidate_pool
from crossrec_cli.ranking.history_updates import Newest
from crossrec_cli.ranking.reasons import Why
from crossrec_cli.ranking.topk import Chunk, chunks, top_k
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Advance, Reporter

ALL_USERS = "all"
"""In the place of ids: everybody."""


class RequestBatch(NamedTuple):
    """Users who get lists."""

    dataset: Dataset
    """With all that they did."""
    pool: CandidatePool
    """With what each of them may not be shown again."""


class Recommender:
    """Lists of the best k target items that the rules allow, from all that each user did."""

    def __init__(self, config: Config, inputs: Mapping[str, Path], report: Reporter) -> None:
        """Load the model, the users and the rules.

        Args:
            config: the whole config.
            inputs: the files that recommend reads.
            report: told what is strange about the files that the config names.
        """
        self.config, self.inputs, chosen = config, inputs, config.recommend
        device.prepare(config.runtime, config.seed)
        self.newest = Newest.of(config, inputs, load_dataset(inputs), report)
        self.known, self.dataset = self.newest.known, self.newest.dataset
        self.fused = load_fused(inputs, config.interest)
        self.pool = candidate_pool_of(config, inputs, self.newest, self.fused, report)
        self.with_rules = chosen.rules != Rules()
        self.scorer = self.fused.candidate_scorer(self.pool.items)
        self.why = Why.of(self.fused, self.dataset, chosen.reasons)
        self.schema = pa.schema([*schemas.RECOMMENDATIONS, *(schemas.WHY if chosen.reasons else ())])

    def users(self, named: Sequence[str], where: str) -> Ints:
        """The indices of users, int64, in the order of the ids.

        Raises:
            InputError: if one of them is not in the data; ``where`` says where the id stands.
        """
        ids = as_ids(named, where)
        found = parquet.places(pa.chunked_array([ids]), self.dataset.users[c.USER_ID])
        if (found < 0).any():
            user = ids[int((found < 0).argmax())]
            rules = "data.clean and data.min_interactions may leave somebody out"
            raise InputError(
                f"{where}: no user '{user}' in the data; {rules}, and recommend.events gives anybody a list"
            )
        return found

    def lists(self, users: Ints, advance: Advance | None = None) -> Iterator[pa.Table]:
        """Rows of ``schemas.RECOMMENDATIONS``, some users at a time, with reasons where they are wanted.

        Args:
            users: indices, int64.
            advance: told how many users have their lists since the last call.
        """
        return self.lists_of(RequestBatch(self.dataset, self.pool), users, advance)

    def one(self, user: str, at: int, since: Ints, tags: Ints, k: int) -> RequestBatch:
        """A request_batch of one user, as of now.

        Args:
            user: the id.
            at: the index in the data, −1 for one who is not there.
            since: the items of what happened after that, oldest first, int64; they count as bought just now.
            tags: of one who is not there, int64.
            k: how long the list is.
        """
        here, histories = np.array([at] if at >= 0 else [], np.int64), self.dataset.histories
        before, barred = histories.items.take(here), self.pool.barred.take(here).values
        weights = np.concatenate([before.weights_or_ones, np.ones(len(since), np.float32)])
        now = Ragged(np.concatenate([before.values, since]), np.array([len(weights)]), weights)
        borne = histories.tags.take(here) if at >= 0 else Ragged(tags, np.array([len(tags)]))
        if self.config.recommend.exclude_seen:
            barred = np.concatenate([barred, since])
        dataset = Dataset(
            self.dataset.items,
            pa.table({c.USER_ID: pa.array([user], pa.string())}),
            Histories(now, np.zeros(1, np.int64), borne, histories.item_stats),
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
        """The same for some of a request_batch."""
        histories, hide_seen = (
            request_batch.dataset.histories,
            self.config.recommend.exclude_seen and not self.with_rules,
        )
        lengths = histories.items.lengths[users]
        for chunk in chunks(self.scorer, histories, users, lengths, self.pool.items, hide_seen, advance):
            best = (
                self._ruled(request_batch.pool, chunk, users)
                if self.with_rules
                else top_k(chunk, request_batch.pool.rules.k)
            )
            yield self._rows(request_batch, users[chunk.begin :][: len(chunk.scores)], *best).cast(self.schema)

    @staticmethod
    def _ruled(pool: CandidatePool, chunk: Chunk, users: Ints) -> tuple[Tensor, Tensor]:
        """The rules' lists as ``top_k`` gives them: scores and places (B, k), scores −inf where a list ends."""
        places = pool.lists(chunk, users).places
        scores = chunk.scores.gather(1, places.clamp(min=0))
        return scores.masked_fill(places < 0, -torch.inf), places

    def _rows(self, request_batch: RequestBatch, users: Ints, scores: Tensor, places: Tensor) -> pa.Table:
        """Some users' lists (B, k) as rows, with their reasons."""
        shown = (scores > -np.inf).numpy()  # a user who has bought nearly everything gets a shorter list
        items = self.pool.items[places.numpy()]
        of_row = items[shown]
        columns = {
            c.USER_ID: pc.take(
                request_batch.dataset.users[c.USER_ID], np.broadcast_to(users[:, None], shown.shape)[shown]
            ),
            c.RANK: np.broadcast_to(np.arange(1, shown.shape[1] + 1), shown.shape)[shown],
            c.ITEM_ID: pc.take(self.dataset.items[c.ITEM_ID], of_row),
            c.SCORE: torch.sigmoid(scores).numpy()[shown],
            c.PRICE: pc.take(self.dataset.items[c.PRICE], of_row),
            c.TEXT: pc.take(self.dataset.items[c.TEXT], of_row),
        }
        if self.config.recommend.reasons:
            reasons = replace(self.why, histories=request_batch.dataset.histories).of_lists(users, items, shown)
            columns |= dict(zip(reasons.column_names, reasons.columns, strict=True))
        return pa.table(columns)


def candidate_pool_of(
    config: Config, inputs: Mapping[str, Path], newest: Newest, fused: FusedModel, report: Reporter
) -> CandidatePool:
    """What may be recommended, and to whom what may not."""
    chosen, barred = config.recommend, newest.dataset.histories.items
    if not chosen.exclude_seen:
        barred = Ragged(np.empty(0, np.int64), np.zeros_like(barred.lengths))
    elif chosen.rules.rebuy_after_days is not None:
        days = chosen.rules.rebuy_after_days
        barred = bought_lately(barred, newest.known.histories.items, newest.times(inputs), days)
    return load_candidate_pool(chosen, newest.dataset, barred, fused, report)
