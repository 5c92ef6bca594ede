"""Monte Carlo arithmetic: its scatter is as large as rounding errors are, whatever torch computes, and leaves the rest alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import mpmath
import pytest
import torch
from torch import Tensor, nn

from mathcheck.engine.rounding import Noise, NoisyGradients, rounded_at_random

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def scatter(function: Callable[..., Tensor], *args: Tensor, runs: int = 8) -> Tensor:
    base = function(*args)
    return torch.stack([rounded_at_random(function, seed)(*args) - base for seed in range(runs)]).abs().amax(0)


def numbers(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@DTYPES
@pytest.mark.parametrize(
    ("function", "size"),
    [
        (lambda x: x * x, lambda x: x * x),
        (lambda x: x.exp(), lambda x: x.exp()),
        (lambda x: x.abs().log(), lambda x: x.abs().log().abs()),
        (lambda x: x / 3, lambda x: x.abs() / 3),
        (lambda x: (x + 100) - 100, lambda x: 100 + 0 * x),
        (lambda x: x.sum().reshape(1), lambda x: x.abs().sum().reshape(1)),
        (lambda x: x.clone().add_(100).sub_(100), lambda x: 100 + 0 * x),
    ],
    ids=["product", "exp", "log", "quotient", "cancellation", "sum", "in place"],
)
def test_the_scatter_is_what_rounding_can_do(
    function: Callable[[Tensor], Tensor], size: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> None:
    x, eps = numbers(40, dtype=dtype), torch.finfo(dtype).eps
    found = scatter(function, x)
    assert bool((found <= 8 * eps * size(x)).all())
    assert float(found.max()) >= eps / 8 * float(size(x).max()) / (len(x) ** 0.5)


@DTYPES
def test_matrix_products_scatter_by_their_terms(dtype: torch.dtype) -> None:
    a, b, eps = numbers(20, 30, dtype=dtype), numbers(30, 10, dtype=dtype, seed=1), torch.finfo(dtype).eps
    terms = a.abs() @ b.abs()
    found = scatter(torch.matmul, a, b)
    assert bool((found <= 16 * eps * terms).all())
    assert bool((found >= eps / 64 * terms / 30**0.5).all())


def test_a_triangular_solve_scatters_by_its_condition() -> None:
    n = 12
    lower = numbers(n, n).tril() / 4 + torch.eye(n, dtype=torch.float64)
    right = numbers(n, 1, seed=1)
    found = scatter(lambda a, b: torch.linalg.solve_triangular(a, b, upper=False), lower, right)
    value = torch.linalg.solve_triangular(lower, right, upper=False)
    with mpmath.workdps(40):
        true = mpmath.lu_solve(mpmath.matrix(lower.tolist()), mpmath.matrix(right.tolist()))
        error = max(abs(float(true[k] - mpmath.mpf(float(value[k])))) for k in range(n))
    assert error <= 8 * float(found.max())
    inverse = torch.linalg.inv(lower).abs()
    bound = inverse @ (lower.abs() @ value.abs() + right.abs()) * torch.finfo(torch.float64).eps
    assert bool((found <= 16 * bound).all())


@DTYPES
def test_the_error_of_a_cancellation_is_within_the_scatter(dtype: torch.dtype) -> None:
    """exp(x) - 1 - x, whose digits are gone for small x, beside its value at 50 digits."""
    x = 10.0 ** -torch.arange(1, 9, dtype=torch.float64)
    x = x.to(dtype)
    value = (x.exp() - 1 - x).double()
    with mpmath.workdps(50):
        true = torch.tensor([float(mpmath.expm1(float(v)) - float(v)) for v in x], dtype=torch.float64)
    error, found = (value - true).abs(), scatter(lambda t: t.exp() - 1 - t, x).double()
    assert bool((error <= 8 * found).all())
    assert bool((found <= 16 * torch.finfo(dtype).eps).all())


def test_modules_and_gradients_are_rounded_too() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    x = numbers(5, 4)

    def gradient(point: Tensor) -> Tensor:
        point = point.detach().clone().requires_grad_()
        (found,) = torch.autograd.grad(net(point).sum(), point)
        return found

    for found in (scatter(lambda t: net(t).detach(), x), scatter(gradient, x)):
        assert 1e-18 < float(found.max()) < 1e-13


def test_random_numbers_copies_and_views_stay_as_they_are() -> None:
    generator = torch.Generator()
    plain = [torch.randn(5, generator=generator.manual_seed(1)), torch.rand(3, generator=generator)]
    torch.manual_seed(2)
    plain.append(torch.randn(4))
    torch.manual_seed(2)
    x = torch.arange(6.0)
    with Noise(0):
        noisy = [torch.randn(5, generator=generator.manual_seed(1)), torch.rand(3, generator=generator), torch.randn(4)]
        moved = torch.cat([x.reshape(2, 3).T.reshape(-1)[:4], x[4:].clone(), x.max().reshape(1), -x[:1]])
        y = x.clone()
        y[:3].mul_(3.0)
    assert all(torch.equal(a, b) for a, b in zip(plain, noisy, strict=True))
    assert torch.equal(moved, torch.cat([x.reshape(2, 3).T.reshape(-1)[:4], x[4:], x[5:], -x[:1]]))
    assert torch.equal(y[3:], x[3:])
    assert not torch.equal(y[1:3], 3 * x[1:3])
    assert torch.allclose(y[:3], 3 * x[:3])


def test_a_record_is_rounded_function_by_function() -> None:
    @dataclasses.dataclass(frozen=True)
    class Pair:
        one: Callable[[Tensor], Tensor]
        number: Any = 3.0

    x = numbers(10)
    noisy = rounded_at_random(Pair(torch.exp), 0)
    assert noisy.number == 3.0
    assert not torch.equal(noisy.one(x), x.exp())
    assert torch.equal(noisy.one(x), noisy.one(x))
    assert rounded_at_random(3, 0) == 3
    assert not torch.equal(rounded_at_random(lambda t: t.clone(), 0, inputs=True)(x), x)


@pytest.mark.parametrize("vectorize", [False, True])
def test_a_cancellation_inside_a_backward_pass_scatters(vectorize: bool) -> None:
    """The derivative of expm1(x) - x, which autograd takes as (expm1(x) + 1) - 1."""
    x = torch.tensor([1e-17, 1e-3], dtype=torch.float64)

    def derivative() -> Tensor:
        rows = torch.autograd.functional.jacobian(lambda x: torch.expm1(x) - x, x, vectorize=vectorize)
        return rows.diagonal()

    value, found = torch.expm1(x), []
    for seed in range(8):
        with NoisyGradients(seed):
            found.append(derivative())
            assert torch.equal(torch.expm1(x), value)  # what is no backward pass is not moved
    scatter = (torch.stack(found) - derivative()).abs().amax(0)
    eps = torch.finfo(torch.float64).eps
    assert bool(((eps / 2 <= scatter) & (scatter <= 16 * eps)).all())
