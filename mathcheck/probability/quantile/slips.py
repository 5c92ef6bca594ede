"""Ways in which a quantile function goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.probability.quantile.record import Quantile

Slip = Callable[[Quantile], Quantile]


def _level(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that looks up the quantile of `change(u)`."""
    return lambda q: replace(q, quantile=lambda u: q.quantile(change(u)))


def then(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that puts `change(x)` in place of the quantile."""
    return lambda q: replace(q, quantile=lambda u: change(q.quantile(u)))


def cdf(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that puts `change(level)` in place of the distribution function and of its left limits."""

    def slip(q: Quantile) -> Quantile:
        left = q.left_cdf
        return replace(q, cdf=lambda x: change(q.cdf(x)), left_cdf=None if left is None else lambda x: change(left(x)))

    return slip


def _sharp(slip: Slip) -> Slip:
    """A slip that only a quantile function without rounding errors can show."""

    def applied(q: Quantile) -> Quantile:
        if q.ulps:
            raise NotImplementedError("as small as the rounding errors that the quantile function may have")
        return slip(q)

    return applied


def shifted(x: Tensor, ulps: int) -> Tensor:
    """The float `ulps` places above x, or below."""
    for _ in range(abs(ulps)):
        x = torch.nextafter(x, torch.full_like(x, math.copysign(math.inf, ulps)))
    return x


def _upper(q: Quantile) -> Quantile:
    """sup{x : F(x) <= u}, which differs where F is flat at the level u."""
    return _level(lambda u: shifted(u, 1))(q)


SIDES: dict[str, Slip] = {
    "the other tail is counted (1 - u for u)": _level(lambda u: 1 - u),
    "the level is squared": _level(lambda u: (u * u).clamp(min=torch.finfo(u.dtype).tiny)),
}
SIDES_OF_THE_ENDS: dict[str, Slip] = {
    "the other tail is counted (1 - u for u)": SIDES["the other tail is counted (1 - u for u)"],
    "the sign of the quantile is changed": then(lambda x: -x),
}
DISTRIBUTION: dict[str, Slip] = {
    "the probability of the other side is taken (1 - F)": cdf(lambda level: 1 - level),
    "half is added to the distribution function": cdf(lambda level: level + 0.5),
    "half is subtracted from the distribution function": cdf(lambda level: level - 0.5),
}
EXACT: dict[str, Slip] = {
    "the largest x with F(x) <= u is taken for the smallest with u <= F(x)": _sharp(_upper),
    "the float below is taken": _sharp(then(lambda x: shifted(x, -1))),
    "the float above is taken": _sharp(then(lambda x: shifted(x, 1))),
}
TAILS: dict[str, Slip] = {
    "levels are clipped to the middle half": _level(lambda u: u.clamp(0.25, 0.75)),
}
REPAIRS: dict[str, Slip] = {
    "a level is reached where F(x) equals it (it is looked up on the wrong side of a jump)": _level(
        lambda u: shifted(u, -1)
    ),
    **SIDES,
}
