from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec_cli.config.schema import Interest
from crossrec_cli.interest.batches import Domain
from crossrec_cli.interest.encoders import SequenceEncoder
from crossrec_cli.interest.ensemble import Ensemble


def test_the_latest_purchase_tells_the_most_however_small_its_vector():
    """Before anything is learned. As they come, vectors as small as a new item's say less than the layers' noise."""
    torch.manual_seed(0)
    encoder = SequenceEncoder(Interest(dim=32, max_sequence=8)).eval()
    tokens, others = 0.02 * torch.randn(64, 8, 32), 0.02 * torch.randn(64, 32)

    def moved(place: int) -> float:
        changed = tokens.clone()
        changed[:, place] = others
        with torch.no_grad():
            before, after = encoder(tokens)[:, -1], encoder(changed)[:, -1]
        return 1 - torch.cosine_similarity(before, after).mean().item()

    assert moved(7) > 20 * moved(0)


@pytest.mark.parametrize(("kind", "drops"), [("bag", True), ("sequence", False), ("hybrid", True)])
def test_items_are_whole_where_the_encoder_drops_of_what_it_reads(kind, drops):
    torch.manual_seed(0)
    config = Interest(dim=8, user_encoder=kind, dropout=0.5, id_dropout=0.0)
    domain = Domain(np.ones(20, bool), np.ones(20, int))
    [model] = Ensemble.create(config, np.eye(20, dtype=np.float32), domain, tags=0).members
    assert torch.equal(model.train().tower().vectors, model.eval().tower().vectors) != drops
    if model.sequence is not None:
        tokens = torch.randn(3, 4, 8)
        model.sequence.layers = torch.nn.ModuleList()
        assert not torch.equal(model.sequence.train()(tokens), model.sequence.eval()(tokens))
