"""What every distribution function satisfies on the whole line, whatever it is offered with: a density, draws, quantiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.guard import SubjectFault, SubjectHangs
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, exactly
from mathcheck.engine.strategies import Interval

Map = Callable[[Tensor], Tensor]

_SOURCE = "the distribution function"
# How many places of the line are compared at once.
_PLACES = 8


def beyond(value: float, dtype: torch.dtype, *, up: bool) -> float:
    """The float of `dtype` next to `value` that does not lie inside: above an upper end, or below a lower one.

    Raises:
        TypeError: if `value` is no number, `dtype` neither float32 nor float64, or `up` no truth value.
    """
    arguments.numbers(value=value)
    arguments.dtypes(dtype=dtype)
    arguments.instances(bool, up=up)
    near = torch.tensor(value, dtype=dtype)
    if (float(near) < value) if up else (float(near) > value):
        near = torch.nextafter(near, torch.tensor(math.inf if up else -math.inf, dtype=dtype))
    return float(near)


def places(interval: Interval, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    """Places of the line in increasing order, `(8,)`: in an interval, at its ends, and beyond those that are finite.

    Raises:
        TypeError: if `interval` is none, or `dtype` neither float32 nor float64.
    """
    arguments.instances(Interval, interval=interval)
    arguments.dtypes(dtype=dtype)
    low, high = (beyond(end, dtype, up=up) for end, up in ((interval.lower, False), (interval.upper, True)))
    steps, inside = (0.0, 1e-3, 0.25, 1.0, 10.0, 1e3, 1e6), interval.elements(dtype)
    # An end at infinity is not passed, and the search stays within the reach.
    below = [low - step if math.isfinite(low) else -interval.reach for step in steps]
    above = [high + step if math.isfinite(high) else interval.reach for step in steps]
    numbers = st.one_of(inside, inside, st.sampled_from(below), st.sampled_from(above))
    return st.lists(numbers, min_size=_PLACES, max_size=_PLACES).map(lambda x: torch.tensor(sorted(x), dtype=dtype))


def is_distribution_function(
    cdf: Map,
    x: Tensor,
    *,
    left: Map | None = None,
    support: tuple[float, float] = (-math.inf, math.inf),
    granted: float = 0.0,
) -> Iterator[Residual]:
    r"""Residuals of $0 \le F(x) \le F(y) \le 1$ for $x \le y$, and of $F = 0$ below the support and $F = 1$ above.

    At places outside the support where the function raises an exception it is not judged.

    Error bounds: 8 roundings of $F(x)(1 + \lvert\log F(x)\rvert)$, and what F changes when x is moved by 8 roundings.

    Args:
        cdf: F, `(k,)` -> `(k,)`.
        x: places in increasing order, `(k,)`.
        left: the left limit $F(x-)$, likewise, where F has jumps.
        support: its ends; with `left`, the ends may hold probability.
        granted: absolute error of F that is granted in addition.

    Raises:
        TypeError, ValueError: if `x` is no vector of floats in increasing order, or F returns another shape.
    """
    arguments.functions(cdf=cdf, **({} if left is None else {"left": left}))
    arguments.vectors(x=x)
    arguments.instances(tuple, support=support)
    arguments.finite(granted=granted)
    if bool((x.diff() < 0).any()):
        raise ValueError(f"x must increase, got {x.tolist()}")
    return _residuals(cdf, x, left, support, granted)


def _residuals(
    cdf: Map, x: Tensor, left: Map | None, support: tuple[float, float], granted: float
) -> Iterator[Residual]:
    inside = (x > support[0]) & (x < support[1])
    try:
        value = cdf(x)
    except (SubjectFault, NotImplementedError) as refusal:
        if isinstance(refusal, SubjectHangs) or bool(inside.all()):
            raise
        if not bool(inside.any()):
            raise NotImplementedError(f"places outside the support are refused: {refusal}") from refusal
        x = x[inside]
        value = cdf(x)
    if value.shape != x.shape:
        yield exactly(tuple(value.shape), tuple(x.shape), kind=Kind.NUMERICAL, what="the shape of F(x)")
        return
    level, at = value.detach().double().cpu(), x.double().cpu()
    eps = torch.finfo(x.dtype).eps
    slack = granted + 8 * eps * level.abs() * (1 + level.abs().clamp(min=torch.finfo(torch.float64).tiny).log().abs())
    for sign in (1, -1):
        near = (at + sign * 8 * eps * at.abs()).to(x)
        moved = torch.where((near > support[0]) & (near < support[1]), near, x)
        slack = slack + (cdf(moved).detach().double().cpu() - level).abs().nan_to_num(0.0, 0.0)

    def ball(number: Tensor, radius: Tensor) -> Ball:
        return Ball(number, radius.nan_to_num(0.0, 0.0), kind=Kind.NUMERICAL, source=_SOURCE)

    yield at_most(ball(-level, torch.full_like(slack, granted)), torch.zeros_like(level), what="0 <= F(x)")
    yield at_most(ball(level, slack), torch.ones_like(level), what="F(x) <= 1")
    yield at_most(ball(level[:-1], slack[:-1]), ball(level[1:], slack[1:]), what="F(x) <= F(y) for x <= y")
    below = at < support[0] if left is not None else at <= support[0]
    if bool(below.any()):
        yield at_most(
            ball(level[below], slack[below]), torch.zeros_like(level[below]), what="F(x) = 0 below the support"
        )
    above = at >= support[1]
    if bool(above.any()):
        yield at_most(
            torch.ones_like(level[above]), ball(level[above], slack[above]), what="F(x) = 1 above the support"
        )
    if left is not None:
        limit = left(x).detach().double().cpu()
        yield at_most(ball(limit, slack), level, what="F(x-) <= F(x)")
        apart = at.diff() > 0
        pair = ball(level[:-1][apart], slack[:-1][apart]), ball(limit[1:][apart], slack[1:][apart])
        yield at_most(*pair, what="F(x) <= F(y-) for x < y")
