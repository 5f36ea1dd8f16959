from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec_cli.config.schema import Interest, Training
from crossrec_cli.interest.batches import Ragged, Sampler
from crossrec_cli.interest.model import InterestModel
from crossrec_cli.interest.train import fit
from crossrec_cli.reporting import Silent
from crossrec_cli.runtime import Compute


@pytest.mark.parametrize("kind", ["bag", "sequence", "hybrid"])
def test_an_item_is_learnt_in_proportion_to_its_weight(kind):
    """After item 0 half the users go on with item 1 and half with item 2, but item 1 weighs four times as much."""
    torch.manual_seed(0)
    items = np.tile([0, 1, 0, 2], 100)
    histories = Ragged(items, np.full(200, 2), np.where(items == 1, 4, 1).astype(np.float32))
    sampler = Sampler(histories, Ragged.of([[]] * 200), np.array([False, True, True]), batch_size=200, window=3)
    config = Interest(user_encoder=kind, dim=8, max_sequence=2, dropout=0.0, id_dropout=0.0)
    model = InterestModel.create(config, np.eye(3, dtype=np.float32), np.ones(3, bool), tags=0)
    compute = Compute(torch.device("cpu"), torch.float32)
    fit(model, sampler, Training(epochs=60, lr=0.03), 0, compute, Silent())
    with torch.no_grad():
        vectors, bias = model.eval().tower()
        user = model.user_vectors(vectors, Ragged.of([[0]]), Ragged.of([[]]))
        share = (user @ vectors[1:].T + bias[1:]).softmax(dim=1)[0, 0]
    assert share == pytest.approx(0.8, abs=0.03)
