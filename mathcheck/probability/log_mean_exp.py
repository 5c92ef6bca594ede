r"""The logarithm of a mean of exponentials, $\log\frac1n\sum_i e^{x_i}$: averages of weights that are known by logarithms.

$\min_i x_i \le \log\frac1n\sum_i e^{x_i} \le \max_i x_i$. Shifting by the maximum avoids overflow, but then subtracting
$\log n$ cancels: weights that are nearly 1, as those of a good proposal, have a log-mean that is nearly 0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.convex.kernels.log_sum_exp import log_sum_exp
from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, close, exactly
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.oracles import arb


def log_mean_exp(x: Tensor, dim: int = -1) -> Tensor:
    r"""$\log\frac1n\sum_i e^{x_i} = m + \log\big(1 + \frac1n\sum_i(e^{x_i - m} - 1)\big)$ with $m = \max_i x_i$.

    No exponential exceeds 1. Where the mean is near its maximum the second form sums differences from 1, all of one
    sign, so that the result is relatively accurate even near 0, never above the maximum to the last bit, and exact for
    equal entries. Entries of $-\infty$ count as weights of 0; a row of them gives $-\infty$ with gradient 0, and one
    entry of $+\infty$ gives $+\infty$ (with a gradient of NaN).

    Args:
        x: logarithms of weights, at least one along `dim`.
        dim: the dimension to average over.

    Returns:
        x without `dim`; its gradient is the softmax of x.

    Raises:
        TypeError: if `x` is no floating tensor.
        ValueError: if `x` has no such dimension, or none entry in it.
    """
    arguments.floating(x=x)
    arguments.integers(dim=dim)
    if not -x.ndim <= dim < x.ndim or x.shape[dim] < 1:
        raise ValueError(f"x must have at least one entry along dim={dim}, got shape {tuple(x.shape)}")
    return log_sum_exp(x.movedim(dim, -1), mean=True)


LogMeanExp = Callable[[Tensor], Tensor]


def _rows(numbers: st.SearchStrategy[float], dtype: torch.dtype, least: int = 1) -> st.SearchStrategy[Tensor]:
    shapes = st.tuples(st.sampled_from(BATCH_SHAPES), st.integers(least, 6)).map(lambda s: (*s[0], s[1]))
    return strategies.of_each(shapes, lambda shape: strategies.tensors(shape, dtype, numbers))


def _given(f: LogMeanExp, dtype: torch.dtype, least: int = 1) -> st.SearchStrategy[tuple[Tensor]]:
    """Rows far apart, and rows of weights that are nearly equal, or nearly 1."""
    far = _rows(Interval(reach=1e4).elements(dtype), dtype, least)
    unit = _rows(Interval(reach=1.0).elements(dtype), dtype, least)
    near = st.builds(
        lambda x, size, shift: (x * size + shift).to(dtype),
        unit,
        st.sampled_from([1e-1, 1e-3, 1e-6]),
        st.sampled_from([0.0, 0.0, 1.0, -700.0]),
    )
    return st.tuples(st.one_of(far, near))


def _enclosed(x: Tensor, compute: Callable[[list[Any]], Any]) -> Ball:
    rows = x.detach().reshape(-1, x.shape[-1])
    balls = [arb.enclose(functools.partial(lambda row: compute(arb.exact_list(row)), row), rel_bits=60) for row in rows]
    return Ball.stack(balls, (*x.shape[:-1], *balls[0].mid.shape))


def _definition(row: list[Any]) -> Any:
    return arb.log(sum(arb.exp(r) for r in row) / len(row))


def _size(x: Tensor, value: Tensor) -> Tensor:
    """|value| and |m - value|, the two summands, and the mean of |x - m| under the softmax, `(*batch,)` in float64."""
    x = x.double().cpu()
    top = x.amax(-1, keepdim=True)
    weights = torch.softmax(x - top, -1)
    return value.abs() + (top.squeeze(-1) - value).abs() + (weights * (x - top).abs()).sum(-1)


@claim(
    given=_given,
    reference=log_mean_exp,
    mutants={
        "log n is not subtracted (a sum for a mean)": lambda f: lambda x: f(x) + math.log(x.shape[-1]),
        "log n is subtracted twice": lambda f: lambda x: f(x) - math.log(x.shape[-1]),
        "log n is subtracted in the end (it cancels for weights near 1)": lambda f: (
            lambda x: torch.logsumexp(x, -1) - math.log(x.shape[-1])
        ),
        "the logarithms are averaged": lambda f: lambda x: x.mean(-1),
        "the exponentials are taken without a shift": lambda f: lambda x: x.exp().mean(-1).log(),
        "the number of rows is divided by": lambda f: (
            lambda x: f(x) + math.log(x.shape[-1]) - math.log(max(x.numel() // x.shape[-1], 1))
        ),
    },
)
def equals_the_definition(log_mean: LogMeanExp, x: Tensor) -> Iterator[Residual]:
    r"""The value is the logarithm of the mean of exponentials: $\log\frac1n\sum_i e^{x_i}$.

    Error bound: 16 roundings of the value v, of the shift's complement $m - v$, and of $\sum_i p_i\lvert x_i - m\rvert$
    with p the softmax, which is how the rounding of $x_i - m$ reaches the mean. No multiple of $\log n$ is granted.
    """
    true = _enclosed(x, _definition)
    yield close(log_mean(x), true, ulps=16, scale=_size(x, true.mid), what="log mean exp(x)")


@claim(
    given=_given,
    reference=log_mean_exp,
    mutants={
        "log n is not subtracted (a sum for a mean)": lambda f: lambda x: f(x) + math.log(x.shape[-1]),
        "log n is subtracted twice": lambda f: lambda x: f(x) - math.log(x.shape[-1]),
        "log n is subtracted in the end (it cancels for weights near 1)": lambda f: (
            lambda x: torch.logsumexp(x, -1) - math.log(x.shape[-1])
        ),
    },
    examples=60,
)
def lies_between_the_smallest_and_the_largest(log_mean: LogMeanExp, x: Tensor) -> Iterator[Residual]:
    r"""A mean lies between the extremes: $\min_i x_i \le \log\frac1n\sum_i e^{x_i} \le \max_i x_i$, exact for equal entries.

    Error bound: 0 above and for equal entries; 16 roundings of the value below, as in `equals_the_definition`.
    """
    value = log_mean(x)
    yield at_most(value, x.amax(-1).to(value.dtype), what="log mean exp(x) <= max x")
    yield at_most(x.amin(-1), value, ulps=16, scale=_size(x, value.detach().double().cpu()), what="min x <= it")
    equal = x[..., :1].expand(x.shape)
    yield exactly(log_mean(equal), equal[..., 0], what="log mean exp of equal entries")


@claim(
    given=lambda f, dtype: st.tuples(_rows(st.sampled_from([0.0, -math.inf, math.inf, 1.0, -1e3]), dtype)),
    reference=log_mean_exp,
    mutants={
        "the maximum is subtracted without a care for infinities": lambda f: (
            lambda x: x.amax(-1) + (x - x.amax(-1, keepdim=True)).exp().mean(-1).log()
        ),
        "entries of minus infinity are not counted": lambda f: (
            lambda x: torch.logsumexp(x, -1) - (x > -math.inf).sum(-1).to(x.dtype).log()
        ),
        "infinities are replaced by large numbers": lambda f: lambda x: f(x.nan_to_num()),
    },
)
def infinite_entries_are_limits(log_mean: LogMeanExp, x: Tensor) -> Iterator[Residual]:
    r"""Infinite entries are limits: $-\infty$ is a weight of 0 that is counted, and $+\infty$ wins.

    With k finite entries $x_1, \dots, x_k$ out of n the value is $\log\frac1n\sum_{i\le k} e^{x_i}$, and $-\infty$ for k = 0.

    Error bound: 16 roundings of the value and the terms, as in `equals_the_definition`, and of $\log\frac nk$; 0 for
    infinite values.
    """
    value, n = log_mean(x).reshape(-1), x.shape[-1]
    for k, row in enumerate(x.reshape(-1, n)):
        finite = row[row != -math.inf]
        if not finite.numel() or bool((finite == math.inf).any()):
            true = Ball(math.inf if finite.numel() else -math.inf, kind=Kind.NUMERICAL, source="the limit")
            yield close(value[k], true, what="the value of a row with infinite entries")
        else:
            entries = arb.exact_list(finite)
            true = arb.enclose(lambda e=entries: arb.log(sum(arb.exp(v) for v in e) / n), rel_bits=60)  # type: ignore[misc]
            scale = _size(finite, true.mid) + math.log(n / len(finite))
            yield close(value[k], true, ulps=16, scale=scale, what="the value of the finite entries")


@claim(
    given=_given,
    reference=log_mean_exp,
    mutants={
        "the largest entry is detached": lambda f: (
            lambda x: (
                x.detach().amax(-1)
                + f(torch.where(x == x.amax(-1, keepdim=True), x.detach(), x) - x.detach().amax(-1, keepdim=True))
            )
        ),
        "its gradient is averaged over the entries": lambda f: (
            lambda x: f(x).detach() + (f(x) - f(x).detach()) / x.shape[-1]
        ),
        "small weights are rounded to multiples of eps": lambda f: (
            lambda x: (
                f(x).detach()
                + torch.expm1(x - x.detach().amax(-1, keepdim=True)).mean(-1).log1p()
                - torch.expm1(x - x.amax(-1, keepdim=True)).mean(-1).log1p().detach()
            )
        ),
    },
    examples=60,
)
def gradient_is_the_softmax(log_mean: LogMeanExp, x: Tensor) -> Iterator[Residual]:
    r"""The gradient holds the normalised weights: $\partial_i\log\frac1n\sum_j e^{x_j} = e^{x_i}/\sum_j e^{x_j}$.

    It is 0, and finite, for a row of $-\infty$.

    Error bound: 16 roundings of $p_i(1 + \lvert x_i - m\rvert + n)$: the rounding of the exponent, and of the sum.
    """
    leaf = x.detach().clone().requires_grad_()
    slope = torch.autograd.grad(log_mean(leaf).sum(), leaf)[0]
    true = _enclosed(x, lambda row: [arb.exp(r) / sum(arb.exp(s) for s in row) for r in row])
    wide = x.double().cpu()
    cond = 1 + (wide - wide.amax(-1, keepdim=True)).abs() + x.shape[-1]
    yield close(slope, true, ulps=16, cond=cond, what="the gradient")
    nothing = torch.full_like(x, -math.inf).requires_grad_()
    empty = torch.autograd.grad(log_mean(nothing).sum(), nothing)[0]
    yield exactly(int((~empty.isfinite()).sum()), 0, kind=Kind.NUMERICAL, what="gradients of empty rows not finite")
