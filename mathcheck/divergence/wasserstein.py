r"""The Wasserstein distance $W_1$ on the line, its dual bound, and the one-sided Lipschitz penalty.

$W_1(P, Q) = \int\lvert F - G\rvert = \max_h \mathbb E_P[h] - \mathbb E_Q[h]$ over the functions h of slope at most 1. To train
h, $\lambda\,\mathbb E[(\lvert h'\rvert - 1)_+^2]$ is taken off; that leaves the bound above $W_1$: for two points at distance d
the penalised maximum is $d + d^2/(4\lambda)$.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, close, exactly, fraction_ball
from mathcheck.engine.strategies import log_uniform, of_each, tensors
from mathcheck.oracles import arb

Distance = Callable[[Tensor, Tensor], Tensor]
Weighted = Callable[[Tensor, Tensor, Tensor], Tensor]
Penalty = Callable[[Tensor], Tensor]


def _check_laws(places: Tensor, p: Tensor, q: Tensor) -> None:
    arguments.alike(places=places, p=p, q=q)
    arguments.distributions(p=p, q=q)
    if not bool((places.diff(dim=-1) > 0).all()):
        raise ValueError(f"places must increase, got {places.flatten().tolist()[:8]}")


def wasserstein_samples(x: Tensor, y: Tensor) -> Tensor:
    r"""$W_1$ of two samples on the line: $\int\lvert F_x - F_y\rvert$; $\frac1n\sum_i\lvert x_{(i)} - y_{(i)}\rvert$ if $n = m$.

    In general the quantile functions are compared on the $n + m$ pieces between the levels $i/n$ and $j/m$.

    Args:
        x: `(*batch, n)`, in any order, ties allowed.
        y: `(*batch, m)`.

    Returns:
        `(*batch,)`, never negative, differentiable wherever it is.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one batch shape, dtype and device.

    References:
        Vallender (1974), Calculation of the Wasserstein distance between probability distributions on the line.
    """
    arguments.vectors(x=x, y=y)
    if x.shape[:-1] != y.shape[:-1]:
        raise ValueError(f"y must have shape {(*x.shape[:-1], 'm')} with the batch of x, got {tuple(y.shape)}")
    n, m = x.shape[-1], y.shape[-1]
    x, y = x.sort(-1).values, y.sort(-1).values
    if n == m:
        return (x - y).abs().sum(-1) / n
    # Levels in units of 1/(n m), in whole numbers.
    grid = torch.tensor(sorted({*range(0, n * m + 1, m), *range(0, n * m, n)}))
    width = (grid.diff().to(x) / (n * m)).to(x.device)
    left = grid[:-1]
    gaps = (x[..., (left // m).to(x.device)] - y[..., (left // n).to(x.device)]).abs()
    value: Tensor = (gaps * width).sum(-1)
    return value


def wasserstein(places: Tensor, p: Tensor, q: Tensor) -> Tensor:
    r"""$\sum_i \lvert F_i - G_i\rvert\,(x_{i+1} - x_i)$: $W_1$ of two distributions on the same places $x_1 < \dots < x_n$.

    Args:
        places: `(*batch, n)`, increasing.
        p: `(*batch, n)`, at least 0, summing to 1 within `4 n eps`; not renormalised.
        q: like p.

    Returns:
        `(*batch,)`, never negative.

    Raises:
        TypeError, ValueError: for arguments that are no places and distributions of one shape, dtype and device.
    """
    _check_laws(places, p, q)
    return ((p - q).cumsum(-1)[..., :-1].abs() * places.diff(dim=-1)).sum(-1)


def optimal_critic(places: Tensor, p: Tensor, q: Tensor) -> Tensor:
    r"""The values $h(x_i)$ of a function of slope $\pm 1$ (0 where F = G) with $\mathbb E_P[h] - \mathbb E_Q[h] = W_1(P, Q)$.

    $h' = -\mathrm{sign}(F - G)$ and $h(x_1) = 0$: mass of P that lies left of that of Q is paid for by a falling h.

    Args:
        places: as in `wasserstein`.
        p: as in `wasserstein`.
        q: as in `wasserstein`.

    Returns:
        `(*batch, n)`.

    Raises:
        TypeError, ValueError: as `wasserstein`.
    """
    _check_laws(places, p, q)
    rises = -(p - q).cumsum(-1)[..., :-1].sign() * places.diff(dim=-1)
    return torch.cat((torch.zeros_like(places[..., :1]), rises.cumsum(-1)), -1)


def lipschitz_penalty(gradient: Tensor) -> Tensor:
    r"""$\big(\lVert\nabla h\rVert - 1\big)_+^2$: what a critic pays where it is steeper than 1, and nothing where it is not.

    Args:
        gradient: $\nabla h$ at some points, `(*batch, n)`.

    Returns:
        `(*batch,)`; its derivative is 0 at a gradient of 0.

    Raises:
        TypeError, ValueError: if `gradient` is no floating tensor of that shape.

    References:
        Petzka, Fischer, Lukovnicov (2018), On the regularization of Wasserstein GANs, equation (8).
    """
    arguments.vectors(gradient=gradient)
    norm: Tensor = torch.linalg.vector_norm(gradient, dim=-1)
    return (norm - 1).clamp(min=0).square()


def mean_penalty(gradient: Tensor) -> Tensor:
    r"""$\frac1B\sum_b\big(\lVert\nabla h(x_b)\rVert - 1\big)_+^2$: one norm for each point, over all that it consists of.

    The gradient at an image is one vector, with an entry for every pixel of every channel.

    Args:
        gradient: $\nabla h$ at B points, `(B, *event)`.

    Returns:
        A number, `()`.

    Raises:
        TypeError, ValueError: if `gradient` is no floating tensor of that shape.
    """
    arguments.vectors(gradient=gradient)
    if gradient.ndim < 2:
        raise ValueError(f"gradient must have shape (B, *event), got {tuple(gradient.shape)}")
    return lipschitz_penalty(gradient.flatten(1)).mean()


def penalised_optimum(distance: Tensor, weight: Tensor) -> Tensor:
    r"""$d + d^2/(4\lambda) = \max_s \big[sd - \lambda(s - 1)_+^2\big]$, reached at the slope $s = 1 + d/(2\lambda)$.

    The maximum of $h(d) - h(0) - \lambda\,\mathbb E[(\lvert h'(U)\rvert - 1)_+^2]$, U uniform on [0, d], over all h: what a
    critic with a one-sided penalty reaches for two points at distance d, where $W_1 = d$.

    Args:
        distance: d, any shape, at least 0.
        weight: $\lambda$, like `distance`, positive.

    Returns:
        Like `distance`.

    Raises:
        TypeError, ValueError: if shapes, dtypes or devices differ, or a number is out of range.
    """
    arguments.alike(distance=distance, weight=weight)
    if not bool((distance >= 0).all()) or not bool((weight > 0).all()):
        raise ValueError(f"distance must be at least 0 and weight positive, got {distance} and {weight}")
    return distance + distance / (4 * weight) * distance


def _samples(f: Distance, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    number = st.sampled_from([0.0, 1.0, -1.0, 0.5, 3.0, 0.1, -2.7, 100.0])

    def sample(n: int) -> st.SearchStrategy[Tensor]:
        return st.lists(number, min_size=n, max_size=n).map(lambda v: torch.tensor(v, dtype=dtype))

    sizes = st.sampled_from([(3, 3), (1, 2), (2, 3), (4, 2), (4, 4)])
    return of_each(sizes, lambda s: st.tuples(sample(s[0]), sample(s[1])))


def transport_cost(x: list[Fraction], y: list[Fraction]) -> Fraction:
    r"""The cost of the cheapest transport between two samples, exactly: nm units, each moved from an $x_i$ to a $y_j$.

    Each $x_i$ holds m units and each $y_j$ takes n. Units are matched in order, and the plan's optimality is certified by
    duality: the cost equals $\mathbb E[h(X)] - \mathbb E[h(Y)]$ for a function h of slope at most 1 on all points.

    Args:
        x, y: at least one number each.

    Raises:
        TypeError, ValueError: if a sample is empty, or holds something other than fractions.
        ArithmeticError: if the certificate fails, which would be an error in this function.
    """
    arguments.sequences(Fraction, x=x, y=y)
    arguments.rows(x=x, y=y)
    n, m = len(x), len(y)
    units = list(zip(sorted(x * m), sorted(y * n), strict=True))
    cost = sum((abs(a - b) for a, b in units), Fraction(0)) / (n * m)
    points = sorted({*x, *y})
    h = {points[0]: Fraction(0)}
    for a, b in itertools.pairwise(points):
        ahead = Fraction(sum(v <= a for v in x), n) - Fraction(sum(v <= a for v in y), m)
        h[b] = h[a] - (b - a) * ((ahead > 0) - (ahead < 0))
    dual = sum((h[v] for v in x), Fraction(0)) / n - sum((h[v] for v in y), Fraction(0)) / m
    steep = any(abs(h[b] - h[a]) > b - a for a, b in itertools.pairwise(points))
    if dual != cost or steep:
        raise ArithmeticError(f"the plan of cost {cost} has no certificate: {dual}")
    return cost


@claim(
    given=_samples,
    reference=wasserstein_samples,
    mutants={
        "their means are compared": lambda f: lambda x, y: f(x.mean(-1, keepdim=True), y.mean(-1, keepdim=True)),
        "the differences are squared": lambda f: lambda x, y: f(x, y).square(),
        "it is summed, not averaged": lambda f: lambda x, y: f(x, y) * x.shape[-1],
        "only as many points are compared as both have": lambda f: (
            lambda x, y: (lambda k: f(x.sort(-1).values[..., :k], y.sort(-1).values[..., :k]))(
                min(x.shape[-1], y.shape[-1])
            )
        ),
    },
)
def samples_are_as_far_as_the_cheapest_transport(f: Distance, x: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""The distance of two samples is the cost of the cheapest transport.

    $W_1 = \min_\pi \sum_{ij}\pi_{ij}\lvert x_i - y_j\rvert$ over plans with row sums $1/n$ and column sums $1/m$.

    Error bound: $4 + n + m$ roundings of the value, a sum of non-negative terms. The plan's cost is rational and comes with
    a certificate that none is cheaper.
    """
    true = transport_cost(*([Fraction(v) for v in t.tolist()] for t in (x, y)))
    yield close(
        f(x, y), fraction_ball(true, "cheapest transport, certified"), ulps=4 + len(x) + len(y), what="W1(x, y)"
    )


def _laws(f: Any, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor, Tensor]]:
    """Places in quarters and laws in 64ths, so that sums are exact."""

    def law(n: int) -> st.SearchStrategy[Tensor]:
        cuts = st.lists(st.integers(0, 64), min_size=n - 1, max_size=n - 1).map(sorted)
        return cuts.map(lambda c: torch.tensor([*c, 64], dtype=dtype).diff(prepend=torch.zeros(1, dtype=dtype)) / 64)

    def of(n: int) -> st.SearchStrategy[tuple[Tensor, Tensor, Tensor]]:
        places = st.lists(st.integers(-20, 20), min_size=n, max_size=n, unique=True).map(sorted)
        return st.tuples(places.map(lambda v: torch.tensor(v, dtype=dtype) / 4), law(n), law(n))

    return of_each(st.integers(2, 5), of)


@claim(
    given=lambda f, dtype: st.tuples(_laws(f, dtype), st.lists(st.integers(-8, 8), min_size=5, max_size=5)).map(
        lambda t: (*t[0], t[1])
    ),
    reference=wasserstein,
    mutants={
        "the masses are compared, not the distribution functions": lambda f: (
            lambda x, p, q: ((p - q)[..., :-1].abs() * x.diff(dim=-1)).sum(-1)
        ),
        "the spacing of the places is ignored": lambda f: lambda x, p, q: (p - q).cumsum(-1).abs().sum(-1),
        "it is halved": lambda f: lambda x, p, q: f(x, p, q) / 2,
        "it is the distance of the means": lambda f: lambda x, p, q: (x * (p - q)).sum(-1).abs(),
    },
)
def every_lipschitz_function_is_a_bound(
    f: Weighted, places: Tensor, p: Tensor, q: Tensor, slopes: list[int]
) -> Iterator[Residual]:
    r"""No function of slope at most 1 tells two distributions further apart, and one does as far.

    $\mathbb E_P[h] - \mathbb E_Q[h] \le W_1(P, Q)$ for $\lvert h'\rvert \le 1$, with equality at the optimal critic.

    Error bound: 0; places are quarters and masses 64ths, so that all sums are exact in floats and in rationals.
    """
    x, a, b = ([Fraction(v) for v in t.tolist()] for t in (places, p, q))
    value = Fraction(float(f(places, p, q)))
    h = [Fraction(0)]
    for left, right, slope in zip(x, x[1:], slopes, strict=False):
        h.append(h[-1] + Fraction(slope, 8) * (right - left))
    gain = sum((u * (v - w) for u, v, w in zip(h, a, b, strict=True)), Fraction(0))
    yield exactly(gain <= value, True, what="E_P[h] - E_Q[h] <= W1")
    best = [Fraction(v) for v in optimal_critic(places, p, q).tolist()]
    steep = any(abs(best[i + 1] - best[i]) > x[i + 1] - x[i] for i in range(len(x) - 1))
    yield exactly(steep, False, what="the optimal critic is steeper than 1 somewhere")
    yield exactly(sum(u * (v - w) for u, v, w in zip(best, a, b, strict=True)), value, what="the optimal critic's gain")


@claim(
    given=lambda f, dtype: st.tuples(
        *[log_uniform(low, 100.0).map(lambda v: torch.tensor(v, dtype=dtype)) for low in (0.01, 0.1)], st.floats(0, 20)
    ),
    reference=penalised_optimum,
    mutants={
        "it is the Wasserstein distance": lambda f: lambda d, w: d,
        "the factor 4 is a 2": lambda f: lambda d, w: d + d * d / (2 * w),
        "the penalty is weighted by its inverse": lambda f: lambda d, w: f(d, 1 / w),
        "the penalty lowers it": lambda f: lambda d, w: 2 * d - f(d, w),
    },
)
def penalised_optimum_is_the_maximum(f: Distance, d: Tensor, weight: Tensor, slope: float) -> Iterator[Residual]:
    r"""The one-sided penalty leaves the optimum above the distance.

    $\max_{s\ge 0}\big[sd - \lambda(s-1)_+^2\big] = d + \frac{d^2}{4\lambda} > W_1(\delta_0, \delta_d) = d$.

    Error bound: 8 roundings of the value; the objective at any slope and at the optimal one is evaluated in rationals.
    """
    a, w, value = Fraction(float(d)), Fraction(float(weight)), f(d, weight)

    def objective(s: Fraction) -> Fraction:
        return s * a - w * max(s - 1, Fraction(0)) ** 2

    yield close(value, fraction_ball(objective(1 + a / (2 * w)), "objective in rationals"), what="the optimum")
    yield at_most(
        fraction_ball(objective(Fraction(slope))), value, ulps=8, scale=value, what="the objective <= optimum"
    )


@claim(
    given=lambda f, dtype: st.lists(
        st.sampled_from([0.0, 0.5, 1.0, -1.0, 2.0, 0.6, 0.8, -3.0]), min_size=2, max_size=2
    ).map(lambda v: (torch.tensor(v, dtype=dtype),)),
    reference=lipschitz_penalty,
    mutants={
        "slopes below 1 pay as well (two-sided)": lambda f: (
            lambda g: (torch.linalg.vector_norm(g, dim=-1) - 1).square()
        ),
        "the squared norm is compared with 1": lambda f: lambda g: (g.square().sum(-1) - 1).clamp(min=0).square(),
        "it is not squared": lambda f: lambda g: f(g).sqrt(),
    },
)
def penalty_is_one_sided(f: Penalty, gradient: Tensor) -> Iterator[Residual]:
    r"""Only gradients longer than 1 are penalised: $(\lVert\nabla h\rVert - 1)_+^2$.

    Error bound: with $r = \lVert\nabla h\rVert$, 8 roundings of the value and of $2 r (r - 1)_+$, its change under a rounding
    of r, plus the square of such a rounding where r is close to 1.
    """
    row = [arb.exact(v) for v in gradient.tolist()]
    eps = torch.finfo(gradient.dtype).eps
    norm = math.sqrt(sum(v * v for v in gradient.tolist()))
    with arb.precision(128):
        excess = arb.sqrt(sum((v * v for v in row), arb.exact(0))) - 1
        true = arb.to_ball(excess * excess if excess > 0 else arb.exact(0))
    scale = float(true.mid) + 2 * norm * max(norm - 1, 0.0) + 8 * eps * norm * norm
    yield close(f(gradient), Ball(true.mid, true.radius, kind=Kind.ENCLOSED), scale=scale, what="the penalty")


def _images(f: Penalty, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    """Gradients of two or three images `(B, channels, height, width)`."""
    shapes = st.sampled_from([(2, 2, 1, 2), (3, 2, 2, 1), (2, 3, 2, 2)])
    entries = st.sampled_from([0.0, 0.5, 1.0, -1.0, 2.0, 0.6, 0.8, -3.0])
    return of_each(shapes, lambda shape: tensors(shape, dtype, entries)).map(lambda gradient: (gradient,))


def _given(change: Callable[[Tensor], Tensor]) -> Callable[[Penalty], Penalty]:
    """The slip that is given `change` of the gradients as a matrix, a row for each image."""
    return lambda f: lambda gradient: f(change(gradient.flatten(1)))


def _norms(dims: int | tuple[int, ...]) -> Callable[[Penalty], Penalty]:
    return lambda f: lambda gradient: (gradient.norm(dim=dims) - 1).clamp(min=0).square().mean()


@claim(
    given=_images,
    reference=mean_penalty,
    mutants={
        "the norm is taken over the batch": _norms(0),
        "the norm is taken over the pixels of each channel": _norms((2, 3)),
        "the norm is taken over the channels of each pixel": _norms(1),
        "one norm is taken of the whole batch": lambda f: lambda gradient: f(gradient.flatten()[None]),
        "it is summed over the batch": lambda f: lambda gradient: f(gradient) * len(gradient),
    },
    repairs={
        "batch and entries are exchanged (the norm is taken over the batch)": _given(lambda x: x.mT[..., None, None]),
        "the pixels of all channels are joined (the norm is taken over those of each)": _given(
            lambda x: x[:, None, None]
        ),
        "channels and pixels are joined (the norm is taken over the channels of each pixel)": _given(
            lambda x: x[..., None, None]
        ),
    },
)
def every_point_has_one_norm(f: Penalty, gradient: Tensor) -> Iterator[Residual]:
    r"""The gradient at a point is one vector, and the points of a batch are averaged.

    $\frac1B\sum_b(\lVert g_b\rVert - 1)_+^2$ with $\lVert g_b\rVert^2$ the sum over all pixels of all channels.

    Error bound: with $r_b = \lVert g_b\rVert$ and k entries, $8 + k$ roundings of the value and of the mean of
    $2 r_b (r_b - 1)_+$, its change under a rounding of $r_b$, plus the square of those of a norm close to 1.
    """
    rows = [[arb.exact(v) for v in row] for row in gradient.flatten(1).tolist()]
    ulps, eps = 8 + len(rows[0]), torch.finfo(gradient.dtype).eps
    with arb.precision(128):
        norms = [arb.sqrt(sum((v * v for v in row), arb.exact(0))) for row in rows]
        excess = [norm - 1 if norm > 1 else arb.exact(0) for norm in norms]
        true = arb.to_ball(sum((e * e for e in excess), arb.exact(0)) / len(rows))
    largest = max(float(norm.mid()) for norm in norms)
    change = sum(2 * float(norm.mid()) * float(e.mid()) for norm, e in zip(norms, excess, strict=True)) / len(rows)
    scale = float(true.mid) + change + ulps * eps * largest**2
    yield close(
        f(gradient), Ball(true.mid, true.radius, kind=Kind.ENCLOSED), ulps=ulps, scale=scale, what="the penalty"
    )
