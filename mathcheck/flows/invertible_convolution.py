r"""The invertible 1 x 1 convolution with $A = P L (U + \mathrm{diag}\,s)$, alone and conditioned on some of the channels.

P is a permutation, L unit lower and U strictly upper triangular, so $\lvert\det A\rvert = \prod_i\lvert s_i\rvert$. An image of c
channels and $m \times n$ positions, in C order, is mapped by $A \otimes I_{mn}$: every position counts, and
$\log\lvert\det J\rvert = mn\sum_i\log\lvert s_i\rvert$.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import sympy
import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.flows.bijection import Bijection
from mathcheck.oracles import arb, derivative

Factors = tuple[Tensor, Tensor, Tensor]
Conditioner = Callable[[Tensor], Factors]


def _order(permutation: Sequence[int]) -> Tensor:
    arguments.sequences(int, permutation=permutation)
    order = list(permutation)
    if not order or sorted(order) != list(range(len(order))):
        raise ValueError(f"permutation must hold each of 0, ..., c-1 once with c >= 1, got {order}")
    return torch.tensor(order)


def _factors(lower: Tensor, upper: Tensor, scales: Tensor, batch: tuple[int, ...] | None, c: int) -> None:
    """Refuses factors of another shape; `batch` is that of the scales where it is `None`."""
    arguments.floating(lower=lower, upper=upper, scales=scales)
    batch = tuple(scales.shape[:-1]) if batch is None else batch
    shapes = {"lower": (*batch, c, c), "upper": (*batch, c, c), "scales": (*batch, c)}
    for (name, shape), t in zip(shapes.items(), (lower, upper, scales), strict=True):
        if tuple(t.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(t.shape)}")
    if not bool((scales.detach() != 0).all()):
        raise ValueError("scales must not be zero: then the matrix has no inverse")


def _matrix(order: Tensor, lower: Tensor, upper: Tensor, scales: Tensor) -> Tensor:
    right = upper.triu(1) + torch.diag_embed(scales)
    return (right + lower.tril(-1) @ right).index_select(-2, order.to(scales.device))


def _inverse(order: Tensor, lower: Tensor, upper: Tensor, scales: Tensor) -> Tensor:
    right = upper.triu(1) + torch.diag_embed(scales)
    eye = torch.eye(len(order), dtype=scales.dtype, device=scales.device).expand_as(right)
    half = torch.linalg.solve_triangular(lower.tril(-1), eye, upper=False, unitriangular=True)
    inverse: Tensor = torch.linalg.solve_triangular(right, half, upper=True)
    return inverse.index_select(-1, order.to(scales.device))


def plu_matrix(permutation: Sequence[int], lower: Tensor, upper: Tensor, scales: Tensor) -> Tensor:
    r"""$A = P L (U + \mathrm{diag}\,s)$ where row i of P is the unit vector of `permutation[i]`.

    Args:
        permutation: of 0, ..., c-1.
        lower: `(*batch, c, c)`; what is below its diagonal is L's, whose diagonal is 1.
        upper: `(*batch, c, c)`; what is above its diagonal is U's.
        scales: s, `(*batch, c)`, none of them zero.

    Returns:
        `(*batch, c, c)`, differentiable: one product of small matrices and a gather of its rows.

    Raises:
        TypeError, ValueError: for arguments of another type, shape, dtype or device, or a scale of zero.
    """
    order = _order(permutation)
    _factors(lower, upper, scales, None, len(order))
    return _matrix(order, lower, upper, scales)


def plu_inverse(permutation: Sequence[int], lower: Tensor, upper: Tensor, scales: Tensor) -> Tensor:
    r"""$A^{-1} = (U + \mathrm{diag}\,s)^{-1} L^{-1} P^\top$ by two triangular solves.

    Args, Returns, Raises: as `plu_matrix`.
    """
    order = _order(permutation)
    _factors(lower, upper, scales, None, len(order))
    return _inverse(order, lower, upper, scales)


def _positions(positions: tuple[int, int]) -> tuple[int, int]:
    arguments.sequences(int, positions=positions)
    if len(positions) != 2 or min(positions) < 1:
        raise ValueError(f"positions must be (m, n), both at least 1, got {positions}")
    return positions[0], positions[1]


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    """The matrix applied to the channels of every position, in one matrix product."""
    if matrix.ndim == 2 and x.is_cpu and x.dtype == torch.float32 and x.ndim == 4 and x.stride(1) == 1:
        # Twice as fast where the channels are last in memory; on a graphics card it might round to 10 bits.
        return functional.conv2d(x, matrix[..., None, None])
    return (matrix @ x.flatten(-2)).reshape(x.shape)


def invertible_convolution(
    permutation: Sequence[int], lower: Tensor, upper: Tensor, scales: Tensor, positions: tuple[int, int]
) -> Bijection:
    r"""$y_{\cdot ij} = A x_{\cdot ij}$ at every position, with $A = P L (U + \mathrm{diag}\,s)$.

    $\log\lvert\det J\rvert = mn\sum_i\log\lvert s_i\rvert$, for which no matrix is formed. Forward is one product with A, whose
    rows are gathered by the permutation; the inverse is one with $A^{-1}$, from two triangular solves.

    Args:
        permutation, lower, upper, scales: as in `plu_matrix`, without batch.
        positions: (m, n), height and width of the image.

    Returns:
        The bijection of `(*batch, c, m, n)`. It works in the dtype and on the device of the point, and is
        differentiable.

    Raises:
        TypeError, ValueError: as `plu_matrix`, or later for points of another shape or dtype.

    References:
        Kingma, Dhariwal, Glow: Generative flow with invertible 1 x 1 convolutions (2018), equations (9) to (11).
    """
    order, (m, n) = _order(permutation), _positions(positions)
    _factors(lower, upper, scales, (), len(order))
    event = (len(order), m, n)

    def cast(x: Tensor, name: str) -> Factors:
        arguments.events(event, **{name: x})
        return lower.to(x), upper.to(x), scales.to(x)

    def log_det(x: Tensor, name: str, sign: int) -> Tensor:
        return (sign * m * n * cast(x, name)[2].abs().log().sum()).expand(x.shape[:-3])

    return Bijection(
        lambda x: _mix(_matrix(order, *cast(x, "x")), x),
        lambda y: _mix(_inverse(order, *cast(y, "y")), y),
        lambda x: log_det(x, "x", 1),
        event,
        lambda y: log_det(y, "y", -1),
        batch_shapes=BATCH_SHAPES,
    )


def conditional_convolution(
    permutation: Sequence[int], kept: int, positions: tuple[int, int], conditioner: Conditioner
) -> Bijection:
    r"""$Z_1 = X_1$, $Z_2 = A(X_1) X_2$ at every position: a coupling whose matrix depends on the first channels.

    The Jacobian is block triangular, $\partial Z_2/\partial X_1$ being anything, so $\log\lvert\det J\rvert = mn\sum_i\log\lvert
    s_i(X_1)\rvert$. The conditioner is never inverted.

    Args:
        permutation: of the 0, ..., c-1 channels of $X_2$.
        kept: number of channels of $X_1$, at least 1.
        positions: (m, n).
        conditioner: `(*batch, kept, m, n)` -> lower and upper `(*batch, c, c)`, scales `(*batch, c)`, none zero.

    Returns:
        The bijection of `(*batch, kept + c, m, n)`.

    Raises:
        TypeError, ValueError: as `plu_matrix`, or if `kept` is less than 1.
    """
    order, (m, n) = _order(permutation), _positions(positions)
    arguments.at_least(1, kept=kept)
    arguments.functions(conditioner=conditioner)
    event = (kept + len(order), m, n)

    def parts(x: Tensor, name: str) -> tuple[Tensor, Tensor, Factors]:
        arguments.events(event, **{name: x})
        first, second = x[..., :kept, :, :], x[..., kept:, :, :]
        factors = conditioner(first)
        _factors(*factors, tuple(x.shape[:-3]), len(order))
        return first, second, factors

    def mapped(x: Tensor, name: str, matrix: Callable[..., Tensor]) -> Tensor:
        first, second, factors = parts(x, name)
        return torch.cat([first, _mix(matrix(order, *factors), second)], dim=-3)

    def log_det(x: Tensor, name: str) -> Tensor:
        return m * n * parts(x, name)[2][2].abs().log().sum(-1)

    return Bijection(
        lambda x: mapped(x, "x", _matrix),
        lambda y: mapped(y, "y", _inverse),
        lambda x: log_det(x, "x"),
        event,
        lambda y: -log_det(y, "y"),
        batch_shapes=BATCH_SHAPES,
    )


def example_conditioner(c: int, seed: int = 0) -> Conditioner:
    r"""A fixed smooth conditioner for tests and proofs: $\tanh$ of random features, scales in $\pm(1.25, 3.25)$.

    Args:
        c: channels that the matrix mixes, at least 1.
        seed: of the weights, at least 0.

    Raises:
        TypeError, ValueError: for numbers that are none.
    """
    arguments.at_least(1, c=c)
    arguments.at_least(0, seed=seed)

    def conditioner(first: Tensor) -> Factors:
        g = torch.Generator().manual_seed(seed)
        flat = first.flatten(-3)
        weights = torch.randn(flat.shape[-1], 2 * c * c + c, generator=g, dtype=torch.float64)
        signs = torch.randint(2, (c,), generator=g) * 2.0 - 1.0
        h = torch.tanh(flat @ weights.to(first) / 4)
        lower, upper = (h[..., k : k + c * c].reshape(*h.shape[:-1], c, c) for k in (0, c * c))
        return lower, upper, signs.to(first) * (2.25 + h[..., 2 * c * c :])

    return conditioner


Determinant = Callable[[tuple[int, ...], list[Fraction]], Fraction]


def plu_determinant(permutation: tuple[int, ...], scales: list[Fraction]) -> Fraction:
    r"""$\det A = \mathrm{sgn}(P)\prod_i s_i$, whatever L and U.

    Args:
        permutation: of 0, ..., c-1.
        scales: c numbers.

    Raises:
        TypeError, ValueError: if `permutation` is none, or `scales` does not hold as many fractions.
    """
    arguments.sequences(Fraction, scales=scales)
    arguments.same_length(permutation=_order(permutation).tolist(), scales=scales)
    pairs = ((i, j) for i in range(len(permutation)) for j in range(i))
    return math.prod(scales, start=Fraction((-1) ** sum(permutation[j] > permutation[i] for i, j in pairs)))


_INTEGERS = st.integers(-4, 4)


def _matrices(determinant: Determinant, dtype: torch.dtype) -> st.SearchStrategy[Any]:
    def of(c: int) -> st.SearchStrategy[Any]:
        square = st.lists(_INTEGERS, min_size=c * c, max_size=c * c)
        scales = st.lists(_INTEGERS.filter(bool).map(Fraction), min_size=c, max_size=c)
        return st.tuples(strategies.permutations(c), square, scales)

    return strategies.of_each(st.integers(1, 4), of)


@claim(
    given=_matrices,
    reference=plu_determinant,
    mutants={
        "the determinant of P is taken to be 1": lambda f: lambda p, s: math.prod(s, start=Fraction(1)),
        "its absolute value is taken": lambda f: lambda p, s: abs(f(p, s)),
        "the scales are added": lambda f: lambda p, s: sum(s, Fraction(0)),
    },
)
def determinant_of_the_factors(
    f: Determinant, permutation: tuple[int, ...], entries: list[int], scales: list[Fraction]
) -> Iterator[Residual]:
    r"""The determinant is the sign of the permutation times the scales: $\det A = \mathrm{sgn}(P)\prod_i s_i$.

    Error bound: 0, in integers; SymPy finds the determinant of the product.
    """
    c = len(scales)
    lower = sympy.Matrix(c, c, lambda i, j: entries[i * c + j] if i > j else int(i == j))
    upper = sympy.Matrix(c, c, lambda i, j: entries[i * c + j] if i < j else int(scales[i]) * (i == j))
    p = sympy.Matrix(c, c, lambda i, j: int(permutation[i] == j))
    yield exactly(f(permutation, scales), Fraction(int((p * lower * upper).det())), what="det A")


Build = Callable[..., Bijection]
Inputs = tuple[tuple[int, ...], Tensor, Tensor, Tensor, tuple[int, int]]


def _convolutions(build: Build, dtype: torch.dtype) -> st.SearchStrategy[Inputs]:
    def of(c: int) -> st.SearchStrategy[Inputs]:
        triangle = strategies.tensors((c, c), dtype, Interval(reach=3.0))
        signed = st.builds(lambda s, sign: s * sign, strategies.log_uniform(1e-3, 1e3), st.sampled_from([1.0, -1.0]))
        sizes = st.tuples(st.integers(1, 3), st.integers(1, 2))
        # Cycles of three and more differ from their inverses, which few random permutations do.
        orders = st.one_of(st.just((*range(1, c), 0)), strategies.permutations(c))
        return st.tuples(orders, triangle, triangle, strategies.tensors((c,), dtype, signed), sizes)

    return strategies.of_each(st.sampled_from([1, 2, 3, 3, 4]), of)


def _slip(change: Callable[[Bijection, Tensor, Sequence[int]], Bijection]) -> Callable[[Build], Build]:
    """The slip that changes the flow, knowing its scales and permutation."""

    def slip(build: Build) -> Build:
        return lambda p, lower, upper, s, positions: change(build(p, lower, upper, s, positions), s, p)

    return slip


def _channels_last(b: Bijection, s: Tensor, p: Sequence[int]) -> Bijection:
    c, m, n = b.event_shape

    def forward(x: Tensor) -> Tensor:
        mixed = b.forward(x.reshape(*x.shape[:-3], m, n, c).movedim(-1, -3))
        return mixed.movedim(-3, -1).reshape(x.shape)

    return replace(b, forward=forward)


@claim(
    given=_convolutions,
    reference=invertible_convolution,
    mutants={
        "the blocks are ordered as I (x) A, channels last": _slip(_channels_last),
        "the permutation is undone instead of applied": lambda build: (
            lambda p, *rest: build(tuple(sorted(range(len(p)), key=p.__getitem__)), *rest)
        ),
        "the triangles are exchanged": lambda build: lambda p, lo, up, s, k: build(p, up.mT, lo.mT, s, k),
        "the signs of the scales are lost": lambda build: lambda p, lo, up, s, k: build(p, lo, up, s.abs(), k),
    },
    uses=(determinant_of_the_factors,),
    examples=60,
)
def jacobian_is_a_kronecker_product(
    build: Build, permutation: tuple[int, ...], lower: Tensor, upper: Tensor, scales: Tensor, positions: tuple[int, int]
) -> Iterator[Residual]:
    r"""In C order the Jacobian is a Kronecker product: $A \otimes I_{mn}$, with $A = P L (U + \mathrm{diag}\,s)$.

    Error bound: $2c$ roundings of $\lvert P\rvert\lvert L\rvert\lvert U + \mathrm{diag}\,s\rvert$, entry by entry; the map is
    linear, so the images of the unit vectors are the columns of its Jacobian.
    """
    b = build(permutation, lower, upper, scales, positions)
    size, c = math.prod(b.event_shape), len(permutation)
    units = torch.eye(size, dtype=scales.dtype, device=scales.device).reshape(size, *b.event_shape)
    columns = b.forward(units).reshape(size, size).mT
    wide = [t.double().cpu() for t in (lower, upper, scales)]
    left, right = wide[0].tril(-1) + torch.eye(c, dtype=torch.float64), wide[1].triu(1) + wide[2].diag()
    eye = torch.eye(math.prod(positions), dtype=torch.float64)
    p = torch.eye(c, dtype=torch.float64)[list(permutation)]
    true, scale = torch.kron(p @ left @ right, eye), torch.kron(p @ left.abs() @ right.abs(), eye)
    radius = 2 * c * torch.finfo(torch.float64).eps * scale
    yield close(columns, Ball(true, radius, kind=Kind.NUMERICAL), ulps=2 * c, scale=scale, what="J")


def _log_det(change: Callable[[Tensor, Bijection, Tensor], Tensor]) -> Callable[[Build], Build]:
    def changed(b: Bijection, s: Tensor, p: Sequence[int]) -> Bijection:
        value = b.log_abs_det_jacobian or torch.zeros_like
        return replace(b, log_abs_det_jacobian=lambda x: change(value(x), b, s))

    return _slip(changed)


@claim(
    given=_convolutions,
    reference=invertible_convolution,
    mutants={
        "the positions are not counted": _log_det(lambda v, b, s: v / math.prod(b.event_shape[1:])),
        "the channels are counted as well": _log_det(lambda v, b, s: v * b.event_shape[0]),
        "the sign is changed": _log_det(lambda v, b, s: -v),
        "the absolute value is forgotten": _log_det(lambda v, b, s: s.log().sum() * math.prod(b.event_shape[1:])),
    },
    uses=(jacobian_is_a_kronecker_product,),
)
def every_position_counts(
    build: Build, permutation: tuple[int, ...], lower: Tensor, upper: Tensor, scales: Tensor, positions: tuple[int, int]
) -> Iterator[Residual]:
    r"""Every position contributes the determinant of A: $\log\lvert\det J\rvert = mn\sum_i\log\lvert s_i\rvert$.

    Error bound: $c + 4$ roundings of $mn\sum_i\lvert\log\lvert s_i\rvert\rvert$. Two oracles: the logarithm of
    $\prod_i\lvert s_i\rvert^{mn}$, enclosed, and the log-determinant of the map's Jacobian, by elimination.
    """
    b = build(permutation, lower, upper, scales, positions)
    if b.log_abs_det_jacobian is None:
        raise NotImplementedError("the convolution has no log_abs_det_jacobian")
    point = torch.zeros(b.event_shape, dtype=scales.dtype, device=scales.device)
    value, count = b.log_abs_det_jacobian(point), math.prod(positions)
    size = count * scales.double().abs().log().abs().sum()
    product = arb.enclose(
        lambda: arb.log(math.prod((abs(s) for s in arb.exact_list(scales)), start=arb.exact(1)) ** count)
    )
    yield close(value, product, ulps=len(scales) + 4, scale=size, what="log|det J|")
    true = derivative.log_abs_det(derivative.jacobian(b.forward, point))
    yield close(value, true, ulps=len(scales) + 4, scale=size, what="log|det J|")


def _example() -> Bijection:
    g = torch.Generator().manual_seed(3)
    lower, upper = (torch.randn(3, 3, generator=g, dtype=torch.float64) / 2 for _ in range(2))
    return invertible_convolution((1, 2, 0), lower, upper, torch.tensor([1.5, -0.75, 2.0]).double(), (2, 1))


mixing = _example()
conditional = replace(conditional_convolution((1, 0), 1, (2, 1), example_conditioner(2)), batch_shapes=((), (2,)))
