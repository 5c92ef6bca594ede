"""The laws of a log-likelihood, and `check_log_likelihood`."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import Any, Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine.check import Options, check
from mathcheck.engine.claim import claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly
from mathcheck.engine.strategies import of_each
from mathcheck.oracles import arb
from mathcheck.probability.families import Normals, Parameters
from mathcheck.probability.log_likelihood import slips
from mathcheck.probability.log_likelihood.counted_outcomes import Observed
from mathcheck.probability.log_likelihood.outcomes import Domain
from mathcheck.probability.log_likelihood.record import LogLikelihood, LogProb

_FORMS = {
    ("Bernoullis", "logit"): "bernoulli.bernoulli_log_prob_from_logits",
    ("Bernoullis", "probability"): "bernoulli.bernoulli_log_prob",
    ("Categoricals", "logits"): "categorical.categorical_log_prob_from_logits",
    ("Categoricals", "probabilities"): "categorical.categorical_log_prob",
    ("Poissons", "rate"): "poisson.poisson_log_prob",
    ("Poissons", "log_rate"): "poisson.poisson_log_prob_from_log_rates",
    ("Normals", "log_variance"): "normal.normal_log_prob",
    ("Normals", "std"): "normal.normal_log_prob_from_std",
}


def _remedy(s: LogLikelihood) -> str | None:
    """The form of the catalogue that keeps the digits of a family, if there is one for its parameter."""
    parameter = s.domain.spread if isinstance(s.domain, Normals) else s.domain.parameter
    form = _FORMS.get((type(s.domain).__name__, parameter))
    return f"use mathcheck.probability.{form}" if form else None


def _given(s: LogLikelihood, dtype: torch.dtype, largest: int = 4) -> st.SearchStrategy[Observed]:
    """Outcomes and their parameters."""
    shapes = st.tuples(st.sampled_from(list(s.batch_shapes)), st.integers(1, largest))
    return of_each(shapes, lambda shape: s.family.observed(shape[1], shape[0], dtype))


def _rows(outcomes: Tensor, rows: Tensor) -> Iterator[tuple[list[float], list[list[float]]]]:
    """Row after row of a batch: its outcomes, and the parameters of each."""
    n = outcomes.shape[-1]
    return zip(outcomes.reshape(-1, n).tolist(), rows.reshape(-1, n, rows.shape[-1]).tolist(), strict=True)


def _true(s: LogLikelihood, outcomes: Tensor, rows: Tensor) -> Ball:
    def total(ts: list[float], parameters: list[list[float]]) -> Any:
        return sum(
            (s.family.log_prob(t, [arb.exact(a) for a in row]) for t, row in zip(ts, parameters, strict=True)),
            arb.exact(0),
        )

    never = s.family.impossible(outcomes, rows).any(-1).flatten().tolist()
    balls = [
        Ball(-math.inf, kind=Kind.ENCLOSED, source="ball arithmetic")
        if impossible
        else arb.enclose(functools.partial(total, ts, parameters), rel_bits=60)
        for (ts, parameters), impossible in zip(_rows(outcomes, rows), never, strict=True)
    ]
    return Ball.stack(balls, outcomes.shape[:-1])


@claim(
    given=_given,
    mutants=slips.SIGN | slips.MEAN | slips.UNIT | slips.PRECISION | slips.FORMULA,
    repairs=slips.REPAIRS,
    half=True,
    remedy=_remedy,
)
def equals_the_definition(s: LogLikelihood, outcomes: Tensor, parameters: Parameters) -> Iterator[Residual]:
    r"""The log-likelihood is what its definition says, on the boundary and however large the parameters.

    $\log p(t\mid a) = \sum_i\log p(t_i\mid a_i)$ with $0\log 0 = 0$ and $\log 0 = -\infty$.

    Error bound: 16 roundings of the sizes of the terms that the textbook form adds up: $1 + \lvert\log p\rvert$ for
    probabilities, $1 + \lvert\ell\rvert$ for a logit, $1 + 2\max\lvert\ell\rvert$ for several,
    $2 + \lvert\log\sigma^2\rvert + (x-\mu)^2/\sigma^2$ for normals, $1 + \lvert t\log\lambda\rvert + \lambda + \log t!$ for
    counts. Where relative accuracy is promised, of the value: its terms all have one sign.
    """
    rows = s.family.table(parameters)
    true = _true(s, outcomes, rows)
    size = None if s.relative else s.family.size(outcomes, rows).sum(-1)
    yield close(s.log_prob(outcomes, *parameters), true, ulps=16, scale=size, what="log p(t)")


@claim(
    given=functools.partial(_given, largest=3),
    mutants=slips.SIGN | slips.MEAN | slips.DETACHED | slips.NAIVE | slips.CODING | slips.LINK,
    repairs=slips.REPAIRS,
    examples=60,
    remedy=_remedy,
)
def gradient_is_that_of_the_definition(
    s: LogLikelihood, outcomes: Tensor, parameters: Parameters
) -> Iterator[Residual]:
    r"""The gradient is that of the definition wherever that is finite, beside impossible outcomes too.

    $\partial_a\log p(t\mid a)$: $\frac t\mu - \frac{1-t}{1-\mu}$ for a probability, $t - \sigma(\ell)$ for a logit. Of
    probabilities that sum to 1 only the differences of slopes are compared.

    Error bound: 16 roundings of the sizes of the terms that the textbook form adds up: $\frac1\mu + \frac1{1-\mu}$ for a
    probability, the slope alone where one of them is infinite; 1 for a logit, $1 + 2\pi_j\max\lvert\ell\rvert$ for one of
    several; $1 + \frac t\lambda$ and $t + \lambda$ for counts; $\frac{\lvert z\rvert}\sigma$ and $\frac{1 + z^2}2$ for the mean
    and the log-variance of a normal, by the chain rule for its other spreads. Where relative accuracy is promised, of the
    slope itself. The smallest normal number is added: below it a logistic function divides by what overflows, and gives 0.
    """
    leaves = tuple(p.detach().clone().requires_grad_() for p in parameters)
    value = s.log_prob(outcomes, *leaves)
    if not value.requires_grad:
        raise NotImplementedError("the log-likelihood is not differentiable by autograd")
    found = torch.autograd.grad(value.sum(), leaves, allow_unused=True)
    filled = tuple(torch.zeros_like(p) if g is None else g for p, g in zip(leaves, found, strict=True))
    rows = s.family.table(parameters)
    possible = ~s.family.impossible(outcomes, rows)
    if not bool(possible.any()):
        return
    gradient = s.family.canonical(s.family.table(filled))[possible]

    def slopes(t: float, row: list[float]) -> Any:
        return arb.gradient(lambda xs: s.family.log_prob(t, xs), row)

    pairs = zip(outcomes[possible].tolist(), rows[possible].tolist(), strict=True)
    balls = [arb.enclose(functools.partial(slopes, t, row), rel_bits=60) for t, row in pairs]
    stacked = Ball.stack(balls, gradient.shape)
    radius = stacked.radius + torch.finfo(gradient.dtype).tiny
    true = Ball(s.family.canonical(stacked.mid), radius, kind=stacked.kind, source=stacked.source)
    size = None if s.relative else s.family.slope_size(outcomes, rows)[possible.cpu()]
    yield close(gradient, true, ulps=16, scale=size, what="the gradient in the parameters")


@claim(
    given=lambda s, dtype: of_each(st.integers(1, 2), lambda n: st.tuples(s.family.summable(n, dtype))),
    mutants=slips.SIGN | slips.MEAN | slips.UNIT | slips.MASS,
    repairs=slips.REPAIRS,
    examples=40,
    half=True,
    remedy=_remedy,
)
def probabilities_of_all_outcomes_sum_to_one(s: LogLikelihood, parameters: Parameters) -> Iterator[Residual]:
    r"""The probabilities of all outcomes sum to one: $\sum_t p(t\mid a) = 1$, or $\int p(t\mid a)\,\mathrm dt = 1$.

    All vectors of one and two outcomes; counts up to 60; for normals the trapezoidal rule with steps of half a standard
    deviation, whose sum over a normal density is 1 to 33 digits.

    Error bound: 16 roundings of $1 + \sum_t p(t)\,s(t)$ with $s(t)$ the size of the terms of $\log p(t)$: an absolute error
    of a logarithm is a relative one of its probability.
    """
    outcomes, weight, size = s.family.everything(s.family.table(parameters)[0])
    each = [p.expand(len(outcomes), *p.shape[1:]).contiguous() for p in parameters]
    share = (s.log_prob(outcomes, *each).detach().double().cpu() + weight).exp()
    # A share above 1 is wrong already, and must not make the bound as large as the error.
    scale = 1 + float((share.clamp(max=1.0).nan_to_num() * size).sum())
    one = Ball(1.0, kind=Kind.NUMERICAL, source="sum over all outcomes")
    yield close(share.sum(), one, ulps=16, scale=scale * _coarser(parameters[0]), what="the total probability")


def _coarser(like: Tensor) -> float:
    """How much coarser than float64 a tensor's dtype is."""
    return torch.finfo(like.dtype).eps / torch.finfo(torch.float64).eps


@claim(
    given=lambda s, dtype: _given(s, dtype).filter(lambda observed: observed[0].shape[-1] > 1),
    mutants=slips.MEAN | slips.ONCE | slips.LAST,
    repairs=slips.REPAIRS,
    examples=50,
    half=True,
    remedy=_remedy,
)
def outcomes_add(s: LogLikelihood, outcomes: Tensor, parameters: Parameters) -> Iterator[Residual]:
    r"""Independent outcomes add: $\log p(t, u\mid a, b) = \log p(t\mid a) + \log p(u\mid b)$.

    The first outcome of each row is t.

    Error bound: 16 roundings of the sizes of the terms, as in `equals_the_definition`, for all three values.
    """
    whole = s.log_prob(outcomes, *parameters)
    dim = outcomes.ndim - 1

    def part(start: int, length: int) -> Tensor:
        return s.log_prob(outcomes.narrow(dim, start, length), *(p.narrow(dim, start, length) for p in parameters))

    total = part(0, 1).double() + part(1, outcomes.shape[-1] - 1).double()
    rows = s.family.table(parameters)
    possible = ~s.family.impossible(outcomes, rows)
    size = torch.where(possible.cpu(), s.family.size(outcomes, rows), 0.0).sum(-1)
    yield close(whole, total.to(whole.dtype), ulps=16, scale=2 * size, what="log p(t, u)")


@claim(given=_given, mutants=slips.BATCH | slips.DTYPE, repairs=slips.REPAIRS, examples=50, half=True, remedy=_remedy)
def one_value_for_each_row(s: LogLikelihood, outcomes: Tensor, parameters: Parameters) -> Iterator[Residual]:
    r"""The outcomes of a row are summed, and rows are not: $\log p(t)_b = \log p(t_b)$, in the parameters' dtype.

    Error bound: 16 roundings of the sizes of the terms, as in `equals_the_definition`, between a row and the same row in its
    batch; 0 for shape and dtype.
    """
    value = s.log_prob(outcomes, *parameters)
    batch, k = tuple(outcomes.shape[:-1]), outcomes.ndim - 1
    yield exactly(tuple(value.shape), batch, kind=Kind.NUMERICAL, what="the shape of log p(t)")
    yield exactly(value.dtype, parameters[0].dtype, kind=Kind.NUMERICAL, what="the dtype of log p(t)")
    rows = [outcomes.reshape(-1, *outcomes.shape[k:]), *(p.reshape(-1, *p.shape[k:]) for p in parameters)]
    alone = [s.log_prob(*(x[b : b + 1] for x in rows)).reshape(-1)[0] for b in range(len(rows[0]))]
    size = s.family.size(outcomes, s.family.table(parameters)).sum(-1)
    expected = torch.stack(alone).reshape(batch)
    # Of an impossible row the size is infinite, but its value is known.
    size = torch.where(expected.detach().cpu().isfinite(), size, 0.0)
    yield close(value, expected, ulps=16, scale=size, what="log p(t) of a row in its batch")


def check_log_likelihood(
    likelihood: LogLikelihood | LogProb, domain: Domain | None = None, **options: Unpack[Options]
) -> list[Evidence]:
    r"""Judges the log-likelihood of vectors of outcomes, $\log p(t\mid a)$, by every law of one.

    `check_log_likelihood(my_log_prob, normals("log_variance"))` for a function `my_log_prob(x, mean, log_variance)`;
    `bernoullis("logit")`, `categoricals("logits")` and `poissons("rate")` are the other families.

    Args:
        likelihood: a `LogLikelihood`, or the function that one would hold.
        domain: the family and its parameters, if `likelihood` is a function.
        options: `expected_failures`, `require`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `likelihood` is neither a record nor a function, or `domain` comes with a record or not with a function.
    """
    if isinstance(likelihood, LogLikelihood):
        if domain is not None:
            raise TypeError("domain must be given in the LogLikelihood record, or with a function")
        return check(likelihood, laws(LogLikelihood), **options)
    if not callable(likelihood):
        raise TypeError(f"likelihood must be a LogLikelihood or a function, got {type(likelihood).__name__}")
    if domain is None:
        raise TypeError('domain must be given with a function, e.g. bernoullis("logit")')
    return check(LogLikelihood(likelihood, domain), laws(LogLikelihood), **options)
