r"""What every probability density must satisfy: the record, its laws, `check_density`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathcheck.engine import strategies
from mathcheck.engine.claim import Settings, check, claim, laws
from mathcheck.engine.evidence import Evidence
from mathcheck.engine.residual import Ball, Kind, Residual, close, exactly
from mathcheck.engine.strategies import Interval
from mathcheck.oracles import derivative
from mathcheck.probability.density.mass import mass

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Density:
    r"""The density of a continuous distribution with respect to Lebesgue measure, by its logarithm.

    Args:
        log_prob: $\log p(x)$ in nats, `(*batch, *event_shape)` -> `(*batch,)`. Besides `batch_shapes` it takes any
            single leading dimension.
        support: where each coordinate of x lives. $\log p = -\infty$ outside; the ends themselves may go either way.
            Its `reach` bounds how far the search goes, and on the support up to it $\log p$ is finite.
        event_shape: `()` for a number, `(n,)` for a vector; the mass is integrated for n up to 2.
        cdf: $F(x) = P(X \le x)$ for numbers, `(*batch,)` -> `(*batch,)`.
        cdf_ulps: absolute error of the cdf that is granted, in units of eps; a cdf with relatively accurate tails needs none.
        points: places inside the support where the density has a kink, jump, singularity or narrow peak, in each
            coordinate. An integral that misses a peak refutes a density that is right.
        batch_shapes: leading shapes that it takes.
        dtype: that it takes, if only one.
    """

    log_prob: Map
    support: Interval = Interval(reach=10.0)
    event_shape: tuple[int, ...] = ()
    cdf: Map | None = None
    cdf_ulps: float = 0.0
    points: tuple[float, ...] = ()
    batch_shapes: tuple[tuple[int, ...], ...] = ((1,), (3,))
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        if len(self.event_shape) > 1:
            raise ValueError(f"event_shape must be () or (n,), got {self.event_shape}")
        if not all(self.support.lower < p < self.support.upper for p in self.points):
            raise ValueError(f"points must lie inside the support {self.support}, got {self.points}")


Slip = Callable[[Density], Density]


def _then(change: Callable[[Tensor, int], Tensor]) -> Slip:
    """The slip that puts `change(log_prob, n)` in place of the log-density, in n dimensions."""
    return lambda d: replace(d, log_prob=lambda x: change(d.log_prob(x), math.prod(d.event_shape)))


def _gradient(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that leaves the value alone and puts `change(value)`, whose own value is 0, on top of its gradient."""

    def slip(d: Density) -> Density:
        def changed(x: Tensor) -> Tensor:
            value = d.log_prob(x)
            return value.detach() + torch.where(value.isfinite(), change(value) - change(value).detach(), 0.0)

        return replace(d, log_prob=changed)

    return slip


def _outside(put: Callable[[Map, Tensor, Tensor], Tensor]) -> Slip:
    """The slip that puts `put(log_prob, x, inside)` in place of the log-density outside the support."""

    def slip(d: Density) -> Density:
        low, high = _ends(d)
        if math.isinf(low) and math.isinf(high):
            raise NotImplementedError("the support is the whole space")

        def changed(x: Tensor) -> Tensor:
            value = d.log_prob(x)
            apart = (x < low) | (x > high)
            outside = apart.any(-1) if d.event_shape else apart
            return torch.where(outside, put(d.log_prob, x, torch.full_like(x, _middle(d))), value)

        return replace(d, log_prob=changed)

    return slip


def _underflow(d: Density) -> Density:
    ends = [e for e in (d.support.reach, -d.support.reach) if d.support.lower < e < d.support.upper]
    at = torch.tensor(ends or [_middle(d)], dtype=d.dtype or torch.float64)
    events = at.reshape(-1, *(1 for _ in d.event_shape)).expand(-1, *d.event_shape)
    if not bool((d.log_prob(events) < -104).any()):
        raise NotImplementedError("the density does not underflow")
    return replace(d, log_prob=lambda x: d.log_prob(x).float().exp().log().to(x.dtype))


def _far(d: Density) -> Density:
    low, high = max(d.support.lower, -d.support.reach), min(d.support.upper, d.support.reach)

    def changed(x: Tensor) -> Tensor:
        far = (x - (low + high) / 2).abs() > (high - low) / 4
        return torch.where(far.any(-1) if d.event_shape else far, -math.inf, d.log_prob(x))

    return replace(d, log_prob=changed)


_CONSTANT: dict[str, Slip] = {
    "the constant n/2 log 2 pi is subtracted": _then(lambda value, n: value - n / 2 * math.log(2 * math.pi)),
    "the constant n/2 log 2 pi is added": _then(lambda value, n: value + n / 2 * math.log(2 * math.pi)),
    "log 2 is subtracted": _then(lambda value, n: value - math.log(2)),
    "log 2 is added": _then(lambda value, n: value + math.log(2)),
}
_REPAIRS: dict[str, Slip] = {
    **_CONSTANT,
    "it is divided by 2": _then(lambda value, n: value / 2),
    "it is multiplied by 2": _then(lambda value, n: value * 2),
    "its logarithm is taken (it is the density itself)": _then(lambda value, n: value.log()),
    "its sign is changed (it is the negative log-density)": _then(lambda value, n: -value),
}
_BATCH: dict[str, Slip] = {"it is summed over the batch": _then(lambda value, n: value.sum())}


def _ends(d: Density) -> tuple[float, float]:
    return d.support.lower, d.support.upper


def _middle(d: Density) -> float:
    low, high = _ends(d)
    if math.isfinite(low) and math.isfinite(high):
        return (low + high) / 2
    return low + 1 if math.isfinite(low) else high - 1 if math.isfinite(high) else 0.0


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
    return mass(d.log_prob, like, low, high, points=d.points, middle=_middle(d), event_shape=d.event_shape)


@claim(given=lambda d, dtype: _event(d, dtype), mutants=_CONSTANT, repairs=_REPAIRS, examples=1)
def integrates_to_one(d: Density, x: Tensor) -> Iterator[Residual]:
    r"""The density integrates to one: $\int e^{\log p(x)}\,\mathrm dx = 1$ over the support.

    The point x only says in which dtype.

    Error bound: the radius of the integral, in which every value of $\log p$ may be off by 4 roundings of
    $1 + \lvert\log p\rvert$ and every node by one rounding.
    """
    if math.prod(d.event_shape) > 2:
        raise NotImplementedError("a mass is integrated in one and two dimensions")
    total = _mass(d, x, *_ends(d))
    one = Ball(1.0, total.radius, kind=total.kind, source=total.source)
    yield close(total.mid, one, what="the total mass")


@claim(
    given=lambda d, dtype: st.tuples(_event(d, dtype), _event(d, dtype), st.sampled_from([1e-3, 1.0, 1e3]), st.booleans()),
    mutants={
        "the density goes on outside its support": _outside(lambda log_prob, x, inside: log_prob(inside)),
        "a number very close to 0 stands for a density of 0": _outside(
            lambda log_prob, x, inside: torch.full_like(log_prob(inside), -100.0)
        ),
        "the logarithm outside is not a number": _outside(
            lambda log_prob, x, inside: torch.full_like(log_prob(inside), math.nan)
        ),
    },
    examples=40,
)  # fmt: skip
def minus_infinity_outside_the_support(
    d: Density, inside: Tensor, other: Tensor, distance: float, above: bool
) -> Iterator[Residual]:
    r"""Outside the support the density is zero, and the gradient elsewhere in the batch stays finite.

    $\log p(x) = -\infty$ for x beyond an end of the support.

    Error bound: 0.
    """
    low, high = _ends(d)
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
        slope = torch.autograd.grad(value.sum(), x)[0][0]
        yield exactly(bool(slope.isfinite().all()), True, kind=Kind.NUMERICAL, what="the gradient inside is finite")


def _is_too_steep(d: Density, x: Tensor, slope: Tensor, index: tuple[int, ...]) -> bool:
    """Whether the slope is infinite, and differences of log p along that coordinate overflow to the same infinity."""
    step = x[index].abs() / 1024
    apart = torch.zeros_like(x)
    apart[index] = step
    rise = (d.log_prob(x + apart) - d.log_prob(x)).sum()
    return bool(slope[index].isinf() & rise.isfinite() & (rise / step == slope[index]))


@claim(given=_draw, mutants={
    "the density is computed in single precision before its logarithm is taken": _underflow,
    "far points are taken for points outside the support": _far,
}, repairs=_REPAIRS)  # fmt: skip
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
        lost = [i for i in (~slope.isfinite()).nonzero() if not _is_too_steep(d, x, slope, tuple(i.tolist()))]
        yield exactly(len(lost), 0, kind=Kind.NUMERICAL, what="gradients that are not finite")


@claim(
    given=_event,
    mutants={
        "the gradient is doubled": _gradient(lambda value: 2 * value),
        "the gradient is halved": _gradient(lambda value: value / 2),
        "the sign of the gradient is changed": _gradient(lambda value: -value),
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
    true = derivative.difference_jacobian(single, x, *_ends(d))
    both = Ball(true.mid, true.radius + slope.radius, kind=Kind.NUMERICAL, source=true.source)
    yield close(slope.mid.to(x.dtype), both, ulps=16, what="the gradient of log p")


def _cdf(change: Callable[[Map, Tensor], Tensor]) -> Slip:
    def slip(d: Density) -> Density:
        function = d.cdf
        if function is None:
            raise NotImplementedError("the density has no cdf")
        return replace(d, cdf=lambda x: change(function, x))

    return slip


@claim(
    given=_event,
    mutants={
        "the probability of the other side is taken (1 - F)": _cdf(lambda cdf, x: 1 - cdf(x)),
        "half is added to it": _cdf(lambda cdf, x: cdf(x) + 0.5),
        "half is subtracted from it": _cdf(lambda cdf, x: cdf(x) - 0.5),
        "its argument is moved by a thousandth": _cdf(lambda cdf, x: cdf(x + 1e-3)),
    },
    repairs=_REPAIRS,
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


@claim(given=_draw, mutants=_BATCH | {
    "it is averaged over the batch": _then(lambda value, n: value.mean().expand(value.shape)),
}, examples=50)  # fmt: skip
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
        moved = torch.nextafter(moved, torch.full_like(moved, _middle(d)))
        change = torch.stack([_row(d, e) for e in moved]).double() - alone.double()
        radius = torch.maximum(radius, 4 * change.abs())
    shape = x.shape[: x.ndim - len(d.event_shape)]
    alone, radius = alone.reshape(shape), radius.reshape(shape)
    expected = Ball(alone, torch.where(radius.isnan(), math.inf, radius), kind=Kind.NUMERICAL, source="the row alone")
    yield close(value, expected, scale=1 + alone.double().abs().cpu(), what="log p of a row in its batch")


@claim(given=_draw, mutants=_BATCH | {
    "it is computed in another dtype": _then(
        lambda value, n: value.to(torch.float32 if value.dtype == torch.float64 else torch.float64)),
}, examples=30)  # fmt: skip
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
    return check(density, laws(Density), expected_failures=expected_failures, settings=settings, dtype=dtype,
                 device=device)  # fmt: skip
