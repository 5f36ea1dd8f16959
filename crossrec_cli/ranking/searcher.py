"""Answers search queries: loaded once, used many times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name
from torch import Tensor

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import BLEND
from crossrec_cli.config.schema import Config
from crossrec_cli.data.extra_files import read_file
from crossrec_cli.data.ids import known_indices
from crossrec_cli.errors import ConfigError, InputError
from crossrec_cli.models.dataset import load_dataset, load_fused
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.ragged import Bools, Ints, Ragged
from crossrec_cli.models.vectors import Floats
from crossrec_cli.ranking.history_updates import UpdatedDataset, followed_by
from crossrec_cli.ranking.recommender import Recommender
from crossrec_cli.ranking.search_score import (
    CHANCE,
    Signals,
    Weights,
    Words,
    best,
    centered,
    random_queries,
    standardised,
)
from crossrec_cli.ranking.topk import CHUNK_CELLS
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Advance, Silent
from crossrec_cli.text.encoders import load_encoder

QUERIES = pa.schema([pa.field(c.QUERY, pa.string(), nullable=False)])
WHO = pa.schema([pa.field(c.USER_ID, pa.string())])


class Searcher:
    """Answers queries over all items, source and target, including those that the user bought before."""

    def __init__(
        self,
        config: Config,
        inputs: Mapping[str, Path],
        words: Words,
        weights: Weights,
        recommender: Recommender | None = None,
    ) -> None:
        """Load what is needed besides the word index.

        Args:
            config: the whole config.
            inputs: the files that the stage search reads.
            words: the index of the items' texts and ids.
            weights: of the parts of the score.
            recommender: one that has the same users and model in memory.
        """
        compute = device.prepare(config.runtime, config.seed)
        self.words, self.weights = words, weights
        self.dataset = (
            recommender.dataset
            if recommender
            else UpdatedDataset.of(config, inputs, load_dataset(inputs), Silent()).dataset
        )
        self.fused = recommender.fused if recommender else load_fused(inputs, config.interest)
        self.is_target = self.dataset.histories.item_stats.is_target
        self.interest_of = self.fused.candidate_scorer(np.arange(len(self.is_target)))
        self.texts = _texts(self.fused)
        self.encoder = load_encoder(config.encoder, inputs, compute)

    @classmethod
    def load(
        cls, config: Config, inputs: Mapping[str, Path], index: Path, recommender: Recommender | None = None
    ) -> Searcher:
        """Load the word index and the weights from the folder ``index`` of the stage search."""
        blend = parquet.read_table(index / Path(BLEND).name)
        chosen = blend.filter(blend[c.USED]).to_pylist()[0]
        return cls(
            config, inputs, Words.load(index), Weights(*(chosen[name] for name in Weights.__annotations__)), recommender
        )

    def search(
        self,
        query: str,
        user: str | None = None,
        history: Sequence[str] = (),
        k: int = 10,
        history_weights: Floats | None = None,
    ) -> pa.Table:
        """The k best items for one query.

        Args:
            query: any words; it is embedded by the language model that embedded the items.
            user: the user's id; None: an unknown user.
            history: ids of items that the user bought since, oldest first.
            k: how many items.
            history_weights: how much each item of the history counts, float32, below 0 for a dislike; None: 1 each.

        Returns:
            Rows of ``schemas.FOUND``, best first; none if nothing matches the query, see ``_matched``.

        Raises:
            InputError: if there is no such user or item, or the query is empty.
        """
        if not query.strip():
            raise InputError("the query is empty")
        user_indices = np.array([-1]) if user is None else known_indices([user], self.dataset.users[c.USER_ID], "user")
        bought_since = known_indices(history, self.dataset.items[c.ITEM_ID], "item")
        history_before = self.histories(user_indices)
        newest = Ragged(bought_since, np.array([len(bought_since)]), history_weights)
        whole_history = followed_by(history_before, newest)
        return self._answers([query], [user], self.interest_of(whole_history, self.tags(user_indices)), k)

    def search_all(self, queries: Sequence[str], users: Sequence[str | None], k: int, advance: Advance) -> pa.Table:
        """The k best items for each of many queries; users who are not in the data count as unknown.

        Returns:
            Rows of ``schemas.FOUND``, query by query, best first; no row for a query that nothing matches.
        """
        user_indices, tables = self.known_users(users), [schemas.FOUND.empty_table()]
        for part in self.chunks(len(queries)):
            queries_of_part = list(queries[part])
            logits = self.interest_of(self.histories(user_indices[part]), self.tags(user_indices[part]))
            tables.append(self._answers(queries_of_part, users[part], logits, k))
            advance(len(queries_of_part))
        return pa.concat_tables(tables)

    def chunks(self, queries: int) -> Iterator[slice]:
        """Slices of so many queries, whose scores fit in memory together."""
        size = max(CHUNK_CELLS // len(self.is_target), 1)
        yield from (slice(begin, begin + size) for begin in range(0, queries, size))

    def known_users(self, users: Sequence[str | None]) -> Ints:
        """The users' indices, int64; −1 for those who are not in the data, and for None."""
        return parquet.row_indices(pa.chunked_array([pa.array(users, pa.string())]), self.dataset.users[c.USER_ID])

    @torch.no_grad()
    def signals(self, queries: Sequence[str], logits: Tensor) -> Signals:
        """The parts of the score of all items (B, I), for users whose interest is (B, I) in log-odds."""
        meaning = standardised(self._cosines(queries))
        interest = centered(logits, self.is_target)
        return Signals(meaning, self.words.scores(queries), interest)

    @torch.no_grad()
    def _cosines(self, queries: Sequence[str]) -> Tensor:
        """Cosines of the queries' and the items' embeddings, each less the items' mean, float32 (B, I)."""
        white = self.fused.whitening(self.encoder.embed(queries, lambda *_: None, query=True))
        return F.normalize(torch.from_numpy(self.fused.whitening.spread_back(white))) @ self.texts.T

    def _nearest(self, queries: Sequence[str]) -> Tensor:
        """Each query's cosine to the item that is nearest to it in meaning, float32 (B,)."""
        return self._cosines(queries).amax(dim=1)

    @cached_property
    def _random_nearest(self) -> float:
        """The ``CHANCE`` quantile of random queries' cosines to their nearest items."""
        return float(self._nearest(random_queries(self.dataset.items[c.TEXT].to_pylist())).quantile(CHANCE))

    def _matched(self, queries: Sequence[str], words: Tensor) -> Bools:
        """Which queries have results, bool (B,).

        Those with an item that has a word of the query, by BM25 (B, I), or that is nearer than by chance.
        """
        matched: Bools = (words > 0).any(dim=1).numpy()
        unmatched = np.flatnonzero(~matched).tolist()
        if unmatched:
            matched[unmatched] = (self._nearest([queries[row] for row in unmatched]) > self._random_nearest).numpy()
        return matched

    def histories(self, user_indices: Ints) -> Ragged:
        """Users' whole histories; empty for −1."""
        items = self.dataset.histories.items
        return items.take(user_indices, np.where(user_indices >= 0, items.lengths[user_indices], 0))

    def trained_histories(self, user_indices: Ints) -> Ragged:
        """Users' training histories; empty for −1."""
        histories = self.dataset.histories
        return histories.items.take(user_indices, np.where(user_indices >= 0, histories.train_lengths[user_indices], 0))

    def tags(self, user_indices: Ints) -> Ragged:
        """Users' tags; none for −1."""
        tags = self.dataset.histories.tags
        return tags.take(user_indices, np.where(user_indices >= 0, tags.lengths[user_indices], 0))

    @torch.no_grad()
    def _answers(self, queries: Sequence[str], users: Sequence[str | None], logits: Tensor, k: int) -> pa.Table:
        """Rows of ``schemas.FOUND`` for users whose interest is (B, I) in log-odds."""
        signals = self.signals(queries, logits)
        matched = self._matched(queries, signals.words)
        scores, top_items = best(signals.score(self.weights), self.words.with_all_words(queries), k)
        relevance = signals.relevance(self.weights).gather(1, top_items)
        interest = torch.sigmoid(logits.gather(1, top_items))
        items, length = top_items.numpy().reshape(-1), top_items.shape[1]
        columns = {
            c.QUERY: pc.take(pa.array(queries, pa.string()), np.repeat(np.arange(len(queries)), length)),
            c.USER_ID: pc.take(pa.array(users, pa.string()), np.repeat(np.arange(len(queries)), length)),
            c.RANK: np.tile(np.arange(1, length + 1), len(queries)),
            c.RELEVANCE: relevance.numpy().reshape(-1),
            c.INTEREST: pa.array(interest.numpy().reshape(-1), mask=~self.is_target[items]),
            c.SCORE: scores.numpy().reshape(-1),
        } | {name: pc.take(self.dataset.items[name], items) for name in (c.ITEM_ID, c.DOMAIN, c.PRICE, c.TEXT)}
        table = pa.table(columns).select(schemas.FOUND.names).cast(schemas.FOUND)
        return table.filter(pa.array(np.repeat(matched, length)))


def _texts(fused: FusedModel) -> Tensor:
    """All items' text embeddings less their mean, rows of length 1, (I, width).

    Not whitened: what sets a catalogue's items apart is not what sets queries apart, in particular in another language.

    Raises:
        ConfigError: if texts are not among the scorers.
    """
    if fused.text_vectors is None:
        raise ConfigError(["interest.scorers: a search compares texts; put 'text' among them"])
    return F.normalize(torch.from_numpy(fused.whitening.spread_back(np.asarray(fused.text_vectors))))


def read_queries(path: Path) -> tuple[list[str], list[str | None]]:
    """The queries of a Parquet or CSV file, and each one's user; None: an unknown user.

    Raises:
        InputError: if it cannot be read, or a query is empty.
    """
    table = read_file(path, "--queries", QUERIES, WHO)
    queries = table[c.QUERY].to_pylist()
    if empty := [row for row, query in enumerate(queries, 1) if not query.strip()]:
        raise InputError(f"--queries: {path}, row {empty[0]}: no {c.QUERY}")
    return queries, table[c.USER_ID].to_pylist() if c.USER_ID in table.column_names else [None] * len(queries)
