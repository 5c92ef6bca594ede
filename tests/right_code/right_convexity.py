"""Smooth maxima, projections, conjugates."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mathcheck import (
    Conjugate,
    ConvexSet,
    Projection,
    SmoothMax,
    box,
    check_conjugate,
    check_projection,
    check_smooth_max,
    unit_ball,
)
from right_code.subject import Right, always


def guarded_by_hand(x: Tensor, beta: float) -> Tensor:
    """The shift is 0 where a row is infinite."""
    top = x.amax(-1, keepdim=True)
    top = torch.where(top.isfinite(), top, 0.0).detach()
    return ((beta * (x - top)).exp().sum(-1).log() / beta) + top.squeeze(-1)


class WithSoftmax(torch.autograd.Function):
    """A log-sum-exp with its softmax as the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        value = torch.logsumexp(x, -1)
        ctx.save_for_backward(x, value)
        return value

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        x, value = ctx.saved_tensors
        return g.unsqueeze(-1) * torch.exp(x - value.unsqueeze(-1))


def smooth(function: Any, **options: Any) -> Right:
    return always(check_smooth_max, SmoothMax(function, **options))


def simplex_violation(x: Tensor) -> Tensor:
    return torch.maximum((-x).amax(-1), (x.sum(-1) - 1).abs()).clamp(min=0)


def simplex_member(x: Tensor) -> Tensor:
    inside = simplex_violation(x) <= 4 * torch.finfo(x.dtype).eps
    return torch.where(inside.unsqueeze(-1), x, torch.softmax(x, -1))


SIMPLEX = ConvexSet(3, simplex_violation, simplex_member)


def duchi(y: Tensor) -> Tensor:
    u = torch.sort(y, dim=-1, descending=True).values
    cumulated = u.cumsum(-1)
    k = torch.arange(1, y.shape[-1] + 1, dtype=y.dtype)
    rho = (u * k > cumulated - 1).sum(-1, keepdim=True)
    theta = (cumulated.gather(-1, rho - 1) - 1) / rho
    return torch.clamp(y - theta, min=0)


def simplex_by_bisection(y: Tensor) -> Tensor:
    low, high = y.amin(-1, keepdim=True) - 1, y.amax(-1, keepdim=True)
    for _ in range(100):
        theta = (low + high) / 2
        too_much = (y - theta).clamp(min=0).sum(-1, keepdim=True) > 1
        low, high = torch.where(too_much, theta, low), torch.where(too_much, high, theta)
    return (y - (low + high) / 2).clamp(min=0)


def onto_ball(y: Tensor) -> Tensor:
    return y / torch.linalg.norm(y, dim=-1, keepdim=True).clamp(min=1)


def onto_ball_where(y: Tensor) -> Tensor:
    norm = y.square().sum(-1, keepdim=True).sqrt()
    return torch.where(norm > 1, y / norm, y)


A, B = [2.0, -1.0, 0.5], 0.75


def half_space() -> Projection:
    def excess(x: Tensor) -> Tensor:
        return (x @ x.new_tensor(A)) - B

    def length(x: Tensor) -> Tensor:
        return x.new_tensor(A).square().sum()

    def project(y: Tensor) -> Tensor:
        return y - (excess(y) / length(y)).clamp(min=0).unsqueeze(-1) * y.new_tensor(A)

    def member(x: Tensor) -> Tensor:
        over = excess(x).clamp(min=0) / length(x)
        return torch.where((over > 0).unsqueeze(-1), x - (2 * over).unsqueeze(-1) * x.new_tensor(A), x)

    return Projection(project, ConvexSet(3, lambda x: excess(x).clamp(min=0) / math.sqrt(5.25), member))


def hyperplane() -> Projection:
    def project(y: Tensor) -> Tensor:
        return y - y.mean(-1, keepdim=True)

    def member(x: Tensor) -> Tensor:
        return torch.stack([x[..., 0], x[..., 1], -x[..., 0] - x[..., 1]], -1)

    return Projection(project, ConvexSet(3, lambda x: x.sum(-1).abs() / math.sqrt(3), member))


def onto_l1_ball(y: Tensor) -> Tensor:
    inside = y.abs().sum(-1, keepdim=True) <= 1
    return torch.where(inside, y, y.sign() * duchi(y.abs()))


def l1_ball() -> Projection:
    def violation(x: Tensor) -> Tensor:
        return (x.abs().sum(-1) - 1).clamp(min=0)

    def member(x: Tensor) -> Tensor:
        return x / x.abs().sum(-1, keepdim=True).clamp(min=1)

    return Projection(onto_l1_ball, ConvexSet(3, violation, member))


def onto_cone(y: Tensor) -> Tensor:
    """The second-order cone |x| <= t."""
    x, t = y[..., :2], y[..., 2:]
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    factor = (1 + t / norm.clamp(min=torch.finfo(y.dtype).tiny)) / 2
    outside = torch.cat([factor * x, factor * norm], -1)
    return torch.where(norm <= t, y, torch.where(norm <= -t, torch.zeros_like(y), outside))


def cone() -> Projection:
    def violation(z: Tensor) -> Tensor:
        return (torch.linalg.vector_norm(z[..., :2], dim=-1) - z[..., 2]).clamp(min=0)

    def member(z: Tensor) -> Tensor:
        raised = torch.cat([z[..., :2], torch.linalg.vector_norm(z[..., :2], dim=-1, keepdim=True) * 1.5], -1)
        return torch.where((violation(z) > 0).unsqueeze(-1), raised, z)

    return Projection(onto_cone, ConvexSet(3, violation, member))


LOG_2 = math.log(2)

SUBJECTS = {
    "torch.logsumexp with a temperature": smooth(lambda x, beta: torch.logsumexp(beta * x, -1) / beta),
    "log-sum-exp shifted by hand": smooth(guarded_by_hand),
    "log-sum-exp by logaddexp": smooth(
        lambda x, beta: _folded(beta * x) / beta,
    ),
    "log-sum-exp with softmax as its gradient": smooth(lambda x, beta: WithSoftmax.apply(beta * x) / beta),
    "log-sum-exp of a fixed temperature": smooth(lambda x, beta: torch.logsumexp(x, -1), betas=(1.0, 1.0)),
    "log-sum-exp of ordinary temperatures": smooth(guarded_by_hand, betas=(1e-2, 1e2), reach=50.0),
    "projection onto the ball by a quotient": always(check_projection, Projection(onto_ball, unit_ball(3))),
    "projection onto the ball by cases": always(check_projection, Projection(onto_ball_where, unit_ball(2))),
    "projection onto a box": always(
        check_projection, Projection(lambda y: y.clamp(-1, 2), box([-1.0, -1.0], [2.0, 2.0]))
    ),
    "projection onto a box by minimum and maximum": always(
        check_projection,
        Projection(
            lambda y: torch.minimum(torch.maximum(y, y.new_tensor([0.0, -1.0])), y.new_tensor([0.5, 3.0])),
            box([0.0, -1.0], [0.5, 3.0]),
        ),
    ),
    "projection onto the orthant": always(check_projection, Projection(torch.relu, box([0.0] * 3, [math.inf] * 3))),
    "projection onto a half-space": always(check_projection, half_space()),
    "projection onto a hyperplane": always(check_projection, hyperplane()),
    "projection onto the simplex (Duchi)": always(check_projection, Projection(duchi, SIMPLEX)),
    "projection onto the simplex, near points": always(check_projection, Projection(duchi, SIMPLEX, reach=3.0)),
    "projection onto the simplex by bisection": always(check_projection, Projection(simplex_by_bisection, SIMPLEX)),
    "projection onto the l1 ball": always(check_projection, l1_ball()),
    "projection onto the second-order cone": always(check_projection, cone()),
    "conjugate of Pearson's chi-square": always(
        check_conjugate,
        Conjugate(
            lambda u: (u - 1) ** 2,
            lambda t: torch.where(t < -2, -1.0, t**2 / 4 + t),
            lambda u: 2 * (u - 1),
            lambda v: v,
        ),
    ),
    "conjugate of the Kullback-Leibler generator": always(
        check_conjugate,
        Conjugate(lambda u: torch.xlogy(u, u), lambda t: torch.exp(t - 1), lambda u: u.log() + 1, lambda v: v),
    ),
    "conjugate of the reverse generator": always(
        check_conjugate,
        Conjugate(
            lambda u: -torch.log(u), lambda t: -1 - torch.log(-t), lambda u: -1 / u, lambda v: -torch.exp(-v), upper=0.0
        ),
    ),
    "conjugate of the squared Hellinger generator": always(
        check_conjugate,
        Conjugate(
            lambda u: (u.sqrt() - 1) ** 2,
            lambda t: t / (1 - t),
            lambda u: 1 - 1 / u.sqrt(),
            lambda v: 1 - torch.exp(-v),
            upper=1.0,
        ),
    ),
    "conjugate of the Jensen-Shannon generator": always(
        check_conjugate,
        Conjugate(
            lambda u: torch.xlogy(u, u) - (u + 1) * torch.log((u + 1) / 2),
            lambda t: -torch.log(2 - torch.exp(t)),
            lambda u: torch.log(2 * u / (1 + u)),
            lambda v: LOG_2 - torch.log1p(torch.exp(-v)),
            upper=LOG_2,
        ),
    ),
    "conjugate of the total variation": always(
        check_conjugate,
        Conjugate(
            lambda u: 0.5 * (u - 1).abs(),
            lambda t: torch.maximum(t, torch.tensor(-0.5, dtype=t.dtype)),
            lambda u: 0.5 * torch.sign(u - 1),
            lambda v: 0.5 * torch.tanh(v),
            upper=0.5,
            closed=True,
        ),
    ),
}


def _folded(x: Tensor) -> Tensor:
    value = x[..., 0]
    for k in range(1, x.shape[-1]):
        value = torch.logaddexp(value, x[..., k])
    return value
