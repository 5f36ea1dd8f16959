from __future__ import annotations

import pytest
import torch

from crossrec_cli.interest import loss


def plain(users, vectors, bias, rows, items):
    return torch.nn.functional.cross_entropy((users @ vectors.T + bias)[rows], items)


def problem(seed: int = 0):
    torch.manual_seed(seed)
    users, vectors, bias = torch.randn(23, 8), torch.randn(40, 8), torch.randn(40)
    rows = torch.randint(0, 23, (60,)).sort().values
    items = torch.randint(0, 40, (60,))
    items[:2], rows[:2] = 3, 0  # one item wanted twice by one user
    return [part.requires_grad_() for part in (users, vectors, bias)], rows, items


@pytest.mark.parametrize("cells", [1, 200, 10**6])
def test_loss_and_gradients_are_those_of_cross_entropy_whatever_the_chunks(cells, monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_CELLS", cells)
    parts, rows, items = problem()
    expected = plain(*parts, rows, items)
    gradients = torch.autograd.grad(3 * expected, parts)
    found = loss.softmax_loss(*parts, rows, items)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(3 * found, parts), gradients)


def test_in_bfloat16_it_is_near():
    parts, rows, items = problem()
    expected = plain(*parts, rows, items)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss.softmax_loss(*parts, rows, items)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    for near, exact in zip(torch.autograd.grad(found, parts), torch.autograd.grad(expected, parts), strict=True):
        assert (near - exact).norm() < 0.02 * exact.norm()


def test_nothing_to_predict_is_no_loss():
    parts, rows, items = problem()
    found = loss.softmax_loss(*parts, rows[:0], items[:0])
    found.backward()
    assert found == 0
    assert parts[0].grad.abs().sum() == 0
