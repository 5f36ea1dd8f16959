"""What finetune, transfer and tune share: examples from both domains, and all scorers weighed on validation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shops
import torch

from crossrec_cli.config.load import load_config
from crossrec_cli.evaluation import validation
from crossrec_cli.evaluation.validation import ndcg
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.dataset import target_of
from crossrec_cli.models.fused import FusedModel
from crossrec_cli.models.fusion import PRIOR
from crossrec_cli.models.histories import Cases, Histories, ItemStats
from crossrec_cli.models.learner import Learner, of_both, with_user_encoder
from crossrec_cli.models.neural import neural_scorer
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Ragged
from crossrec_cli.runtime.device import Compute
from crossrec_cli.runtime.progress import Silent


@pytest.fixture
def learner(shop) -> Learner:
    config = load_config(shop.path, ["interest.scorers=[text, popularity, linear]", "finetune.batch_size=8"])
    return Learner(config, 1, Compute(torch.device("cpu"), torch.float32), Silent(), shop.folder / "checkpoint")


def refitted(learner: Learner, data: TrainingData, valid: Cases) -> FusedModel:
    """The scorers without training, as finetune leaves them."""
    return learner.refitted(learner.fused(None, data, valid)[0], None, data)


@pytest.mark.parametrize(("knows", "kind"), [("order", "sequence"), ("linear", "bag")])
def test_the_order_is_read_where_later_purchases_tell_more(learner, knows, kind):
    data, valid, _ = shops.shop(knows)
    asked = load_config(learner.config.run_path.parent / "config.yaml", ["interest.user_encoder=auto"])
    assert with_user_encoder(asked, data, valid, 1).interest.user_encoder == kind
    assert with_user_encoder(learner.config, data, valid, 1) is learner.config, "the one that the config names"


def test_each_training_has_its_own_batch_size(learner):
    data, *_ = shops.shop("text")
    domains = of_both(data.histories)
    config = learner.config
    assert learner.sampler(data.histories, domains, config.adapt).batch_size == config.adapt.batch_size == 32
    assert learner.sampler(data.histories, domains, config.finetune).batch_size == 8


def test_source_and_target_are_two_domains_of_what_was_bought_or_one_where_they_are_the_same():
    """Nobody has items 1 and 4."""
    bought = np.array([1, 0, 1, 1, 0, 1])

    def domains(is_target: np.ndarray) -> list[list[int]]:
        histories = Histories(Ragged.of([[0]]), np.array([1]), Ragged.of([[]]), ItemStats(is_target, bought))
        return [np.flatnonzero(domain).tolist() for domain in of_both(histories)]

    assert domains(np.arange(6) >= 3) == [[0, 2], [3, 5]]
    assert domains(np.ones(6, bool)) == [[0, 2, 3, 5]]


def test_scores_are_probabilities_in_the_mean_and_rank_as_the_scorer_that_knows(learner):
    """Each who is asked buys one item next, so the probabilities of all that are left come to about 1."""
    data, valid, test = shops.shop("text")
    scorer = refitted(learner, data, valid).candidate_scorer(target_of(data.histories))
    given = data.histories.items.take(test.users, test.history_lengths)
    chance = torch.sigmoid(scorer(given, data.histories.tags.take(test.users))).numpy()
    bought = np.zeros((test.count, len(data.is_target)), bool)
    bought[given.rows, given.values] = True
    assert 0.6 < np.where(bought[:, data.is_target], 0, chance).sum(axis=1).mean() < 1.6
    assert ndcg(scorer, data.histories, test, mask_seen=True) > 0.3


def test_of_many_cases_among_many_items_some_are_ranked(learner, monkeypatch):
    data, valid, _ = shops.shop("text")
    scorer, asked = refitted(learner, data, valid).candidate_scorer(target_of(data.histories)), []

    def counted(histories, tags):
        asked.append(len(histories.lengths))
        return scorer(histories, tags)

    ndcg(counted, data.histories, valid, mask_seen=True)
    assert sum(asked) == valid.count
    monkeypatch.setattr(validation, "MOST_SCORES", 20 * data.is_target.sum())
    asked.clear()
    few = ndcg(counted, data.histories, valid, mask_seen=True)
    assert sum(asked) == 20
    assert few == ndcg(counted, data.histories, valid, mask_seen=True), "the same ones each time"


@pytest.mark.parametrize("mask_seen", [True, False])
def test_validation_ranks_what_the_test_ranks(learner, mask_seen):
    """Those who are asked buy again what they have: to be found only where it may be ranked."""
    data, valid, _ = shops.shop("text")
    histories = data.histories
    again = histories.items.slice(valid.users, valid.history_lengths - 1, valid.history_lengths)
    valid = Cases(valid.users, valid.history_lengths, again)
    evaluate = learner.config.evaluate.model_copy(update={"mask_seen": mask_seen})
    learner = replace(learner, config=learner.config.model_copy(update={"evaluate": evaluate}))
    fused = refitted(learner, data, valid)
    found = ndcg(fused.candidate_scorer(target_of(histories)), histories, valid, mask_seen)
    assert (found > 0.3) is not mask_seen
    assert bool((fused.fusion.weights[:, list(fused.fusion.features).index("text")] > 0).all())


def test_without_validation_the_scorers_count_as_is_usual_elsewhere(learner):
    data, valid, _ = shops.shop("text")
    fusion = refitted(learner, data, valid.of(np.arange(0))).fusion
    usual = np.array([PRIOR.get(name, 0.0) for name in fusion.features])
    assert usual.any()
    for weights in fusion.weights:
        np.testing.assert_allclose(weights * fusion.spread, usual, rtol=1e-4)
    assert ndcg(lambda *_: None, data.histories, valid.of(np.arange(0)), mask_seen=True) is None


def test_a_training_leaves_the_model_that_it_starts_from_and_shares_its_texts(learner, monkeypatch):
    data, valid, _ = shops.shop("text")
    adapted, trained = InterestModel(learner.config.interest, data.texts, data.histories.item_stats, 0), []
    before = {name: weight.clone() for name, weight in adapted.state_dict().items()}
    neural = neural_scorer.neural
    monkeypatch.setattr(neural_scorer, "neural", lambda model, of: trained.append(model) or neural(model, of))
    learner.fused(adapted, data, valid)
    for name, weight in adapted.state_dict().items():
        torch.testing.assert_close(weight, before[name], rtol=0, atol=0)
    assert trained[0].tower.text.data_ptr() == adapted.tower.text.data_ptr()
    assert not torch.equal(trained[0].tower.id_embedding.weight, adapted.tower.id_embedding.weight)
