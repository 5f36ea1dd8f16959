"""What finetune chooses on validation once the training is over."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from crossrec_cli.interest.ensemble import Ensemble

from crossrec_cli.config.load import load_config
from crossrec_cli.interest.batches import Cases, Domain, Histories, Ragged
from crossrec_cli.ranking.topk import interest_scorer
from crossrec_cli.reporting import Silent
from crossrec_cli.runtime import Compute
from crossrec_cli.stages import finetune, learn
from crossrec_cli.stages.learn import Finish, Learner, ndcg

KINDS = 12
TEXTS = np.random.default_rng(0).normal(size=(2 * KINDS, 8)).astype(np.float32)


@pytest.fixture
def learner(shop) -> Learner:
    config = load_config(shop.path, ["interest.user_encoder=bag", "interest.dim=24"])
    return Learner(config, 1, Compute(torch.device("cpu"), torch.float32), Silent(), shop.folder / "checkpoint")


def world(told: bool) -> tuple[Histories, Cases]:
    """Who buys a source item of some kind buys the target item of that kind next, or any, and never is asked twice."""
    rng = np.random.default_rng(0)
    lists = []
    for _ in range(240):
        kinds = rng.choice(KINDS, 3, replace=False)
        wanted = kinds[-1] if told else rng.integers(KINDS)
        lists.append([*kinds[:2], *(KINDS + kinds[:2]), kinds[-1], KINDS + wanted])
    items = Ragged.of([[int(item) for item in bought] for bought in lists])
    lengths = items.lengths - np.where(np.arange(240) < 120, 0, 1)  # half of them teach all, the others are asked
    asked = np.arange(120, 240)
    domain = Domain(np.arange(2 * KINDS) >= KINDS, np.ones(2 * KINDS, int))
    truth = Ragged.of([[int(lists[user][-1])] for user in asked])
    return Histories(items, lengths, Ragged.of([[]] * 240), domain), Cases(asked, lengths[asked], truth)


class Warned(Silent):
    """Keeps the warnings."""

    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)


def untrained(learner: Learner, histories: Histories) -> Ensemble:
    torch.manual_seed(0)
    return Ensemble.create(learner.config.interest, TEXTS, histories.domain, tags=0)


def test_ease_becomes_a_member_where_it_ranks_better(learner):
    histories, valid = world(told=True)
    model = untrained(learner, histories)
    before = ndcg(model, histories, valid, True)
    finished, finish = learner.finish(model, histories, valid)
    assert len(finished.members) == 2
    assert finish.way in learn.WAYS
    assert finish.score == ndcg(finished, histories, valid, True)
    assert finish.score > before + 0.1


def test_one_that_reads_texts_becomes_a_member_where_they_tell_what_purchases_do_not(learner):
    """Who has a kind's first target item wants its second, which nobody ever bought beside the first."""
    rng = np.random.default_rng(0)
    kinds = np.arange(120) % KINDS
    asked = [[int(kind), int(KINDS + kind), int(2 * KINDS + kind)] for kind in kinds]
    teach = [[*map(int, rng.choice(KINDS, 3)), int(2 * KINDS + rng.integers(KINDS))] for _ in range(120)]
    items = Ragged.of([*teach, *asked])
    histories = Histories(
        items,
        items.lengths - np.repeat([0, 1], 120),
        Ragged.of([[]] * 240),
        Domain(np.arange(3 * KINDS) >= KINDS, np.ones(3 * KINDS, int)),
    )
    valid = Cases(np.arange(120, 240), np.full(120, 2), Ragged.of([[bought[-1]] for bought in asked]))
    torch.manual_seed(0)
    texts = np.concatenate([rng.normal(size=(KINDS, 8)), np.tile(rng.normal(size=(KINDS, 8)), (2, 1))])
    model = Ensemble.create(learner.config.interest, texts.astype(np.float32), histories.domain, tags=0)
    with torch.no_grad():
        model.members[0].tower.adaptor.weight.mul_(1e-3)  # it has yet to learn to read
    finished, finish = learner.finish(model, histories, valid)
    assert finish.way is not None
    assert finish.way.text_weight > 0
    assert finish.score == ndcg(finished, histories, valid, True) > 0.8


def test_a_model_that_is_right_already_gets_none(learner):
    histories, valid = world(told=True)
    model = untrained(learner, histories)
    with torch.no_grad():
        tower = model.members[0].tower
        tower.adaptor.weight.zero_()
        tower.adaptor.bias.zero_()
        tower.id_embedding.weight.copy_(torch.eye(KINDS, 24).repeat(2, 1) * 30)
    assert ndcg(model, histories, valid, True) == 1
    finished, finish = learner.finish(model, histories, valid)
    assert len(finished.members) == 1
    assert (finish.way, finish.score) == (None, 1)


@pytest.mark.parametrize(("tried", "members"), [(0.51, 1), (0.511, 2)])
def test_ease_must_better_it_by_two_hundredths(learner, monkeypatch, tried, members):
    histories, valid = world(told=False)
    model = untrained(learner, histories)
    monkeypatch.setattr(learn, "ndcg", lambda asked, *_: tried if len(asked.members) > 1 else 0.5)
    finished, _ = learner.finish(model, histories, valid)
    assert len(finished.members) == members


def test_a_catalogue_too_large_gets_none(learner, monkeypatch):
    monkeypatch.setattr(learn, "LINEAR_CELLS", 2 * KINDS * KINDS - 1)
    histories, valid = world(told=True)
    finished, finish = learner.finish(untrained(learner, histories), histories, valid)
    assert len(finished.members) == 1
    assert finish.way is None


def test_without_validation_nothing_is_chosen(learner):
    histories, valid = world(told=True)
    model = untrained(learner, histories)
    finished, finish = learner.finish(model, histories, valid.of(np.arange(0)))
    assert finished is model
    assert finish == Finish()


@pytest.mark.parametrize("told", [True, False])
def test_what_was_chosen_can_be_repeated(learner, told):
    histories, valid = world(told)
    finished, finish = learner.finish(untrained(learner, histories), histories, valid)
    again = learner.repeat(untrained(learner, histories), histories, finish)
    assert len(again.members) == len(finished.members)
    assert ndcg(again, histories, valid, True) == pytest.approx(finish.score)


@pytest.mark.parametrize("with_linear", [False, True])
def test_calibration_changes_no_score_before_it_and_no_users_order(learner, with_linear):
    """Of users with target history and without; biases weigh as much as vectors, and the scale is far from 1."""
    histories, valid = world(told=True)
    target = np.arange(KINDS, 2 * KINDS)
    model = untrained(learner, histories)
    with torch.no_grad():
        model.members[0].tower.bias.normal_(std=3.0)
    if with_linear:
        model = learner.repeat(model, histories, Finish(learn.WAYS[0], scale=3.0))
    given, tags = Ragged.of([[0, 3], [5], [], [0, 3, KINDS]]), Ragged.of([[]] * 4)
    chosen_by = interest_scorer(model, target)(given, tags)
    job, shop = SimpleNamespace(config=learner.config), SimpleNamespace(histories=histories, target_items=target)
    finetune._calibrate(job, model, shop, valid)
    calibrated = interest_scorer(model, target)(given, tags)
    assert torch.equal(calibrated, chosen_by)
    assert abs(model.score_scale.item() - 1) > 0.3
    assert torch.equal(model.calibrated(calibrated).argsort(descending=True), chosen_by.argsort(descending=True))


@pytest.mark.parametrize("mask_seen", [True, False])
def test_validation_ranks_what_the_test_ranks(learner, mask_seen):
    """Those who are asked buy again what they have, which a model that knows it ranks first unless it is masked."""
    histories, valid = world(told=True)
    owned = [[int(histories.items.take(np.array([user])).values[2])] for user in valid.users]
    valid = Cases(valid.users, valid.history_lengths, Ragged.of(owned))
    config = learner.config.evaluate.model_copy(update={"mask_seen": mask_seen})
    learner = replace(learner, config=learner.config.model_copy(update={"evaluate": config}))
    model = untrained(learner, histories)
    with torch.no_grad():
        tower = model.members[0].tower
        tower.adaptor.weight.zero_()
        tower.adaptor.bias.zero_()
        tower.id_embedding.weight.copy_(torch.eye(KINDS, 24).repeat(2, 1) * 30)
    assert learner.ndcg(model, histories, valid) == ndcg(model, histories, valid, mask_seen)
    assert (learner.ndcg(model, histories, valid) > 0.7) is not mask_seen
    seen = []
    learner.from_target(model, learner.target_sampler(histories), histories, valid, epochs=1, heed=seen.append)
    assert all((score > 0.5) is not mask_seen for score in seen)
    job = SimpleNamespace(config=learner.config, report=Warned())
    shop = SimpleNamespace(histories=histories, target_items=np.arange(KINDS, 2 * KINDS))
    finetune._calibrate(job, model, shop, valid)
    assert bool(job.report.warned) is mask_seen, "nothing that may be recommended was bought"
