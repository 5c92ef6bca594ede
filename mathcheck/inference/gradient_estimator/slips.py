"""Ways in which an estimator of a gradient goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mathcheck.inference.gradient_estimator.record import GradientEstimator
from mathcheck.inference.noise import Finite, Normal
from mathcheck.oracles import arb

Slip = Callable[[GradientEstimator], GradientEstimator]


def then(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that puts `change(estimates)` in place of the estimates."""
    return lambda g: replace(g, estimate=lambda theta, noise: change(g.estimate(theta, noise)))


def _rotated(g: GradientEstimator) -> GradientEstimator:
    if len(g.parameters) == 1:
        raise NotImplementedError("one coordinate")
    return then(lambda value: value.roll(1, -1))(g)


def _averaged(value: Tensor) -> Tensor:
    rows = value.reshape(-1, value.shape[-1])
    return rows.mean(0).expand(value.shape)


def row_by_row(g: GradientEstimator) -> GradientEstimator:
    def estimate(theta: Tensor, noise: Tensor) -> Tensor:
        lead = noise.shape[: noise.ndim - len(g.noise.event_shape)]
        rows = noise.reshape(-1, *g.noise.event_shape)
        values = [g.estimate(theta, row[None]).reshape(theta.shape) for row in rows]
        return torch.stack(values).reshape(*lead, *theta.shape)

    return replace(g, estimate=estimate)


def _points(g: GradientEstimator) -> list[Tensor]:
    """Some parameters, inside their intervals."""
    ends = [(max(i.lower, -i.reach), min(i.upper, i.reach)) for i in g.parameters]
    dtype = g.dtype or torch.float64
    return [torch.tensor([low + share * (high - low) for low, high in ends], dtype=dtype) for share in (0.3, 0.6)]


def _attached(g: GradientEstimator) -> GradientEstimator:
    """Where every estimate is 0 the gradient of the integrand is put, for the same draw."""
    integrand, noise = g.integrand, g.noise
    if integrand is None or not isinstance(noise, Normal):
        raise NotImplementedError("no gradient flows through such a draw")

    def along(theta: Tensor, draws: Tensor) -> Tensor:
        leaf = theta.detach().clone().requires_grad_()
        values = integrand(leaf, draws)
        if not values.requires_grad:
            raise NotImplementedError("the integrand is not differentiable by autograd")
        rows = [torch.autograd.grad(v, leaf, retain_graph=True, materialize_grads=True)[0] for v in values]
        return torch.stack(rows)

    draws = torch.randn(16, noise.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probes = [(theta, draws.to(theta)) for theta in _points(g)]
    lost = torch.stack([(g.estimate(*probe) == 0).all(0) for probe in probes]).all(0)
    if not bool(torch.stack([(along(*probe)[:, lost] != 0).any() for probe in probes]).any()):
        raise NotImplementedError("no gradient is lost")

    def estimate(theta: Tensor, z: Tensor) -> Tensor:
        value = g.estimate(theta, z)
        there = along(theta, z.reshape(-1, noise.dim)).reshape(value.shape)
        return torch.where(lost.to(value.device), there, value)

    return replace(g, estimate=estimate)


def _baseline_fixed(g: GradientEstimator) -> GradientEstimator:
    r"""The gradient of a baseline times $\log p(x)$ is added again, where the estimates show that it was subtracted.

    With a differentiated baseline b an estimate is $(h - b)\nabla\log p - (\nabla b)\log p$; over all outcomes that is more
    equations than the unknowns b and $\nabla b$, unless there are two outcomes only.
    """
    integrand, noise = g.integrand, g.noise
    if integrand is None or not isinstance(noise, Finite) or noise.count < 3:
        raise NotImplementedError("the scores are not known, or too few")

    def log_p(xs: list[Any], k: int) -> Any:
        return arb.log(noise.probabilities(xs)[k])

    def scores(theta: Tensor) -> tuple[Tensor, Tensor]:
        """The log-probability of every outcome `(n,)` and its gradient `(n, p)`."""
        xs = arb.exact_list(theta)
        logs = [float(log_p(xs, k).mid()) for k in range(noise.count)]
        slopes = [[float(v.mid()) for v in arb.gradient(functools.partial(log_p, k=k), xs)] for k in range(noise.count)]
        return torch.tensor(logs, dtype=torch.float64), torch.tensor(slopes, dtype=torch.float64)

    def slope(theta: Tensor) -> Tensor:
        """The baseline's gradient, `(p,)`."""
        logs, slopes = scores(theta)
        outcomes = torch.arange(noise.count, device=theta.device)
        value, reward = (t.detach().double().cpu() for t in (g.estimate(theta, outcomes), integrand(theta, outcomes)))
        rest = reward[:, None] * slopes - value
        columns = [slopes, *(torch.where(torch.arange(len(theta)) == j, logs[:, None], 0.0) for j in range(len(theta)))]
        system = torch.stack([c.flatten() for c in columns], -1)
        found: Tensor = torch.linalg.lstsq(system, rest.flatten()[:, None], driver="gelsd").solution[:, 0]
        size = rest.abs().amax() + (reward[:, None] * slopes).abs().amax()
        if not bool(((system @ found - rest.flatten()).abs() <= math.sqrt(torch.finfo(theta.dtype).eps) * size).all()):
            raise NotImplementedError("something else than a baseline is subtracted")
        return found[1:]

    if all(bool((slope(theta).abs() < 1e-3).all()) for theta in _points(g)):
        raise NotImplementedError("the baseline is constant")

    def estimate(theta: Tensor, x: Tensor) -> Tensor:
        logs = scores(theta)[0][x.cpu()].to(theta)
        return g.estimate(theta, x) + logs[..., None] * slope(theta).to(theta)

    return replace(g, estimate=estimate)


FACTOR: dict[str, Slip] = {
    "it is multiplied by 2": then(lambda value: 2 * value),
    "it is divided by 2": then(lambda value: value / 2),
}
SIGN: dict[str, Slip] = {"its sign is changed": then(lambda value: -value)}
MEAN: dict[str, Slip] = {
    "its coordinates are rotated": _rotated,
    "each estimate is scaled to length 1": then(lambda value: value / value.norm(dim=-1, keepdim=True).clamp(min=1e-3)),
    "a gradient is lost (its last coordinate is detached)": then(
        lambda value: torch.cat([value[..., :-1], torch.zeros_like(value[..., -1:])], -1)
    ),
}
BATCH: dict[str, Slip] = {
    "it is summed over the draws": then(lambda value: value.reshape(-1, value.shape[-1]).sum(0).expand(value.shape)),
    "it is averaged over the draws": then(_averaged),
}
REPAIRS: dict[str, Slip] = {"every draw is given alone": row_by_row, **SIGN, **FACTOR}
MEAN_REPAIRS: dict[str, Slip] = {
    **REPAIRS,
    "gradients flow through the draw (where it is detached they are 0)": _attached,
    "the baseline's own gradient is left out (it is no part of the score's)": _baseline_fixed,
}
