"""Categories for a shop without any: groups of items whose texts mean alike, named by their words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_array

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.schema import Config
from crossrec_cli.data.catalogue import platform_items
from crossrec_cli.data.engine import Engine
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.errors import InputError, UnavailableError
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Reporter
from crossrec_cli.text.encoders import open_quick

try:
    from bm25s import stopwords
except ImportError:
    raise UnavailableError.without("bm25s", "search", "init --categories") from None

LEARNED_FROM = 50_000
"""Texts that the groups are learned from; all others go to the nearest."""
TRIES, STEPS = 4, 50
"""Starts of the clustering, of which the best counts, and steps of each at most."""
TOGETHER = 65_536
WORD = re.compile(r"[^\W\d_]{2,}")
STOPWORDS = frozenset().union(*(words for name, words in vars(stopwords).items() if name.startswith("STOPWORDS_")))
BETWEEN = " / "
"""Between the words of a name: not ``>`` or ``|``, which are of a category's path."""
WORDS = 3
"""Of a name."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def propose(engine: Engine, config: Config, count: int, report: Reporter) -> pa.Table:
    """Categories for the items of a config's first platform.

    Returns:
        ``item_id``, ``category`` (null for an item without text) and ``text``, ordered by category.

    Raises:
        InputError: if the items cannot be read, or have fewer different texts than ``count``.
        UnavailableError: if the language model is not there.
    """
    items = platform_items(engine, config.data, 0, Ledger(engine, config.data.clean))
    rows = engine.fetch(items.select(c.PLATFORM_ITEM_ID, c.TEXT).order_by(c.PLATFORM_ITEM_ID))
    texts = [text or "" for text in rows[c.TEXT].to_pylist()]
    encoder = open_quick(config.encoder, texts, device.prepare(config.runtime), report)
    with report.progress("reading item texts", len(set(texts)), "texts") as advance:
        names = proposed(texts, encoder.embed(texts, advance), count)
    columns = {c.ITEM_ID: rows[c.PLATFORM_ITEM_ID], c.CATEGORY: pa.array(names, pa.string()), c.TEXT: rows[c.TEXT]}
    return pa.table(columns).sort_by([(c.CATEGORY, "ascending"), (c.ITEM_ID, "ascending")])


def proposed(texts: Sequence[str], vectors: Floats, count: int) -> list[str | None]:
    """The name of each text's category; None for an empty text. The same texts and vectors give the same categories.

    Args:
        texts: of the items.
        vectors: of the texts, by a language model, (items, width).
        count: how many categories.

    Raises:
        InputError: if there are fewer different texts than categories.
    """
    distinct, first, index = np.unique(np.asarray(texts, dtype=object), return_index=True, return_inverse=True)
    filled = np.array([bool(text) for text in distinct])
    if filled.sum() < count:
        raise InputError(f"--categories {count}: there are only {filled.sum()} different texts")
    groups = np.full(len(distinct), -1)
    groups[filled] = clustered(vectors[first[filled]], count)
    of_items = groups[index]
    names = [*named(texts, of_items, count), None]
    return [names[group] for group in of_items]


def clustered(vectors: Floats, count: int) -> Ints:
    """The group of each vector, by spherical k-means (Dhillon & Modha 2001, https://doi.org/10.1023/A:1007612920971).

    The vectors are centred first, since a language model's have a direction in common.
    """
    rng = np.random.default_rng(0)
    points = _unit(vectors - vectors.mean(axis=0))
    some = points if len(points) <= LEARNED_FROM else points[rng.choice(len(points), LEARNED_FROM, replace=False)]
    tries = [_centres(some, count, rng) for _ in range(TRIES)]
    _, best = max(tries, key=lambda one: one[0])
    return np.concatenate([(points[begin : begin + TOGETHER] @ best.T).argmax(axis=1) for begin in _begins(points)])


def _begins(points: Floats) -> range:
    return range(0, len(points), TOGETHER)


def _unit(vectors: Floats) -> Floats:
    units: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return units


def _centres(points: Floats, count: int, rng: np.random.Generator) -> tuple[float, Floats]:
    """The mean similarity of the points to their centres, and the centres, (count, width)."""
    centres, groups = _spread(points, count, rng), np.full(len(points), -1)
    for _ in range(STEPS):
        similarity = points @ centres.T
        before, groups = groups, similarity.argmax(axis=1)
        own = similarity.max(axis=1)
        if (groups == before).all():
            break
        members = csr_array((np.ones(len(points), np.float32), (groups, np.arange(len(points)))), (count, len(points)))
        centres = _unit(members @ points)
        empty = np.flatnonzero(np.bincount(groups, minlength=count) == 0)
        centres[empty] = points[own.argsort()[: len(empty)]]
    return float(own.mean()), centres


def _spread(points: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Points far from each other (k-means++, Arthur & Vassilvitskii 2007)."""
    chosen = [int(rng.integers(len(points)))]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.maximum(1 - points @ points[chosen[-1]], 0))
        share = distance.astype(np.float64) + 1e-12
        share[chosen] = 0
        chosen.append(int(rng.choice(len(points), p=share / share.sum())))
    return points[chosen]


def named(texts: Sequence[str], groups: Ints, count: int) -> list[str]:
    """A name for each group, all different: the words that its texts have much oftener than all texts.

    As in tf-idf a word's weight is the square root of its share of the group's texts, times the logarithm of how many
    times its share of all texts that is. Without the root, units of size would name most groups.
    """
    words = [frozenset(match.lower() for match in WORD.findall(text)) - STOPWORDS for text in texts]
    overall = Counter(word for some in words for word in some)
    names: list[str] = []
    for group in range(count):
        of_group = [words[row] for row in np.flatnonzero(groups == group)]
        inside = Counter(word for some in of_group for word in some)
        weight = {
            word: np.sqrt(n / len(of_group)) * np.log(n / len(of_group) * len(texts) / overall[word])
            for word, n in inside.items()
        }
        best = _different(sorted(weight, key=lambda word: (-weight[word], word)))
        name = BETWEEN.join(islice(best, WORDS)) or "others"
        numbers = (f"{name} {number}" for number in range(2, count + 2))
        names.append(name if name not in names else next(one for one in numbers if one not in names))
    return names


def _different(words: Sequence[str]) -> Iterator[str]:
    """Without words of which one before is the beginning, or the other way round: soap, soaps."""
    kept: list[str] = []
    for word in words:
        if not any(word.startswith(other) or other.startswith(word) for other in kept):
            kept.append(word)
            yield word
