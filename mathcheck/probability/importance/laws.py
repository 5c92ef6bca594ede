"""The laws of an importance-sampling estimator, and `check_importance`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.check import Options, check
from mathcheck.engine.claim import claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, close, exactly
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import arb, enumeration
from mathcheck.probability.importance import slips
from mathcheck.probability.importance.finite_proposals import Problem, problems
from mathcheck.probability.importance.record import Estimate, Importance, Weighted


def _remedy(s: Importance) -> str:
    """The form of the catalogue that keeps the digits of an estimate."""
    form = "self_normalized_estimate" if s.self_normalized else "importance_estimate"
    return f"use mathcheck.probability.importance_sampling.{form}"


def _shapes(s: Importance, least: int = 1) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(st.sampled_from(list(s.batch_shapes)), st.integers(least, 5)).map(lambda x: (*x[0], x[1]))


def _weights(
    s: Importance, dtype: torch.dtype, shape: tuple[int, ...], *, normalized: bool, zeros: bool = False
) -> st.SearchStrategy[Tensor]:
    """Log-weights of any size, or such that their exponentials fit into the dtype."""
    low = Interval(reach=s.reach).elements(dtype)
    moderate = Interval(reach=min(s.reach, 60.0)).elements(dtype)
    numbers = st.one_of(moderate, low if normalized else low.map(lambda x: -abs(x)))
    if zeros:
        numbers = st.one_of(st.just(-math.inf), numbers)
    rows = strategies.tensors(shape, dtype, numbers)
    # Weights of one size, all of them large.
    shift = st.sampled_from([0.0, *([s.reach - 60.0] if normalized and s.reach > 120 else [])])
    near = st.tuples(strategies.tensors(shape, dtype, Interval(reach=min(s.reach, 3.0))), shift).map(
        lambda x: x[0] + x[1]
    )
    return rows if zeros else st.one_of(rows, near)


def _values(dtype: torch.dtype, shape: tuple[int, ...]) -> st.SearchStrategy[Tensor]:
    return strategies.tensors(shape, dtype, Interval(reach=10.0))


def _given(s: Importance, dtype: torch.dtype, *, zeros: bool = False, least: int = 1) -> st.SearchStrategy[Weighted]:
    """Log-weights and values of one shape."""
    return strategies.of_each(
        _shapes(s, least),
        lambda shape: st.tuples(
            _weights(s, dtype, shape, normalized=s.self_normalized, zeros=zeros), _values(dtype, shape)
        ),
    )


def _only_weights(s: Importance, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor]]:
    return st.tuples(strategies.of_each(_shapes(s), lambda shape: _weights(s, dtype, shape, normalized=True)))


def _sum(terms: Any) -> Any:
    return sum(terms, arb.exact(0))


def _by_row(compute: Callable[..., Any], log_weights: Tensor, *others: Tensor) -> Ball:
    """`compute` in ball arithmetic of every row of log-weights, as a list of (shifted) weights and the shift."""

    def at(rows: tuple[Tensor, ...]) -> Any:
        ls = [None if x == -math.inf else arb.exact(x) for x in rows[0].tolist()]
        top = max(rows[0].tolist())
        shift = arb.exact(top if math.isfinite(top) else 0.0)
        weights = [arb.exact(0) if x is None else arb.exp(x - shift) for x in ls]
        return compute(weights, shift, *(arb.exact_list(t) for t in rows[1:]))

    tensors = (log_weights, *others)
    rows = list(zip(*(t.detach().reshape(-1, t.shape[-1]).double().cpu() for t in tensors), strict=True))
    return Ball.stack([arb.enclose(functools.partial(at, row), rel_bits=60) for row in rows], log_weights.shape[:-1])


def _plain(w: list[Any], shift: Any, f: list[Any]) -> Any:
    return arb.exp(shift) * _sum(a * v for a, v in zip(w, f, strict=True)) / len(w)


def _normalised(w: list[Any], shift: Any, f: list[Any]) -> Any:
    return _sum(a * v for a, v in zip(w, f, strict=True)) / _sum(w)


def _largest(log_weights: Tensor) -> Tensor:
    """Size of the largest finite log-weight of each row, `(*batch, 1)`."""
    wide = log_weights.detach().double().cpu()
    return torch.where(wide.isfinite(), wide.abs(), 0.0).amax(-1, keepdim=True)


def _size(s: Importance, log_weights: Tensor, values: Tensor) -> Tensor:
    r"""$\sum_k\lvert v_k f_k\rvert(2 + 2\max\lvert\ell\rvert)$ with v the weights that the values are summed with."""
    wide = log_weights.detach().double().cpu()
    top = wide.amax(-1, keepdim=True)
    shifted = (wide - torch.where(top.isfinite(), top, 0.0)).exp()
    share = shifted / shifted.sum(-1, keepdim=True) if s.self_normalized else wide.exp() / wide.shape[-1]
    return (share * values.detach().double().cpu().abs() * (2 + 2 * _largest(log_weights))).sum(-1)


@claim(
    given=_given,
    mutants=slips.WEIGHTS | slips.COUNT | slips.FORM | slips.OVERFLOW,
    repairs=slips.REPAIRS,
    half=True,
    remedy=_remedy,
)
def equals_the_definition(s: Importance, log_weights: Tensor, values: Tensor) -> Iterator[Residual]:
    r"""The estimate is what its definition says, however large or small the weights.

    $\frac1K\sum_k e^{\ell_k}f_k$, or $\sum_k e^{\ell_k}f_k/\sum_k e^{\ell_k}$ for one that is self-normalised.

    Error bound: 8 roundings of $\sum_k v_k\lvert f_k\rvert(2 + 2\max_j\lvert\ell_j\rvert)$ with $v_k$ the weight over K, or
    over the sum of the weights: a rounding of a logarithm is a relative error of its exponential.
    """
    true = _by_row(_normalised if s.self_normalized else _plain, log_weights, values)
    yield close(s.estimate(log_weights, values), true, scale=_size(s, log_weights, values), what="the estimate")


@claim(
    given=lambda s, dtype: st.tuples(problems(s, dtype), st.just(torch.zeros((), dtype=dtype))),
    mutants=slips.WEIGHTS | slips.COUNT | slips.FORM | slips.ZEROS,
    repairs=slips.REPAIRS,
    examples=60,
)
def unbiased(s: Importance, problem: Problem, like: Tensor) -> Iterator[Residual]:
    r"""Over all samples of a finite proposal the estimate is right on average: $\mathbb E_q[\hat f_K] = \mathbb E_p f$.

    At every number of draws, for q positive wherever p is. A self-normalised estimate is not unbiased.

    Error bound: the mean over all samples of 8 roundings of $\frac1K\sum_k w_k\lvert f_k\rvert(2 + 2\max\lvert\ell\rvert)$; the
    expectation itself is a rational number.
    """
    if s.self_normalized:
        raise NotImplementedError("a self-normalised estimate is biased")
    p, q, f, draws = problem
    paths = enumeration.product(dict(enumerate(q)), draws)
    logs = torch.tensor(
        [math.log(a / b) if a else -math.inf for a, b in zip(p, q, strict=True)], dtype=torch.float64
    ).to(like)
    index = torch.tensor(list(paths), device=like.device)
    log_weights, values = logs[index], torch.tensor([float(v) for v in f]).to(like)[index]
    chance = torch.tensor([float(m) for m in paths.values()], dtype=torch.float64)
    mean = (s.estimate(log_weights, values).detach().double().cpu() * chance).sum()
    true = float(sum(a * v for a, v in zip(p, f, strict=True)))
    size = (chance * _size(s, log_weights, values)).sum() * (
        torch.finfo(like.dtype).eps / torch.finfo(torch.float64).eps
    )
    yield close(
        mean, Ball(true, kind=Kind.NUMERICAL, source="a rational number"), scale=size + abs(true), what="the mean"
    )


@claim(
    given=lambda s, dtype: st.tuples(_given(s, dtype), st.sampled_from([1.0, -2.0, 30.0, -700.0, 900.0])).map(
        lambda x: (*x[0], x[1])
    ),
    mutants=slips.SHIFT | slips.OVERFLOW,
    repairs=slips.REPAIRS,
    examples=60,
    remedy=_remedy,
)
def shifts_with_its_weights(s: Importance, log_weights: Tensor, values: Tensor, shift: float) -> Iterator[Residual]:
    r"""A common factor of the weights is a factor of the estimate, and cancels where it is self-normalised.

    $\hat f(\ell + c) = e^c\hat f(\ell)$, or $\hat f(\ell + c) = \hat f(\ell)$.

    Error bound: 16 roundings of the sizes of both estimates, as in `equals_the_definition`; the shifted log-weights are
    rounded too.
    """
    if not s.self_normalized and (abs(shift) > 30 or shift > 0):
        # The estimate must fit into the dtype, before and after.
        log_weights, shift = log_weights.clamp(-30.0, 20.0), math.copysign(min(abs(shift), 30.0), shift)
    shift = strategies.within(s.reach, log_weights, shift)
    moved = log_weights + shift
    factor = 1.0 if s.self_normalized else math.exp(shift)
    scale = _size(s, moved, values) + factor * _size(s, log_weights, values)
    scale = scale * (1 + abs(shift) / (2 + 2 * _largest(moved).squeeze(-1)))
    expected = factor * s.estimate(log_weights, values).detach().double()
    yield close(s.estimate(moved, values), expected, ulps=16, scale=scale, what="the estimate with shifted log-weights")


@claim(
    given=functools.partial(_given, zeros=True),
    mutants=slips.ZEROS | slips.COUNT,
    repairs=slips.REPAIRS,
    half=True,
    remedy=_remedy,
)
def draws_of_weight_zero_are_limits(s: Importance, log_weights: Tensor, values: Tensor) -> Iterator[Residual]:
    r"""A draw of weight 0 adds nothing to the sum, but counts as a draw; without any weight the estimate is 0, or empty.

    $\ell_k = -\infty$ drops $f_k$ from both sums and not from K. Where all are $-\infty$ the plain estimate is 0, and the
    self-normalised one what `empty` says.

    Error bound: as in `equals_the_definition`; 0 without any weight.
    """
    found = s.estimate(log_weights, values).reshape(-1)
    rows = zip(log_weights.reshape(-1, log_weights.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
    for value, (w, f) in zip(found, rows, strict=True):
        if not bool((w > -math.inf).any()):
            nothing = torch.full_like(value, s.empty if s.self_normalized else 0.0)
            yield exactly(value.detach() + 0.0, nothing, what="the estimate without any weight")
            continue
        true = _by_row(_normalised if s.self_normalized else _plain, w[None], f[None])
        yield close(value[None], true, scale=_size(s, w[None], f[None]), what="the estimate with weights that are 0")


@claim(
    given=lambda s, dtype: _given(s, dtype).flatmap(
        lambda x: st.tuples(st.just(x[0]), st.just(x[1]), _values(dtype, x[1].shape), st.sampled_from([-1.0, 2.0, 0.5]))
    ),
    mutants=slips.LINEAR,
    repairs=slips.REPAIRS,
    examples=50,
    remedy=_remedy,
)
def linear_in_the_values(
    s: Importance, log_weights: Tensor, values: Tensor, other: Tensor, factor: float
) -> Iterator[Residual]:
    r"""The estimate is linear in the values: $\hat f(c\,g + h) = c\,\hat f(g) + \hat f(h)$.

    Error bound: 16 roundings of the sizes of the three estimates, as in `equals_the_definition`.
    """
    joint = s.estimate(log_weights, factor * values + other)
    parts = factor * s.estimate(log_weights, values).double() + s.estimate(log_weights, other).double()
    scale = _size(s, log_weights, factor * values.abs() if factor > 0 else values.abs()) + _size(s, log_weights, other)
    yield close(joint, parts.to(joint.dtype), ulps=16, scale=2 * scale, what="the estimate of a sum")


@claim(given=_given, mutants=slips.RANGE, repairs=slips.REPAIRS, examples=60, remedy=_remedy)
def self_normalised_is_a_mean(s: Importance, log_weights: Tensor, values: Tensor) -> Iterator[Residual]:
    r"""A self-normalised estimate is a mean of the values: it gives a constant back, and stays between them.

    $\hat f(c) = c$ and $\min_k f_k \le \hat f \le \max_k f_k$.

    Error bound: 8 roundings of $\max_k\lvert f_k\rvert(2 + 2\max\lvert\ell\rvert)$.
    """
    if not s.self_normalized:
        raise NotImplementedError("a plain estimate is no mean of its values")
    constant = values[..., :1].expand(values.shape).contiguous()
    cond = (2 + 2 * _largest(log_weights)).squeeze(-1)
    yield close(s.estimate(log_weights, constant), constant[..., 0], cond=cond, what="the estimate of a constant")
    value, size = s.estimate(log_weights, values), values.detach().double().cpu().abs().amax(-1) * cond
    yield at_most(values.amin(-1), value, ulps=8, scale=size, what="the smallest value <= the estimate")
    yield at_most(value, values.amax(-1), ulps=8, scale=size, what="the estimate <= the largest value")


@claim(
    given=_only_weights,
    mutants=slips.SIZE,
    repairs=slips.SIZE_REPAIRS,
    examples=60,
    remedy="use mathcheck.probability.importance_sampling.effective_sample_size",
)
def effective_size_is_between_one_and_all(s: Importance, log_weights: Tensor) -> Iterator[Residual]:
    r"""The effective sample size is at least one and at most the number of draws: $1 \le (\sum w)^2/\sum w^2 \le K$.

    Error bound: 16 roundings of the value times $2 + 2\max\lvert\ell\rvert$, as in `equals_the_definition`.
    """
    if s.effective_size is None:
        raise NotImplementedError("there is no effective sample size")
    value, k = s.effective_size(log_weights), log_weights.shape[-1]
    true = _by_row(lambda w, shift: _sum(w) * _sum(w) / _sum(a * a for a in w), log_weights)
    cond = (2 + 2 * _largest(log_weights)).squeeze(-1)
    yield close(value, true, ulps=16, cond=cond, what="the effective size")
    yield at_most(torch.ones_like(value), value, ulps=16, scale=cond, what="1 <= effective size")
    yield at_most(value, torch.full_like(value, float(k)), ulps=16, scale=k * cond, what="effective size <= K")


@claim(
    given=_only_weights,
    mutants=slips.EVIDENCE,
    repairs=slips.EVIDENCE_REPAIRS,
    examples=60,
    remedy="use mathcheck.probability.importance_sampling.log_importance_estimate",
)
def log_evidence_is_that_of_the_mean_weight(s: Importance, log_weights: Tensor) -> Iterator[Residual]:
    r"""The log-evidence is the logarithm of the mean weight: $\log\frac1K\sum_k e^{\ell_k}$, and $-\infty$ without any.

    Error bound: 8 roundings of $1 + \log K + 2\max\lvert\ell\rvert$.
    """
    if s.log_evidence is None:
        raise NotImplementedError("there is no log-evidence")
    true = _by_row(lambda w, shift: shift + arb.log(_sum(w) / len(w)), log_weights)
    size = 1 + math.log(log_weights.shape[-1]) + 2 * _largest(log_weights).squeeze(-1)
    yield close(s.log_evidence(log_weights), true, scale=size, what="log of the mean weight")
    nothing = s.log_evidence(torch.full_like(log_weights, -math.inf))
    yield close(nothing, torch.full_like(nothing, -math.inf), what="log-evidence without any weight")


@claim(given=_given, mutants=slips.BATCH, repairs=slips.REPAIRS, examples=50, half=True)
def rows_are_independent(s: Importance, log_weights: Tensor, values: Tensor) -> Iterator[Residual]:
    r"""One estimate for each row, of the dtype of the values: $\hat f(\ell, f)_b = \hat f(\ell_b, f_b)$.

    Error bound: 8 roundings of the size of an estimate, as in `equals_the_definition`, for the order of its sums; 0 for shape
    and dtype.
    """
    value, k = s.estimate(log_weights, values), values.shape[-1]
    yield exactly(tuple(value.shape), tuple(values.shape[:-1]), kind=Kind.NUMERICAL, what="the shape of the estimate")
    yield exactly(value.dtype, values.dtype, kind=Kind.NUMERICAL, what="the dtype of the estimate")
    rows = zip(log_weights.reshape(-1, k), values.reshape(-1, k), strict=True)
    alone = torch.stack([s.estimate(w[None], f[None]).reshape(()) for w, f in rows]).reshape(value.shape)
    yield close(value, alone, scale=_size(s, log_weights, values), what="the estimate of a row in its batch")


def check_importance(importance: Importance | Estimate, **options: Unpack[Options]) -> list[Evidence]:
    r"""Judges an importance-sampling estimate $\frac1K\sum_k w_k f_k$, or $\sum w_k f_k/\sum w_k$, by every law of one.

    Args:
        importance: an `Importance`, or the function (log-weights, values) of a plain, unbiased estimate.
        options: `expected_failures`, `require`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `importance` is neither a record nor a function.
    """
    if not isinstance(importance, Importance):
        if not callable(importance):
            raise TypeError(f"importance must be an Importance or a function, got {type(importance).__name__}")
        importance = Importance(importance)
    return check(importance, laws(Importance), **options)
