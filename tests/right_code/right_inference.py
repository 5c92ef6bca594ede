"""Bounds on the evidence and estimators of gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional

from mathcheck import (
    EvidenceBound,
    Finite,
    GradientEstimator,
    Interval,
    Normal,
    check_evidence_bound,
    check_gradient_estimator,
)
from mathcheck.oracles import arb
from right_code.subject import Right, always


def shifted(w: Tensor) -> Tensor:
    top = w.amax(-1, keepdim=True).clamp(min=torch.finfo(w.dtype).min)
    return top.squeeze(-1) + (w - top).exp().mean(-1).log()


def estimator(estimate: Any, integrand: Any, parameters: Any, noise: Any, **options: Any) -> Right:
    return always(check_gradient_estimator, GradientEstimator(estimate, integrand, parameters, noise, **options))


def pathwise(value: Callable[[Tensor, Tensor], Tensor], parameters: Any, noise: Any, **options: Any) -> Right:
    return estimator(vmap(grad(value), (None, 0)), vmap(value, (None, 0)), parameters, noise, **options)


def likelihood_of_a_pixel(theta: Tensor, eps: Tensor) -> Tensor:
    z = theta[0] + theta[1].exp() * eps[0]
    return functional.logsigmoid(2 * z - 1)


def negative_elbo(theta: Tensor, eps: Tensor) -> Tensor:
    """Of a normal posterior under a normal prior and likelihood, with the KL in closed form."""
    mean, log_std = theta[0], theta[1]
    z = mean + log_std.exp() * eps[0]
    kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std)
    return 0.5 * (1.5 - z) ** 2 + kl


def elbo_by_log_densities(theta: Tensor, eps: Tensor) -> Tensor:
    mean, log_std = theta[0], theta[1]
    z = mean + log_std.exp() * eps[0]
    log_q = -0.5 * eps[0] ** 2 - log_std
    return -0.5 * (1.5 - z) ** 2 - 0.5 * z**2 - log_q


def quadratic(theta: Tensor, eps: Tensor) -> Tensor:
    z = theta[0] + eps[0]
    return z**2 + z.sin()


def score(theta: Tensor, eps: Tensor) -> Tensor:
    """h(z) times the score of N(theta, 1), z = theta + eps."""
    z = theta + eps
    return (z**2 + z.sin()) * (z - theta)


def score_with_baseline(theta: Tensor, eps: Tensor) -> Tensor:
    z = theta + eps
    return (z**2 + z.sin() - (1 + theta**2)) * (z - theta)


def reward(z: Tensor) -> Tensor:
    return z**2 + z.sin()


def mean_of_three(theta: Tensor, eps: Tensor) -> Tensor:
    return reward(theta[0] + eps).mean(-1)


def leave_one_out(theta: Tensor, eps: Tensor) -> Tensor:
    """Three draws, each with the mean of the other two as its baseline."""
    z = theta + eps
    f = reward(z)
    baseline = (f.sum(-1, keepdim=True) - f) / (f.shape[-1] - 1)
    return ((f - baseline) * eps).mean(-1, keepdim=True)


def score_of_three(theta: Tensor, eps: Tensor) -> Tensor:
    return (reward(theta + eps) * eps).mean(-1, keepdim=True)


REWARDS = (1.0, -2.0, 0.5)


def rewards(theta: Tensor, arm: Tensor) -> Tensor:
    return theta.new_tensor(REWARDS)[arm]


def softmax(xs: list[Any]) -> list[Any]:
    weights = [arb.exp(x) for x in xs]
    return [w / sum(weights[1:], weights[0]) for w in weights]


def reinforce(theta: Tensor, arm: Tensor) -> Tensor:
    score = functional.one_hot(arm, 3).to(theta) - torch.softmax(theta, -1)
    return rewards(theta, arm).unsqueeze(-1) * score


def reinforce_with_baseline(theta: Tensor, arm: Tensor) -> Tensor:
    p = torch.softmax(theta, -1)
    advantage = rewards(theta, arm) - (p * theta.new_tensor(REWARDS)).sum()
    return advantage.unsqueeze(-1) * (functional.one_hot(arm, 3).to(theta) - p)


def coin(xs: list[Any]) -> list[Any]:
    return [1 / (1 + arb.exp(xs[0])), 1 / (1 + arb.exp(-xs[0]))]


def bernoulli_reinforce(theta: Tensor, b: Tensor) -> Tensor:
    t = b.to(theta)
    return (((t - 0.45) ** 2).unsqueeze(-1)) * (t.unsqueeze(-1) - torch.sigmoid(theta))


def two_coins(xs: list[Any]) -> list[Any]:
    """Pairs of independent coins, 00, 01, 10, 11."""
    p = 1 / (1 + arb.exp(-xs[0]))
    return [(1 - p) * (1 - p), (1 - p) * p, p * (1 - p), p * p]


def pair_of(b: Tensor, theta: Tensor) -> Tensor:
    return torch.stack([b // 2, b % 2], -1).to(theta)


def mean_of_a_pair(theta: Tensor, b: Tensor) -> Tensor:
    return ((pair_of(b, theta) - 0.45) ** 2).mean(-1)


def leave_one_out_of_a_pair(theta: Tensor, b: Tensor) -> Tensor:
    t = pair_of(b, theta)
    f = (t - 0.45) ** 2
    return ((f - f.flip(-1)) * (t - torch.sigmoid(theta))).mean(-1, keepdim=True)


MEAN_AND_LOG_STD = (Interval(reach=3.0), Interval(-2.0, 1.0))
LINE = (Interval(reach=3.0),)

SUBJECTS = {
    "importance-weighted bound": always(
        check_evidence_bound, EvidenceBound(lambda w: torch.logsumexp(w, -1) - math.log(w.shape[-1]))
    ),
    "importance-weighted bound shifted by hand": always(check_evidence_bound, EvidenceBound(shifted)),
    "importance-weighted bound of ordinary weights": always(
        check_evidence_bound, EvidenceBound(lambda w: w.exp().mean(-1).log(), reach=30.0)
    ),
    "evidence lower bound": always(check_evidence_bound, EvidenceBound(lambda w: w.mean(-1), averages=True)),
    "evidence lower bound by a sum": always(
        check_evidence_bound, EvidenceBound(lambda w: w.sum(-1) / w.shape[-1], averages=True)
    ),
    "pathwise gradient of a likelihood": pathwise(likelihood_of_a_pixel, MEAN_AND_LOG_STD, Normal()),
    "gradient of an ELBO with its KL in closed form": pathwise(negative_elbo, MEAN_AND_LOG_STD, Normal(nodes=24)),
    "gradient of an ELBO by log-densities": pathwise(elbo_by_log_densities, MEAN_AND_LOG_STD, Normal(nodes=24)),
    "pathwise gradient in the mean": pathwise(quadratic, LINE, Normal()),
    "score-function gradient": estimator(score, vmap(quadratic, (None, 0)), LINE, Normal()),
    "score-function gradient with a baseline": estimator(
        score_with_baseline, vmap(quadratic, (None, 0)), LINE, Normal()
    ),
    "score-function gradient of three draws": estimator(score_of_three, mean_of_three, LINE, Normal(dim=3, nodes=16)),
    "leave-one-out gradient of three draws": estimator(leave_one_out, mean_of_three, LINE, Normal(dim=3, nodes=16)),
    "leave-one-out gradient of two coins": estimator(
        leave_one_out_of_a_pair, mean_of_a_pair, LINE, Finite(4, two_coins)
    ),
    "REINFORCE": estimator(reinforce, rewards, (Interval(reach=2.0),) * 3, Finite(3, softmax)),
    "REINFORCE with a baseline": estimator(
        reinforce_with_baseline, rewards, (Interval(reach=2.0),) * 3, Finite(3, softmax)
    ),
    "REINFORCE of a coin": estimator(
        bernoulli_reinforce, lambda theta, b: (b.to(theta) - 0.45) ** 2, LINE, Finite(2, coin)
    ),
}
