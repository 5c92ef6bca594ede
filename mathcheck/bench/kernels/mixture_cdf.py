r"""Many quantiles of a Gaussian mixture: the x with $F(x) = \Phi(z)$, to $10^{-12}$.

All work in the nearer tail, since $1 - F$ has lost its digits long before $10^{-12}$ there.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mathcheck.bench.kernel import OURS, PLAIN, Call, Contender, Inputs, Kernel, Size, Work
from mathcheck.engine.residual import Ball, Kind, Residual, close
from mathcheck.flows.mixture_cdf import mixture_cdf

SIZES = tuple({"points": points, "components": 5} for points in (10_000, 100_000, 1_000_000))
CARD_SIZES = tuple({"points": points, "components": 5} for points in (1_000_000, 4_000_000, 16_000_000))
ACCURACY, HALVINGS = 1e-12, 46  # 2^-46 of a bracket of length 60


def _inputs(size: Size, generator: torch.Generator, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Standard normal numbers; logits, means and log-scales of the mixture."""
    k = size["components"]
    z, logits, means, spreads = (
        torch.randn(n, generator=generator, dtype=torch.float64) for n in (size["points"], k, k, k)
    )
    return tuple(t.to(dtype) for t in (z, logits, 2 * means, spreads / 2 - 0.5))


def _ours(z: Tensor, logits: Tensor, means: Tensor, log_scales: Tensor) -> Call:
    inverse = mixture_cdf(logits, means, log_scales).inverse
    assert inverse is not None

    def run() -> Tensor:
        with torch.no_grad():
            return inverse(z)

    return run


def _plain(z: Tensor, logits: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
    """Bisection of all points at once between the components' quantiles."""
    weights, scales, root = logits.softmax(0), log_scales.exp(), math.sqrt(0.5)
    side = torch.where(z > 0, 1.0, -1.0).to(z)
    level = torch.erfc(side * z * root)
    ends = means + scales * z.unsqueeze(-1)
    low, high = ends.amin(-1), ends.amax(-1)
    for _ in range(HALVINGS):
        x = (low + high) / 2
        t = (x.unsqueeze(-1) - means) / scales
        below = side * ((weights * torch.erfc(side.unsqueeze(-1) * t * root)).sum(-1) - level) > 0
        low, high = torch.where(below, x, low), torch.where(below, high, x)
    return (low + high) / 2


def _scipy(z: Tensor, logits: Tensor, means: Tensor, log_scales: Tensor) -> Call:
    elementwise: Any = importlib.import_module("scipy.optimize.elementwise")
    special: Any = importlib.import_module("scipy.special")
    weights, m, scales = (t.numpy() for t in (logits.softmax(0), means, log_scales.exp()))
    places, root = z.numpy(), math.sqrt(0.5)

    def gap(x: Any, place: Any) -> Any:
        side = np.where(place > 0, root, -root)
        t = (x[..., None] - m) / scales
        tail = (weights * special.erfc(side[..., None] * t)).sum(-1)
        return side * (special.erfc(side * place) - tail)

    def run() -> Tensor:
        ends = m + scales * places[:, None]
        # Where the components' quantiles meet, rounding might leave both ends on one side.
        low, high = ends.min(-1), ends.max(-1)
        wider = 1e-9 * (1 + np.abs(low) + np.abs(high))
        found = elementwise.find_root(
            gap,
            (low - wider, high + wider),
            args=(places,),
            tolerances={"xatol": ACCURACY / 2, "xrtol": 0.0, "fatol": 0.0, "frtol": 0.0},
        )
        return torch.from_numpy(found.x)

    return run


def _residuals(inputs: Inputs, result: Any) -> Iterator[Residual]:
    r"""The x beside where a Newton step from it leads, in double precision.

    That step is wrong by 16 roundings of x and the means, from which distances are taken, of the nearer tail over $F'$, and
    of z times $\varphi(z)/F'$, as far as x moves with z.
    """
    z, logits, means, log_scales = (t.detach().double().cpu() for t in inputs)
    weights, scales, x = logits.softmax(0), log_scales.exp(), result.detach().double().cpu()
    side = torch.where(z > 0, 1.0, -1.0).to(z)
    t = (x.unsqueeze(-1) - means) / scales
    # torch's ndtr is (1 + erf) / 2, which loses the digits of a tail.
    tail = (weights * torch.erfc(side.unsqueeze(-1) * t * math.sqrt(0.5))).sum(-1) / 2
    level = torch.erfc(side * z * math.sqrt(0.5)) / 2
    density = (weights / scales * torch.exp(-t * t / 2)).sum(-1) / math.sqrt(2 * math.pi)
    root = x + side * (tail - level) / density
    stretch = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi) / density
    size = x.abs() + means.abs().amax() + tail / density + z.abs() * stretch
    eps = torch.finfo(inputs[0].dtype).eps
    radius = ACCURACY * x.abs().clamp(min=1) * (eps / torch.finfo(torch.float64).eps)
    yield close(result.detach(), Ball(root, radius, kind=Kind.NUMERICAL), ulps=16, scale=size, what="x")


KERNELS = (
    Kernel(
        "mixture_cdf_inverse",
        "Quantiles of a Gaussian mixture",
        "flows.mixture_cdf",
        SIZES,
        _inputs,
        {
            OURS: Contender(_ours),
            PLAIN: Contender(lambda *inputs: lambda: _plain(*inputs)),
            "scipy": Contender(_scipy, needs=("scipy",), devices=("cpu",)),
        },
        _residuals,
        # Once F and F': two functions of every component, ten operations each.
        lambda size: Work(2 * size["points"], 20 * size["points"] * size["components"]),
        CARD_SIZES,
        dtype=torch.float64,
    ),
)
