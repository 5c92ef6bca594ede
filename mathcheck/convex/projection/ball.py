r"""The projection onto the unit ball: $y / \max(1, \lVert y\rVert)$."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from mathcheck.convex.projection import slips
from mathcheck.convex.projection.laws import length, nearest, single
from mathcheck.convex.projection.record import Projection
from mathcheck.convex.projection.sets import unit_ball
from mathcheck.engine import arguments
from mathcheck.engine.claim import claim
from mathcheck.engine.residual import Residual, at_most
from mathcheck.engine.strategies import BATCH_SHAPES
from mathcheck.oracles import arb


def project_on_unit_ball(y: Tensor) -> Tensor:
    r"""$P(y) = y / \max(1, \lVert y\rVert)$ over the last dimension.

    Args:
        y: `(*batch, n)`, n at least 1; finite.

    Returns:
        `(*batch, n)`; the point itself, to the last bit, where it lies in the ball.

    Raises:
        TypeError: if `y` is no floating tensor.
        ValueError: if `y` has no entry in its last dimension.
    """
    arguments.vectors(y=y)
    length: Tensor = torch.linalg.vector_norm(y, dim=-1, keepdim=True)
    return y / length.clamp(min=1.0)


on_unit_ball = Projection(project_on_unit_ball, unit_ball(3), reach=10.0, batch_shapes=BATCH_SHAPES)


@claim(
    given=single,
    reference=on_unit_ball,
    mutants=slips.OTHER | slips.ARGUMENT | slips.REFLECTED | slips.SHORT,
    uses=(nearest,),
)
def no_point_of_the_ball_is_nearer(p: Projection, y: Tensor) -> Iterator[Residual]:
    r"""Of all points of the unit ball none is nearer, and P(y) is one of them.

    $\max_{\lVert z\rVert\le1}\langle y-P(y),\, z-P(y)\rangle = \lVert y-P(y)\rVert - \langle y-P(y),\, P(y)\rangle \le 0$ and
    $\lVert P(y)\rVert \le 1$, both in ball arithmetic.

    Error bound: 8n roundings of P(y) as in `nearest`, with 1 for the largest $\lVert z\rVert$; 8n of 1 for the length.
    """
    value, n = p.project(y), p.onto.dimension

    def gap(row: list[Any]) -> list[Any]:
        apart = [a - b for a, b in zip(row[:n], row[n:], strict=True)]
        lengths = [arb.sqrt(sum(v * v for v in part)) for part in (apart, row[n:])]
        return [lengths[0] - sum(a * b for a, b in zip(apart, row[n:], strict=True)), lengths[1]]

    true = arb.enclose_rows(gap, torch.cat([y, value], -1))
    size = (length(y) + length(value) + 1) * (length(y - value) + 1 + length(value))
    ends = torch.stack([torch.zeros_like(size), torch.ones_like(size)], -1).to(y.dtype)
    scale = torch.stack([size, torch.ones_like(size)], -1)
    yield at_most(true, ends, ulps=8 * n, scale=scale, what="the largest <y - P(y), z - P(y)>, and |P(y)|")
