r"""$\max_i x_i + \beta^{-1}\log\sum_j e^{\beta(x_j - \max_i x_i)}$ and its gradient, the softmax, a block of rows at a time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mathcheck.linear.kernels.blocks import blocks, whole

_LARGEST = {dtype: torch.finfo(dtype).max for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16)}


class _LogSumExp(torch.autograd.Function):
    """The value, with the maximum and the sum that the gradient is made of."""

    @staticmethod
    def forward(x: Tensor, beta: float, mean: bool) -> tuple[Tensor, Tensor, Tensor]:
        top, total = x.new_empty(x.shape[:-1]), x.new_empty(x.shape[:-1])
        for rows, t, s in blocks(x, top, total):
            # Shifts are finite, so that infinite entries give exponentials of 0 and of infinity, which are right.
            torch.amax(rows, -1, out=t).clamp_(-_LARGEST[x.dtype], _LARGEST[x.dtype])
            torch.sum(_exponentials(rows, t, beta), -1, out=s)
        return _log_mean(x, top, total) if mean else total.log().div_(beta).add_(top), top, total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float, bool], output: tuple[Tensor, Tensor, Tensor]) -> None:
        x, ctx.beta, _ = inputs
        ctx.save_for_backward(x, *output[1:])
        ctx.mark_non_differentiable(*output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        x, top, total = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants a second derivative
            terms = torch.exp(ctx.beta * (x - top.unsqueeze(-1)))
            total = terms.sum(-1)
            return terms * (grad / torch.where(total == 0, torch.ones_like(total), total)).unsqueeze(-1), None, None
        slope = x.new_empty(x.shape)
        for rows, t, s, g, out in blocks(x, top, total, grad, slope):
            # Rows of -inf have no weights to divide.
            scale = (g / s.masked_fill(s == 0, 1)).unsqueeze(-1)
            torch.mul(_exponentials(rows, t, ctx.beta), scale, out=out)
        return slope, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None, None], x: Tensor, beta: float, mean: bool) -> Any:
        return _LogSumExp.apply(x.movedim(in_dims[0], 0), beta, mean), (0, 0, 0)  # type: ignore[no-untyped-call]


def _exponentials(rows: Tensor, top: Tensor, beta: float) -> Tensor:
    """Powers of 2, which take a quarter of the time of the exponential. Their exponents' rounding is like that of x."""
    return torch.sub(rows, top.unsqueeze(-1)).mul_(beta / math.log(2)).exp2_()


def _log_mean(x: Tensor, top: Tensor, total: Tensor) -> Tensor:
    r"""$\log\frac1n\sum_i e^{x_i}$; where the mean is near its maximum from differences from 1, all of one sign."""
    n = x.shape[-1]
    near, value = (total > n / 2) & (total <= n), (total / n).log_().add_(top)
    if whole(x):  # where a look at the numbers would cost more than the sum
        return torch.where(near, torch.expm1(x - top.unsqueeze(-1)).mean(-1).log1p_().add_(top), value)
    if bool(near.any()):
        few, shift = x[near], top[near]
        value[near] = torch.sub(few, shift.unsqueeze(-1)).expm1_().mean(-1).log1p_().add_(shift)
    return value


def log_sum_exp(x: Tensor, beta: float = 1.0, *, mean: bool = False) -> Tensor:
    r"""$\beta^{-1}\log\sum_i e^{\beta x_i}$ over the last dimension, or with `mean` $\log\frac1n\sum_i e^{x_i}$.

    Differentiable twice, its gradient is the softmax of $\beta x$: 0 in a row of $-\infty$.

    Args:
        x: `(*batch, n)`, n at least 1.
        beta: inverse temperature, positive and finite; 1 with `mean`.
        mean: whether to average; then the value is relatively accurate near 0, too.

    Returns:
        `(*batch,)`.
    """
    value: Tensor = _LogSumExp.apply(x, beta, mean)[0]  # type: ignore[no-untyped-call]
    return value
