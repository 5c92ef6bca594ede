r"""Two convex functions with a double zero, without the cancellation of their formulas: $e^d - 1 - d$ and $x - \log(1+x)$.

They are what remains of a divergence when its linear part is taken off: about half the square of a small argument, so that
the formulas as they stand lose every digit once the argument is below the root of the rounding unit.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

# Coefficients of the series below, as many as leave less than half a rounding unit at the end of their range.
_EXP = {torch.float64: tuple(2 ** (k - 1) / math.factorial(k) for k in range(2, 15))}
_EXP[torch.float32] = _EXP[torch.float64][:7]
_ATANH = {torch.float64: tuple(1 / (2 * k + 3) for k in range(13))}
_ATANH[torch.float32] = _ATANH[torch.float64][:6]

# The same as tensors: with those a product and a sum take one pass over memory, with numbers two.
_CONSTANTS = {
    (dtype, row): torch.tensor(row, dtype=dtype, device="cpu").unbind()
    for table in (_EXP, _ATANH)
    for dtype, row in table.items()
}


def _series(x: Tensor, table: dict[torch.dtype, tuple[float, ...]]) -> Tensor:
    r"""$c_0 + c_1 x + c_2 x^2 + \dots$ by Horner's rule."""
    coefficients = table.get(x.dtype, table[torch.float64])
    constants = _CONSTANTS.get((x.dtype, coefficients))
    if torch.compiler.is_compiling() or not x.is_cpu or constants is None:
        value = torch.full_like(x, coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            value.mul_(x).add_(coefficient)
        return value
    *rest, _ = constants
    value = torch.add(rest.pop(), x, alpha=coefficients[-1])
    while rest:
        torch.addcmul(rest.pop(), value, x, out=value)
    return value


def of_half_(h: Tensor) -> Tensor:
    r"""$\tfrac12(e^{2h} - 1 - 2h)$, see `half_exp_excess`, of finite h, which is overwritten.

    Every argument is split into a part up to 1/4 for the series and one beyond for the exponential, one of them 0: both
    sums then vanish where they are not meant, and nothing is chosen, which would take longer than either.
    """
    far = torch.nn.functional.hardshrink(h, 0.25)
    near = h.sub_(far)
    # (e^2x - 1 - 2x) / (2x^2) for |x| up to 1/4.
    series = _series(near, _EXP)
    root = torch.expm1(far)
    # (e^2h - 1) / 2 through e^h, which stays finite wherever the half is.
    return torch.addcmul(root, root, root, value=0.5).sub_(far).addcmul_(series, near.mul_(near))


class _HalfExpExcess(torch.autograd.Function):
    r"""$(e^d - 1 - d)/2$, relatively accurate for every d, with derivative $(e^d - 1)/2$."""

    @staticmethod
    def forward(d: Tensor) -> Tensor:
        return of_half_(d / 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (d,) = ctx.saved_tensors
        return grad * torch.expm1(d) / 2

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], d: Tensor) -> tuple[Tensor, int]:
        return half_exp_excess(d), in_dims[0]


class _LogExcess(torch.autograd.Function):
    r"""$x - \log(1 + x)$ for $x > -1$, relatively accurate for every x, with derivative $x / (1 + x)$.

    Called with x and the ratio $1 + x$, which the caller knows without rounding error where x is close to -1.
    """

    @staticmethod
    def forward(x: Tensor, ratio: Tensor) -> Tensor:
        small = x.clamp(-0.4, 0.5)
        y = small / (2 + small)
        tail = _series(y * y, _ATANH)
        return torch.where((x >= -0.4) & (x <= 0.5), y * small - 2 * y * y * y * tail, x - ratio.log())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, ratio = ctx.saved_tensors
        return grad * x / ratio, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], *both: Tensor) -> tuple[Tensor, int]:
        x, ratio = (
            t.expand(info.batch_size, *t.shape) if d is None else t.movedim(d, 0)
            for t, d in zip(both, in_dims, strict=True)
        )
        return log_excess(x, ratio), 0


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
