"""The divergence of two normal distributions, with diagonal and with full covariances."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from mathcheck.bench import jax as with_jax
from mathcheck.bench.kernel import (
    COMPILED,
    OURS,
    PLAIN,
    Contender,
    Inputs,
    Kernel,
    Size,
    Work,
    against,
    compiled,
    of,
    with_gradient,
)
from mathcheck.divergence.gaussian_kl import kl_cholesky, kl_diagonal, kl_full
from mathcheck.engine.residual import Residual

DIAGONAL_SIZES = ({"rows": 64, "n": 32}, {"rows": 1024, "n": 256}, {"rows": 4096, "n": 512})


def _diagonal(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
    return tuple(torch.randn(size["rows"], size["n"], generator=generator).to(dtype) for _ in range(4))


def textbook(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
    """The formula as one finds it, of means and log-variances."""
    return (((v - w).exp() - 1 - (v - w)) + (m - a) ** 2 / w.exp()).sum(-1) / 2


def _distributions(validate: bool) -> Callable[..., Tensor]:
    def divergence(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
        q, p = (
            Independent(Normal(mean, (log / 2).exp(), validate_args=validate), 1, validate_args=validate)
            for mean, log in ((m, v), (a, w))
        )
        value: Tensor = kl_divergence(q, p)
        return value

    return divergence


def _terms(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
    """The sum of absolute values of what is added up and rounded."""
    return ((v - w).exp() + 1 + (v - w).abs() + (m - a) ** 2 / w.exp()).sum(-1)


def slopes(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> tuple[Tensor, ...]:
    """The textbook's partial derivatives."""
    pull, excess = (m - a) / w.exp(), (v - w).exp() - 1
    return pull, excess / 2, -pull, -(excess + (m - a) * pull) / 2


def _slope_terms(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> tuple[Tensor, ...]:
    pull, both = (m - a).abs() / w.exp(), (v - w).exp() + 1
    return (
        pull * (1 + w.abs()),
        both * (1 + (v - w).abs()),
        pull * (1 + w.abs()),
        (both + (m - a).abs() * pull) * (1 + w.abs()),
    )


def _numpyro(jax: Any) -> Any:
    numpyro: Any = importlib.import_module("numpyro.distributions")

    def divergence(m: Any, v: Any, a: Any, w: Any) -> Any:
        q, p = (numpyro.Normal(mean, jax.numpy.exp(log / 2)).to_event(1) for mean, log in ((m, v), (a, w)))
        return numpyro.kl_divergence(q, p)

    return divergence


def _with_slopes(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda jax: jax.grad(lambda *inputs: build(jax)(*inputs).sum(), argnums=(0, 1, 2, 3))


def _by_jax(build: Callable[[Any], Any], *needs: str) -> Contender:
    return replace(with_jax.contender(build), needs=("jax", *needs))


DIAGONAL = Kernel(
    "kl_diagonal",
    "KL of diagonal normals, forward",
    "divergence.gaussian_kl",
    DIAGONAL_SIZES,
    _diagonal,
    {
        OURS: of(kl_diagonal),
        COMPILED: compiled(kl_diagonal),
        PLAIN: of(textbook),
        "torch.distributions": of(_distributions(True)),
        "torch.distributions, unvalidated": of(_distributions(False)),
        "numpyro": _by_jax(_numpyro, "numpyro"),
    },
    against(textbook, _terms),
    lambda size: Work(4 * size["rows"] * size["n"]),
    card_sizes=({"rows": 4096, "n": 512}, {"rows": 16384, "n": 1024}, {"rows": 65536, "n": 1024}),
)

MATRIX_SIZES = ({"rows": 16, "n": 4}, {"rows": 64, "n": 16}, {"rows": 256, "n": 64})


def _covariances(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
    n = size["n"]
    draw = functools.partial(torch.randn, generator=generator, dtype=torch.float64)
    roots = [draw(size["rows"], n, n) / n**0.5 for _ in range(2)]
    spreads = [(root @ root.mT + torch.eye(n)).to(dtype) for root in roots]
    means = [draw(size["rows"], n).to(dtype) for _ in range(2)]
    return means[0], spreads[0], means[1], spreads[1]


def _factors(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
    m, v, a, w = _covariances(size, generator, torch.float64)
    return tuple(t.to(dtype) for t in (m, torch.linalg.cholesky(v), a, torch.linalg.cholesky(w)))


def textbook_full(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
    """The formula as one finds it, of means and covariances."""
    shift = (a - m).unsqueeze(-1)
    solved = torch.linalg.solve(w, torch.cat([v, shift], -1))
    trace = solved[..., :-1].diagonal(dim1=-2, dim2=-1).sum(-1)
    logs = _log_determinant(w) - _log_determinant(v)
    value: Tensor = (trace - m.shape[-1] + logs + (shift * solved[..., -1:]).sum((-2, -1))) / 2
    return value


def _log_determinant(matrix: Tensor) -> Tensor:
    value: Tensor = torch.linalg.slogdet(matrix).logabsdet
    return value


def textbook_factors(m: Tensor, lower: Tensor, a: Tensor, other: Tensor) -> Tensor:
    """The formula as one finds it, of means and Cholesky factors."""
    solved = torch.linalg.solve_triangular(other, torch.cat([lower, (a - m).unsqueeze(-1)], -1), upper=False)
    logs = (other.diagonal(dim1=-2, dim2=-1).log() - lower.diagonal(dim1=-2, dim2=-1).log()).sum(-1)
    value: Tensor = (solved.square().sum((-2, -1)) - m.shape[-1]) / 2 + logs
    return value


def _multivariate(spread: str, validate: bool) -> Callable[..., Tensor]:
    def divergence(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
        q, p = (MultivariateNormal(mean, validate_args=validate, **{spread: t}) for mean, t in ((m, v), (a, w)))
        value: Tensor = kl_divergence(q, p)
        return value

    return divergence


def _matrix_terms(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> Tensor:
    """The trace, n, both log-determinants and the squared distance, times the larger condition number."""
    logs = _log_determinant(w).abs() + _log_determinant(v).abs()
    condition = torch.maximum(torch.linalg.cond(v), torch.linalg.cond(w))
    return condition * (textbook_full(m, v, a, w).abs() + 2 * m.shape[-1] + 2 * logs)


def _factor_terms(m: Tensor, lower: Tensor, a: Tensor, other: Tensor) -> Tensor:
    return _matrix_terms(m, lower @ lower.mT, a, other @ other.mT)


def _matrix_work(size: Size) -> Work:
    n, rows = size["n"], size["rows"]
    return Work(2 * rows * (n * n + n), rows * (2 * n**3 / 3 + n**3 / 3 + n**2))


def _factor_work(size: Size) -> Work:
    n, rows = size["n"], size["rows"]
    return Work(2 * rows * (n * n + n), rows * (n**3 / 3 + n**2))


def _slopes_of(textbook: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, ...]]:
    def truth(*inputs: Tensor) -> tuple[Tensor, ...]:
        leaves = [t.clone().requires_grad_() for t in inputs]
        return torch.autograd.grad(textbook(*leaves).sum(), leaves)

    return truth


def _matrix_slope_terms(m: Tensor, v: Tensor, a: Tensor, w: Tensor) -> tuple[Tensor, ...]:
    """Norms of the products that gradients in covariances are made of, times the larger condition number."""
    of_v, of_w = torch.linalg.inv(v), torch.linalg.inv(w)
    norm = functools.partial(torch.linalg.matrix_norm, ord=2)
    pull = torch.linalg.vector_norm((of_w @ (m - a).unsqueeze(-1)).squeeze(-1), dim=-1)
    condition = torch.maximum(torch.linalg.cond(v), torch.linalg.cond(w))
    mean = condition * norm(of_w) * torch.linalg.vector_norm(m - a, dim=-1)
    of_q, of_p = condition * (norm(of_v) + norm(of_w)), condition * (norm(of_w) * (1 + norm(v) * norm(of_w)) + pull**2)
    return mean[..., None], of_q[..., None, None], mean[..., None], of_p[..., None, None]


def _factor_slope_terms(m: Tensor, lower: Tensor, a: Tensor, other: Tensor) -> tuple[Tensor, ...]:
    mean, of_q, _, of_p = _matrix_slope_terms(m, lower @ lower.mT, a, other @ other.mT)
    sizes = (torch.linalg.matrix_norm(t, ord=2)[..., None, None] for t in (lower, other))
    return mean, of_q * next(sizes), mean, of_p * next(sizes)


def _lower(gradients: Iterable[Tensor]) -> list[Tensor]:
    """Of gradients in matrices of which only the lower triangles are read, the upper ones may be anything."""
    return [t if t.ndim == 2 else t.tril() for t in gradients]


def _factor_slope_residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
    def truth(*factors: Tensor) -> list[Tensor]:
        return _lower(_slopes_of(textbook_factors)(*factors))

    return against(truth, _factor_slope_terms)(inputs, _lower(result))


FULL = Kernel(
    "kl_full",
    "KL of normals with covariance matrices, forward",
    "divergence.gaussian_kl",
    MATRIX_SIZES,
    _covariances,
    {
        OURS: of(kl_full),
        PLAIN: of(textbook_full),
        "torch.distributions": of(_multivariate("covariance_matrix", True)),
        "torch.distributions, unvalidated": of(_multivariate("covariance_matrix", False)),
    },
    against(textbook_full, _matrix_terms),
    _matrix_work,
    card_sizes=({"rows": 256, "n": 64}, {"rows": 1024, "n": 64}, {"rows": 8192, "n": 64}),
)

CHOLESKY = Kernel(
    "kl_cholesky",
    "KL of normals with Cholesky factors, forward",
    "divergence.gaussian_kl",
    MATRIX_SIZES,
    _factors,
    {
        OURS: of(kl_cholesky),
        PLAIN: of(textbook_factors),
        "torch.distributions": of(_multivariate("scale_tril", True)),
        "torch.distributions, unvalidated": of(_multivariate("scale_tril", False)),
    },
    against(textbook_factors, _factor_terms),
    _factor_work,
    card_sizes=FULL.card_sizes,
)

KERNELS = (
    DIAGONAL,
    with_gradient(
        DIAGONAL,
        against(slopes, _slope_terms),
        lambda size: Work(8 * size["rows"] * size["n"]),
        {"numpyro": _by_jax(_with_slopes(_numpyro), "numpyro")},
    ),
    FULL,
    with_gradient(
        FULL,
        against(_slopes_of(textbook_full), _matrix_slope_terms),
        lambda size: Work(2 * _matrix_work(size).numbers, 3 * _matrix_work(size).flops),
    ),
    CHOLESKY,
    with_gradient(
        CHOLESKY,
        _factor_slope_residuals,
        lambda size: Work(2 * _factor_work(size).numbers, 3 * _factor_work(size).flops),
    ),
)
