"""A log-density with its support, as somebody computes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mathcheck.engine.strategies import Interval

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Density:
    r"""The density of a continuous distribution with respect to Lebesgue measure, by its logarithm.

    Args:
        log_prob: $\log p(x)$ in nats, `(*batch, *event_shape)` -> `(*batch,)`. Besides `batch_shapes` it takes any
            single leading dimension.
        support: where each coordinate of x lives. $\log p = -\infty$ outside; the ends themselves may go either way.
            Its `reach` bounds how far the search goes, and on the support up to it $\log p$ is finite.
        event_shape: `()` for a number, `(n,)` for a vector; the mass is integrated for n up to 2.
        cdf: $F(x) = P(X \le x)$ for numbers, `(*batch,)` -> `(*batch,)`; 0 below the support, and 1 above it.
        cdf_ulps: absolute error of the cdf that is granted, in units of eps; a cdf with relatively accurate tails needs none.
        points: places inside the support where the density has a kink, jump, singularity or narrow peak, in each
            coordinate. An integral that misses a peak refutes a density that is right.
        batch_shapes: leading shapes that it takes.
        dtype: that it takes, if only one.
    """

    log_prob: Map
    support: Interval = Interval(reach=10.0)
    event_shape: tuple[int, ...] = ()
    cdf: Map | None = None
    cdf_ulps: float = 0.0
    points: tuple[float, ...] = ()
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        if len(self.event_shape) > 1:
            raise ValueError(f"event_shape must be () or (n,), got {self.event_shape}")
        if not all(self.support.lower < p < self.support.upper for p in self.points):
            raise ValueError(f"points must lie inside the support {self.support}, got {self.points}")


def ends(d: Density) -> tuple[float, float]:
    """The ends of the support."""
    return d.support.lower, d.support.upper


def middle(d: Density) -> float:
    """A point well inside the support."""
    low, high = ends(d)
    if math.isfinite(low) and math.isfinite(high):
        return (low + high) / 2
    return low + 1 if math.isfinite(low) else high - 1 if math.isfinite(high) else 0.0
