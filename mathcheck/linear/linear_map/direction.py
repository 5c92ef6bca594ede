"""One direction of a linear map, forward or adjoint: its matrix as it answers on basis vectors, and how it may round."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mathcheck.engine.guard import SubjectFault
from mathcheck.engine.residual import Ball, Kind

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Direction:
    """A function of events of shape `event` to events of shape `out`, called `name` in reports.

    `batch_shapes` are the leading shapes that it takes and `error` its promise, as in
    `mathcheck.linear.linear_map.LinearMap`.
    """

    name: str
    function: Callable[[Tensor], Tensor]
    event: Shape
    out: Shape
    batch_shapes: tuple[Shape, ...]
    error: float

    def batch(self, x: Tensor) -> Shape:
        """The leading shape of x."""
        return tuple(x.shape[: x.ndim - len(self.event)])

    def basis(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Every basis vector of the input, `(n, *event)`."""
        return torch.eye(math.prod(self.event), dtype=dtype, device=device).reshape(-1, *self.event)

    def alone(self, x: Tensor) -> Tensor:
        """The function of every event of a batch alone, in the smallest batch that it takes, stacked again."""
        batch = min(self.batch_shapes, key=lambda shape: (math.prod(shape), len(shape)))
        values = []
        for row in x.reshape(-1, *self.event):
            value = self.function(row.expand(*batch, *self.event).contiguous())
            values.append(value[(0,) * len(batch)])
        return torch.stack(values).reshape(*self.batch(x), *values[0].shape)

    @functools.lru_cache(maxsize=64)  # noqa: B019 - a direction is a value, and the cache is small
    def matrix(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """The dense matrix `(outputs, inputs)` in float64 on the CPU: column j is the function of basis vector j."""
        columns = self.alone(self.basis(dtype, device)).detach().double().cpu()
        if columns.shape[1:] != self.out:
            raise SubjectFault(f"{self.name} gave the shape {tuple(columns.shape[1:])}, expected {self.out}")
        return columns.reshape(len(columns), -1).mT

    def rounded(self, x: Tensor, promises: float = 1.0) -> tuple[Tensor, Tensor]:
        r"""Terms times $\lvert A\rvert\lvert x\rvert$, `(*batch, *out)`, and the promised error, `promises` times.

        A sum of k products is off by at most $(k + 1)/2$ roundings of the sum of their magnitudes, in whatever order.
        """
        matrix = self.matrix(x.dtype, x.device).abs()
        moved = x.detach().double().cpu().abs().reshape(*self.batch(x), -1) @ matrix.mT
        promised = promises * self.error * moved.amax(-1, keepdim=True).expand(moved.shape)
        terms = (matrix != 0).sum(-1).clamp(min=1)
        return (terms * moved).reshape(*self.batch(x), *self.out), promised.reshape(*self.batch(x), *self.out)

    def ball(self, expected: Tensor, x: Tensor, source: str, promises: float = 1.0) -> tuple[Ball, Tensor]:
        """The expected value of the function at x with the promised error as its radius, and the scale of roundings."""
        scale, promised = self.rounded(x, promises)
        return Ball(expected, promised, kind=Kind.NUMERICAL, source=source), scale


def same_matrices(one: Direction, other: Direction, dtype: torch.dtype) -> bool:
    """True if two directions answer alike on every basis vector; False too where one of them does not answer."""
    device = torch.device("cpu")
    try:
        return torch.equal(one.matrix(dtype, device), other.matrix(dtype, device))
    except Exception:  # whatever somebody's function does here, the laws themselves will meet and report
        return False
