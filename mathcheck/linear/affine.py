r"""The affine layer $Y = XW^\top + \mathbf 1 b^\top$ of neural nets, and its gradients, which are products again.

With G the gradient of a loss in Y, its gradients are $GW$ in X, $G^\top X$ in W and $G^\top\mathbf 1$ in b.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, exactly
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.linear.kernels.product import product
from mathcheck.linear.linear_map import LinearMap


def affine(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    r"""$y_j = \sum_k W_{jk} x_k + b_j$ for every x of a batch.

    What `torch.nn.functional.linear` computes, with large single-precision products by oneDNN, which on AMD's processors
    with AVX-512 is about twice as fast.

    Args:
        x: `(*batch, n)`.
        weight: W, `(m, n)`.
        bias: b, `(m,)`; none by default.

    Returns:
        `(*batch, m)`, differentiable to any order, and under `torch.vmap` and `torch.compile`.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of such shapes, one dtype and device.
    """
    arguments.vectors(x=x)
    arguments.floating(x=x, weight=weight)
    if weight.ndim != 2 or weight.shape[1] != x.shape[-1]:
        raise ValueError(f"weight must have shape (m, {x.shape[-1]}), got {tuple(weight.shape)}")
    if bias is not None:
        arguments.floating(x=x, bias=bias)
        if bias.shape != weight.shape[:1]:
            raise ValueError(f"bias must have shape ({weight.shape[0]},), got {tuple(bias.shape)}")
    return product(x, weight, bias)


class Affine(nn.Linear):
    r"""`torch.nn.Linear` by `affine`: the same parameters, beginning and state, and a faster product where there is one."""

    def forward(self, x: Tensor) -> Tensor:
        r"""$y_j = \sum_k W_{jk} x_k + b_j$, `(*batch, n)` -> `(*batch, m)`."""
        return product(x, self.weight, self.bias)


def linear_part(weight: Tensor) -> LinearMap:
    r"""$x \mapsto Wx$ as a linear map; its adjoint is the same layer with the transposed matrix.

    Args:
        weight: W, `(m, n)`, not empty.

    Raises:
        TypeError, ValueError: if `weight` is no such tensor.
    """
    arguments.finite_floating(weight=weight)
    if weight.ndim != 2 or not weight.numel():
        raise ValueError(f"weight must have shape (m, n) and entries, got shape {tuple(weight.shape)}")
    matrix = [[Fraction(float(entry)) for entry in row] for row in weight]
    return LinearMap(
        lambda x: affine(x, weight.to(x)),
        lambda y: affine(y, weight.to(y).mT),
        (weight.shape[1],),
        (weight.shape[0],),
        matrix,
        exact=all(e.denominator == 1 for row in matrix for e in row),
        batch_shapes=BATCH_SHAPES,
    )


wide = linear_part(torch.tensor([[1.0, -2.0, 3.0], [0.0, 5.0, -1.0]]))
narrow = linear_part(torch.tensor([[0.3, -1.7], [1e-3, 2.0], [0.0, 0.7]], dtype=torch.float64))

Function = Callable[[Tensor, Tensor, Tensor], Tensor]


def _layers(subject: Function, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """An input, weights, a bias and a cotangent, all integers; now and then as large as the faster product wants them."""

    def of(
        shapes: tuple[tuple[int, ...], int, int], entries: st.SearchStrategy[float]
    ) -> st.SearchStrategy[tuple[Tensor, Tensor, Tensor, Tensor]]:
        batch, n, m = shapes
        return st.tuples(*(strategies.tensors(s, dtype, entries) for s in ((*batch, n), (m, n), (m,), (*batch, m))))

    def large(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        shapes = ((3, 64, 160), (150, 160), (150,), (3, 64, 150))
        x, w, b, g = (torch.randint(-9, 10, shape, generator=generator).to(dtype) for shape in shapes)
        return x, w, b, g

    small = st.tuples(st.sampled_from(BATCH_SHAPES), st.integers(1, 3), st.integers(1, 3))
    drawn = strategies.of_each(small, lambda shapes: of(shapes, st.integers(-9, 9).map(float)))
    return st.one_of(drawn, drawn, strategies.generators().map(large))


def _square(change: Function) -> Callable[[Function], Function]:
    def slip(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        if w.shape[0] != w.shape[1]:
            raise NotImplementedError("only a square matrix can be taken for its transpose")
        return change(x, w, b)

    return lambda f: slip


def _of_last_row(f: Function) -> Function:
    def wrong(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        rows = torch.zeros(x.shape[:-1].numel(), 1, dtype=x.dtype)
        rows[-1] = 1
        return f(x, w, b.detach()) + rows.reshape(*x.shape[:-1], 1) * (b - b.detach())

    return wrong


@claim(
    given=_layers,
    reference=affine,
    mutants={
        "the weights are not transposed": _square(lambda x, w, b: affine(x, w.mT, b)),
        "the bias is left out": lambda f: lambda x, w, b: f(x, w, 0 * b),
        "the gradient of the weights is averaged over the rows": lambda f: (
            lambda x, w, b: f(x, w.detach() + (w - w.detach()) / x.shape[:-1].numel(), b)
        ),
        "the gradient of the bias is that of the last row": _of_last_row,
        "the gradient of the input goes through the transposed weights": _square(
            lambda x, w, b: affine(x.detach(), w, b) + affine(x - x.detach(), w.detach().mT)
        ),
    },
    examples=60,
)
def gradients_are_products(f: Function, x: Tensor, w: Tensor, b: Tensor, g: Tensor) -> Iterator[Residual]:
    r"""The gradients of an affine layer are products of matrices.

    Those of $\langle G, Y\rangle$ for $Y = XW^\top + \mathbf 1 b^\top$ are $GW$ in X, $G^\top X$ in W and
    $G^\top\mathbf 1$ in b.

    Error bound: 0: sums of products of integers that the dtype holds exactly, in whatever order they are added.
    """
    leaves = [t.clone().requires_grad_() for t in (x, w, b)]
    value = f(*leaves)
    of_x, of_w, of_b = torch.autograd.grad(value, leaves, g)
    rows, cotangents = x.reshape(-1, x.shape[-1]).long(), g.reshape(-1, g.shape[-1]).long()
    yield exactly(value.detach().reshape(cotangents.shape), (rows @ w.long().mT + b.long()).to(g), what="the value")
    yield exactly(of_x.reshape(rows.shape), (cotangents @ w.long()).to(x), what="the gradient in x")
    yield exactly(of_w, (cotangents.mT @ rows).to(w), what="the gradient in W")
    yield exactly(of_b, cotangents.sum(0).to(b), what="the gradient in b")
