"""Ways in which a log-density goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.probability.density.record import Density, Map, ends, middle

Slip = Callable[[Density], Density]


def then(change: Callable[[Tensor, int], Tensor]) -> Slip:
    """The slip that puts `change(log_prob, n)` in place of the log-density, in n dimensions."""
    return lambda d: replace(d, log_prob=lambda x: change(d.log_prob(x), math.prod(d.event_shape)))


def gradient(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that leaves the value alone and puts `change(value)`, whose own value is 0, on top of its gradient."""

    def slip(d: Density) -> Density:
        def changed(x: Tensor) -> Tensor:
            value = d.log_prob(x)
            return value.detach() + torch.where(value.isfinite(), change(value) - change(value).detach(), 0.0)

        return replace(d, log_prob=changed)

    return slip


def outside(put: Callable[[Map, Tensor, Tensor], Tensor]) -> Slip:
    """The slip that puts `put(log_prob, x, inside)` in place of the log-density outside the support."""

    def slip(d: Density) -> Density:
        low, high = ends(d)
        if math.isinf(low) and math.isinf(high):
            raise NotImplementedError("the support is the whole space")

        def changed(x: Tensor) -> Tensor:
            value = d.log_prob(x)
            apart = (x < low) | (x > high)
            outside = apart.any(-1) if d.event_shape else apart
            return torch.where(outside, put(d.log_prob, x, torch.full_like(x, middle(d))), value)

        return replace(d, log_prob=changed)

    return slip


def underflow(d: Density) -> Density:
    ends = [e for e in (d.support.reach, -d.support.reach) if d.support.lower < e < d.support.upper]
    at = torch.tensor(ends or [middle(d)], dtype=d.dtype or torch.float64)
    events = at.reshape(-1, *(1 for _ in d.event_shape)).expand(-1, *d.event_shape)
    if not bool((d.log_prob(events) < -104).any()):
        raise NotImplementedError("the density does not underflow")
    return replace(d, log_prob=lambda x: d.log_prob(x).float().exp().log().to(x.dtype))


def far(d: Density) -> Density:
    low, high = max(d.support.lower, -d.support.reach), min(d.support.upper, d.support.reach)

    def changed(x: Tensor) -> Tensor:
        far = (x - (low + high) / 2).abs() > (high - low) / 4
        return torch.where(far.any(-1) if d.event_shape else far, -math.inf, d.log_prob(x))

    return replace(d, log_prob=changed)


CONSTANT: dict[str, Slip] = {
    "the constant n/2 log 2 pi is subtracted": then(lambda value, n: value - n / 2 * math.log(2 * math.pi)),
    "the constant n/2 log 2 pi is added": then(lambda value, n: value + n / 2 * math.log(2 * math.pi)),
    "log 2 is subtracted": then(lambda value, n: value - math.log(2)),
    "log 2 is added": then(lambda value, n: value + math.log(2)),
}
REPAIRS: dict[str, Slip] = {
    **CONSTANT,
    "it is divided by 2": then(lambda value, n: value / 2),
    "it is multiplied by 2": then(lambda value, n: value * 2),
    "its logarithm is taken (it is the density itself)": then(lambda value, n: value.log()),
    "its sign is changed (it is the negative log-density)": then(lambda value, n: -value),
}
BATCH: dict[str, Slip] = {"it is summed over the batch": then(lambda value, n: value.sum())}
