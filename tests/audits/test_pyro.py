"""Audit of Pyro: its own transforms by the laws of a bijection, its distributions by those of a density and of a sampler.

Parameters are away from the identity, in double precision. What Pyro takes over from torch is audited there. The
independent confirmation of each bug is in `findings.toml`.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from audit import (
    CDF,
    INVERSE_LOG_DET,
    LOG_DET,
    LOG_DET_FINITE,
    MASS,
    OUTSIDE,
    ROUND_TRIP,
    ROWS,
    SHAPE,
    TARGET,
    Subject,
    double,
    judge,
    params,
    perturbed,
)
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

pytest.importorskip("pyro")

import pyro.distributions as pd
from pyro.distributions import transforms as pt

from mathcheck.adapters.torch import bijection, density, sampler
from mathcheck.engine import strategies
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.flows.bijection import Bijection


def maps(
    make: Any,
    *args: Any,
    failures: dict[str, str] | None = None,
    change: Any = None,
    slow: bool = False,
    dtype: torch.dtype = torch.float64,
    shape: Any = None,
    **options: Any,
) -> Subject:
    """A subject that is made with perturbed parameters."""
    return Subject(
        lambda: bijection(perturbed(make(*args, **options), dtype=dtype), event_shape=shape),
        failures or {},
        change=change or {},
        slow=slow,
    )


def from_simplex(anchor: float) -> Bijection:
    """The inverse of the map from the simplex to ordered vectors, which starts from a space of full dimension."""
    t = pt.SimplexToOrderedTransform(double(anchor))

    def points(batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
        free = strategies.tensors((*batch, 2), dtype, Interval(reach=2.0))
        return free.map(lambda v: torch.stack([v[..., 0], v[..., 0] + v[..., 1].exp()], -1))

    return Bijection(
        t.inv,
        t,
        lambda y: -t.log_abs_det_jacobian(t.inv(y), y),
        (2,),
        domain=Interval(reach=100.0),
        codomain=None,
        coordinates=lambda x: x[..., :-1],
        points=points,
        batch_shapes=BATCH_SHAPES,
    )


EPSILON = "1e-8 is added before a logarithm is taken"
ONE_FOR_ALL = "one log-determinant for all rows, without dimensions"
RAISES = "inverts a tensor of the default dtype, not of the dtype of y"
MISSING_ABS = "the logarithm of a negative diagonal entry is taken without its absolute value"
SHAPES = dict.fromkeys((INVERSE_LOG_DET, ROWS, SHAPE), ONE_FOR_ALL)
PRESERVES = {"volume_preserving": True}
TRIANGLE = torch.tensor([[2.0, 0.0], [1.0, 0.75]], dtype=torch.float64)
AWAY = {"domain": Interval(2.0**-6, reach=10.0), "codomain": Interval(2.0**-6, reach=10.0)}
TRANSFORMS = {
    "planar": maps(pt.Planar, 2),
    "radial": maps(pt.Radial, 2),
    "sylvester": maps(pt.Sylvester, 2, failures={LOG_DET: "it is that of the factors in another order"}),
    "householder": maps(pt.Householder, 2, 2),
    "affine-coupling": maps(pt.affine_coupling, 2, [8]),
    "spline": maps(pt.Spline, 1, count_bins=4, shape=(1,)),
    "spline-linear": maps(pt.Spline, 1, count_bins=4, order="linear", shape=(1,)),
    "spline-coupling": maps(pt.spline_coupling, 2, 1, [8], count_bins=4, slow=True),
    "affine-autoregressive": maps(
        pt.affine_autoregressive, 2, [8], failures=dict.fromkeys((ROUND_TRIP, TARGET, INVERSE_LOG_DET, SHAPE), RAISES)
    ),
    "affine-autoregressive-single": maps(pt.affine_autoregressive, 2, [8], dtype=torch.float32),
    "spline-autoregressive": maps(pt.spline_autoregressive, 2, [8], count_bins=4, slow=True),
    "neural-autoregressive": maps(
        pt.neural_autoregressive, 2, [8], failures={LOG_DET: "1e-8 and 1e-6 are added to weights"}
    ),
    "block-autoregressive": maps(pt.block_autoregressive, 2, failures={LOG_DET: EPSILON}, slow=True),
    "polynomial": maps(pt.polynomial, 2, [8], failures={LOG_DET: EPSILON}),
    "matrix-exponential": maps(
        pt.MatrixExponential,
        2,
        failures=SHAPES
        | dict.fromkeys(
            (ROUND_TRIP, TARGET, LOG_DET), "the series of the exponential is cut off after 8 terms, as documented"
        ),
    ),
    "permute": Subject(lambda: pt.Permute(torch.tensor([2, 0, 1]))),
    "batch-norm": maps(pt.BatchNorm, 2, failures=SHAPES | {LOG_DET: ONE_FOR_ALL}),
    "channel-permute": maps(pt.GeneralizedChannelPermute, 2, shape=(2, 2, 1)),
    "lower-cholesky": Subject(lambda: pt.LowerCholeskyAffine(double(1.0, 2.0), TRIANGLE)),
    "lower-cholesky-negative": Subject(
        lambda: pt.LowerCholeskyAffine(double(1.0, 2.0), -TRIANGLE),
        dict.fromkeys((LOG_DET, LOG_DET_FINITE, INVERSE_LOG_DET, ROWS), MISSING_ABS),
    ),
    "elu": Subject(pt.ELUTransform, dict.fromkeys((ROUND_TRIP, INVERSE_LOG_DET), "1e-8 is added in the inverse")),
    "leaky-relu": Subject(pt.LeakyReLUTransform),
    "haar": Subject(pt.HaarTransform, change=PRESERVES),
    "haar-flipped": Subject(lambda: pt.HaarTransform(flip=True), change=PRESERVES),
    "cosine": Subject(pt.DiscreteCosineTransform, change=PRESERVES),
    "cosine-smooth": Subject(
        lambda: pt.DiscreteCosineTransform(smooth=1.0),
        {LOG_DET: "the weights of a call in single precision are kept for one in double"},
        change=PRESERVES,
    ),
    "ordered": Subject(lambda: bijection(pt.OrderedTransform(), event_shape=(2,))),
    "positive-power": Subject(lambda: pt.PositivePowerTransform(double(3.0)), change=AWAY),
    "from-simplex": Subject(lambda: from_simplex(0.0)),
    "from-simplex-with-an-anchor": Subject(lambda: from_simplex(1.0), {LOG_DET: "the anchor is not subtracted first"}),
}

TAIL = "a small probability is the difference of numbers near 1"
CIRCLE = Interval(-math.pi, math.pi)
BESSEL = {MASS: "the Bessel function is a polynomial, good to 2e-7", OUTSIDE: "the density goes on around the circle"}
DENSITIES = {
    "inverse-gamma": Subject(lambda: pd.InverseGamma(double(3.0), double(2.0)), {CDF: TAIL}),
    "generalized-pareto": Subject(lambda: density(pd.GeneralizedPareto(*torch.tensor([0.0, 1.0, 0.3]))), {CDF: TAIL}),
    "asymmetric-laplace": Subject(lambda: pd.AsymmetricLaplace(double(0.0), double(1.0), double(2.0))),
    "soft-laplace": Subject(lambda: pd.SoftLaplace(double(0.0), double(1.0))),
    "soft-asymmetric-laplace": Subject(
        lambda: pd.SoftAsymmetricLaplace(double(0.0), double(1.0), double(2.0), double(0.5))
    ),
    "skew-logistic": Subject(lambda: pd.SkewLogistic(double(0.0), double(1.0), double(2.0))),
    "logistic": Subject(lambda: pd.Logistic(double(0.0), double(1.0))),
    "affine-beta": Subject(lambda: pd.AffineBeta(double(2.0), double(3.0), double(-1.0), double(4.0))),
    "folded-normal": Subject(lambda: pd.FoldedDistribution(pd.Normal(double(0.5), double(1.0)))),
    "student": Subject(lambda: pd.MultivariateStudentT(double(5.0), double(0.0, 1.0), TRIANGLE)),
    "normal-by-cholesky": Subject(lambda: pd.OMTMultivariateNormal(double(0.0, 1.0), TRIANGLE)),
    "mixture": Subject(lambda: pd.MixtureOfDiagNormals(TRIANGLE, TRIANGLE.abs() + 0.5, double(0.3, -0.2))),
    "mixture-with-one-covariance": Subject(
        lambda: pd.MixtureOfDiagNormalsSharedCovariance(TRIANGLE, double(1.0, 0.5), double(0.3, -0.2))
    ),
    "two-angles": Subject(
        lambda: density(pd.SineBivariateVonMises(*double(0.1, 0.2, 2.0, 3.0, 1.0)), support=CIRCLE), BESSEL
    ),
}


def cdf(law: Any) -> Any:
    return lambda x: torch.as_tensor(law.cdf(x.double().numpy()))


SAMPLERS = {
    "asymmetric-laplace": Subject(
        lambda: sampler(
            pd.AsymmetricLaplace(double(0.0), double(1.0), double(2.0)), cdf=cdf(stats.laplace_asymmetric(2.0))
        )
    ),
    "soft-laplace": Subject(lambda: pd.SoftLaplace(double(0.0), double(1.0))),
    "skew-logistic": Subject(
        lambda: sampler(pd.SkewLogistic(double(0.0), double(1.0), double(2.0)), cdf=cdf(stats.genlogistic(2.0)))
    ),
    "logistic": Subject(lambda: sampler(pd.Logistic(double(0.0), double(1.0)), cdf=cdf(stats.logistic))),
    "inverse-gamma": Subject(
        lambda: sampler(pd.InverseGamma(double(3.0), double(2.0)), cdf=cdf(stats.invgamma(3.0, scale=2.0)))
    ),
    "generalized-pareto": Subject(
        lambda: sampler(pd.GeneralizedPareto(*torch.tensor([0.0, 1.0, 0.3])), cdf=cdf(stats.genpareto(0.3)))
    ),
    "affine-beta": Subject(
        lambda: sampler(
            pd.AffineBeta(double(2.0), double(3.0), double(-1.0), double(4.0)), cdf=cdf(stats.beta(2.0, 3.0, -1.0, 4.0))
        )
    ),
    "folded-normal": Subject(
        lambda: sampler(pd.FoldedDistribution(pd.Normal(double(0.5), double(1.0))), cdf=cdf(stats.foldnorm(0.5)))
    ),
    "stable": Subject(
        lambda: sampler(pd.Stable(double(1.0), double(0.0)), cdf=cdf(stats.cauchy)),
        {"tails_hold_their_probability": "vacuous: a shift by one is nothing so far out"},
    ),
}


def of(kind: str, table: dict[str, Subject]) -> dict[str, Subject]:
    return {name: Subject(s.make, s.failures, kind, s.change, s.slow) for name, s in table.items()}


@params(TRANSFORMS)
def test_transform(name: str, seed: int) -> None:
    judge(TRANSFORMS, name, seed)


@params(DENSITIES)
def test_density(name: str, seed: int) -> None:
    judge(of("density", DENSITIES), name, seed)


@params(SAMPLERS)
def test_sampler(name: str, seed: int) -> None:
    judge(of("sampler", SAMPLERS), name, seed)
