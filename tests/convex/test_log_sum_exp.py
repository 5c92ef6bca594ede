"""Smooth maximum and log-mean-exp at work: blocks of rows, second derivatives, `torch.vmap`, infinite rows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mathcheck.convex.smooth_max import smooth_max
from mathcheck.probability.log_mean_exp import log_mean_exp

F64 = torch.float64
EPS = torch.finfo(F64).eps


def _rows(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=F64)


@pytest.mark.parametrize("shape", [(700, 100), (2, 350, 100), (2**17,), (5, 3)])
@pytest.mark.parametrize("beta", [1.0, 0.25, 8.0])
def test_rows_are_those_of_logsumexp_whatever_the_block(shape: tuple[int, ...], beta: float) -> None:
    """Both round sums of n positive terms and their logarithms, at most 16 + n / 64 times, since they add up in blocks."""
    x = (2 * _rows(*shape)).requires_grad_()
    weight = torch.linspace(-1, 1, max(1, math.prod(shape[:-1])), dtype=F64).reshape(shape[:-1])
    value, expected = smooth_max(x, beta), torch.logsumexp(beta * x, -1) / beta
    bound = (16 + shape[-1] / 64) * EPS
    assert value.shape == shape[:-1]
    assert bool(((value - expected).abs() <= bound * (expected.abs() + 1 / beta)).all())
    slope, true = (torch.autograd.grad((v * weight).sum(), x)[0] for v in (value, expected))
    size = true.abs() * (1 + beta * (x.abs() + expected.unsqueeze(-1).abs()))
    assert bool(((slope - true).abs() <= bound * size).all())


def test_the_mean_is_taken_over_the_dimension_asked_for() -> None:
    x = _rows(3, 70, 500)
    for dim in (0, 1, 2, -2):
        expected = torch.logsumexp(x, dim) - math.log(x.shape[dim])
        assert bool(((log_mean_exp(x, dim) - expected).abs() <= 64 * EPS * (expected.abs() + math.log(500))).all())


@pytest.mark.parametrize("function", [lambda x: smooth_max(x, 3.0), log_mean_exp])
def test_second_derivatives_and_vmap(function: object) -> None:
    assert callable(function)
    x = _rows(4, 5).requires_grad_()
    assert torch.autograd.gradgradcheck(function, (x,))
    assert torch.equal(torch.vmap(function, in_dims=1)(x), function(x.mT))
    slopes = torch.vmap(torch.func.grad(function))(x.detach())
    assert bool(((slopes.sum(-1) - 1).abs() <= 16 * EPS).all())


def test_infinite_rows_are_limits() -> None:
    x = torch.tensor([[-math.inf, -math.inf], [0.0, math.inf], [0.0, -math.inf], [math.nan, 0.0]], requires_grad=True)
    for function, third in ((smooth_max, 0.0), (log_mean_exp, math.log(0.5))):
        value = function(x)
        slope = torch.autograd.grad(value.sum(), x)[0]
        assert value[:3].tolist() == [-math.inf, math.inf, pytest.approx(third, abs=torch.finfo(x.dtype).eps)]
        assert bool(value[3].isnan())
        assert slope[0].tolist() == [0.0, 0.0]
        assert slope[2].tolist() == [1.0, 0.0]
