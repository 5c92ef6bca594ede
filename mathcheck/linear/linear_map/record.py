"""A linear map with its adjoint, as somebody computes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from mathcheck.linear.linear_map.direction import Shape

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class LinearMap:
    r"""A linear map $T$ with its adjoint, as somebody computes them.

    The laws apply the map to every basis vector, so choose shapes of at most a few hundred numbers.

    Args:
        forward: $Tx$, `(*batch, *input_shape)` -> `(*batch, *output_shape)`.
        adjoint: $T^* y$, `(*batch, *output_shape)` -> `(*batch, *input_shape)`, for the sum of products as the inner
            product. `None`, or raises `NotImplementedError`, where it is missing: the laws that need it are skipped.
        input_shape, output_shape: of one event.
        matrix: what $T$ should be, rationals $A_{ij}$: row i for output i and column j for input j, both in C order.
        exact: states that nothing is rounded where x, its products with A and their sums are integers.
        batch_shapes: leading shapes that the functions take.
        error: promised error of $Tx$ and $T^* y$ in multiples of the largest entry of $\lvert A\rvert\lvert x\rvert$,
            added to the rounding bound; for fast transforms, and compositions that cancel inside.
        dtype: that the functions take, if only one.

    Raises:
        ValueError: if a shape is no tuple of positive integers, the matrix does not fit the shapes, or `error` is
            negative or not finite.
    """

    forward: Map
    adjoint: Map | None = None
    input_shape: Shape = ()
    output_shape: Shape = ()
    matrix: Sequence[Sequence[Fraction | int]] | None = None
    exact: bool = False
    batch_shapes: tuple[Shape, ...] = ((1,), (3,))
    error: float = 0.0
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        for name in ("input_shape", "output_shape"):
            shape = getattr(self, name)
            if not isinstance(shape, tuple) or not all(isinstance(size, int) and size > 0 for size in shape):
                raise ValueError(f"{name} must be a tuple of positive integers, got {shape!r}")
        rows, columns = math.prod(self.output_shape), math.prod(self.input_shape)
        if self.matrix is not None and [len(row) for row in self.matrix] != [columns] * rows:
            got = f"{len(self.matrix)} rows of {sorted({len(row) for row in self.matrix})}"
            raise ValueError(f"matrix must have {rows} rows of {columns} entries, got {got}")
        if not 0 <= self.error < math.inf:
            raise ValueError(f"error must be at least 0 and finite, got {self.error}")
