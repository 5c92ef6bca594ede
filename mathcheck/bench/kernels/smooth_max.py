"""The smooth maximum and the logarithm of a mean of exponentials, over the rows of a matrix."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mathcheck.bench import jax as with_jax
from mathcheck.bench.kernel import (
    COMPILED,
    OURS,
    PLAIN,
    Call,
    Contender,
    Kernel,
    Size,
    Work,
    against,
    compiled,
    of,
    with_gradient,
)
from mathcheck.convex.smooth_max import smooth_max
from mathcheck.probability.log_mean_exp import log_mean_exp

SIZES = ({"rows": 64, "n": 32}, {"rows": 1024, "n": 256}, {"rows": 4096, "n": 1000})
CARD_SIZES = ({"rows": 4096, "n": 1000}, {"rows": 2**15, "n": 2000}, {"rows": 2**16, "n": 4000})
BETA = 4.0


def _rows(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor]:
    return (torch.randn(size["rows"], size["n"], generator=generator).to(dtype),)


def _work(numbers: float) -> Any:
    return lambda size: Work(numbers * size["rows"] * size["n"])


def _plain_mean(x: Tensor) -> Tensor:
    top = x.amax(-1, keepdim=True)
    return top.squeeze(-1) + (x - top).exp().sum(-1).log() - math.log(x.shape[-1])


def _log_sum_exp(x: Tensor) -> Tensor:
    return torch.logsumexp(x, -1) - math.log(x.shape[-1])


def _plain_maximum(x: Tensor) -> Tensor:
    """As it stands; it overflows elsewhere."""
    return (BETA * x).exp().sum(-1).log() / BETA


def _scaled_log_sum_exp(x: Tensor) -> Tensor:
    return torch.logsumexp(BETA * x, -1) / BETA


def _ours(x: Tensor) -> Tensor:
    return smooth_max(x, BETA)


def _scipy(x: Tensor) -> Call:
    # SciPy's function takes no tensors; the array shares their memory.
    from scipy.special import logsumexp

    rows, constant = x.numpy(), math.log(x.shape[-1])
    return lambda: torch.from_numpy(logsumexp(rows, axis=-1) - constant)


def _size(beta: float, x: Tensor) -> Tensor:
    """What the roundings of the maximum, of the shifted entries and of the sum's logarithm are relative to."""
    top = x.amax(-1, keepdim=True)
    weights = torch.softmax(beta * x, -1)
    return top.squeeze(-1).abs() + (weights * (x - top).abs()).sum(-1) + (1 + math.log(x.shape[-1])) / beta


def _softmax(beta: float, x: Tensor) -> Tensor:
    return torch.softmax(beta * x, -1)


def _slope_size(beta: float, x: Tensor) -> Tensor:
    """Each weight times what moves its logarithm."""
    logs = torch.log_softmax(beta * x, -1)
    largest = beta * x.abs().amax(-1, keepdim=True)
    return logs.exp() * (1 + logs.abs() + largest + math.log(x.shape[-1]))


MEAN = Kernel(
    "log_mean_exp",
    "Log-mean-exp, forward",
    "probability.log_mean_exp",
    SIZES,
    _rows,
    {
        OURS: of(log_mean_exp),
        COMPILED: compiled(log_mean_exp),
        PLAIN: of(_plain_mean),
        "torch.logsumexp": of(_log_sum_exp),
        "scipy": Contender(_scipy, devices=("cpu",)),
        "jax": with_jax.contender(lambda jax: lambda x: jax.nn.logsumexp(x, -1) - math.log(x.shape[-1])),
    },
    against(_log_sum_exp, functools.partial(_size, 1.0)),
    _work(1),
    card_sizes=CARD_SIZES,
)

MAXIMUM = Kernel(
    "smooth_max",
    "Smooth maximum, forward",
    "convex.smooth_max",
    SIZES,
    _rows,
    {
        OURS: of(_ours),
        COMPILED: compiled(_ours),
        PLAIN: of(_plain_maximum),
        "torch.logsumexp": of(_scaled_log_sum_exp),
        "jax": with_jax.contender(lambda jax: lambda x: jax.nn.logsumexp(BETA * x, -1) / BETA),
    },
    against(_scaled_log_sum_exp, functools.partial(_size, BETA)),
    _work(1),
    card_sizes=CARD_SIZES,
)


def _jax_gradient(beta: float) -> Contender:
    return with_jax.contender(lambda jax: jax.grad(lambda x: jax.nn.logsumexp(beta * x, -1).sum() / beta))


# SciPy has no gradients.
DIFFERENTIABLE = replace(MEAN, contenders={name: c for name, c in MEAN.contenders.items() if name != "scipy"})

KERNELS = (
    MEAN,
    with_gradient(
        DIFFERENTIABLE,
        against(functools.partial(_softmax, 1.0), functools.partial(_slope_size, 1.0)),
        _work(2),
        {"jax": _jax_gradient(1.0)},
    ),
    MAXIMUM,
    with_gradient(
        MAXIMUM,
        against(functools.partial(_softmax, BETA), functools.partial(_slope_size, BETA)),
        _work(2),
        {"jax": _jax_gradient(BETA)},
    ),
)
