"""Slips of likelihoods, samplers, quantiles and weighted means."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from mathcheck import (
    Importance,
    LogLikelihood,
    Quantile,
    Sampler,
    bernoullis,
    check_importance,
    check_log_likelihood,
    check_quantile,
    check_sampler,
    normals,
)
from mathcheck.engine.strategies import Interval
from museum.exhibit import STRICT, THOROUGH, Exhibit

PIXELS = bernoullis("logit")
REALS = normals("log_variance", reach=20)
LOG_2_PI = math.log(2 * math.pi)


def cross_entropy(t: Tensor, logits: Tensor) -> Tensor:
    return -functional.binary_cross_entropy_with_logits(logits, t, reduction="none")


def through_the_sigmoid(t: Tensor, logits: Tensor) -> Tensor:
    p = torch.sigmoid(logits)
    return (t * p.log() + (1 - t) * (1 - p).log()).sum(-1)


def normal(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return -0.5 * (LOG_2_PI + log_variance + (x - mean) ** 2 / log_variance.exp()).sum(-1)


def constant_twice(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    return normal(x, mean, log_variance) - 0.5 * x.shape[-1] * LOG_2_PI


def summed_in_single_precision(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    terms = -0.5 * (LOG_2_PI + log_variance + (x - mean) ** 2 / log_variance.exp())
    return terms.float().sum(-1).to(x.dtype)


VALUES, MASSES = torch.arange(4.0), torch.tensor([0.125, 0.5, 0.125, 0.25])


def levels(x: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1), MASSES.cumsum(0)]).to(x.dtype)


def cdf(x: Tensor) -> Tensor:
    return levels(x)[torch.searchsorted(VALUES.to(x.dtype), x.contiguous(), right=True)]


def left_cdf(x: Tensor) -> Tensor:
    return levels(x)[torch.searchsorted(VALUES.to(x.dtype), x.contiguous())]


def table(*, right: bool) -> Quantile:
    def quantile(u: Tensor) -> Tensor:
        return VALUES.to(u.dtype)[torch.searchsorted(levels(u)[1:], u.contiguous(), right=right).clamp(max=3)]

    return Quantile(quantile, cdf, left_cdf, Interval(reach=10.0), ulps=0)


def twelve_uniforms(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    return torch.rand(n, 12, generator=generator, dtype=dtype).sum(-1) - 6


def normal_draws(n: int, generator: Generator, dtype: torch.dtype) -> Tensor:
    return torch.randn(n, generator=generator, dtype=dtype)


def sampler(draw: object) -> object:
    """Judged by a million draws: a thousand of them lie in the tails."""
    return lambda dtype: Sampler(
        lambda n, generator: draw(n, generator, dtype), torch.special.ndtr, mean=0.0, variance=1.0, draws=1_000_000
    )  # type: ignore[operator]


RIGHT_PIXELS = LogLikelihood(lambda t, logits: cross_entropy(t, logits).sum(-1), PIXELS)
RIGHT_NORMAL = LogLikelihood(normal, REALS)

EXHIBITS = [
    Exhibit(
        "a Bernoulli likelihood with 0 log 0",
        check_log_likelihood,
        LogLikelihood(lambda t, mu: (t * mu.log() + (1 - t) * (1 - mu).log()).sum(-1), bernoullis()),
        LogLikelihood(lambda t, mu: torch.where(t == 1, mu, 1 - mu).log().sum(-1), bernoullis()),
        named="probabilities of 0 and 1, and rates of 0, are excluded",
    ),
    Exhibit(
        "a cross-entropy that saturates (not a number for large logits)",
        check_log_likelihood,
        LogLikelihood(through_the_sigmoid, PIXELS),
        RIGHT_PIXELS,
        named="it saturates beyond",
    ),
    Exhibit(
        "a likelihood averaged over the pixels",
        check_log_likelihood,
        LogLikelihood(lambda t, logits: cross_entropy(t, logits).mean(-1), PIXELS),
        RIGHT_PIXELS,
        named="a sum over the outcomes for their mean",
    ),
    Exhibit(
        "a normal likelihood with d/2 log 2 pi twice",
        check_log_likelihood,
        LogLikelihood(constant_twice, REALS),
        RIGHT_NORMAL,
        named="the constant n/2 log 2 pi is added",
    ),
    Exhibit(
        "a normal likelihood summed in single precision",
        check_log_likelihood,
        LogLikelihood(summed_in_single_precision, REALS),
        RIGHT_NORMAL,
        named="it is judged in single precision",
        settings=STRICT,
    ),
    Exhibit(
        "an inverse distribution function on the wrong side of a jump",
        check_quantile,
        table(right=True),
        table(right=False),
        named="the wrong side of a jump",
    ),
    Exhibit(
        "twelve uniform numbers for a normal one",
        check_sampler,
        sampler(twelve_uniforms),
        sampler(normal_draws),
        named="its tails are too light",
        settings=THOROUGH,
    ),
    Exhibit(
        "self-normalised weights that are not normalised",
        check_importance,
        Importance(lambda w, f: (w.exp() * f).sum(-1), self_normalized=True),
        Importance(lambda w, f: (torch.softmax(w, -1) * f).sum(-1), self_normalized=True),
        named="the weights are divided by their sum",
    ),
]
