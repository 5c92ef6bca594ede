r"""Permutations of coordinates as gathers: inverse, adjoint, sign, and maps whose coordinates are listed anew.

$(P_\tau x)_i = x_{\tau(i)}$: row i of $P_\tau$ is $e_{\tau(i)}^\top$. P is orthogonal, $P_\tau^{-1} = P_\tau^\top =
P_{\tau^{-1}}$, and $\det P_\tau = \mathrm{sgn}\,\tau$. In general P is not its own inverse, and its determinant is not 1:
only $\lvert\det P\rvert = 1$.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import sympy
import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Kind, Residual, exactly
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.linear.kernels.differentiable import differentiable
from mathcheck.linear.linear_map import LinearMap

Map = Callable[[Tensor], Tensor]


def _checked(order: Sequence[int]) -> list[int]:
    arguments.sequences(int, order=order)
    chosen = list(order)
    if not chosen or sorted(chosen) != list(range(len(chosen))):
        raise ValueError(f"order must be a permutation of 0, ..., {max(len(chosen) - 1, 0)}, got {chosen}")
    return chosen


def inverse_order(order: Sequence[int]) -> tuple[int, ...]:
    r"""$\tau^{-1}$: the order that undoes `order`, with $\tau^{-1}(\tau(i)) = i$.

    Args:
        order: $\tau$, a permutation of 0, ..., n-1, n at least 1.

    Raises:
        TypeError, ValueError: if `order` is no permutation.
    """
    chosen = _checked(order)
    inverse = [0] * len(chosen)
    for place, source in enumerate(chosen):
        inverse[source] = place
    return tuple(inverse)


def sign(order: Sequence[int]) -> int:
    r"""$\mathrm{sgn}\,\tau = \det P_\tau = (-1)^{n - c}$ with c the number of cycles: 1 or -1, in n steps.

    Args:
        order: $\tau$, a permutation of 0, ..., n-1, n at least 1.

    Raises:
        TypeError, ValueError: if `order` is no permutation.
    """
    chosen, cycles = _checked(order), 0
    seen = [False] * len(chosen)
    for start in range(len(chosen)):
        cycles += not seen[start]
        while not seen[start]:
            seen[start] = True
            start = chosen[start]
    return -1 if (len(chosen) - cycles) % 2 else 1


def permute(x: Tensor, order: Sequence[int], dim: int = -1) -> Tensor:
    r"""$(P_\tau x)_i = x_{\tau(i)}$ along one dimension: a gather, which copies every number once.

    Args:
        x: any tensor with n entries along `dim`.
        order: $\tau$, a permutation of 0, ..., n-1.
        dim: the dimension whose entries are listed anew; the last by default.

    Returns:
        A tensor of the shape of x, the same bits; differentiable to any order. The backward pass is the gather with
        $\tau^{-1}$, not a scatter.

    Raises:
        TypeError, ValueError: if `x` is no tensor or has another number of entries along `dim`, or `order` is no
            permutation.
    """
    arguments.integers(dim=dim)
    return _gather(order, dim, "x")[0](x)


def _gather(order: Sequence[int], dim: int, name: str) -> tuple[Map, Map]:
    """The permutation along a dimension and its adjoint, with their indices made once."""
    chosen, back = torch.tensor(_checked(order)), torch.tensor(inverse_order(order))

    def along(x: Tensor, indices: tuple[Tensor, Tensor], name: str) -> Tensor:
        arguments.instances(Tensor, **{name: x})
        if not -x.ndim <= dim < x.ndim or x.shape[dim] != len(chosen):
            raise ValueError(f"{name} must have {len(chosen)} entries along dimension {dim}, got {tuple(x.shape)}")
        # Counted from the end, so that a leading dimension that vmap adds changes nothing.
        last = dim if dim < 0 else dim - x.ndim
        there, home = (index.to(x.device) for index in indices)
        return differentiable(lambda t: t.index_select(last, there), lambda t: t.index_select(last, home))(x)

    return lambda x: along(x, (chosen, back), name), lambda y: along(y, (back, chosen), "y")


def permutation(order: Sequence[int]) -> LinearMap:
    r"""$P_\tau$ as a linear map of `(*batch, n)`; its adjoint $P_\tau^\top = P_{\tau^{-1}}$ is its inverse.

    Args:
        order: $\tau$, a permutation of 0, ..., n-1, n at least 1.

    Raises:
        TypeError, ValueError: if `order` is no permutation.
    """
    forward, adjoint = _gather(order, -1, "x")
    n = len(order)
    matrix = [[int(j == source) for j in range(n)] for source in order]
    return LinearMap(forward, adjoint, (n,), (n,), matrix, exact=True, batch_shapes=BATCH_SHAPES)


def relabelled(f: Map, order: Sequence[int]) -> Map:
    r"""$g(x) = P_\tau f(P_\tau^\top x)$: the map f when its n coordinates, in and out, are listed in another order.

    A reshape that lists the entries of an array in another order, such as channels first or last, is such a map. With
    $J_g(x) = P J_f(P^\top x) P^\top$ the determinant is that of $J_f$, sign included.

    Args:
        f: `(*batch, n)` -> `(*batch, n)`.
        order: $\tau$: coordinate i of the new list is coordinate $\tau(i)$ of the old.

    Raises:
        TypeError, ValueError: if `order` is no permutation.
    """
    arguments.functions(f=f)
    there, back = _gather(order, -1, "x")
    return lambda x: there(f(back(x)))


swap = permutation((1, 0))
cycle = permutation((2, 0, 1, 3))

Build = Callable[[Sequence[int]], LinearMap]
Sign = Callable[[Sequence[int]], int]
Relabel = Callable[[Map, Sequence[int]], Map]


def _orders(subject: object, dtype: torch.dtype) -> st.SearchStrategy[tuple[tuple[int, ...]]]:
    return st.tuples(strategies.of_each(st.integers(1, 7), strategies.permutations))


def _adjoint(t: LinearMap) -> Map:
    if t.adjoint is None:
        raise NotImplementedError("the permutation has no adjoint")
    return t.adjoint


def _matrix(function: Map, n: int) -> Tensor:
    """The matrix of integers of a map, from its values on the basis vectors."""
    return function(torch.eye(n, dtype=torch.float64)).mT.long()


@claim(
    given=_orders,
    reference=permutation,
    mutants={
        "the permutation is taken for its own inverse": lambda build: (
            lambda order: replace(build(order), adjoint=build(order).forward)
        ),
        "the order tells where a coordinate goes, not whence it comes": lambda build: (
            lambda order: build(inverse_order(order))
        ),
        "the coordinates are in reverse order": lambda build: (
            lambda order: replace(build(order), forward=lambda x: build(order).forward(x.flip(-1)))
        ),
        "one coordinate is taken twice": lambda build: (
            lambda order: replace(build(order), forward=lambda x: x[..., [*order[1:], order[-1]]])
        ),
    },
)
def inverse_is_the_transpose(build: Build, order: tuple[int, ...]) -> Iterator[Residual]:
    r"""A permutation matrix is orthogonal: its inverse is its transpose, the permutation by the inverse order.

    $P_\tau^\top P_\tau = P_\tau P_\tau^\top = I$, where row i of $P_\tau$ is $e_{\tau(i)}^\top$.

    Error bound: 0: matrices of integers, found on every basis vector.
    """
    n, t = len(order), build(order)
    p, q = _matrix(t.forward, n), _matrix(_adjoint(t), n)
    identity = torch.eye(n, dtype=torch.long)
    yield exactly(p, identity[list(order)], kind=Kind.EXACT, what="the rows of P")
    yield exactly(q, p.mT, kind=Kind.EXACT, what="the adjoint and the transpose of P")
    yield exactly(q @ p, identity, kind=Kind.EXACT, what="the adjoint times P")
    yield exactly(p @ q, identity, kind=Kind.EXACT, what="P times the adjoint")


@claim(
    given=_orders,
    reference=sign,
    mutants={
        "the determinant is 1": lambda s: lambda order: 1,
        "cycles are counted instead of transpositions": lambda s: lambda order: s(order) * (-1) ** len(order),
        "the coordinates that move are counted": lambda s: (
            lambda order: (-1) ** sum(i != source for i, source in enumerate(order))
        ),
        "pairs of neighbours out of order are counted": lambda s: (
            lambda order: (-1) ** sum(a > b for a, b in itertools.pairwise(order))
        ),
    },
)
def determinant_is_the_sign(sign: Sign, order: tuple[int, ...]) -> Iterator[Residual]:
    r"""The determinant of a permutation matrix is the sign of the permutation, 1 or -1.

    $\det P_\tau = (-1)^{\#\{i < j:\ \tau(i) > \tau(j)\}}$. Two oracles: the count of inversions, and the determinant of
    the matrix of integers by elimination without fractions.

    Error bound: 0.
    """
    inversions = sum(a > b for a, b in itertools.combinations(order, 2))
    yield exactly(sign(order), (-1) ** inversions, what="the sign and the count of inversions")
    matrix = sympy.Matrix(len(order), len(order), lambda i, j: int(order[i] == j))
    yield exactly(sign(order), int(matrix.det(method="bareiss")), what="the sign and the determinant")


def _polynomial(n: int, seed: int) -> Map:
    r"""$f_i(x) = \sum_j (a_{ij} x_j + b_{ij} x_j x_{j+1})$ with small integers a and b, whose Jacobian is one of integers.

    Args:
        n: number of coordinates, in and out.
        seed: of the coefficients, from -3 to 3.
    """
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randint(-3, 4, (2, n, n), generator=g)
    return lambda x: x @ a.mT.to(x) + (x * x.roll(-1, -1)) @ b.mT.to(x)


def _relabellings(subject: object, dtype: torch.dtype) -> st.SearchStrategy[tuple[tuple[int, ...], int, Tensor]]:
    """An order of 2 to 5 coordinates, the seed of a polynomial and a point of integers."""
    return strategies.of_each(
        st.integers(2, 5),
        lambda n: st.tuples(
            strategies.permutations(n),
            st.integers(0, 2**31 - 1),
            strategies.tensors((n,), dtype, st.integers(-4, 4).map(float)),
        ),
    )


def _integer_jacobian(f: Map, x: Tensor) -> sympy.Matrix:
    """The Jacobian of a polynomial with integer coefficients at a point of small integers, which autograd finds exactly.

    Args:
        f: `(n,)` -> `(n,)`.
        x: `(n,)`, of integers.
    """
    jacobian = torch.autograd.functional.jacobian(f, x.double())  # type: ignore[no-untyped-call]
    return sympy.Matrix(jacobian.long().tolist())


@claim(
    given=_relabellings,
    reference=relabelled,
    mutants={
        "the results are listed in the old order": lambda r: (
            lambda f, order: lambda x: permute(r(f, order)(x), inverse_order(order))
        ),
        "the results are listed in reverse order": lambda r: lambda f, order: lambda x: r(f, order)(x).flip(-1),
        "the permutation is taken for its own inverse": lambda r: (
            lambda f, order: lambda x: permute(f(permute(x, order)), order)
        ),
    },
    uses=(inverse_is_the_transpose, determinant_is_the_sign),
)
def common_reshape_keeps_the_determinant(
    relabel: Relabel, order: tuple[int, ...], seed: int, x: Tensor
) -> Iterator[Residual]:
    r"""Listing the coordinates in another order, in and out, leaves the Jacobian's determinant as it is, with its sign.

    For $g(x) = Pf(P^\top x)$: $J_g(Px) = P\,J_f(x)\,P^\top$, so $\det J_g(Px) = (\det P)^2\det J_f(x) = \det J_f(x)$.

    Error bound: 0: polynomials with integer coefficients at integer points, and determinants without fractions.
    """
    f = _polynomial(len(order), seed)
    g = relabel(f, order)
    ours, theirs = _integer_jacobian(g, permute(x, order)), _integer_jacobian(f, x)
    yield exactly(ours.det(method="bareiss"), theirs.det(method="bareiss"), what="det J")
    rows = list(order)
    yield exactly(ours, theirs.extract(rows, rows), what="P J P^T")
