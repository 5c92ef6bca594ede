"""Ways in which a linear map or its adjoint goes wrong: the mutants of the laws, and what undoes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.linear.linear_map.direction import Direction, Shape, same_matrices
from mathcheck.linear.linear_map.record import LinearMap, Map

Slip = Callable[[LinearMap], LinearMap]


def forward(t: LinearMap) -> Direction:
    return Direction("T", t.forward, t.input_shape, t.output_shape, t.batch_shapes, t.error)


def adjoint(t: LinearMap) -> Direction:
    if t.adjoint is None:
        raise NotImplementedError("the linear map has no adjoint")
    return Direction("T*", t.adjoint, t.output_shape, t.input_shape, t.batch_shapes, t.error)


def changed(t: LinearMap, mutant: LinearMap) -> LinearMap:
    """The mutant, unless it is the same linear map in other words."""
    dtype = t.dtype or torch.float64
    if same_matrices(forward(t), forward(mutant), dtype) and (
        t.adjoint is None or same_matrices(adjoint(t), adjoint(mutant), dtype)
    ):
        raise NotImplementedError("the slip leaves this map as it is")
    return mutant


def result(change: Callable[[Tensor], Tensor]) -> Slip:
    """The slip that puts `change(Tx)` in place of Tx."""
    return lambda t: changed(t, replace(t, forward=lambda x: change(t.forward(x))))


def adjoint_result(change: Callable[[LinearMap, Tensor], Tensor]) -> Slip:
    """The slip that puts `change(t, T* y)` in place of T* y."""

    def slip(t: LinearMap) -> LinearMap:
        function = adjoint(t).function
        return changed(t, replace(t, adjoint=lambda y: change(t, function(y))))

    return slip


def square(slip: Slip) -> Slip:
    def square_only(t: LinearMap) -> LinearMap:
        if t.input_shape != t.output_shape:
            raise NotImplementedError("the map and its adjoint take different shapes")
        return changed(t, slip(t))

    return square_only


def last(x: Tensor, event: Shape) -> Tensor:
    """A mask of the shape of x that is True at the last coordinate of every event."""
    mask = torch.zeros(math.prod(event), dtype=torch.bool, device=x.device)
    mask[-1] = True
    return mask.reshape(event).expand(x.shape)


def moved_along(t: LinearMap) -> LinearMap:
    def moved(value: Tensor) -> Tensor:
        return value.flatten(value.ndim - len(t.output_shape)).roll(1, -1).reshape(value.shape)

    return result(moved if t.output_shape else lambda value: value)(t)


def gradient_without_the_last(t: LinearMap) -> LinearMap:
    def without(x: Tensor, instead: Tensor) -> Tensor:
        return t.forward(torch.where(last(x, t.input_shape), instead, x))

    changed(t, replace(t, forward=lambda x: without(x, torch.zeros_like(x))))
    return replace(t, forward=lambda x: without(x, x.detach()))


def in_order(t: LinearMap) -> LinearMap:
    if math.prod(t.input_shape) == 1:
        raise NotImplementedError("a single number has one layout")
    return replace(t, forward=lambda x: t.forward(torch.as_strided(x, x.shape, torch.empty(x.shape).stride())))


def row_by_row(t: LinearMap) -> LinearMap:
    return replace(t, forward=forward(t).alone, adjoint=None if t.adjoint is None else adjoint(t).alone)


def _transposed(direction: Direction) -> Map:
    """The map of the transposed matrix, where that is square."""
    if math.prod(direction.event) != math.prod(direction.out):
        raise NotImplementedError("the matrix is not square")

    def of(x: Tensor) -> Tensor:
        flat = x.double().reshape(*direction.batch(x), -1)
        matrix = direction.matrix(x.dtype, x.device).to(x.device)
        return (flat @ matrix).to(x.dtype).reshape(*direction.batch(x), *direction.out)

    return of


def _channel_by_channel(direction: Direction) -> Map:
    """The map of each channel, the others being 0."""
    channels = direction.event[0] if direction.event else 1
    if channels < 2 or len(direction.event) < 2 or direction.out[:1] != (channels,):
        raise NotImplementedError("there are no channels")

    def of(x: Tensor) -> Tensor:
        axis, found = len(direction.batch(x)), []
        for c in range(channels):
            alone = torch.zeros_like(x)
            alone.select(axis, c).copy_(x.select(axis, c))
            found.append(direction.function(alone).select(axis, c))
        return torch.stack(found, axis)

    return of


REPAIRS: dict[str, Slip] = {"every row of a batch is mapped alone": row_by_row}
MAP_REPAIRS: dict[str, Slip] = {
    **REPAIRS,
    "the channels are kept apart in the map (it mixes them)": lambda t: replace(
        t, forward=_channel_by_channel(forward(t))
    ),
}
ADJOINT_REPAIRS: dict[str, Slip] = {
    **MAP_REPAIRS,
    "the channels are kept apart in the adjoint (it mixes them)": lambda t: replace(
        t, adjoint=_channel_by_channel(adjoint(t))
    ),
    "the matrix of the adjoint is transposed (that of a permutation is its inverse)": lambda t: replace(
        t, adjoint=_transposed(adjoint(t))
    ),
}
