r"""The flow $z = \Phi^{-1}(F(x))$ with F the distribution function of a Gaussian mixture."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.flows.bijection import Bijection
from mathcheck.flows.mixture_cdf.table import NODES, roots

LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
_ROOT_HALF = math.sqrt(0.5)
_TAIL_STEPS = 12
_INVERSE_STEPS = 240


def _log_hazard(t: Tensor) -> Tensor:
    r"""$\log(\varphi(t)/\Phi(t))$, where neither the density nor the distribution function underflows."""
    low, high = t.clamp(max=-1.0), t.clamp(min=-1.0)
    tail = 0.5 * math.log(2 / math.pi) - torch.special.erfcx(-low * _ROOT_HALF).log()
    return torch.where(t < -1, tail, -high * high / 2 - LOG_ROOT_2PI - torch.special.log_ndtr(high))


def _lower_quantile(level: Tensor) -> Tensor:
    r"""The $z \le 0$ with $\log\Phi(z)$ = `level`, at most $\log\tfrac12$, however negative."""
    # Phi(z) <= exp(-z^2 / 2) / 2 puts the start left of the root, and log Phi is concave: Newton never overshoots.
    z = -torch.sqrt(-2 * (level + math.log(2.0)).clamp(max=0.0))
    for _ in range(_TAIL_STEPS):
        step = (level - torch.special.log_ndtr(z)) * torch.exp(-_log_hazard(z))
        moving = step > torch.finfo(z.dtype).eps * z.abs()
        z = torch.where(moving, z + step, z)
        if not bool(moving.any()):
            break
    return z


def mixture_cdf(logits: Tensor, means: Tensor, log_scales: Tensor) -> Bijection:
    r"""$z = \Phi^{-1}(F(x))$ with $F = \sum_k\pi_k\Phi(\tfrac{x - \mu_k}{\sigma_k})$: standard normal if x is from the mixture.

    $\log f'(x) = \log\sum_k\pi_k\varphi_{\mu_k,\sigma_k}(x) - \log\varphi(z)$. In the tails both terms are huge, so the code
    subtracts the log-hazards $\log(F'/F)$ and $\log(\varphi/\Phi)(z)$ instead, in the nearer tail; z comes from log F or
    log(1 - F) there, and nothing saturates. The inverse is bracketed by the components' quantiles $\mu_k + \sigma_k z$
    and found by Newton's method with bisection; thousands of points at once from a table of f and one Newton step, and
    only those by a search for which that step shows that it is not enough.

    Args:
        logits: `(K,)`, K at least 1; $\pi$ is their softmax.
        means: `(K,)`.
        log_scales: `(K,)`, $\log\sigma_k$.

    Returns:
        The bijection of numbers, `(*batch,)` -> `(*batch,)`. It works in the dtype and on the device of the point, and
        is differentiable once.

    Raises:
        TypeError, ValueError: for arguments that are not finite floating tensors of one shape, dtype and device, or
            later for points of another dtype.
    """
    given = {"logits": logits, "means": means, "log_scales": log_scales}
    arguments.finite_floating(**given)
    for name, t in given.items():
        if t.ndim != 1 or t.shape[0] < 1 or t.shape != logits.shape:
            raise ValueError(f"{name} must have shape (K,) with K >= 1 as logits, got {tuple(t.shape)}")

    def at(x: Tensor, name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-weights, log-scales, standardised points, and 2 F(x) - 1."""
        arguments.floating(**{name: x})
        weights, spread = logits.to(x).log_softmax(0), log_scales.to(x)
        t = (x.unsqueeze(-1) - means.to(x)) * torch.exp(-spread)
        balance = (weights.exp() * torch.erf(t * _ROOT_HALF)).sum(-1)
        return weights, spread, t, balance

    def solved(x: Tensor, name: str) -> tuple[Tensor, Tensor]:
        weights, spread, t, balance = at(x, name)
        sign = torch.where(balance > 0, -1.0, 1.0).to(x)
        shares = (weights + torch.special.log_ndtr(t * sign.unsqueeze(-1))).log_softmax(-1)
        hazards = _log_hazard(t * sign.unsqueeze(-1))
        with torch.no_grad():
            level = (weights + torch.special.log_ndtr(t * sign.unsqueeze(-1))).logsumexp(-1)
            middle = balance.abs() < 0.5
            z = sign * _lower_quantile(torch.where(middle, -1.0, level))
            z = torch.where(middle, torch.erfinv(torch.where(middle, balance, 0.0)) / _ROOT_HALF, z)
            stretch = sign * torch.exp(-_log_hazard(-z.abs()))
        # log Phi(-|z|) = log(tail) defines z(x, theta), and its gradient, without what autograd would round.
        change = (shares.detach().exp() * (weights + hazards.detach().exp() * sign.unsqueeze(-1) * t)).sum(-1)
        z = z + (change - change.detach()) * stretch
        return z, (shares - spread + hazards).logsumexp(-1) - _log_hazard(-z.abs())

    def search(z: Tensor) -> Tensor:
        ends = means.to(z) + torch.exp(log_scales.to(z)) * z.unsqueeze(-1)
        low, high = ends.amin(-1), ends.amax(-1)
        x, active = low + (high - low) / 2, torch.ones_like(z, dtype=torch.bool)
        last = torch.full_like(z, math.inf)
        for _ in range(_INVERSE_STEPS):
            at_x, log_slope = solved(x, "z")
            low, high = torch.where(at_x <= z, x, low), torch.where(at_x >= z, x, high)
            stretch = torch.exp(-log_slope)
            proposal = x + (z - at_x) * stretch
            # Either the bracket is halved or the step: it ends, and near the root it is Newton's method.
            step = (proposal - x).abs()
            newton = (proposal >= low) & (proposal <= high) & (step <= last / 2)
            following = torch.where(newton, proposal, low + (high - low) / 2)
            # A step below the roundings of x and of f(x) tells nothing.
            active &= ~(step <= 4 * torch.finfo(z.dtype).eps * (x.abs() + z.abs() * stretch))
            x, last = torch.where(active, following, x), (following - x).abs()
            if not bool(active.any()):
                break
        return x

    def inverse(z: Tensor) -> Tensor:
        arguments.floating(z=z)
        with torch.no_grad():
            if z.numel() < NODES:
                x = search(z)
            else:
                flat, mixture = z.flatten(), (logits.to(z).softmax(0), means.to(z), log_scales.to(z).exp())
                x, done = roots(lambda x: solved(x, "z"), flat, *mixture)
                hard = done.logical_not().nonzero().squeeze(-1)
                if hard.numel():
                    x[hard] = search(flat[hard])
                x = x.reshape(z.shape)
        if not torch.is_grad_enabled():
            return x
        at_x, log_slope = solved(x, "z")
        # f(x; theta) = z defines x(z, theta): dx = (dz - df) / f'.
        return x + ((z - z.detach()) - (at_x - at_x.detach())) * torch.exp(-log_slope.detach())

    def inverse_and_log_det(z: Tensor) -> tuple[Tensor, Tensor]:
        x = inverse(z)
        return x, -solved(x, "z")[1]

    return Bijection(
        lambda x: solved(x, "x")[0],
        inverse,
        lambda x: solved(x, "x")[1],
        (),
        lambda z: inverse_and_log_det(z)[1],
        batch_shapes=BATCH_SHAPES,
        forward_and_log_det=lambda x: solved(x, "x"),
        inverse_and_log_det=inverse_and_log_det,
    )
