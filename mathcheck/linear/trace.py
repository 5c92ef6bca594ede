r"""The trace of a product without the product, and the mean of a quadratic form, which is one.

$\mathrm{tr}(AB) = \sum_{ij} A_{ij}B_{ji} = \mathrm{tr}(BA)$, so factors may be moved round in a circle, and only so. A
number is the trace of itself, hence $x^\top M x = \mathrm{tr}(M x x^\top)$, and its mean is linear in that of $xx^\top$.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Kind, Residual, exactly

Trace = Callable[..., Tensor]
Form = Callable[[Tensor, Tensor, Tensor], Tensor]


def _check(name: str, t: Tensor, like: Tensor, shape: tuple[int | str, ...]) -> None:
    expected = (*like.shape[: like.ndim - 2], *shape)
    fits = len(expected) == t.ndim and all(isinstance(e, str) or e == s for e, s in zip(expected, t.shape, strict=True))
    if not fits:
        raise ValueError(f"{name} must have shape {expected}, got {tuple(t.shape)}")


def trace_of_product(*factors: Tensor) -> Tensor:
    r"""$\mathrm{tr}(A_1 \cdots A_m)$; the last product is not formed, only the entries that the trace needs.

    Two factors of shape `(n, k)` and `(k, n)` cost nk multiplications instead of n^2 k.

    Args:
        factors: at least two, `(*batch, n_1, n_2)`, `(*batch, n_2, n_3)`, ..., `(*batch, n_m, n_1)`.

    Returns:
        `(*batch,)`, differentiable.

    Raises:
        TypeError, ValueError: for fewer than two factors, or matrices that do not fit one another.
    """
    if len(factors) < 2:
        raise ValueError(f"factors must hold at least two matrices, got {len(factors)}")
    arguments.floating(**{f"factors[{i}]": t for i, t in enumerate(factors)})
    first = factors[0]
    if first.ndim < 2:
        raise ValueError(f"factors[0] must have shape (*batch, n, k), got {tuple(first.shape)}")
    for i, t in enumerate(factors):
        rows = first.shape[-2] if i == 0 else factors[i - 1].shape[-1]
        _check(f"factors[{i}]", t, first, (rows, first.shape[-2] if i == len(factors) - 1 else "k"))
    left = functools.reduce(torch.matmul, factors[:-1])
    value: Tensor = (left * factors[-1].mT).sum((-2, -1))
    return value


def mean_quadratic_form(matrix: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    r"""$\mathbb E[x^\top M x] = \mathrm{tr}(M\Sigma) + \mu^\top M\mu$ for x with mean $\mu$ and covariance $\Sigma$.

    Nothing else of the distribution matters, and M need not be symmetric.

    Args:
        matrix: M, `(*batch, n, n)`.
        mean: $\mu$, `(*batch, n)`.
        covariance: $\Sigma$, `(*batch, n, n)`.

    Returns:
        `(*batch,)`, differentiable.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of matching shapes, dtype and device.
    """
    arguments.floating(matrix=matrix, mean=mean, covariance=covariance)
    if matrix.ndim < 2:
        raise ValueError(f"matrix must have shape (*batch, n, n), got {tuple(matrix.shape)}")
    n = matrix.shape[-2]
    for name, t, shape in (("matrix", matrix, (n, n)), ("mean", mean, (n,)), ("covariance", covariance, (n, n))):
        _check(name, t, matrix, shape)
    moved = (matrix @ mean.unsqueeze(-1)).squeeze(-1)
    return trace_of_product(matrix, covariance) + (mean * moved).sum(-1)


def _integers(shape: tuple[int, ...], dtype: torch.dtype, reach: int = 4) -> st.SearchStrategy[Tensor]:
    return strategies.tensors(shape, dtype, st.integers(-reach, reach).map(float))


def _chains(trace: Trace, dtype: torch.dtype) -> st.SearchStrategy[tuple[list[Tensor]]]:
    """Two to four matrices of small integers that can be multiplied in a circle; often all square."""

    def of(sizes: list[int]) -> st.SearchStrategy[tuple[list[Tensor]]]:
        around = [*sizes, sizes[0]]
        return st.tuples(st.tuples(*[_integers(s, dtype) for s in itertools.pairwise(around)]).map(list))

    square = st.tuples(st.integers(1, 3), st.integers(2, 4)).map(lambda t: [t[0]] * t[1])
    return st.one_of(square, st.lists(st.integers(1, 3), min_size=2, max_size=4)).flatmap(of)


def _diagonal(t: Tensor) -> Tensor:
    return t.diagonal(dim1=-2, dim2=-1)


def _square(factors: tuple[Tensor, ...]) -> bool:
    return len({size for t in factors for size in t.shape[-2:]}) == 1


def _sum_of_paths(factors: list[Tensor]) -> int:
    """The trace as the sum over closed paths of products of entries, in integers."""
    entries = [[[int(v) for v in row] for row in t.tolist()] for t in factors]
    total = 0
    for path in itertools.product(*[range(t.shape[0]) for t in factors]):
        product = 1
        for matrix, i, j in zip(entries, path, (*path[1:], path[0]), strict=True):
            product *= matrix[i][j]
        total += product
    return total


@claim(
    given=_chains,
    reference=trace_of_product,
    mutants={
        "the last factor is not transposed": lambda trace: (
            lambda *f: (functools.reduce(torch.matmul, f[:-1]) * f[-1].reshape(f[0].shape[-2], -1)).sum((-2, -1))
        ),
        "the last two factors change places": lambda trace: (
            lambda *f: trace(*f[:-2], f[-1], f[-2]) if _square(f) else trace(*f)
        ),
        "the order is turned round": lambda trace: lambda *f: trace(*f[::-1]) if _square(f) else trace(*f),
        "the traces of the factors are multiplied": lambda trace: (
            lambda *f: functools.reduce(torch.mul, [_diagonal(t).sum(-1) for t in f])
        ),
        "it is divided by the size (a mean for a sum)": lambda trace: lambda *f: trace(*f) / f[0].shape[-2],
    },
)
def trace_is_cyclic(trace: Trace, factors: list[Tensor]) -> Iterator[Residual]:
    r"""The trace of a product does not change when the first factor is moved to the end.

    $\mathrm{tr}(A_1 A_2 \cdots A_m) = \mathrm{tr}(A_2 \cdots A_m A_1)
    = \sum_{i_1, \dots, i_m} (A_1)_{i_1 i_2} (A_2)_{i_2 i_3} \cdots (A_m)_{i_m i_1}$.

    Error bound: 0: integers, whose products and sums stay below $2^{24}$.
    """
    true = _sum_of_paths(factors)
    for k in range(len(factors)):
        turned = [*factors[k:], *factors[:k]]
        yield exactly(float(trace(*turned)), float(true), kind=Kind.EXACT, what=f"the trace from factor {k + 1} on")


def _clouds(form: Form, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """A matrix of integers and four points of integers, whose mean and covariance are exact."""
    return strategies.of_each(
        st.integers(1, 3), lambda n: st.tuples(_integers((n, n), dtype), _integers((4, n), dtype))
    )


@claim(
    given=_clouds,
    reference=mean_quadratic_form,
    mutants={
        "the mean is left out": lambda form: lambda m, mean, cov: form(m, torch.zeros_like(mean), cov),
        "the covariance is left out": lambda form: lambda m, mean, cov: form(m, mean, torch.zeros_like(cov)),
        "only variances count, no covariances": lambda form: (
            lambda m, mean, cov: form(m, mean, torch.diag_embed(_diagonal(cov)))
        ),
        "the traces of M and the covariance are multiplied": lambda form: (
            lambda m, mean, cov: form(m, mean, 0 * cov) + _diagonal(m).sum(-1) * _diagonal(cov).sum(-1)
        ),
    },
    uses=(trace_is_cyclic,),
)
def mean_needs_two_moments_only(form: Form, matrix: Tensor, points: Tensor) -> Iterator[Residual]:
    r"""The mean of a quadratic form is a trace and a form in the mean.

    $\mathbb E[x^\top M x] = \mathrm{tr}(M\Sigma) + \mu^\top M\mu$, here for x uniform on four points.

    Error bound: 0: points of integers, a mean in quarters and a covariance in sixteenths, exact in both precisions.
    """
    mean = points.mean(0)
    covariance = points.mT @ points / 4 - mean[:, None] * mean
    m, rows = ([[Fraction(v) for v in row] for row in t.tolist()] for t in (matrix, points))
    n = len(m)
    true = sum((x[i] * m[i][j] * x[j] for x in rows for i in range(n) for j in range(n)), Fraction(0)) / 4
    yield exactly(Fraction(float(form(matrix, mean, covariance))), true, kind=Kind.EXACT, what="E[x' M x]")
