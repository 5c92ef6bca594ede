"""Training: a step of the notes' autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Call, Contender, Inputs, Kernel, Size, Work
from mathcheck.bench.nets import SURE, Rounded, after_adam, back, drawn, exactly, loaded, net, through
from mathcheck.bench.training import Objective, our_compiled_step, our_step, plain_step
from mathcheck.engine.residual import Residual, close
from mathcheck.models.autoencoder import Autoencoder, widths

PIXELS, RATE = 784, 1e-3
LAYERS = (PIXELS, *widths(PIXELS), *widths(PIXELS)[-2::-1], PIXELS)


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> Inputs:
    """Grey images, and the weights of encoder and decoder."""
    images = torch.rand(size["batch"], PIXELS, generator=generator).to(dtype)
    return images, *drawn(LAYERS, generator, dtype)


def _ours(take: Callable[..., Call]) -> Contender:
    def prepare(images: Tensor, *weights: Tensor) -> Call:
        model = loaded(Autoencoder(PIXELS), *weights)
        objective = Objective(model, lambda model, x: model.score(x).mean())
        return take(objective, images, rate=RATE)

    return Contender(prepare)


def _notebook(images: Tensor, *weights: Tensor) -> Call:
    model = nn.Sequential(net(weights, nn.ReLU), nn.Sigmoid())
    return plain_step(Objective(model, lambda model, x: functional.mse_loss(model(x), x)), images, rate=RATE)


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
            OURS: _ours(our_step),
            COMPILED: _ours(our_compiled_step),
            PLAIN: Contender(_notebook),
        },
        _residuals,
        _work,
        ({"batch": 1000}, {"batch": 2**14}, {"batch": 2**16}),
    ),
)
