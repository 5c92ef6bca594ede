"""The laws of a linear map and its adjoint, and `check_linear_map`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.adapting import subject
from mathcheck.engine.check import check
from mathcheck.engine.claim import Settings, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, Undecided, close, exactly
from mathcheck.linear.linear_map import slips
from mathcheck.linear.linear_map.direction import Direction
from mathcheck.linear.linear_map.record import LinearMap

_PROMISE = "say in the record how large the errors of a fast transform are, with error"


def _directions(t: LinearMap, x: Tensor, y: Tensor) -> Iterator[tuple[Direction, Tensor]]:
    """The map with a point of its domain, and the adjoint, where there is one, with a point of its own."""
    yield slips.forward(t), x
    if t.adjoint is not None:
        yield slips.adjoint(t), y


def _points(
    t: LinearMap, dtype: torch.dtype, entries: st.SearchStrategy[float] | None = None
) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """Tensors x of the domain and y of the codomain with one batch shape."""
    numbers = strategies.real if entries is None else entries
    return strategies.of_each(
        st.sampled_from(list(t.batch_shapes)),
        lambda batch: st.tuples(
            *(strategies.tensors((*batch, *event), dtype, numbers) for event in (t.input_shape, t.output_shape))
        ),
    )


def _combinations(t: LinearMap, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor, float, float]]:
    simple = st.sampled_from([1.0, -1.0, 0.0, 2.0, 0.5, -3.0])
    number = st.one_of(simple, st.floats(-8, 8, width=strategies.width(dtype), allow_subnormal=False))
    shapes = st.sampled_from([(*batch, *t.input_shape) for batch in t.batch_shapes])
    return strategies.of_each(
        shapes,
        lambda shape: st.tuples(strategies.tensors(shape, dtype), strategies.tensors(shape, dtype), number, number),
    )


@claim(
    given=_combinations,
    mutants={
        "a constant is added": lambda t: replace(t, forward=lambda x: t.forward(x) + 1),
        "negative results are set to 0": lambda t: replace(t, forward=lambda x: t.forward(x).relu()),
        "a hundredth of its square is added": lambda t: replace(
            t, forward=lambda x: t.forward(x) + t.forward(x).square() / 100
        ),
    },
    repairs=slips.REPAIRS,
    examples=40,
    remedy=_PROMISE,
)
def sums_and_multiples_pass_through(t: LinearMap, x: Tensor, y: Tensor, a: float, b: float) -> Iterator[Residual]:
    r"""The map is linear: $T(ax + by) = a\,Tx + b\,Ty$, and $T0 = 0$.

    Error bound: 0 for T0; with k terms in a row of the matrix A, each of the three values is off by at most $(k + 1)/2$ roundings
    of $\lvert A\rvert(\lvert a\rvert\lvert x\rvert + \lvert b\rvert\lvert y\rvert)$, and the combinations on either
    side add 4 roundings: at most $8k$ together. The promised `error` is added for all three.
    """
    forward, nothing = slips.forward(t), t.forward(torch.zeros_like(x))
    yield exactly(nothing, torch.zeros_like(nothing), what="T0")
    (scale_x, error_x), (scale_y, error_y) = forward.rounded(x, 2), forward.rounded(y, 2)
    expected = Ball(
        a * t.forward(x) + b * t.forward(y),
        abs(a) * error_x + abs(b) * error_y,
        kind=Kind.NUMERICAL,
        source="a Tx + b Ty",
    )
    scale = abs(a) * scale_x + abs(b) * scale_y
    yield close(t.forward(a * x + b * y), expected, ulps=8, scale=scale, what="T(ax + by)")


@claim(
    given=_points,
    mutants={
        "the adjoint is multiplied by 2": slips.adjoint_result(lambda t, value: 2 * value),
        "the adjoint is divided by 2": slips.adjoint_result(lambda t, value: value / 2),
        "the adjoint is multiplied by the ratio of the sizes": slips.adjoint_result(
            lambda t, value: value * math.prod(t.input_shape) / math.prod(t.output_shape)
        ),
        "the adjoint is divided by the ratio of the sizes": slips.adjoint_result(
            lambda t, value: value * math.prod(t.output_shape) / math.prod(t.input_shape)
        ),
        "the adjoint is read backwards": slips.adjoint_result(
            lambda t, value: value.flip([-1 - k for k in range(len(t.input_shape))])
        ),
        "the map itself is taken for its adjoint": slips.square(lambda t: replace(t, adjoint=t.forward)),
    },
    repairs=slips.ADJOINT_REPAIRS,
    examples=40,
    remedy=_PROMISE,
)
def adjoint_moves_across_the_inner_product(t: LinearMap, x: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""The adjoint moves across the inner product: $\langle Tx, y\rangle = \langle x, T^* y\rangle$.

    Compared at the vectors drawn, and at every pair of basis vectors: the two matrices are transposes.

    Error bound: k terms in a row of a matrix cost $(k + 1)/2$ roundings of $\lvert y\rvert^\top\lvert A\rvert\lvert
    x\rvert$, and the n products of an inner product n more. The entries of the matrices are compared to $4k$ roundings.
    The promised `error` of both directions is added.
    """
    forward, adjoint = slips.forward(t), slips.adjoint(t)
    value, back = t.forward(x), adjoint.function(y)
    yield exactly(tuple(back.shape), tuple(x.shape), kind=Kind.NUMERICAL, what="the shape of T* y")

    def product(left: Tensor, right: Tensor) -> Tensor:
        products = left.detach().double().cpu() * right.detach().double().cpu()
        return products.reshape(*forward.batch(x), -1).sum(-1)

    (scale_x, error_x), (scale_y, error_y) = forward.rounded(x), adjoint.rounded(y)
    true = Ball(
        product(value, y), product(error_x, y.abs()) + product(error_y, x.abs()), kind=Kind.NUMERICAL, source="<Tx, y>"
    )
    ulps = 2 + max(math.prod(t.input_shape), math.prod(t.output_shape))
    scale = product(scale_x, y.abs()) + product(scale_y, x.abs())
    yield close(product(x, back).to(x.dtype), true, ulps=ulps, scale=scale, what="<x, T* y>")
    one, other = forward.matrix(x.dtype, x.device), adjoint.matrix(x.dtype, x.device).mT
    terms = (one != 0).sum(-1, keepdim=True).maximum((one != 0).sum(-2, keepdim=True)).clamp(min=1)
    entries = Ball(one, 2 * t.error * one.abs().amax().expand(one.shape), kind=Kind.NUMERICAL, source="the matrix of T")
    yield close(other.to(x.dtype), entries, ulps=4, cond=terms, what="the transposed matrix of T*")


def _denominator(t: LinearMap) -> int:
    """The smallest positive number whose product with the matrix of an exact map is a matrix of integers."""
    return math.lcm(1, *(Fraction(entry).denominator for row in t.matrix or () for entry in row)) if t.exact else 1


def _vectors(t: LinearMap, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """For an exact map integers so small that every sum of their products with d A is exact in the dtype."""
    if not t.exact:
        return _points(t, dtype)
    sizes = [[abs(int(_denominator(t) * entry)) for entry in row] for row in t.matrix or ()]
    largest = max(1, *map(sum, sizes), *map(sum, zip(*sizes, strict=True)), 1) * _denominator(t)
    reach = min(100, int(1 / torch.finfo(dtype).eps / largest))
    return _points(t, dtype, st.integers(-reach, reach).map(float))


@claim(
    given=_vectors,
    mutants={
        "it is multiplied by 2": slips.result(lambda value: 2 * value),
        "it is divided by 2": slips.result(lambda value: value / 2),
        "it is multiplied by 1 + 2^-10": slips.result(lambda value: value * (1 + 2**-10)),
        "the map and its adjoint are exchanged": slips.square(
            lambda t: replace(t, forward=slips.adjoint(t).function, adjoint=t.forward)
        ),
        "the last coordinate of the result is left out": (
            lambda t: slips.result(lambda value: torch.where(slips.last(value, t.output_shape), 0, value))(t)
        ),
        "the result is moved along by one place": slips.moved_along,
    },
    repairs=slips.MAP_REPAIRS,
    examples=25,
    remedy=_PROMISE,
)
def equals_its_matrix(t: LinearMap, x: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""The map is its matrix: $Tx = Ax$ and $T^* y = A^\top y$, at the vectors drawn and at every basis vector.

    For an exact map, and d the common denominator of A, $T(dx)$ is compared with $(dA)x$ in integer arithmetic. Since
    the map is linear, agreement on the basis is agreement everywhere.

    Error bound: 0 for a map that is `exact`; otherwise $2k$ roundings of $\lvert A\rvert\lvert x\rvert$ for k terms in
    a row, as many of float64 for the product with A, and the promised `error`.
    """
    if t.matrix is None:
        raise NotImplementedError("no matrix is given to compare with")
    d = _denominator(t)
    dense = torch.tensor([[float(d * entry) for entry in row] for row in t.matrix], dtype=torch.float64)
    if t.exact and float(dense.abs().max()) * d > 1 / torch.finfo(x.dtype).eps:
        raise Undecided(f"the integers of the matrix times {d} are too large for {x.dtype}")
    for (side, vector), matrix in zip(_directions(t, x, y), (dense, dense.mT), strict=False):
        for points in (vector, side.basis(vector.dtype, vector.device)):
            # Integers below 2^53 are exact in float64, so for them this product is integer arithmetic.
            true = (points.double().cpu().reshape(*side.batch(points), -1) @ matrix.mT).reshape(
                *side.batch(points), *side.out
            )
            value = side.function(d * points) if points is vector else side.alone(d * points)
            what = f"{side.name} of {'a vector' if points is vector else 'the basis vectors'}"
            if t.exact:
                yield exactly(value.double().cpu(), true, kind=Kind.EXACT, what=f"{what} of integers times {d}")
            else:
                scale, promised = side.rounded(points)
                ball = Ball(true, promised + 2**-51 * scale, kind=Kind.NUMERICAL, source="product with the matrix")
                yield close(value, ball, ulps=2, scale=scale, what=what)


@claim(
    given=_points,
    mutants={
        "the backward pass is multiplied by 2": lambda t: replace(
            t, forward=lambda x: 2 * t.forward(x) - t.forward(x).detach()
        ),
        "the sign of the backward pass is changed": lambda t: replace(
            t, forward=lambda x: 2 * t.forward(x).detach() - t.forward(x)
        ),
        "the backward pass leaves out the last coordinate": slips.gradient_without_the_last,
    },
    examples=30,
    remedy=_PROMISE,
)
def backward_pass_is_the_adjoint(t: LinearMap, x: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""The backward pass is the adjoint: $\nabla_x\langle Tx, y\rangle = A^\top y$, with A the map's own matrix.

    Error bound: $4k$ roundings of $\lvert A\rvert^\top\lvert y\rvert$ for k terms in a column of A, and the promised
    `error`.
    """
    leaf = x.detach().clone().requires_grad_()
    value = t.forward(leaf)
    if not value.requires_grad:
        raise NotImplementedError("the map is not differentiable by autograd")
    gradient = torch.autograd.grad(value, leaf, y, materialize_grads=True)[0]
    matrix = slips.forward(t).matrix(x.dtype, x.device)
    flat = y.double().cpu().reshape(*slips.forward(t).batch(x), -1)
    scale = ((matrix != 0).sum(0).clamp(min=1) * (flat.abs() @ matrix.abs())).reshape(x.shape)
    true = Ball(
        (flat @ matrix).reshape(x.shape),
        t.error * scale.amax().expand(x.shape),
        kind=Kind.NUMERICAL,
        source="the transposed matrix of T",
    )
    yield close(gradient, true, ulps=4, scale=scale, what="the gradient of <Tx, y>")


@claim(
    given=_points,
    mutants={
        "the sum over the batch is added": lambda t: replace(t, forward=lambda x: t.forward(x + x.sum())),
        "the first row is added to every row": lambda t: replace(
            t, forward=lambda x: t.forward(x + x.reshape(-1, *t.input_shape)[0])
        ),
    },
    repairs=slips.REPAIRS,
    examples=30,
)
def rows_are_independent(t: LinearMap, x: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""Every row of a batch is mapped alone: $(Tx)_b = T(x_b)$, and the same for the adjoint.

    Error bound: $2k$ roundings of $\lvert A\rvert\lvert x\rvert$ for k terms in a row, since a batch may be summed in
    another order, and twice the promised `error`.
    """
    for side, vector in _directions(t, x, y):
        ball, scale = side.ball(side.alone(vector), vector, "the row alone", 2)
        yield close(side.function(vector), ball, ulps=2, scale=scale, what=f"{side.name} of a row in its batch")


@claim(given=_points, mutants={"memory is read in order, whatever the strides": slips.in_order}, examples=20)
def memory_layout_does_not_matter(t: LinearMap, x: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""How numbers lie in memory does not matter: $Tx$ is the same for a strided and a transposed x.

    Error bound: $2k$ roundings of $\lvert A\rvert\lvert x\rvert$ for k terms in a row, since strides may change the
    order of a sum, and twice the promised `error`.
    """
    for side, vector in _directions(t, x, y):
        ball, scale = side.ball(side.function(vector), vector, "the same numbers in order", 2)
        axes = tuple(reversed(range(vector.ndim)))
        layouts = {
            "every other number of a tensor": torch.stack([vector, vector + 1], -1)[..., 0],
            "a tensor of reversed strides": vector.permute(axes).contiguous().permute(axes),
        }
        for layout, strided in layouts.items():
            yield close(side.function(strided), ball, ulps=2, scale=scale, what=f"{side.name} of {layout}")


@claim(
    given=_points,
    mutants={
        "the map computes in another dtype": lambda t: replace(
            t, forward=lambda x: t.forward(x).to(torch.float32 if x.dtype == torch.float64 else torch.float64)
        ),
        "the result has one more dimension": lambda t: replace(t, forward=lambda x: t.forward(x).unsqueeze(-1)),
        "it is summed over the batch": lambda t: replace(
            t, forward=lambda x: t.forward(x).reshape(-1, *t.output_shape).sum(0)
        ),
    },
    repairs=slips.REPAIRS,
    examples=20,
)
def shape_and_dtype_are_as_declared(t: LinearMap, x: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""The batch's shape and the dtype stay as they are.

    $Tx$ takes `(*batch, *input_shape)` to `(*batch, *output_shape)`, and $T^* y$ takes it back.

    Error bound: 0.
    """
    for (side, vector), like in zip(_directions(t, x, y), (y, x), strict=False):
        value = side.function(vector)
        yield exactly(tuple(value.shape), tuple(like.shape), kind=Kind.NUMERICAL, what=f"the shape of {side.name}")
        yield exactly(value.dtype, like.dtype, kind=Kind.NUMERICAL, what=f"the dtype of {side.name}")


def check_linear_map(
    linear_map: LinearMap | Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> list[Evidence]:
    r"""Judges a linear map, its adjoint and its backward pass by every law of a linear map.

    Args:
        linear_map: the map under test.
        expected_failures, settings, dtype, device: as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `linear_map` is no `LinearMap`, and no adapter makes one of it.
    """
    linear_map = subject("linear_map", LinearMap, linear_map)
    return check(
        linear_map, laws(LinearMap), expected_failures=expected_failures, settings=settings, dtype=dtype, device=device
    )
