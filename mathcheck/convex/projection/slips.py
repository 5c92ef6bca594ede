"""Ways in which a projection goes wrong: the mutants of its laws, and what undoes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mathcheck.convex.projection.record import Projection

Slip = Callable[[Projection], Projection]


def instead(change: Callable[[Projection, Tensor], Tensor]) -> Slip:
    """The slip that computes `change(projection, y)` in place of the projection."""
    return lambda p: replace(p, project=lambda y: change(p, y))


def _shifted(p: Projection) -> Projection:
    """What remains of the coordinates above 0 sums to what the coordinates of every point of the set sum to."""
    probe = p.onto.member(torch.linspace(-2, 3, 2 * p.onto.dimension, dtype=torch.float64).reshape(2, -1))
    total = float(probe[0].sum())
    if total <= 0 or bool((probe < 0).any()) or not torch.allclose(probe.sum(-1), probe.new_tensor(total)):
        raise NotImplementedError("the set is no simplex")

    def project(y: Tensor) -> Tensor:
        ordered = y.sort(-1, descending=True).values
        taken = (ordered.cumsum(-1) - total) / torch.arange(1, y.shape[-1] + 1, dtype=y.dtype, device=y.device)
        last = (ordered > taken).sum(-1, keepdim=True) - 1
        return p.project(y - taken.gather(-1, last.clamp(min=0)))

    return replace(p, project=project)


OMITTED: dict[str, Slip] = {"the point is returned as it is": instead(lambda p, y: y)}
REFLECTED: dict[str, Slip] = {
    "the point is reflected (it goes twice as far)": instead(lambda p, y: 2 * p.project(y) - y)
}
SHORT: dict[str, Slip] = {
    "it stops halfway": instead(lambda p, y: (y + p.project(y)) / 2),
    "it stops a quarter short": instead(lambda p, y: (y + 3 * p.project(y)) / 4),
}
OTHER: dict[str, Slip] = {
    "some point of the set is returned, not the nearest": instead(lambda p, y: p.project(torch.zeros_like(y))),
}
ARGUMENT: dict[str, Slip] = {
    "the point is doubled before": instead(lambda p, y: p.project(2 * y)),
    "the sign of the point is changed before": instead(lambda p, y: p.project(-y)),
}
DOUBLED: dict[str, Slip] = {"the result is doubled": instead(lambda p, y: 2 * p.project(y))}
RESULT: dict[str, Slip] = {"1 is added to the result": instead(lambda p, y: p.project(y) + 1), **DOUBLED}
REPAIRS: dict[str, Slip] = {
    "one number is subtracted from all coordinates before they are clipped (what is left then sums right)": _shifted,
    "the result is projected again": instead(lambda p, y: p.project(p.project(y))),
    "the result is moved into the set": instead(lambda p, y: p.onto.member(p.project(y))),
    **ARGUMENT,
    "the point is halved before": instead(lambda p, y: p.project(y / 2)),
    "the result is halved": instead(lambda p, y: p.project(y) / 2),
}
