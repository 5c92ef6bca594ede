"""Objects of torch.distributions that are right, through their adapters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.distributions as td
from torch.distributions import transforms as tt

from mathcheck import Interval, check_bijection, check_density, check_divergence, check_quantile, check_sampler
from mathcheck.adapters.torch import bijection, density, divergence, quantile, sampler
from right_code.subject import Right

Maker = Callable[..., Any]
AWAY = Interval(2.0**-10, reach=10.0)


def of(dtype: torch.dtype, *values: float) -> Any:
    return torch.tensor(values if len(values) > 1 else values[0], dtype=dtype)


def transform(make: Callable[[Maker], Any], codomain: Interval | None = None, **options: Any) -> Right:
    def made(dtype: torch.dtype) -> Any:
        record = bijection(make(lambda *values: of(dtype, *values)), **options)
        return record if codomain is None else dataclasses.replace(record, codomain=codomain)

    return Right(check_bijection, made)


def distribution(adapter: Callable[..., Any], make: Maker, *values: float, **options: Any) -> Right:
    check = {density: check_density, sampler: check_sampler, quantile: check_quantile}[adapter]
    return Right(
        check,
        lambda dtype: adapter(make(*(of(dtype, value) for value in values)), **options),
        statistical=adapter is sampler,
    )


TRANSFORMS = {
    "exp": transform(lambda c: tt.ExpTransform()),
    "log": transform(lambda c: tt.ExpTransform().inv),
    "sigmoid": transform(lambda c: tt.SigmoidTransform()),
    "logit": transform(lambda c: tt.SigmoidTransform().inv, domain=Interval(2.0**-100, 1.0)),
    "tanh": transform(lambda c: tt.TanhTransform()),
    "softplus": transform(lambda c: tt.SoftplusTransform()),
    "affine": transform(lambda c: tt.AffineTransform(c(1.0), c(3.0))),
    "affine of a vector": transform(lambda c: tt.AffineTransform(c(1.0, 2.0, 0.0), c(2.0, -3.0, 0.1), event_dim=1)),
    "power": transform(lambda c: tt.PowerTransform(c(3.0)), AWAY, domain=AWAY),
    "composition": transform(
        lambda c: tt.ComposeTransform([tt.AffineTransform(c(1.0, 2.0), c(2.0, 0.5), event_dim=1), tt.ExpTransform()])
    ),
    "reshape": transform(lambda c: tt.ReshapeTransform((2, 3), (6,))),
    "independent": transform(lambda c: tt.IndependentTransform(tt.ExpTransform(), 1)),
    "correlation": transform(lambda c: tt.CorrCholeskyTransform()),
    "stick-breaking": transform(lambda c: tt.StickBreakingTransform()),
}
DENSITIES = {
    "normal": distribution(density, td.Normal, 1.0, 2.0),
    "gamma": distribution(density, td.Gamma, 2.0, 3.0),
    "beta": distribution(density, td.Beta, 2.0, 3.0),
    "chi-squared": distribution(density, td.Chi2, 4.0),
    "Student": distribution(density, td.StudentT, 3.0, 1.0, 2.0),
    "Cauchy": distribution(density, td.Cauchy, 0.0, 1.0),
    "Laplace": distribution(density, td.Laplace, 0.0, 1.0),
    "half-normal": distribution(density, td.HalfNormal, 2.0),
    "exponential": distribution(density, td.Exponential, 2.0),
    "log-normal": distribution(density, td.LogNormal, 0.0, 0.5),
    "Pareto": distribution(density, td.Pareto, 1.0, 3.0),
    "Fisher-Snedecor": distribution(density, td.FisherSnedecor, 6.0, 5.0),
    "continuous Bernoulli": distribution(density, td.ContinuousBernoulli, 0.3),
    "uniform": distribution(density, td.Uniform, -1.0, 2.0),
    "uniform on the unit interval": distribution(density, td.Uniform, 0.0, 1.0),
    "mixture": Right(
        check_density,
        lambda dtype: density(
            td.MixtureSameFamily(
                td.Categorical(of(dtype, 0.3, 0.7)), td.Normal(of(dtype, -1.0, 2.0), of(dtype, 1.0, 0.5))
            )
        ),
    ),
    "full normal": Right(
        check_density,
        lambda dtype: density(
            td.MultivariateNormal(of(dtype, 0.0, 1.0), torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=dtype))
        ),
    ),
    "batch of normals": Right(
        check_density, lambda dtype: density(td.Normal(of(dtype, 0.0, 1.0), of(dtype, 1.0, 0.5)))
    ),
}
SAMPLERS = {
    "normal": distribution(sampler, td.Normal, 1.0, 2.0),
    "gamma": distribution(sampler, td.Gamma, 2.0, 1.0),
    "exponential": distribution(sampler, td.Exponential, 1.0),
    "Kumaraswamy": distribution(sampler, td.Kumaraswamy, 2.0, 3.0),
    "Pareto": distribution(sampler, td.Pareto, 1.0, 3.0),
    "uniform": distribution(sampler, td.Uniform, -1.0, 2.0),
    "Laplace": distribution(sampler, td.Laplace, 0.0, 1.0),
    "Poisson": distribution(sampler, td.Poisson, 3.0),
}
QUANTILES = {
    "normal": distribution(quantile, td.Normal, 0.0, 1.0),
    # In single precision tan(pi (u - 1/2)) has the wrong sign for the smallest levels.
    "Cauchy": replace(distribution(quantile, td.Cauchy, 0.0, 1.0), dtypes=(torch.float64,)),
    "uniform": distribution(quantile, td.Uniform, 0.0, 2.0),
    "exponential": distribution(quantile, td.Exponential, 1.5),
    "Laplace": distribution(quantile, td.Laplace, 0.0, 1.0),
}
DIVERGENCES = {
    "normal": Right(check_divergence, lambda dtype: divergence(td.Normal)),
    "full normal": Right(check_divergence, lambda dtype: divergence(td.MultivariateNormal)),
}
TABLES = {
    "transform": TRANSFORMS,
    "density": DENSITIES,
    "sampler": SAMPLERS,
    "quantile": QUANTILES,
    "divergence": DIVERGENCES,
}
SUBJECTS = {f"torch {kind}: {name}": right for kind, table in TABLES.items() for name, right in table.items()}
