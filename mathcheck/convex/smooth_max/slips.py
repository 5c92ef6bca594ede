"""Ways in which a smooth maximum goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.convex.smooth_max.record import SmoothMax

Slip = Callable[[SmoothMax], SmoothMax]


def then(change: Callable[[Tensor, Tensor, float], Tensor]) -> Slip:
    """The slip that puts `change(value, x, beta)` in place of the value."""
    return lambda v: replace(v, smooth_max=lambda x, beta: change(v.smooth_max(x, beta), x, beta))


def _scaled(power: int) -> Slip:
    """The slip that multiplies the value by beta to a power."""

    def slip(v: SmoothMax) -> SmoothMax:
        if v.betas == (1.0, 1.0):
            raise NotImplementedError("a factor of one")
        return then(lambda value, x, beta: value * beta**power)(v)

    return slip


BETA: dict[str, Slip] = {"the value is divided by beta": _scaled(-1), "the value is multiplied by beta": _scaled(1)}
CONSTANT: dict[str, Slip] = {
    "log(n) / beta is subtracted (a mean for a sum)": then(lambda v, x, beta: v - math.log(x.shape[-1]) / beta),
    "log(n) / beta is added (a sum for a mean)": then(lambda v, x, beta: v + math.log(x.shape[-1]) / beta),
}
SIGN: dict[str, Slip] = {
    "x is negated before and after (a minimum for a maximum)": (
        lambda v: replace(v, smooth_max=lambda x, beta: -v.smooth_max(-x, beta))
    ),
}
NAIVE: dict[str, Slip] = {
    "the exponentials are taken without a shift": (
        lambda v: replace(v, smooth_max=lambda x, beta: (beta * x).exp().sum(-1).log() / beta)
    ),
}
DETACHED: dict[str, Slip] = {
    "the gradient is detached": then(lambda value, x, beta: value.detach() + x.sum(-1) - x.sum(-1).detach()),
}

NO_NUMBER: dict[str, Slip] = {
    # The slope of the square root at 0 is infinite, and that of the exponential at -inf is 0.
    "the gradient of a row of -inf is not a number": then(
        lambda value, x, beta: value + 0 * x.clamp(max=0).exp().sum(-1).sqrt()
    ),
}


def _excluded(v: SmoothMax) -> SmoothMax:
    def smooth_max(x: Tensor, beta: float) -> Tensor:
        void = (x == -math.inf).all(-1)
        value = v.smooth_max(torch.where(void.unsqueeze(-1), 0.0, x), beta)
        return torch.where(void, -math.inf, value)

    return replace(v, smooth_max=smooth_max)


EXCLUDED: dict[str, Slip] = {"rows of -inf are replaced before it is computed (not after)": _excluded}


def _row_by_row(v: SmoothMax) -> SmoothMax:
    def rowwise(x: Tensor, beta: float) -> Tensor:
        rows = [v.smooth_max(row[None], beta).reshape(()) for row in x.reshape(-1, x.shape[-1])]
        return torch.stack(rows).reshape(x.shape[:-1])

    return replace(v, smooth_max=rowwise)


REPAIRS: dict[str, Slip] = {
    "it is reduced over the last dimension only": _row_by_row,
    **BETA,
    **CONSTANT,
    **SIGN,
    "the maximum is subtracted before the exponentials are taken": lambda v: replace(
        v, smooth_max=lambda x, beta: v.smooth_max(x - x.amax(-1, keepdim=True), beta) + x.amax(-1)
    ),
}
