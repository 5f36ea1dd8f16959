from __future__ import annotations

import pytest
import torch

from crossrec_cli.models.neural import loss


def plain(users, vectors, bias, rows, items, weights):
    each = torch.nn.functional.cross_entropy((users @ vectors.T + bias)[rows], items, reduction="none")
    return (each * weights).sum() / weights.sum()


def problem(seed: int = 0):
    torch.manual_seed(seed)
    users, vectors, bias = torch.randn(23, 8), torch.randn(40, 8), torch.randn(40)
    rows = torch.randint(0, 23, (60,)).sort().values
    items = torch.randint(0, 40, (60,))
    items[:2], rows[:2] = 3, 0  # one item wanted twice by one user
    weights = torch.rand(60) * 20 + 0.05
    return [part.requires_grad_() for part in (users, vectors, bias)], (rows, items, weights)


@pytest.mark.parametrize("cells", [1, 200, 10**6])
def test_loss_and_gradients_are_those_of_cross_entropy_whatever_the_chunks(cells, monkeypatch):
    monkeypatch.setattr(loss, "CHUNK_CELLS", cells)
    parts, asked = problem()
    expected = plain(*parts, *asked)
    gradients = torch.autograd.grad(3 * expected, parts)
    found = loss.softmax_loss(*parts, *asked)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(3 * found, parts), gradients)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_equal_weights_give_the_plain_mean(weight):
    parts, (rows, items, _) = problem()
    expected = torch.nn.functional.cross_entropy((parts[0] @ parts[1].T + parts[2])[rows], items)
    found = loss.softmax_loss(*parts, rows, items, torch.full((60,), weight))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, parts), torch.autograd.grad(expected, parts))


def test_heavy_weights_do_not_overflow_float16():
    parts, (rows, items, weights) = problem()
    halves = [part.detach().half().requires_grad_() for part in parts[:2]]
    found = loss.softmax_loss(*halves, parts[2], rows, items, 10_000 * weights)
    expected = torch.autograd.grad(plain(*parts, rows, items, weights), parts[:2])
    for near, exact in zip(torch.autograd.grad(found, halves), expected, strict=True):
        assert (near.float() - exact).norm() < 0.02 * exact.norm()


def test_in_bfloat16_it_is_near():
    parts, asked = problem()
    expected = plain(*parts, *asked)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss.softmax_loss(*parts, *asked)
    assert found.dtype is torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)
    for near, exact in zip(torch.autograd.grad(found, parts), torch.autograd.grad(expected, parts), strict=True):
        assert (near - exact).norm() < 0.02 * exact.norm()


def test_nothing_to_predict_is_no_loss():
    parts, asked = problem()
    found = loss.softmax_loss(*parts, *(nothing[:0] for nothing in asked))
    found.backward()
    assert found == 0
    assert parts[0].grad.abs().sum() == 0
