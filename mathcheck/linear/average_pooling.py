r"""Average pooling over windows of k by k pixels, its adjoint, and what the two make of each other.

$(Tx)(i, j) = k^{-2}\sum_{a, b < k} x(ki + a, kj + b)$. With the pixels grouped window by window T is the block-diagonal
matrix $I \otimes k^{-2}\mathbf 1^\top$, so $T^* = k^{-2}U$ with U nearest-neighbour upsampling, $TT^* = k^{-2}I$, and
$k^2 T^*T$ is the orthogonal projection on the images that are constant on every window.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.linear.kernels.differentiable import differentiable
from mathcheck.linear.kernels.windows import repeated, summed
from mathcheck.linear.linear_map import LinearMap


def _means(x: Tensor, k: int) -> Tensor:
    return summed(x, k).div_(k**2)


def average_pool(x: Tensor, size: int) -> Tensor:
    r"""$(Tx)(i, j) = k^{-2}\sum_{a, b < k} x(ki + a, kj + b)$: the mean of every window of k by k pixels, at stride k.

    Sums are taken before the division, so integers are averaged with one rounding; off by at most $(k^2 + 1)/2$
    roundings of the mean magnitude.

    Args:
        x: images `(*batch, k h, k w)`, not empty; nothing is padded or dropped.
        size: k, at least 1.

    Returns:
        `(*batch, h, w)`; differentiable to any order, with `average_pool_adjoint` as the backward pass.

    Raises:
        TypeError, ValueError: if `x` is no such tensor, its height or width is no multiple of k, or `size` is no
            positive integer.
    """
    arguments.at_least(1, size=size)
    arguments.images(size, x=x)
    return differentiable(lambda t: _means(t, size), lambda t: repeated(t, size, size**2))(x)


def average_pool_adjoint(y: Tensor, size: int) -> Tensor:
    r"""$(T^* y)(ki + a, kj + b) = k^{-2} y(i, j)$: every pixel is spread evenly over a window of k by k pixels.

    Args:
        y: images `(*batch, h, w)`, not empty.
        size: k, at least 1.

    Returns:
        `(*batch, k h, k w)`, each entry one rounding off; differentiable to any order, with `average_pool` as the
        backward pass.

    Raises:
        TypeError, ValueError: if `y` is no such tensor or `size` no positive integer.
    """
    arguments.at_least(1, size=size)
    arguments.images(y=y)
    return differentiable(lambda t: repeated(t, size, size**2), lambda t: _means(t, size))(y)


def average_pooling(size: int, height: int, width: int) -> LinearMap:
    r"""Average pooling to images of one size as a linear map: $k^2$ entries of $k^{-2}$ in every row of its matrix.

    Args:
        size: k, at least 1.
        height, width: of the small image, at least 1.
    """
    arguments.at_least(1, size=size, height=height, width=width)
    k, h, w = size, height, width
    large, small = (list(itertools.product(range(m * h), range(m * w))) for m in (k, 1))
    matrix = [[Fraction((i // k, j // k) == pixel, k**2) for i, j in large] for pixel in small]
    return LinearMap(
        lambda x: average_pool(x, k),
        lambda y: average_pool_adjoint(y, k),
        (k * h, k * w),
        (h, w),
        matrix,
        exact=True,
        batch_shapes=BATCH_SHAPES,
    )


by_two = average_pooling(2, 2, 2)
by_three = average_pooling(3, 1, 2)

Build = Callable[[int, int, int], LinearMap]
Inputs = tuple[int, int, int, Tensor]


def _inputs(*, large: bool, integers: bool) -> Callable[[Build, torch.dtype], st.SearchStrategy[Inputs]]:
    """A window k, height h and width w of 1 to 3 each, and an image: a large one, or one that pooling could give."""

    def given(build: Build, dtype: torch.dtype) -> st.SearchStrategy[Inputs]:
        entries = st.integers(-99, 99).map(float) if integers else Interval(reach=100.0).elements(dtype)

        def of(size: tuple[int, int, int]) -> st.SearchStrategy[Inputs]:
            k, h, w = size
            shape = (k * h, k * w) if large else (h, w)
            return st.tuples(st.just(k), st.just(h), st.just(w), strategies.tensors(shape, dtype, entries))

        return strategies.of_each(st.tuples(st.sampled_from([2, 3, 1]), st.integers(1, 3), st.integers(1, 3)), of)

    return given


def _slip(change: Callable[[LinearMap, int], LinearMap]) -> Callable[[Build], Build]:
    return lambda build: lambda k, h, w: change(build(k, h, w), k)


def _with(
    t: LinearMap, forward: Callable[[Tensor], Tensor] | None = None, adjoint: Callable[[Tensor], Tensor] | None = None
) -> LinearMap:
    return LinearMap(forward or t.forward, adjoint or t.adjoint, t.input_shape, t.output_shape)


def _spread(t: LinearMap) -> Callable[[Tensor], Tensor]:
    if t.adjoint is None:
        raise NotImplementedError("the pooling has no adjoint")
    return t.adjoint


_ADJOINTS = {
    "the adjoint is not divided by the size of a window": _slip(
        lambda t, k: _with(t, adjoint=lambda y: k**2 * _spread(t)(y))
    ),
    "the adjoint is divided by the size of a window twice": _slip(
        lambda t, k: _with(t, adjoint=lambda y: _spread(t)(y) / k**2)
    ),
    "the adjoint tiles the image": _slip(lambda t, k: _with(t, adjoint=lambda y: y.repeat(k, k) / k**2)),
    "the adjoint fills the first pixel of a window only": _slip(
        lambda t, k: _with(t, adjoint=lambda y: torch.zeros_like(_spread(t)(y)).index_put(_first(y, k), y))
    ),
}


def _first(y: Tensor, k: int) -> tuple[Tensor, Tensor]:
    return torch.arange(y.shape[-2])[:, None] * k, torch.arange(y.shape[-1])[None] * k


@claim(
    given=_inputs(large=True, integers=True),
    reference=average_pooling,
    mutants={
        "the sum of a window is not divided": _slip(lambda t, k: _with(t, lambda x: k**2 * t.forward(x))),
        "the largest pixel of a window is taken": _slip(
            lambda t, k: _with(t, lambda x: torch.nn.functional.max_pool2d(x[None], k)[0])
        ),
        "the first pixel of a window is taken": _slip(lambda t, k: _with(t, lambda x: x[::k, ::k])),
        "windows start one pixel further": _slip(lambda t, k: _with(t, lambda x: t.forward(x.roll(-1, -1)))),
    },
)
def pools_the_mean_of_every_window(build: Build, k: int, h: int, w: int, x: Tensor) -> Iterator[Residual]:
    r"""Pooling takes the mean of every window: $k^2\,(Tx)(i, j) = \sum_{a, b < k} x(ki + a, kj + b)$.

    On images of integers times $k^2$, whose means are integers, the comparison is one of rational numbers.

    Error bound: 0: sums and quotients of such integers are exact.
    """
    pixels = x.long().tolist()
    value = build(k, h, w).forward(k**2 * x).double().tolist()
    for i, j in itertools.product(range(h), range(w)):
        total = sum(pixels[k * i + a][k * j + b] for a in range(k) for b in range(k))
        yield exactly(Fraction(value[i][j]), Fraction(total), what=f"k^2 times the mean of window ({i}, {j})")


@claim(given=_inputs(large=False, integers=True), reference=average_pooling, mutants=_ADJOINTS)
def adjoint_is_upsampling_over_the_window(build: Build, k: int, h: int, w: int, y: Tensor) -> Iterator[Residual]:
    r"""The adjoint is nearest-neighbour upsampling divided by the size of a window: $T^* = k^{-2}U$.

    $(T^* y)(m, n) = k^{-2}\,y(\lfloor m/k\rfloor, \lfloor n/k\rfloor)$, compared as rational numbers on images of
    integers times $k^2$. That this is the adjoint of T is the law `adjoint_moves_across_the_inner_product`.

    Error bound: 0: such quotients are exact.
    """
    pixels = y.long().tolist()
    value = _spread(build(k, h, w))(k**2 * y).double()
    yield exactly(tuple(value.shape), (k * h, k * w), what="the shape of T* y")
    for m, n in itertools.product(range(k * h), range(k * w)):
        yield exactly(Fraction(float(value[m, n])), Fraction(pixels[m // k][n // k]), what=f"k^2 (T* y)({m}, {n})")


@claim(
    given=_inputs(large=False, integers=False),
    reference=average_pooling,
    mutants={
        name: slip
        for name, slip in _ADJOINTS.items()
        if "first pixel" not in name  # that slip is another right inverse
    },
    uses=(adjoint_is_upsampling_over_the_window,),
)
def pooling_undoes_its_adjoint_up_to_a_factor(build: Build, k: int, h: int, w: int, y: Tensor) -> Iterator[Residual]:
    r"""Pooling after its adjoint is a multiple of the identity: $TT^* = k^{-2} I$.

    Error bound: 1 rounding of the adjoint, at most $k^2$ of the sum of equal numbers and 1 of the division.
    """
    t = build(k, h, w)
    true = Ball(y.double().cpu() / k**2, y.double().cpu().abs() / k**2 * 2**-52, kind=Kind.NUMERICAL, source="y / k^2")
    yield close(t.forward(_spread(t)(y)), true, ulps=k**2 + 2, what="T T* y")


@claim(
    given=_inputs(large=True, integers=False),
    reference=average_pooling,
    mutants=_ADJOINTS,
    uses=(pooling_undoes_its_adjoint_up_to_a_factor,),
)
def adjoint_after_pooling_projects(build: Build, k: int, h: int, w: int, x: Tensor) -> Iterator[Residual]:
    r"""The adjoint after pooling is, up to a factor, the orthogonal projection on images that are constant on windows.

    With $P = k^2 T^*T$: $PP = P$, and what it takes away is orthogonal to what it leaves, $\langle Px, x - Px\rangle = 0$.

    Error bound: $2(k^2 + 4)$ roundings of the mean magnitude of a window for P, and of its products with x for the
    inner product, whose $n$ terms add n roundings each.
    """
    t = build(k, h, w)

    def project(image: Tensor) -> Tensor:
        return k**2 * _spread(t)(t.forward(image))

    once = project(x)
    magnitude = project(x.abs()).double().cpu()
    ulps = 2 * (k**2 + 4)
    yield close(project(once), once, ulps=ulps, scale=magnitude, what="P P x")
    product = (once.double() * (x.double() - once.double())).sum()
    size = (magnitude * (x.double().abs().cpu() + magnitude)).sum()
    yield close(
        product.to(x.dtype), torch.zeros((), dtype=x.dtype), ulps=ulps + x.numel(), scale=size, what="<Px, x - Px>"
    )
