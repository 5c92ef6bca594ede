"""The laws of a density, and `check_density`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Unpack

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.adapting import subject
from mathcheck.engine.check import Options, check
from mathcheck.engine.claim import claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.guard import SubjectFault, SubjectHangs
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly, promised
from mathcheck.oracles import derivative
from mathcheck.probability.density import slips
from mathcheck.probability.density.mass import MOST_COORDINATES, mass, mean
from mathcheck.probability.density.record import Density, Map, at, ends, middle, shapes
from mathcheck.probability.density.slips import Slip
from mathcheck.probability.distribution_function import is_distribution_function, places

_PROMISE = "say in the record which absolute error the cdf may have, with cdf_ulps"


def _draw(d: Density, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, ...]]:
    """A batch of points, and as many values of each parameter."""
    return strategies.of_each(st.sampled_from(d.batch_shapes), lambda batch: _pair(d, batch, dtype))


def _event(d: Density, dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, ...]]:
    """A point, and a value of each parameter."""
    return _pair(d, (), dtype)


def _pair(d: Density, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, ...]]:
    x = strategies.tensors((*batch, *d.event_shape), dtype, d.support)
    return st.tuples(x, _values(d, batch, dtype)).map(lambda drawn: (drawn[0], *drawn[1]))


def _values(d: Density, batch: tuple[int, ...], dtype: torch.dtype) -> st.SearchStrategy[tuple[Tensor, ...]]:
    return st.tuples(*(parameter.values(batch, dtype) for parameter in shapes(d).values()))


def _row(d: Density, x: Tensor, *parameters: Tensor) -> Tensor:
    """The log-density of one event, in the smallest batch that the subject takes."""
    batch = min(d.batch_shapes, key=lambda shape: (math.prod(shape), len(shape)))
    return d.log_prob(*(value.expand((*batch, *value.shape)) for value in (x, *parameters))).flatten()[0]


def _rows(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The rows of a batch, each a point and its parameters."""
    k = x.ndim - len(d.event_shape)
    batch = math.prod(x.shape[:k])
    return zip(*(value.reshape(batch, *value.shape[k:]) for value in (x, *parameters)), strict=True)


def _mass(d: Density, like: Tensor, low: float, high: float) -> Ball:
    reach = d.support.reach
    return mass(d.log_prob, like, low, high, points=d.points, middle=middle(d), event_shape=d.event_shape, reach=reach)


def _total(d: Density, x: Tensor, parameters: tuple[Tensor, ...]) -> Residual:
    if math.prod(d.event_shape) > MOST_COORDINATES:
        raise NotImplementedError("a mass is integrated in up to three dimensions")
    total = _mass(at(d, parameters), x, *ends(d))
    one = Ball(1.0, total.radius, kind=total.kind, source=total.source)
    compared = close(total.mid, one, what="the total mass")
    # The radius holds the rounding at the nodes. Digits of a mass that is too large all the same are no excuse: those of an
    # infinite one are noise.
    return promised(compared) if float(total.lower) > 2 else compared


@claim(
    given=lambda d, dtype: _event(d, dtype),
    mutants=slips.CONSTANT,
    repairs=slips.REPAIRS,
    examples=1,
    defining=True,
)
def integrates_to_one(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""The density integrates to one: $\int e^{\log p(x)}\,\mathrm dx = 1$ over the support.

    The point x only says in which dtype.

    Error bound: the radius of the integral, in which every value of $\log p$ may be off by 4 roundings of
    $1 + \lvert\log p\rvert$ and every node by one rounding.
    """
    yield _total(d, x, parameters)


def _with_parameters(d: Density) -> None:
    if not d.parameters:
        raise NotImplementedError("the density has no parameters")


@claim(
    given=_event,
    mutants={
        "it grows with its parameters (as where they are left out of the constant)": slips.grows,
        **{f"{name} there": change for name, change in slips.CONSTANT.items()},
    },
    repairs=slips.REPAIRS,
    examples=12,
)
def integrates_to_one_at_all_parameters(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""The density integrates to one whatever the parameters: $\int e^{\log p(x; \theta)}\,\mathrm dx = 1$ for all $\theta$.

    The point x only says in which dtype.

    Error bound: as of `integrates_to_one`.
    """
    _with_parameters(d)
    yield _total(d, x, parameters)


@claim(
    given=_draw,
    mutants={**slips.CONSTANT, **slips.NAMED},
    repairs={**slips.REPAIRS, **slips.NAMED},
    examples=60,
)
def is_the_distribution_named(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""It is the density of the distribution that `like` names: $\log p(x) = \log p_{\mathrm{like}}(x)$.

    Where there is a distribution function, it is that of the distribution named, too.

    Error bound: 8 roundings of $1 + \lvert\log p\rvert$, and 8 times the most that $\log p$ changes when x and the
    parameters move by a rounding of their dtype; for the distribution function the same with $F(1 + \lvert\log F\rvert)$
    and the promised `cdf_ulps`. To this comes the error of the distribution named, measured: 4 times the scatter of six
    runs with other roundings and, where it would refute and is small, how far its own mass is from 1.
    """
    if d.like is None:
        raise NotImplementedError("the density does not say which distribution it is meant to be (`like`)")
    true = _moved_too(d.like.log_prob, x, *parameters)
    size = (1 + true.mid.abs()).nan_to_num(1.0, posinf=1.0)
    compared = close(d.log_prob(x, *parameters), true, scale=size, what="log p(x)")
    if compared.ratio > 1 and compared.error < _ORACLE_CONSTANT:
        error = torch.stack([_constant(d, *row) for row in _rows(d, x, *parameters)]).reshape(true.mid.shape)
        true = Ball(true.mid, true.radius + error, kind=true.kind, source=true.source)
        compared = close(d.log_prob(x, *parameters), true, scale=size, what="log p(x)")
    yield compared
    if d.cdf is not None and not d.event_shape:
        below = _moved_too(d.like.cdf, x, *parameters)
        granted = below.radius + d.cdf_ulps * torch.finfo(x.dtype).eps
        size = below.mid * (1 - below.mid.clamp(torch.finfo(torch.float64).tiny, 1.0).log())
        true = Ball(below.mid, granted, kind=below.kind, source=below.source)
        yield close(d.cdf(x, *parameters), true, scale=size, what="F(x)")


# A constant of a distribution named that is so far off is no approximation.
_ORACLE_CONSTANT = 1e-4


def _moved_too(true: Callable[..., Ball], *given: Tensor) -> Ball:
    """The true value, with 8 times what it changes when its arguments move by a rounding of their dtype in its radius."""
    ball = true(*given)
    change = torch.zeros_like(ball.mid)
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        moved = []
        for value in given:
            ulps = 2 * torch.randint(2, value.shape, generator=generator) - 1
            moved.append(value.detach().double().cpu() * (1 + torch.finfo(value.dtype).eps * ulps))
        there = true(*moved, runs=0)
        change = torch.maximum(change, torch.where(there.radius < math.inf, (there.mid - ball.mid).abs(), 0.0))
    radius = ball.radius + 8 * torch.where(ball.mid.isfinite(), change.nan_to_num(0.0, posinf=0.0), 0.0)
    return Ball(ball.mid, radius, kind=ball.kind, source=ball.source)


def _constant(d: Density, x: Tensor, *parameters: Tensor) -> Tensor:
    """How far the mass of the distribution named is from 1, if its constant is an approximation."""
    if math.prod(d.event_shape) > MOST_COORDINATES:
        return torch.tensor(0.0, dtype=torch.float64)
    shared = [value.detach().double().cpu() for value in parameters]

    def log_prob(points: Tensor) -> Tensor:
        many = [value.expand(len(points), *value.shape) for value in shared]
        ball = d.like.log_prob(points, *many, runs=0)
        return torch.where(ball.radius < math.inf, ball.mid, -math.inf)

    total = _mass(replace(d, log_prob=log_prob), x.double().cpu(), *ends(d))
    off = ((total.mid - 1).abs() - total.radius).clamp(min=0.0)
    return torch.where(off < _ORACLE_CONSTANT, off, 0.0)


def _is_too_steep(f: Map, x: Tensor, slope: Tensor, index: tuple[int, ...]) -> bool:
    """Whether differences of log p along that coordinate overflow, to the same infinity unless the slope is NaN."""
    step = x[index].abs() / 1024
    apart = torch.zeros_like(x)
    apart[index] = step
    rise = (f(x + apart) - f(x)).sum()
    steep = rise / step
    return bool(rise.isfinite() & steep.isinf() & (slope[index].isnan() | (steep == slope[index])))


@claim(
    given=lambda d, dtype: st.tuples(
        strategies.tensors(d.event_shape, dtype, d.support),
        strategies.tensors(d.event_shape, dtype, d.support),
        st.sampled_from([1e-3, 1.0, 1e3]),
        st.booleans(),
        _values(d, (), dtype),
    ).map(lambda drawn: (*drawn[:4], *drawn[4])),
    mutants={
        "the density goes on outside its support": slips.outside(lambda log_prob, x, inside: log_prob(inside)),
        "a number very close to 0 stands for a density of 0": slips.outside(
            lambda log_prob, x, inside: torch.full_like(log_prob(inside), -100.0)
        ),
        "the logarithm outside is not a number": slips.outside(
            lambda log_prob, x, inside: torch.full_like(log_prob(inside), math.nan)
        ),
    },
    examples=40,
)
def minus_infinity_outside_the_support(
    d: Density, inside: Tensor, other: Tensor, distance: float, above: bool, *parameters: Tensor
) -> Iterator[Residual]:
    r"""Outside the support the density is zero, and the gradient elsewhere in the batch stays finite.

    $\log p(x) = -\infty$ for x beyond an end of the support.

    Error bound: 0. The gradient is looked at where it is finite without the other point: next to an end of its support
    the logarithm of a density can be steeper than any float.
    """
    low, high = ends(d)
    if math.isinf(low) and math.isinf(high):
        raise NotImplementedError("the support is the whole space")
    beyond = high + distance if (above and math.isfinite(high)) or math.isinf(low) else low - distance
    outside = other.clone()
    outside.reshape(-1)[0] = beyond
    x = torch.stack([inside, outside]).requires_grad_()
    value = at(d, parameters).log_prob(x)
    yield exactly(float(value[1].detach()), -math.inf, kind=Kind.NUMERICAL, what=f"log p at {beyond}")
    yield exactly(bool(value[0].isfinite()), True, kind=Kind.NUMERICAL, what="log p inside is finite")
    if value.requires_grad:
        slope = torch.autograd.grad(value.sum(), x)[0][0]
        f = at(d, parameters).log_prob
        lost = [i for i in (~slope.isfinite()).nonzero() if not _is_too_steep(f, x[:1], slope[None], (0, *i.tolist()))]
        yield exactly(len(lost), 0, kind=Kind.NUMERICAL, what="gradients inside that are not finite")


@claim(
    given=_draw,
    mutants={
        "the density is computed in single precision before its logarithm is taken": slips.underflow,
        "far points are taken for points outside the support": slips.far,
    },
    repairs=slips.REPAIRS,
)
def finite_on_the_support(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""On the support the log-density and its gradient are finite: $\lvert\log p(x)\rvert < \infty$ up to `reach`.

    So is its gradient in the parameters.

    Error bound: 0; infinite and NaN values are counted, except infinite slopes where differences overflow as well: next
    to an end of its support the logarithm of a density can be steeper than any float.
    """
    leaves = [value.detach().clone().requires_grad_() for value in (x, *parameters)]
    value = d.log_prob(*leaves)
    yield exactly(int((~value.isfinite()).sum()), 0, kind=Kind.NUMERICAL, what="values that are not finite")
    if value.requires_grad:
        slopes = torch.autograd.grad(value.sum(), leaves, allow_unused=True, materialize_grads=True)

        def in_x(point: Tensor) -> Tensor:
            return d.log_prob(point, *parameters)

        lost = [
            i for i in (~slopes[0].isfinite()).nonzero() if not _is_too_steep(in_x, x, slopes[0], tuple(i.tolist()))
        ]
        yield exactly(len(lost), 0, kind=Kind.NUMERICAL, what="gradients that are not finite")
        for name, slope in zip(d.parameters, slopes[1:], strict=True):
            count = int((~slope.isfinite()).sum())
            yield exactly(count, 0, kind=Kind.NUMERICAL, what=f"gradients in {name} that are not finite")


@claim(
    given=_event,
    mutants={
        "the gradient is doubled": slips.gradient(lambda value: 2 * value),
        "the gradient is halved": slips.gradient(lambda value: value / 2),
        "the sign of the gradient is changed": slips.gradient(lambda value: -value),
        "no gradient reaches the parameters": slips.parameters(lambda given, k: tuple(t.detach() for t in given)),
        "the gradient in the parameters is one too large": slips.with_gradient_of_a_sum,
    },
    examples=50,
)
def gradient_is_that_of_differences(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""The gradient of the log-density by autograd is that of its values: $\nabla\log p(x)$, and $\nabla_\theta$ of it.

    Error bound: 16 roundings of the gradient and the radii of both derivatives: for autograd the change of the gradient
    over a few ulp of x, for the extrapolated differences their own estimate.
    """
    given = (x, *parameters)
    sizes = [value.numel() for value in given]

    def single(point: Tensor) -> Tensor:
        parts = torch.split(point, sizes)
        return _row(d, *(part.reshape(value.shape) for part, value in zip(parts, given, strict=True)))

    joint = torch.cat([value.reshape(-1) for value in given])
    domains = [d.support, *(parameter.domain for parameter in shapes(d).values())]
    low, high = (
        torch.cat([torch.full((n,), end, dtype=x.dtype) for n, end in zip(sizes, side, strict=True)]).to(x.device)
        for side in ([box.lower for box in domains], [box.upper for box in domains])
    )
    slope = derivative.jacobian(single, joint)
    true = derivative.difference_jacobian(single, joint, low, high)
    both = Ball(true.mid, true.radius + slope.radius, kind=Kind.NUMERICAL, source=true.source)
    start = 0
    for name, n in zip(("", *d.parameters), sizes, strict=True):
        part = slice(start, start + n)
        ball = Ball(both.mid[:, part], both.radius[:, part], kind=both.kind, source=both.source)
        what = f"the gradient of log p in {name}" if name else "the gradient of log p"
        yield close(slope.mid[:, part].to(x.dtype), ball, ulps=16, what=what)
        start += n


@claim(
    given=_event,
    mutants={
        "it grows with its parameters (as where they are left out of the constant)": slips.grows,
        "the gradient in the parameters is one too large": slips.with_gradient_of_a_sum,
    },
    examples=8,
)
def score_has_mean_zero(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""The gradient in the parameters has mean zero: $\int p(x; \theta)\,\nabla_\theta\log p(x; \theta)\,\mathrm dx = 0$.

    It is the derivative of the mass, since the support is the same at all parameters; the point x only says in which dtype.

    Error bound: the radius of the integral, as of `integrates_to_one`.
    """
    _with_parameters(d)
    if math.prod(d.event_shape) > 1:
        raise NotImplementedError("the mean of the score is integrated on a line")
    here, vector = at(d, parameters), bool(d.event_shape)

    def log_prob(point: Tensor) -> Tensor:
        return here.log_prob(point.unsqueeze(-1) if vector else point)

    for place, name in enumerate(d.parameters):
        for entry in range(parameters[place].numel()):
            score = functools.partial(_score, d, parameters, place, entry)
            found = mean(score, log_prob, x, *ends(d), points=d.points, middle=middle(d), reach=d.support.reach)
            true = Ball(0.0, found.radius, kind=found.kind, source=found.source)
            yield close(found.mid, true, what=f"the mean of the gradient in {name}")


def _score(d: Density, parameters: tuple[Tensor, ...], place: int, entry: int, x: Tensor) -> Tensor:
    """The gradient in one entry of one parameter at points `(k,)`."""
    points = x.unsqueeze(-1) if d.event_shape else x
    many = [value.expand(len(x), *value.shape).clone() for value in parameters]
    leaf = many[place].requires_grad_()
    value = d.log_prob(points, *many)
    if not value.requires_grad:
        raise NotImplementedError("the log-density has no gradient in its parameters by autograd")
    slope = torch.autograd.grad(value.sum(), leaf, allow_unused=True, materialize_grads=True)[0]
    return slope.reshape(len(x), -1)[:, entry]


def _cdf(change: Callable[[Map, Tensor], Tensor]) -> Slip:
    def slip(d: Density) -> Density:
        function = d.cdf
        if function is None:
            raise NotImplementedError("the density has no cdf")
        return replace(d, cdf=lambda x, *given: change(lambda at: function(at, *given), x))

    return slip


def _cut(d: Density) -> Density:
    low, high = ends(d)
    return _cdf(lambda cdf, x: torch.where(x <= low, 0.0, torch.where(x >= high, 1.0, cdf(x))))(d)


@claim(
    given=_event,
    mutants={
        "the probability of the other side is taken (1 - F)": _cdf(lambda cdf, x: 1 - cdf(x)),
        "half is added to it": _cdf(lambda cdf, x: cdf(x) + 0.5),
        "half is subtracted from it": _cdf(lambda cdf, x: cdf(x) - 0.5),
        "its argument is moved by a thousandth": _cdf(lambda cdf, x: cdf(x + 1e-3)),
    },
    repairs=slips.REPAIRS,
    examples=20,
    remedy=_PROMISE,
)
def cdf_is_the_mass_below(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""The distribution function is the mass below: $F(x) = \int_{-\infty}^x e^{\log p(t)}\,\mathrm dt$.

    Error bound: 8 roundings of $F(x)(1 + \lvert\log F(x)\rvert) + \lvert x\rvert\,p(x)$, what a rounding of $\log F$ and
    of x change, plus the radius of the integral. The promised `cdf_ulps` are added.
    """
    if d.cdf is None or d.event_shape:
        raise NotImplementedError("the density has no cdf")
    batch = min(d.batch_shapes, key=math.prod)
    here = at(d, parameters)
    assert here.cdf is not None
    value = here.cdf(x.expand(batch)).flatten()[0]
    below = _mass(here, x, d.support.lower, float(x))
    size = below.mid * (1 + below.mid.clamp(min=torch.finfo(torch.float64).tiny).log().abs())
    scale = size + x.double().abs().cpu() * _row(here, x).detach().double().exp().cpu()
    promised = d.cdf_ulps * torch.finfo(x.dtype).eps
    true = Ball(below.mid, below.radius + promised, kind=below.kind, source=below.source)
    yield close(value, true, scale=scale, what="F(x)")


@claim(
    given=lambda d, dtype: st.tuples(places(d.support, dtype), _values(d, (), dtype)).map(lambda t: (t[0], *t[1])),
    mutants={
        "the probability of the other side is taken (1 - F)": _cdf(lambda cdf, x: 1 - cdf(x)),
        "half is added to it": _cdf(lambda cdf, x: cdf(x) + 0.5),
        "half is subtracted from it": _cdf(lambda cdf, x: cdf(x) - 0.5),
    },
    repairs={
        "it is 0 below the support and 1 above": _cut,
        "it is kept between 0 and 1": _cdf(lambda cdf, x: cdf(x).clamp(0.0, 1.0)),
    },
    examples=25,
)
def cdf_rises_from_zero_to_one(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""The distribution function rises from 0 to 1 on the whole line: $0 \le F(x) \le F(y) \le 1$ for $x \le y$.

    It is 0 at and below the lower end of the support, and 1 at and above the upper end. Where it raises an exception
    outside the support it is not judged there.

    Error bound: 8 roundings of $F(x)(1 + \lvert\log F(x)\rvert)$ and what F changes when x is moved by 8 roundings; 0 below 0.
    The promised `cdf_ulps` are added.
    """
    if d.cdf is None or d.event_shape:
        raise NotImplementedError("the density has no cdf")
    cdf, batch = at(d, parameters).cdf, min(d.batch_shapes, key=math.prod)
    assert cdf is not None

    def single(x: Tensor) -> Tensor:
        return torch.stack([cdf(place.expand(batch)).flatten()[0] for place in x])

    granted = d.cdf_ulps * torch.finfo(x.dtype).eps
    yield from is_distribution_function(single, x, support=ends(d), granted=granted)


@claim(
    given=_draw,
    mutants=slips.BATCH
    | {
        "every row has the parameters of the next": slips.parameters(
            lambda given, k: tuple(value.roll(1, 0) if k else value for value in given)
        ),
        "it is averaged over the batch": slips.then(lambda value, n: value.mean().expand(value.shape)),
    },
    examples=50,
)
def rows_are_independent(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""Every row of a batch is judged alone: $\log p(x)_b = \log p(x_b)$ for every row b, with its own parameters.

    Error bound: 8 roundings of $1 + \lvert\log p\rvert$ for the order of a sum, and for each of the two values
    twice the most that $\log p$ changes over up to eight roundings of x: as rough are the values where large terms cancel.
    """
    value = d.log_prob(x, *parameters)
    rows = list(_rows(d, x, *parameters))
    alone = torch.stack([_row(d, *row) for row in rows])
    radius, moved = torch.zeros_like(alone, dtype=torch.float64), [row[0] for row in rows]
    for _ in range(8):
        moved = [torch.nextafter(e, torch.full_like(e, middle(d))) for e in moved]
        there = torch.stack([_row(d, e, *row[1:]) for e, row in zip(moved, rows, strict=True)])
        radius = torch.maximum(radius, 4 * (there.double() - alone.double()).abs())
    shape = x.shape[: x.ndim - len(d.event_shape)]
    alone, radius = alone.reshape(shape), radius.reshape(shape)
    expected = Ball(alone, torch.where(radius.isnan(), math.inf, radius), kind=Kind.NUMERICAL, source="the row alone")
    yield close(value, expected, scale=1 + alone.double().abs().cpu(), what="log p of a row in its batch")


@claim(
    given=lambda d, dtype: st.tuples(
        strategies.tensors((3, *d.event_shape), dtype, d.support), _values(d, (), dtype)
    ).map(lambda drawn: (drawn[0], *drawn[1])),
    mutants={
        "rows that share their parameters are averaged": slips.shared(lambda value: value.mean().expand(value.shape)),
        "rows that share their parameters are exchanged": slips.shared(lambda value: value.flip(0)),
    },
    examples=20,
)
def one_parameter_serves_many_points(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""Parameters without a batch go with every row: $\log p(x_b; \theta)$ for three points x and one $\theta$.

    So do parameters of a batch of one. A density that refuses them is not judged.

    Error bound: as of `rows_are_independent`, but for the roundings of x: 16 roundings of $1 + \lvert\log p\rvert$ and
    twice the change over one rounding of x.
    """
    _with_parameters(d)
    many = [value.expand(len(x), *value.shape) for value in parameters]
    alone = d.log_prob(x, *many)
    moved = d.log_prob(torch.nextafter(x, torch.full_like(x, middle(d))), *many)
    radius = 2 * (moved.double() - alone.double()).abs().detach().cpu().nan_to_num(0.0, posinf=0.0)
    expected = Ball(alone, radius, kind=Kind.NUMERICAL, source="a parameter for each row")
    for what, given in (("a batch of one", [value[None] for value in parameters]), ("no batch", parameters)):
        try:
            value = d.log_prob(x, *given)
        except SubjectHangs:
            raise
        except SubjectFault:
            continue
        size = 1 + alone.detach().double().abs().cpu()
        yield close(value, expected, ulps=16, scale=size, what=f"log p with parameters of {what}")


@claim(
    given=_draw,
    mutants=slips.BATCH
    | {
        "it is computed in another dtype": slips.then(
            lambda value, n: value.to(torch.float32 if value.dtype == torch.float64 else torch.float64)
        ),
    },
    examples=30,
)
def shape_and_dtype_are_those_of_the_point(d: Density, x: Tensor, *parameters: Tensor) -> Iterator[Residual]:
    r"""The log-density has the batch's shape and the dtype of the point: $\log p(x)$ for x of shape `(*batch, *event_shape)`.

    The value $\log p$ has shape `(*batch,)`.

    Error bound: 0.
    """
    value = d.log_prob(x, *parameters)
    batch = tuple(x.shape[: x.ndim - len(d.event_shape)])
    yield exactly(tuple(value.shape), batch, kind=Kind.NUMERICAL, what="the shape of log p(x)")
    yield exactly(value.dtype, x.dtype, kind=Kind.NUMERICAL, what="the dtype of log p(x)")


def check_density(density: Density | Map | Any, **options: Unpack[Options]) -> list[Evidence]:
    r"""Judges a log-density $\log p(x)$ by every law of a density.

    Args:
        density: a `Density`; or its `log_prob`, for numbers on the whole line; or an object of a library that has an
            adapter, such as a distribution of torch.
        options: `expected_failures`, `require`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `density` is none of these.
    """
    return check(subject("density", Density, density), laws(Density), **options)
