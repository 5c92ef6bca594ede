"""The laws of a smooth maximum, and `check_smooth_max`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.convex.smooth_max import slips
from mathcheck.convex.smooth_max.record import SmoothMax
from mathcheck.engine import strategies
from mathcheck.engine.check import Options, check
from mathcheck.engine.claim import claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, at_most, close, exactly
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import arb
from mathcheck.oracles.memory import remembered

law = functools.partial(claim, repairs=slips.REPAIRS, remedy="use mathcheck.convex.smooth_max.smooth_max")


def _rows(
    v: SmoothMax, dtype: torch.dtype, entries: st.SearchStrategy[float] | None = None
) -> st.SearchStrategy[Tensor]:
    numbers = entries if entries is not None else Interval(reach=v.reach).elements(dtype)
    shapes = st.tuples(st.sampled_from(list(v.batch_shapes)), st.integers(1, 6))
    return strategies.of_each(shapes, lambda s: strategies.tensors((*s[0], s[1]), dtype, numbers))


def _given(v: SmoothMax, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, float]]:
    return st.tuples(_rows(v, dtype), strategies.log_uniform(*v.betas))


def _with_ties(v: SmoothMax, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, float]]:
    few = st.sampled_from([0.0, 1.0, 0.5, -2.0, 1.0 + 2.0**-10])
    return st.tuples(
        _rows(v, dtype, st.one_of(few, few, st.integers(-5, 5).map(float))), strategies.log_uniform(*v.betas)
    )


def _size(x: Tensor, beta: float) -> Tensor:
    r"""$\lvert\max x\rvert + \sum_i p_i\lvert x_i\rvert + (1 + \log n)/\beta$ with p the softmax, `(*batch,)` in float64."""
    x = x.double().cpu()
    p = torch.softmax(beta * (x - x.amax(-1, keepdim=True)), -1)
    return x.amax(-1).abs() + (p * x.abs()).sum(-1) + (1 + math.log(x.shape[-1])) / beta


@remembered
def _true(x: Tensor, beta: float) -> Ball:
    return arb.enclose_rows(lambda row: _log_sum_exp(row, beta) / arb.exact(beta), x)


def _log_sum_exp(row: list[Any], beta: float) -> Any:
    top = max(row, key=lambda r: float(r.mid()))
    return top * arb.exact(beta) + arb.log(sum(arb.exp((r - top) * arb.exact(beta)) for r in row))


def _maximum(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The maximum, where it is attained, by how many, and the gap to the next value (infinite if there is none)."""
    wide = x.double().cpu()
    top = wide.amax(-1, keepdim=True)
    hit = wide == top
    return top, hit, hit.sum(-1, keepdim=True).double(), top - torch.where(hit, -math.inf, wide).amax(-1, keepdim=True)


def _gradient(v: SmoothMax, x: Tensor, beta: float, rows: Tensor | None = None) -> Tensor:
    """The gradient of the sum of all values, or of those of some rows."""
    leaf = x.detach().clone().requires_grad_()
    value = v.smooth_max(leaf, beta)
    if not value.requires_grad:
        raise NotImplementedError("the smooth maximum is not differentiable by autograd")
    return torch.autograd.grad((value if rows is None else value[rows]).sum(), leaf)[0]


def _softmax(x: Tensor, beta: float) -> tuple[Ball, Tensor]:
    """The softmax of the finite numbers `beta * x`, and what its entries' roundings are relative to."""

    def softmax(row: list[Any]) -> list[Any]:
        total = _log_sum_exp(row, beta)
        return [arb.exp(r * arb.exact(beta) - total) for r in row]

    true = arb.enclose_rows(softmax, x)
    wide = x.double().cpu()
    moved = wide.abs() + (true.mid * wide.abs()).sum(-1, keepdim=True) + wide.amax(-1, keepdim=True).abs()
    return true, true.mid * (1 + math.log(x.shape[-1]) + beta * moved)


@law(given=_given, mutants=slips.BETA | slips.CONSTANT | slips.SIGN | slips.NAIVE, half=True)
def equals_the_definition(v: SmoothMax, x: Tensor, beta: float) -> Iterator[Residual]:
    r"""The smooth maximum is what its definition says: $v_\beta(x) = \beta^{-1}\log\sum_i e^{\beta x_i}$.

    Error bound: 8 roundings of $\lvert\max x\rvert + \sum_i p_i\lvert x_i\rvert + (1 + \log n)/\beta$, which is what relative
    roundings of x, of the products $\beta x_i$, of the sum and of its logarithm change, p the softmax of $\beta x$.
    """
    yield close(v.smooth_max(x, beta), _true(x, beta), scale=_size(x, beta), what="v_beta(x)")


@law(given=_given, mutants=slips.BETA | slips.SIGN | slips.CONSTANT, half=True)
def between_the_maximum_and_its_bound(v: SmoothMax, x: Tensor, beta: float) -> Iterator[Residual]:
    r"""It lies between the maximum and its bound: $\max_i x_i \le v_\beta(x) \le \max_i x_i + \log(n)/\beta$.

    Error bound: 8 roundings of $\lvert\max x\rvert + \sum_i p_i\lvert x_i\rvert + (1 + \log n)/\beta$.
    """
    value, top, size = v.smooth_max(x, beta), x.amax(-1), _size(x, beta)
    yield at_most(top, value, ulps=8, scale=size, what="max x <= v")
    bound = top.double().cpu() + math.log(x.shape[-1]) / beta
    yield at_most(value, bound, ulps=8, scale=size, what="v <= max x + log(n) / beta")


@law(given=_with_ties, mutants=slips.BETA | slips.CONSTANT | slips.SIGN)
def tends_to_the_maximum(v: SmoothMax, x: Tensor, beta: float) -> Iterator[Residual]:
    r"""It tends to the maximum at a known rate, ties included.

    With m entries attaining the maximum M and a gap $\delta$ to the next value,
    $M + \frac{\log m}{\beta} \le v_\beta(x) \le M + \frac1\beta\big(\log m + \tfrac{n-m}{m}e^{-\beta\delta}\big)$.

    Error bound: 8 roundings of $\lvert\max x\rvert + \sum_i p_i\lvert x_i\rvert + (1 + \log n)/\beta$.
    """
    value, size = v.smooth_max(x, beta), _size(x, beta)
    top, _, ties, gap = (t.squeeze(-1) for t in _maximum(x))
    lower = top + ties.log() / beta
    excess = (x.shape[-1] - ties) / ties * (-beta * gap).exp()
    yield at_most(lower, value, ulps=8, scale=size, what="M + log(m) / beta <= v")
    yield at_most(value, lower + excess / beta, ulps=8, scale=size, what="v <= M + (log(m) + ...) / beta")


@law(given=_given, mutants=slips.BETA | slips.DETACHED, examples=60)
def gradient_is_the_softmax(v: SmoothMax, x: Tensor, beta: float) -> Iterator[Residual]:
    r"""Its gradient is the softmax: $\partial v_\beta/\partial x_i = e^{\beta x_i}/\sum_j e^{\beta x_j}$.

    Error bound: 16 roundings of $p_i\,(1 + \beta(\lvert x_i\rvert + \sum_j p_j\lvert x_j\rvert + \lvert\max x\rvert))$, which is
    what relative roundings of the products $\beta x_j$ and of the value change.
    """

    true, scale = _softmax(x, beta)
    yield close(_gradient(v, x, beta), true, ulps=16, scale=scale, what="gradient")


def _with_excluded(v: SmoothMax, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, float]]:
    """Rows with entries of -inf; the first may be nothing else."""

    def excluded(x: Tensor, whole: bool) -> Tensor:
        if whole:
            x.reshape(-1, x.shape[-1])[0] = -math.inf
        return x

    rows = _rows(v, dtype, st.sampled_from([0.0, -math.inf, 1.0, -3.0]))
    return st.tuples(st.builds(excluded, rows, st.booleans()), strategies.log_uniform(*v.betas))


@law(
    given=_with_excluded,
    mutants=slips.NAIVE | slips.DETACHED | slips.NO_NUMBER,
    repairs=slips.REPAIRS | slips.EXCLUDED,
    examples=40,
)
def minus_infinity_has_no_weight(v: SmoothMax, x: Tensor, beta: float) -> Iterator[Residual]:
    r"""Entries of minus infinity have no part in the gradient, which is finite: $\partial v_\beta/\partial x_i = 0$.

    There $x_i = -\infty$; the others have the softmax of the finite entries. In a row of $-\infty$ alone weights are not
    defined; what stands there must be a number from 0 to 1, and 0 where only other rows are differentiated. NaN there
    spreads, by way of the chain rule, to all that the row was made of: rows that are masked are such rows.

    Error bound: as in `gradient_is_the_softmax` on the finite entries; 0 for entries of $-\infty$.
    """
    rows, slopes = x.reshape(-1, x.shape[-1]), _gradient(v, x, beta).reshape(-1, x.shape[-1])
    void = (rows == -math.inf).all(-1)
    for row, slope, empty in zip(rows, slopes, void.tolist(), strict=True):
        if empty:
            strays = int((~((slope >= 0) & (slope <= 1))).sum())
            yield exactly(strays, 0, kind=Kind.NUMERICAL, what="gradients at a row of -inf that are not in [0, 1]")
            continue
        kept = row != -math.inf
        true, scale = _softmax(row[kept], beta)
        yield close(slope[kept], true, ulps=16, scale=scale, what="gradient at the finite entries")
        yield exactly(slope[~kept], torch.zeros_like(slope[~kept]), what="gradient at entries of -inf")
    if bool(void.any()) and not bool(void.all()):
        apart = _gradient(v, x, beta, (~void).reshape(x.shape[:-1])).reshape(rows.shape)[void]
        yield exactly(apart, torch.zeros_like(apart), what="gradient of other rows at a row of -inf")


@law(given=_with_ties, mutants=slips.DETACHED | slips.SIGN)
def gradient_tends_to_the_argmax(v: SmoothMax, x: Tensor, beta: float) -> Iterator[Residual]:
    r"""The gradient tends to the uniform distribution on the m entries that attain the maximum, at a known rate.

    $\lvert\partial_i v_\beta - \tfrac1m 1[x_i = M]\rvert \le \tfrac{n-m}{m}\,e^{-\beta\delta}$, with $\delta$ the gap
    to the next value.

    Error bound: 16 roundings of $1 + \beta\,(\lvert x_i\rvert + 2\max_j\lvert x_j\rvert)$, absolutely, since p is at most 1.
    """
    wide = x.double().cpu().abs()
    _, hit, ties, gap = _maximum(x)
    rate = (-beta * gap).exp() * (x.shape[-1] - ties) / ties
    distance = (_gradient(v, x, beta).double().cpu() - hit / ties).abs().to(x.dtype)
    scale = 1 + math.log(x.shape[-1]) + beta * (wide + 2 * wide.amax(-1, keepdim=True))
    yield at_most(distance, rate.expand(x.shape), ulps=16, scale=scale, what="distance to uniform on the argmax")


@law(
    given=lambda v, dtype: st.tuples(
        _rows(v, dtype), strategies.log_uniform(*v.betas), Interval(reach=v.reach).elements(dtype)
    ),
    mutants=slips.BETA | {"the value is doubled": slips.then(lambda value, x, beta: 2 * value)},
)
def shifts_with_its_argument(v: SmoothMax, x: Tensor, beta: float, shift: float) -> Iterator[Residual]:
    r"""A shift passes through: $v_\beta(x + c) = v_\beta(x) + c$.

    Error bound: 16 roundings of the size of both values; the shifted entries are rounded too.
    """
    shift = strategies.within(v.reach, x, shift)
    moved = x + shift
    size = _size(x, beta) + _size(moved, beta) + abs(shift) + x.double().cpu().abs().amax(-1)
    expected = v.smooth_max(x, beta).double() + shift
    yield close(v.smooth_max(moved, beta), expected, ulps=16, scale=size, what="v(x + c)")


@law(
    given=lambda v, dtype: _given(v, dtype).flatmap(
        lambda xb: st.tuples(st.just(xb[0]), st.just(xb[1]), strategies.permutations(xb[0].shape[-1]))
    ),
    mutants={
        "the first entry counts twice": slips.then(lambda value, x, beta: torch.maximum(value, 2 * x[..., 0] + 1))
    },
    examples=50,
    half=True,
)
def symmetric(v: SmoothMax, x: Tensor, beta: float, order: tuple[int, ...]) -> Iterator[Residual]:
    r"""The order of the entries does not matter: $v_\beta(Px) = v_\beta(x)$ for every permutation P.

    Error bound: 8 roundings of the value's size, since a sum may be taken in another order.
    """
    yield close(v.smooth_max(x[..., list(order)], beta), v.smooth_max(x, beta), scale=_size(x, beta), what="v(Px)")


@law(
    given=lambda v, dtype: st.tuples(
        _rows(v, dtype), strategies.log_uniform(*v.betas), st.sampled_from([0.5, 0.25, 0.125]), st.booleans()
    ),
    mutants=slips.SIGN,
)
def convex(v: SmoothMax, x: Tensor, beta: float, t: float, flip: bool) -> Iterator[Residual]:
    r"""It is convex: $v_\beta((1-t)x + ty) \le (1-t)\,v_\beta(x) + t\,v_\beta(y)$.

    Error bound: 16 roundings of the sizes of the three values.
    """
    y = -x if flip else x.roll(1, -1)
    between = (1 - t) * x + t * y
    chord = (1 - t) * v.smooth_max(x, beta) + t * v.smooth_max(y, beta)
    size = _size(x, beta) + _size(y, beta) + _size(between, beta) + x.double().cpu().abs().amax(-1)
    yield at_most(v.smooth_max(between, beta), chord, ulps=16, scale=size, what="v between <= chord")


@law(
    given=lambda v, dtype: _given(v, dtype).flatmap(
        lambda xb: st.tuples(st.just(xb[0]), st.just(xb[1]), st.floats(xb[1], max(v.betas[1], xb[1])))
    ),
    mutants=slips.SIGN | {"the value is multiplied by beta": slips.BETA["the value is multiplied by beta"]},
)
def decreases_with_beta(v: SmoothMax, x: Tensor, beta: float, larger: float) -> Iterator[Residual]:
    r"""It does not increase with the inverse temperature: $v_{\beta'}(x) \le v_\beta(x)$ for $\beta' \ge \beta$.

    Error bound: 8 roundings of the sizes of both values.
    """
    if v.betas[0] == v.betas[1]:
        raise NotImplementedError("the inverse temperature is fixed")
    size = _size(x, beta) + _size(x, larger)
    yield at_most(v.smooth_max(x, larger), v.smooth_max(x, beta), ulps=8, scale=size, what="v_larger <= v_beta")


@law(
    given=lambda v, dtype: st.tuples(
        _rows(v, dtype, st.sampled_from([0.0, -math.inf, math.inf, min(1.0, v.reach), -min(1e3, v.reach)])),
        strategies.log_uniform(*v.betas),
    ),
    mutants=slips.NAIVE
    | {
        "the maximum is subtracted without a care for infinities": slips.then(
            lambda value, x, beta: x.amax(-1) + (beta * (x - x.amax(-1, keepdim=True))).exp().sum(-1).log() / beta
        ),
    },
    half=True,
)
def infinite_entries_are_limits(v: SmoothMax, x: Tensor, beta: float) -> Iterator[Residual]:
    r"""Infinite entries are limits: $-\infty$ does not count, $+\infty$ wins, and a row of $-\infty$ gives $-\infty$.

    $v_\beta(x, -\infty) = v_\beta(x)$ and $v_\beta(x, +\infty) = +\infty$.

    Error bound: as in `equals_the_definition` on the finite entries of a row; 0 for infinite values.
    """
    value = v.smooth_max(x, beta).reshape(-1)
    for k, row in enumerate(x.reshape(-1, x.shape[-1])):
        finite = row[row != -math.inf]
        if not finite.numel() or bool((finite == math.inf).any()):
            true = torch.tensor(math.inf if finite.numel() else -math.inf, dtype=torch.float64)
            yield close(value[k], true, what="v of a row with infinite entries")
        else:
            yield close(value[k], _true(finite, beta), scale=_size(finite, beta), what="v of the finite entries")


@law(
    given=_given,
    mutants={
        "it is reduced over the batch as well": slips.then(lambda value, x, beta: value.sum()),
        "it is computed in another dtype": slips.then(
            lambda value, x, beta: value.to(torch.float32 if value.dtype == torch.float64 else torch.float64)
        ),
    },
    examples=40,
)
def shape_and_dtype_are_those_of_the_argument(v: SmoothMax, x: Tensor, beta: float) -> Iterator[Residual]:
    r"""The last dimension goes, the batch's shape and the dtype stay: $v_\beta$ maps `(*batch, n)` to `(*batch,)`.

    Error bound: 0.
    """
    value = v.smooth_max(x, beta)
    yield exactly(tuple(value.shape), tuple(x.shape[:-1]), kind=Kind.NUMERICAL, what="the shape of v(x)")
    yield exactly(value.dtype, x.dtype, kind=Kind.NUMERICAL, what="the dtype of v(x)")


def check_smooth_max(
    smooth_max: SmoothMax | Callable[[Tensor, float], Tensor], **options: Unpack[Options]
) -> list[Evidence]:
    r"""Judges an implementation of $v_\beta(x) = \beta^{-1}\log\sum_i e^{\beta x_i}$ by every law of a smooth maximum.

    Args:
        smooth_max: a `SmoothMax`, or the function `(x, beta)` that one would hold.
        options: `expected_failures`, `require`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `smooth_max` is neither a record nor a function.
    """
    if not isinstance(smooth_max, SmoothMax):
        if not callable(smooth_max):
            raise TypeError(f"smooth_max must be a SmoothMax or a function, got {type(smooth_max).__name__}")
        smooth_max = SmoothMax(smooth_max)
    return check(smooth_max, laws(SmoothMax), **options)
