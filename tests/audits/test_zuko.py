"""Audit of zuko: its transforms by the laws of a bijection, its distributions by those of a density and of a sampler.

Parameters are away from the identity. The independent confirmation of each bug is in `findings.toml`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from audit import (
    FINITE,
    INVERSE_LOG_DET,
    LOG_DET,
    LOG_DET_FINITE,
    MASS,
    OUTSIDE,
    ROUND_TRIP,
    ROWS,
    TARGET,
    Subject,
    double,
    judge,
    noise,
    params,
)
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution, Normal, Uniform

_validation = Distribution._validate_args, Distribution.arg_constraints
zuko = pytest.importorskip("zuko")
zd, zt = zuko.distributions, zuko.transforms
# Importing zuko switches the validation of torch's distributions off, for every other test too.
Distribution._validate_args, Distribution.arg_constraints = _validation

from mathcheck.adapters import torch as of_torch  # noqa: E402
from mathcheck.adapters import zuko as of_zuko  # noqa: E402
from mathcheck.engine.strategies import Interval  # noqa: E402
from mathcheck.flows.bijection import Bijection  # noqa: E402
from mathcheck.probability.density import Density  # noqa: E402


@pytest.fixture(autouse=True)
def as_zuko_has_it() -> Iterator[None]:
    Distribution._validate_args, Distribution.arg_constraints = False, {}
    yield
    Distribution._validate_args, Distribution.arg_constraints = _validation


def affine(shift: Tensor, scale: Tensor) -> Any:
    return zt.DependentTransform(zt.MonotonicAffineTransform(shift, scale), 1)


def autoregressive(x: Tensor) -> Any:
    a, b = x[..., 0], x[..., 1]
    return affine(
        torch.stack([0 * a, a.sin(), a / 10 - b.cos()], -1), torch.stack([0 * a + 0.3, a.tanh(), b.sin()], -1)
    )


def coupling(x: Tensor) -> Any:
    a = x[..., 0]
    return affine(torch.stack([a.sin(), a / 10], -1), torch.stack([a.tanh(), a.cos()], -1))


def ode(**options: Any) -> Bijection:
    matrix = noise(8, 2, 2) / 2
    flow = zt.FreeFormJacobianTransform(lambda t, x: (x @ matrix.to(x)).tanh(), **options)
    return of_zuko.bijection(flow, event_shape=(2,))


ZERO_SLOPE = "the derivative at 0 is 0, in truth too"
AT_ZERO = "0 times the infinite power of 0"
NAN = {ROWS: "NaN in every row", INVERSE_LOG_DET: AT_ZERO, LOG_DET_FINITE: "at 0 it is infinite, or NaN"}
SOLVER = (
    "the equation is solved to an absolute error of 1e-6 and a relative one of 1e-5, the trace to a hundredth of it"
)
TRANSFORMS = {
    "identity": Subject(zt.IdentityTransform, {ROUND_TRIP: "vacuous: twice the inverse of the identity is right too"}),
    "cos": Subject(zt.CosTransform),
    "sin": Subject(zt.SinTransform),
    "softclip": Subject(lambda: zt.SoftclipTransform(5.0)),
    "circular-shift": Subject(lambda: zt.CircularShiftTransform(1.5)),
    "signed-power-above-one": Subject(
        lambda: zt.SignedPowerTransform(double(0.5)),
        {TARGET: AT_ZERO, INVERSE_LOG_DET: AT_ZERO, LOG_DET_FINITE: ZERO_SLOPE},
    ),
    "signed-power-below-one": Subject(lambda: zt.SignedPowerTransform(double(-0.5)), NAN),
    "signed-power-one": Subject(
        lambda: zt.SignedPowerTransform(double(0.0)),
        NAN | {LOG_DET: "0 times the logarithm of 0", ROUND_TRIP: "vacuous: it is the identity"},
    ),
    "additive": Subject(lambda: zt.AdditiveTransform(double(1.0, -2.0, 0.3))),
    "affine": Subject(lambda: zt.MonotonicAffineTransform(double(1.0, -2.0, 0.3), double(0.5, -1.0, 3.0))),
    "rational-quadratic-spline": Subject(lambda: zt.MonotonicRQSTransform(noise(0, 8), noise(1, 8), noise(2, 7))),
    "monotonic": Subject(lambda: zt.MonotonicTransform(lambda x: x + x.tanh())),
    "bernstein": Subject(lambda: zt.BernsteinTransform(noise(3, 6))),
    "bounded-bernstein": Subject(lambda: zt.BoundedBernsteinTransform(noise(4, 6))),
    "gaussianization": Subject(
        lambda: of_zuko.bijection(zt.GaussianizationTransform(noise(5, 4), noise(6, 4)), domain=Interval(reach=2.0))
    ),
    "unconstrained": Subject(lambda: zt.UnconstrainedMonotonicTransform(lambda x: 1 + x.sin() / 2)),
    "sum-of-squares": Subject(lambda: zt.SOSPolynomialTransform(noise(7, 2, 3))),
    "autoregressive": Subject(lambda: zt.AutoregressiveTransform(autoregressive, 3)),
    "coupling": Subject(lambda: zt.CouplingTransform(coupling, torch.tensor([True, False, False]))),
    "permutation": Subject(lambda: zt.PermutationTransform(torch.tensor([2, 0, 1]))),
    "rotation": Subject(lambda: zt.RotationTransform(noise(9, 3, 3))),
    "lu": Subject(lambda: zt.LULinearTransform(noise(10, 3, 3))),
    "composed": Subject(
        lambda: zt.ComposedTransform(
            zt.RotationTransform(noise(9, 3, 3)),
            zt.MonotonicAffineTransform(double(1.0, -2.0, 0.3), double(0.5, -1.0, 0.2)),
            zt.SoftclipTransform(5.0),
        )
    ),
    "free-form": Subject(
        ode,
        dict.fromkeys((ROUND_TRIP, TARGET, LOG_DET, INVERSE_LOG_DET), SOLVER) | {ROWS: "one step size serves all rows"},
        slow=True,
    ),
    "free-form-stochastic": Subject(
        lambda: ode(exact=False),
        dict.fromkeys((ROUND_TRIP, TARGET), SOLVER)
        | dict.fromkeys((LOG_DET, ROWS), "an unbiased estimate, as documented"),
        slow=True,
    ),
}


def standard() -> Normal:
    return Normal(double(0.0), double(1.0))


def ordered(distribution: Any) -> Density:
    """A density of ordered pairs in the coordinates (smaller, logarithm of the difference), which fill the plane."""

    def log_prob(v: Tensor) -> Tensor:
        pair = torch.stack([v[..., 0], v[..., 0] + v[..., 1].exp()], -1)
        return distribution.log_prob(pair) + v[..., 1]

    return Density(log_prob, Interval(reach=1.5), (2,), dtype=torch.float64)


SINGLE = "the logarithm of the factorial is rounded to single precision"
ONE_MINUS = "1 - F is 0 from 8.3 on"
DENSITIES = {
    "flow": Subject(lambda: zd.NormalizingFlow(zt.SoftclipTransform(11.0), Uniform(double(-11.0), double(11.0)))),
    "flow-of-a-spline": Subject(
        lambda: zd.NormalizingFlow(
            zt.ComposedTransform(zt.MonotonicAffineTransform(double(1.0), double(0.5)), zt.SoftclipTransform(5.0)),
            Uniform(double(-5.0), double(5.0)),
        )
    ),
    "joint": Subject(
        lambda: of_zuko.density(zd.Joint(standard(), Normal(double(1.0), double(0.5))), support=Interval(reach=10.0))
    ),
    "mixture": Subject(lambda: zd.Mixture(Normal(double(-1.0, 2.0), double(1.0, 0.5)), double(0.3, -0.2))),
    "generalized-normal": Subject(lambda: zd.GeneralizedNormal(double(3.0))),
    "diagonal-normal": Subject(lambda: zd.DiagNormal(double(1.0, -1.0), double(2.0, 0.5))),
    "box-uniform": Subject(
        lambda: zd.BoxUniform(double(-1.0, -1.0), double(1.0, 1.0)), {ROWS: "vacuous: the density is constant"}
    ),
    "transformed-uniform": Subject(
        lambda: of_zuko.density(
            zd.TransformedUniform(zt.ExpTransform(), double(-1.0), double(1.0)), support=Interval(-1.0, 1.0)
        )
    ),
    "truncated": Subject(
        lambda: of_zuko.density(zd.Truncated(standard(), double(-1.0), double(2.0)), support=Interval(-1.0, 2.0))
    ),
    "truncated-far-out": Subject(
        lambda: of_zuko.density(zd.Truncated(standard(), double(5.0), double(math.inf)), support=Interval(5.0)),
        dict.fromkeys(
            (MASS, OUTSIDE, FINITE, "cdf_is_the_mass_below"), "F rounds to 1 from 8.3 on, and loses digits before"
        ),
    ),
    "sort": Subject(lambda: ordered(zd.Sort(standard(), 2))),
    "top-two": Subject(lambda: ordered(zd.TopK(standard(), 2, 3))),
    "minimum": Subject(lambda: zd.Minimum(standard(), 3), {MASS: SINGLE, FINITE: ONE_MINUS}),
    "maximum": Subject(lambda: zd.Maximum(standard(), 3), {MASS: SINGLE, FINITE: "torch's F is 0 up to -8.3"}),
}


def cdf(law: Any, change: Callable[[Any], Any] = lambda u: u) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.as_tensor(change(law.cdf(x.double().numpy())))


def sampled(make: Callable[[], Any], law: Any, change: Any = lambda u: u, **options: Any) -> Callable[[], Any]:
    return lambda: of_torch.sampler(make(), cdf=cdf(law, change), **options)


BELOW = "draws lie below the lower bound: 1e-6 of the probability is cut off and given to the middle"
SAMPLERS = {
    "generalized-normal": Subject(sampled(lambda: zd.GeneralizedNormal(double(3.0)), stats.gennorm(3))),
    "mixture": Subject(
        lambda: of_torch.sampler(
            zd.Mixture(Normal(double(-1.0, 2.0), double(1.0, 0.5)), double(0.0, math.log(3))),
            cdf=lambda x: cdf(stats.norm(-1, 1))(x) / 4 + 3 * cdf(stats.norm(2, 0.5))(x) / 4,
        )
    ),
    "truncated": Subject(sampled(lambda: zd.Truncated(standard(), double(-1.0), double(2.0)), stats.truncnorm(-1, 2))),
    "truncated-far-out": Subject(
        sampled(lambda: zd.Truncated(standard(), double(5.0), double(math.inf)), stats.truncnorm(5, math.inf)),
        dict.fromkeys(
            ("draws_follow_the_distribution", "tails_hold_their_probability", "successive_draws_are_independent"), BELOW
        ),
    ),
    "minimum": Subject(sampled(lambda: zd.Minimum(standard(), 3), stats.norm, lambda u: 1 - (1 - u) ** 3)),
    "maximum": Subject(sampled(lambda: zd.Maximum(standard(), 3), stats.norm, lambda u: u**3)),
    "sort": Subject(sampled(lambda: zd.Sort(standard(), 2), stats.norm, lambda u: u**2, statistic=lambda x: x[:, 1])),
    "top-two": Subject(
        sampled(
            lambda: zd.TopK(standard(), 2, 3), stats.norm, lambda u: 3 * u**2 - 2 * u**3, statistic=lambda x: x[:, 1]
        )
    ),
}


@params(TRANSFORMS)
def test_transform(name: str, seed: int) -> None:
    judge(TRANSFORMS, name, seed)


@params(DENSITIES)
def test_density(name: str, seed: int) -> None:
    judge({k: dataclasses.replace(s, kind="density") for k, s in DENSITIES.items()}, name, seed)


@params(SAMPLERS)
def test_sampler(name: str, seed: int) -> None:
    judge({k: dataclasses.replace(s, kind="sampler") for k, s in SAMPLERS.items()}, name, seed)
