"""Training: a step of the notes' autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mathcheck.bench._nets import SURE, Rounded, after_adam, back, drawn, exactly, through
from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Call, Contender, Inputs, Kernel, Size, Work
from mathcheck.models.autoencoder import Autoencoder, widths
from mathcheck.residual import Residual, close

PIXELS, RATE = 784, 1e-3
LAYERS = (PIXELS, *widths(PIXELS), *widths(PIXELS)[-2::-1], PIXELS)


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> Inputs:
    """Grey images, and the weights of encoder and decoder."""
    images = torch.rand(size["batch"], PIXELS, generator=generator).to(dtype)
    return images, *drawn(LAYERS, generator, dtype)


def _step(*, ours: bool, compile: bool = False) -> Contender:
    """A step of Adam; the result is the loss before it and the parameters after it."""

    def prepare(images: Tensor, *weights: Tensor) -> Call:
        model = Autoencoder(PIXELS).to(images)
        with torch.no_grad():
            for parameter, weight in zip(model.parameters(), weights, strict=True):
                parameter.copy_(weight)
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=ours)

        def value() -> Tensor:
            return model.score(images).mean() if ours else functional.mse_loss(model(images), images)

        value_of = torch.compile(value, dynamic=False) if compile else value

        def run() -> list[Any]:
            optimizer.zero_grad()
            found = value_of()
            torch.autograd.backward(found)
            optimizer.step()
            # The obvious code notes each loss as a number, for which a card must be waited.
            loss = found.detach() if ours else torch.tensor(found.item()).to(found)
            return [loss, *map(Tensor.detach, model.parameters())]

        return run

    return Contender(prepare)


def _residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
    r"""The loss, and the parameters after the step, beside the same in double precision.

    With $y = \sigma(z)$ the slope of the loss in z is $2(y - x)y(1 - y)/N$ for N pixels in all, and changes by at most 5/8
    of what z changes, over N.
    """
    images, *weights = (t.detach().double() for t in inputs)
    eps, total = torch.finfo(inputs[0].dtype).eps, images.numel()
    layers = through(weights, exactly(images), torch.relu)
    z, off = layers[-1][1]
    y = z.sigmoid()
    slope = Rounded(2 * (y - images) * y * (1 - y) / total, ((5 / 8) ** 2 * off + 16) / total**2)
    gradients, _ = back(weights, layers, slope, eps)
    value, *parameters = result
    # Each term changes by half of what its z changes; the sum of so many is rounded, too.
    spread = (off / 4 + 16).sum().sqrt() / total + total**0.5 / total
    yield close(value, (images - y).square().mean(), ulps=SURE, scale=spread, what="the loss")
    yield from after_adam(weights, gradients, parameters, RATE, eps)


def _work(size: Size) -> Work:
    weights = [a * b for a, b in pairwise(LAYERS)]
    # Every product three times, but for the gradient of the images.
    return Work(size["batch"] * PIXELS + 7 * sum(weights), 2 * size["batch"] * (3 * sum(weights) - weights[0]))


KERNELS = (
    Kernel(
        "autoencoder_step",
        "Step of an autoencoder 784-256-128-32",
        "probability.normal",
        ({"batch": 10}, {"batch": 100}, {"batch": 1000}),
        _inputs,
        {
            OURS: _step(ours=True),
            COMPILED: _step(ours=True, compile=True),
            PLAIN: _step(ours=False),
        },
        _residuals,
        _work,
        ({"batch": 1000}, {"batch": 2**14}, {"batch": 2**16}),
    ),
)
