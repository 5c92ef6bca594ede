r"""An objective whose gradient estimators have moments in closed form, and what those moments are, in ball arithmetic.

$J(\mu, \tau) = \mathbb E[X\sin X] + \tfrac12(\mu - 1)^2 + \sigma - \log\sigma$ for $X = \mu + \sigma z$ with $\sigma = e^\tau$
and $z \sim \mathcal N(0, 1)$. Every moment below follows from one formula, with the Hermite polynomials $\mathrm{He}_k$:

$\mathbb E[z^k\cos aX] = \cos(a\mu + \tfrac{k\pi}2)\,\mathrm{He}_k(a\sigma)\,e^{-a^2\sigma^2/2}$, and the same for the sine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import arb

# mu and tau = log sigma.
parameters = (Interval(reach=5.0), Interval(-3.0, 1.25, reach=3.0))


def _pair(theta: Sequence[Any]) -> tuple[Any, Any]:
    arguments.rows(theta=theta)
    if len(theta) != 2:
        raise ValueError(f"theta must hold mu and log sigma, got {len(theta)} numbers")
    return theta[0], theta[1]


# The coefficients of 1, z, z^2, ...
Polynomial = Sequence[Any]


def penalty(theta: Tensor) -> Tensor:
    r"""$\tfrac12(\mu - 1)^2 + \sigma - \log\sigma$, the part of J without randomness, `(*batch, 2)` -> `(*batch,)`.

    Raises:
        TypeError, ValueError: if theta is no floating tensor of that shape.
    """
    arguments.events((2,), theta=theta)
    mu, tau = theta[..., 0], theta[..., 1]
    return (mu - 1) ** 2 / 2 + tau.exp() - tau


def integrand(theta: Tensor, x: Tensor) -> Tensor:
    r"""$x\sin x + \tfrac12(\mu - 1)^2 + \sigma - \log\sigma$, whose mean over $x \sim \mathcal N(\mu, \sigma^2)$ is J.

    Args:
        theta: $(\mu, \log\sigma)$, `(*batch, 2)`.
        x: `(*batch, 1)`.

    Returns:
        `(*batch,)`.

    Raises:
        TypeError, ValueError: if they are no floating tensors of those shapes, of one dtype and on one device.
    """
    arguments.floating(theta=theta, x=x)
    arguments.events((1,), x=x)
    point = x[..., 0]
    return point * point.sin() + penalty(theta)


def objective(theta: Sequence[Any]) -> Any:
    r"""$J = e^{-\sigma^2/2}(\mu\sin\mu + \sigma^2\cos\mu) + \tfrac12(\mu - 1)^2 + \sigma - \log\sigma$, `(2,)` -> a number.

    Raises:
        TypeError, ValueError: if theta is no pair of numbers.
    """
    mu, tau = _pair(theta)
    sigma = arb.exp(tau)
    return expected_sine(mu, sigma) + (mu - 1) ** 2 / 2 + sigma - tau


def expected_sine(mu: Any, sigma: Any) -> Any:
    r"""$\mathbb E[X\sin X] = e^{-\sigma^2/2}(\mu\sin\mu + \sigma^2\cos\mu)$.

    Raises:
        TypeError: if an argument is no number.
    """
    arguments.scalars(mu=mu, sigma=sigma)
    return arb.exp(-sigma * sigma / 2) * (mu * mu.sin() + sigma * sigma * mu.cos())


def hermite(k: int, s: Any) -> Any:
    r"""$\mathrm{He}_k(s)$ by $\mathrm{He}_{k+1} = s\,\mathrm{He}_k - k\,\mathrm{He}_{k-1}$.

    Raises:
        TypeError, ValueError: if k is no integer of at least 0, or s no number.
    """
    arguments.at_least(0, k=k)
    arguments.scalars(s=s)
    previous, current = 0 * s, 1 + 0 * s
    for j in range(k):
        previous, current = current, s * current - j * previous
    return current


def _moments(polynomial: Polynomial, a: int, mu: Any, sigma: Any) -> tuple[Any, Any]:
    r"""$\mathbb E[p(z)\cos aX]$ and $\mathbb E[p(z)\sin aX]$."""
    c, s = (a * mu).cos(), (a * mu).sin()
    turned = [(c, s), (-s, c), (-c, -s), (s, -c)]
    size = arb.exp(-((a * sigma) ** 2) / 2)
    terms = [(coefficient * hermite(k, a * sigma) * size, turned[k % 4]) for k, coefficient in enumerate(polynomial)]
    return sum(m * t[0] for m, t in terms), sum(m * t[1] for m, t in terms)


def _times(p: Polynomial, q: Polynomial) -> list[Any]:
    product: list[Any] = [0] * (len(p) + len(q) - 1)
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] = product[i + j] + a * b
    return product


def _plus(p: Polynomial, q: Polynomial) -> list[Any]:
    longest = max(len(p), len(q))
    first, second = ([*r, *[0] * (longest - len(r))] for r in (p, q))
    return [a + b for a, b in zip(first, second, strict=True)]


def mean_slopes(theta: Sequence[Any]) -> tuple[Any, Any]:
    r"""$\partial_\mu\mathbb E[X\sin X] = e^{-\sigma^2/2}(\sin\mu + \mu\cos\mu - \sigma^2\sin\mu)$ and $\partial_\tau$ of it.

    Raises:
        TypeError, ValueError: if theta is no pair of numbers.
    """
    mu, tau = _pair(theta)
    sigma = arb.exp(tau)
    size = arb.exp(-sigma * sigma / 2)
    c, s = mu.cos(), mu.sin()
    first = size * (s + mu * c - sigma**2 * s)
    return first, size * sigma**2 * (2 * c - mu * s - sigma**2 * c)


def score_variances(theta: Sequence[Any]) -> list[Any]:
    r"""Variances of $X\sin X\cdot(z/\sigma,\ z^2 - 1)$, the score-function estimate in $\mu$ and in $\tau$.

    Half the mean of $x^2 p(z)^2(1 - \cos 2x)$ with $p = z/\sigma$ or $z^2 - 1$, less the square of the mean.

    Raises:
        TypeError, ValueError: if theta is no pair of numbers.
    """
    mu, tau = _pair(theta)
    sigma = arb.exp(tau)
    x: Polynomial = [mu, sigma]
    variances = []
    for factor, mean in zip(([0, 1 / sigma], [-1, 0, 1]), mean_slopes(theta), strict=True):
        square = _times(_times(x, x), _times(factor, factor))
        second = (_moments(square, 0, mu, sigma)[0] - _moments(square, 2, mu, sigma)[0]) / 2
        variances.append(second - mean**2)
    return variances


def pathwise_variances(theta: Sequence[Any]) -> list[Any]:
    r"""Variances of $(\sin X + X\cos X)(1, \sigma z)$, the pathwise estimate in $\mu$ and in $\tau$.

    $(\sin x + x\cos x)^2 = \tfrac12(1 + x^2) + \tfrac12(x^2 - 1)\cos 2x + x\sin 2x$.

    Raises:
        TypeError, ValueError: if theta is no pair of numbers.
    """
    mu, tau = _pair(theta)
    sigma = arb.exp(tau)
    x: Polynomial = [mu, sigma]
    squared = _times(x, x)
    variances = []
    for factor, mean in zip(([1], [0, sigma]), mean_slopes(theta), strict=True):
        weight = _times(factor, factor)
        flat, cosine, sine = (_times(weight, p) for p in (_plus(squared, [1]), _plus(squared, [-1]), x))
        second = _moments(flat, 0, mu, sigma)[0] / 2 + _moments(cosine, 2, mu, sigma)[0] / 2
        second = second + _moments(sine, 2, mu, sigma)[1]
        variances.append(second - mean**2)
    return variances


def certified_mean(g: Callable[[Any], Any], size: Any, power: int) -> Any:
    r"""$\mathbb E[g(z)]$, certified, for g with $\lvert g(t)\rvert \le c\,(1 + t^2)^m$ for all real t.

    A change of variables makes the integrand bounded, tails included: $\mathbb E[g(z)] = \sqrt2\,\mathbb E[g(\sqrt2 w)
    e^{-w^2/2}]$ with $w \sim \mathcal N(0, 1)$, and $(1 + 2w^2)^m e^{-w^2/2} \le (4m)^m e^{1/4 - m}$.

    Args:
        g: takes a point of the integration path.
        size: c, a ball or number.
        power: m, at least 1.

    Raises:
        TypeError, ValueError: for arguments that are not so.
    """
    arguments.functions(g=g)
    arguments.scalars(size=size)
    arguments.at_least(1, power=power)
    root = arb.sqrt(arb.exact(2))
    largest = size * (4 * power) ** power * arb.exp(arb.exact(1) / 4 - power)
    return root * arb.normal_expectation(lambda w: g(w * root) * (-w * w / 2).exp(), (largest.upper(), 0))
