r"""Importance sampling: means under p from draws of q, by weights $w = p/q$ that are known by their logarithms.

$\mathbb E_q[w f] = \mathbb E_p[f]$ if q is positive wherever $p f$ is not 0; what lies where q is 0 is lost without a
trace. One draw has the variance $\mathbb E_p[w f^2] - (\mathbb E_p f)^2$, K draws the K-th part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

import torch
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, exactly
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.oracles import enumeration
from mathcheck.probability.importance import Importance
from mathcheck.probability.importance.finite_proposals import problems
from mathcheck.probability.log_mean_exp import log_mean_exp


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
    arguments.alike(log_weights=log_weights, values=values)
    arguments.vectors(log_weights=log_weights)
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
    arguments.vectors(log_weights=log_weights)
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
    arguments.alike(log_weights=log_weights, values=values)
    arguments.vectors(log_weights=log_weights)
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
    arguments.vectors(log_weights=log_weights)
    _, relative = _relative(log_weights)
    squares = relative.square().sum(-1)
    return relative.sum(-1).square() / torch.where(squares > 0, squares, torch.ones_like(squares))


# The same in rational arithmetic, for proofs by enumeration.
Weights = Sequence[Fraction]
Mean = Callable[[Weights, Weights], Fraction]
Variance = Callable[[Weights, Weights, Weights, int], Fraction]


def weighted_mean(weights: Weights, values: Weights) -> Fraction:
    r"""$\frac1K\sum_k w_k f_k$ of rational numbers.

    Args:
        weights, values: `(K,)`, K at least 1.

    Raises:
        TypeError, ValueError: for arguments that are not so.
    """
    arguments.sequences((Fraction, int), weights=weights, values=values)
    arguments.rows(weights=weights)
    arguments.same_length(weights=weights, values=values)
    return sum((w * f for w, f in zip(weights, values, strict=True)), Fraction(0)) / len(weights)


def estimate_variance(p: Weights, q: Weights, f: Weights, draws: int) -> Fraction:
    r"""$\frac1K\big(\sum_x \frac{p(x)^2 f(x)^2}{q(x)} - (\sum_x p(x) f(x))^2\big)$ over the outcomes with $q(x) > 0$.

    Args:
        p, q: probabilities of the outcomes, `(n,)`; q is positive wherever p is.
        f: values, `(n,)`.
        draws: K, at least 1.

    Raises:
        TypeError, ValueError: for arguments that are not so.
    """
    arguments.sequences((Fraction, int), p=p, q=q, f=f)
    arguments.same_length(p=p, q=q, f=f)
    arguments.at_least(1, draws=draws)
    mean = sum((a * v for a, v in zip(p, f, strict=True)), Fraction(0))
    square = sum((a * a * v * v / b for a, b, v in zip(p, q, f, strict=True) if b), Fraction(0))
    return (square - mean * mean) / draws


def _estimates(mean: Mean, p: Weights, q: Weights, f: Weights, draws: int) -> dict[Fraction, Fraction]:
    """The exact distribution of the estimate from `draws` draws of q."""
    paths = enumeration.product(dict(enumerate(q)), draws)
    return enumeration.pushforward(paths, lambda xs: mean([p[x] / q[x] for x in xs], [f[x] for x in xs]))


@claim(
    given=problems,
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
)
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
    given=problems,
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


plain = Importance(
    importance_estimate,
    effective_size=effective_sample_size,
    log_evidence=log_importance_estimate,
    batch_shapes=BATCH_SHAPES,
)
self_normalized = Importance(
    self_normalized_estimate,
    self_normalized=True,
    effective_size=effective_sample_size,
    log_evidence=log_importance_estimate,
    batch_shapes=BATCH_SHAPES,
)
