r"""Log-likelihoods of real vectors under a normal distribution with independent coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.probability.density import Density
from mathcheck.probability.families import normals
from mathcheck.probability.log_likelihood import LogLikelihood


def normal_log_prob(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""$\log\mathcal N(x;\mu,\sigma^2) = -\tfrac12\sum_i\big[\log 2\pi + \ell_i + (x_i-\mu_i)^2 e^{-\ell_i}\big]$.

    Args:
        x: `(*batch, n)`.
        mean: $\mu$, `(*batch, n)`.
        log_variance: $\ell = \log\sigma^2$, `(*batch, n)`, between -1400 and 1400.

    Returns:
        `(*batch,)` in nats, differentiable; $-\infty$ where the true value is below the dtype's lowest number.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device.
    """
    arguments.vectors(x=x, mean=mean, log_variance=log_variance)
    arguments.alike(x=x, mean=mean, log_variance=log_variance)
    if x.dtype != torch.float64:
        # exp(-l/2) of log-variances beyond +-177 leaves float32, though the log-density need not.
        return normal_log_prob(x.double(), mean.double(), log_variance.double()).to(x.dtype)
    scaled = (x - mean) * torch.exp(-log_variance / 2)
    # Halved before it is squared: the square may overflow where its half does not.
    return -(0.5 * math.log(2 * math.pi) + log_variance / 2 + scaled / 2 * scaled).sum(-1)


def normal_log_prob_from_std(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    r"""$\log\mathcal N(x;\mu,\sigma^2) = -\sum_i\tfrac12\log 2\pi + \log\sigma_i + \tfrac12 z_i^2$ with $z = (x-\mu)/\sigma$.

    Args:
        x: `(*batch, n)`.
        mean: $\mu$, `(*batch, n)`.
        std: $\sigma$, the standard deviation, `(*batch, n)`, positive.

    Returns:
        `(*batch,)` in nats, differentiable; $-\infty$ where the true value is below the dtype's lowest number.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device, or a deviation that
            is not positive.
    """
    arguments.vectors(x=x, mean=mean, std=std)
    arguments.alike(x=x, mean=mean, std=std)
    if not bool((std > 0).all()):
        raise ValueError(f"std must be positive, got {float(std.detach().min())}")
    z = (x - mean) / std
    return -(0.5 * math.log(2 * math.pi) + std.log() + z / 2 * z).sum(-1)


def _normal(mean: float, deviation: float, *, vector: bool = False) -> Callable[[Tensor], Tensor]:
    def log_prob(x: Tensor) -> Tensor:
        x = x if vector else x.unsqueeze(-1)
        return normal_log_prob(x, torch.full_like(x, mean), torch.full_like(x, 2 * math.log(deviation)))

    return log_prob


by_log_variance = LogLikelihood(normal_log_prob, normals("log_variance", reach=300.0), batch_shapes=BATCH_SHAPES)
by_log_std = LogLikelihood(
    lambda x, mean, log_std: normal_log_prob(x, mean, 2 * log_std), normals("log_std"), batch_shapes=BATCH_SHAPES
)
by_std = LogLikelihood(normal_log_prob_from_std, normals("std"), batch_shapes=BATCH_SHAPES)
normal = Density(
    _normal(1.5, 0.25),
    Interval(reach=20.0),
    cdf=lambda x: torch.erfc((1.5 - x) / 0.25 / math.sqrt(2)) / 2,
    points=(1.5,),
    batch_shapes=BATCH_SHAPES,
)
plane_normal = Density(_normal(0.5, 2.0, vector=True), event_shape=(2,), batch_shapes=BATCH_SHAPES)
any_normal = Density(
    lambda x, mean, std: normal_log_prob(*(value.unsqueeze(-1) for value in (x, mean, 2 * std.log()))),
    batch_shapes=BATCH_SHAPES,
    parameters={"mean": Interval(reach=10.0), "std": Interval(0.0, reach=10.0)},
    like=torch.distributions.Normal,
)
