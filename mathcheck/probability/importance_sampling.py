r"""Importance sampling: means under p from draws of q, by weights $w = p/q$ that are known by their logarithms.

$\mathbb E_q[w f] = \mathbb E_p[f]$ if q is positive wherever $p f$ is not 0; what lies where q is 0 is lost without a
trace. One draw has the variance $\mathbb E_p[w f^2] - (\mathbb E_p f)^2$, K draws the K-th part of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck import strategies
from mathcheck.claim import claim
from mathcheck.oracles import arb, enumeration
from mathcheck.probability.log_mean_exp import log_mean_exp
from mathcheck.residual import Ball, Residual, at_most, close, exactly
from mathcheck.strategies import BATCH_SHAPES, Interval


def _checked(**arguments: Tensor) -> None:
    first = next(iter(arguments))
    for name, t in arguments.items():
        if not isinstance(t, Tensor) or not t.dtype.is_floating_point:
            raise TypeError(f"{name} must be a floating tensor, got {getattr(t, 'dtype', type(t).__name__)}")
        like = arguments[first]
        if t.shape != like.shape or t.dtype != like.dtype or t.device != like.device:
            raise ValueError(f"{name} is {tuple(t.shape)}, {t.dtype} on {t.device}, expected {tuple(like.shape)}, "
                             f"{like.dtype} on {like.device} as {first}")  # fmt: skip
    if arguments[first].ndim < 1 or arguments[first].shape[-1] < 1:
        raise ValueError(f"{first} must have shape (*batch, k) with k >= 1, got {tuple(arguments[first].shape)}")


def _relative(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """The largest log-weight of each row, 0 where it is infinite, and the weights relative to it."""
    top = log_weights.detach().amax(-1, keepdim=True)
    top = torch.where(top.isinf(), torch.zeros_like(top), top)
    return top, (log_weights - top).exp()


def importance_estimate(log_weights: Tensor, values: Tensor) -> Tensor:
    r"""$\frac1K\sum_k e^{\ell_k} f_k$: the unbiased estimate of $\mathbb E_p f$ from K draws of q.

    Weights are taken relative to the largest, so that only a result beyond the dtype's range overflows. Divide by
    nothing else: the weights' own mean is only 1 on average, see `self_normalized_estimate`.

    Args:
        log_weights: $\ell_k = \log p(x_k) - \log q(x_k)$, `(*batch, K)`; $-\infty$ where p is 0.
        values: $f_k = f(x_k)$, `(*batch, K)`, finite.

    Returns:
        `(*batch,)`, differentiable in both.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device.
    """
    _checked(log_weights=log_weights, values=values)
    top, relative = _relative(log_weights)
    return top.squeeze(-1).exp() * (relative * values).mean(-1)


def log_importance_estimate(log_weights: Tensor) -> Tensor:
    r"""$\log\frac1K\sum_k e^{\ell_k}$: the logarithm of the unbiased estimate of the mass $\int p$.

    The estimate is unbiased, its logarithm is not: $\mathbb E\log\hat Z \le \log Z$, a lower bound on average.

    Args:
        log_weights: $\ell_k = \log p(x_k) - \log q(x_k)$ with p up to a constant, `(*batch, K)`.

    Returns:
        `(*batch,)`, differentiable.

    Raises:
        TypeError, ValueError: as `importance_estimate`.
    """
    _checked(log_weights=log_weights)
    return log_mean_exp(log_weights)


def self_normalized_estimate(log_weights: Tensor, values: Tensor) -> Tensor:
    r"""$\sum_k e^{\ell_k} f_k / \sum_k e^{\ell_k}$: for weights that are known up to a factor. Consistent, but biased.

    Args:
        log_weights: up to a common constant, `(*batch, K)`, not all $-\infty$ in a row.
        values: $f_k$, `(*batch, K)`, finite.

    Returns:
        `(*batch,)`, differentiable; NaN for a row without a positive weight.

    Raises:
        TypeError, ValueError: as `importance_estimate`.
    """
    _checked(log_weights=log_weights, values=values)
    return (torch.softmax(log_weights, -1) * values).sum(-1)


def effective_sample_size(log_weights: Tensor) -> Tensor:
    r"""$(\sum_k w_k)^2 / \sum_k w_k^2$: how many equal weights have as much spread, between 1 and K.

    It sees only the weights that were drawn: a proposal that misses where p lives looks perfect.

    Args:
        log_weights: up to a common constant, `(*batch, K)`.

    Returns:
        `(*batch,)`; 0 for a row without a positive weight.

    Raises:
        TypeError, ValueError: as `importance_estimate`.
    """
    _checked(log_weights=log_weights)
    _, relative = _relative(log_weights)
    squares = relative.square().sum(-1)
    return relative.sum(-1).square() / torch.where(squares > 0, squares, torch.ones_like(squares))


# The same in rational arithmetic, for proofs by enumeration.
Weights = Sequence[Fraction]
Mean = Callable[[Weights, Weights], Fraction]
Variance = Callable[[Weights, Weights, Weights, int], Fraction]


def weighted_mean(weights: Weights, values: Weights) -> Fraction:
    r"""$\frac1K\sum_k w_k f_k$ of rational numbers."""
    return sum((w * f for w, f in zip(weights, values, strict=True)), Fraction(0)) / len(weights)


def estimate_variance(p: Weights, q: Weights, f: Weights, draws: int) -> Fraction:
    r"""$\frac1K\big(\sum_x \frac{p(x)^2 f(x)^2}{q(x)} - (\sum_x p(x) f(x))^2\big)$ over the outcomes with $q(x) > 0$.

    Args:
        p, q: probabilities of the outcomes, `(n,)`; q is positive wherever p is.
        f: values, `(n,)`.
        draws: K, at least 1.
    """
    mean = sum((a * v for a, v in zip(p, f, strict=True)), Fraction(0))
    square = sum((a * a * v * v / b for a, b, v in zip(p, q, f, strict=True) if b), Fraction(0))
    return (square - mean * mean) / draws


Problem = tuple[list[Fraction], list[Fraction], list[Fraction], int]


def _problems(subject: Any, dtype: torch.dtype) -> st.SearchStrategy[Problem]:
    """Distributions p and q on 2 or 3 outcomes, q positive where p is, integer values, and 1 to 3 draws."""

    def of(n: int) -> st.SearchStrategy[Problem]:
        def normalised(parts: list[int]) -> list[Fraction]:
            return [Fraction(c, sum(parts)) for c in parts]

        p = st.lists(st.integers(0, 5), min_size=n, max_size=n).filter(any).map(normalised)
        q = st.lists(st.integers(1, 5), min_size=n, max_size=n).map(normalised)
        f = st.lists(st.integers(-3, 3).map(Fraction), min_size=n, max_size=n)
        return st.tuples(p, q, f, st.integers(1, 3))

    return st.integers(2, 3).flatmap(of)


def _estimates(mean: Mean, p: Weights, q: Weights, f: Weights, draws: int) -> dict[Fraction, Fraction]:
    """The exact distribution of the estimate from `draws` draws of q."""
    paths = enumeration.product(dict(enumerate(q)), draws)
    return enumeration.pushforward(paths, lambda xs: mean([p[x] / q[x] for x in xs], [f[x] for x in xs]))


@claim(
    given=_problems,
    reference=weighted_mean,
    mutants={
        "the weights are inverted (q/p for p/q)": lambda m: lambda w, f: m([1 / x if x else x for x in w], f),
        "the weights are left out": lambda m: lambda w, f: m([Fraction(1)] * len(w), f),
        "it is divided by the sum of the weights": lambda m: (
            lambda w, f: m(w, f) * len(w) / sum(w) if sum(w) else Fraction(0)
        ),
        "it is divided by K + 1": lambda m: lambda w, f: m(w, f) * len(w) / (len(w) + 1),
    },
    examples=60,
)  # fmt: skip
def weighted_mean_is_unbiased(
    mean: Mean, p: list[Fraction], q: list[Fraction], f: list[Fraction], draws: int
) -> Iterator[Residual]:
    r"""The weighted mean is unbiased, at every number of draws.

    $\mathbb E_q\big[\frac1K\sum_k w(x_k) f(x_k)\big] = \mathbb E_p f$ where q is positive wherever p is.

    Error bound: 0; all samples are enumerated in rational numbers.
    """
    found = enumeration.expectation(_estimates(mean, p, q, f, draws), lambda value: value)
    yield exactly(found, weighted_mean(p, f) * len(p), what="the mean of the estimate")


@claim(
    given=_problems,
    reference=estimate_variance,
    mutants={
        "the number of draws is forgotten": lambda v: lambda p, q, f, k: v(p, q, f, k) * k,
        "the second moment is taken under p, without a weight": lambda v: lambda p, q, f, k: v(p, p, f, k),
        "the squared mean is not subtracted": lambda v: (
            lambda p, q, f, k: v(p, q, f, k) + (weighted_mean(p, f) * len(p)) ** 2 / k
        ),
    },
    examples=60,
)
def variance_is_that_of_the_weighted_values(
    variance: Variance, p: list[Fraction], q: list[Fraction], f: list[Fraction], draws: int
) -> Iterator[Residual]:
    r"""The variance of the estimate: $\frac1K\big(\mathbb E_p[w f^2] - (\mathbb E_p f)^2\big)$.

    Error bound: 0; all samples are enumerated in rational numbers.
    """
    estimates = _estimates(weighted_mean, p, q, f, draws)
    mean = enumeration.expectation(estimates, lambda value: value)
    true = enumeration.expectation(estimates, lambda value: (value - mean) ** 2)
    yield exactly(variance(p, q, f, draws), true, what="the variance of the estimate")


def _tensors(f: Any, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    shapes = st.tuples(st.sampled_from(BATCH_SHAPES), st.integers(1, 5)).map(lambda s: (*s[0], s[1]))
    return shapes.flatmap(lambda shape: st.tuples(strategies.tensors(shape, dtype, Interval(reach=60.0)),
                                                  strategies.tensors(shape, dtype, Interval(reach=10.0))))  # fmt: skip


def _by_row(first: Tensor, *others: Tensor, compute: Callable[..., Any]) -> Ball:
    rows = zip(*(t.reshape(-1, t.shape[-1]) for t in (first, *others)), strict=True)
    exact = [[arb.exact_list(t) for t in row] for row in rows]
    balls = [arb.enclose(functools.partial(compute, *row), rel_bits=60) for row in exact]
    return Ball.stack(balls, first.shape[:-1])


@claim(
    given=_tensors,
    reference=importance_estimate,
    mutants={
        "the weights are inverted (q/p for p/q)": lambda e: lambda w, f: e(-w, f),
        "the weights are normalised": lambda e: lambda w, f: self_normalized_estimate(w, f),
        "it is summed over the draws (no mean)": lambda e: lambda w, f: e(w, f) * w.shape[-1],
        "the logarithms are averaged": lambda e: lambda w, f: w.mean(-1).exp() * f.mean(-1),
    },
    examples=60,
)
def estimate_equals_the_formula(
    estimate: Callable[[Tensor, Tensor], Tensor], log_weights: Tensor, values: Tensor
) -> Iterator[Residual]:
    r"""The estimate computed from log-weights is the weighted mean: $\frac1K\sum_k e^{\ell_k} f_k$.

    Error bound: 8 roundings of $\frac1K\sum_k e^{\ell_k}\lvert f_k\rvert(1 + \lvert\ell_k - \max\ell\rvert)$, since the
    difference of logarithms is rounded before its exponential is taken.
    """
    true = _by_row(
        log_weights, values,
        compute=lambda w, f: sum(arb.exp(a) * v for a, v in zip(w, f, strict=True)) / len(w),
    )  # fmt: skip
    wide = log_weights.double().cpu()
    spread = 1 + (wide - wide.amax(-1, keepdim=True)).abs()
    size = (wide.exp() * values.double().cpu().abs() * spread).mean(-1)
    yield close(estimate(log_weights, values), true, scale=size, what="the estimate")


@claim(
    given=lambda e, dtype: _tensors(e, dtype).flatmap(
        lambda t: st.tuples(st.sampled_from([t[0], t[0] * 30, torch.zeros_like(t[0]), t[0] / 64 + 1e3]))
    ),
    reference=effective_sample_size,
    mutants={
        "the exponentials are taken without a shift": lambda e: (
            lambda w: w.exp().sum(-1).square() / w.exp().square().sum(-1)
        ),
        "every draw is counted": lambda e: lambda w: w.shape[-1] * e(w) / e(w),
        "the number of draws is divided by": lambda e: lambda w: e(w) / w.shape[-1],
    },
    examples=60,
)
def effective_size_is_between_one_and_all(size: Callable[[Tensor], Tensor], log_weights: Tensor) -> Iterator[Residual]:
    r"""The effective sample size is at least one and at most the number of draws: $1 \le (\sum w)^2/\sum w^2 \le K$.

    Error bound: 8 roundings of the value for the inequalities. Against the definition 16, times $1 + \sum_k p_k
    \lvert\ell_k - \max\ell\rvert$ with p the normalised squared or plain weights, for the rounding of the differences.
    """
    value, k = size(log_weights), log_weights.shape[-1]
    scale = value.detach().double().cpu().abs()
    yield at_most(torch.ones_like(value), value, ulps=8, scale=scale, what="1 <= effective size")
    yield at_most(value, torch.full_like(value, float(k)), ulps=8, scale=scale, what="effective size <= K")

    def definition(w: list[Any]) -> Any:
        weights = [arb.exp(a - w[0]) for a in w]
        total = sum(weights)
        return total * total / sum(a * a for a in weights)

    wide = log_weights.double().cpu()
    gap = (wide - wide.amax(-1, keepdim=True)).abs()
    cond = 1 + ((torch.softmax(wide, -1) + torch.softmax(2 * wide, -1)) * gap).sum(-1)
    yield close(value, _by_row(log_weights, compute=definition), ulps=16, cond=cond, what="the effective size")
