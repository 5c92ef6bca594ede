r"""Two convex functions with a double zero, without the cancellation of their formulas: $e^d - 1 - d$ and $x - \log(1+x)$.

They are what remains of a divergence when its linear part is taken off: about half the square of a small argument, so that
the formulas as they stand lose every digit once the argument is below the root of the rounding unit.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

# Terms of the series below that leave less than half a rounding unit at the end of their range, by dtype.
_EXP_TERMS = {torch.float64: 13, torch.float32: 7}
_ATANH_TERMS = {torch.float64: 13, torch.float32: 6}


def _series(x: Tensor, coefficients: list[float]) -> Tensor:
    r"""$c_0 + c_1 x + c_2 x^2 + \dots$ by Horner's rule, in place."""
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value.mul_(x).add_(coefficient)
    return value


def _half_exp_excess(d: Tensor) -> Tensor:
    terms = _EXP_TERMS.get(d.dtype, 13)
    small = d.clamp(-0.5, 0.5)
    series = _series(small, [0.5 / math.factorial(k) for k in range(2, terms + 2)]).mul_(small).mul_(small)
    half = d / 2
    root = torch.expm1(half)
    # (e^d - 1) / 2 through e^(d/2), which stays finite wherever the half is.
    return torch.where(d.abs() <= 0.5, series, (root + 2).mul_(root.div_(2)).sub_(half))


class _HalfExpExcess(torch.autograd.Function):
    r"""$(e^d - 1 - d)/2$, relatively accurate for every d, with derivative $(e^d - 1)/2$."""

    generate_vmap_rule = True

    @staticmethod
    def forward(d: Tensor) -> Tensor:
        return _half_exp_excess(d)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (d,) = ctx.saved_tensors
        return grad * torch.expm1(d) / 2


class _LogExcess(torch.autograd.Function):
    r"""$x - \log(1 + x)$ for $x > -1$, relatively accurate for every x, with derivative $x / (1 + x)$.

    Called with x and the ratio $1 + x$, which the caller knows without rounding error where x is close to -1.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, ratio: Tensor) -> Tensor:
        small = x.clamp(-0.4, 0.5)
        y = small / (2 + small)
        tail = _series(y * y, [1 / (2 * k + 3) for k in range(_ATANH_TERMS.get(x.dtype, 13))])
        return torch.where((x >= -0.4) & (x <= 0.5), y * small - 2 * y * y * y * tail, x - ratio.log())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, ratio = ctx.saved_tensors
        return grad * x / ratio, None


def half_exp_excess(d: Tensor) -> Tensor:
    r"""$\tfrac12(e^d - 1 - d) \ge 0$, to a few units in the last place for every d; its derivative is $(e^d - 1)/2$.

    A power series up to $\lvert d\rvert = 1/2$; beyond, nothing cancels. The half, which divergences are made of, is finite
    for larger d than the whole.

    Args:
        d: any shape, floating.

    Returns:
        The shape of `d`.
    """
    value: Tensor = _HalfExpExcess.apply(d)  # type: ignore[no-untyped-call]
    return value


def log_excess(x: Tensor, ratio: Tensor) -> Tensor:
    r"""$x - \log(1 + x) \ge 0$ for $x > -1$, to a few units in the last place; its derivative is $x/(1 + x)$.

    With $y = x/(2 + x)$ it is $xy - 2(y^3/3 + y^5/5 + \dots)$, used for x in [-0.4, 0.5]; beyond, nothing cancels.

    Args:
        x: any shape, floating, above -1.
        ratio: $1 + x$, which the caller knows without rounding error where x is close to -1; it is a constant to autograd.

    Returns:
        The shape of `x`.
    """
    value: Tensor = _LogExcess.apply(x, ratio)  # type: ignore[no-untyped-call]
    return value
