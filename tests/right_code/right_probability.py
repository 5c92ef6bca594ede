"""Densities, quantiles, samplers, log-likelihoods, importance sampling."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor
from torch.distributions import Bernoulli, Poisson
from torch.nn import functional

from mathcheck import (
    Density,
    Importance,
    Interval,
    LogLikelihood,
    Quantile,
    Sampler,
    bernoullis,
    categoricals,
    check_density,
    check_importance,
    check_log_likelihood,
    check_quantile,
    check_sampler,
    normals,
    poissons,
)
from right_code.subject import Right, always

POSITIVE, UNIT = Interval(0.0, reach=50.0), Interval(0.0, 1.0)
LOG_2_PI = math.log(2 * math.pi)


def density(log_prob: Any, support: Interval | None = None, **options: Any) -> Right:
    return always(check_density, Density(log_prob, support or Interval(reach=10.0), **options))


def inside(x: Tensor, low: float, high: float, value: Any, stand_in: float) -> Tensor:
    """`value` between two ends, minus infinity elsewhere."""
    ok = (x > low) & (x < high)
    return torch.where(ok, value(torch.where(ok, x, stand_in)), -math.inf)


def normal(x: Tensor) -> Tensor:
    return -0.5 * ((x - 1) / 2) ** 2 - math.log(2) - 0.5 * LOG_2_PI


def mixture(x: Tensor) -> Tensor:
    means, stds = x.new_tensor([-2.0, 1.0]), x.new_tensor([0.5, 1.0])
    weights = x.new_tensor([0.3, 0.7])
    terms = -0.5 * ((x.unsqueeze(-1) - means) / stds) ** 2 - stds.log() - 0.5 * LOG_2_PI
    return torch.logsumexp(weights.log() + terms, -1)


def mixture_cdf(x: Tensor) -> Tensor:
    return 0.3 * torch.special.ndtr((x + 2) / 0.5) + 0.7 * torch.special.ndtr(x - 1)


def mixture_of_planes(x: Tensor) -> Tensor:
    """Two round normals in the plane."""
    centres = x.new_tensor([[0.0, 0.0], [1.5, -1.0]])
    squares = (x.unsqueeze(-2) - centres).square().sum(-1)
    return torch.logsumexp(-0.5 * squares - LOG_2_PI + math.log(0.5), -1)


def full_normal(x: Tensor) -> Tensor:
    factor = x.new_tensor([[1.2, 0.0], [-0.4, 0.7]])
    z = torch.linalg.solve_triangular(factor, (x - 0.3).unsqueeze(-1), upper=False).squeeze(-1)
    return -0.5 * z.square().sum(-1) - torch.diagonal(factor).log().sum() - LOG_2_PI


def logistic(x: Tensor) -> Tensor:
    return -x - 2 * functional.softplus(-x)


def student(x: Tensor) -> Tensor:
    nu = 4.0
    constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi)
    return constant - (nu + 1) / 2 * torch.log1p(x**2 / nu)


def gamma(x: Tensor) -> Tensor:
    return inside(x, 0, math.inf, lambda t: 3 * math.log(2) - math.lgamma(3.0) + 2 * t.log() - 2 * t, 1.0)


def beta(x: Tensor) -> Tensor:
    constant = math.lgamma(5.0) - math.lgamma(2.0) - math.lgamma(3.0)
    return inside(x, 0, 1, lambda t: constant + t.log() + 2 * torch.log1p(-t), 0.5)


def log_normal(x: Tensor) -> Tensor:
    return inside(x, 0, math.inf, lambda t: -0.5 * t.log() ** 2 - t.log() - 0.5 * LOG_2_PI, 1.0)


def truncated_normal(x: Tensor) -> Tensor:
    mass = torch.special.ndtr(torch.tensor([2.0, -1.0], dtype=torch.float64))
    constant = float(torch.log(mass[0] - mass[1]))
    return inside(x, -1, 2, lambda t: -0.5 * t**2 - 0.5 * LOG_2_PI - constant, 0.0)


def quantile(g: Any, cdf: Any, domain: Interval | None = None, **options: Any) -> Right:
    return always(check_quantile, Quantile(g, cdf, domain=domain or Interval(reach=10.0), **options))


def truncated_cdf(x: Tensor) -> Tensor:
    low, high = torch.special.ndtr(x.new_tensor(-1.0)), torch.special.ndtr(x.new_tensor(2.0))
    return ((torch.special.ndtr(x) - low) / (high - low)).clamp(0, 1)


def truncated_quantile(u: Tensor) -> Tensor:
    low, high = torch.special.ndtr(u.new_tensor(-1.0)), torch.special.ndtr(u.new_tensor(2.0))
    return torch.special.ndtri(low + u * (high - low)).clamp(-1, 2)


def logistic_mixture_cdf(x: Tensor) -> Tensor:
    return 0.4 * torch.sigmoid(x) + 0.6 * torch.sigmoid(2 * (x - 1))


def quantile_by_bisection(u: Tensor) -> Tensor:
    low, high = torch.full_like(u, -1e4), torch.full_like(u, 1e4)
    for _ in range(100):
        middle = (low + high) / 2
        below = logistic_mixture_cdf(middle) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high


def quantile_to_a_tolerance(u: Tensor) -> Tensor:
    """Bisection that stops at a width of 1e-12, or in single precision 1e-5."""
    low, high = torch.full_like(u, -1000.0), torch.full_like(u, 1000.0)
    while bool((high - low > (1e-12 if u.dtype == torch.float64 else 1e-4)).any()):
        middle = (low + high) / 2
        below = logistic_mixture_cdf(middle) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


GEOMETRIC = 0.3


def geometric_cdf(x: Tensor) -> Tensor:
    """Failures before the first success."""
    return torch.where(x < 0, 0.0, -torch.expm1((x.floor() + 1).clamp(min=0) * math.log1p(-GEOMETRIC)))


def geometric_left_cdf(x: Tensor) -> Tensor:
    return torch.where(x <= 0, 0.0, -torch.expm1(x.ceil().clamp(min=0) * math.log1p(-GEOMETRIC)))


def geometric_quantile(u: Tensor) -> Tensor:
    return (torch.ceil(torch.log1p(-u) / math.log1p(-GEOMETRIC)) - 1).clamp(min=0)


def coin_cdf(x: Tensor) -> Tensor:
    return torch.where(x < 0, 0.0, torch.where(x < 1, torch.full_like(x, 0.6), 1.0))


def coin_left_cdf(x: Tensor) -> Tensor:
    return torch.where(x <= 0, 0.0, torch.where(x <= 1, torch.full_like(x, 0.6), 1.0))


def uniform(n: int, g: Generator, dtype: torch.dtype) -> Tensor:
    return torch.rand(n, generator=g, dtype=dtype)


def sampler(draw: Any, cdf: Any = None, **options: Any) -> Right:
    """Of draws (n, generator, dtype)."""
    return Right(
        check_sampler,
        lambda dtype: Sampler(lambda n, g: draw(n, g, dtype), cdf, **options),
        statistical=True,
    )


def box_muller(n: int, g: Generator, dtype: torch.dtype) -> Tensor:
    u, v = 1 - uniform(n, g, dtype), uniform(n, g, dtype)
    return torch.sqrt(-2 * u.log()) * torch.cos(2 * math.pi * v)


def rejected(n: int, g: Generator, dtype: torch.dtype) -> Tensor:
    """Normals between -1 and 2, drawn until they fall there."""
    draws = torch.randn(n, generator=g, dtype=dtype)
    while bool((out := (draws < -1) | (draws > 2)).any()):
        draws = torch.where(out, torch.randn(n, generator=g, dtype=dtype), draws)
    return draws


def knuth(n: int, g: Generator, dtype: torch.dtype) -> Tensor:
    """Poisson counts by products of uniform numbers."""
    count, product = torch.full((n,), -1.0, dtype=dtype), torch.ones(n, dtype=dtype)
    while bool((going := product > math.exp(-2)).any()):
        count, product = count + going, torch.where(going, product * uniform(n, g, dtype), product)
    return count


def poisson_cdf(x: Tensor) -> Tensor:
    return torch.where(x < 0, 0.0, torch.special.gammaincc(x.floor().clamp(min=0) + 1, torch.full_like(x, 2.0)))


def poisson_left_cdf(x: Tensor) -> Tensor:
    return poisson_cdf(x.ceil() - 1)


def gumbel_max(n: int, g: Generator, dtype: torch.dtype) -> Tensor:
    logits = torch.tensor([0.2, 0.5, 0.3], dtype=dtype).log()
    return (logits - (-uniform(3 * n, g, dtype).reshape(n, 3).log()).log()).argmax(-1).to(dtype)


def three_cdf(x: Tensor) -> Tensor:
    return 0.2 * (x >= 0) + 0.5 * (x >= 1) + 0.3 * (x >= 2).double()


def three_left_cdf(x: Tensor) -> Tensor:
    return 0.2 * (x > 0) + 0.5 * (x > 1) + 0.3 * (x > 2).double()


def likelihood(log_prob: Any, domain: Any, **options: Any) -> Right:
    return always(check_log_likelihood, LogLikelihood(log_prob, domain, **options))


def classes(t: Tensor, logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, -1).gather(-1, t.unsqueeze(-1)).squeeze(-1).sum(-1)


def cross_entropy(t: Tensor, logits: Tensor) -> Tensor:
    flat = functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), t.reshape(-1), reduction="none")
    return -flat.reshape(t.shape).sum(-1)


def by_logsumexp(t: Tensor, logits: Tensor) -> Tensor:
    chosen = logits.gather(-1, t.unsqueeze(-1)).squeeze(-1)
    return (chosen - torch.logsumexp(logits, -1)).sum(-1)


def gaussian_nll(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    loss = functional.gaussian_nll_loss(mean, x, variance, full=True, eps=0.0, reduction="none")
    return -loss.sum(-1)


def importance(estimate: Any, **options: Any) -> Right:
    return always(check_importance, Importance(estimate, **options))


def effective(w: Tensor) -> Tensor:
    return torch.exp(2 * torch.logsumexp(w, -1) - torch.logsumexp(2 * w, -1))


def effective_of_normalised(w: Tensor) -> Tensor:
    return 1 / torch.softmax(w, -1).square().sum(-1)


def evidence(w: Tensor) -> Tensor:
    return torch.logsumexp(w, -1) - math.log(w.shape[-1])


DENSITIES = {
    "normal density": density(normal, cdf=lambda x: torch.special.ndtr((x - 1) / 2)),
    "normal density by its standard deviation": density(
        lambda x: -((x - 0.5) ** 2) / (2 * 1.5**2) - math.log(1.5 * math.sqrt(2 * math.pi))
    ),
    "mixture of normals": density(mixture, cdf=mixture_cdf),
    "mixture of normals in the plane": density(mixture_of_planes, event_shape=(2,)),
    "normal density in the plane": density(full_normal, event_shape=(2,)),
    "product of normals": density(lambda x: (-0.5 * x**2 - 0.5 * LOG_2_PI).sum(-1), event_shape=(2,)),
    "logistic density": density(logistic, cdf=torch.sigmoid),
    "Laplace density": density(
        lambda x: -x.abs() - math.log(2),
        cdf=lambda x: torch.where(x < 0, 0.5 * x.exp(), 1 - 0.5 * (-x).exp()),
        points=(0.0,),
    ),
    "Cauchy density": density(lambda x: -math.log(math.pi) - torch.log1p(x**2)),
    "Student's density": density(student),
    "Gumbel density": density(
        lambda x: -(x + (-x).exp()), Interval(reach=5.0), cdf=lambda x: torch.exp(-torch.exp(-x))
    ),
    "exponential density": density(
        lambda x: inside(x, 0, math.inf, lambda t: math.log(1.5) - 1.5 * t, 1.0),
        POSITIVE,
        cdf=lambda x: -torch.expm1(-1.5 * x.clamp(min=0)),
    ),
    "gamma density": density(gamma, POSITIVE),
    "beta density": density(beta, UNIT),
    "log-normal density": density(log_normal, POSITIVE),
    "truncated normal density": density(truncated_normal, Interval(-1.0, 2.0)),
    "uniform density": density(
        lambda x: torch.where((x >= -1) & (x <= 2), torch.full_like(x, -math.log(3)), -math.inf), Interval(-1.0, 2.0)
    ),
    "uniform density on the unit interval": density(
        lambda x: torch.where((x > 0) & (x < 1), 0 * x, -math.inf), UNIT, cdf=lambda x: x.clamp(0, 1)
    ),
    "uniform density on a square": density(
        lambda x: torch.where(((x > 0) & (x < 2)).all(-1), torch.full_like(x[..., 0], -math.log(4)), -math.inf),
        Interval(0.0, 2.0),
        event_shape=(2,),
    ),
    "triangular density": density(
        lambda x: inside(x, 0, 1, lambda t: math.log(2) + t.log(), 0.5), UNIT, cdf=lambda x: x.clamp(0, 1) ** 2
    ),
}
QUANTILES = {
    "exponential quantile": quantile(
        lambda u: -torch.log1p(-u) / 1.5, lambda x: -torch.expm1(-1.5 * x.clamp(min=0)), Interval(0.0, reach=20.0)
    ),
    "exponential quantile by log(1 - u)": quantile(
        lambda u: -torch.log(1 - u) / 1.5, lambda x: 1 - torch.exp(-1.5 * x.clamp(min=0)), Interval(0.0, reach=20.0)
    ),
    "Cauchy quantile": quantile(lambda u: torch.tan(math.pi * (u - 0.5)), lambda x: torch.atan(x) / math.pi + 0.5),
    "logistic quantile": quantile(torch.logit, torch.sigmoid),
    "logistic quantile by logarithms": quantile(
        lambda u: 1 + 2 * (u.log() - (1 - u).log()), lambda x: torch.sigmoid((x - 1) / 2)
    ),
    "Gumbel quantile": quantile(lambda u: -torch.log(-torch.log(u)), lambda x: torch.exp(-torch.exp(-x))),
    "Weibull quantile": quantile(
        lambda u: 2 * (-torch.log1p(-u)) ** (1 / 1.5),
        lambda x: -torch.expm1(-((x.clamp(min=0) / 2) ** 1.5)),
        Interval(0.0, reach=20.0),
    ),
    "Laplace quantile": quantile(
        lambda u: torch.where(u < 0.5, (2 * u).log(), -(2 * (1 - u)).log()),
        lambda x: torch.where(x < 0, 0.5 * x.exp(), 1 - 0.5 * (-x).exp()),
    ),
    "normal quantile": quantile(torch.special.ndtri, torch.special.ndtr),
    "normal quantile by erfinv": quantile(
        lambda u: 1 + 2 * math.sqrt(2) * torch.erfinv(2 * u - 1),
        lambda x: 0.5 * (1 + torch.erf((x - 1) / 2 / math.sqrt(2))),
    ),
    "uniform quantile": quantile(lambda u: 3 * u - 1, lambda x: ((x + 1) / 3).clamp(0, 1), Interval(-1.0, 2.0)),
    "Pareto quantile": quantile(
        lambda u: (1 - u) ** (-1 / 3), lambda x: 1 - x.clamp(min=1) ** -3.0, Interval(1.0, reach=50.0)
    ),
    "truncated normal quantile": quantile(truncated_quantile, truncated_cdf, Interval(-1.0, 2.0)),
    "quantile by bisection": quantile(quantile_by_bisection, logistic_mixture_cdf),
    "quantile by bisection to 1e-12": quantile(quantile_to_a_tolerance, logistic_mixture_cdf),
    "geometric quantile": quantile(
        geometric_quantile, geometric_cdf, Interval(reach=20.0), left_cdf=geometric_left_cdf
    ),
    "quantile of a coin": quantile(
        lambda u: (u > torch.full_like(u, 0.6)).to(u), coin_cdf, left_cdf=coin_left_cdf, ulps=0
    ),
}
SAMPLERS = {
    "normal sampler": sampler(
        lambda n, g, dtype: 1 + 2 * torch.randn(n, generator=g, dtype=dtype),
        lambda x: torch.special.ndtr((x - 1) / 2),
        mean=1.0,
        variance=4.0,
    ),
    "Box-Muller sampler": sampler(box_muller, torch.special.ndtr, mean=0.0, variance=1.0),
    "exponential sampler": sampler(
        lambda n, g, dtype: -torch.log1p(-uniform(n, g, dtype)) / 2,
        lambda x: -torch.expm1(-2 * x.clamp(min=0)),
        mean=0.5,
        variance=0.25,
    ),
    "Cauchy sampler": sampler(
        lambda n, g, dtype: torch.tan(math.pi * (uniform(n, g, dtype) - 0.5)), lambda x: torch.atan(x) / math.pi + 0.5
    ),
    "logistic sampler": sampler(
        lambda n, g, dtype: torch.logit(uniform(n, g, dtype).clamp(min=torch.finfo(dtype).tiny)), torch.sigmoid
    ),
    "Gumbel sampler": sampler(
        lambda n, g, dtype: -torch.log(-torch.log(uniform(n, g, dtype).clamp(min=torch.finfo(dtype).tiny))),
        lambda x: torch.exp(-torch.exp(-x)),
    ),
    "Weibull sampler": sampler(
        lambda n, g, dtype: (-torch.log1p(-uniform(n, g, dtype))) ** (1 / 1.5),
        lambda x: -torch.expm1(-(x.clamp(min=0) ** 1.5)),
    ),
    "truncated normal sampler by its quantile": sampler(
        lambda n, g, dtype: truncated_quantile(uniform(n, g, dtype)), truncated_cdf
    ),
    "truncated normal sampler by rejection": sampler(rejected, truncated_cdf),
    "geometric sampler": sampler(
        lambda n, g, dtype: geometric_quantile(uniform(n, g, dtype)), geometric_cdf, left_cdf=geometric_left_cdf
    ),
    "Poisson sampler by products": sampler(knuth, poisson_cdf, left_cdf=poisson_left_cdf, mean=2.0, variance=2.0),
    "Bernoulli sampler": sampler(
        lambda n, g, dtype: (uniform(n, g, dtype) < 0.3).to(dtype),
        lambda x: 0.7 * (x >= 0) + 0.3 * (x >= 1).double(),
        left_cdf=lambda x: 0.7 * (x > 0) + 0.3 * (x > 1).double(),
        mean=0.3,
        bounds=(0.0, 1.0),
    ),
    "categorical sampler by Gumbel's trick": sampler(gumbel_max, three_cdf, left_cdf=three_left_cdf),
    "sum of exponentials": sampler(
        lambda n, g, dtype: -torch.log1p(-uniform(3 * n, g, dtype)).reshape(n, 3).sum(-1),
        lambda x: torch.special.gammainc(torch.full_like(x, 3.0), x.clamp(min=0)),
    ),
}
LIKELIHOODS = {
    "Bernoulli likelihood by probabilities": likelihood(
        lambda t, mu: (t * mu.log() + (1 - t) * (1 - mu).log()).sum(-1), bernoullis(boundary=False)
    ),
    "Bernoulli likelihood by log1p": likelihood(
        lambda t, mu: (torch.special.xlogy(t, mu) + torch.special.xlog1py(1 - t, -mu)).sum(-1),
        bernoullis(boundary=False),
    ),
    "Bernoulli likelihood by cases": likelihood(
        lambda t, mu: torch.where(t == 1, mu, 1 - mu).log().sum(-1), bernoullis()
    ),
    "Bernoulli likelihood with softplus": likelihood(
        lambda t, logits: (t * logits - functional.softplus(logits)).sum(-1), bernoullis("logit")
    ),
    "Bernoulli likelihood with softplus, by sign": likelihood(
        lambda t, logits: -functional.softplus((1 - 2 * t) * logits).sum(-1), bernoullis("logit")
    ),
    "Bernoulli likelihood with logsigmoid": likelihood(
        lambda t, logits: (t * functional.logsigmoid(logits) + (1 - t) * functional.logsigmoid(-logits)).sum(-1),
        bernoullis("logit"),
    ),
    "Bernoulli likelihood by torch's cross-entropy": likelihood(
        lambda t, logits: -functional.binary_cross_entropy_with_logits(logits, t, reduction="none").sum(-1),
        bernoullis("logit"),
    ),
    "Bernoulli likelihood of torch": likelihood(
        lambda t, logits: Bernoulli(logits=logits).log_prob(t).sum(-1), bernoullis("logit")
    ),
    "Bernoulli likelihood by logaddexp": likelihood(
        lambda t, logits: (t * logits - torch.logaddexp(logits, torch.zeros_like(logits))).sum(-1), bernoullis("logit")
    ),
    "categorical likelihood by log_softmax": likelihood(classes, categoricals()),
    "categorical likelihood by logsumexp": likelihood(by_logsumexp, categoricals()),
    "categorical likelihood by cross_entropy": likelihood(cross_entropy, categoricals()),
    "categorical likelihood by probabilities": likelihood(
        lambda t, p: p.gather(-1, t.unsqueeze(-1)).squeeze(-1).log().sum(-1), categoricals("probabilities")
    ),
    "normal likelihood by log-variances": likelihood(
        lambda x, m, lv: -0.5 * (LOG_2_PI + lv + (x - m) ** 2 / lv.exp()).sum(-1), normals("log_variance", reach=20)
    ),
    "normal likelihood by log-variances of any size": likelihood(
        lambda x, m, lv: -0.5 * (LOG_2_PI + lv + (x - m) ** 2 * (-lv).exp()).sum(-1), normals("log_variance")
    ),
    "normal likelihood by variances": likelihood(
        lambda x, m, v: (-0.5 * (x - m) ** 2 / v - 0.5 * torch.log(2 * math.pi * v)).sum(-1), normals("variance")
    ),
    "normal likelihood by standard deviations": likelihood(
        lambda x, m, s: (-0.5 * ((x - m) / s) ** 2 - s.log() - 0.5 * LOG_2_PI).sum(-1), normals("std")
    ),
    "normal likelihood of torch": likelihood(
        lambda x, m, s: torch.distributions.Normal(m, s).log_prob(x).sum(-1), normals("std", reach=20)
    ),
    "normal likelihood by logarithms of standard deviations": likelihood(
        lambda x, m, s: (-0.5 * ((x - m) * (-s).exp()) ** 2 - s - 0.5 * LOG_2_PI).sum(-1), normals("log_std")
    ),
    "normal likelihood by gaussian_nll_loss": likelihood(gaussian_nll, normals("variance", reach=20)),
    "Poisson likelihood by rates": likelihood(
        lambda t, r: (torch.special.xlogy(t, r) - r - torch.lgamma(t + 1)).sum(-1), poissons(boundary=False)
    ),
    "Poisson likelihood by positive rates": likelihood(
        lambda t, r: (t * r.log() - r - torch.lgamma(t + 1)).sum(-1), poissons(boundary=False)
    ),
    "Poisson likelihood by log-rates": likelihood(
        lambda t, lr: (t * lr - lr.exp() - torch.lgamma(t + 1)).sum(-1), poissons("log_rate")
    ),
    "Poisson likelihood of torch": likelihood(lambda t, r: Poisson(r).log_prob(t).sum(-1), poissons(boundary=False)),
}
WEIGHTS = {
    "importance-weighted mean": importance(lambda w, f: (w.exp() * f).mean(-1), reach=60.0),
    "importance-weighted mean by a product": importance(
        lambda w, f: (torch.exp(w) * f).sum(-1) / w.shape[-1], reach=30.0
    ),
    "self-normalised estimate by softmax": importance(
        lambda w, f: (torch.softmax(w, -1) * f).sum(-1),
        self_normalized=True,
        effective_size=effective_of_normalised,
        log_evidence=evidence,
    ),
    "self-normalised estimate by logsumexp": importance(
        lambda w, f: (torch.exp(w - torch.logsumexp(w, -1, keepdim=True)) * f).sum(-1),
        self_normalized=True,
        effective_size=effective,
        log_evidence=evidence,
    ),
    "self-normalised estimate by a quotient": importance(
        lambda w, f: ((w - w.amax(-1, keepdim=True)).exp() * f).sum(-1) / (w - w.amax(-1, keepdim=True)).exp().sum(-1),
        self_normalized=True,
    ),
    "self-normalised estimate of ordinary weights": importance(
        lambda w, f: (w.exp() * f).sum(-1) / w.exp().sum(-1), self_normalized=True, reach=30.0
    ),
}
SUBJECTS = DENSITIES | QUANTILES | SAMPLERS | LIKELIHOODS | WEIGHTS
