"""Ways in which a log-density goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.probability.density.record import Density, Map, ends, middle, shapes

Slip = Callable[[Density], Density]


def then(change: Callable[[Tensor, int], Tensor]) -> Slip:
    """The slip that puts `change(log_prob, n)` in place of the log-density, in n dimensions."""
    return lambda d: replace(d, log_prob=lambda x, *given: change(d.log_prob(x, *given), math.prod(d.event_shape)))


def gradient(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that leaves the value alone and puts `change(value)`, whose own value is 0, on top of its gradient."""

    def slip(d: Density) -> Density:
        def changed(x: Tensor, *given: Tensor) -> Tensor:
            value = d.log_prob(x, *given)
            return value.detach() + torch.where(value.isfinite(), change(value) - change(value).detach(), 0.0)

        return replace(d, log_prob=changed)

    return slip


def outside(put: Callable[[Map, Tensor, Tensor], Tensor]) -> Slip:
    """The slip that puts `put(log_prob, x, inside)` in place of the log-density outside the support."""

    def slip(d: Density) -> Density:
        low, high = ends(d)
        if math.isinf(low) and math.isinf(high):
            raise NotImplementedError("the support is the whole space")

        def changed(x: Tensor, *given: Tensor) -> Tensor:
            value = d.log_prob(x, *given)
            apart = (x < low) | (x > high)
            outside = apart.any(-1) if d.event_shape else apart
            return torch.where(outside, put(lambda at: d.log_prob(at, *given), x, torch.full_like(x, middle(d))), value)

        return replace(d, log_prob=changed)

    return slip


def underflow(d: Density) -> Density:
    if d.parameters:
        raise NotImplementedError("it may underflow at other parameters")
    ends = [e for e in (d.support.reach, -d.support.reach) if d.support.lower < e < d.support.upper]
    at = torch.tensor(ends or [middle(d)], dtype=d.dtype or torch.float64)
    events = at.reshape(-1, *(1 for _ in d.event_shape)).expand(-1, *d.event_shape)
    if not bool((d.log_prob(events) < -104).any()):
        raise NotImplementedError("the density does not underflow")
    return replace(d, log_prob=lambda x: d.log_prob(x).float().exp().log().to(x.dtype))


def far(d: Density) -> Density:
    low, high = max(d.support.lower, -d.support.reach), min(d.support.upper, d.support.reach)

    def changed(x: Tensor, *given: Tensor) -> Tensor:
        far = (x - (low + high) / 2).abs() > (high - low) / 4
        return torch.where(far.any(-1) if d.event_shape else far, -math.inf, d.log_prob(x, *given))

    return replace(d, log_prob=changed)


def parameters(change: Callable[[tuple[Tensor, ...], int], tuple[Tensor, ...]]) -> Slip:
    """The slip that hands on `change(parameters, k)`, k the number of leading dimensions."""

    def slip(d: Density) -> Density:
        if not d.parameters:
            raise NotImplementedError("the density has no parameters")
        return replace(d, log_prob=lambda x, *given: d.log_prob(x, *change(given, x.ndim - len(d.event_shape))))

    return slip


def shared(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that puts `change(log_prob)` in place where the parameters are not given for each row."""

    def slip(d: Density) -> Density:
        def changed(x: Tensor, *given: Tensor) -> Tensor:
            value = d.log_prob(x, *given)
            batch = x.shape[: x.ndim - len(d.event_shape)]
            each = all(parameter.shape[: len(batch)] == batch for parameter in given)
            return value if each else change(value)

        return replace(d, log_prob=changed)

    return slip


def _stretched(factor: float) -> Slip:
    """Another law of the same family: twice as wide, or half, as happens where a scale is taken for its square."""

    def slip(d: Density) -> Density:
        if math.isfinite(d.support.lower) and math.isfinite(d.support.upper):
            raise NotImplementedError("the support is bounded")
        n = math.prod(d.event_shape)
        end = next((e for e in ends(d) if math.isfinite(e)), 0.0)
        return replace(
            d,
            log_prob=lambda x, *given: d.log_prob(end + (x - end) * factor, *given) + n * math.log(factor),
        )

    return slip


def _positive(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that changes the parameters that are positive numbers, such as a scale."""

    def slip(d: Density) -> Density:
        scales = [parameter.domain.lower == 0 for parameter in shapes(d).values()]
        if not any(scales):
            raise NotImplementedError("no parameter is positive")
        return parameters(
            lambda given, k: tuple(
                change(value) if scale else value for value, scale in zip(given, scales, strict=True)
            )
        )(d)

    return slip


def _exchanged(d: Density) -> Density:
    found = [parameter.shape for parameter in shapes(d).values()]
    if len(found) < 2 or found[0] != found[1]:
        raise NotImplementedError("there are no two parameters of one shape")
    return parameters(lambda given, k: (given[1], given[0], *given[2:]))(d)


def shifted(by: float) -> Slip:
    return lambda d: replace(d, log_prob=lambda x, *given: d.log_prob(x + by, *given))


def grows(d: Density) -> Density:
    if not d.parameters:
        raise NotImplementedError("the density has no parameters")

    def changed(x: Tensor, *given: Tensor) -> Tensor:
        k = x.ndim - len(d.event_shape)
        return d.log_prob(x, *given) + sum(value.flatten(k).sum(-1) if value.ndim > k else value for value in given)

    return replace(d, log_prob=changed)


def with_gradient_of_a_sum(d: Density) -> Density:
    """The value is left alone; its gradient in every parameter is one too large."""
    grown = grows(d)

    def changed(x: Tensor, *given: Tensor) -> Tensor:
        value = grown.log_prob(x, *given)
        return d.log_prob(x, *given).detach() + value - value.detach()

    return replace(d, log_prob=changed)


NAMED: dict[str, Slip] = {
    "its argument is moved by a thousandth": shifted(1e-3),
    "its argument is doubled (a law half as wide)": _stretched(2.0),
    "its argument is halved (a law twice as wide)": _stretched(0.5),
    "its positive parameters are squared": _positive(torch.square),
    "the square roots of its positive parameters are taken": _positive(torch.sqrt),
    "its positive parameters are inverted": _positive(torch.reciprocal),
    "its positive parameters are doubled": _positive(lambda value: 2 * value),
    "its first two parameters are exchanged": _exchanged,
}
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
