"""Nearest upsampling and average pooling, with their adjoints: numbers that are moved, and hardly computed with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Contender, Kernel, Size, Work, against, compiled, of
from mathcheck.linear.average_pooling import average_pool, average_pool_adjoint
from mathcheck.linear.upsampling import upsample, window_sums

SIDE = 2
SIZES = (
    {"images": 2, "channels": 16, "side": 8},
    {"images": 8, "channels": 64, "side": 16},
    {"images": 32, "channels": 64, "side": 32},
)
CARD_SIZES = (
    {"images": 32, "channels": 64, "side": 32},
    {"images": 128, "channels": 64, "side": 64},
    {"images": 256, "channels": 128, "side": 64},
)

Map = Callable[[Tensor], Tensor]


def _images(scale: int) -> Callable[[Size, torch.Generator, torch.dtype], tuple[Tensor]]:
    def inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor]:
        side = scale * size["side"]
        return (torch.randn(size["images"], size["channels"], side, side, generator=generator).to(dtype),)

    return inputs


small, large = _images(1), _images(SIDE)


def _interpolate(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=SIDE, mode="nearest")


def _interleave(x: Tensor) -> Tensor:
    return x.repeat_interleave(SIDE, -1).repeat_interleave(SIDE, -2)


def _expand(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(n, c, h, SIDE, w, SIDE).reshape(n, c, SIDE * h, SIDE * w)


def _pool(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, SIDE)


def _by_autograd(forward: Map, shape_of: Callable[[Tensor], Tensor]) -> Contender:
    """The adjoint as autograd takes it, on the graph of a forward pass that is not timed."""

    def prepare(y: Tensor) -> Callable[[], Tensor]:
        x = shape_of(y).requires_grad_()
        value = forward(x)
        return lambda: torch.autograd.grad(value, x, y, retain_graph=True)[0]

    return Contender(prepare)


def _small_zeros(y: Tensor) -> Tensor:
    return y.new_zeros(*y.shape[:2], y.shape[2] // SIDE, y.shape[3] // SIDE)


def _large_zeros(y: Tensor) -> Tensor:
    return y.new_zeros(*y.shape[:2], SIDE * y.shape[2], SIDE * y.shape[3])


def _sums(x: Tensor) -> Tensor:
    return SIDE**2 * _pool(x)


def _work(size: Size) -> Work:
    return Work((1 + SIDE**2) * size["images"] * size["channels"] * size["side"] ** 2)


def _upsample(x: Tensor) -> Tensor:
    return upsample(x, SIDE)


def _window_sums(y: Tensor) -> Tensor:
    return window_sums(y, SIDE)


def _average_pool(x: Tensor) -> Tensor:
    return average_pool(x, SIDE)


def _average_pool_adjoint(y: Tensor) -> Tensor:
    return average_pool_adjoint(y, SIDE)


def _ours(function: Map) -> dict[str, Contender]:
    return {OURS: of(function), COMPILED: compiled(function)}


# Copies are exact; a sum is off by a rounding of the sum of magnitudes for each of its terms.
KERNELS = (
    Kernel(
        "upsampling",
        "Nearest upsampling by 2, forward",
        "linear.upsampling",
        SIZES,
        small,
        _ours(_upsample)
        | {PLAIN: of(_interpolate), "repeat_interleave": of(_interleave), "expand and reshape": of(_expand)},
        against(_interpolate, _interpolate, ulps=0),
        _work,
        CARD_SIZES,
    ),
    Kernel(
        "upsampling_adjoint",
        "Adjoint of nearest upsampling by 2",
        "linear.upsampling",
        SIZES,
        large,
        _ours(_window_sums) | {PLAIN: _by_autograd(_interpolate, _small_zeros)},
        against(_sums, lambda y: _sums(y.abs()), ulps=SIDE**2),
        _work,
        CARD_SIZES,
    ),
    Kernel(
        "average_pooling",
        "Average pooling by 2, forward",
        "linear.average_pooling",
        SIZES,
        large,
        _ours(_average_pool) | {PLAIN: of(_pool)},
        against(_pool, lambda x: _pool(x.abs()), ulps=SIDE**2),
        _work,
        CARD_SIZES,
    ),
    Kernel(
        "average_pooling_adjoint",
        "Adjoint of average pooling by 2",
        "linear.average_pooling",
        SIZES,
        small,
        _ours(_average_pool_adjoint) | {PLAIN: _by_autograd(_pool, _large_zeros)},
        against(lambda y: _interpolate(y) / SIDE**2, lambda y: _interpolate(y.abs()) / SIDE**2, ulps=1),
        _work,
        CARD_SIZES,
    ),
)
