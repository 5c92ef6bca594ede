r"""The pathwise gradient: where $x = T_\theta(z)$ and z has a fixed distribution, the derivative goes through the sample.

$\nabla_\theta\,\mathbb E[f_\theta(T_\theta(z))] = \mathbb E[\nabla_\theta\{f_\theta(T_\theta(z))\}]$. It holds when
$f_\theta(T_\theta(z))$ is continuously differentiable in $\theta$ for every z, and near every $\theta$ an integrable function of
z bounds its gradient; a jump of f breaks it. Neither this gradient nor the one by the score function always has the lower
variance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.inference import sine_objective
from mathcheck.inference.gradient_estimator import GradientEstimator
from mathcheck.inference.log_derivative import RowFunction, normal_score, overlap, per_draw_gradient
from mathcheck.inference.sine_objective import certified_mean
from mathcheck.oracles import arb


def pathwise_gradient(
    theta: Tensor, noise: Tensor, sample: RowFunction, f: RowFunction, *, noise_ndim: int = 1
) -> Tensor:
    r"""$\nabla_\theta\{f_\theta(T_\theta(z))\}$ for each draw z of the noise: through the sample, and directly.

    Its mean over the noise is $\nabla_\theta\,\mathbb E[f_\theta(T_\theta(z))]$. The sample must be a differentiable function
    of $\theta$ whose noise does not depend on $\theta$.

    Args:
        theta: `(p,)`.
        noise: draws z, `(*batch, *event)`.
        sample: $T$, theta `(*batch, p)` and noise `(*batch, *event)` -> x `(*batch, *event)`.
        f: the integrand, theta `(*batch, p)` and x -> `(*batch,)`.
        noise_ndim: number of trailing dimensions of one draw of the noise.

    Returns:
        `(*batch, p)`, detached.

    Raises:
        TypeError, ValueError: for a theta that is no floating vector, noise with too few dimensions, or an integrand that
            does not give one value for each draw.

    References:
        Kingma and Welling, Auto-encoding variational Bayes (2014), section 2.4.
    """
    arguments.instances(Tensor, noise=noise)
    arguments.functions(sample=sample, f=f)
    arguments.at_least(0, noise_ndim=noise_ndim)
    if noise.ndim < noise_ndim:
        raise ValueError(f"noise must have at least noise_ndim = {noise_ndim} dimensions, got {tuple(noise.shape)}")
    fixed = noise.detach()
    return per_draw_gradient(theta, noise.shape[: noise.ndim - noise_ndim], lambda rows: f(rows, sample(rows, fixed)))


def normal_sample(theta: Tensor, noise: Tensor) -> Tensor:
    r"""$x = \mu + e^\tau z$ for theta $(\mu, \tau)$ of shape `(*batch, 2)` and noise `(*batch, 1)` -> `(*batch, 1)`.

    Raises:
        TypeError, ValueError: for arguments of another type, shape, dtype or device.
    """
    arguments.events((2,), theta=theta)
    arguments.floating(theta=theta, noise=noise)
    arguments.events((1,), noise=noise)
    return theta[..., :1] + theta[..., 1:].exp() * noise


normal = GradientEstimator(
    lambda theta, noise: pathwise_gradient(theta, noise, normal_sample, sine_objective.integrand),
    lambda theta, noise: sine_objective.integrand(theta, normal_sample(theta, noise)),
    sine_objective.parameters,
    objective=sine_objective.objective,
    variance=sine_objective.pathwise_variances,
    batch_shapes=BATCH_SHAPES,
)

# (mu, tau, z) -> the estimates in mu and in tau of the gradient of E[X sin X].
Pathwise = Callable[[Any, Any, Any], tuple[Any, Any]]
# (mu, tau) -> the variances of those of the score function, and of the pathwise ones, in mu and in tau.
Variances = Callable[[Sequence[Any]], list[Any]]
# (mu, sigma) -> E[X sin X].
Expected = Callable[[Any, Any], Any]


def normal_pathwise(mu: Any, tau: Any, z: Any) -> tuple[Any, Any]:
    r"""$(\sin x + x\cos x)(1, \sigma z)$ at $x = \mu + \sigma z$, $\sigma = e^\tau$.

    Raises:
        TypeError: if an argument is no number.
    """
    arguments.scalars(mu=mu, tau=tau, z=z)
    sigma = arb.exp(tau)
    x = mu + sigma * z
    slope = x.sin() + x * x.cos()
    return slope, slope * sigma * z


def normal_variances(theta: Sequence[Any]) -> list[Any]:
    r"""Variances of the score-function estimates in $(\mu, \tau)$, then of the pathwise ones: `(2,)` -> `(4,)`.

    Raises:
        TypeError, ValueError: if theta is no pair of numbers.
    """
    return [*sine_objective.score_variances(theta), *sine_objective.pathwise_variances(theta)]


def _points(subject: object, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    pairs = st.tuples(*(i.elements(torch.float64) for i in sine_objective.parameters))
    return pairs.map(lambda values: (torch.tensor(values, dtype=torch.float64),))


@claim(
    given=_points,
    reference=sine_objective.expected_sine,
    mutants={
        "sigma is taken for its square": lambda e: lambda mu, sigma: e(mu, arb.sqrt(sigma)),
        "the cosine term is left out": lambda e: (
            lambda mu, sigma: e(mu, sigma) - sigma**2 * mu.cos() * arb.exp(-sigma * sigma / 2)
        ),
        "the factor exp(-sigma^2 / 2) is left out": lambda e: lambda mu, sigma: e(mu, sigma) * arb.exp(sigma**2 / 2),
    },
    examples=20,
)
def closed_form_is_the_expectation(expected: Expected, theta: Tensor) -> Iterator[Residual]:
    r"""The closed form of the objective is the expectation.

    $\mathbb E[X\sin X] = e^{-\sigma^2/2}(\mu\sin\mu + \sigma^2\cos\mu)$ for $X \sim \mathcal N(\mu, \sigma^2)$.

    Error bound: the radii of both sides; that of the certified integral includes the tails.
    """
    with arb.precision(128):
        mu, tau = arb.exact_list(theta)
        sigma = arb.exp(tau)

        def value(z: Any) -> Any:
            x = mu + sigma * z
            return x * x.sin()

        true = arb.normal_expectation(value, ((abs(mu) + sigma).upper(), sigma.upper()))
        yield from overlap(arb.to_ball(expected(mu, sigma)), arb.to_ball(true, "certified integral"), "E[X sin X]")


@claim(
    given=_points,
    reference=normal_pathwise,
    mutants={
        "the product rule is forgotten (sin x alone)": lambda g: (
            lambda mu, tau, z: tuple(
                v - w * _cosine(mu, tau, z) for v, w in zip(g(mu, tau, z), (1, arb.exp(tau) * z), strict=True)
            )
        ),
        "the estimate in tau is that in sigma": lambda g: (
            lambda mu, tau, z: (g(mu, tau, z)[0], g(mu, tau, z)[1] / arb.exp(tau))
        ),
        "the sample is detached in sigma": lambda g: lambda mu, tau, z: (g(mu, tau, z)[0], 0 * z),
    },
    uses=(closed_form_is_the_expectation,),
    examples=15,
)
def derivative_through_the_sample(estimate: Pathwise, theta: Tensor) -> Iterator[Residual]:
    r"""The mean derivative through the sample is the gradient of the expectation.

    $\mathbb E[(\sin X + X\cos X)(1, \sigma z)] = \nabla_{(\mu,\tau)}\,e^{-\sigma^2/2}(\mu\sin\mu + \sigma^2\cos\mu)$ with
    $X = \mu + \sigma z$, $\sigma = e^\tau$.

    Error bound: the radii of both sides; that of the certified integral includes the tails.
    """
    with arb.precision(128):
        mu, tau = arb.exact_list(theta)
        size = 2 * (1 + abs(mu) + arb.exp(tau)) * (1 + arb.exp(tau))
        means = [certified_mean(_part(estimate, mu, tau, index), size, 1) for index in (0, 1)]
        true = arb.gradient(lambda t: sine_objective.expected_sine(t[0], arb.exp(t[1])), [mu, tau])
        ours = arb.to_ball(means, "certified integral")
        yield from overlap(ours, arb.to_ball(list(true), "derivative of the closed form"), "mean pathwise estimate")


@claim(
    given=_points,
    reference=normal_variances,
    mutants={
        "second moments are taken for variances": lambda v: (
            lambda theta: [a + m**2 for a, m in zip(v(theta), 2 * sine_objective.mean_slopes(theta), strict=True)]
        ),
        "the two estimators are exchanged": lambda v: lambda theta: [*v(theta)[2:], *v(theta)[:2]],
        "standard deviations are taken for variances": lambda v: lambda theta: [arb.sqrt(a) for a in v(theta)],
        "the variances in tau are those in sigma": lambda v: (
            lambda theta: [a / (arb.exp(2 * theta[1]) if k % 2 else 1) for k, a in enumerate(v(theta))]
        ),
    },
    uses=(derivative_through_the_sample,),
    examples=10,
)
def variances_are_certified_integrals(variances: Variances, theta: Tensor) -> Iterator[Residual]:
    r"""The stated variances of both estimators are integrals over the noise.

    $v = \mathbb E[g^2] - \mathbb E[g]^2$ for $g = X\sin X\cdot(z/\sigma, z^2 - 1)$ and $g = (\sin X + X\cos X)(1, \sigma z)$.

    Error bound: the radii of both sides; those of the certified integrals include the tails.
    """
    with arb.precision(128):
        mu, tau = arb.exact_list(theta)
        sigma = arb.exp(tau)
        # (sum of squares of the linear factor's coefficients): x^2 <= 2 (mu^2 + sigma^2)(1 + z^2).
        square = 2 * (mu**2 + sigma**2)
        slope = 2 + 2 * square
        sizes = [(square / sigma**2, 2), (square, 3), (slope, 1), (slope * sigma**2, 2)]
        moments = [certified_mean(_squared(mu, tau, k), size, power) for k, (size, power) in enumerate(sizes)]
        means = 2 * sine_objective.mean_slopes([mu, tau])
        true = [second - mean**2 for second, mean in zip(moments, means, strict=True)]
        yield from overlap(arb.to_ball(variances([mu, tau])), arb.to_ball(true, "certified integrals"), "variance")


def _cosine(mu: Any, tau: Any, z: Any) -> Any:
    x = mu + arb.exp(tau) * z
    return x * x.cos()


def _part(estimate: Pathwise, mu: Any, tau: Any, index: int) -> Callable[[Any], Any]:
    return lambda z: estimate(mu, tau, z)[index]


def _squared(mu: Any, tau: Any, index: int) -> Callable[[Any], Any]:
    """The square of one coordinate of the score-function estimate (0, 1) or of the pathwise one (2, 3)."""
    estimate = normal_score if index < 2 else normal_pathwise
    return lambda z: estimate(mu, tau, z)[index % 2] ** 2
