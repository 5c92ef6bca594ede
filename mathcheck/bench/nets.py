"""Nets of given weights for the kernels that train or use them, and how far rounding reaches through their layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mathcheck.engine.residual import Ball, Kind, Residual, close

Weights = Sequence[Tensor]

# Of the standard deviations of rounding errors: a single one lies beyond with probability 3e-14.
SURE = 8


def drawn(widths: Sequence[int], generator: torch.Generator, dtype: torch.dtype, last: float = 1.0) -> list[Tensor]:
    """Weights and biases of a net's layers in turn, drawn so that numbers keep their size; the last layer's times `last`."""
    found = []
    for number, (a, b) in enumerate(itertools.pairwise(widths), start=2):
        scale = last if number == len(widths) else 1.0
        found += [
            scale * torch.randn(b, a, generator=generator) * (2 / a) ** 0.5,
            0.1 * scale * torch.randn(b, generator=generator),
        ]
    return [t.to(dtype) for t in found]


def loaded(module: Any, *weights: Tensor) -> Any:
    """A module with these parameters, in order, of which it has copies."""
    module = module.to(weights[0])
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), weights, strict=True):
            parameter.copy_(value)
    return module


def net(weights: Weights, activation: Callable[[], nn.Module], linear: type[nn.Linear] = nn.Linear) -> nn.Sequential:
    """The net of these weights, in layers of a class."""
    layers: list[nn.Module] = []
    for weight in weights[::2]:
        layers += [linear(*weight.mT.shape), activation()]
    found: nn.Sequential = loaded(nn.Sequential(*layers[:-1]), *weights)
    return found


class Rounded(NamedTuple):
    """A value in double precision, and the variance of what rounding makes of it, in squared units of eps.

    Rounding errors are taken for independent, with mean zero: then that of a sum of n terms is, but for a probability of
    $2e^{-\\lambda^2/2}$, at most $\\lambda\\sqrt n$ roundings of the sum of absolute values (Higham and Mary, 2019).
    """

    value: Tensor
    variance: Tensor

    def product(self, other: Rounded) -> Rounded:
        """The matrix product of rows with columns."""
        a, b = self.value, other.value
        variance = self.variance @ b.square() + a.square() @ other.variance + b.shape[-2] * (a.abs() @ b.abs()).square()
        return Rounded(a @ b, variance)

    def times(self, factor: Tensor) -> Rounded:
        """Entry by entry a product with numbers of which each is a few roundings off."""
        value = self.value * factor
        return Rounded(value, self.variance * factor.square() + 16 * value.square())

    def plus(self, other: Rounded) -> Rounded:
        """The sum, entry by entry."""
        value = self.value + other.value
        return Rounded(value, self.variance + other.variance + value.square())

    @property
    def mT(self) -> Rounded:  # noqa: N802
        """Transposed."""
        return Rounded(self.value.mT, self.variance.mT)


def exactly(value: Tensor) -> Rounded:
    """A value as it was given."""
    return Rounded(value, torch.zeros_like(value))


def through(weights: Weights, x: Rounded, activation: Callable[[Tensor], Tensor]) -> list[tuple[Rounded, Rounded]]:
    """What comes into each layer and what goes out of it, before an activation that stretches nothing."""
    found = []
    for weight, bias in zip(weights[::2], weights[1::2], strict=True):
        z = x.product(exactly(weight.mT)).plus(exactly(bias.expand(x.value.shape[0], -1)))
        found.append((x, z))
        value = activation(z.value)
        x = Rounded(value, z.variance + 16 * value.square())
    return found


def back(
    weights: Weights, layers: Sequence[tuple[Rounded, Rounded]], slope: Rounded, eps: float
) -> tuple[list[Rounded], Rounded]:
    """The gradients in weights and biases, layer after layer, and in the input, of a net with rectified linear layers.

    A hidden unit so near to 0 that rounding may turn it on or off counts with all of its slope.
    """
    found: list[Rounded] = []
    for number in reversed(range(len(layers))):
        x, _ = layers[number]
        total = Rounded(
            slope.value.sum(0), slope.variance.sum(0) + len(slope.value) * slope.value.abs().sum(0).square()
        )
        found = [slope.mT.product(x), total, *found]
        slope = slope.product(exactly(weights[2 * number]))
        if number:
            before = layers[number - 1][1]
            unsure = before.value.square() <= (SURE * eps) ** 2 * before.variance
            variance = slope.variance + unsure * (slope.value / eps).square()
            on = (before.value > 0).double()
            slope = Rounded(slope.value * on, variance * torch.maximum(on, unsure.double()))
    return found, slope


def after_adam(
    weights: Weights, gradients: Sequence[Rounded], parameters: Weights, rate: float, eps: float
) -> Iterator[Residual]:
    r"""The parameters after the first step of Adam beside the same in double precision.

    That step is $-\eta\,g/(\lvert g\rvert + 10^{-8})$ of the gradient g: it changes by at most
    $2\eta\,\delta/(\lvert g\rvert + 10^{-8})$ when g changes by $\delta$, and by $2\eta$ in any case.
    """
    for number, (start, gradient, after) in enumerate(zip(weights, gradients, parameters, strict=True)):
        size = gradient.value.abs() + 1e-8
        radius = rate * (2 * SURE * eps * gradient.variance.sqrt() / size).clamp(max=2.0)
        true = Ball(start - rate * gradient.value / size, radius, kind=Kind.NUMERICAL, source="the formula in double")
        yield close(after, true, ulps=4, scale=start.abs() + rate, what=f"parameter {number + 1}")
