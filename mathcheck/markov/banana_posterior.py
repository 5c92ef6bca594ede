r"""A posterior bent like a banana: its potential energy, the gradient, and the one coordinate that integrates out.

$\theta \sim \mathcal N(0, I)$ in the plane and $y_i \mid \theta \sim \mathcal N(\theta_1 + \theta_2^2, 4)$, so that
$U(\theta) = \tfrac18\sum_i (y_i - \theta_1 - \theta_2^2)^2 + \tfrac12\lVert\theta\rVert^2$. Given $\theta_2$ the first
coordinate is normal, and what is left for $\theta_2$ is the exponential of a polynomial in $\theta_2^2$.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import sympy
import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Kind, Residual, close, exactly, fraction_ball
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import arb

Energy = Callable[[Tensor, Tensor], Tensor]
Parts = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def _check(name: str, points: Tensor, y: Tensor, entries: int | None = None) -> None:
    arguments.floating(**{name: points, "y": y})
    if y.ndim != 1 or y.shape[0] < 1:
        raise ValueError(f"y must have shape (n,) with n >= 1, got {tuple(y.shape)}")
    if entries is not None:
        arguments.events((entries,), **{name: points})


def banana_energy(theta: Tensor, y: Tensor) -> Tensor:
    r"""$U(\theta) = \tfrac18\sum_i (y_i - \theta_1 - \theta_2^2)^2 + \tfrac12(\theta_1^2 + \theta_2^2)$.

    Minus the log-posterior up to a constant; no density is exponentiated, so nothing underflows.

    Args:
        theta: `(*batch, 2)`.
        y: the data, `(n,)`, n at least 1.

    Returns:
        `(*batch,)`, differentiable.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of these shapes and one dtype and device.
    """
    _check("theta", theta, y, 2)
    misfit = y - (theta[..., 0] + theta[..., 1].square()).unsqueeze(-1)
    return misfit.square().sum(-1) / 8 + theta.square().sum(-1) / 2


def banana_gradient(theta: Tensor, y: Tensor) -> Tensor:
    r"""$\nabla U = \big(\theta_1 - \tfrac14 d,\ \theta_2 - \tfrac12\theta_2 d\big)$, $d = \sum_i(y_i - \theta_1 - \theta_2^2)$.

    Args:
        theta: `(*batch, 2)`.
        y: the data, `(n,)`, n at least 1.

    Returns:
        `(*batch, 2)`.

    Raises:
        TypeError, ValueError: as `banana_energy`.
    """
    _check("theta", theta, y, 2)
    d = (y - (theta[..., 0] + theta[..., 1].square()).unsqueeze(-1)).sum(-1)
    return theta - torch.stack([d / 4, theta[..., 1] * d / 2], -1)


def banana_conditional(second: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""The normal law of $\theta_1$ given $\theta_2$, and the log-density of $\theta_2$ up to a constant.

    With $\lambda = n/4$, $v = 1 + 1/\lambda$ and the mean $\bar y$ of the data: mean
    $\frac{\lambda}{1+\lambda}(\bar y - \theta_2^2)$, variance $\frac1{1+\lambda}$, and
    $-\frac{\theta_2^4}{2v} - \big(\tfrac12 - \frac{\bar y}v\big)\theta_2^2$.

    Args:
        second: $\theta_2$, `(*batch,)`.
        y: the data, `(n,)`, n at least 1.

    Returns:
        Mean, variance and log-density, each `(*batch,)`. There are two arms, symmetric about 0, where $\bar y > v/2$.

    Raises:
        TypeError, ValueError: as `banana_energy`.
    """
    _check("second", second, y)
    precision = len(y) / 4
    share, square = precision / (1 + precision), second.square()
    variance = torch.full_like(second, 1 / (1 + precision))
    # 1/v is the same share.
    return share * (y.mean() - square), variance, share * square * (y.mean() - square / 2) - square / 2


def _posteriors(
    subject: object, dtype: torch.dtype, elements: Interval | st.SearchStrategy[float]
) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    numbers = strategies.of_each(st.integers(1, 5), lambda n: strategies.tensors((n,), dtype, elements))
    return st.tuples(strategies.tensors((2,), dtype, elements), numbers)


def _quarters(subject: object, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """Points and data in quarters, at which the energy and its gradient are exact in both precisions."""
    return _posteriors(subject, dtype, st.integers(-8, 8).map(lambda k: k / 4))


def _anywhere(subject: object, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    return _posteriors(subject, dtype, Interval(reach=20.0))


def _exact_energy(theta: list[Fraction], y: list[Fraction]) -> Fraction:
    misfits = sum(((v - theta[0] - theta[1] ** 2) ** 2 for v in y), Fraction(0))
    return misfits / 8 + (theta[0] ** 2 + theta[1] ** 2) / 2


@functools.cache
def _polynomial_gradient(n: int) -> Callable[..., list[Fraction]]:
    """The partial derivatives of the energy for n data, by computer algebra, as a function of fractions."""
    theta, y = sympy.symbols("t:2"), sympy.symbols(f"y:{n}")
    energy = sum((v - theta[0] - theta[1] ** 2) ** 2 for v in y) / 8 + (theta[0] ** 2 + theta[1] ** 2) / 2
    slopes = [sympy.Poly(sympy.diff(energy, t), *theta, *y) for t in theta]

    def at(*values: Fraction) -> list[Fraction]:
        found = [slope.eval([sympy.Rational(v.numerator, v.denominator) for v in values]) for slope in slopes]
        return [Fraction(int(v.p), int(v.q)) for v in found]

    return at


def _fractions(t: Tensor) -> list[Fraction]:
    return [Fraction(v) for v in t.tolist()]


def _sizes(theta: Tensor, y: Tensor) -> Tensor:
    """The energy if nothing cancelled: its roundings are relative to that."""
    wide, data = theta.double().cpu(), y.double().cpu()
    reach = data.abs() + wide[..., 0].abs() + wide[..., 1].square()
    return reach.square().sum(-1) / 8 + wide.square().sum(-1) / 2


@claim(
    given=_anywhere,
    reference=banana_energy,
    mutants={
        "the density is exponentiated before its logarithm is taken": lambda u: (
            lambda theta, y: -torch.log(torch.exp(-u(theta, y)))
        ),
        "the standard deviation 2 is taken for the variance 4": lambda u: (
            lambda theta, y: 2 * u(theta, y) - theta.square().sum(-1) / 2
        ),
        "the prior is left out": lambda u: lambda theta, y: u(theta, y) - theta.square().sum(-1) / 2,
        "the data are replaced by their mean": lambda u: lambda theta, y: u(theta, y.mean()[None]),
        "the second coordinate is not squared": lambda u: (
            lambda theta, y: (y - theta.sum(-1, keepdim=True)).square().sum(-1) / 8 + theta.square().sum(-1) / 2
        ),
    },
)
def energy_is_minus_the_log_posterior(energy: Energy, theta: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""The energy is minus the logarithm of likelihood times prior, up to the normalising constants.

    $U(\theta) = -\log\big[\prod_i \mathcal N(y_i; \theta_1 + \theta_2^2, 4)\,\mathcal N(\theta; 0, I)\big] -
    \tfrac n2\log(8\pi) - \log(2\pi)$, the densities multiplied in ball arithmetic.

    Error bound: 16 roundings of the sum of the squared magnitudes of which the misfits are made.
    """
    first, second, *data = (arb.exact(v) for v in [*theta.tolist(), *y.tolist()])

    def true() -> Any:
        product = arb.exp(-first * first / 2) * arb.exp(-second * second / 2)
        for v in data:
            misfit = v - first - second * second
            product = product * arb.exp(-misfit * misfit / 8)
        return -arb.log(product)

    ball = arb.enclose(true, source="product of densities in ball arithmetic")
    yield close(energy(theta, y), ball, ulps=16, scale=_sizes(theta, y), what="U")


@claim(
    given=_quarters,
    reference=banana_gradient,
    mutants={
        "the factor 2 of the square is forgotten": lambda g: (
            lambda theta, y: (
                (g(theta, y) + theta) / 2 * theta.new_tensor([0.0, 1.0]) + g(theta, y) * theta.new_tensor([1.0, 0.0])
            )
        ),
        "the derivative of the square is left out": lambda g: (
            lambda theta, y: g(theta, y)[..., :1] - theta[..., :1] + theta
        ),
        "the prior is left out": lambda g: lambda theta, y: g(theta, y) - theta,
        "its sign is changed (the gradient of the log-posterior)": lambda g: lambda theta, y: -g(theta, y),
        "the misfits are averaged, not summed": lambda g: lambda theta, y: theta + (g(theta, y) - theta) / len(y),
    },
)
def gradient_is_that_of_the_energy(gradient: Energy, theta: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""The gradient is that of the energy.

    $\partial_1 U = \theta_1 - \tfrac14\sum_i(y_i - \theta_1 - \theta_2^2)$ and
    $\partial_2 U = \theta_2 - \tfrac12\theta_2\sum_i(y_i - \theta_1 - \theta_2^2)$.

    Error bound: 0: points and data in quarters, compared with the derivatives of the polynomial in rational arithmetic.
    """
    true = _polynomial_gradient(len(y))(*_fractions(theta), *_fractions(y))
    yield exactly(_fractions(gradient(theta, y)), true, kind=Kind.EXACT, what="the gradient of U")


@claim(
    given=_anywhere,
    reference=banana_conditional,
    mutants={
        "the prior of the first coordinate is forgotten": lambda parts: (
            lambda second, y: (y.mean() - second.square(), 4 / len(y) + 0 * second, parts(second, y)[2])
        ),
        "the mean is not shrunk": lambda parts: lambda second, y: (y.mean() - second.square(), *parts(second, y)[1:]),
        "the conditional is put in for the marginal": lambda parts: (
            lambda second, y: (*parts(second, y)[:2], -second.square() / 2)
        ),
        "the second coordinate is not squared": lambda parts: lambda second, y: parts(second.abs().sqrt(), y),
    },
    uses=(energy_is_minus_the_log_posterior,),
)
def first_coordinate_integrates_out(parts: Parts, theta: Tensor, y: Tensor) -> Iterator[Residual]:
    r"""The energy is a square in the first coordinate plus a function of the second.

    $U(\theta) - U(0) = \frac{(\theta_1 - m(\theta_2))^2 - m(0)^2}{2V} - [\ell(\theta_2) - \ell(0)]$ with the conditional
    mean m, variance V and log-density $\ell$: so $e^{-U}$ is a normal density in $\theta_1$ times $e^\ell$.

    Error bound: 32 roundings of the squared magnitudes, times $1 + n/4$ by which the square is divided; the left side
    in rational arithmetic.
    """
    point, data = _fractions(theta), _fractions(y)
    true = _exact_energy(point, data) - _exact_energy([Fraction(0), Fraction(0)], data)
    (mean, variance, log_density), (start, _, zero) = parts(theta[1], y), parts(0 * theta[1], y)
    value = ((theta[0] - mean) ** 2 - start**2) / (2 * variance) - (log_density - zero)
    largest = math.prod((1 + len(y) / 4, float(_sizes(theta, y.abs().amax()[None]))))
    yield close(value, fraction_ball(true), ulps=32, scale=largest, what="U from the two laws")
