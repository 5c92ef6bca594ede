"""Potential energies that integrators are judged on, with bounds of their derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Potential:
    r"""A potential energy U with its gradient, and how strongly it bends.

    Args:
        name: in words.
        value: U, `(*batch, n)` -> `(*batch,)`.
        gradient: $\nabla U$, `(*batch, n)` -> `(*batch, n)`.
        n: number of coordinates.
        curvature: at least $\lVert\nabla^2 U(q)\rVert$ for all q.
        bend: at least the norm of the third derivative for all q.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    gradient: Callable[[Tensor], Tensor]
    n: int
    curvature: float
    bend: float

    def energy(self, q: Tensor, p: Tensor) -> Tensor:
        r"""$H(q, p) = U(q) + \tfrac12\lvert p\rvert^2$, `(*batch,)`."""
        return self.value(q) + (p * p).sum(-1) / 2


def _springs(q: Tensor) -> Tensor:
    return q[..., 0] ** 2 / 2 + q[..., 1] ** 2 + q.sum(-1).sin() / 2


def _springs_gradient(q: Tensor) -> Tensor:
    stiffness = torch.tensor([1.0, 2.0], dtype=q.dtype, device=q.device)
    return stiffness * q + q.sum(-1, keepdim=True).cos() / 2


OSCILLATOR = Potential("the oscillator", lambda q: (q * q).sum(-1) / 2, lambda q: 1 * q, 1, 1.0, 0.0)
POTENTIALS = (
    OSCILLATOR,
    Potential("the tilted pendulum", lambda q: (1 - q.cos() + q / 2).sum(-1), lambda q: q.sin() + 0.5, 1, 1.0, 1.0),
    Potential("two coupled springs", _springs, _springs_gradient, 2, 3.0, math.sqrt(2)),
)
