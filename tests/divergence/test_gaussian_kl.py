"""The divergence of normals at work: the series and the exponential where they meet, blocks of rows, `torch.vmap`."""

from __future__ import annotations

import mpmath
import pytest
import torch
from torch import Tensor

from mathcheck.bench.kernels.gaussian_kl import slopes, textbook
from mathcheck.divergence.gaussian_kl import kl_diagonal
from mathcheck.divergence.kernels.excess import half_exp_excess

F32, F64 = torch.float32, torch.float64


def _excess(d: float) -> mpmath.mpf:
    with mpmath.workdps(60):
        return (mpmath.expm1(mpmath.mpf(d)) - mpmath.mpf(d)) / 2


@pytest.mark.parametrize("dtype", [F32, F64])
def test_the_excess_is_relatively_accurate_everywhere(dtype: torch.dtype) -> None:
    """Worst just beyond 1/2: there $e^{d/2} - 1$, rounded to a unit, and its sum, to a half, are 3.8 times the value."""
    sizes = torch.cat([torch.logspace(-15, 1.9, 300, dtype=F64), 0.5 + torch.linspace(-1e-3, 1e-3, 21, dtype=F64)])
    d = torch.cat([sizes, -sizes]).to(dtype)
    for point, value in zip(d.tolist(), half_exp_excess(d).tolist(), strict=True):
        true = _excess(point)
        assert abs(mpmath.mpf(value) - true) <= 6 * torch.finfo(dtype).eps * true, point


def test_the_textbook_excess_is_not() -> None:
    d = torch.tensor(1e-6, dtype=F64)
    true = _excess(float(d))
    assert abs(float(torch.expm1(d) - d) / 2 - true) > 1e5 * torch.finfo(F64).eps * true


def test_the_half_is_finite_where_the_whole_is_not() -> None:
    d = torch.tensor(89.0, dtype=F32)
    assert torch.isinf(d.exp())
    assert abs(mpmath.mpf(float(half_exp_excess(d))) - _excess(89.0)) <= 3 * torch.finfo(F32).eps * _excess(89.0)


def test_the_excess_is_mapped_and_differentiated() -> None:
    d = torch.linspace(-2, 2, 12, dtype=F64).reshape(3, 4)
    assert torch.equal(torch.vmap(half_exp_excess, in_dims=1, out_dims=1)(d), half_exp_excess(d))
    slope = torch.vmap(torch.vmap(torch.func.grad(half_exp_excess)))(d)
    assert torch.equal(slope, torch.expm1(d) / 2)


def _rows(*shape: int) -> list[Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=g, dtype=F64) for _ in range(4)]


@pytest.mark.parametrize("shape", [(700, 100), (2, 350, 100), (1, 2**17), (5, 3)])
@pytest.mark.parametrize("strided", [False, True])
def test_rows_are_those_of_the_textbook_whatever_the_block(shape: tuple[int, ...], strided: bool) -> None:
    """Values and slopes are of size 1 and more for such inputs, so that the textbook's rounding stays below 64 n eps."""
    inputs = [t.mT.contiguous().mT if strided else t for t in _rows(*shape)]
    leaves = [t.detach().requires_grad_() for t in inputs]
    weight = torch.linspace(-1, 1, inputs[0].shape[:-1].numel(), dtype=F64).reshape(shape[:-1])
    value = kl_diagonal(*leaves)
    gradients = torch.autograd.grad((value * weight).sum(), leaves)
    expected, bound = textbook(*inputs), 64 * shape[-1] * torch.finfo(F64).eps
    assert value.shape == shape[:-1]
    assert bool(((value - expected).abs() <= bound * expected).all())
    for found, slope in zip(gradients, slopes(*inputs), strict=True):
        true = slope * weight.unsqueeze(-1)
        assert bool(((found - true).abs() <= bound * (1 + true.abs())).all())
