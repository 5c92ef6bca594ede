"""Ways in which a log-likelihood goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mathcheck.probability.discrete_families import Bernoullis, Categoricals, Poissons
from mathcheck.probability.families import Normals, Parameters
from mathcheck.probability.log_likelihood.record import LogLikelihood

Slip = Callable[[LogLikelihood], LogLikelihood]

_LOG_2_PI = math.log(2 * math.pi)


def _then(change: Callable[[Tensor, int], Tensor]) -> Slip:
    """The slip that puts `change(value, n)` in place of the log-likelihood of n outcomes."""
    return lambda s: replace(s, log_prob=lambda t, *a: change(s.log_prob(t, *a), t.shape[-1]))


def _of(kind: type, parameter: str, change: Callable[[Any, Tensor, Parameters], Tensor], **domain: Any) -> Slip:
    """The slip of one family, given by `parameter` (any if empty), that says `change(log_prob, outcomes, parameters)`."""

    def slip(s: LogLikelihood) -> LogLikelihood:
        given = s.domain
        if not isinstance(given, kind) or (parameter and getattr(given, "parameter", "") != parameter):
            raise NotImplementedError(f"no slip of {given}")
        altered: Any = replace(given, **domain)
        return replace(s, domain=altered, log_prob=lambda t, *a: change(s.log_prob, t, a))

    return slip


def _either(*slips: Slip) -> Slip:
    """The first of the slips that there is for a family."""

    def slip(s: LogLikelihood) -> LogLikelihood:
        for one in slips:
            try:
                return one(s)
            except NotImplementedError:
                continue
        raise NotImplementedError(f"no slip of {s.domain}")

    return slip


def _halved(s: LogLikelihood) -> LogLikelihood:
    if getattr(s.domain, "parameter", "") == "probabilities":
        raise NotImplementedError("probabilities that are rounded no longer sum to 1")

    def changed(t: Tensor, *a: Tensor) -> Tensor:
        coarse = torch.float32 if a[0].dtype == torch.float64 else torch.bfloat16
        return s.log_prob(t, *(x.to(coarse).to(x.dtype) for x in a))

    return replace(s, log_prob=changed)


def _last_detached(s: LogLikelihood) -> LogLikelihood:
    return replace(s, log_prob=lambda t, *a: s.log_prob(t, *a[:-1], a[-1].detach() + 0 * a[-1]))


def _without_last(s: LogLikelihood) -> LogLikelihood:
    def changed(t: Tensor, *a: Tensor) -> Tensor:
        dim, count = t.ndim - 1, max(1, t.shape[-1] - 1)
        return s.log_prob(t.narrow(dim, 0, count), *(p.narrow(dim, 0, count) for p in a))

    return replace(s, log_prob=changed)


def _row_by_row(s: LogLikelihood) -> LogLikelihood:
    def changed(t: Tensor, *a: Tensor) -> Tensor:
        rows = [t.reshape(-1, t.shape[-1]), *(x.reshape(-1, *x.shape[t.ndim - 1 :]) for x in a)]
        values = [s.log_prob(*(x[k : k + 1] for x in rows)).reshape(()) for k in range(len(rows[0]))]
        return torch.stack(values).reshape(t.shape[:-1])

    return replace(s, log_prob=changed)


def _picked(t: Tensor, values: Tensor) -> Tensor:
    return values.gather(-1, t.unsqueeze(-1)).squeeze(-1)


# Where the exponential of a double is 0.
_UNDERFLOW = 746.0


def _on_the_boundary(slip: Slip) -> Slip:
    """The slip, where probabilities and rates may be 0, or a logit so large that one is."""

    def limited(s: LogLikelihood) -> LogLikelihood:
        logits = getattr(s.domain, "parameter", "") in ("logit", "logits")
        if not getattr(s.domain, "boundary", True) or (logits and getattr(s.domain, "reach", 0.0) < _UNDERFLOW):
            raise NotImplementedError("no probability is 0")
        return slip(s)

    return limited


def _binary(term: Callable[[Tensor, Tensor], Tensor]) -> Slip:
    """The slip that sums `term(t, mu)`."""
    return _either(
        _of(Bernoullis, "logit", lambda f, t, a: term(t, torch.sigmoid(a[0])).sum(-1)),
        _of(Bernoullis, "probability", lambda f, t, a: term(t, a[0]).sum(-1)),
    )


SIGN: dict[str, Slip] = {
    "its sign is changed (the cross-entropy is minus the log-likelihood)": _then(lambda value, n: -value),
}
MEAN: dict[str, Slip] = {
    "it is divided by n (a mean over the outcomes for their sum)": _then(lambda value, n: value / n),
    "it is multiplied by n (a sum over the outcomes for their mean)": _then(lambda value, n: value * n),
}
UNIT: dict[str, Slip] = {
    "it is converted from bits to nats": _then(lambda value, n: value * math.log(2)),
    "it is converted from nats to bits": _then(lambda value, n: value / math.log(2)),
}
PRECISION: dict[str, Slip] = {"its parameters are rounded to half the digits (float32 for float64)": _halved}
BATCH: dict[str, Slip] = {
    "it is summed over the batch": _then(lambda value, n: value.sum()),
    "it is averaged over the batch": _then(lambda value, n: value.mean().expand(value.shape)),
}
DTYPE: dict[str, Slip] = {
    "it is computed in another dtype": _then(
        lambda value, n: value.to(torch.float32 if value.dtype == torch.float64 else torch.float64)
    ),
}
LAST: dict[str, Slip] = {"the last of several outcomes is left out": _without_last}
DETACHED: dict[str, Slip] = {"the last parameter is detached": _last_detached}

NAIVE: dict[str, Slip] = {
    "t log(mu) + (1 - t) log(1 - mu) is computed as it stands (0 log 0)": _on_the_boundary(
        _binary(lambda t, mu: t * mu.log() + (1 - t) * (1 - mu).log())
    ),
    "the logarithm is taken of the softmax (an underflow)": _on_the_boundary(
        _of(Categoricals, "logits", lambda f, t, a: _picked(t, torch.softmax(a[0], -1)).log().sum(-1))
    ),
    "t log(rate) - rate is computed as it stands (0 log 0)": _on_the_boundary(
        _of(Poissons, "rate", lambda f, t, a: (t * a[0].log() - a[0] - torch.lgamma(t + 1)).sum(-1))
    ),
}
CLAMPED: dict[str, Slip] = {
    "logarithms are cut off at -100": _on_the_boundary(
        _binary(lambda t, mu: t * mu.log().clamp(min=-100) + (1 - t) * (-mu).log1p().clamp(min=-100))
    ),
}
# Bernoulli and categorical outcomes.
CODING: dict[str, Slip] = {
    "the outcomes are exchanged": _of(Bernoullis, "", lambda f, t, a: f(1 - t, *a)),
    "classes are counted from 1": _of(Categoricals, "", lambda f, t, a: f((t + 1) % a[0].shape[-1], *a)),
}
NORMALISER: dict[str, Slip] = {
    "log(1 - mu) is read as log(1) - mu": _binary(lambda t, mu: torch.where(t == 1, mu.log(), -mu)),
    "the softplus takes the other sign of the logit": _of(
        Bernoullis, "logit", lambda f, t, a: (t * a[0] - functional.softplus(-a[0])).sum(-1)
    ),
    "the logarithm of the sum of exponentials is left out": _of(
        Categoricals, "logits", lambda f, t, a: _picked(t, a[0]).sum(-1)
    ),
    "the rate is not subtracted": _of(Poissons, "rate", lambda f, t, a: f(t, *a) + a[0].sum(-1)),
    "log t! is left out": _of(Poissons, "", lambda f, t, a: f(t, *a) + torch.lgamma(t + 1).sum(-1)),
    "log t! is replaced by Stirling's formula": _of(Poissons, "", lambda f, t, a: f(t, *a) - _stirling(t).sum(-1)),
}


def _stirling(t: Tensor) -> Tensor:
    """What Stirling's formula is off by, where it is used: above 1."""
    formula = t * t.log() - t + (2 * math.pi * t).log() / 2
    return torch.where(t > 1, formula - torch.lgamma(t + 1), 0.0)


def _normal(change: Callable[[Tensor, Tensor, Tensor, int], Tensor]) -> Slip:
    """The slip that says `change(value, log_variance, square, n)`, with the squared distance in standard deviations."""

    def of(f: Any, t: Tensor, a: Parameters, spread: str) -> Tensor:
        wide = a[1].double()
        logs = (wide if spread.startswith("log") else wide.log()) * (2 if "std" in spread else 1)
        square = ((t.double() - a[0].double()) * (-logs / 2).exp()).square()
        return change(f(t, *a).double(), logs.sum(-1), square.sum(-1), t.shape[-1]).to(t.dtype)

    def slip(s: LogLikelihood) -> LogLikelihood:
        spread = getattr(s.domain, "spread", "")
        return _of(Normals, "", lambda f, t, a: of(f, t, a, spread))(s)

    return slip


CONSTANT: dict[str, Slip] = {
    "the constant n/2 log 2 pi is subtracted": _normal(lambda value, logs, square, n: value - n / 2 * _LOG_2_PI),
    "the constant n/2 log 2 pi is added": _normal(lambda value, logs, square, n: value + n / 2 * _LOG_2_PI),
}
ONCE: dict[str, Slip] = {
    "the constant is counted once for n outcomes": _normal(
        lambda value, logs, square, n: value + (n - 1) / 2 * _LOG_2_PI
    ),
}
_SHAPE: dict[str, Slip] = {
    "the quadratic term is doubled (its factor 1/2 is missing)": _normal(
        lambda value, logs, square, n: value - square / 2
    ),
    "the quadratic term is halved twice": _normal(lambda value, logs, square, n: value + square / 4),
    "the deviation stands for the variance in the constant": _normal(lambda value, logs, square, n: value + logs / 4),
    "the constant holds log sigma^2 without its factor 1/2": _normal(lambda value, logs, square, n: value - logs / 2),
}


def _moderate(s: LogLikelihood) -> LogLikelihood:
    if getattr(s.domain, "reach", 0.0) <= 20:
        raise NotImplementedError("the spreads are moderate already")
    return _of(Normals, "", lambda f, t, a: f(t, *a), reach=20.0)(s)


_SPREADS = {
    "log_variance": "log-variance",
    "variance": "variance",
    "std": "standard deviation",
    "log_std": "logarithm of the standard deviation",
}


def _respread(target: str, *, repair: bool = False) -> Slip:
    """The slip that gives the spread in another form; a logarithm in place of a positive number as a repair only."""

    def slip(s: LogLikelihood) -> LogLikelihood:
        spread = getattr(s.domain, "spread", "")
        if spread == target:
            raise NotImplementedError(f"the spread is given as the {_SPREADS[target]} already")
        if target.startswith("log") and not spread.startswith("log") and not repair:
            raise NotImplementedError("a spread must be positive")

        def other(a: Tensor) -> Tensor:
            wide = a.double()
            if spread.startswith("log") != target.startswith("log"):
                wide = wide.log() if target.startswith("log") else wide.exp()
            half, halves = "std" in spread, "std" in target
            if half == halves:
                return wide.to(a.dtype)
            if target.startswith("log"):
                return (wide / 2 if halves else wide * 2).to(a.dtype)
            return (wide.sqrt() if halves else wide.square()).to(a.dtype)

        return _of(Normals, "", lambda f, t, a: f(t, a[0], other(a[1])))(s)

    return slip


_SPREAD: dict[str, Slip] = {
    f"it is given the {title} (it takes one)": _respread(spread) for spread, title in _SPREADS.items()
}
LINK: dict[str, Slip] = {
    "the logistic function is applied once more": _either(
        _of(Bernoullis, "", lambda f, t, a: f(t, torch.sigmoid(a[0]))),
        _of(Categoricals, "", lambda f, t, a: f(t, torch.softmax(a[0], -1))),
    ),
    "the exponential of the log-rate is taken once more": _of(Poissons, "log_rate", lambda f, t, a: f(t, a[0].exp())),
    **_SPREAD,
}
_GIVEN: dict[str, Slip] = {
    "it is given logits (it takes logits)": _either(
        _of(Bernoullis, "probability", lambda f, t, a: f(t, torch.logit(a[0])), boundary=False),
        _of(Categoricals, "probabilities", lambda f, t, a: f(t, a[0].log()), boundary=False),
    ),
    # A probability that was rounded to 1 has lost what the logit knows.
    "it is given probabilities (it takes probabilities)": _either(
        _of(Bernoullis, "logit", lambda f, t, a: f(t, torch.sigmoid(a[0])), reach=1.0),
        _of(Categoricals, "logits", lambda f, t, a: f(t, torch.softmax(a[0], -1)), reach=1.0),
    ),
    "it is given rates (it takes rates)": _of(Poissons, "log_rate", lambda f, t, a: f(t, a[0].exp()), boundary=False),
    "it is given log-rates (it takes log-rates)": _of(
        Poissons, "rate", lambda f, t, a: f(t, a[0].log()), boundary=False
    ),
}
_GIVEN_SPREAD: dict[str, Slip] = {
    f"it is given the {title} (it takes one)": _respread(spread, repair=True) for spread, title in _SPREADS.items()
}
REPAIRS: dict[str, Slip] = {
    "the rows of a batch are kept apart": _row_by_row,
    "probabilities of 0 and 1, and rates of 0, are excluded": _either(
        *(_of(kind, "", lambda f, t, a: f(t, *a), boundary=False) for kind in (Bernoullis, Categoricals, Poissons))
    ),
    "logarithms of variances beyond 20 are excluded (an overflow)": _moderate,
    "logits stay within 1 of zero (it saturates beyond)": _either(
        _of(Bernoullis, "logit", lambda f, t, a: f(t, *a), reach=1.0),
        _of(Categoricals, "logits", lambda f, t, a: f(t, *a), reach=1.0),
    ),
    "it is judged in single precision (its error is of that size)": _then(lambda value, n: value.float()),
    **SIGN,
    **MEAN,
    **UNIT,
    **CODING,
    **_GIVEN_SPREAD,
    **_GIVEN,
    **CONSTANT,
    "the constant is counted for every outcome (n - 1 more)": _normal(
        lambda value, logs, square, n: value - (n - 1) / 2 * _LOG_2_PI
    ),
    "the quadratic term is halved (its factor 1/2 is missing)": _normal(
        lambda value, logs, square, n: value + square / 2
    ),
    "the quadratic term is doubled (it is halved twice)": _normal(lambda value, logs, square, n: value - square / 4),
    "half of log sigma is subtracted (the deviation stands for the variance)": _normal(
        lambda value, logs, square, n: value - logs / 4
    ),
    "the sum of the logits is subtracted (the softplus takes their other sign)": _of(
        Bernoullis, "logit", lambda f, t, a: f(t, *a) - a[0].sum(-1)
    ),
    "the logarithm of the sum of exponentials is subtracted": _of(
        Categoricals, "logits", lambda f, t, a: f(t, *a) - torch.logsumexp(a[0], -1).sum(-1)
    ),
    "log t! is subtracted": _of(Poissons, "", lambda f, t, a: f(t, *a) - torch.lgamma(t + 1).sum(-1)),
    "Stirling's formula is replaced by log t!": _of(Poissons, "", lambda f, t, a: f(t, *a) + _stirling(t).sum(-1)),
}
FORMULA: dict[str, Slip] = {
    **NAIVE,
    **CLAMPED,
    **CODING,
    **LINK,
    **NORMALISER,
    **CONSTANT,
    **ONCE,
    **_SHAPE,
}
# The others leave it a log-likelihood, of other parameters.
MASS: dict[str, Slip] = {**NORMALISER, **CONSTANT, **ONCE, **_SHAPE}
