r"""The mass that a log-density gives to an interval or a square, whatever its dtype, with a radius.

Substituting $x = a + e^{\frac\pi2\sinh t}$ on a half-line, or $x = a + (b-a)/(1 + e^{-\pi\sinh t})$ on an interval, makes
an integrand that is smooth inside fall doubly exponentially in t, where equidistant nodes converge exponentially fast.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mathcheck.engine.residual import Ball, Kind, Undecided

# A mass that is not known better than this says nothing about a normalising constant.
COARSEST = 1e-2
# Half the range of t: at its end the substituted densities are below the smallest float.
_RANGE = 4.25
_SOURCE = "integral, double-exponential rule"


def _axis(low: float, high: float, step: float) -> tuple[Tensor, Tensor]:
    """Nodes and weights on one interval with at least one finite end."""
    t = torch.arange(-round(_RANGE / step), round(_RANGE / step) + 1, dtype=torch.float64) * step
    if math.isfinite(low) and math.isfinite(high):
        left, right = torch.sigmoid(math.pi * t.sinh()), torch.sigmoid(-math.pi * t.sinh())
        # Measured from the nearer end, so that a node close to it keeps its digits.
        x = torch.where(t < 0, low + (high - low) * left, high - (high - low) * right)
        return x, step * (high - low) * math.pi * t.cosh() * left * right
    distance = torch.exp(math.pi / 2 * t.sinh())
    return (low + distance if math.isfinite(low) else high - distance), step * math.pi / 2 * t.cosh() * distance


def _grid(
    like: Tensor, low: float, high: float, points: Sequence[float], event_shape: tuple[int, ...], step: float
) -> tuple[Tensor, Tensor]:
    """Nodes `(k, *event_shape)`, rounded to the dtype, and weights `(k,)` in float64."""
    inner = [p for p in points if low < p < high] or ([0.0] if math.isinf(low) and math.isinf(high) else [])
    parts = [_axis(a, b, step) for a, b in itertools.pairwise([low, *sorted(inner), high])]
    x, weight = torch.cat([p[0] for p in parts]).to(like.dtype), torch.cat([p[1] for p in parts])
    if math.isfinite(low):
        x = x.clamp(min=float(torch.nextafter(like.new_tensor(low), like.new_tensor(math.inf))))
    if math.isfinite(high):
        x = x.clamp(max=float(torch.nextafter(like.new_tensor(high), like.new_tensor(-math.inf))))
    if event_shape:
        n = event_shape[0]
        x = torch.cartesian_prod(*[x] * n).reshape(-1, n)
        weight = torch.cartesian_prod(*[weight] * n).reshape(-1, n).prod(-1)
    return x.to(like.device), weight


def mass(
    log_prob: Callable[[Tensor], Tensor],
    like: Tensor,
    low: float,
    high: float,
    *,
    points: Sequence[float] = (),
    middle: float = 0.0,
    event_shape: tuple[int, ...] = (),
) -> Ball:
    r"""$\int e^{\log p(x)}\,\mathrm dx$ over $[\mathrm{low}, \mathrm{high}]^n$, the step halved until two results agree.

    The radius is the distance of the last two results, and at every node 4 roundings of $1 + \lvert\log p\rvert$ and
    what $\log p$ changes over one rounding of the node.

    Args:
        log_prob: $\log p$, `(k, *event_shape)` -> `(k,)`.
        like: gives dtype and device of the nodes.
        low: smallest coordinate, may be -inf.
        high: largest coordinate, may be inf.
        points: places where the density has a kink, jump, singularity or narrow peak, in each coordinate.
        middle: a coordinate inside the support, towards which nodes are moved by their rounding.
        event_shape: `()` or `(n,)` with n at most 2.

    Returns:
        A ball without dimensions; its centre is infinite or NaN, with radius 0, where the sum is.

    Raises:
        Undecided: if the radius is not below 0.01, and the mass not above 2 whatever it is.
        ValueError: if an event has more than two coordinates, or `low < high` fails.
    """
    if math.prod(event_shape) > 2:
        raise ValueError(f"event_shape must be (), (1,) or (2,), got {event_shape}")
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}")
    former, total, radius = math.nan, math.nan, math.inf
    for halvings in range(3, 5 if event_shape else 9):
        x, weight = _grid(like, low, high, points, event_shape, 2.0**-halvings)
        log_p = log_prob(x).detach().double().cpu()
        moved = log_prob(torch.nextafter(x, torch.full_like(x, middle))).detach().double().cpu()
        p = weight * log_p.exp()
        total = float(p.sum())
        if not math.isfinite(total):
            return Ball(total, 0.0, kind=Kind.NUMERICAL, source=_SOURCE)
        spread = (log_p - moved).abs() + 4 * torch.finfo(x.dtype).eps * (1 + log_p.abs())
        rounding = float((p * spread)[p != 0].sum())
        radius = abs(total - former) + rounding
        if radius <= 2 * rounding:
            break
        former = total
    # Far above 1 no digit is needed to see that the mass is wrong.
    if not radius <= COARSEST and not total - radius > 2:
        raise Undecided(f"the mass is {total} +- {radius}: name the kinks and narrow peaks in `points`")
    return Ball(total, radius, kind=Kind.NUMERICAL, source=_SOURCE)
