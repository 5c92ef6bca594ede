"""A projection onto a closed convex set, as somebody computes it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mathcheck.convex.projection.sets import ConvexSet, Map


@dataclass(frozen=True)
class Projection:
    r"""A projection onto a closed convex set, as somebody computes it.

    Args:
        project: `(*batch, n)` -> `(*batch, n)`.
        onto: the set.
        reach: entries of the points are drawn from [-reach, reach].
        batch_shapes: leading shapes that it takes.
        dtype: that it takes, if only one.
    """

    project: Map
    onto: ConvexSet
    reach: float = 100.0
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None
