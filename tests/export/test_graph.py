"""The fused score as an ONNX graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
import shops
import torch

from crossrec_cli.artifacts import columns as c
from crossrec_cli.config.training_fields import Interest
from crossrec_cli.export import graph
from crossrec_cli.models.base import HistoryFeature, Scorer, TrainingData
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.fusion import KNOTS, Fusion
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Bools, Ints, Ragged
from crossrec_cli.models.scorers import SCORERS

pytestmark = pytest.mark.slow

DECAYS = (1.0, 0.9, 0.6)


def shop(knows: str, tags: int) -> TrainingData:
    """Items with all kinds of columns, one without a text; users with tags where there are any."""
    rng = np.random.default_rng(0)
    data, *_ = shops.shop(knows)
    items, users = data.items.num_rows, data.histories.users
    texts = [*data.items[c.TEXT].to_pylist()[1:], None]
    columns = {
        c.TEXT: pa.array(texts),
        c.BRAND: pa.array(rng.choice(["ours", "theirs", None], items)),
        c.CATEGORY: pa.array(rng.choice(["A > B", "A > C", "D", None], items)),
        c.PRICE_BAND: pa.array(rng.choice(["low", "high", None], items)),
    }
    borne = Ragged.of(rng.integers(0, tags, (users, 2)).tolist() if tags else [[]] * users)
    histories = replace(data.histories, tags=borne)
    times = np.arange(len(histories.items.values)) * 10**10
    return shops.federated(TrainingData(histories, pa.table(columns), data.embeddings, times))


def bare(data: TrainingData) -> TrainingData:
    """Where no two items have a word or a column in common, so that a scorer has no dimension at all."""
    nothing = pa.nulls(data.items.num_rows, pa.string())
    texts = pa.array([f"word{number}" for number in range(data.items.num_rows)])
    columns = dict.fromkeys((c.BRAND, c.CATEGORY, c.PRICE_BAND), nothing)
    return replace(data, items=pa.table({c.TEXT: texts} | columns))


def trained(data: TrainingData, kind: str, tags: int) -> Scorer:
    """A neural scorer with weights that could have been learned."""
    torch.manual_seed(0)
    interest = Interest(dim=16, user_encoder=kind, max_sequence=8)  # shorter than most histories
    model = InterestModel(interest, data.texts, data.histories.item_stats, tags)
    for weights in (model.default_user, model.tags.weight, model.tower.bias):
        torch.nn.init.normal_(weights)
    return neural_scorer.neural(model, data)


def fused(data: TrainingData, *more: Scorer) -> FusedModel:
    """All scorers with a decay of its own for each feature and weights of their own for each group."""
    scorers = [make(data, 7)[0] for make in SCORERS.values()]
    decays = iter(np.resize(DECAYS, 99).tolist())

    def with_decays(scorer: Scorer) -> Scorer:
        features = [
            feature.with_decay(next(decays)) if isinstance(feature, HistoryFeature) else feature
            for feature in scorer.features
        ]
        return replace(scorer, features=features)

    scorers = [*map(with_decays, scorers), *more]
    names = tuple(feature.name for scorer in scorers for feature in scorer.features)
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(len(KNOTS), len(names))).astype(np.float32)
    shift = rng.normal(-3, 1, len(KNOTS)).astype(np.float32)
    return FusedModel(
        scorers, Fusion(names, weights, shift, np.ones(len(names), np.float32)), data.is_target, data.whitening
    )


def people(is_target: Bools, tags: int) -> tuple[Ragged, Ragged]:
    """Users without a history, with one of each group, with a very long one and of the
    source alone, with some dislikes; and their tags."""
    rng = np.random.default_rng(1)
    source, target = np.flatnonzero(~is_target), np.flatnonzero(is_target)
    lists = [
        [],
        [],
        *([*rng.choice(source, 3), *rng.choice(target, least)] for least in (0, 1, 2, 3, 5, 6, 9)),
        rng.integers(0, len(is_target), 700).tolist(),
        rng.choice(source, 40).tolist(),
    ]
    histories = Ragged.of([list(map(int, items)) for items in lists])
    weights = rng.uniform(0.001, 2, len(histories.values)) * rng.choice([1, 1, 1, -1], len(histories.values))
    borne = [list(range(number % (tags + 1))) for number in range(1, len(lists) + 1)]
    return Ragged(histories.values, histories.lengths, weights.astype(np.float32)), Ragged.of(borne)


def given(histories: Ragged, borne: Ragged, tags: int, candidates: Ints) -> dict[str, np.ndarray]:
    """The graph's inputs."""
    _, filled = histories.padded()
    items, weights = np.full(filled.shape, -1), np.zeros(filled.shape, np.float32)
    items[filled], weights[filled] = histories.values, histories.weights_or_ones
    some = np.zeros((len(borne.lengths), tags), np.float32)
    some[borne.rows, borne.values] = 1
    return {"items": items, "weights": weights, "tags": some, "candidates": candidates}


@pytest.mark.parametrize(
    ("knows", "kind", "tags", "in_one_file"),
    [("words", "hybrid", 4, graph.IN_ONE_FILE), ("text", "bag", 0, 0)],
    ids=["everything", "no tags, no words, two files"],
)
def test_the_graph_gives_the_fused_score(tmp_path, monkeypatch, knows, kind, tags, in_one_file):
    monkeypatch.setattr(graph, "IN_ONE_FILE", in_one_file)
    data = shop(knows, tags) if tags else bare(shop(knows, tags))
    model = fused(data, trained(data, kind, tags))
    without_dimension = {scorer.name for scorer in model.scorers if not scorer.item_vectors.shape[1]}
    assert without_dimension == (set() if tags else {"words", "attributes"})
    graph.write_graph(tmp_path / "scorer.onnx", model, tags)
    assert len(list(tmp_path.iterdir())) == (1 if in_one_file else 2)
    session = onnxruntime.InferenceSession(tmp_path / "scorer.onnx")
    histories, borne = people(data.is_target, tags)
    candidates = np.random.default_rng(3).permutation(np.flatnonzero(data.is_target))[:300]
    theirs = torch.sigmoid(model.candidate_scorer(candidates)(histories, borne)).numpy()
    (ours,) = session.run(["scores"], given(histories, borne, tags, candidates))
    assert theirs.std(axis=1).min() > 1e-3
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    (alone,) = session.run(None, given(histories.take(np.array([0])), borne.take(np.array([0])), tags, candidates[:1]))
    np.testing.assert_allclose(alone, theirs[:1, :1], atol=1e-5)  # no place at all
    first = np.array([9])
    (alone,) = session.run(None, given(histories.take(first), borne.take(first), tags, candidates))
    np.testing.assert_allclose(alone, theirs[first], atol=1e-5)


def test_a_sparse_scorer_takes_no_more_room_than_its_numbers(tmp_path):
    """A bestseller has a dimension for each of its buyers; the other items' rows are not as long as its."""
    data = shop("words", 0)
    many = Ragged.of([[60, user % 60] for user in range(20_000)])
    histories = replace(data.histories, items=many, train_lengths=many.lengths, tags=Ragged.of([[]] * 20_000))
    model = FusedModel(
        [SCORERS["neighbours"](replace(data, histories=histories), 7)[0]],
        Fusion(
            ("a", "b"),
            np.ones((len(KNOTS), 2), np.float32),
            np.zeros(len(KNOTS), np.float32),
            np.ones(2),
        ),
        data.is_target,
        data.whitening,
    )
    graph.write_graph(tmp_path / "scorer.onnx", model, 0)
    stored = onnx.load(tmp_path / "scorer.onnx").graph.initializer
    assert sum(int(np.prod(array.dims)) for array in stored) < 4 * model.scorers[0].item_vectors.nnz
