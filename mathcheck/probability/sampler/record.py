"""A sampler with what its draws should follow, as somebody wrote it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from mathcheck.probability.named import Named

Sample = Callable[[int, Generator], Tensor]
Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Sampler:
    r"""A source of independent draws of a number, and what is true of their distribution.

    Args:
        sample: `(n, generator)` -> n draws `(n,)`, all their randomness from the generator.
        cdf: $F(x) = P(X \le x)$ for every number x, `(k,)` -> `(k,)` in float64; `None` if unknown.
        left_cdf: $P(X < x)$, to be given where F has jumps.
        mean: $\mathbb E X$, if known, together with `bounds` or `variance`.
        bounds: smallest and largest possible draw.
        variance: an upper bound of the variance, where the draws are unbounded.
        draws: n of the statistical laws; `None` for as many as the budget of the settings allows.
        dtype: of the draws; `None` where it is left open.
        like: the continuous distribution that is meant, of `torch.distributions` or `scipy.stats`; its distribution function
            is taken where `cdf` is not given.
    """

    sample: Sample
    cdf: Map | None = None
    left_cdf: Map | None = None
    mean: float | None = None
    bounds: tuple[float, float] | None = None
    variance: float | None = None
    draws: int | None = None
    dtype: torch.dtype | None = None
    like: Any = None

    def __post_init__(self) -> None:
        if self.draws is not None and self.draws < 1000:
            raise ValueError(f"draws must be at least 1000, got {self.draws}")
        like = Named.of(self.like)
        object.__setattr__(self, "like", like)
        if like is not None and self.cdf is None:
            object.__setattr__(self, "cdf", lambda x: like.cdf(x, runs=0).mid)
        if self.cdf is None and self.mean is None:
            raise ValueError("a sampler needs its cdf, its mean or like to be judged by, got neither")
        if self.mean is not None and self.bounds is None and self.variance is None:
            raise ValueError("a mean needs bounds or a variance to be tested with, got neither")
