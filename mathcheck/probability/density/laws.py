"""The laws of a density, and `check_density`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.check import check
from mathcheck.engine.claim import Settings, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly
from mathcheck.oracles import derivative
from mathcheck.probability.density import slips
from mathcheck.probability.density.mass import mass
from mathcheck.probability.density.record import Density, Map, ends, middle
from mathcheck.probability.density.slips import Slip
from mathcheck.probability.distribution_function import is_distribution_function, places


def _draw(d: Density, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    shapes = st.sampled_from([(*batch, *d.event_shape) for batch in d.batch_shapes])
    return shapes.flatmap(lambda shape: strategies.tensors(shape, dtype, d.support))


def _event(d: Density, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    return strategies.tensors(d.event_shape, dtype, d.support)


def _row(d: Density, x: Tensor) -> Tensor:
    """The log-density of one event, in the smallest batch that the subject takes."""
    batch = min(d.batch_shapes, key=lambda shape: (math.prod(shape), len(shape)))
    return d.log_prob(x.expand((*batch, *x.shape))).flatten()[0]


def _mass(d: Density, like: Tensor, low: float, high: float) -> Ball:
    return mass(d.log_prob, like, low, high, points=d.points, middle=middle(d), event_shape=d.event_shape)


@claim(
    given=lambda d, dtype: _event(d, dtype),
    mutants=slips.CONSTANT,
    repairs=slips.REPAIRS,
    examples=1,
    defining=True,
)
def integrates_to_one(d: Density, x: Tensor) -> Iterator[Residual]:
    r"""The density integrates to one: $\int e^{\log p(x)}\,\mathrm dx = 1$ over the support.

    The point x only says in which dtype.

    Error bound: the radius of the integral, in which every value of $\log p$ may be off by 4 roundings of
    $1 + \lvert\log p\rvert$ and every node by one rounding.
    """
    if math.prod(d.event_shape) > 2:
        raise NotImplementedError("a mass is integrated in one and two dimensions")
    total = _mass(d, x, *ends(d))
    one = Ball(1.0, total.radius, kind=total.kind, source=total.source)
    yield close(total.mid, one, what="the total mass")


def _is_too_steep(d: Density, x: Tensor, slope: Tensor, index: tuple[int, ...]) -> bool:
    """Whether differences of log p along that coordinate overflow, to the same infinity unless the slope is NaN."""
    step = x[index].abs() / 1024
    apart = torch.zeros_like(x)
    apart[index] = step
    rise = (d.log_prob(x + apart) - d.log_prob(x)).sum()
    steep = rise / step
    return bool(rise.isfinite() & steep.isinf() & (slope[index].isnan() | (steep == slope[index])))


_LOST = "gradients that are not finite"


def _lost(d: Density, x: Tensor, slope: Tensor) -> int:
    """How many slopes are not finite, except where they are too large for any float."""
    return sum(not _is_too_steep(d, x, slope, tuple(i.tolist())) for i in (~slope.isfinite()).nonzero())


@claim(
    given=lambda d, dtype: st.tuples(
        _event(d, dtype), _event(d, dtype), st.sampled_from([1e-3, 1.0, 1e3]), st.booleans()
    ),
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
    d: Density, inside: Tensor, other: Tensor, distance: float, above: bool
) -> Iterator[Residual]:
    r"""Outside the support the density is zero, and the gradient elsewhere in the batch stays finite.

    $\log p(x) = -\infty$ for x beyond an end of the support.

    Error bound: 0; infinite slopes count as in `finite_on_the_support`.
    """
    low, high = ends(d)
    if math.isinf(low) and math.isinf(high):
        raise NotImplementedError("the support is the whole space")
    beyond = high + distance if (above and math.isfinite(high)) or math.isinf(low) else low - distance
    outside = other.clone()
    outside.reshape(-1)[0] = beyond
    x = torch.stack([inside, outside]).requires_grad_()
    value = d.log_prob(x)
    yield exactly(float(value[1].detach()), -math.inf, kind=Kind.NUMERICAL, what=f"log p at {beyond}")
    yield exactly(bool(value[0].isfinite()), True, kind=Kind.NUMERICAL, what="log p inside is finite")
    if value.requires_grad:
        slope = torch.autograd.grad(value.sum(), x)[0][:1]
        yield exactly(_lost(d, inside.unsqueeze(0), slope), 0, kind=Kind.NUMERICAL, what=_LOST)


@claim(
    given=_draw,
    mutants={
        "the density is computed in single precision before its logarithm is taken": slips.underflow,
        "far points are taken for points outside the support": slips.far,
    },
    repairs=slips.REPAIRS,
)
def finite_on_the_support(d: Density, x: Tensor) -> Iterator[Residual]:
    r"""On the support the log-density and its gradient are finite: $\lvert\log p(x)\rvert < \infty$ up to `reach`.

    Error bound: 0; infinite and NaN values are counted, except infinite slopes where differences overflow as well: next
    to an end of its support the logarithm of a density can be steeper than any float.
    """
    leaf = x.detach().clone().requires_grad_()
    value = d.log_prob(leaf)
    yield exactly(int((~value.isfinite()).sum()), 0, kind=Kind.NUMERICAL, what="values that are not finite")
    if value.requires_grad:
        slope = torch.autograd.grad(value.sum(), leaf)[0]
        yield exactly(_lost(d, x, slope), 0, kind=Kind.NUMERICAL, what=_LOST)


@claim(
    given=_event,
    mutants={
        "the gradient is doubled": slips.gradient(lambda value: 2 * value),
        "the gradient is halved": slips.gradient(lambda value: value / 2),
        "the sign of the gradient is changed": slips.gradient(lambda value: -value),
    },
    examples=50,
)
def gradient_is_that_of_differences(d: Density, x: Tensor) -> Iterator[Residual]:
    r"""The gradient of the log-density by autograd is that of its values: $\nabla\log p(x)$.

    Error bound: 16 roundings of the gradient and the radii of both derivatives: for autograd the change of the gradient
    over a few ulp of x, for the extrapolated differences their own estimate.
    """

    def single(point: Tensor) -> Tensor:
        return _row(d, point)

    slope = derivative.jacobian(single, x)
    true = derivative.difference_jacobian(single, x, *ends(d))
    both = Ball(true.mid, true.radius + slope.radius, kind=Kind.NUMERICAL, source=true.source)
    yield close(slope.mid.to(x.dtype), both, ulps=16, what="the gradient of log p")


def _cdf(change: Callable[[Map, Tensor], Tensor]) -> Slip:
    def slip(d: Density) -> Density:
        function = d.cdf
        if function is None:
            raise NotImplementedError("the density has no cdf")
        return replace(d, cdf=lambda x: change(function, x))

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
)
def cdf_is_the_mass_below(d: Density, x: Tensor) -> Iterator[Residual]:
    r"""The distribution function is the mass below: $F(x) = \int_{-\infty}^x e^{\log p(t)}\,\mathrm dt$.

    Error bound: 8 roundings of $F(x)(1 + \lvert\log F(x)\rvert) + \lvert x\rvert\,p(x)$, what a rounding of $\log F$ and
    of x change, plus the radius of the integral. The promised `cdf_ulps` are added.
    """
    if d.cdf is None or d.event_shape:
        raise NotImplementedError("the density has no cdf")
    batch = min(d.batch_shapes, key=math.prod)
    value = d.cdf(x.expand(batch)).flatten()[0]
    below = _mass(d, x, d.support.lower, float(x))
    size = below.mid * (1 + below.mid.clamp(min=torch.finfo(torch.float64).tiny).log().abs())
    scale = size + x.double().abs().cpu() * _row(d, x).detach().double().exp().cpu()
    promised = d.cdf_ulps * torch.finfo(x.dtype).eps
    true = Ball(below.mid, below.radius + promised, kind=below.kind, source=below.source)
    yield close(value, true, scale=scale, what="F(x)")


@claim(
    given=lambda d, dtype: places(d.support, dtype),
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
def cdf_rises_from_zero_to_one(d: Density, x: Tensor) -> Iterator[Residual]:
    r"""The distribution function rises from 0 to 1 on the whole line: $0 \le F(x) \le F(y) \le 1$ for $x \le y$.

    It is 0 at and below the lower end of the support, and 1 at and above the upper end. Where it raises an exception
    outside the support it is not judged there.

    Error bound: 8 roundings of $F(x)(1 + \lvert\log F(x)\rvert)$ and what F changes when x is moved by 8 roundings; 0 below 0.
    The promised `cdf_ulps` are added.
    """
    if d.cdf is None or d.event_shape:
        raise NotImplementedError("the density has no cdf")
    cdf, batch = d.cdf, min(d.batch_shapes, key=math.prod)

    def single(x: Tensor) -> Tensor:
        return torch.stack([cdf(place.expand(batch)).flatten()[0] for place in x])

    granted = d.cdf_ulps * torch.finfo(x.dtype).eps
    yield from is_distribution_function(single, x, support=ends(d), granted=granted)


@claim(
    given=_draw,
    mutants=slips.BATCH
    | {
        "it is averaged over the batch": slips.then(lambda value, n: value.mean().expand(value.shape)),
    },
    examples=50,
)
def rows_are_independent(d: Density, x: Tensor) -> Iterator[Residual]:
    r"""Every row of a batch is judged alone: $\log p(x)_b = \log p(x_b)$ for every row b.

    Error bound: 8 roundings of $1 + \lvert\log p\rvert$ for the order of a sum, and for each of the two values
    twice the most that $\log p$ changes over up to eight roundings of x: as rough are the values where large terms cancel.
    """
    value = d.log_prob(x)
    events = x.reshape(-1, *d.event_shape)
    alone = torch.stack([_row(d, e) for e in events])
    radius, moved = torch.zeros_like(alone, dtype=torch.float64), events
    for _ in range(8):
        moved = torch.nextafter(moved, torch.full_like(moved, middle(d)))
        change = torch.stack([_row(d, e) for e in moved]).double() - alone.double()
        radius = torch.maximum(radius, 4 * change.abs())
    shape = x.shape[: x.ndim - len(d.event_shape)]
    alone, radius = alone.reshape(shape), radius.reshape(shape)
    expected = Ball(alone, torch.where(radius.isnan(), math.inf, radius), kind=Kind.NUMERICAL, source="the row alone")
    yield close(value, expected, scale=1 + alone.double().abs().cpu(), what="log p of a row in its batch")


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
def shape_and_dtype_are_those_of_the_point(d: Density, x: Tensor) -> Iterator[Residual]:
    r"""The log-density has the batch's shape and the dtype of the point: $\log p(x)$ for x of shape `(*batch, *event_shape)`.

    The value $\log p$ has shape `(*batch,)`.

    Error bound: 0.
    """
    value = d.log_prob(x)
    batch = tuple(x.shape[: x.ndim - len(d.event_shape)])
    yield exactly(tuple(value.shape), batch, kind=Kind.NUMERICAL, what="the shape of log p(x)")
    yield exactly(value.dtype, x.dtype, kind=Kind.NUMERICAL, what="the dtype of log p(x)")


def check_density(
    density: Density | Map,
    *,
    expected_failures: Mapping[str, str] | None = None,
    settings: Settings | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> list[Evidence]:
    r"""Judges a log-density $\log p(x)$ by every law of a density.

    Args:
        density: a `Density`, or its `log_prob`, for numbers on the whole line.
        expected_failures, settings, dtype, device: as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `density` is neither a record nor a function.
    """
    if not isinstance(density, Density):
        if not callable(density):
            raise TypeError(f"density must be a Density or a function, got {type(density).__name__}")
        density = Density(density)
    return check(
        density, laws(Density), expected_failures=expected_failures, settings=settings, dtype=dtype, device=device
    )
