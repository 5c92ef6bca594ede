"""A quantile function with its distribution function, as somebody computes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mathcheck.engine.strategies import Interval
from mathcheck.probability.named import Named

Map = Callable[[Tensor], Tensor]


def _unknown(x: Tensor) -> Tensor:
    raise NotImplementedError("the quantile function has no cdf")


@dataclass(frozen=True)
class Quantile:
    r"""A quantile function $G(u) = \inf\{x : u \le F(x)\}$ with its distribution function F, as somebody computes them.

    Args:
        quantile: G, `(*batch,)` in [0, 1] -> `(*batch,)`. A function that takes no 0 and 1 raises an exception there.
        cdf: $F(x) = P(X \le x)$ for every number x, `(*batch,)` -> `(*batch,)`.
        left_cdf: $P(X < x)$, where F has jumps.
        domain: where x is looked for; its `reach` bounds how far.
        ulps: roundings by which G(u) and F(x) may be off. With 0 the equivalence holds for the computed F to the last
            bit: the standard for tables of probabilities, and for a root-finder that brackets.
        batch_shapes: leading shapes that the functions take.
        dtype: that they take, if only one.
        like: the continuous distribution that is meant, of `torch.distributions` or `scipy.stats`; its distribution function
            is taken where `cdf` is not given.
    """

    quantile: Map
    cdf: Map = _unknown
    left_cdf: Map | None = None
    domain: Interval = Interval(reach=10.0)
    ulps: float = 8.0
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None
    like: Any = None

    def __post_init__(self) -> None:
        if not 0 <= self.ulps < math.inf:
            raise ValueError(f"ulps must be at least 0 and finite, got {self.ulps}")
        like = Named.of(self.like)
        object.__setattr__(self, "like", like)
        if like is not None and self.cdf is _unknown:
            object.__setattr__(self, "cdf", lambda x: like.cdf(x, runs=0).mid.to(x))
        if self.cdf is _unknown:
            raise ValueError("a quantile function needs its cdf or like to be judged by, got neither")
