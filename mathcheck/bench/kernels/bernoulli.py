"""The log-likelihood of binary images from the logits that a decoder gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mathcheck.bench import jax as with_jax
from mathcheck.bench.kernel import COMPILED, OURS, PLAIN, Contender, Kernel, Size, Work, against, with_gradient
from mathcheck.probability.bernoulli import bernoulli_log_prob_from_logits

SIZES = ({"rows": 64, "pixels": 32}, {"rows": 1000, "pixels": 784}, {"rows": 12800, "pixels": 784})
CARD_SIZES = ({"rows": 1000, "pixels": 784}, {"rows": 12800, "pixels": 784}, {"rows": 64000, "pixels": 784})


def _images(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Outcomes as a mask, in which nobody differentiates, and logits."""
    shape = (size["rows"], size["pixels"])
    outcomes = torch.rand(shape, generator=generator) < 0.5
    return outcomes, 4 * torch.randn(shape, generator=generator).to(dtype)


def _of(function: Callable[[Tensor, Tensor], Tensor]) -> Contender:
    def prepare(outcomes: Tensor, logits: Tensor) -> Callable[[], Tensor]:
        numbers = outcomes.to(logits.dtype)
        return lambda: function(numbers, logits)

    return Contender(prepare)


def _cross_entropy(outcomes: Tensor, logits: Tensor) -> Tensor:
    """Minus the cross-entropy of logits, term by term and summed."""
    return -functional.binary_cross_entropy_with_logits(logits, outcomes, reduction="none").sum(-1)


def _distribution(validate: bool) -> Callable[[Tensor, Tensor], Tensor]:
    def log_prob(outcomes: Tensor, logits: Tensor) -> Tensor:
        pixels = torch.distributions.Bernoulli(logits=logits, validate_args=validate)
        image: Any = torch.distributions.Independent(pixels, 1, validate_args=validate)
        value: Tensor = image.log_prob(outcomes)
        return value

    return log_prob


def _with_jax(jax: Any) -> Callable[[Any, Any], Any]:
    return lambda outcomes, logits: (outcomes * logits - jax.nn.softplus(logits)).sum(-1)


def _gradient_with_jax(jax: Any) -> Callable[[Any, Any], Any]:
    return jax.grad(lambda outcomes, logits: _with_jax(jax)(outcomes, logits).sum(), 1)  # type: ignore[no-any-return]


def _truth(outcomes: Tensor, logits: Tensor) -> Tensor:
    return _cross_entropy(outcomes.to(logits), logits)


def _terms(outcomes: Tensor, logits: Tensor) -> Tensor:
    """The sum of absolute values of what the usual form adds up and rounds."""
    return (1 + logits.abs()).sum(-1)


LIKELIHOOD = Kernel(
    "bernoulli",
    "Log-likelihood of binary images, forward",
    "probability.bernoulli",
    SIZES,
    _images,
    {
        OURS: _of(bernoulli_log_prob_from_logits),
        COMPILED: _of(torch.compile(bernoulli_log_prob_from_logits, dynamic=False)),
        PLAIN: _of(_cross_entropy),
        "torch.distributions": _of(_distribution(True)),
        "torch.distributions, unvalidated": _of(_distribution(False)),
        "JAX (jit)": with_jax.contender(_with_jax),
    },
    against(_truth, _terms),
    lambda size: Work(2 * size["rows"] * size["pixels"]),
    CARD_SIZES,
)

KERNELS = (
    LIKELIHOOD,
    with_gradient(
        LIKELIHOOD,
        against(
            lambda outcomes, logits: outcomes.to(logits) - logits.sigmoid(), lambda _, logits: torch.ones_like(logits)
        ),
        lambda size: Work(3 * size["rows"] * size["pixels"]),
        {"JAX (jit)": with_jax.contender(_gradient_with_jax)},
    ),
)
