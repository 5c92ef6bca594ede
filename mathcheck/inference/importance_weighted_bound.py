r"""The importance-weighted bound $L_K = \mathbb E\log\frac1K\sum_k w_k$ on the evidence, and its gradients.

$w_k = p(x, z_k)/q(z_k)$ for K independent draws $z_k \sim q$. $L_1$ is the ELBO, $L_K \le L_{K+1} \le \log p(x)$, and all are
equal if q is the posterior. The estimate of $L_K$ from K draws is not one of $\log p(x)$: its mean lies below.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, at_most, exactly
from mathcheck.engine.strategies import BATCH_SHAPES, Interval, of_each
from mathcheck.inference.evidence_bound import EvidenceBound, latent_models
from mathcheck.inference.gradient_estimator import GradientEstimator
from mathcheck.inference.noise import Normal
from mathcheck.inference.reparameterization import pathwise_gradient
from mathcheck.oracles import arb


def importance_weighted_bound(log_weights: Tensor) -> Tensor:
    r"""$\log\frac1K\sum_k e^{\ell_k} = m + \log\frac1K\sum_k e^{\ell_k - m}$ with $m = \max_k\ell_k$, over the last dimension.

    With the largest log-weight subtracted, no exponential exceeds 1 and the largest is 1: nothing overflows, and not all
    underflow. Draws of log-weight $-\infty$ have weight 0; if all have, the value is $-\infty$ and the gradient 0.

    Args:
        log_weights: $\ell_k = \log p(x, z_k) - \log q(z_k)$ for independent draws $z_k \sim q$, `(*batch, K)`, K at least 1.

    Returns:
        `(*batch,)`, differentiable: the gradient is each draw's share of the total weight.

    Raises:
        TypeError: if `log_weights` is no floating tensor.
        ValueError: if there are no draws.

    References:
        Burda, Grosse, Salakhutdinov, Importance weighted autoencoders (2016), equation (8).
    """
    arguments.vectors(log_weights=log_weights)
    top = log_weights.detach().amax(-1, keepdim=True)
    top = torch.where(top.isinf(), torch.zeros_like(top), top)
    total = (log_weights - top).exp().mean(-1)
    # Where all weights are 0 the logarithm's slope would be infinite, and its product with their gradients NaN.
    empty = total == 0
    value = torch.where(empty, torch.ones_like(total), total).log() + top.squeeze(-1)
    return torch.where(empty, torch.full_like(value, -math.inf), value)


importance_weighted = EvidenceBound(importance_weighted_bound, batch_shapes=BATCH_SHAPES)


# The datum of the normal model z ~ N(0, 1), x | z ~ N(z, 1) that the gradient is estimated on.
_DATUM = 1.5


def _two_draws(theta: Tensor, noise: Tensor) -> Tensor:
    r"""$\hat L_2$ of the normal model at $z_k = m + s\epsilon_k$, theta $(m, \log s)$ `(*batch, 2)`, noise `(*batch, 2)`."""
    mean, log_s = theta[..., :1], theta[..., 1:]
    z = mean + log_s.exp() * noise
    # p(x, z) / q(z) with the constants log 2 pi of p(x, z) and half of it of q.
    log_weights = -(z**2) / 2 - (_DATUM - z) ** 2 / 2 + noise**2 / 2 + log_s - math.log(2 * math.pi) / 2
    return importance_weighted_bound(log_weights)


def _bound_gradient(theta: Tensor, noise: Tensor) -> Tensor:
    return pathwise_gradient(theta, noise, lambda rows, eps: eps, _two_draws)


two_draws = GradientEstimator(
    _bound_gradient,
    _two_draws,
    (Interval(reach=2.0), Interval(-0.9, 0.2, reach=0.9)),
    Normal(2, nodes=24),
    batch_shapes=BATCH_SHAPES,
)

# (log-weights, probabilities, K) -> L_K of a finite model, by whatever form of the estimate.
Expected = Callable[[Sequence[Any], Sequence[Any], int], Any]
# (values, m) -> the mean over all m-subsets of the mean of the chosen values.
SubsetMean = Callable[[Sequence[Fraction], int], Fraction]


def subset_mean(values: Sequence[Fraction], m: int) -> Fraction:
    r"""$\binom km^{-1}\sum_{\lvert I\rvert = m}\frac1m\sum_{i\in I} a_i$ over the m-subsets I of $\{1, \dots, k\}$.

    Args:
        values: $a_1, \dots, a_k$.
        m: from 1 to k.

    Raises:
        TypeError, ValueError: for values that are no fractions, or m out of range.
    """
    arguments.sequences(Fraction, values=values)
    arguments.at_least(1, m=m)
    if m > len(values):
        raise ValueError(f"m must be at most the number of values, {len(values)}, got {m}")
    subsets = list(itertools.combinations(values, m))
    return sum((sum(chosen, Fraction(0)) / m for chosen in subsets), Fraction(0)) / len(subsets)


def expected_bound(log_weights: Sequence[Any], q: Sequence[Any], draws: int) -> Any:
    r"""$L_K = \sum_{z_1, \dots, z_K} q(z_1)\cdots q(z_K)\,\log\frac1K\sum_k e^{\ell_{z_k}}$ of a finite model, enclosed.

    Args:
        log_weights, q: one ball for each of the n outcomes.
        draws: K, at least 1; there are $n^K$ tuples.

    Raises:
        TypeError, ValueError: for arguments that are not so.
    """
    arguments.rows(log_weights=log_weights, q=q)
    arguments.at_least(1, draws=draws)
    arguments.same_length(log_weights=log_weights, q=q)
    return latent_models.expected_bound(log_weights, q, draws)


def _rational_lists(mean: SubsetMean, dtype: torch.dtype) -> st.SearchStrategy[tuple[list[Fraction], int]]:
    fractions = st.fractions(min_value=-20, max_value=20, max_denominator=12)
    lists = st.lists(fractions, min_size=1, max_size=5)
    return lists.flatmap(lambda values: st.tuples(st.just(values), st.integers(1, len(values))))


@claim(
    given=_rational_lists,
    reference=subset_mean,
    mutants={
        "the first m values are taken for the chosen ones": lambda mean: lambda a, m: sum(a[:m], Fraction(0)) / m,
        "the chosen values are summed": lambda mean: lambda a, m: mean(a, m) * m,
        "the subsets overlap the first value": lambda mean: (
            lambda a, m: (
                sum((sum(c, a[0]) for c in itertools.combinations(a[1:], m - 1)), Fraction(0))
                / (m * max(1, math.comb(len(a) - 1, m - 1)))
            )
        ),
    },
)
def means_over_subsets_average_to_the_mean(mean: SubsetMean, values: list[Fraction], m: int) -> Iterator[Residual]:
    r"""The mean over a random subset has the mean of all values for its mean.

    $\mathbb E_I\big[\tfrac1m\sum_{i\in I} a_i\big] = \frac1k\sum_{i=1}^k a_i$ for I uniform on the m-subsets of
    $\{1, \dots, k\}$.

    Error bound: 0, in rational arithmetic over all subsets.
    """
    yield exactly(mean(values, m), sum(values, Fraction(0)) / len(values), what="mean over all subsets")


def _finite(expected: Expected, dtype: torch.dtype) -> st.SearchStrategy[tuple[list[float], list[int]]]:
    weights = Interval(reach=20.0).elements(torch.float64)

    def of(n: int) -> st.SearchStrategy[tuple[list[float], list[int]]]:
        return st.tuples(st.lists(weights, min_size=n, max_size=n), st.lists(st.integers(1, 9), min_size=n, max_size=n))

    return of_each(st.integers(2, 3), of)


def _mutant(change: Callable[[Expected, Sequence[Any], Sequence[Any], int], Any]) -> Callable[[Expected], Expected]:
    return lambda expected: lambda w, q, draws: change(expected, w, q, draws)


@claim(
    given=_finite,
    reference=expected_bound,
    mutants={
        "the mean of the weights is a sum": _mutant(
            lambda e, w, q, draws: e([v + arb.log(arb.exact(draws)) for v in w], q, draws)
        ),
        "the draws are uniform and not from the proposal": _mutant(
            lambda e, w, q, draws: e(w, [arb.exact(1) / len(q)] * len(q), draws)
        ),
        "the bounds are listed backwards": _mutant(lambda e, w, q, draws: e(w, q, 5 - draws)),
    },
    uses=(means_over_subsets_average_to_the_mean,),
    examples=25,
)
def more_draws_tighten_the_bound(expected: Expected, log_weights: list[float], masses: list[int]) -> Iterator[Residual]:
    r"""The bound increases with the number of draws and never exceeds the evidence.

    $L_1 \le L_2 \le L_3 \le L_4 \le \log\sum_z p(x, z)$ for every finite model.

    Error bound: the radii of both sides in ball arithmetic, over all tuples of outcomes.
    """
    with arb.precision(160):
        w, total = [arb.exact(v) for v in log_weights], sum(masses)
        q = [arb.exact(Fraction(m, total)) for m in masses]
        bounds = [expected(w, q, draws) for draws in range(1, 5)]
        evidence = arb.to_ball(latent_models.log_evidence(w, q), "evidence in ball arithmetic")
    for draws, (lower, upper) in enumerate(itertools.pairwise([*bounds, evidence]), start=1):
        name = f"L_{draws + 1}" if draws < len(bounds) else "log p(x)"
        yield at_most(lower, upper, what=f"L_{draws} <= {name}")
    yield at_most(bounds[0], evidence, what="L_1 <= log p(x)")
