r"""The nearest-neighbour estimator of the Kullback-Leibler divergence from two samples.

$\hat D = \frac dn\sum_i \log\frac{\nu_k(i)}{\rho_k(i)} + \log\frac m{n-1}$ where $\rho_k(i)$ is the distance from $x_i$ to
its k-th neighbour among the other $x$ and $\nu_k(i)$ that to its k-th neighbour among the $y$. On the circle, with both samples
uniform, its mean is known exactly: $\psi(n) - \psi(m + 1) + \log\frac m{n-1}$ for every k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import flint
import torch
from hypothesis import strategies as st
from scipy import special
from scipy.spatial import cKDTree
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, close
from mathcheck.oracles import arb, statistics

Estimator = Callable[..., Tensor]


def nearest_neighbour_kl(x: Tensor, y: Tensor, k: int = 3, *, period: float | None = None) -> Tensor:
    r"""$\frac dn\sum_i \log\frac{\nu_k(i)}{\rho_k(i)} + \log\frac m{n-1}$, an estimate of $\mathrm{KL}(P\,\|\,Q)$ in nats.

    Consistent for densities as n and m grow with k fixed, but biased at finite n, and often negative where the divergence
    is small. It needs samples without repetitions: where a point of x has more than k - 1 copies of itself among the
    others $\rho_k = 0$ and the estimate is infinite, where it has k among the y it is minus infinity, and NaN where both
    occur. A Markov chain that repeats its state has to be thinned first.

    Args:
        x: `(n, d)`, draws from P, n above k.
        y: `(m, d)`, draws from Q, m at least k.
        k: which neighbour, at least 1.
        period: if given, every coordinate is taken modulo it: a circle or torus instead of the plane.

    Returns:
        A number without dimensions, in the dtype of x; not differentiable.

    Raises:
        TypeError, ValueError: for samples that are not finite floating tensors of such shapes, dtype and device, or k or
            the period out of range.

    References:
        Wang, Kulkarni, Verdu (2009), Divergence estimation for multidimensional densities via k-nearest-neighbor
        distances, IEEE Transactions IT-55, equation (14).
    """
    arguments.finite_floating(x=x, y=y)
    arguments.at_least(1, k=k)
    if period is not None:
        arguments.positive(period=period)
    for name, t, least in (("x", x, k + 1), ("y", y, k)):
        if t.ndim != 2 or t.shape[0] < least or t.shape[1] < 1:
            raise ValueError(f"{name} must have shape (n, d) with n >= {least} and d >= 1, got {tuple(t.shape)}")
        if t.shape[1] != x.shape[1]:
            raise ValueError(f"{name} has {t.shape[1]} columns, expected {x.shape[1]} as x")
    points = [t.detach().double().cpu().numpy() for t in (x, y)]
    if period is not None:
        # The remainder of a tiny negative number is the period itself after rounding, which the tree refuses.
        points = [p % period % period for p in points]
    (n, d), m = x.shape, len(y)
    tree = cKDTree(points[0], boxsize=period)
    # In the tree's order points that are asked after each other lie side by side, and find the same nodes in the cache.
    asked = points[0][tree.indices]
    own = tree.query(asked, k=[k + 1])[0][:, 0]
    other = cKDTree(points[1], boxsize=period).query(asked, k=[k])[0][:, 0]
    ratios = torch.from_numpy(other).log() - torch.from_numpy(own).log()
    return (d * ratios.mean() + math.log(m / (n - 1))).to(x)


def null_mean_on_the_circle(n: int, m: int) -> float:
    r"""$\psi(n) - \psi(m + 1) + \log\frac m{n - 1}$: the estimator's mean for two uniform samples on a circle, any k.

    Args:
        n: draws from P, at least 2.
        m: draws from Q, at least 1.

    Raises:
        TypeError, ValueError: if there are too few draws.
    """
    arguments.at_least(2, n=n)
    arguments.at_least(1, m=m)
    return float(special.digamma(n) - special.digamma(m + 1)) + math.log(m / (n - 1))


def null_variance_bound(n: int, m: int, k: int) -> float:
    r"""$2\,[2\psi'(k) - \psi'(n) - \psi'(m + 1)]$, above the variance of $\hat D$ for two uniform samples on a circle.

    $\hat D$ is a mean of n identically distributed terms $\log\nu_k - \log\rho_k$, so its variance is at most that of one, and
    that is at most twice the sum of the two variances, $\psi'(k) - \psi'(m + 1)$ and $\psi'(k) - \psi'(n)$. It does not use that
    distant terms are nearly independent, and is larger than the truth by a factor of about n.

    Args:
        n: draws from P, above k.
        m: draws from Q, at least k.
        k: which neighbour, at least 1.

    Raises:
        TypeError, ValueError: if there are too few draws.
    """
    arguments.at_least(1, k=k)
    arguments.at_least(k + 1, n=n)
    arguments.at_least(k, m=m)
    return 2 * float(2 * special.polygamma(1, k) - special.polygamma(1, n) - special.polygamma(1, m + 1))


def null_estimates(
    sampler: Callable[[int, torch.Generator], Tensor],
    n: int,
    m: int,
    k: int,
    repetitions: int,
    generator: torch.Generator,
) -> Tensor:
    r"""What the estimator says of two samples of one distribution: its null distribution, `(repetitions,)`, by simulation.

    An estimate from real samples that lies within it shows no difference; the distance from its upper quantile to its mean
    is about the smallest divergence that one estimate can tell from 0.

    Args:
        sampler: called as `sampler(count, generator)`; returns `(count, d)` independent draws.
        n: draws in the first sample.
        m: draws in the second sample.
        k: which neighbour.
        repetitions: at least 1.
        generator: of the draws.

    Raises:
        TypeError, ValueError: for arguments of another type, or `repetitions` less than 1.
    """
    arguments.functions(sampler=sampler)
    arguments.at_least(1, n=n, m=m, k=k, repetitions=repetitions)
    arguments.instances(torch.Generator, generator=generator)
    pairs = ((sampler(n, generator), sampler(m, generator)) for _ in range(repetitions))
    return torch.stack([nearest_neighbour_kl(x, y, k) for x, y in pairs])


def _by_sorting(x: Tensor, y: Tensor, k: int, period: float | None = None) -> Any:
    """The estimate as a ball, from all distances; the logarithms of squares save the roots."""
    rows = [[[arb.exact(v) for v in row] for row in t.tolist()] for t in (x, y)]
    (n, d), m = x.shape, len(y)

    def square(a: list[Any], b: list[Any]) -> Any:
        total = arb.exact(0)
        for u, v in zip(a, b, strict=True):
            gap = abs(u - v)
            if period is not None and gap > arb.exact(period) / 2:
                gap = arb.exact(period) - gap
            total = total + gap * gap
        return total

    total: Any = flint.arb(0)
    for i, a in enumerate(rows[0]):
        own = sorted((square(a, b) for j, b in enumerate(rows[0]) if j != i), key=lambda v: float(v.mid()))
        other = sorted((square(a, b) for b in rows[1]), key=lambda v: float(v.mid()))
        total = total + arb.log(other[k - 1]) - arb.log(own[k - 1])
    return total * d / (2 * n) + arb.log(arb.exact(m) / (n - 1))


def _clouds(f: Estimator, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor, int]]:
    def of(n: int, m: int, d: int, k: int, scale: float, generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
        x, y = (torch.randn(size, d, generator=generator, dtype=torch.float64).to(dtype) for size in (n, m))
        return x, y * scale, k

    sizes = st.integers(4, 9)
    return st.builds(
        of,
        sizes,
        sizes,
        st.integers(1, 3),
        st.integers(1, 3),
        st.sampled_from([1.0, 0.1, 5.0]),
        strategies.generators(),
    )


def _constant(x: Tensor, y: Tensor) -> float:
    return math.log(len(y) / (len(x) - 1))


def _self_counted(x: Tensor, y: Tensor, k: int, period: float = math.inf) -> Tensor:
    """The slip of asking a tree for k neighbours of its own points, of which the first is the point itself."""

    def kth(others: Tensor) -> Tensor:
        gaps = (x.unsqueeze(1) - others).abs()
        distances: Tensor = torch.linalg.vector_norm(gaps.minimum(period - gaps), dim=-1)
        return distances.kthvalue(k).values

    ratios: Tensor = kth(y).log() - kth(x).log()
    return x.shape[1] * ratios.mean() + _constant(x, y)


@claim(
    given=_clouds,
    reference=nearest_neighbour_kl,
    mutants={
        "a point counts as its own neighbour": lambda f: lambda x, y, k: _self_counted(x, y, k),
        "m/n stands for m/(n - 1)": lambda f: lambda x, y, k: f(x, y, k) + math.log((len(x) - 1) / len(x)),
        "the dimension is forgotten": lambda f: (
            lambda x, y, k: _constant(x, y) + (f(x, y, k) - _constant(x, y)) / x.shape[1]
        ),
        "the samples are swapped": lambda f: lambda x, y, k: f(y, x, k),
    },
    examples=40,
)
def estimate_is_that_of_all_distances(f: Estimator, x: Tensor, y: Tensor, k: int) -> Iterator[Residual]:
    r"""The tree finds the neighbours that a comparison of all distances finds.

    $\hat D = \frac d{2n}\sum_i \log\frac{\nu_k^2(i)}{\rho_k^2(i)} + \log\frac m{n - 1}$.

    Error bound: 8 roundings of the value and of $d(d + 2) + 10d$: coordinates' differences have a relative error of one
    rounding, so each logarithm an absolute one of $d + 2$, and the logarithms that are subtracted stay below 5 here.
    """
    true = arb.enclose(lambda: _by_sorting(x, y, k), source="all distances in ball arithmetic")
    d = x.shape[1]
    scale = true.mid.abs() + d * (d + 2) + d * 10
    yield close(f(x, y, k), true, scale=scale, what="estimate")


@claim(
    given=_clouds,
    reference=nearest_neighbour_kl,
    mutants={
        "distances are not divided by one another": lambda f: lambda x, y, k: f(x, y, k) + x.std().log(),
        "only one sample is standardised": lambda f: lambda x, y, k: f(x / x.std(), y, k),
    },
    examples=40,
)
def scale_and_place_do_not_matter(f: Estimator, x: Tensor, y: Tensor, k: int) -> Iterator[Residual]:
    r"""Moving or stretching both samples alike changes nothing: $\hat D(ax + b, ay + b) = \hat D(x, y)$.

    Error bound: 8 roundings of the terms, as in `estimate_is_that_of_all_distances`. The stretch is a power of two and the
    move a reflection, both exact.
    """
    d = x.shape[1]
    value = f(x, y, k)
    scale = float(value.abs()) + d * (d + 2) + d * 10
    yield close(f(-8 * x, -8 * y, k), value.double(), scale=scale, what="estimate, stretched")


@claim(
    given=lambda f, dtype: st.tuples(
        st.sampled_from([(12, 12), (8, 20), (16, 6)]), st.integers(1, 3), strategies.generators()
    ),
    reference=lambda x, y, k: nearest_neighbour_kl(x, y, k, period=1.0),
    mutants={
        "m/(n - 1) is turned over": lambda f: lambda x, y, k: f(x, y, k) - 2 * _constant(x, y),
        "m/(n - 1) is left out": lambda f: lambda x, y, k: f(x, y, k) - _constant(x, y),
        "a point counts as its own neighbour": lambda f: lambda x, y, k: _self_counted(x, y, k, 1.0),
    },
    examples=3,
)
def null_mean_is_exact_on_the_circle(
    f: Estimator, sizes: tuple[int, int], k: int, generator: torch.Generator
) -> Iterator[Residual]:
    r"""Two uniform samples on a circle have an estimate of known mean.

    $\mathbb E\hat D = \psi(n) - \psi(m + 1) + \log\frac m{n - 1}$ for every k: $2\rho_k$ and $2\nu_k$ have the laws
    $\mathrm{Beta}(k, n - k)$ and $\mathrm{Beta}(k, m - k + 1)$.

    Error bound: Catoni's, with the variance bound of `null_variance_bound`; alpha is $10^{-6}$, and the smallest shift that
    would have been caught is reported.
    """
    n, m = sizes
    draws = [torch.rand(600, size, 1, generator=generator, dtype=torch.float64) for size in (n, m)]
    estimates = torch.stack([f(x, y, k) for x, y in zip(*draws, strict=True)])
    yield statistics.catoni_mean(
        estimates, null_mean_on_the_circle(n, m), null_variance_bound(n, m, k), what="mean estimate"
    )
