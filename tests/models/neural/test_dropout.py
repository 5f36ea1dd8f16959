from __future__ import annotations

import pytest
import torch

from crossrec_cli.models.neural.dropout import Dropout, split_mix


def dropped(rows: torch.Tensor | None, *shape: int, rate: float = 0.3, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return Dropout(rate)(torch.ones(shape), rows)


def test_what_is_left_is_larger_by_as_much():
    left = dropped(None, 500, 7, 11)
    assert left.unique().tolist() == pytest.approx([0, 256 / (256 - round(0.3 * 256))])
    assert left.mean().item() == pytest.approx(1, abs=0.02)


def test_what_a_row_loses_hangs_on_its_name_alone():
    everybody = dropped(None, 40, 3, 5)
    some = torch.tensor([17, 2, 39])
    assert torch.equal(dropped(some, 3, 3, 5), everybody[some])


def test_rows_places_calls_and_seeds_have_chances_of_their_own():
    """As many as chance would have it are dropped in two of them at once: neither more nor fewer."""
    first, other = dropped(None, 400, 64), dropped(None, 400, 64, seed=1)
    torch.manual_seed(0)
    module = Dropout(0.3)
    again = [module(torch.ones(400, 64)) for _ in range(2)][1]
    expected = (round(0.3 * 256) / 256) ** 2
    for one, two in [(first, other), (first, again), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])]:
        both = ((one == 0) & (two == 0)).float().mean().item()
        assert both == pytest.approx(expected, abs=4 * (expected / one.numel()) ** 0.5)


def test_nothing_is_dropped_where_nothing_is_learned_and_all_at_a_rate_of_almost_one():
    values = torch.randn(4, 5, requires_grad=True)
    assert Dropout(0.3).eval()(values) is values
    assert Dropout(0.0)(values) is values
    gone = Dropout(0.999)(values)
    gone.sum().backward()
    assert not gone.any()
    assert not values.grad.any()


def test_mixing_is_splitmix64s():
    """The first outputs from seed 1234567 in the generator's own reference implementation."""
    states = 1234567 + torch.arange(1, 4) * (0x9E3779B97F4A7C15 - 2**64)
    assert [number % 2**64 for number in split_mix(states).tolist()] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]
