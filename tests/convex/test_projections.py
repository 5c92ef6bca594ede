"""Projections that are right up to the rounding of a far point, and their wrong twins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mathcheck import ConvexSet, Projection, Settings
from mathcheck.convex.projection import idempotent, unit_ball
from mathcheck.engine.claim import verify
from mathcheck.engine.evidence import Status

Map = Callable[[Tensor], Tensor]
SIMPLEX = ConvexSet(
    3,
    lambda x: torch.maximum((x.sum(-1) - 1).abs(), (-x).amax(-1).clamp(min=0)),
    lambda x: torch.where((x.sum(-1, keepdim=True) == 1) & (x >= 0).all(-1, keepdim=True), x, x.softmax(-1)),
)
# x + y + z = 1.
PLANE = ConvexSet(3, lambda x: (x.sum(-1) - 1).abs(), lambda x: x - (x.sum(-1, keepdim=True) - 1) / 3)


def duchi(y: Tensor) -> Tensor:
    ordered = y.sort(-1, descending=True).values
    taken = (ordered.cumsum(-1) - 1) / torch.arange(1, 4, dtype=y.dtype)
    last = (ordered > taken).sum(-1, keepdim=True) - 1
    return (y - taken.gather(-1, last)).clamp(min=0)


def bisected(y: Tensor) -> Tensor:
    low, high = y.amin(-1, keepdim=True) - 1, y.amax(-1, keepdim=True)
    for _ in range(80):
        middle = (low + high) / 2
        much = (y - middle).clamp(min=0).sum(-1, keepdim=True) > 1
        low, high = torch.where(much, middle, low), torch.where(much, high, middle)
    return (y - high).clamp(min=0)


def on_the_plane(y: Tensor) -> Tensor:
    return y - (y.sum(-1, keepdim=True) - 1) / 3


def on_the_ball(y: Tensor) -> Tensor:
    return y / torch.linalg.vector_norm(y, dim=-1, keepdim=True).clamp(min=1)


RIGHT: dict[str, tuple[Map, ConvexSet]] = {
    "by sorting": (duchi, SIMPLEX),
    "by bisection": (bisected, SIMPLEX),
    "on a plane": (on_the_plane, PLANE),
    "on a ball": (on_the_ball, unit_ball(3)),
}
WRONG: dict[str, tuple[Map, ConvexSet]] = {
    "it stops short": (lambda y: (duchi(y) + 1e-3 * y) / (1 + 1e-3), SIMPLEX),
    "by 1 too few steps": (lambda y: on_the_plane(y) + 1e-6 * (y.sum(-1, keepdim=True) - 1), PLANE),
    "it is not normalised": (lambda y: on_the_ball(y) * (1 - 1e-6), unit_ball(3)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", RIGHT)
def test_right_ones_hold(name: str, dtype: torch.dtype) -> None:
    project, onto = RIGHT[name]
    for seed in range(2):
        strict = Settings(seed=seed, accuracy="full")
        assert verify(idempotent, Projection(project, onto), dtype=dtype, settings=strict).status is Status.HOLDS
    for far in (65.0, -97.0, 99.9):
        y = torch.full((1, 3), far, dtype=dtype)
        assert all(residual.ratio <= 1 for residual in idempotent.residuals(Projection(project, onto), y))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_ones_are_refuted(name: str) -> None:
    assert verify(idempotent, Projection(*WRONG[name])).status is Status.REFUTED
