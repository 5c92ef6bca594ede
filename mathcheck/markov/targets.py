r"""Distributions that kernels are judged on: each sampled exactly, each with a map of its draws to uniform numbers.

They are skewed, bounded, bimodal and bent, since on a symmetric normal a broken kernel may pass everything.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

Map = Callable[[Tensor], Tensor]


def _unknown(*_: Any) -> Any:
    raise NotImplementedError("the target does not say")


def _slope(log_density: Map) -> Map:
    def score(x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(log_density(leaf).sum(), leaf)
        return slope

    return score


@dataclass(frozen=True)
class Target:
    r"""A distribution $\pi$ on $\mathbb R^n$ that a Markov chain is to leave invariant.

    Args:
        name: in words.
        log_density: $\log\pi$, `(*batch, n)` -> `(*batch,)`, with $-\infty$ outside the support.
        score: $\nabla\log\pi$, `(*batch, n)` -> `(*batch, n)`; finite outside the support too. Default by autograd.
        sample: exact draws, `(count, generator)` -> `(count, n)` in float64: what chains are started from.
        uniforms: maps x to the conditional distribution functions $F(x_i \mid x_1, \dots, x_{i-1})$, `(*batch, n)`
            -> `(*batch, n)`: independent uniform numbers if x is a draw. `None` if unknown; then states are compared with
            exact draws, which takes about four times as many for the same errors.
        n: number of coordinates.
        normalised: whether `log_density` has its constant.
        lipschitz: whether the score is Lipschitz on $\mathbb R^n$, without which an unadjusted step runs off.

    Raises:
        ValueError: if `n` is below 1, or there are no exact draws.
    """

    name: str
    log_density: Map
    score: Map = _unknown
    sample: Callable[[int, torch.Generator], Tensor] = _unknown
    uniforms: Map | None = None
    n: int = 1
    normalised: bool = True
    lipschitz: bool = True

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n must be at least 1, got {self.n}")
        if self.sample is _unknown:
            raise ValueError(f"sample must give exact draws of {self.name}, got none: chains are started from them")
        if self.score is _unknown:
            object.__setattr__(self, "score", _slope(self.log_density))

    def draws(self, count: int, like: Tensor, generator: torch.Generator) -> Tensor:
        """Exact draws `(count, n)` of the dtype and on the device of `like`."""
        return self.sample(count, generator).to(like)

    @functools.cached_property
    def spread(self) -> tuple[Tensor, Tensor]:
        """Medians and distances of the quartiles of a few exact draws, `(n,)` each, in float64."""
        few = self.sample(999, torch.Generator().manual_seed(0)).double().cpu()
        low, middle, high = few.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64), 0)
        return middle, (high - low).clamp(min=torch.finfo(torch.float64).tiny)

    def heights(self, x: Tensor) -> Tensor:
        """How high each coordinate lies, from 0 to 1: `uniforms`, or any map that grows with it; `(*batch, n)` in float64."""
        if self.uniforms is not None:
            return self.uniforms(x.double())
        middle, width = (part.to(x.device) for part in self.spread)
        return 0.5 + (2 * (x.double() - middle) / width).atan() / math.pi

    def tempered(self, power: float) -> Target:
        r"""The log-density and score of $\pi^{\mathrm{power}}$, with the draws of $\pi$: a slip."""
        return replace(
            self,
            log_density=lambda x: power * self.log_density(x),
            score=lambda x: power * self.score(x),
            normalised=False,
        )


def _exponential(count: int, generator: torch.Generator) -> Tensor:
    noise = torch.empty((count, 1), dtype=torch.float64, device=generator.device)
    return noise.exponential_(generator=generator)


def _uniform(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand((count, 1), generator=generator, dtype=torch.float64, device=generator.device)


# The negative logarithm of an exponential variable: F(x) = exp(-exp(-x)).
SKEWED = Target(
    "the skewed target (Gumbel)",
    log_density=lambda x: (-x - (-x).exp()).sum(-1),
    score=lambda x: (-x).exp() - 1,
    sample=lambda count, generator: -_exponential(count, generator).log(),
    uniforms=lambda x: (-(-x).exp()).exp(),
    lipschitz=False,
)

_WIDTH, _MASS = 3.0, math.expm1(3.0)

# exp(x) on [0, 3]: most of the mass lies at the right end.
BOUNDED = Target(
    "the bounded target (a piece of an exponential)",
    log_density=lambda x: torch.where((x >= 0) & (x <= _WIDTH), x - math.log(_MASS), -math.inf).sum(-1),
    score=lambda x: torch.ones_like(x),
    sample=lambda count, generator: (_uniform(count, generator) * _MASS).log1p(),
    uniforms=lambda x: x.clamp(0, _WIDTH).expm1() / _MASS,
    lipschitz=False,
)

_WEIGHTS, _CENTRES, _SCALE = (0.3, 0.7), (-2.0, 2.0), 0.5


def _modes(x: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithms of weight times density of both modes at x, and their standardised distances."""
    z = torch.stack([(x - centre) / _SCALE for centre in _CENTRES])
    softplus = torch.nn.functional.softplus
    weights = torch.tensor(_WEIGHTS, dtype=x.dtype, device=x.device).reshape(2, *[1] * x.ndim)
    return weights.log() - z.abs() - 2 * softplus(-z.abs()) - math.log(_SCALE), z


def _bimodal_score(x: Tensor) -> Tensor:
    logs, z = _modes(x)
    return -(logs.softmax(0) * (z / 2).tanh() / _SCALE).sum(0)


def _bimodal_sample(count: int, generator: torch.Generator) -> Tensor:
    logistic = _SCALE * (_exponential(count, generator) / _exponential(count, generator)).log()
    return logistic + torch.where(_uniform(count, generator) < _WEIGHTS[0], _CENTRES[0], _CENTRES[1])


# Two logistic distributions of unequal weight.
BIMODAL = Target(
    "the bimodal target (two logistics)",
    log_density=lambda x: _modes(x)[0].logsumexp(0).sum(-1),
    score=_bimodal_score,
    sample=_bimodal_sample,
    uniforms=lambda x: sum(
        (w * torch.sigmoid((x - c) / _SCALE) for w, c in zip(_WEIGHTS, _CENTRES, strict=True)), torch.zeros_like(x)
    ),
)


def _bent(x: Tensor) -> Tensor:
    """The standard normal noise of which x is made, `(*batch, 2)`."""
    return torch.stack((x[..., 0], 2 * (x[..., 1] - x[..., 0] ** 2)), -1)


def _bent_score(x: Tensor) -> Tensor:
    first, second = _bent(x).unbind(-1)
    return torch.stack((4 * x[..., 0] * second - first, -2 * second), -1)


def _bent_sample(count: int, generator: torch.Generator) -> Tensor:
    noise = torch.randn((count, 2), generator=generator, dtype=torch.float64, device=generator.device)
    return torch.stack((noise[:, 0], noise[:, 0] ** 2 + noise[:, 1] / 2), -1)


# x_1 standard normal, x_2 normal around x_1^2 with standard deviation 1/2.
BANANA = Target(
    "the banana",
    log_density=lambda x: -_bent(x).square().sum(-1) / 2 - math.log(math.pi),
    score=_bent_score,
    sample=_bent_sample,
    uniforms=lambda x: torch.special.ndtr(_bent(x)),
    n=2,
    lipschitz=False,
)

# The bounded one comes first: there every kernel that moves locally has something to reject.
TARGETS = (BOUNDED, SKEWED, BIMODAL, BANANA)
