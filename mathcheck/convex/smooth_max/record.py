"""A smooth maximum, as somebody computes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SmoothMax:
    r"""A smooth maximum over the last dimension, as somebody computes it.

    Args:
        smooth_max: called as `smooth_max(x, beta)` with x of shape `(*batch, n)` and a number beta > 0; returns
            `(*batch,)`. For a fixed inverse temperature ignore the second argument and set `betas` to it.
        betas: smallest and largest inverse temperature of the domain.
        reach: entries of x are drawn from [-reach, reach], or are infinite where a law says so.
        batch_shapes: leading shapes that the function takes.
        dtype: that it takes, if only one.
    """

    smooth_max: Callable[[Tensor, float], Tensor]
    betas: tuple[float, float] = (1e-8, 1e8)
    reach: float = 1e3
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        if not 0 < self.betas[0] <= self.betas[1] < math.inf:
            raise ValueError(f"betas must satisfy 0 < smallest <= largest < inf, got {self.betas}")
