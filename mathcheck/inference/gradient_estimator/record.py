"""An estimator of the gradient of an expectation, as somebody computes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mathcheck.engine.strategies import Interval
from mathcheck.inference.noise import Formula, Noise, Normal

Estimate = Callable[[Tensor, Tensor], Tensor]
Variance = Callable[[list[Any]], list[Any]]


@dataclass(frozen=True)
class GradientEstimator:
    r"""An estimator $g(\theta, z)$ of the gradient of $J(\theta) = \mathbb E_z[h(\theta, z)]$, as somebody computes it.

    Args:
        estimate: `(theta, noise)` of shapes `(p,)` and `(*batch, *event)` -> one gradient for each draw, `(*batch, p)`.
        integrand: $h$, `(theta, noise)` of shapes `(p,)` and `(K, *event)` -> `(K,)`: what the objective is the mean of.
            It defines J; only its values are used, never a gradient of it.
        parameters: where each of the p parameters lives; `reach` bounds how far the search goes.
        noise: the distribution of a draw z: `Normal(dim)` or `Finite(count, probabilities)`.
        objective: J itself in closed form, a list of p balls -> a ball, written with the functions of
            `mathcheck.oracles.arb`; its gradient is then enclosed.
        variance: stated variances of the p coordinates of one estimate, a list of balls -> a list of balls.
        batch_shapes: leading shapes of the noise to try; any number of rows must be taken besides.
        dtype: of theta and of the noise, if only one.
    """

    estimate: Estimate
    integrand: Callable[[Tensor, Tensor], Tensor] | None = None
    parameters: tuple[Interval, ...] = (Interval(reach=3.0),)
    noise: Noise = Normal()
    objective: Formula | None = None
    variance: Variance | None = None
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None
