"""Integrals by two subdivisions that must agree, and Gauss-Hermite expectations."""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import integrate
from scipy.special import roots_hermitenorm
from torch import Tensor

from mathcheck.engine.residual import Ball, Kind, Undecided

Array = NDArray[np.float64]
_EPS = float(np.finfo(np.float64).eps)
_RTOL = _EPS**0.75
_CUBATURE_RTOL = 1e-8
_MOST_NODES = 256


def _checked(f: Callable[[Array], Any], points: Array, count: tuple[int, ...]) -> Array:
    values = np.asarray(f(points))
    if values.shape != count:
        raise ValueError(f"f must map an array of shape {points.shape} to shape {count}, got {values.shape}")
    if np.iscomplexobj(values):
        raise TypeError("f must be real, got complex values")
    return values.astype(np.float64)


def _inner_point(a: float, b: float) -> float:
    """A point that splits an interval away from where symmetry would put a node or a pole."""
    if math.isinf(a) and math.isinf(b):
        return 0.618
    if math.isinf(b):
        return a + 1.618
    return b - 1.618 if math.isinf(a) else a + 0.382 * (b - a)


def integral(f: Callable[[Array], Any], a: float, b: float, *, points: Sequence[float] = ()) -> Ball:
    r"""$\int_a^b f(x)\,\mathrm{d}x$ by double-exponential (tanh-sinh) quadrature, twice over.

    The integral is taken once over the pieces between `points` and once with every piece cut again, off centre; both
    must converge, piece by piece, to a relative error of $\epsilon^{3/4}$ of the largest piece. The radius is the sum
    of all error estimates, the distance between the two results, and $8\epsilon$ times the sum of the pieces'
    magnitudes for rounding. Cutting again is what exposes principal values, whose infinite halves cancel.

    Args:
        f: elementwise, an array of any shape to real numbers of the same shape; analytic between the points, where
            singularities are allowed at the ends.
        a: lower end, may be -inf.
        b: upper end, may be inf.
        points: places strictly between `a` and `b` where f has a kink, jump, singularity or narrow peak.

    Raises:
        Undecided: if a piece does not converge: a divergent integral, a kink that `points` does not name, a peak too
            narrow to be found, or an integrand that is 0 wherever it was evaluated.
        ValueError: if `a < b` fails, a point lies outside, or f returns another shape.
    """
    cuts = [float(a), *sorted(float(p) for p in points), float(b)]
    if not all(left < right for left, right in itertools.pairwise(cuts)):
        raise ValueError(f"a < points < b must hold strictly and without repetition, got a={a}, points={points}, b={b}")
    coarse = list(itertools.pairwise(cuts))
    fine = [piece for low, high in coarse for c in [_inner_point(low, high)] for piece in ((low, c), (c, high))]

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = {
            piece: integrate.tanhsinh(lambda x: _checked(f, x, np.shape(x)), *piece, rtol=_RTOL)
            for piece in (*coarse, *fine)
        }
    scale = max(abs(float(r.integral)) for r in results.values())
    if scale == 0:
        raise Undecided(f"the integrand is 0 wherever it was evaluated between {a} and {b}")
    for (low, high), result in results.items():
        # Only against the largest piece can a piece whose integral is 0, or nearly so, have a small error.
        if not (result.success or result.error <= _RTOL * scale) or not math.isfinite(result.integral):
            raise Undecided(f"the integral from {low} to {high} did not converge: {result.integral} +- {result.error}")
    return _agreed([results[p] for p in coarse], [results[p] for p in fine], "integral, tanh-sinh", "integral")


def _agreed(coarse: list[Any], fine: list[Any], source: str, attribute: str) -> Ball:
    first, second = (math.fsum(float(getattr(r, attribute)) for r in group) for group in (coarse, fine))
    size = math.fsum(abs(float(getattr(r, attribute))) for r in fine)
    errors = math.fsum(abs(float(r.error)) for r in (*coarse, *fine))
    return Ball(second, errors + abs(second - first) + 8 * _EPS * size, kind=Kind.NUMERICAL, source=source)


_Box = tuple[list[float], list[float]]


class _Axis(NamedTuple):
    """A finite interval, and the map from it to an axis with its slope."""

    lower: float
    upper: float
    map: Callable[[Array], tuple[Array, Array]]


def _substitution(a: float, b: float) -> _Axis:
    # SciPy's own substitution for (-inf, b] mirrors the integrand, so only finite boxes are passed to it.
    if math.isinf(a) and math.isinf(b):
        return _Axis(-1.0, 1.0, lambda t: (t / (1 - t**2), (1 + t**2) / (1 - t**2) ** 2))
    if math.isinf(b):
        return _Axis(0.0, 1.0, lambda t: (a + t / (1 - t), 1 / (1 - t) ** 2))
    if math.isinf(a):
        return _Axis(0.0, 1.0, lambda t: (b - t / (1 - t), 1 / (1 - t) ** 2))
    return _Axis(a, b, lambda t: (t, np.ones_like(t)))


def cubature(f: Callable[[Array], Any], lower: Sequence[float], upper: Sequence[float]) -> Ball:
    r"""$\int f(x)\,\mathrm{d}x$ over a box of one to three dimensions by adaptive cubature, twice over.

    Taken once over the box and once over the two boxes that its first axis is cut into, off centre; both must converge
    to 1e-8 of the integral, or of that of its modulus; 1e-10 is aimed at. The radius is the sum of the error estimates,
    the distance between the two results, and $8\epsilon$ times the magnitude. A narrow peak can be missed: cut the box
    around it.

    Args:
        f: maps points `(k, dim)` to real numbers `(k,)`.
        lower: `(dim,)`, may hold -inf.
        upper: `(dim,)`, may hold inf.

    Raises:
        Undecided: if it does not converge, or to exactly 0 at once, which is what a peak that was missed looks like.
        ValueError: if the ends are not ordered, there are not 1 to 3 of them, or f returns another shape.
    """
    low, high = [float(v) for v in lower], [float(v) for v in upper]
    if len(low) != len(high) or not 1 <= len(low) <= 3:
        raise ValueError(f"lower and upper must both hold 1 to 3 numbers, got {len(low)} and {len(high)}")
    if not all(left < right for left, right in zip(low, high, strict=True)):
        raise ValueError(f"lower must be below upper in every coordinate, got lower={lower}, upper={upper}")

    def run(box: _Box, limit: int, modulus: bool = False) -> Any:
        axes = [_substitution(*ends) for ends in zip(*box, strict=True)]

        def values(t: Array) -> Array:
            parts = [axis.map(t[:, i]) for i, axis in enumerate(axes)]
            found = _checked(f, np.stack([x for x, _ in parts], axis=-1), (len(t),))
            weighted: Array = (np.abs(found) if modulus else found) * np.prod([slope for _, slope in parts], axis=0)
            return weighted

        ends = [axis.lower for axis in axes], [axis.upper for axis in axes]
        return integrate.cubature(values, *ends, rtol=_CUBATURE_RTOL / 100, max_subdivisions=limit)

    def converged(box: _Box) -> Any:
        result = run(box, 1000)
        if result.status == "converged" and float(result.estimate) == 0:
            raise Undecided(f"the integrand is 0 wherever it was evaluated between {box[0]} and {box[1]}")
        small = result.error <= _CUBATURE_RTOL * abs(result.estimate)
        # Where the integrand cancels, its error can only be small against the integral of its modulus.
        if not small and not result.error <= _CUBATURE_RTOL * run(box, 50, modulus=True).estimate:
            raise Undecided(
                f"the integral from {box[0]} to {box[1]} did not converge: {result.estimate} +- {result.error}"
            )
        if not math.isfinite(result.estimate) or not math.isfinite(result.error):
            raise Undecided(f"the integral from {box[0]} to {box[1]} is not finite: {result.estimate}")
        return result

    cut = _inner_point(low[0], high[0])
    boxes = [(low, high), (low, [cut, *high[1:]]), ([cut, *low[1:]], high)]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole, *halves = [converged(box) for box in boxes]
    return _agreed([whole], halves, "integral, adaptive cubature", "estimate")


@functools.lru_cache(maxsize=64)
def _rule(n: int) -> tuple[Array, Array]:
    """Nodes and weights for the standard normal; each weight has a relative error below 5 n eps."""
    nodes = roots_hermitenorm(n)[0]
    # 1/w is the sum of the squared orthonormal polynomials: positive terms, so the small weights keep their digits.
    current, previous, total = np.ones_like(nodes), np.zeros_like(nodes), np.ones_like(nodes)
    for k in range(1, n):
        current, previous = (nodes * current - math.sqrt(k - 1) * previous) / math.sqrt(k), current
        total = total + current**2
    return nodes, 1 / total


def gauss_hermite(n: int, dim: int = 1, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    r"""Nodes and weights with $\mathbb E f(Z) = \sum_k w_k f(z_k)$ for polynomials f, $Z \sim N(0, I)$.

    Exact for polynomials of degree at most $2n - 1$ in each coordinate; the weights are positive and sum to 1. Each
    weight has a relative error below $5 n\,\mathrm{dim}\,\epsilon$ (measured against 40 digits).

    Args:
        n: nodes per coordinate, 1 to 256.
        dim: coordinates, at least 1; the rule is a product.
        dtype: real floating.

    Returns:
        Nodes `(n**dim, dim)` and weights `(n**dim,)`.

    Raises:
        ValueError: if `n` or `dim` is out of range, or the rule would have more than 2^22 nodes.
        TypeError: if `dtype` is not real floating.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MOST_NODES:
        raise ValueError(f"n must be an integer from 1 to {_MOST_NODES}, got {n!r}")
    if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1 or n**dim > 2**22:
        raise ValueError(f"dim must be an integer of at least 1 with n**dim at most 2**22, got dim={dim!r}, n={n}")
    if not dtype.is_floating_point:
        raise TypeError(f"dtype must be real floating, got {dtype}")
    nodes, weights = (torch.from_numpy(part.copy()) for part in _rule(n))
    grid = torch.cartesian_prod(*[nodes] * dim).reshape(-1, dim)
    product = torch.cartesian_prod(*[weights] * dim).reshape(-1, dim).prod(-1)
    return grid.to(dtype), product.to(dtype)


def normal_expectation(
    f: Callable[[Tensor], Tensor],
    dim: int = 1,
    n: int = 32,
    *,
    exact_degree: int | None = None,
    dtype: torch.dtype = torch.float64,
) -> Ball:
    r"""$\mathbb E f(Z)$ for $Z \sim N(0, I)$ by Gauss-Hermite quadrature.

    The result is that of $n + 8$ nodes per coordinate. The radius is $n/4$ times the larger distance to the rules with
    $n$ and $n + 3$, since where f has a kink the error falls like $1/n$ and the distance only like $1/n^2$; plus
    $\epsilon(k + 5 n\,\mathrm{dim})\sum\lvert w f\rvert$ over the k nodes for rounding, and what f changes when the
    nodes move by 4 ulp. f must be smooth or kinked: near a jump the rules may agree by chance.

    Args:
        f: maps `(k, dim)` to `(k, *shape)`, row by row.
        dim: coordinates of Z.
        n: nodes per coordinate, up to 248.
        exact_degree: if given, f is promised to be a polynomial of at most this degree in each coordinate; then the
            fewest nodes that are exact are used, and the radius is rounding only.
        dtype: of the nodes.

    Returns:
        Ball of shape `shape`.

    Raises:
        ValueError: if an argument is out of range, or f does not return one value a node.
        Undecided: if f is not finite at a node.
    """
    if exact_degree is not None:
        if isinstance(exact_degree, bool) or not isinstance(exact_degree, int) or exact_degree < 0:
            raise ValueError(f"exact_degree must be an integer of at least 0, got {exact_degree!r}")
        mid, rounding = _sum(f, exact_degree // 2 + 1, dim, dtype)
        return Ball(mid, rounding, kind=Kind.NUMERICAL, source="expectation, Gauss-Hermite (exact for polynomials)")
    mid, rounding = _sum(f, n + 8, dim, dtype)
    spread = torch.stack([(_sum(f, count, dim, dtype)[0] - mid).abs() for count in (n, n + 3)]).amax(0)
    return Ball(mid, max(n / 4, 1.0) * spread + rounding, kind=Kind.NUMERICAL, source="expectation, Gauss-Hermite")


def _sum(f: Callable[[Tensor], Tensor], n: int, dim: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The rule's sum and its rounding."""
    nodes, _ = gauss_hermite(n, dim, dtype)
    eps = torch.finfo(dtype).eps
    outputs = [f(nodes), f(nodes * (1 + 4 * eps))]
    for out in outputs:
        if not isinstance(out, Tensor) or out.ndim == 0 or len(out) != len(nodes):
            shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"f must map {tuple(nodes.shape)} to ({len(nodes)}, *shape), got {shape}")
    if outputs[0].dtype.is_floating_point:
        eps = max(eps, torch.finfo(outputs[0].dtype).eps)
    values, moved = (out.detach().double().cpu() for out in outputs)
    if not bool((values.isfinite() & moved.isfinite()).all()):
        raise Undecided(f"f is not finite at a node of the Gauss-Hermite rule with {n} nodes")
    w = gauss_hermite(n, dim)[1].reshape(-1, *[1] * (values.ndim - 1))
    rounding = eps * (len(nodes) + 5 * n * dim) * (w * values).abs().sum(0) + (w * (moved - values).abs()).sum(0)
    return (w * values).sum(0), rounding
