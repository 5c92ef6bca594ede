"""Vectors of zeros and ones: whether they are, and their log-likelihood by logits with its gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Numbers worked on at a time: few enough to stay in the cache, enough to hide the calls.
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
        if not _in_blocks(logits):
            return functional.logsigmoid(signs(outcomes) * logits).sum(-1)
        value = logits.new_empty(logits.shape[:-1])
        for t, a, out in _blocks(outcomes, logits, value):
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
        if torch.is_grad_enabled() or not _in_blocks(logits):
            sign = 2 * outcomes - 1
            return None, sign * torch.sigmoid(-sign * logits) * grad.unsqueeze(-1)
        slope = torch.empty_like(logits, memory_format=torch.contiguous_format)
        for t, a, g, out in _blocks(outcomes, logits, grad, slope):
            sign = (-2 * t).add_(1)
            torch.mul(sign, a, out=out).sigmoid_().mul_(sign.mul_(-g.unsqueeze(-1)))
        return None, slope


def _in_blocks(logits: Tensor) -> bool:
    """A card has no cache to stay in, and a compiler makes one pass of a formula."""
    return logits.device.type == "cpu" and not torch.compiler.is_compiling()


def signs(outcomes: Tensor) -> Tensor:
    """1 and -1; where values cannot be looked at, NaN for what is no outcome."""
    if not torch.compiler.is_compiling():
        binary(outcomes)
        return 2 * outcomes - 1
    return torch.where((outcomes == 0) | (outcomes == 1), 2 * outcomes - 1, math.nan)


def _blocks(outcomes: Tensor, logits: Tensor, *rest: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Blocks of rows of tensors `(*batch, n)` and `(*batch,)`."""
    n = logits.shape[-1]
    flat = [t.reshape(-1, n) if t.ndim == logits.ndim else t.reshape(-1) for t in (outcomes, logits, *rest)]
    return zip(*(torch.split(t, max(1, _BLOCK // n)) for t in flat), strict=True)
