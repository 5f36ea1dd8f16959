from __future__ import annotations

import numpy as np
import pytest
import torch

from crossrec_cli.config.training_fields import Interest
from crossrec_cli.models.histories import ItemStats
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.user_encoders import SequenceEncoder


def test_the_latest_purchase_tells_the_most_however_small_its_vector():
    """Before anything is learned. As they come, vectors as small as a new item's say less than the layers' noise."""
    torch.manual_seed(0)
    encoder = SequenceEncoder(Interest(dim=32, max_sequence=8)).eval()
    tokens, others = 0.02 * torch.randn(64, 8, 32), 0.02 * torch.randn(64, 32)
    nobody, in_target = torch.zeros(64, 32), torch.ones(64, 8)

    def moved(place: int) -> float:
        changed = tokens.clone()
        changed[:, place] = others
        with torch.no_grad():
            before, after = (encoder(nobody, given, in_target)[:, -1] for given in (tokens, changed))
        return 1 - torch.cosine_similarity(before, after).mean().item()

    assert moved(7) > 20 * moved(0)


@pytest.mark.parametrize(("kind", "drops"), [("bag", True), ("sequence", False), ("hybrid", True)])
def test_items_are_whole_where_the_encoder_drops_of_what_it_reads(kind, drops):
    torch.manual_seed(0)
    config = Interest(dim=8, user_encoder=kind, dropout=0.5, id_dropout=0.0)
    domain = ItemStats(np.ones(20, bool), np.ones(20, int))
    model = InterestModel(config, np.eye(20, dtype=np.float32), domain, tags=0)
    assert torch.equal(model.train().tower().vectors, model.eval().tower().vectors) != drops
    if model.sequence is not None:
        given = torch.randn(3, 8), torch.randn(3, 4, 8), torch.ones(3, 4)
        model.sequence.layers = torch.nn.ModuleList()
        assert not torch.equal(model.sequence.train()(*given), model.sequence.eval()(*given))


def test_target_purchases_stand_where_they_would_without_the_source():
    torch.manual_seed(0)
    encoder = SequenceEncoder(Interest(dim=8, max_sequence=6)).eval()
    encoder.layers = torch.nn.ModuleList()
    prefix, items = torch.randn(1, 8), torch.randn(1, 6, 8)
    in_target = torch.tensor([[0.0, 0.0, 1.0, 0.0, 1.0, 1.0]])
    mixed = encoder(prefix, items, in_target)[0]
    for domain in (0.0, 1.0):
        own = in_target[0] == domain
        alone = encoder(prefix, items[:, own], in_target[:, own])[0]
        torch.testing.assert_close(mixed[1:][own], alone[1:])


@pytest.mark.parametrize("layers", [1, 3])
def test_the_last_state_is_that_of_all_states(layers):
    torch.manual_seed(0)
    encoder = SequenceEncoder(Interest(dim=8, max_sequence=6, layers=layers)).eval()
    prefix, items, in_target = torch.randn(5, 8), torch.randn(5, 6, 8), torch.randint(0, 2, (5, 6)).float()
    lengths = torch.tensor([0, 1, 3, 6, 4])
    with torch.no_grad():
        everywhere = encoder(prefix, items, in_target)
        torch.testing.assert_close(encoder.last(prefix, items, in_target, lengths), everywhere[range(5), lengths])


@pytest.mark.parametrize("layers", [1, 2])
def test_without_each_is_the_last_state_with_one_item_masked_in_the_last_layer(layers):
    torch.manual_seed(0)
    encoder = SequenceEncoder(Interest(dim=8, max_sequence=6, layers=layers)).eval()
    prefix, items, in_target = torch.randn(4, 8), torch.randn(4, 6, 8), torch.randint(0, 2, (4, 6)).float()
    lengths = torch.tensor([1, 3, 6, 4])
    final = encoder.layers[-1]
    real = final._asked
    with torch.no_grad():
        whole, found = encoder.without_each(prefix, items, in_target, lengths).split([1, 6], dim=1)
        torch.testing.assert_close(whole[:, 0], encoder.last(prefix, items, in_target, lengths))
        for item in range(6):

            def masked(states, positions, item=item):
                query, key, value, seen = real(states, positions)
                return query, key, value, seen & (torch.arange(7) != item + 1)

            final._asked = masked
            expected = encoder.last(prefix, items, in_target, lengths)
            has_it = lengths > item
            torch.testing.assert_close(found[has_it, item], expected[has_it], atol=1e-4, rtol=1e-4)
