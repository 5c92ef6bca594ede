"""Ways in which a bijection goes wrong: the mutants of its laws, and repairs that name a slip."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.engine.guard import SubjectFault
from mathcheck.flows.bijection.record import Bijection, Map

Slip = Callable[[Bijection], Bijection]


def need(function: Map | None, name: str) -> Map:
    if function is None:
        raise NotImplementedError(f"the bijection has no {name}")
    return function


def _log_det(change: Callable[[Tensor, Tensor], Tensor], *, scales: bool = False) -> Slip:
    """The slip that puts `change(log_det, x)` in place of the log-determinant; `scales` if it leaves zeros alone."""

    def slip(b: Bijection) -> Bijection:
        function = need(b.log_abs_det_jacobian, "log_abs_det_jacobian")
        if scales and b.volume_preserving:
            raise NotImplementedError("a multiple of a log-determinant that is zero by design")
        return replace(b, log_abs_det_jacobian=lambda x: change(function(x), x))

    return slip


def _times_size(power: int, *, positions: bool) -> Slip:
    """The slip that multiplies the log-determinant by the number of coordinates, or of spatial positions, of an event."""

    def slip(b: Bijection) -> Bijection:
        size = math.prod(b.event_shape[1:] if positions else b.event_shape)
        if size == 1:
            raise NotImplementedError("a factor of one")
        return _log_det(lambda value, x: value * float(size) ** power, scales=True)(b)

    return slip


def inverse_becomes(change: Callable[[Map, Tensor], Tensor]) -> Slip:
    def slip(b: Bijection) -> Bijection:
        function = need(b.inverse, "inverse")
        return replace(b, inverse=lambda y: change(function, y))

    return slip


def slightly(b: Bijection) -> Bijection:
    if b.inverse_error:
        raise NotImplementedError("smaller than the promised error")
    return inverse_becomes(lambda f, y: f(y) / (1 + 1e4 * torch.finfo(y.dtype).eps))(b)


def narrow(b: Bijection) -> Bijection:
    """Targets far from the middle of the codomain are treated as if they were nearer."""
    function = need(b.inverse, "inverse")
    if b.codomain is None:
        raise NotImplementedError("the image is no box")
    low, high = b.codomain.lower, b.codomain.upper
    if math.isfinite(low) and math.isfinite(high):
        ends = low + (high - low) / 4, high - (high - low) / 4
    else:
        ends = (low + 0.5 if math.isfinite(low) else -1.0), (high - 0.5 if math.isfinite(high) else 1.0)
        ends = (ends[0], max(ends[1], ends[0] + 1.0)) if math.isfinite(low) else (min(ends[0], ends[1] - 1.0), ends[1])
    return replace(b, inverse=lambda y: function(y.clamp(*ends)))


def folded(b: Bijection) -> Bijection:
    """The first coordinate is reflected at the middle of the domain, so that two points have one image."""
    low, high = b.domain.lower, b.domain.upper
    if math.isfinite(high - low):
        middle = (low + high) / 2
    else:
        middle = low + 1 if math.isfinite(low) else high - 1 if math.isfinite(high) else 0.0

    def forward(x: Tensor) -> Tensor:
        flat = x.reshape(*x.shape[: x.ndim - len(b.event_shape)], -1)
        first = middle + (flat[..., :1] - middle).abs()
        return b.forward(torch.cat([first, flat[..., 1:]], -1).reshape(x.shape))

    return replace(b, forward=forward)


def _transposed_inverse(b: Bijection) -> Bijection:
    """The inverse of a linear map with its matrix transposed; of any other map it makes nothing that holds."""
    function = need(b.inverse, "inverse")
    if not b.event_shape or b.domain.lower >= 0 or b.domain.upper <= 0:
        raise NotImplementedError("no linear map of a space")
    size = math.prod(b.event_shape)

    def inverse(y: Tensor) -> Tensor:
        zero = y.new_zeros(b.event_shape)
        basis = torch.eye(size, dtype=y.dtype, device=y.device).reshape(size, *b.event_shape)
        start = row(b, function, zero).flatten()
        columns = torch.stack([row(b, function, e).flatten() - start for e in basis], dim=1)
        moved = (y - row(b, b.forward, zero)).reshape(*y.shape[: y.ndim - len(b.event_shape)], size)
        return (moved @ columns).reshape(y.shape)

    return replace(b, inverse=inverse)


def _far(b: Bijection, x: Tensor) -> Tensor:
    """Which points of a batch lie beyond a tenth of what can be drawn."""
    lead = x.shape[: x.ndim - len(b.event_shape)]
    farthest = min(b.domain.reach, max(abs(b.domain.lower), abs(b.domain.upper)))
    return (x.abs() > farthest / 10).reshape(*lead, -1).any(-1)


def saturated(b: Bijection) -> Bijection:
    """Far points have an infinite log-determinant."""
    function = need(b.log_abs_det_jacobian, "log_abs_det_jacobian")
    return replace(b, log_abs_det_jacobian=lambda x: torch.where(_far(b, x), -math.inf, function(x)))


def broken(b: Bijection) -> Bijection:
    """Far points have an image that is no number."""

    def forward(x: Tensor) -> Tensor:
        y = b.forward(x)
        far = _far(b, x)
        return torch.where(far.reshape(far.shape + (1,) * (y.ndim - far.ndim)), math.nan, y)

    return replace(b, forward=forward)


def negated_inverse(b: Bijection) -> Bijection:
    """The log-determinant of the inverse has the other sign."""
    function = need(b.inverse_log_abs_det_jacobian, "inverse_log_abs_det_jacobian")
    if b.volume_preserving:
        raise NotImplementedError("the negative of zero")
    return replace(b, inverse_log_abs_det_jacobian=lambda y: -function(y))


def _in_one_pass(change: Callable[[Bijection, Tensor, tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]) -> Slip:
    """The slip that puts `change(bijection, x, pair)` in place of what one pass returns, forward or else inverse."""

    def slip(b: Bijection) -> Bijection:
        both = b.forward_and_log_det
        if both is None:
            raise NotImplementedError("the bijection has no forward_and_log_det")
        return replace(b, forward_and_log_det=lambda x: change(b, x, both(x)))

    return slip


def negated_in_one_pass(b: Bijection) -> Bijection:
    """One pass returns the log-determinant with the other sign."""
    if b.volume_preserving:
        raise NotImplementedError("the negative of zero")
    return _in_one_pass(lambda b, x, pair: (pair[0], -pair[1]))(b)


twice_in_one_pass = _in_one_pass(lambda b, x, pair: (b.forward(pair[0]), pair[1]))


def _near_zero(b: Bijection) -> Bijection:
    if b.points is not None or b.domain.reach <= 1 or not (b.domain.lower < 1 and b.domain.upper > -1):
        raise NotImplementedError("no points of the domain lie there alone")
    return replace(b, domain=replace(b.domain, reach=1.0), codomain=None)


def _single(b: Bijection) -> Bijection:
    def coarse(function: Map | None) -> Map | None:
        return None if function is None else lambda x: function(x).float()

    return replace(
        b,
        log_abs_det_jacobian=coarse(b.log_abs_det_jacobian),
        inverse_log_abs_det_jacobian=coarse(b.inverse_log_abs_det_jacobian),
    )


def _row_by_row(b: Bijection) -> Bijection:
    def rowwise(function: Map | None) -> Map | None:
        return None if function is None else (lambda x: rows(b, function, x))

    return replace(
        b,
        forward=lambda x: rows(b, b.forward, x),
        inverse=rowwise(b.inverse),
        log_abs_det_jacobian=rowwise(b.log_abs_det_jacobian),
    )


BATCH: dict[str, Slip] = {"it is summed over the batch": _log_det(lambda value, x: value.sum())}
LOG_DET: dict[str, Slip] = {
    "the sign of the log-determinant is changed": _log_det(lambda value, x: -value, scales=True),
    "the log-determinant is multiplied by 2": _log_det(lambda value, x: 2 * value, scales=True),
    "the log-determinant is divided by 2": _log_det(lambda value, x: value / 2, scales=True),
    "the log-determinant is multiplied by the number of positions h * w": _times_size(1, positions=True),
    "the log-determinant is divided by the number of positions h * w": _times_size(-1, positions=True),
    "the log-determinant is multiplied by the number of coordinates (a sum for a mean)": (
        _times_size(1, positions=False)
    ),
    "the log-determinant is divided by the number of coordinates (a mean for a sum)": (
        _times_size(-1, positions=False)
    ),
    "the logarithm of the determinant is taken": _log_det(lambda value, x: value.abs().log()),
    "the exponential of the log-determinant is taken": _log_det(lambda value, x: value.exp()),
    "log 2 is added to the log-determinant": _log_det(lambda value, x: value + math.log(2)),
}
INVERSE: dict[str, Slip] = {
    "the matrix of the inverse is transposed (a permutation for its inverse)": _transposed_inverse,
}
NEAR_ZERO: dict[str, Slip] = {"points stay within 1 of zero (it saturates or cancels beyond)": _near_zero}
REPAIRS: dict[str, Slip] = {
    "the rows of a batch are kept apart": _row_by_row,
    **LOG_DET,
    "it is judged in single precision (its error is of that size)": _single,
    **NEAR_ZERO,
}


def rows(b: Bijection, function: Map, x: Tensor) -> Tensor:
    """`function` of every row of a batch alone, stacked."""
    lead = x.shape[: x.ndim - len(b.event_shape)] if b.event_shape else x.shape
    found = [row(b, function, x.reshape(-1, *b.event_shape)[k]) for k in range(math.prod(lead))]
    return torch.stack(found).reshape((*lead, *found[0].shape))


def each(b: Bijection, function: Map, points: Tensor) -> Tensor:
    """`function` of each of many events `(k, *event_shape)`, in one call where that says what a call for each says.

    It is not taken for granted that a batch of any length is allowed, and its rows kept apart: the first and the last are
    asked for alone, too.
    """
    alone = [row(b, function, points[k]) for k in (0, -1)]
    if len(points) > 2 and any(len(shape) == 1 for shape in b.batch_shapes):
        with contextlib.suppress(SubjectFault):
            values = function(points)
            if values.shape == (len(points), *alone[0].shape) and all(
                bool(((values[k] - v).abs() <= 64 * torch.finfo(v.dtype).eps * v.abs().amax()).all())
                for k, v in zip((0, -1), alone, strict=True)
            ):
                return values
    return torch.stack([alone[0], *(row(b, function, point) for point in points[1:])])


def row(b: Bijection, function: Map, x: Tensor) -> Tensor:
    """`function` of one event, in the smallest batch that the subject takes."""
    batch = min(b.batch_shapes, key=lambda shape: (math.prod(shape), len(shape)))
    value = function(x.expand((*batch, *x.shape)))
    for _ in batch:
        value = value[0] if value.ndim else value
    return value
