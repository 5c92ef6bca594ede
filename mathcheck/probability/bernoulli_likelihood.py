r"""What every Bernoulli log-likelihood must satisfy: the record, its laws, `check_bernoulli_likelihood`."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck import strategies
from mathcheck.claim import Settings, check, claim, laws
from mathcheck.evidence import Evidence
from mathcheck.oracles import arb
from mathcheck.residual import Ball, Kind, Residual, close, exactly
from mathcheck.strategies import Interval

LogProb = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class BernoulliLikelihood:
    r"""$\log p(t) = \sum_i t_i\log\mu_i + (1-t_i)\log(1-\mu_i)$ of binary vectors t, as somebody computes it.

    Args:
        log_prob: called as `log_prob(outcomes, parameter)`, both `(*batch, n)`; returns `(*batch,)` in nats. Besides
            `batch_shapes` it takes any single leading dimension.
        parameter: "probability", $\mu$ itself, with 0 and 1; or "logit", $\log\frac{\mu}{1-\mu}$.
        reach: logits are drawn from [-reach, reach].
        absolute_ulps: error that is granted to each term and each slope besides 16 roundings of it, in units of eps;
            a likelihood that is relatively accurate near certainty needs none.
        batch_shapes: leading shapes that it takes.
        dtype: that it takes, if only one.
    """

    log_prob: LogProb
    parameter: str = "probability"
    reach: float = 1e4
    absolute_ulps: float = 0.0
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        if self.parameter not in ("probability", "logit"):
            raise ValueError(f'parameter must be "probability" or "logit", got {self.parameter!r}')

    @property
    def logit(self) -> bool:
        """True if the parameter is a logit."""
        return self.parameter == "logit"


Slip = Callable[[BernoulliLikelihood], BernoulliLikelihood]


def _then(change: Callable[[Tensor, int], Tensor]) -> Slip:
    """The slip that puts `change(value, n)` in place of the log-likelihood of n outcomes."""

    def slip(b: BernoulliLikelihood) -> BernoulliLikelihood:
        return replace(b, log_prob=lambda t, a: change(b.log_prob(t, a), t.shape[-1]))

    return slip


def _formula(term: Callable[[Tensor, Tensor], Tensor]) -> Slip:
    """The slip that sums `term(t, mu)`."""

    def slip(b: BernoulliLikelihood) -> BernoulliLikelihood:
        return replace(b, log_prob=lambda t, a: term(t, torch.sigmoid(a) if b.logit else a).sum(-1))

    return slip


_NAIVE: dict[str, Slip] = {
    "t log(mu) + (1 - t) log(1 - mu) is computed as it stands (0 log 0)": _formula(
        lambda t, mu: t * mu.log() + (1 - t) * (1 - mu).log()
    ),
}
_CLAMPED: dict[str, Slip] = {
    "logarithms are cut off at -100": _formula(
        lambda t, mu: t * mu.log().clamp(min=-100) + (1 - t) * (-mu).log1p().clamp(min=-100)
    ),
}
_PARENTHESES: dict[str, Slip] = {
    "log(1 - mu) is read as log(1) - mu": _formula(lambda t, mu: torch.where(t == 1, mu.log(), -mu)),
}
_MEAN: dict[str, Slip] = {
    "it is divided by n (a mean over the outcomes for their sum)": _then(lambda value, n: value / n),
    "it is multiplied by n (a sum over the outcomes for their mean)": _then(lambda value, n: value * n),
}
_SIGN: dict[str, Slip] = {
    "its sign is changed (the cross-entropy is minus the log-likelihood)": _then(lambda value, n: -value),
}
_SWAP: dict[str, Slip] = {
    "the outcomes are exchanged": lambda b: replace(b, log_prob=lambda t, a: b.log_prob(1 - t, a)),
}
_BATCH: dict[str, Slip] = {
    "it is summed over the batch": _then(lambda value, n: value.sum()),
    "it is averaged over the batch": _then(lambda value, n: value.mean().expand(value.shape)),
}
_REPAIRS: dict[str, Slip] = {**_SIGN, **_MEAN, **_SWAP}


def _parameters(b: BernoulliLikelihood, dtype: torch.dtype) -> st.SearchStrategy[float]:
    eps, tiny = torch.finfo(dtype).eps, torch.finfo(dtype).tiny
    if b.logit:
        # Where exp underflows, where sigmoid is 1 in single and double precision, and where a softplus may switch.
        marks = [0.0, 1.0, 16.7, 20.0, 20.5, 37.0, 88.0, 104.0, 746.0, b.reach]
        special = [sign * m for m in marks if m <= b.reach for sign in (1, -1)]
        numbers = Interval(reach=b.reach).elements(dtype)
    else:
        special = [0.0, 1.0, 0.5, eps, 1 - eps, tiny, 0.25]
        numbers = strategies.unit_interval.elements(dtype)
    rounded = [float(torch.tensor(x, dtype=dtype)) for x in special]
    return st.one_of(st.sampled_from(rounded), numbers)


def _given(b: BernoulliLikelihood, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
    """Outcomes and parameters of one shape."""

    def of(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[Tensor, Tensor]]:
        outcomes = strategies.tensors(shape, dtype, st.sampled_from([0.0, 1.0]))
        return st.tuples(outcomes, strategies.tensors(shape, dtype, _parameters(b, dtype)))

    shapes = st.tuples(st.sampled_from(list(b.batch_shapes)), st.integers(1, 4)).map(lambda s: (*s[0], s[1]))
    return shapes.flatmap(of)


def _log(b: BernoulliLikelihood, t: Any, a: Any) -> Any:
    """The log-probability of one outcome t = 0 or 1 in ball arithmetic."""
    if b.logit:
        return -arb.log1p(arb.exp(-a if t == 1 else a))
    return arb.log(a) if t == 1 else arb.log1p(-a)


def _impossible(b: BernoulliLikelihood, t: Tensor, a: Tensor) -> Tensor:
    """Outcomes of probability 0."""
    return torch.zeros_like(t, dtype=torch.bool) if b.logit else a == 1 - t


def _true(b: BernoulliLikelihood, t: Tensor, a: Tensor) -> Ball:
    def row(outcomes: list[float], parameters: list[float]) -> Any:
        return sum(_log(b, o, arb.exact(p)) for o, p in zip(outcomes, parameters, strict=True))

    n, never = t.shape[-1], _impossible(b, t, a).any(-1).flatten().tolist()
    rows = zip(t.reshape(-1, n).tolist(), a.reshape(-1, n).tolist(), never, strict=True)
    balls = [
        Ball(-math.inf, kind=Kind.ENCLOSED, source="ball arithmetic")
        if impossible
        else arb.enclose(functools.partial(row, outcomes, parameters), rel_bits=60)
        for outcomes, parameters, impossible in rows
    ]
    return Ball.stack(balls, t.shape[:-1])


@claim(given=_given, mutants=_NAIVE | _CLAMPED | _PARENTHESES | _MEAN | _SWAP | _SIGN, repairs=_REPAIRS)
def equals_the_definition(b: BernoulliLikelihood, outcomes: Tensor, parameter: Tensor) -> Iterator[Residual]:
    r"""The log-likelihood is what its definition says, with probabilities 0 and 1 and however large the logits.

    $\log p(t) = \sum_i t_i\log\mu_i + (1-t_i)\log(1-\mu_i)$ with $0\log 0 = 0$.

    Error bound: 16 roundings of the value: the terms all have one sign, and each is as well conditioned as the
    logarithm of the number that it is given. The promised `absolute_ulps` are added.
    """
    true = _true(b, outcomes, parameter)
    promised = b.absolute_ulps * torch.finfo(parameter.dtype).eps * outcomes.shape[-1]
    granted = Ball(true.mid, true.radius + promised, kind=true.kind, source=true.source)
    yield close(b.log_prob(outcomes, parameter), granted, ulps=16, what="log p(t)")


@claim(given=_given, mutants=_NAIVE | _CLAMPED | _PARENTHESES | {
    "its sign is changed (the cross-entropy is minus the log-likelihood)":
        _SIGN["its sign is changed (the cross-entropy is minus the log-likelihood)"],
}, repairs=_REPAIRS, examples=60)  # fmt: skip
def gradient_is_that_of_the_definition(
    b: BernoulliLikelihood, outcomes: Tensor, parameter: Tensor
) -> Iterator[Residual]:
    r"""The gradient is that of the definition wherever that is finite.

    $\partial_\mu\log p(t) = \frac t\mu - \frac{1-t}{1-\mu}$, and $t - \sigma(\ell)$ for a logit $\ell$.

    Error bound: 16 roundings of each entry, which is a quotient or a logistic function of one number; the promised
    `absolute_ulps` are added.
    """
    leaf = parameter.detach().clone().requires_grad_()
    value = b.log_prob(outcomes, leaf)
    if not value.requires_grad:
        raise NotImplementedError("the log-likelihood is not differentiable by autograd")
    gradient = torch.autograd.grad(value.sum(), leaf)[0].flatten()
    possible = ~_impossible(b, outcomes, parameter).flatten()
    for slope, t, a in zip(gradient[possible], outcomes.flatten()[possible].tolist(),
                           parameter.flatten()[possible].tolist(), strict=True):  # fmt: skip
        true = arb.enclose(lambda t=t, a=a: _slope(b, t, arb.exact(a)), rel_bits=60)  # type: ignore[misc]
        promised = b.absolute_ulps * torch.finfo(parameter.dtype).eps
        granted = Ball(true.mid, true.radius + promised, kind=true.kind, source=true.source)
        yield close(slope, granted, ulps=16, what="the gradient in a parameter")


def _slope(b: BernoulliLikelihood, t: float, a: Any) -> Any:
    if b.logit:
        return 1 / (1 + arb.exp(a)) if t == 1 else -1 / (1 + arb.exp(-a))
    return 1 / a if t == 1 else -1 / (1 - a)


@claim(
    given=lambda b, dtype: st.integers(1, 3).flatmap(
        lambda n: st.tuples(strategies.tensors((n,), dtype, _parameters(b, dtype)))
    ),
    mutants=_NAIVE | _PARENTHESES | {
        "it is divided by n (a mean over the outcomes for their sum)":
            _MEAN["it is divided by n (a mean over the outcomes for their sum)"],
        "its sign is changed (the cross-entropy is minus the log-likelihood)":
            _SIGN["its sign is changed (the cross-entropy is minus the log-likelihood)"],
    },
    repairs=_REPAIRS,
)  # fmt: skip
def probabilities_of_all_outcomes_sum_to_one(b: BernoulliLikelihood, parameter: Tensor) -> Iterator[Residual]:
    r"""The probabilities of all outcomes sum to one: $\sum_{t\in\{0,1\}^n} p(t) = 1$.

    Error bound: 16 roundings of $1 + n$: a relative error of $\log p$ is one of $\lvert\log p\rvert$ in p, and
    $\sum_t p(t)\lvert\log p(t)\rvert \le n\log 2$.
    """
    n = parameter.shape[-1]
    outcomes = torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)), dtype=parameter.dtype)
    outcomes = outcomes.to(parameter.device)
    value = b.log_prob(outcomes, parameter.expand(outcomes.shape).contiguous())
    one = Ball(1.0, kind=Kind.NUMERICAL, source="sum over all outcomes")
    yield close(value.exp().sum(), one, ulps=16, scale=1.0 + n, what="the total probability")


@claim(given=_given, mutants=_BATCH | {
    "it is computed in another dtype": _then(
        lambda value, n: value.to(torch.float32 if value.dtype == torch.float64 else torch.float64)),
}, examples=50)  # fmt: skip
def one_value_for_each_row(b: BernoulliLikelihood, outcomes: Tensor, parameter: Tensor) -> Iterator[Residual]:
    r"""The outcomes of a row are summed, and rows are not: $\log p(t)_b = \log p(t_b)$, in the parameter's dtype.

    Error bound: 8 roundings between a row and the same row in its batch, whose terms have one sign; 0 for shape and
    dtype.
    """
    value = b.log_prob(outcomes, parameter)
    yield exactly(tuple(value.shape), tuple(outcomes.shape[:-1]), kind=Kind.NUMERICAL, what="the shape of log p(t)")
    yield exactly(value.dtype, parameter.dtype, kind=Kind.NUMERICAL, what="the dtype of log p(t)")
    n = outcomes.shape[-1]
    rows = zip(outcomes.reshape(-1, n), parameter.reshape(-1, n), strict=True)
    alone = [b.log_prob(t[None], a[None]).reshape(-1)[0] for t, a in rows]
    yield close(value, torch.stack(alone).reshape(value.shape), what="log p(t) of a row in its batch")


def check_bernoulli_likelihood(
    likelihood: BernoulliLikelihood | LogProb,
    *,
    expected_failures: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> list[Evidence]:
    r"""Judges $\log p(t) = \sum_i t_i\log\mu_i + (1-t_i)\log(1-\mu_i)$ by every law of a Bernoulli log-likelihood.

    Args:
        likelihood: a `BernoulliLikelihood`, or the function `(outcomes, probabilities)` that one would hold.
        expected_failures, settings, dtype, device: as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `likelihood` is neither a record nor a function.
    """
    if not isinstance(likelihood, BernoulliLikelihood):
        if not callable(likelihood):
            raise TypeError(f"likelihood must be a BernoulliLikelihood or a function, got {type(likelihood).__name__}")
        likelihood = BernoulliLikelihood(likelihood)
    return check(likelihood, laws(BernoulliLikelihood), expected_failures=expected_failures, settings=settings,
                 dtype=dtype, device=device)  # fmt: skip
