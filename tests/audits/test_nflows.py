"""Audit of nflows: its transforms by the laws of a bijection, its distributions by those of a density and of a sampler.

Parameters are away from the identity, in double precision. Maps of the unit interval are judged away from its ends,
where they keep an absolute accuracy only. The independent confirmation of each bug is in `findings.toml`.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from audit import INVERSE_LOG_DET, LOG_DET, ROUND_TRIP, SHAPE, TARGET, Subject, judge, params, perturbed
from scipy import stats

pytest.importorskip("nflows")

from nflows import distributions as nd
from nflows import transforms as nt
from nflows.nn.nets import ResidualNet
from nflows.transforms.nonlinearities import CauchyCDF, CauchyCDFInverse

from mathcheck.adapters.nflows import bijection, density, sampler
from mathcheck.engine.strategies import Interval

MASK = torch.tensor([1, -1])
INNER = {"domain": Interval(2.0**-6, 1 - 2.0**-6), "codomain": Interval(2.0**-6, 1 - 2.0**-6)}
AWAY = {"domain": Interval(2.0**-3, 3.0), "codomain": Interval(2.0**-3, 0.75)}


def net(inputs: int, outputs: int) -> Any:
    return ResidualNet(inputs, outputs, hidden_features=8, num_blocks=1, activation=torch.tanh)


def tails() -> dict[str, Any]:
    return {"tails": "linear", "tail_bound": 3.0}


def quiet(module: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return perturbed(module())


def maps(make: Any, *args: Any, failures: dict[str, str] | None = None, **options: Any) -> Subject:
    """A subject that is made with perturbed parameters; `shape`, `change` and `slow` are the subject's."""
    shape, change = options.pop("shape", None), options.pop("change", {})
    slow = options.pop("slow", False)
    return Subject(
        lambda: bijection(quiet(lambda: make(*args, **options)), event_shape=shape),
        failures or {},
        change=change,
        slow=slow,
    )


LINEAR = dict.fromkeys((ROUND_TRIP, TARGET, INVERSE_LOG_DET), "the bins' ends are in single precision")
CLAMPED = "the inverse takes targets within 1e-6 of 0 or 1 for 1e-6 or 1 - 1e-6"
NO_LOG1P = "the inverse of tanh is computed without log1p: it loses digits near 0"
SINGLE = "a constant is kept in single precision"
TRANSFORMS = {
    "identity": maps(
        nt.IdentityTransform, failures={ROUND_TRIP: "vacuous: twice the inverse of the identity is right too"}
    ),
    "affine": maps(nt.PointwiseAffineTransform, torch.tensor([1.0, 2.0]), torch.tensor([3.0, 0.5]), shape=(2,)),
    "act-norm": maps(nt.ActNorm, 2),
    "act-norm-of-images": maps(nt.ActNorm, 2, shape=(2, 2, 1)),
    "batch-norm": maps(nt.BatchNorm, 2),
    "affine-coupling": maps(nt.AffineCouplingTransform, MASK, net),
    "additive-coupling": maps(nt.AdditiveCouplingTransform, MASK, net),
    "rational-quadratic-coupling": maps(nt.PiecewiseRationalQuadraticCouplingTransform, MASK, net, **tails()),
    "quadratic-coupling": maps(nt.PiecewiseQuadraticCouplingTransform, MASK, net, **tails(), slow=True),
    "cubic-coupling": maps(nt.PiecewiseCubicCouplingTransform, MASK, net, change=INNER, slow=True),
    "linear-coupling": maps(nt.PiecewiseLinearCouplingTransform, MASK, net, change=INNER, failures=LINEAR),
    "linear-cdf": maps(nt.PiecewiseLinearCDF, (2,), change=INNER, failures=LINEAR),
    "linear-cdf-with-tails": maps(nt.PiecewiseLinearCDF, (2,), **tails(), failures=LINEAR),
    "quadratic-cdf": maps(nt.PiecewiseQuadraticCDF, (2,), change=INNER),
    "cubic-cdf": maps(nt.PiecewiseCubicCDF, (2,), change=INNER, slow=True),
    "rational-quadratic-cdf": maps(nt.PiecewiseRationalQuadraticCDF, (2,), change=INNER),
    "rational-quadratic-cdf-with-tails": maps(nt.PiecewiseRationalQuadraticCDF, (2,), **tails()),
    "cubic-cdf-with-tails": maps(nt.PiecewiseCubicCDF, (2,), **tails(), slow=True),
    "lu": maps(nt.LULinear, 3),
    "naive-linear": maps(
        nt.NaiveLinear,
        3,
        failures=dict.fromkeys((ROUND_TRIP, INVERSE_LOG_DET, SHAPE), "its inverse calls torch.solve, which is gone"),
    ),
    "qr": maps(nt.QRLinear, 3, 2),
    "svd": maps(nt.SVDLinear, 3, 2),
    "householder": maps(nt.HouseholderSequence, 3, 2),
    "random-permutation": maps(nt.RandomPermutation, 3),
    "one-by-one-convolution": maps(nt.OneByOneConvolution, 2, shape=(2, 2, 1)),
    "leaky-relu": maps(nt.LeakyReLU, failures={SHAPE: SINGLE}, shape=(1,)),
    "sigmoid": maps(nt.Sigmoid, failures={TARGET: CLAMPED}, shape=(1,)),
    "sigmoid-with-temperature": maps(
        nt.Sigmoid,
        temperature=2.0,
        shape=(1,),
        failures={ROUND_TRIP: CLAMPED, TARGET: CLAMPED, LOG_DET: SINGLE, INVERSE_LOG_DET: CLAMPED},
    ),
    "logit": maps(nt.Logit, shape=(1,), change={"codomain": Interval(reach=10.0), "domain": INNER["domain"]}),
    "tanh-away-from-zero": maps(nt.Tanh, shape=(1,), change=AWAY),
    "tanh": maps(
        nt.Tanh, shape=(1,), failures={ROUND_TRIP: NO_LOG1P, TARGET: NO_LOG1P}, change={"domain": Interval(reach=3.0)}
    ),
    "log-tanh-away-from-zero": maps(
        nt.LogTanh, shape=(1,), change={"domain": AWAY["domain"], "codomain": AWAY["codomain"]}
    ),
    "log-tanh": maps(nt.LogTanh, shape=(1,), failures={ROUND_TRIP: NO_LOG1P, TARGET: NO_LOG1P}),
    "cauchy-cdf": maps(
        CauchyCDF, shape=(1,), change={"domain": Interval(-0.5, 10.0, 10.0), "codomain": INNER["codomain"]}
    ),
    "inverse-cauchy-cdf": maps(
        CauchyCDFInverse, shape=(1,), change={"domain": Interval(0.25, 1 - 2.0**-6), "codomain": Interval(-0.5, 10.0)}
    ),
    "squeeze": maps(nt.SqueezeTransform, shape=(1, 2, 2)),
    "squeeze-by-three": maps(
        nt.SqueezeTransform,
        3,
        shape=(1, 3, 3),
        failures=dict.fromkeys((ROUND_TRIP, INVERSE_LOG_DET, SHAPE), "the inverse asks for a multiple of 4 channels"),
    ),
    "affine-autoregressive": maps(nt.MaskedAffineAutoregressiveTransform, 2, 8, num_blocks=1),
    "rational-quadratic-autoregressive": maps(
        nt.MaskedPiecewiseRationalQuadraticAutoregressiveTransform, 2, 8, num_blocks=1, **tails(), slow=True
    ),
    "composite": Subject(
        lambda: bijection(perturbed(nt.CompositeTransform([nt.LULinear(2), nt.ActNorm(2), nt.ReversePermutation(2)])))
    ),
}
SAMPLED = {
    "standard-normal": Subject(lambda: density(nd.StandardNormal([2]), event_shape=(2,)), kind="density"),
    "diagonal-normal": Subject(lambda: density(perturbed(nd.DiagonalNormal([2])), event_shape=(2,)), kind="density"),
    "box-uniform": Subject(
        lambda: nd.uniform.BoxUniform(torch.zeros(2).double(), torch.ones(2).double()),
        {"rows_are_independent": "vacuous: the density is constant"},
        kind="density",
    ),
    "draws-of-a-standard-normal": Subject(
        lambda: sampler(nd.StandardNormal([1]), lambda x: torch.as_tensor(stats.norm.cdf(x.double().numpy()))),
        kind="sampler",
    ),
}


@params(TRANSFORMS)
def test_transform(name: str, seed: int) -> None:
    judge(TRANSFORMS, name, seed)


@params(SAMPLED)
def test_distribution(name: str, seed: int) -> None:
    judge(SAMPLED, name, seed)
