"""Audit of normflows: its flows by the laws of a bijection, its base distributions by those of a density and of a sampler.

Parameters are away from the identity, in double precision. The independent confirmation of each bug is in `findings.toml`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from audit import (
    GRADIENT,
    INVERSE_LOG_DET,
    LOG_DET,
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
from scipy import stats
from torch import Tensor, nn

pytest.importorskip("normflows")

from normflows import flows, nets
from normflows.distributions import base

from mathcheck.adapters.normflows import bijection, density, sampler
from mathcheck.engine.strategies import Interval

INSIDE = {"domain": Interval(-1.5, 1.5), "codomain": Interval(-1.5, 1.5)}


class Net(nn.Module):
    """A layer with a saturating activation, so that scales stay moderate."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).tanh()


def normed(flow: Any) -> Any:
    """The flow with its activation normalisations initialised, so that none takes its scale from a batch."""
    for module in flow.modules():
        if isinstance(module, flows.ActNorm):
            module.data_dep_init_done = torch.tensor(1.0)
    return flow


def maps(make: Any, *args: Any, failures: dict[str, str] | None = None, **options: Any) -> Subject:
    """A subject that is made with perturbed parameters; `shape`, `noise`, `change` and `slow` are the subject's."""
    shape, change, slow = options.pop("shape", None), options.pop("change", {}), options.pop("slow", False)
    noise = options.pop("noise", 0.5)

    def built() -> Any:
        given = [a() if callable(a) and not isinstance(a, type) else a for a in args]
        return bijection(normed(perturbed(make(*given, **options), noise)), event_shape=shape)

    return Subject(built, failures or {}, change=change, slow=slow)


SINGLE_SLOPE = "the slope of the leaky ReLU is in single precision"
DTYPE = "the log-determinant is in single precision, whatever the dtype of x"
CIRCULAR = "with both kinds of tails, whatever lies beyond the bound is mapped to 0"
FIXED_POINT = "the iteration stops where the square of the last step is below 1e-5"
MASK = double(1.0, 0.0)
FLOWS = {
    "planar": maps(flows.Planar, (2,)),
    "planar-leaky": maps(
        flows.Planar,
        (2,),
        act="leaky_relu",
        failures=dict.fromkeys((ROUND_TRIP, TARGET, INVERSE_LOG_DET, SHAPE), SINGLE_SLOPE),
    ),
    "radial": maps(flows.Radial, (2,)),
    "affine-constant": maps(flows.AffineConstFlow, (2,)),
    "affine-constant-of-images": maps(flows.AffineConstFlow, (2, 1, 1), shape=(2, 2, 1)),
    "act-norm": maps(flows.ActNorm, (2,)),
    "coupling": maps(flows.AffineCouplingBlock, lambda: Net(1, 2), shape=(2,)),
    "coupling-sigmoid": maps(flows.AffineCouplingBlock, lambda: Net(1, 2), scale_map="sigmoid", shape=(2,)),
    "coupling-inverse-sigmoid": maps(flows.AffineCouplingBlock, lambda: Net(1, 2), scale_map="sigmoid_inv", shape=(2,)),
    "coupling-without-scale": maps(
        flows.AffineCouplingBlock, lambda: Net(1, 1), scale=False, shape=(2,), change={"volume_preserving": True}
    ),
    "coupling-of-a-checkerboard": maps(
        flows.AffineCouplingBlock,
        lambda: Net(1, 1),
        scale=False,
        shape=(2,),
        split_mode="checkerboard",
        change={"volume_preserving": True},
    ),
    "coupling-with-too-few-outputs": maps(
        flows.AffineCouplingBlock,
        lambda: Net(2, 2),
        shape=(4,),
        failures={LOG_DET: "one scale is broadcast over two coordinates and counted once"},
    ),
    "masked-affine": maps(flows.MaskedAffineFlow, MASK, lambda: Net(2, 2), lambda: Net(2, 2)),
    "masked-autoregressive": maps(flows.MaskedAffineAutoregressive, 2, 8, num_blocks=1),
    "glow": maps(flows.GlowBlock, 2, 4, shape=(2, 2, 1), noise=0.1, slow=True),
    "convolution": maps(flows.Invertible1x1Conv, 2, shape=(2, 2, 1)),
    "convolution-lu": maps(flows.Invertible1x1Conv, 2, True, shape=(2, 2, 1)),
    "invertible-affine": maps(flows.InvertibleAffine, 2),
    "invertible-affine-dense": maps(flows.InvertibleAffine, 2, False),
    "lu-permute": maps(flows.LULinearPermute, 2),
    "permute": maps(flows.Permute, 3, failures={SHAPE: DTYPE}),
    "swap": maps(flows.Permute, 3, "swap", failures={SHAPE: DTYPE}),
    "spline-coupling": maps(flows.CoupledRationalQuadraticSpline, 2, 1, 8, slow=True),
    "spline-autoregressive": maps(flows.AutoregressiveRationalQuadraticSpline, 2, 1, 8, slow=True),
    "spline-circular-within-the-bound": maps(
        flows.CircularCoupledRationalQuadraticSpline, 2, 1, 8, [0], tail_bound=1.5, change=INSIDE
    ),
    "spline-circular": maps(
        flows.CircularAutoregressiveRationalQuadraticSpline,
        2,
        1,
        8,
        [0],
        tail_bound=1.5,
        failures={TARGET: CIRCULAR},
        slow=True,
    ),
    "periodic-shift": maps(flows.PeriodicShift, [0, 1], 1.5, 0.7, shape=(2,), change=INSIDE),
    "squeeze": maps(flows.Squeeze, shape=(4, 1, 1)),
    "composite": maps(
        flows.Composite,
        lambda: [flows.MaskedAffineFlow(MASK, Net(2, 2), Net(2, 2)), flows.InvertibleAffine(2)],
        failures={SHAPE: DTYPE},
    ),
    "reverse": maps(flows.Reverse, lambda: flows.MaskedAffineFlow(MASK, Net(2, 2), Net(2, 2))),
    "residual": maps(
        flows.Residual,
        lambda: nets.LipschitzMLP([2, 8, 2]),
        brute_force=True,
        noise=0.1,
        shape=(2,),
        slow=True,
        failures=dict.fromkeys((ROUND_TRIP, TARGET, LOG_DET, ROWS), FIXED_POINT),
    ),
}


def wide(distribution: Any, **options: Any) -> Any:
    return lambda: density(perturbed(distribution()), **options)


def mixture() -> Any:
    return base.GaussianMixture(2, 1, loc=[[-1.0], [2.0]], scale=[[1.0], [0.5]], weights=[1.0, 3.0])


def cdf_of_the_mixture(x: Tensor) -> Tensor:
    return torch.as_tensor((stats.norm.cdf(x.double(), -1, 1) + 3 * stats.norm.cdf(x.double(), 2, 0.5)) / 4)


CONSTANT = dict.fromkeys((ROWS, GRADIENT), "vacuous: the density is constant")
DISTRIBUTIONS = {
    "diagonal-gaussian": Subject(wide(lambda: base.DiagGaussian(2))),
    "uniform": Subject(
        lambda: density(base.Uniform(1, double(-1.0), double(1.0)), support=Interval(-1.0, 1.0)),
        {SHAPE: DTYPE, MASS: DTYPE, ROWS: CONSTANT[ROWS]},
    ),
    "uniform-gaussian": Subject(
        lambda: density(base.UniformGaussian(1, [0], double(2.0).reshape(1)), support=Interval(-1.0, 1.0)),
        {OUTSIDE: "the density of the uniform part goes on outside", **CONSTANT},
    ),
    "glow-base": Subject(wide(lambda: base.GlowBase((2,)))),
    "affine-gaussian": Subject(wide(lambda: base.AffineGaussian((2,), (2,)))),
    "gaussian-mixture": Subject(wide(lambda: base.GaussianMixture(3, 2), event_shape=(2,))),
    "gaussian-pca": Subject(
        wide(lambda: base.GaussianPCA(1, 1), event_shape=(1,)),
        {MASS: "the constant has the wrong sign, and the determinant stands for its logarithm"},
    ),
}
DRAWS = {
    "gaussian-mixture": Subject(lambda: sampler(mixture(), cdf_of_the_mixture), kind="sampler"),
    "diagonal-gaussian": Subject(
        lambda: sampler(base.DiagGaussian(1), lambda x: torch.as_tensor(stats.norm.cdf(x.double()))), kind="sampler"
    ),
}


@params(FLOWS)
def test_flow(name: str, seed: int) -> None:
    judge(FLOWS, name, seed)


@params(DISTRIBUTIONS)
def test_density(name: str, seed: int) -> None:
    judge({k: dataclasses.replace(s, kind="density") for k, s in DISTRIBUTIONS.items()}, name, seed)


@params(DRAWS)
def test_sampler(name: str, seed: int) -> None:
    judge(DRAWS, name, seed)
