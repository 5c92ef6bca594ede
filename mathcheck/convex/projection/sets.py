"""Closed convex sets that one projects onto."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mathcheck.engine import arguments

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ConvexSet:
    r"""A closed convex set C of $\mathbb R^n$, described without its projection.

    Args:
        dimension: n, at least 1.
        violation: `(*batch, n)` -> `(*batch,)`: 0 in C and positive outside, in the unit of x, e.g. how far the worst
            constraint is missed.
        member: `(*batch, n)` -> `(*batch, n)`: turns any point into some point of C, every point of C into itself.
        exact: whether a projection can be computed without rounding, as for a box; it must then be exact.
    """

    dimension: int
    violation: Map
    member: Map
    exact: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.dimension, int) or self.dimension < 1:
            raise ValueError(f"dimension must be an integer of at least 1, got {self.dimension!r}")


def box(lower: Sequence[float], upper: Sequence[float]) -> ConvexSet:
    r"""$C = \{z : l_i \le z_i \le u_i\}$; ends may be infinite, and a coordinate with equal ends is fixed.

    Args:
        lower: n numbers; rounded to the dtype of the points, as `upper` is.
        upper: n numbers, none below that of `lower`.

    Raises:
        TypeError, ValueError: if the ends are not n pairs of numbers in order, with a number between them.
    """
    arguments.sequences((int, float), lower=lower, upper=upper)
    low, high = [float(x) for x in lower], [float(x) for x in upper]
    if len(low) != len(high) or not low:
        raise ValueError(f"lower and upper must hold n >= 1 numbers each, got {len(low)} and {len(high)}")
    if not all(a <= b and a < math.inf and b > -math.inf for a, b in zip(low, high, strict=True)):
        raise ValueError(f"lower must not exceed upper, got lower={low}, upper={high}")

    def ends(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.new_tensor(low), x.new_tensor(high)

    def violation(x: Tensor) -> Tensor:
        a, b = ends(x)
        # A comparison with NaN is false: counted as a violation.
        return torch.where((a <= x) & (x <= b), 0.0, torch.maximum(a - x, x - b)).amax(-1)

    return ConvexSet(len(low), violation, lambda x: x.clamp(*ends(x)), exact=True)


def unit_ball(dimension: int) -> ConvexSet:
    r"""$C = \{z : \lVert z\rVert \le 1\}$ in `dimension` dimensions."""
    norm = functools.partial(torch.linalg.vector_norm, dim=-1, keepdim=True)
    return ConvexSet(
        dimension,
        lambda x: (norm(x) - 1).squeeze(-1).clamp(min=0.0),
        lambda x: torch.where(norm(x) <= 1, x, x.sign() * x.abs().clamp(max=1.0) / math.sqrt(dimension)),
    )
