from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from crossrec_cli.config.schema import Interest
from crossrec_cli.errors import UnavailableError
from crossrec_cli.interest.batches import Domain, Ragged
from crossrec_cli.interest.ensemble import Ensemble
from crossrec_cli.ranking.index import Graph, recall
from crossrec_cli.ranking.topk import interest_scorer

ITEMS = 3000
CANDIDATES = np.flatnonzero(np.arange(ITEMS) % 3 > 0)


@pytest.fixture(scope="module")
def model() -> Ensemble:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    text = rng.standard_normal((ITEMS, 24)).astype(np.float32)
    domain = Domain(np.arange(ITEMS) % 3 > 0, np.ones(ITEMS, np.int64))
    made = Ensemble.create(Interest(user_encoder="bag", dim=16, members=2), text, domain, 2)
    with torch.no_grad():
        for member in made.members:
            member.tower.bias.normal_(std=0.3)  # without it the last dimension would be of no use
    return made.eval()


def asked(users: int, length: int) -> tuple[Ragged, Ragged]:
    rng = np.random.default_rng(1)
    history = Ragged(rng.integers(0, ITEMS, users * length), np.full(users, length))
    return history, Ragged(np.zeros(users, np.int64), np.ones(users, np.int64))


@pytest.mark.parametrize("users", [1, 40])
def test_what_it_finds_has_the_score_that_it_has_and_is_the_best(model, users):
    known = model.known()
    graph, exact = Graph(model, CANDIDATES, known, 10), interest_scorer(model, CANDIDATES, known)
    found, all_of_them = graph(*asked(users, 5)), exact(*asked(users, 5))
    there = found > -torch.inf
    assert there.sum(dim=1).min() >= 100
    assert there.sum(dim=1).max() <= 105
    torch.testing.assert_close(found[there], all_of_them[there], atol=1e-5, rtol=1e-5)
    assert recall(graph, exact, *asked(users, 5), 10) > 0.97


def test_who_owns_much_still_gets_enough(model):
    """Of 900 items that may be owned none is for this user's list, and there are 100 beside them all the same."""
    graph = Graph(model, CANDIDATES, model.known(), 10)
    found = graph(*asked(2, 900))
    assert (found > -torch.inf).sum(dim=1).min() >= 600


def test_recall_is_of_the_best_k():
    table = torch.arange(20.0).repeat(4, 1)
    worse = table.clone()
    worse[:2, 18:] = -torch.inf  # two users miss the best two of five
    nothing = Ragged(np.empty(0, np.int64), np.zeros(4, np.int64))
    assert recall(lambda *_: worse, lambda *_: table, nothing, nothing, 5) == pytest.approx(0.8)


def test_without_the_extra_it_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(UnavailableError, match=r"pip install 'crossrec\[hnsw\]'"):
        Graph(model, CANDIDATES, model.known(), 10)
