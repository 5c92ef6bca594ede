"""Audit of the densities, samplers and quantiles of `torch.distributions`, in double precision, and of their adapter."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributions as td
from audit import CDF, FINITE, MASS, OUTSIDE, RISES, ROWS, Subject, double, judge, params
from scipy import stats
from torch import Tensor, nn

from mathcheck.adapters import adapt
from mathcheck.adapters.torch import density, quantile, sampler
from mathcheck.engine.strategies import Interval

TAIL = "a small probability is the difference of numbers near 1: its error is eps, however small it is"
CONSTANT = {ROWS: "vacuous: the density is constant"}
ADJOINT, LIMITS = "lower_adjoint_of_the_distribution_function", "level_lies_between_the_limits"
MATRIX = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)


def of(make: Callable[..., Any], *values: float) -> Callable[[], Any]:
    return lambda: make(*map(double, values))


DENSITIES = {
    "normal": Subject(of(td.Normal, 1.0, 2.0), {CDF: TAIL}),
    "gamma": Subject(of(td.Gamma, 2.0, 3.0)),
    "beta": Subject(of(td.Beta, 2.0, 3.0)),
    "chi-squared": Subject(of(td.Chi2, 4.0)),
    "student": Subject(of(td.StudentT, 3.0, 1.0, 2.0)),
    "cauchy": Subject(of(td.Cauchy, 0.0, 1.0)),
    "gumbel": Subject(of(td.Gumbel, 0.0, 1.0), dict.fromkeys((CDF, RISES), "a probability that underflows is refused")),
    "half-normal": Subject(of(td.HalfNormal, 2.0), {CDF: TAIL}),
    "exponential": Subject(of(td.Exponential, 2.0), {CDF: TAIL}),
    "log-normal": Subject(of(td.LogNormal, 0.0, 0.5), {CDF: TAIL}),
    "weibull": Subject(
        of(td.Weibull, 1.0, 2.0),
        {CDF: TAIL, FINITE: "the gradient of a power that underflows", RISES: "a square of negative numbers"},
    ),
    "pareto": Subject(of(td.Pareto, 1.0, 3.0)),
    "fisher-snedecor": Subject(of(td.FisherSnedecor, 6.0, 5.0)),
    "kumaraswamy": Subject(of(td.Kumaraswamy, 2.0, 3.0), {FINITE: "a small power is subtracted from 1", CDF: TAIL}),
    "continuous-bernoulli": Subject(of(td.ContinuousBernoulli, 0.3), {CDF: TAIL}),
    "uniform": Subject(of(td.Uniform, -1.0, 2.0), CONSTANT),
    "von-mises": Subject(
        lambda: density(td.VonMises(double(0.5), double(3.0)), support=Interval(-math.pi, math.pi)),
        {MASS: "the Bessel function is good to 2e-7", OUTSIDE: "the density goes on around the circle"},
    ),
    "normal-of-vectors": Subject(lambda: td.MultivariateNormal(double(0.0, 1.0), MATRIX)),
    "low-rank-normal": Subject(
        lambda: td.LowRankMultivariateNormal(double(0.0, 1.0), MATRIX[:, :1], double(0.3, 0.4)),
        change={"support": Interval(reach=3.0)},
    ),
    "batch-of-normals": Subject(lambda: td.Normal(double(0.0, 1.0), double(1.0, 0.5))),
    "mixture": Subject(
        lambda: td.MixtureSameFamily(td.Categorical(double(0.3, 0.7)), td.Normal(double(-1.0, 2.0), double(1.0, 0.5))),
        {CDF: TAIL},
    ),
}


def cdf(law: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.as_tensor(law.cdf(x.double().numpy()))


SAMPLERS = {
    "normal": Subject(of(td.Normal, 1.0, 2.0)),
    "gamma": Subject(of(td.Gamma, 2.0, 1.0)),
    "beta": Subject(lambda: sampler(td.Beta(double(2.0), double(3.0)), cdf=cdf(stats.beta(2, 3)))),
    "student": Subject(lambda: sampler(td.StudentT(double(5.0)), cdf=cdf(stats.t(5)))),
    "exponential": Subject(of(td.Exponential, 1.0)),
    "gumbel": Subject(lambda: sampler(td.Gumbel(double(0.0), double(1.0)), cdf=cdf(stats.gumbel_r))),
    "kumaraswamy": Subject(of(td.Kumaraswamy, 2.0, 3.0)),
    "pareto": Subject(of(td.Pareto, 1.0, 3.0)),
    "uniform": Subject(of(td.Uniform, -1.0, 2.0)),
    "continuous-bernoulli": Subject(of(td.ContinuousBernoulli, 0.3)),
    "poisson": Subject(of(td.Poisson, 3.0)),
    "coordinate": Subject(
        lambda: sampler(
            td.MultivariateNormal(double(0.0, 1.0), MATRIX), cdf=cdf(stats.norm(1, 1)), statistic=lambda x: x[:, 1]
        )
    ),
}
QUANTILES = {
    "normal": Subject(of(td.Normal, 0.0, 1.0), dict.fromkeys((ADJOINT, LIMITS), "2u - 1 loses small levels")),
    "cauchy": Subject(of(td.Cauchy, 0.0, 1.0)),
    "uniform": Subject(of(td.Uniform, 0.0, 2.0)),
}


@params(DENSITIES)
def test_density(name: str, seed: int) -> None:
    judge({k: dataclasses.replace(s, kind="density") for k, s in DENSITIES.items()}, name, seed)


@pytest.mark.slow
@params(SAMPLERS)
def test_sampler(name: str, seed: int) -> None:
    judge({k: dataclasses.replace(s, kind="sampler") for k, s in SAMPLERS.items()}, name, seed)


@params(QUANTILES)
def test_quantile(name: str, seed: int) -> None:
    judge({k: dataclasses.replace(s, kind="quantile") for k, s in QUANTILES.items()}, name, seed)


def test_a_wrong_density_and_a_wrong_sampler_are_refuted(seed: int) -> None:
    class Wide(td.Normal):
        def log_prob(self, value: Tensor) -> Tensor:
            return super().log_prob(value) + math.log(2)

        def sample(self, sample_shape: Any = ()) -> Tensor:
            return 1.5 * super().sample(sample_shape)

    wide = of(Wide, 0.0, 1.0)
    table = {
        "density": Subject(wide, {MASS: "log 2 is added", CDF: "log 2 is added"}, "density"),
        "sampler": Subject(
            wide,
            dict.fromkeys(("draws_follow_the_distribution", "tails_hold_their_probability"), "the draws are stretched"),
            "sampler",
        ),
    }
    for name in table:
        judge(table, name, seed)


def test_what_is_read_off_a_distribution() -> None:
    record = density(td.Uniform(-1.0, 2.0))
    assert (record.event_shape, record.dtype, record.support) == ((), torch.float32, Interval(-1.0, 2.0, 12.0))
    assert record.points == (0.5,)
    assert density(td.MultivariateNormal(torch.zeros(3), torch.eye(3))).event_shape == (3,)
    known = sampler(td.Gamma(2.0, 4.0))
    assert (known.mean, known.variance, known.dtype) == (0.5, 0.125, torch.float32)
    assert known.cdf is not None
    assert known.cdf(double(-1.0, 0.0)).tolist() == [0.0, 0.0]
    assert sampler(td.Beta(2.0, 3.0)).cdf is None


def test_draws_leave_the_global_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    sampler(td.Normal(0.0, 1.0)).sample(3, torch.Generator().manual_seed(2))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("function", "obj", "message"),
    [
        (density, td.Normal, "must be a torch.distributions.Distribution, got Normal"),
        (density, 3, "got int"),
        (density, td.Poisson(3.0), "must be continuous on a box, but Poisson"),
        (density, td.Dirichlet(torch.ones(3)), "must be continuous on a box, but Dirichlet"),
        (density, td.Normal(torch.zeros(2, 2), 1.0), "must be one of numbers or vectors"),
        (sampler, td.Dirichlet(torch.ones(3)), "give cdf and statistic"),
        (sampler, td.RelaxedBernoulli(torch.tensor(0.5), 0.3), "must have a cdf, or a mean and a variance"),
        (quantile, td.Gamma(2.0, 3.0), "has no icdf"),
        (quantile, td.Normal(torch.zeros(2), 1.0), "must be one of numbers"),
    ],
)
def test_distributions_that_cannot_be_judged_are_refused(function: Any, obj: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        function(obj)


class Half(nn.Module):
    """A user's own flow: nothing of a library but `nn.Module`."""

    def __init__(self, forgets: bool = False):
        super().__init__()
        self.forgets = forgets

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x / 2, x.new_full((len(x),), -math.log(2)) * (1 if self.forgets else x[0].numel())

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * y, y.new_full((len(y),), math.log(2)) * (1 if self.forgets else y[0].numel())


def test_a_module_that_returns_pairs_is_a_bijection(seed: int) -> None:
    forgets = "one coordinate counts for all"
    table = {
        "right": Subject(Half),
        "wrong": Subject(lambda: Half(True), {"log_det_is_that_of_the_jacobian": forgets}),
    }
    for name in table:
        judge(table, name, seed)


def test_a_module_that_returns_no_pair_is_refused() -> None:
    with pytest.raises(TypeError, match="Linear returns no pair"):
        adapt("bijection", nn.Linear(2, 2))
    with pytest.raises(TypeError, match=r"must be a torch.distributions.Transform or a torch.nn.Module, got Half"):
        adapt("bijection", Half)
