r"""The ELBO of a normalizing flow and its gradient: expectations over noise whose distribution is fixed.

For a diffeomorphism $z = f_\theta(\epsilon)$ with $\epsilon \sim q_0 = \mathcal N(0, I)$ the density at z is
$q_0(\epsilon)/\lvert\det J(\epsilon)\rvert$, J the Jacobian of $f_\theta$, so that $\mathrm{ELBO}(\theta) = \mathbb E_{q_0}[\log
p(x, f_\theta(\epsilon)) + \log\lvert\det J(\epsilon)\rvert - \log q_0(\epsilon)]$. The gradient passes through the draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flint
import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Residual, close
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.inference.elbo import normal_parts
from mathcheck.inference.gradient_estimator import GradientEstimator
from mathcheck.inference.noise import Normal
from mathcheck.inference.reparameterization import normal_sample, pathwise_gradient
from mathcheck.oracles import arb

Row = Sequence[Any]
LogJoint = Callable[[Tensor], Tensor]
# (theta of shape (*batch, p), noise of shape (*batch, n)) -> points (*batch, n) and log-determinants (*batch,).
Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def flow_elbo(theta: Tensor, noise: Tensor, transform: Transform, log_joint: LogJoint) -> Tensor:
    r"""$\log p(x, f_\theta(\epsilon)) + \log\lvert\det J(\epsilon)\rvert - \log\mathcal N(\epsilon; 0, I)$ for each draw.

    Its mean over standard normal $\epsilon$ is the ELBO of the distribution of $f_\theta(\epsilon)$, if $f_\theta$ is a
    diffeomorphism onto the latent space.

    Args:
        theta: `(*batch, p)`.
        noise: $\epsilon$, `(*batch, n)`.
        transform: theta and noise to $f_\theta(\epsilon)$, `(*batch, n)`, and the log-determinant of its Jacobian, `(*batch,)`.
        log_joint: $\log p(x, z)$ as a function of z, `(*batch, n)` -> `(*batch,)`.

    Returns:
        `(*batch,)`, differentiable in theta.

    Raises:
        TypeError, ValueError: if theta or the noise is no floating tensor, their leading shapes differ, or the
            log-determinants or densities have another shape than `(*batch,)`.

    References:
        Rezende and Mohamed, Variational inference with normalizing flows (2015), equation (15).
    """
    arguments.floating(theta=theta, noise=noise)
    arguments.functions(transform=transform, log_joint=log_joint)
    if theta.ndim < 1 or theta.shape[:-1] != noise.shape[:-1] or noise.ndim < 1:
        got = f"{tuple(theta.shape)} and {tuple(noise.shape)}"
        raise ValueError(f"theta and noise must have shapes (*batch, p) and (*batch, n), got {got}")
    z, log_det = transform(theta, noise)
    log_base = -(noise.square().sum(-1) + noise.shape[-1] * math.log(2 * math.pi)) / 2
    density = log_joint(z)
    for name, value in (("transform gave log-determinants", log_det), ("log_joint gave densities", density)):
        if value.shape != noise.shape[:-1]:
            raise ValueError(f"{name} of shape {tuple(value.shape)}, expected {tuple(noise.shape[:-1])}")
    return density + log_det - log_base


def flow_elbo_gradient(theta: Tensor, noise: Tensor, transform: Transform, log_joint: LogJoint) -> Tensor:
    r"""The gradient in $\theta$ of `flow_elbo` for each draw, whose mean is the gradient of the ELBO.

    Args:
        theta: `(p,)`.
        noise: standard normal draws, `(*batch, n)`.
        transform, log_joint: as in `flow_elbo`.

    Returns:
        `(*batch, p)`, detached.

    Raises:
        TypeError, ValueError: as `pathwise_gradient` and `flow_elbo`.
    """
    arguments.functions(transform=transform, log_joint=log_joint)
    return pathwise_gradient(
        theta, noise, lambda rows, eps: eps, lambda rows, eps: flow_elbo(rows, eps, transform, log_joint)
    )


# The datum x, the loading a and the log-variance l of the model z ~ N(0, 1), x | z ~ N(a z, e^l).
_MODEL = (1.5, 0.75, -0.5)


def _normal_log_joint(z: Tensor) -> Tensor:
    x, loading, log_variance = _MODEL
    misfit = (x - loading * z[..., 0]) ** 2 * math.exp(-log_variance)
    return -(z[..., 0] ** 2 + misfit + log_variance) / 2 - math.log(2 * math.pi)


def _normal_transform(theta: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    return normal_sample(theta, noise), theta[..., 1]


def _normal_objective(theta: Row) -> Any:
    energy, entropy, _ = normal_parts([arb.exact(v) for v in _MODEL], theta[0], 2 * theta[1])
    return energy + entropy


def _normal_variance(theta: Row) -> list[Any]:
    r"""With the posterior's precision P and slope c = a x e^{-l}: P^2 s^2, and s^2 (c - P m)^2 + 2 P^2 s^4."""
    x, loading, log_variance = (arb.exact(v) for v in _MODEL)
    weight, s = loading * arb.exp(-log_variance), arb.exp(theta[1])
    precision = 1 + loading * weight
    slope = weight * x - precision * theta[0]
    return [(precision * s) ** 2, (s * slope) ** 2 + 2 * (precision * s * s) ** 2]


def _bent_transform(theta: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    r"""$z_2 = c_2 + e^{b}\epsilon_2$, $z_1 = c_1 + e^{a}\epsilon_1 + d z_2^2$ for theta $(c_1, a, c_2, b, d)$."""
    c1, a, c2, b, d = theta.unbind(-1)
    second = c2 + b.exp() * noise[..., 1]
    first = c1 + a.exp() * noise[..., 0] + d * second**2
    return torch.stack([first, second], -1), a + b


def _banana_log_joint(z: Tensor) -> Tensor:
    r"""$z \sim \mathcal N(0, I)$ and $y\mid z \sim \mathcal N(z_1 + z_2^2, 4)$ at $y = \tfrac32$."""
    misfit = 1.5 - z[..., 0] - z[..., 1] ** 2
    return -z.square().sum(-1) / 2 - misfit**2 / 8 - 1.5 * math.log(2 * math.pi) - math.log(2)


def _bent_objective(theta: Row) -> Any:
    """The ELBO of the bent flow over the nine nodes that integrate polynomials of degree 5 in each coordinate exactly."""
    c1, a, c2, b, d = theta
    root, six = arb.sqrt(arb.exact(3)), arb.exact(6)
    nodes = [(arb.exact(0), 4 / six), (root, 1 / six), (-root, 1 / six)]
    total: Any = a + b + 1 - arb.log(8 * flint.arb.pi()) / 2
    for e1, w1 in nodes:
        for e2, w2 in nodes:
            second = c2 + arb.exp(b) * e2
            first = c1 + arb.exp(a) * e1 + d * second**2
            misfit = arb.exact(1.5) - first - second**2
            total = total - w1 * w2 * ((first**2 + second**2) / 2 + misfit**2 / 8)
    return total


affine_flow = GradientEstimator(
    lambda theta, noise: flow_elbo_gradient(theta, noise, _normal_transform, _normal_log_joint),
    lambda theta, noise: flow_elbo(theta.expand(*noise.shape[:-1], -1), noise, _normal_transform, _normal_log_joint),
    (Interval(reach=5.0), Interval(reach=3.0)),
    Normal(1, nodes=6),
    _normal_objective,
    _normal_variance,
    BATCH_SHAPES,
)
bent_flow = GradientEstimator(
    lambda theta, noise: flow_elbo_gradient(theta, noise, _bent_transform, _banana_log_joint),
    lambda theta, noise: flow_elbo(theta.expand(*noise.shape[:-1], -1), noise, _bent_transform, _banana_log_joint),
    (Interval(reach=3.0), Interval(reach=1.0), Interval(reach=3.0), Interval(reach=1.0), Interval(reach=2.0)),
    Normal(2, nodes=6),
    _bent_objective,
    batch_shapes=BATCH_SHAPES,
)

FlowElbo = Callable[[Tensor, Tensor, Transform, LogJoint], Tensor]


def _points(value: FlowElbo, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    def of(batch: tuple[int, ...]) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
        theta = strategies.tensors((*batch, 5), dtype, Interval(reach=3.0))
        return st.tuples(theta, strategies.tensors((*batch, 2), dtype, Interval(reach=6.0)))

    return strategies.of_each(st.sampled_from(BATCH_SHAPES), of)


def _slip(change: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[FlowElbo], FlowElbo]:
    """The slip that puts `change(value, log_det, log_base)` in place of the value."""

    def mutant(value: FlowElbo) -> FlowElbo:
        def changed(theta: Tensor, noise: Tensor, transform: Transform, log_joint: LogJoint) -> Tensor:
            log_base = -(noise.square().sum(-1) + noise.shape[-1] * math.log(2 * math.pi)) / 2
            return change(value(theta, noise, transform, log_joint), transform(theta, noise)[1], log_base)

        return changed

    return mutant


def _exponentiated(value: FlowElbo) -> FlowElbo:
    return lambda theta, noise, transform, log_joint: value(theta, noise, transform, lambda z: log_joint(z).exp().log())


def _log_weight(theta: Row, noise: Row) -> tuple[Any, Any]:
    r"""$\log p(x, z) - \log q(z)$ for the bent flow, and the size of what it is a sum of, for one row of balls.

    The density is that of its two conditionals: $z_2 \sim \mathcal N(c_2, e^{2b})$, $z_1\mid z_2 \sim \mathcal N(c_1 + d z_2^2,
    e^{2a})$.
    """
    c1, a, c2, b, d = theta
    second = c2 + arb.exp(b) * noise[1]
    first = c1 + arb.exp(a) * noise[0] + d * second**2
    misfit = arb.exact(1.5) - first - second**2
    log_two_pi = arb.log(2 * flint.arb.pi())
    log_joint = -(first**2 + second**2) / 2 - misfit**2 / 8 - log_two_pi * 3 / 2 - arb.log(arb.exact(2))
    log_q = -log_two_pi - a - b
    log_q = log_q - (((second - c2) / arb.exp(b)) ** 2 + ((first - c1 - d * second**2) / arb.exp(a)) ** 2) / 2
    # A rounding of any term moves a squared sum of terms by its size times that of the sum.
    inner = abs(c1) + arb.exp(a) * abs(noise[0]) + abs(d) * (abs(c2) + arb.exp(b) * abs(noise[1])) ** 2
    outer = (abs(c2) + arb.exp(b) * abs(noise[1])) ** 2
    size = (2 + inner + outer) ** 2 + noise[0] ** 2 + noise[1] ** 2 + abs(a) + abs(b) + 8
    return log_joint - log_q, size


@claim(
    given=_points,
    reference=flow_elbo,
    mutants={
        "the log-determinant is subtracted": _slip(lambda value, log_det, log_base: value - 2 * log_det),
        "the log-determinant is left out": _slip(lambda value, log_det, log_base: value - log_det),
        "the base density is left out": _slip(lambda value, log_det, log_base: value + log_base),
        "the base density is added": _slip(lambda value, log_det, log_base: value + 2 * log_base),
        "the density is exponentiated before its logarithm is taken": _exponentiated,
    },
    examples=50,
)
def flow_elbo_is_the_log_weight(value: FlowElbo, theta: Tensor, noise: Tensor) -> Iterator[Residual]:
    r"""The integrand is the log-weight of the point that the noise is sent to.

    $\log p(x, f(\epsilon)) + \log\lvert\det J_f(\epsilon)\rvert - \log q_0(\epsilon) = \log p(x, z) - \log q(z)$ at $z =
    f(\epsilon)$, for a flow whose density is known from its conditionals.

    Error bound: 16 roundings of the sum of the squared magnitudes that the log-densities are made of.
    """
    balls, scales = [], []
    for t, e in zip(theta.reshape(-1, 5), noise.reshape(-1, 2), strict=True):
        with arb.precision(192):
            ours, size = _log_weight(arb.exact_list(t), arb.exact_list(e))
            balls.append(arb.to_ball(ours, "log-densities of the conditionals"))
            scales.append(arb.to_ball(size).mid)
    batch = theta.shape[:-1]
    true, scale = Ball.stack(balls, batch), torch.stack(scales).reshape(batch)
    found = value(theta, noise, _bent_transform, _banana_log_joint)
    yield close(found, true, ulps=16, scale=scale, what="log p(x, z) - log q(z)")
