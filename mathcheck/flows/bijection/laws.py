"""The laws of a bijection, and `check_bijection`."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
from mathcheck.engine.residual import Ball, Kind, Residual, Undecided, close, exactly, promised
from mathcheck.engine.strategies import Interval
from mathcheck.flows.bijection import slips
from mathcheck.flows.bijection.record import Bijection
from mathcheck.oracles import derivative

_PROMISE = "say in the record how accurate an iterative inverse is, with inverse_error"


def _draw(b: Bijection, dtype: torch.dtype, several: bool = False) -> st.SearchStrategy[Tensor]:
    """Points in the batch shapes of the subject, or in those of `several` rows only, if there are any."""
    shapes = [shape for shape in b.batch_shapes if math.prod(shape) > 1 or not several] or list(b.batch_shapes)

    def of_batch(batch: tuple[int, ...]) -> st.SearchStrategy[Tensor]:
        if b.points is not None:
            return b.points(batch, dtype)
        return strategies.tensors((*batch, *b.event_shape), dtype, b.domain)

    return strategies.of_each(st.sampled_from(shapes), of_batch)


def _targets(b: Bijection, dtype: torch.dtype) -> st.SearchStrategy[Tensor]:
    codomain = b.codomain or Interval()
    shapes = st.sampled_from([(*batch, *b.event_shape) for batch in b.batch_shapes])
    return strategies.of_each(shapes, lambda shape: strategies.tensors(shape, dtype, codomain))


def _flat(b: Bijection, y: Tensor) -> Tensor:
    return (y if b.coordinates is None else b.coordinates(y)).flatten()


def _jacobian(b: Bijection, x: Tensor, *, differences: bool = False) -> Ball:
    """The Jacobian of the map at one event, by autograd, or by differences where autograd does not reach or as asked."""

    def flat(event: Tensor) -> Tensor:
        return _flat(b, slips.row(b, b.forward, event))

    if not differences:
        try:
            return derivative.jacobian(flat, x)
        except Undecided:
            pass

    def flat_each(events: Tensor) -> Tensor:
        images = slips.each(b, b.forward, events)
        if b.coordinates is not None:
            return torch.stack([b.coordinates(image).flatten() for image in images])
        return images.reshape(len(events), -1)

    return derivative.difference_jacobian(flat_each, x, b.domain.lower, b.domain.upper, batched=True)


def _events(b: Bijection, x: Tensor) -> Tensor:
    return x.reshape(-1, *b.event_shape)


def _spread(matrix: Tensor, vector: Tensor) -> Tensor:
    """How far one relative rounding of `vector` moves the product; infinite where the matrix is not known."""
    moved = matrix.abs() @ vector.detach().double().cpu().abs().flatten()
    return torch.where(moved.isnan(), math.inf, moved)


def _inverse_of(jacobian: Ball) -> Tensor:
    inverse, info = torch.linalg.inv_ex(jacobian.mid)
    known = int(info) == 0 and bool(jacobian.radius.isfinite().all())
    return inverse if known else torch.full_like(inverse, math.inf)


@claim(
    given=_draw,
    mutants={
        "the inverse is divided by 1 + 10^4 eps": slips.slightly,
        "the inverse is applied twice": slips.inverse_becomes(lambda f, y: f(f(y))),
    },
    repairs=slips.INVERSE,
    remedy=_PROMISE,
)
def inverse_undoes_forward(b: Bijection, x: Tensor) -> Iterator[Residual]:
    r"""The inverse undoes the map: $f^{-1}(f(x)) = x$.

    Error bound: $64\epsilon(\lvert x\rvert + \lvert J^{-1}\rvert\,\lvert f(x)\rvert)$, coordinate by coordinate: f(x) is
    rounded, and the inverse stretches that rounding by the inverse Jacobian. A promised `inverse_error` is added.
    """
    inverse = slips.need(b.inverse, "inverse")
    y = b.forward(x)
    back = inverse(y)
    if back.shape != x.shape:
        yield exactly(tuple(back.shape), tuple(x.shape), kind=Kind.NUMERICAL, what="the shape of f^-1(f(x))")
        return
    scale = [
        e.double().abs().flatten().cpu() + _spread(_inverse_of(_jacobian(b, e)), _flat(b, slips.row(b, b.forward, e)))
        for e in _events(b, x)
    ]
    true = Ball(x, b.inverse_error, kind=Kind.NUMERICAL, source="the point that was mapped")
    compared = close(back, true, ulps=64, scale=torch.stack(scale).reshape(x.shape), what="f^-1(f(x))")
    yield promised(compared) if b.inverse_error else compared


@claim(
    given=_targets,
    mutants={
        "the inverse takes far targets for nearer ones": slips.narrow,
        "the inverse is divided by 1 + 10^4 eps": slips.slightly,
    },
    repairs=slips.INVERSE,
    remedy=_PROMISE,
)
def every_target_is_reached(b: Bijection, y: Tensor) -> Iterator[Residual]:
    r"""The map is onto: $f(f^{-1}(y)) = y$ for every y of the codomain, however far.

    Error bound: $64\epsilon(\lvert y\rvert + \lvert J\rvert\,\lvert x\rvert)$ with $x = f^{-1}(y)$, coordinate by
    coordinate: x is rounded, and the map stretches that rounding. A promised `inverse_error` is stretched likewise.
    """
    inverse = slips.need(b.inverse, "inverse")
    if b.codomain is None:
        raise NotImplementedError("the codomain is no box")
    x = inverse(y)
    if x.shape != y.shape or not bool(x.isfinite().all()):
        yield exactly(
            bool(x.isfinite().all()) and x.shape == y.shape,
            True,
            kind=Kind.NUMERICAL,
            what="f^-1(y) is finite and of the shape of y",
        )
        return
    balls = [_jacobian(b, e) for e in _events(b, x)]
    jacobians = [ball.mid.abs() + ball.radius for ball in balls]
    scale = [_spread(j, e) for j, e in zip(jacobians, _events(b, x), strict=True)]
    promised = [_spread(j, torch.full_like(e, b.inverse_error)) for j, e in zip(jacobians, _events(b, x), strict=True)]
    true = Ball(y, torch.stack(promised).reshape(y.shape), kind=Kind.NUMERICAL, source="the target")
    reach = torch.stack(scale).reshape(y.shape) + y.double().abs().cpu()
    yield close(b.forward(x), true, ulps=64, scale=reach, what="f(f^-1(y))")


@claim(given=_draw, mutants=slips.LOG_DET | slips.BATCH, repairs=slips.REPAIRS)
def log_det_is_that_of_the_jacobian(b: Bijection, x: Tensor) -> Iterator[Residual]:
    r"""The log-determinant is that of the Jacobian: $\log\lvert\det \partial f/\partial x\rvert$.

    Error bound: 16 roundings of the value, and the perturbation of the oracle's determinant by the errors of its
    Jacobian, $32 n\epsilon\,\mathrm{cond}_2(J)$ at least. Two oracles: autograd, and extrapolated differences, which
    see what a wrong backward pass hides.
    """
    value = slips.need(b.log_abs_det_jacobian, "log_abs_det_jacobian")(x)
    events = _events(b, x)
    balls = [derivative.log_abs_det(_jacobian(b, e)) for e in events]
    yield close(value, Ball.stack(balls, x.shape[: x.ndim - len(b.event_shape)]), ulps=16, what="log|det J|")
    by_differences = derivative.log_abs_det(_jacobian(b, events[0], differences=True))
    yield close(value.reshape(-1)[0], by_differences, ulps=16, what="log|det J|")


@claim(
    given=_draw,
    mutants={
        "the log-determinant of far points is -inf": slips.saturated,
        "the image of far points is not a number": slips.broken,
    },
    repairs=slips.NEAR_ZERO,
)
def finite_on_the_domain(b: Bijection, x: Tensor) -> Iterator[Residual]:
    r"""Images are numbers and log-determinants finite: $\lvert\log\lvert\det J_f(x)\rvert\rvert < \infty$ on the domain.

    The logarithm of a saturated derivative, such as $1 - \tanh^2 x$ for large x, is infinite where the true one is not.

    Error bound: 0; NaN, and for log-determinants infinite values, are counted.
    """
    yield exactly(int(b.forward(x).isnan().sum()), 0, kind=Kind.NUMERICAL, what="coordinates of f(x) that are NaN")
    value = slips.need(b.log_abs_det_jacobian, "log_abs_det_jacobian")(x)
    yield exactly(int((~value.isfinite()).sum()), 0, kind=Kind.NUMERICAL, what="log-determinants that are not finite")


@claim(
    given=lambda b, dtype: st.tuples(*[_draw(b, dtype)] * 2),
    mutants={"one coordinate is reflected (the map folds)": slips.folded},
    examples=60,
)
def determinant_keeps_its_sign(b: Bijection, x: Tensor, other: Tensor) -> Iterator[Residual]:
    r"""The map does not fold: $\det J_f(x)$ has the same sign at every x, since the domain is connected.

    A differentiable map whose determinant changes its sign takes two points to one, which a log-determinant cannot tell
    and a missing inverse does not show.

    Error bound: 0; pairs of points where the errors of a Jacobian may turn the sign of its determinant are passed over.
    """
    if b.points is not None:
        raise NotImplementedError("the domain is no box")
    signs = []
    for point in (_events(b, x)[0], _events(b, other)[0]):
        jacobian = _jacobian(b, point)
        if jacobian.mid.shape[0] != jacobian.mid.shape[1] or not bool(derivative.log_abs_det(jacobian).radius < 0.5):
            raise Undecided("the sign of the determinant is not certain")
        signs.append(float(torch.linalg.slogdet(jacobian.mid).sign))
    yield exactly(signs[1], signs[0], kind=Kind.NUMERICAL, what="the sign of det J at the other point")


@claim(
    given=_draw,
    mutants={
        "the log-determinant of the inverse is negated": slips.negated_inverse,
        "log 2 is added to the log-determinant": slips.LOG_DET["log 2 is added to the log-determinant"],
    },
    remedy=_PROMISE,
)
def inverse_log_det_is_the_negative(b: Bijection, x: Tensor) -> Iterator[Residual]:
    r"""The inverse's log-determinant is the negative: $\log\lvert\det J_{f^{-1}}(f(x))\rvert = -\log\lvert\det J_f(x)\rvert$.

    Error bound: 32 roundings of the value, the perturbation of the determinant as in `log_det_is_that_of_the_jacobian`,
    and what $\log\lvert\det J_f\rvert$ changes when x is moved as far as `inverse_undoes_forward` allows, since f(x) is
    rounded and the inverse is not asked at x.
    """
    inverse = slips.need(b.inverse_log_abs_det_jacobian, "inverse_log_abs_det_jacobian")
    log_det = slips.need(b.log_abs_det_jacobian, "log_abs_det_jacobian")
    value, eps, radii = log_det(x), 64 * torch.finfo(x.dtype).eps, []
    batch = x.shape[: x.ndim - len(b.event_shape)]
    if value.shape != batch:
        yield exactly(tuple(value.shape), tuple(batch), kind=Kind.NUMERICAL, what="the shape of log|det J|")
        return
    for e in _events(b, x):
        matrix = _jacobian(b, e)
        moved = eps * _spread(_inverse_of(matrix), _flat(b, slips.row(b, b.forward, e))) + b.inverse_error
        slope = derivative.difference_jacobian(
            lambda events: slips.each(b, log_det, events), e, b.domain.lower, b.domain.upper, batched=True
        )
        change = (slope.mid.abs() + slope.radius).flatten() @ moved
        for end in (e + moved.to(e).reshape(e.shape), e - moved.to(e).reshape(e.shape)):
            inside = bool(((end > b.domain.lower) & (end < b.domain.upper)).all())
            change += (
                (slips.row(b, log_det, end) - slips.row(b, log_det, e)).abs().double().cpu() if inside else math.inf
            )
        # Where it changes by more than one, a rounded f(x) says nothing about x.
        radii.append(derivative.log_abs_det(matrix).radius + torch.where(change <= 1, change, math.inf))
    radius = torch.stack(radii).reshape(value.shape)
    yield close(
        inverse(b.forward(x)), Ball(-value, radius, kind=Kind.NUMERICAL), ulps=32, what="log|det J| of the inverse"
    )


@claim(
    given=lambda b, dtype: _draw(b, dtype, several=True),
    mutants={
        "the sum over the batch is added to the map": lambda b: replace(b, forward=lambda x: b.forward(x) + x.sum()),
        **slips.BATCH,
    },
    repairs=slips.REPAIRS,
)
def rows_are_independent(b: Bijection, x: Tensor) -> Iterator[Residual]:
    r"""Every row of a batch is mapped alone: $f(x)_b$ and its log-determinant do not change with the other rows.

    Error bound: 8 roundings of the largest of 1, |x|, |f(x)| and the log-determinant: the batch keeps its shape, so every
    row is summed in the same order, but the elementary functions may round differently beside other numbers.
    """
    if max(map(math.prod, b.batch_shapes)) < 2:
        raise NotImplementedError("the functions take one event at a time")
    batch = x.shape[: x.ndim - len(b.event_shape)]
    functions = {"f(x)": b.forward, "log|det J|": b.log_abs_det_jacobian}
    for name, function in functions.items():
        if function is None:
            continue
        value = function(x)
        if value.shape[: len(batch)] != batch:
            yield exactly(tuple(value.shape), tuple(batch), kind=Kind.NUMERICAL, what=f"the leading shape of {name}")
            return
        for k in (0, math.prod(batch) - 1):
            alone = function(_events(b, x)[k].expand(x.shape).contiguous())
            rows = [v.reshape(math.prod(batch), -1)[k] for v in (value, alone)]
            size = torch.cat([v.detach().double().cpu().abs().flatten() for v in (*rows, _events(b, x)[k])]).amax()
            yield close(rows[0], rows[1], scale=size.clamp(min=1.0), what=f"{name} of row {k} among other rows")


@claim(
    given=_draw,
    mutants={
        "the map computes in another dtype": lambda b: replace(
            b, forward=lambda x: b.forward(x).to(torch.float32 if x.dtype == torch.float64 else torch.float64)
        ),
        **slips.BATCH,
    },
    examples=30,
)
def shape_and_dtype_are_those_of_the_point(b: Bijection, x: Tensor) -> Iterator[Residual]:
    r"""The map keeps the batch's shape and the dtype, and so does the log-determinant.

    For x of shape `(*batch, *event_shape)` the log-determinant $\log\lvert\det J\rvert$ has shape `(*batch,)`.

    Error bound: 0.
    """
    batch = tuple(x.shape[: x.ndim - len(b.event_shape)])
    y = b.forward(x)
    yield exactly(tuple(y.shape[: len(batch)]), batch, kind=Kind.NUMERICAL, what="the leading shape of f(x)")
    yield exactly(y.dtype, x.dtype, kind=Kind.NUMERICAL, what="the dtype of f(x)")
    if b.log_abs_det_jacobian is not None:
        value = b.log_abs_det_jacobian(x)
        yield exactly(tuple(value.shape), batch, kind=Kind.NUMERICAL, what="the shape of log|det J|")
        yield exactly(value.dtype, x.dtype, kind=Kind.NUMERICAL, what="the dtype of log|det J|")
    if b.inverse is not None:
        back = b.inverse(y)
        yield exactly(tuple(back.shape), tuple(x.shape), kind=Kind.NUMERICAL, what="the shape of f^-1(f(x))")
        yield exactly(back.dtype, x.dtype, kind=Kind.NUMERICAL, what="the dtype of f^-1(f(x))")


@claim(
    given=_draw,
    mutants={
        "in one pass the log-determinant is that of the inverse": slips.negated_in_one_pass,
        "in one pass the value is that of the map twice": slips.twice_in_one_pass,
    },
    examples=30,
)
def one_pass_is_two(b: Bijection, x: Tensor) -> Iterator[Residual]:
    r"""One pass gives what two give: $(f(x), \log\lvert\det J_f(x)\rvert)$, and as much of the inverse at f(x).

    Error bound: 8 roundings of the largest of 1, |x|, |f(x)| and the log-determinant in a row, as sums may be taken in
    another order; what one pass says of the inverse is held to the bounds of `inverse_undoes_forward` and
    `inverse_log_det_is_the_negative`.
    """
    if b.forward_and_log_det is None and b.inverse_and_log_det is None:
        raise NotImplementedError("nothing is computed in one pass")
    if b.forward_and_log_det is not None:
        expected = b.forward(x), slips.need(b.log_abs_det_jacobian, "log_abs_det_jacobian")(x)
        sizes = [t.detach().double().cpu().abs().reshape((*expected[1].shape, -1)).amax(-1) for t in (x, *expected)]
        size = torch.stack(sizes).amax(0).clamp(min=1.0)
        for value, two, what in zip(b.forward_and_log_det(x), expected, ("f(x)", "log|det J|"), strict=True):
            scale = size.reshape(size.shape + (1,) * (two.ndim - size.ndim)).expand(two.shape)
            yield close(value, two, ulps=8, scale=scale, what=f"{what} in one pass")
    if b.inverse_and_log_det is not None:
        both = b.inverse_and_log_det
        parts = replace(b, inverse=lambda y: both(y)[0], inverse_log_abs_det_jacobian=lambda y: both(y)[1])
        yield from inverse_undoes_forward.check(parts, x)
        yield from inverse_log_det_is_the_negative.check(parts, x)


def check_bijection(
    bijection: Bijection | Any,
    **options: Unpack[Options],
) -> list[Evidence]:
    r"""Judges a flow's map, its inverse and its log-determinant by every law of a bijection.

    Args:
        bijection: the map under test: a `Bijection`, or something that an adapter takes, such as a transform of torch or a
            `torch.nn.Module` whose `forward` and `inverse` return the value and the log-determinant.
        options: `expected_failures`, `require`, `settings`, `dtype`, `device`, `name` as in `mathcheck.check`.

    Returns:
        The evidence, one for each law.

    Raises:
        mathcheck.Refuted: if a law fails, with the counterexample, the true value and a diagnosis.
        TypeError: if `bijection` is no `Bijection`, and no adapter makes one of it.
    """
    bijection = subject("bijection", Bijection, bijection)
    return check(bijection, laws(Bijection), **options)
