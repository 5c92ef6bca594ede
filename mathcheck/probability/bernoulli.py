r"""Log-likelihoods of binary vectors, by probabilities and by logits, and their version for grey pixels.

Written as it stands in a book the formula fails in floating point: $0\log 0$ is not a number, a logistic function of 17 is 1
in single precision, and its complement's logarithm $-\infty$. Here each form is exact in the limits.
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

from mathcheck.engine import arguments, strategies
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, close
from mathcheck.engine.strategies import BATCH_SHAPES, Interval
from mathcheck.oracles import arb
from mathcheck.probability.density import Density
from mathcheck.probability.discrete_families import bernoullis
from mathcheck.probability.kernels.binary import LogitLogProb, binary
from mathcheck.probability.log_likelihood import LogLikelihood


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
    arguments.vectors(outcomes=outcomes, probabilities=probabilities)
    arguments.alike(outcomes=outcomes, probabilities=probabilities)
    one = binary(outcomes)
    if not bool(((probabilities >= 0) & (probabilities <= 1)).all()):
        raise ValueError(
            f"probabilities must lie in [0, 1], got {float(probabilities.detach().min())} to "
            f"{float(probabilities.detach().max())}"
        )
    # A logarithm that is not used must not be infinite: its gradient would be 0 times infinity.
    success = torch.where(one, probabilities, torch.ones_like(probabilities)).log()
    failure = torch.where(one, torch.zeros_like(probabilities), -probabilities).log1p()
    return (success + failure).sum(-1)


def bernoulli_log_prob_from_logits(outcomes: Tensor, logits: Tensor) -> Tensor:
    r"""$\log p(t) = -\sum_i \log(1 + e^{-\ell_i})$ for outcomes 1 and $-\sum_i\log(1 + e^{\ell_i})$ for outcomes 0.

    $\mu = 1/(1 + e^{-\ell})$ is never formed, so that logits of any size keep all digits.

    Args:
        outcomes: t, `(*batch, n)`, each 0 or 1. Under `torch.compile`, where nobody can look at them, another number makes
            the value NaN instead of raising.
        logits: $\ell = \log\frac{\mu}{1-\mu}$, `(*batch, n)`, finite.

    Returns:
        `(*batch,)` in nats, differentiable in the logits.

    Raises:
        TypeError, ValueError: as `bernoulli_log_prob`.
    """
    arguments.vectors(outcomes=outcomes, logits=logits)
    arguments.alike(outcomes=outcomes, logits=logits)
    value: Tensor = LogitLogProb.apply(outcomes, logits)  # type: ignore[no-untyped-call]
    return value


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
    arguments.vectors(values=values, logits=logits)
    arguments.alike(values=values, logits=logits)
    inside = ((values >= 0) & (values <= 1)).all(-1)
    x = torch.where(inside.unsqueeze(-1), values, torch.full_like(values, 0.5))
    size = logits.abs()
    small = size < 0.5
    # log(sinh(a/2) / (a/2)) = a^2/24 - a^4/2880 + ..., to 1e-17 for a < 1/2.
    square = torch.where(small, logits, torch.zeros_like(logits)).square()
    terms = (1 / 24, -1 / 2880, 1 / 181440, -1 / 9676800, 1 / 479001600, -691 / 15692092416000)
    series = square * functools.reduce(
        lambda value, term: value * square + term, reversed(terms[:-1]), torch.full_like(square, terms[-1])
    )
    large = torch.where(small, torch.ones_like(size), size)
    # The distance from the likelier end, so that nothing cancels for large logits.
    far = -large * torch.where(logits > 0, 1 - x, x) - (-torch.expm1(-large) / large).log()
    value = torch.where(small, (x - 0.5) * logits - series, far).sum(-1)
    return torch.where(inside, value, torch.full_like(value, -math.inf))


def _grey(logit: float) -> Callable[[Tensor], Tensor]:
    def log_prob(x: Tensor) -> Tensor:
        return continuous_bernoulli_log_prob(x.unsqueeze(-1), torch.full_like(x, logit).unsqueeze(-1))

    return log_prob


by_probability = LogLikelihood(bernoulli_log_prob, bernoullis(), relative=True, batch_shapes=BATCH_SHAPES)
by_logit = LogLikelihood(bernoulli_log_prob_from_logits, bernoullis("logit"), relative=True, batch_shapes=BATCH_SHAPES)
grey_pixel = Density(
    _grey(3.0),
    Interval(0.0, 1.0),
    cdf=lambda x: torch.expm1(3 * x.clamp(0.0, 1.0)) / math.expm1(3),
    batch_shapes=BATCH_SHAPES,
)
faint_pixel = Density(_grey(-1e-3), Interval(0.0, 1.0), batch_shapes=BATCH_SHAPES)

Grey = Callable[[Tensor, Tensor], Tensor]


@claim(
    given=lambda f, dtype: st.tuples(
        strategies.tensors((2,), dtype, strategies.unit_interval),
        strategies.tensors(
            (2,),
            dtype,
            st.one_of(
                st.sampled_from([0.0, 0.5, -0.5, 0.4375, 1e-3, -1e-3, 2.0**-30, 100.0, -1e3]),
                Interval(reach=50.0).elements(dtype),
            ),
        ).map(lambda t: t.to(dtype)),
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
)
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
