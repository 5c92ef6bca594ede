"""Slips of gradient estimators and of bounds on the evidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mathcheck import EvidenceBound, GradientEstimator, check_evidence_bound, check_gradient_estimator
from mathcheck.engine.strategies import Interval
from mathcheck.inference.noise import Finite, Normal
from mathcheck.oracles import arb
from museum.exhibit import Exhibit


def importance_weighted(w: Tensor) -> Tensor:
    return torch.logsumexp(w, -1) - math.log(w.shape[-1])


def shifted_by_hand(w: Tensor) -> Tensor:
    top = w.max(-1, keepdim=True).values
    return top.squeeze(-1) + (w - top).exp().mean(-1).log()


def gradients(losses: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """What `backward` leaves in theta for each draw."""

    def estimate(theta: Tensor, noise: Tensor) -> Tensor:
        leaf = theta.detach().clone().requires_grad_()
        values = losses(leaf, noise).reshape(-1)
        rows = [torch.autograd.grad(v, leaf, retain_graph=True, materialize_grads=True)[0] for v in values]
        return torch.stack(rows).reshape(*noise.shape[: noise.ndim - (noise.is_floating_point())], len(theta))

    return estimate


REWARDS = (1.0, -2.0, 0.5)


def rewards(theta: Tensor, arm: Tensor) -> Tensor:
    return torch.tensor(REWARDS, dtype=theta.dtype)[arm]


def baseline(theta: Tensor) -> Tensor:
    return (torch.softmax(theta, -1) * torch.tensor(REWARDS, dtype=theta.dtype)).sum()


def score_function(theta: Tensor, arm: Tensor) -> Tensor:
    return (rewards(theta, arm) - baseline(theta).detach()) * torch.log_softmax(theta, -1)[arm]


def score_function_undetached(theta: Tensor, arm: Tensor) -> Tensor:
    return (rewards(theta, arm) - baseline(theta)) * torch.log_softmax(theta, -1)[arm]


def softmax(xs: list[Any]) -> list[Any]:
    weights = [arb.exp(x) for x in xs]
    return [w / sum(weights[1:], weights[0]) for w in weights]


def bandit(losses: Callable[[Tensor, Tensor], Tensor]) -> GradientEstimator:
    return GradientEstimator(
        gradients(losses), rewards, parameters=(Interval(reach=2.0),) * 3, noise=Finite(3, softmax)
    )


def reparameterised(theta: Tensor, eps: Tensor) -> Tensor:
    z = theta[0] + theta[1].exp() * eps[..., 0]
    return z.sin() + z**2


def detached_sample(theta: Tensor, eps: Tensor) -> Tensor:
    z = (theta[0] + theta[1].exp() * eps[..., 0]).detach()
    return z.sin() + z**2 + 0 * theta.sum()


def detached_scale(theta: Tensor, eps: Tensor) -> Tensor:
    z = theta[0] + theta[1].exp().detach() * eps[..., 0]
    return z.sin() + z**2


def pathwise(losses: Callable[[Tensor, Tensor], Tensor]) -> GradientEstimator:
    return GradientEstimator(
        gradients(losses),
        reparameterised,
        parameters=(Interval(reach=2.0), Interval(reach=0.5)),
        noise=Normal(nodes=24),
    )


RIGHT_BOUND = EvidenceBound(importance_weighted)
RIGHT_PATHWISE = pathwise(reparameterised)
EXHIBITS = [
    Exhibit(
        "an importance-weighted bound without log K",
        check_evidence_bound,
        EvidenceBound(lambda w: torch.logsumexp(w, -1)),
        RIGHT_BOUND,
        named="log K is subtracted",
    ),
    Exhibit(
        "an importance-weighted bound with the mean outside the logarithm",
        check_evidence_bound,
        EvidenceBound(lambda w: w.mean(-1)),
        RIGHT_BOUND,
        named="an average of log-weights",
    ),
    Exhibit(
        "the logarithm of a mean of weights that are all zero",
        check_evidence_bound,
        EvidenceBound(shifted_by_hand),
        RIGHT_BOUND,
        named="infinite log-weights count as weight zero",
    ),
    Exhibit(
        "a score-function gradient through its baseline",
        check_gradient_estimator,
        bandit(score_function_undetached),
        bandit(score_function),
        named="the baseline's own gradient is left out",
    ),
    Exhibit(
        "a reparameterised gradient through a detached sample",
        check_gradient_estimator,
        pathwise(detached_sample),
        RIGHT_PATHWISE,
        named="gradients flow through the draw",
    ),
    Exhibit(
        "a reparameterised gradient through a detached scale",
        check_gradient_estimator,
        pathwise(detached_scale),
        RIGHT_PATHWISE,
        named="gradients flow through the draw",
    ),
]
