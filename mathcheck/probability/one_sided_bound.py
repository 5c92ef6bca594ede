r"""How many values can lie k standard deviations above the mean: at most $1/(1 + k^2)$ of any distribution.

A rule that flags what lies above $\mu + k\sigma$ flags a share that depends on the distribution: 0.135 % of a normal one
for k = 3, and up to 10 % of others. The bound is Cantelli's, and some distribution attains it for every k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.oracles import arb

Bound = Callable[[Fraction], Fraction]


def cantelli_bound(k: Fraction) -> Fraction:
    r"""$\frac1{1 + k^2}$: the largest probability of a value of at least $\mu + k\sigma$.

    Args:
        k: at least 0; how many standard deviations.

    Raises:
        TypeError: if `k` is no rational number.
        ValueError: if `k` is negative.

    References:
        Cantelli (1928), Sui confini della probabilità.
    """
    if not isinstance(k, (int, Fraction)) or isinstance(k, bool):
        raise TypeError(f"k must be a whole number or a Fraction, got {type(k).__name__}")
    if k < 0:
        raise ValueError(f"k must be at least 0, got {k}")
    return 1 / (1 + Fraction(k) ** 2)


def deviations_above(scores: Tensor, k: float) -> Tensor:
    r"""$\bar s + k\sqrt{\tfrac1n\sum_i (s_i - \bar s)^2}$: the threshold of a rule that flags larger scores.

    The deviation is that of the n scores themselves (divided by n), so that at most a share of $1/(1 + k^2)$ of them
    lies at or above the threshold, whatever they are.

    Args:
        scores: `(*batch, n)`, n at least 1; finite.
        k: at least 0; how many standard deviations.

    Returns:
        `(*batch,)`, differentiable unless all scores are equal.

    Raises:
        TypeError, ValueError: if `scores` is no floating tensor with an entry, or `k` is negative or not finite.
    """
    arguments.vectors(scores=scores)
    arguments.finite(k=k)
    if k < 0:
        raise ValueError(f"k must be at least 0, got {k}")
    return scores.mean(-1) + k * scores.std(-1, correction=0)


def _sharpest(k: Fraction) -> tuple[list[int], list[int]]:
    """The values k and -1/k with probabilities 1 and k^2 over 1 + k^2, times whole numbers."""
    n, d = k.numerator, k.denominator
    return [n * n, -d * d], [d * d, n * n]


def _laws(bound: Bound, dtype: torch.dtype) -> st.SearchStrategy[tuple[list[int], list[int], Fraction]]:
    """Values, their weights, and k in quarters; half of the time the two values that attain the bound."""
    ks = st.integers(1, 16).map(lambda j: Fraction(j, 4))
    numbers = st.lists(st.tuples(st.integers(-20, 20), st.integers(1, 9)), min_size=2, max_size=5)
    drawn = st.tuples(numbers, ks).map(lambda t: ([v for v, _ in t[0]], [w for _, w in t[0]], t[1]))
    return st.one_of(ks.map(lambda k: (*_sharpest(k), k)), drawn)


@claim(
    given=_laws,
    reference=cantelli_bound,
    mutants={
        "the distribution is taken for a normal one": lambda bound: (
            lambda k: Fraction(math.erfc(float(k) / math.sqrt(2)) / 2)
        ),
        "the distribution is taken for unimodal": lambda bound: lambda k: Fraction(4, 9) * bound(k),
        "half of Chebyshev's two-sided bound is taken": lambda bound: lambda k: min(Fraction(1), 1 / k**2) / 2,
        "k is not squared": lambda bound: lambda k: 1 / (1 + k),
        "the bound for two sides is taken (1 / k^2)": lambda bound: lambda k: 1 / k**2,
    },
)
def no_distribution_has_more_above(
    bound: Bound, values: list[int], weights: list[int], k: Fraction
) -> Iterator[Residual]:
    r"""No distribution has more than a share of 1/(1 + k^2) at k standard deviations above its mean, and one has as much.

    $P(S \ge \mu + k\sigma) \le \frac{1}{1 + k^2}$ if $\sigma > 0$, with equality for the values k and $-1/k$ with
    probabilities $\frac1{1+k^2}$ and $\frac{k^2}{1+k^2}$.

    Error bound: 0: rational numbers; $s \ge \mu + k\sigma$ is decided by $s \ge \mu$ and $(s - \mu)^2 \ge k^2\sigma^2$.
    """
    share = share_above(values, weights, k)
    allowed = bound(k)
    if share is not None:
        yield Residual(
            max(float(share - allowed), 0.0),
            0.0,
            Kind.EXACT,
            "P(S >= mu + k sigma)",
            float(share),
            float(allowed),
            source="rational arithmetic",
        )
    attained = share_above(*_sharpest(k), k)
    yield exactly(allowed, attained, kind=Kind.EXACT, what="the bound and the largest share")


def share_above(values: list[int], weights: list[int], k: Fraction) -> Fraction | None:
    r"""$P(S \ge \mu + k\sigma)$ of a distribution on finitely many whole numbers, without rounding; None if $\sigma = 0$.

    Args:
        values: whole numbers.
        weights: positive; the probabilities times their sum.
        k: at least 0.

    Raises:
        TypeError, ValueError: for arguments that are not so.
    """
    arguments.sequences(int, values=values, weights=weights)
    arguments.same_length(values=values, weights=weights)
    cantelli_bound(k)
    total = sum(weights)
    mean = Fraction(sum(v * w for v, w in zip(values, weights, strict=True)), total)
    variance = sum((w * (v - mean) ** 2 for v, w in zip(values, weights, strict=True)), Fraction(0)) / total
    if not variance:
        return None
    above = [w for v, w in zip(values, weights, strict=True) if v >= mean and (v - mean) ** 2 >= k**2 * variance]
    return Fraction(sum(above), total)


def _scores(threshold: object, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, float]]:
    numbers = st.one_of(st.integers(-8, 8).map(float), strategies.log_uniform(1e-3, 1e3))
    shapes = strategies.of_each(st.sampled_from(BATCH_SHAPES), lambda b: st.integers(1, 6).map(lambda n: (*b, n)))
    return st.tuples(
        strategies.of_each(shapes, lambda s: strategies.tensors(s, dtype, numbers)),
        st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    )


@claim(
    given=_scores,
    reference=deviations_above,
    mutants={
        "the variance is taken for the standard deviation": lambda f: (
            lambda s, k: f(s, 0.0) + k * s.var(-1, correction=0)
        ),
        "the sum of squares is divided by n - 1": lambda f: (
            lambda s, k: f(s, 0.0) + (k * s.std(-1) if s.shape[-1] > 1 else 0.0)
        ),
        "the deviations are subtracted": lambda f: lambda s, k: 2 * f(s, 0.0) - f(s, k),
        "the mean is left out": lambda f: lambda s, k: f(s, k) - f(s, 0.0),
        "the batch shares one threshold": lambda f: lambda s, k: f(s.reshape(-1), k).expand(s.shape[:-1]),
    },
    uses=(no_distribution_has_more_above,),
)
def threshold_is_accurate(threshold: Callable[[Tensor, float], Tensor], scores: Tensor, k: float) -> Iterator[Residual]:
    r"""The threshold is the mean plus k standard deviations of the scores: $\bar s + k\sqrt{\tfrac1n\sum_i(s_i-\bar s)^2}$.

    Error bound: $2n + 8$ roundings of $(1 + k)\max_i\lvert s_i\rvert\sqrt n$, plus the oracle's radius.
    """
    n, balls = scores.shape[-1], []
    for row in scores.reshape(-1, n):

        def true(row: Tensor = row) -> object:
            entries = arb.exact_list(row)
            mean = sum(entries) / n
            return mean + arb.exact(k) * arb.sqrt(sum((v - mean) ** 2 for v in entries) / n)

        balls.append(arb.enclose(true, source="ball arithmetic"))
    scale = (1 + k) * scores.double().cpu().abs().amax(-1) * math.sqrt(n)
    yield close(
        threshold(scores, k), Ball.stack(balls, scores.shape[:-1]), ulps=2 * n + 8, scale=scale, what="threshold"
    )
