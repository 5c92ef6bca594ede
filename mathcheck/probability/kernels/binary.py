"""Vectors of zeros and ones: whether they are, and their log-likelihood by logits with its gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mathcheck.linear.kernels.blocks import blocks, whole

# Numbers worked on at a time.
_BLOCK = 2**17


def _stray(outcomes: Tensor) -> ValueError:
    stray = outcomes[(outcomes != 0) & (outcomes != 1)].flatten()[0]
    return ValueError(f"outcomes must be 0 or 1, got {float(stray)}; for grey values see continuous_bernoulli_log_prob")


def binary(outcomes: Tensor) -> Tensor:
    """Where the outcome is 1.

    Raises:
        ValueError: for outcomes other than 0 and 1.
    """
    one = outcomes == 1
    if not bool((one | (outcomes == 0)).all()):
        raise _stray(outcomes)
    return one


class LogitLogProb(torch.autograd.Function):
    r"""`bernoulli_log_prob_from_logits` and its gradient, block by block of rows.

    With $s = 2t - 1$, which is 1 or $-1$, the value is $\sum_i\log\sigma(s_i\ell_i)$ and its gradient
    $s\,\sigma(-s\ell)$, where no digit cancels.
    """

    @staticmethod
    def forward(outcomes: Tensor, logits: Tensor) -> Tensor:
        if whole(logits):
            return functional.logsigmoid(signs(outcomes) * logits).sum(-1)
        value = logits.new_empty(logits.shape[:-1])
        for a, t, out in blocks(logits, outcomes, value, size=_BLOCK):
            # 0 and 1 are their own squares; that is looked at here, while the block is in the cache.
            if t.numel() and float((t * t).sub_(t).abs_().amax()) != 0:
                raise _stray(t)
            torch.sum(functional.logsigmoid((2 * t).sub_(1).mul_(a)), -1, out=out)
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        outcomes, logits = ctx.saved_tensors
        # With gradients enabled somebody wants a second derivative.
        if torch.is_grad_enabled() or whole(logits):
            sign = 2 * outcomes - 1
            return None, sign * torch.sigmoid(-sign * logits) * grad.unsqueeze(-1)
        slope = torch.empty_like(logits, memory_format=torch.contiguous_format)
        for a, t, g, out in blocks(logits, outcomes, grad, slope, size=_BLOCK):
            sign = (-2 * t).add_(1)
            torch.mul(sign, a, out=out).sigmoid_().mul_(sign.mul_(-g.unsqueeze(-1)))
        return None, slope


def signs(outcomes: Tensor) -> Tensor:
    """1 and -1; where values cannot be looked at, NaN for what is no outcome."""
    if not torch.compiler.is_compiling():
        binary(outcomes)
        return 2 * outcomes - 1
    return torch.where((outcomes == 0) | (outcomes == 1), 2 * outcomes - 1, math.nan)
