"""What a batch of two domains asks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the field's usual name

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural.objective import Batch
from crossrec_cli.models.neural.sampler import Sampler
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.ragged import Ragged

ITEMS, USERS = 40, 30
SOURCE, TARGET = np.arange(ITEMS) < 25, (np.arange(ITEMS) >= 25) & (np.arange(ITEMS) < 38)
"""Nobody is asked for the last two items."""


def example(domains: tuple[np.ndarray, ...]) -> tuple[InterestModel, Sampler]:
    rng = np.random.default_rng(3)
    lists = [rng.integers(0, ITEMS, rng.integers(2, 9)).tolist() for _ in range(USERS)]
    weights = rng.uniform(0.5, 3, sum(map(len, lists))).astype(np.float32)
    histories = Ragged(np.concatenate(lists), np.array([*map(len, lists)]), weights)
    torch.manual_seed(0)
    config = Interest(user_encoder="bag", dim=8, dropout=0.0, id_dropout=0.0)
    model = InterestModel(config, np.eye(ITEMS, dtype=np.float32), ItemStats(~SOURCE, np.ones(ITEMS, int)), tags=0)
    torch.nn.init.normal_(model.tower.bias)
    return model, Sampler(histories, Ragged.of([[]] * USERS), domains, batch_size=USERS, window=6)


@pytest.mark.parametrize("domains", [(SOURCE, TARGET), (TARGET,), (SOURCE | TARGET,)])
def test_each_item_is_told_apart_from_the_others_of_its_domain_and_the_domains_count_alike(domains):
    """Whatever more is bought in one of them."""
    model, sampler = example(domains)
    users = np.arange(USERS)
    batch = Batch.of(model, sampler, users, ITEMS, np.random.default_rng(1))
    with torch.no_grad():
        found = batch.loss(model, users)
        items = model.tower.item_embeddings()
        wanted = model.user_vectors(items, batch.sets.given, batch.sets.tags)
    logits = (wanted @ items.vectors.T + items.bias)[batch.sets.rows]
    losses = []
    for domain in domains:
        asked = torch.from_numpy(domain)[batch.sets.items]
        among = logits.masked_fill(~torch.from_numpy(domain), -torch.inf)[asked]
        each = F.cross_entropy(among, batch.sets.items[asked], reduction="none")
        losses.append((each * batch.sets.weights[asked]).sum() / batch.sets.weights[asked].sum())
    torch.testing.assert_close(found, torch.stack(losses).mean())
    assert sampler.predict[batch.sets.items.numpy()].all()
