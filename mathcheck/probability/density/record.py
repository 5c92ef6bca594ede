"""A log-density with its support, as somebody computes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mathcheck.engine.strategies import Interval
from mathcheck.probability.named import Named
from mathcheck.probability.parameter import Parameter, with_shapes

Map = Callable[..., Tensor]


@dataclass(frozen=True)
class Density:
    r"""The density of a continuous distribution with respect to Lebesgue measure, by its logarithm.

    Args:
        log_prob: $\log p(x)$ in nats, `(*batch, *event_shape)` -> `(*batch,)`. Besides `batch_shapes` it takes any
            single leading dimension. With `parameters` it takes them after x, each `(*batch, *shape)`.
        support: where each coordinate of x lives, whatever the parameters. $\log p = -\infty$ outside; the ends themselves
            may go either way. Its `reach` bounds how far the search goes, and on the support up to it $\log p$ is finite.
        event_shape: `()` for a number, `(n,)` for a vector; the mass is integrated for n up to 3.
        cdf: $F(x) = P(X \le x)$ for numbers, `(*batch,)` -> `(*batch,)`; 0 below the support, and 1 above it; with
            `parameters` it takes them, too.
        cdf_ulps: absolute error of the cdf that is granted, in units of eps; a cdf with relatively accurate tails needs none.
        points: places inside the support where the density has a kink, jump, singularity or narrow peak, in each
            coordinate. An integral that misses a peak refutes a density that is right.
        parameters: what the density depends on besides x: name -> where it lives, an `Interval` for a number, a `Parameter`
            for a vector. A condition or context is a parameter.
        like: the distribution that it is meant to be: one of `torch.distributions` (or anything with `log_prob`), a frozen
            one of `scipy.stats`, or a log-density. With `parameters` a function of them that gives one of the former two,
            such as `torch.distributions.Laplace`, or a log-density of x and the parameters.
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
    parameters: Mapping[str, Interval | Parameter] = field(default_factory=dict)
    like: Any = None

    def __post_init__(self) -> None:
        if len(self.event_shape) > 1:
            raise ValueError(f"event_shape must be () or (n,), got {self.event_shape}")
        if not all(self.support.lower < p < self.support.upper for p in self.points):
            raise ValueError(f"points must lie inside the support {self.support}, got {self.points}")
        object.__setattr__(self, "parameters", with_shapes(self.parameters))
        object.__setattr__(self, "like", Named.of(self.like))


def shapes(d: Density) -> dict[str, Parameter]:
    """The parameters by name."""
    return with_shapes(d.parameters)


def at(d: Density, values: tuple[Tensor, ...]) -> Density:
    """The density at one value of each parameter, the same for all rows of a batch."""
    if not d.parameters:
        return d
    n = len(d.event_shape)

    def shared(function: Map) -> Map:
        return lambda x: function(x, *(value.expand(*x.shape[: x.ndim - n], *value.shape) for value in values))

    cdf = None if d.cdf is None else shared(d.cdf)
    return replace(d, log_prob=shared(d.log_prob), cdf=cdf, parameters={}, like=None)


def ends(d: Density) -> tuple[float, float]:
    """The ends of the support."""
    return d.support.lower, d.support.upper


def middle(d: Density) -> float:
    """A point well inside the support."""
    low, high = ends(d)
    if math.isfinite(low) and math.isfinite(high):
        return (low + high) / 2
    return low + 1 if math.isfinite(low) else high - 1 if math.isfinite(high) else 0.0
