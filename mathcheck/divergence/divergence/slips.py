"""Ways in which a divergence goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.divergence.divergence import definition
from mathcheck.divergence.divergence.record import Divergence
from mathcheck.probability.families import Parameters

Pair = tuple[Parameters, Parameters]
Slip = Callable[[Divergence], Divergence]


def then(change: Callable[[Tensor, int], Tensor]) -> Slip:
    """The slip that puts `change(value, n)` in place of the value, in n dimensions."""

    def slip(kl: Divergence) -> Divergence:
        return replace(kl, divergence=lambda *x: change(kl.divergence(*x), x[0].shape[-1]))

    return slip


def _respread(power: float) -> Slip:
    """The slip that raises both standard deviations to `power`."""

    def slip(kl: Divergence) -> Divergence:
        if kl.domain.full:
            raise NotImplementedError("a covariance matrix is not taken for its square")

        def changed(*x: Tensor) -> Tensor:
            return kl.divergence(*kl.domain.respread(x[:2], power), *kl.domain.respread(x[2:], power))

        return replace(kl, divergence=changed)

    return slip


def _swapped(kl: Divergence) -> Divergence:
    return replace(kl, divergence=lambda *x: kl.divergence(*x[2:], *x[:2]))


def detached(kl: Divergence) -> Divergence:
    return replace(kl, divergence=lambda *x: kl.divergence(*x[:2], *(t.detach() for t in x[2:])))


def attached(kl: Divergence) -> Divergence:
    """Where no gradient reaches an argument, that of the definition does."""

    def changed(*x: Tensor) -> Tensor:
        value = kl.divergence(*x)
        if not all(t.requires_grad for t in x):
            return value
        own: Sequence[Tensor | None] = [None] * len(x)
        if value.requires_grad:
            own = torch.autograd.grad(value.sum(), x, retain_graph=True, allow_unused=True)
        true = definition.kl_gradient(kl.domain, (x[0].detach(), x[1].detach()), (x[2].detach(), x[3].detach()))
        for t, gradient, ball in zip(x, own, true, strict=True):
            if gradient is None or not bool(gradient.any()):
                value = value + ((t - t.detach()) * ball.mid.to(t)).flatten(value.ndim).sum(-1)
        return value

    return replace(kl, divergence=changed)


def _row_by_row(kl: Divergence) -> Divergence:
    def changed(*x: Tensor) -> Tensor:
        batch = x[0].shape[:-1]
        rows = [t.reshape(-1, *t.shape[len(batch) :]) for t in x]
        values = [kl.divergence(*(t[k] for t in rows)).reshape(()) for k in range(rows[0].shape[0])]
        return torch.stack(values).reshape(batch)

    return replace(kl, divergence=changed)


SWAP: dict[str, Slip] = {"the arguments are swapped": _swapped}
SIGN: dict[str, Slip] = {"its sign is changed": then(lambda value, n: -value)}
CONSTANT: dict[str, Slip] = {
    "n/2 is subtracted": then(lambda value, n: value - n / 2),
    "n/2 is added": then(lambda value, n: value + n / 2),
}
SPREAD: dict[str, Slip] = {
    "standard deviations are squared (it takes variances for standard deviations)": _respread(2.0),
    "the roots of standard deviations are taken (it takes standard deviations for variances)": _respread(0.5),
}
FACTOR: dict[str, Slip] = {
    "it is multiplied by 2": then(lambda value, n: 2 * value),
    "it is divided by 2": then(lambda value, n: value / 2),
    "it is converted from bits to nats": then(lambda value, n: value * math.log(2)),
    "it is converted from nats to bits": then(lambda value, n: value / math.log(2)),
}
DIMENSION: dict[str, Slip] = {
    "it is multiplied by the dimension n (a sum for a mean)": then(lambda value, n: value * n),
    "it is divided by the dimension n (a mean for a sum)": then(lambda value, n: value / n),
}
BATCH: dict[str, Slip] = {
    "it is summed over the batch": then(lambda value, n: value.sum()),
    "it is averaged over the batch": then(lambda value, n: value.mean().expand(value.shape)),
}
REPAIRS: dict[str, Slip] = {
    "the rows of a batch are kept apart": _row_by_row,
    "nearly equal arguments are excluded (the formula cancels)": (
        lambda kl: replace(kl, domain=replace(kl.domain, near_equal=False))
    ),
    **SWAP,
    **SPREAD,
    **FACTOR,
    **DIMENSION,
    **CONSTANT,
    **SIGN,
}
