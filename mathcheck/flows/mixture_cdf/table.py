r"""Many roots of $F(x) = \Phi(z)$ at once: each from a table of F, and one step of Newton's method that says how good it is."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

NODES = 4096
_FAR = 9.0  # where a table ends: of normal points none in 10^18 lies beyond, and one would take nodes from all others
_BLOCK = 2**14  # points whose components stay in the cache
_ROOT_HALF, _ROOT_2_OVER_PI = math.sqrt(0.5), math.sqrt(2 / math.pi)


def roots(
    solved: Callable[[Tensor], tuple[Tensor, Tensor]], z: Tensor, weights: Tensor, means: Tensor, scales: Tensor
) -> tuple[Tensor, Tensor]:
    r"""The x with $\sum_k\pi_k\Phi(\tfrac{x - \mu_k}{\sigma_k}) = \Phi(z)$, and which are as exact as rounding lets them be.

    Nodes are quantiles of every component, so that they are dense wherever one of them has mass. Between two nodes
    $x(z)$ is the cubic with the right values and slopes, from where one Newton step $\delta$ is taken. The next one would
    be $\tfrac12\delta^2 F''/F'$: a point is done where twice that is below the roundings of x and z, every component's
    share $\lvert t\rvert\varphi(t)$ of $F''$ replaced by $(1 + \lvert t\rvert)\varphi(t)$, which has no zero.

    Args:
        solved: x -> $f(x) = \Phi^{-1}(F(x))$ and $\log f'(x)$.
        z: `(n,)`.
        weights, means, scales: $\pi$, $\mu$ and $\sigma$, `(K,)`.

    Returns:
        `(n,)` and which are done, `(n,)`; beyond 9 few are, and none where F underflows.
    """
    inside = torch.where(z.isnan(), 0.0, z).clamp(-_FAR, _FAR)
    share = torch.linspace(0, 1, max(2, NODES // len(means)), dtype=z.dtype, device=z.device)
    quantiles = torch.lerp(inside.amin(), inside.amax(), share)
    nodes = (means + scales * quantiles.unsqueeze(-1)).flatten().sort().values
    values, log_slopes = solved(nodes)
    table = nodes, values.cummax(0).values, torch.exp(-log_slopes)
    mixture = [t.unsqueeze(-1) for t in (weights, means, scales)]
    x, done = torch.empty_like(z), torch.empty_like(z, dtype=torch.bool)
    for start in range(0, len(z), _BLOCK):
        rows = slice(start, start + _BLOCK)
        x[rows], done[rows] = _polished(_between(table, z[rows]), z[rows], *mixture)
    return x, done


def _between(table: tuple[Tensor, Tensor, Tensor], z: Tensor) -> Tensor:
    """The cubic through both neighbouring nodes with their slopes, kept between them."""
    nodes, values, _ = table
    right = torch.searchsorted(values, z).clamp(1, len(nodes) - 1)
    x0, z0, slope0 = (t[right - 1] for t in table)
    x1, z1, slope1 = (t[right] for t in table)
    width, rise = z1 - z0, x1 - x0
    u = (z - z0) / width
    bend0, bend1 = width * slope0 - rise, rise - width * slope1
    x = x0 + u * rise + u * (1 - u) * (bend0 * (1 - u) + bend1 * u)
    return torch.where((x >= x0) & (x <= x1), x, x0 + rise / 2)


def _polished(x: Tensor, z: Tensor, weights: Tensor, means: Tensor, scales: Tensor) -> tuple[Tensor, Tensor]:
    """A Newton step on the difference of both distribution functions, and whether the next one would matter."""
    t = (x - means) / scales
    missing = torch.empty_like(x)
    # Near the median erf keeps the digits of small differences, in a tail erfc those of small probabilities.
    near = z.abs() < 1
    rows = near.nonzero().squeeze(-1)
    missing[rows] = torch.erf(z[rows] * _ROOT_HALF) - (weights * torch.erf(t[:, rows] * _ROOT_HALF)).sum(0)
    rows = near.logical_not().nonzero().squeeze(-1)
    side = torch.where(z[rows] > 0, 1.0, -1.0).to(x) * _ROOT_HALF
    tails = (weights * torch.erfc(side * t[:, rows])).sum(0) - torch.erfc(side * z[rows])
    missing[rows] = torch.where(side > 0, tails, -tails)
    densities = weights / scales * torch.exp(-t * t / 2)
    density = densities.sum(0) * _ROOT_2_OVER_PI
    step = missing / density
    bend = (densities * (1 + t.abs()) / scales).sum(0) * _ROOT_2_OVER_PI / density
    stretch = torch.exp(-z * z / 2) * _ROOT_2_OVER_PI / density
    x = x + step
    return x, step * step * bend <= torch.finfo(x.dtype).eps * (x.abs() + z.abs() * stretch)
