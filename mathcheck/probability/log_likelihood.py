r"""Log-likelihoods of decoders: Bernoulli by probabilities and by logits, its version for grey pixels, and the normal.

Written as they stand in a book these formulas fail in floating point: $0\log 0$ is not a number, a logistic function of
17 is 1 in single precision, and its logarithm's complement $-\infty$. Here each form is exact in the limits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mathcheck import strategies
from mathcheck.claim import claim
from mathcheck.oracles import arb
from mathcheck.probability.bernoulli_likelihood import BernoulliLikelihood
from mathcheck.probability.density import Density
from mathcheck.probability.families import normals
from mathcheck.residual import Ball, Residual, close
from mathcheck.strategies import BATCH_SHAPES, Interval


def _checked(**arguments: Tensor) -> None:
    """All of one floating dtype, device and shape `(*batch, n)`."""
    first = next(iter(arguments))
    for name, t in arguments.items():
        if not isinstance(t, Tensor) or not t.dtype.is_floating_point:
            raise TypeError(f"{name} must be a floating tensor, got {getattr(t, 'dtype', type(t).__name__)}")
        if t.ndim < 1 or t.shape[-1] < 1:
            raise ValueError(f"{name} must have shape (*batch, n) with n >= 1, got {tuple(t.shape)}")
        like = arguments[first]
        if t.shape != like.shape or t.dtype != like.dtype or t.device != like.device:
            raise ValueError(f"{name} is {tuple(t.shape)}, {t.dtype} on {t.device}, expected {tuple(like.shape)}, "
                             f"{like.dtype} on {like.device} as {first}")  # fmt: skip


def _binary(outcomes: Tensor) -> Tensor:
    """Where the outcome is 1."""
    one = outcomes == 1
    if not bool((one | (outcomes == 0)).all()):
        stray = outcomes[~(one | (outcomes == 0))].flatten()[0]
        raise ValueError(
            f"outcomes must be 0 or 1, got {float(stray)}; for grey values see continuous_bernoulli_log_prob"
        )
    return one


def bernoulli_log_prob(outcomes: Tensor, probabilities: Tensor) -> Tensor:
    r"""$\log p(t) = \sum_i t_i\log\mu_i + (1-t_i)\log(1-\mu_i)$, with $0\log 0 = 0$.

    Only the logarithm of the outcome that occurred is taken, so certain outcomes give 0, impossible ones $-\infty$, and
    the gradient is finite wherever the value is. From a network's last layer use the logits instead: a probability
    that was rounded to 1 has lost what the logit knows.

    Args:
        outcomes: t, `(*batch, n)`, each 0 or 1; another number has no probability here.
        probabilities: $\mu$ of outcome 1, `(*batch, n)` in [0, 1].

    Returns:
        `(*batch,)` in nats, differentiable in the probabilities.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device, outcomes other
            than 0 and 1, or probabilities outside [0, 1].
    """
    _checked(outcomes=outcomes, probabilities=probabilities)
    one = _binary(outcomes)
    if not bool(((probabilities >= 0) & (probabilities <= 1)).all()):
        raise ValueError(f"probabilities must lie in [0, 1], got {float(probabilities.detach().min())} to "
                         f"{float(probabilities.detach().max())}")  # fmt: skip
    # A logarithm that is not used must not be infinite: its gradient would be 0 times infinity.
    success = torch.where(one, probabilities, torch.ones_like(probabilities)).log()
    failure = torch.where(one, torch.zeros_like(probabilities), -probabilities).log1p()
    return (success + failure).sum(-1)


def bernoulli_log_prob_from_logits(outcomes: Tensor, logits: Tensor) -> Tensor:
    r"""$\log p(t) = -\sum_i \log(1 + e^{-\ell_i})$ for outcomes 1 and $-\sum_i\log(1 + e^{\ell_i})$ for outcomes 0.

    $\mu = 1/(1 + e^{-\ell})$ is never formed, so that logits of any size keep all digits.

    Args:
        outcomes: t, `(*batch, n)`, each 0 or 1.
        logits: $\ell = \log\frac{\mu}{1-\mu}$, `(*batch, n)`, finite.

    Returns:
        `(*batch,)` in nats, differentiable in the logits.

    Raises:
        TypeError, ValueError: as `bernoulli_log_prob`.
    """
    _checked(outcomes=outcomes, logits=logits)
    return functional.logsigmoid(torch.where(_binary(outcomes), logits, -logits)).sum(-1)


def continuous_bernoulli_log_prob(values: Tensor, logits: Tensor) -> Tensor:
    r"""$\log p(x) = \sum_i \ell_i x_i - \log\frac{e^{\ell_i} - 1}{\ell_i}$ on $[0, 1]^n$: Bernoulli's formula, normalised.

    $\mu^x(1-\mu)^{1-x}$ has the integral $\tanh(\ell/2)/\ell \le \frac12$ over [0, 1], so that for grey pixels a
    cross-entropy is no log-likelihood; divided by that integral it is one.

    Args:
        values: x, `(*batch, n)`; outside [0, 1] the density is 0.
        logits: $\ell$, `(*batch, n)`, finite.

    Returns:
        `(*batch,)` in nats, $-\infty$ outside; differentiable in both.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device.

    References:
        Loaiza-Ganem and Cunningham (2019), The continuous Bernoulli: fixing a pervasive error in variational
        autoencoders.
    """
    _checked(values=values, logits=logits)
    inside = ((values >= 0) & (values <= 1)).all(-1)
    x = torch.where(inside.unsqueeze(-1), values, torch.full_like(values, 0.5))
    size = logits.abs()
    small = size < 0.5
    # log(sinh(a/2) / (a/2)) = a^2/24 - a^4/2880 + ..., to 1e-17 for a < 1/2.
    square = torch.where(small, logits, torch.zeros_like(logits)).square()
    terms = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800, 1 / 479001600, -691 / 15692092416000)
    series = square * functools.reduce(lambda value, term: value * square + term, reversed(terms[:-1]),
                                       torch.full_like(square, terms[-1]))  # fmt: skip
    large = torch.where(small, torch.ones_like(size), size)
    # The distance from the likelier end, so that nothing cancels for large logits.
    far = -large * torch.where(logits > 0, 1 - x, x) - (-torch.expm1(-large) / large).log()
    value = torch.where(small, (x - 0.5) * logits - series, far).sum(-1)
    return torch.where(inside, value, torch.full_like(value, -math.inf))


def normal_log_prob(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    r"""$\log\mathcal N(x;\mu,\sigma^2) = -\tfrac12\sum_i\big[\log 2\pi + \ell_i + (x_i-\mu_i)^2 e^{-\ell_i}\big]$.

    Args:
        x: `(*batch, n)`.
        mean: $\mu$, `(*batch, n)`.
        log_variance: $\ell = \log\sigma^2$, `(*batch, n)`, between -1400 and 1400.

    Returns:
        `(*batch,)` in nats, differentiable; $-\infty$ where the true value is below the dtype's lowest number.

    Raises:
        TypeError, ValueError: for arguments that are not floating tensors of one shape, dtype and device.
    """
    _checked(x=x, mean=mean, log_variance=log_variance)
    if x.dtype != torch.float64:
        # exp(-l/2) of log-variances beyond +-177 leaves float32, though the log-density need not.
        return normal_log_prob(x.double(), mean.double(), log_variance.double()).to(x.dtype)
    scaled = (x - mean) * torch.exp(-log_variance / 2)
    return -0.5 * (math.log(2 * math.pi) + log_variance + scaled * scaled).sum(-1)


def _normal(mean: float, deviation: float, *, vector: bool = False) -> Callable[[Tensor], Tensor]:
    def log_prob(x: Tensor) -> Tensor:
        x = x if vector else x.unsqueeze(-1)
        return normal_log_prob(x, torch.full_like(x, mean), torch.full_like(x, 2 * math.log(deviation)))

    return log_prob


def _grey(logit: float) -> Callable[[Tensor], Tensor]:
    def log_prob(x: Tensor) -> Tensor:
        return continuous_bernoulli_log_prob(x.unsqueeze(-1), torch.full_like(x, logit).unsqueeze(-1))

    return log_prob


bernoulli = BernoulliLikelihood(bernoulli_log_prob, "probability", batch_shapes=BATCH_SHAPES)
bernoulli_logits = BernoulliLikelihood(bernoulli_log_prob_from_logits, "logit", batch_shapes=BATCH_SHAPES)
normal = Density(
    _normal(1.5, 0.25), Interval(reach=20.0), cdf=lambda x: torch.erfc((1.5 - x) / 0.25 / math.sqrt(2)) / 2, points=(1.5,),
    batch_shapes=BATCH_SHAPES,
)  # fmt: skip
plane_normal = Density(_normal(0.5, 2.0, vector=True), event_shape=(2,), batch_shapes=BATCH_SHAPES)
grey_pixel = Density(
    _grey(3.0), Interval(0.0, 1.0), cdf=lambda x: torch.expm1(3 * x) / math.expm1(3), batch_shapes=BATCH_SHAPES
)
faint_pixel = Density(_grey(-1e-3), Interval(0.0, 1.0), batch_shapes=BATCH_SHAPES)

Normal = Callable[[Tensor, Tensor, Tensor], Tensor]


def _normals(log_prob: Normal, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor, Tensor]]:
    def of(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[Tensor, Tensor, Tensor]]:
        numbers = strategies.tensors(shape, dtype, Interval(reach=1e3))
        return st.tuples(numbers, numbers, strategies.tensors(shape, dtype, Interval(reach=600.0)))

    shapes = st.tuples(st.sampled_from(BATCH_SHAPES), st.integers(1, 3)).map(lambda s: (*s[0], s[1]))
    return shapes.flatmap(of)


@claim(
    given=_normals,
    reference=normal_log_prob,
    mutants={
        "the deviation stands for the variance in the constant": lambda f: (
            lambda x, m, lv: f(x, m, lv) + lv.sum(-1) / 4
        ),
        "the quadratic term is halved twice": lambda f: (
            lambda x, m, lv: f(x, m, lv) + ((x - m).double() * (-lv.double() / 2).exp()).square().sum(-1).to(x.dtype) / 4
        ),
        "the constant n/2 log 2 pi is left out": lambda f: (
            lambda x, m, lv: f(x, m, lv) + x.shape[-1] / 2 * math.log(2 * math.pi)
        ),
        "log-deviations are taken for log-variances": lambda f: lambda x, m, lv: f(x, m, 2 * lv),
        "it is averaged over the coordinates": lambda f: lambda x, m, lv: f(x, m, lv) / x.shape[-1],
        "it is summed over the batch": lambda f: lambda x, m, lv: f(x, m, lv).sum(),
    },
)  # fmt: skip
def normal_equals_the_definition(log_prob: Normal, x: Tensor, mean: Tensor, log_variance: Tensor) -> Iterator[Residual]:
    r"""The normal log-likelihood is the logarithm of the density.

    $-\tfrac12\sum_i\big[\log 2\pi + \ell_i + (x_i-\mu_i)^2e^{-\ell_i}\big] = \log\prod_i \frac{1}{\sqrt{2\pi\sigma_i^2}}
    e^{-(x_i-\mu_i)^2/2\sigma_i^2}$.

    Error bound: 16 roundings of $\sum_i 2 + \lvert\ell_i\rvert + (x_i-\mu_i)^2e^{-\ell_i}$, the size of the terms.
    """
    n = x.shape[-1]
    flat = [t.reshape(-1, n) for t in (x, mean, log_variance)]

    def row(k: int) -> Any:
        point, m, lv = (arb.exact_list(t[k]) for t in flat)
        pi = 4 * arb.exact(1).atan()
        return normals("log_variance").log_prob((m, lv), point) - n * arb.log(2 * pi) / 2

    balls = [arb.enclose(functools.partial(row, k), rel_bits=60) for k in range(len(flat[0]))]
    wide = [t.double().cpu() for t in (x, mean, log_variance)]
    square = ((wide[0] - wide[1]) * (-wide[2] / 2).exp()).square()
    size = (2 + wide[2].abs() + square).sum(-1)
    yield close(log_prob(x, mean, log_variance), Ball.stack(balls, x.shape[:-1]), ulps=16, scale=size, what="log N(x)")


Grey = Callable[[Tensor, Tensor], Tensor]


@claim(
    given=lambda f, dtype: st.tuples(
        strategies.tensors((2,), dtype, strategies.unit_interval),
        strategies.tensors((2,), dtype, st.one_of(
            st.sampled_from([0.0, 0.5, -0.5, 0.4375, 1e-3, -1e-3, 2.0**-30, 100.0, -1e3]),
            Interval(reach=50.0).elements(dtype))).map(lambda t: t.to(dtype)),
    ),
    reference=continuous_bernoulli_log_prob,
    mutants={
        "the cross-entropy is taken as it is": lambda f: (
            lambda x, a: (functional.logsigmoid(a) * x + functional.logsigmoid(-a) * (1 - x)).sum(-1)
        ),
        "the sign of the normalising constant is changed": lambda f: (
            lambda x, a: 2 * (functional.logsigmoid(a) * x + functional.logsigmoid(-a) * (1 - x)).sum(-1) - f(x, a)
        ),
        "the normalising constant is computed as it stands (0/0 at a logit of 0)": lambda f: (
            lambda x, a: (a * x - (a.expm1() / a).log()).sum(-1)
        ),
        "the constant of a single pixel is used for all": lambda f: (
            lambda x, a: f(x[..., :1], a[..., :1]) + (a * x)[..., 1:].sum(-1)
        ),
    },
)  # fmt: skip
def grey_pixels_have_a_normalised_density(log_prob: Grey, values: Tensor, logits: Tensor) -> Iterator[Residual]:
    r"""For grey pixels the cross-entropy less the logarithm of its integral is the log-density.

    $\sum_i x_i\log\mu_i + (1-x_i)\log(1-\mu_i) - \log\int_0^1\mu_i^t(1-\mu_i)^{1-t}\,\mathrm dt$.

    Error bound: 16 roundings of $\sum_i 1 + \lvert\ell_i\rvert d_i + \lvert\log\lvert\ell_i\rvert\rvert$, with $d_i$ the
    distance of $x_i$ from the likelier end; the integral is enclosed.
    """

    def term(x: Any, a: Any) -> Any:
        log_mu, log_rest = -arb.log1p(arb.exp(-a)), -arb.log1p(arb.exp(a))
        # The integrand divided by its largest value, so that its size is 1 whatever the logit.
        top = log_mu if float(a.mid()) > 0 else log_rest
        area = arb.integral(lambda t: arb.exp(t * (log_mu - log_rest) + (log_rest - top)), 0.0, 1.0)
        return x * log_mu + (1 - x) * log_rest - top - arb.log(area)

    pairs = list(zip(values.tolist(), logits.tolist(), strict=True))
    true = arb.enclose(lambda: sum(term(arb.exact(x), arb.exact(a)) for x, a in pairs), rel_bits=30)
    x, a = values.double().cpu(), logits.double().cpu()
    size = (1 + a.abs() * torch.where(a > 0, 1 - x, x) + a.abs().clamp(min=1.0).log()).sum()
    yield close(log_prob(values, logits), true, ulps=16, scale=size, what="log p(x)")
