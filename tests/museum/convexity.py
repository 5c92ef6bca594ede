"""Slips of projections on convex sets."""

from __future__ import annotations

import torch
from torch import Tensor

from mathcheck import Projection, check_projection
from mathcheck.convex.projection import ConvexSet
from museum.exhibit import THOROUGH, Exhibit


def violation(x: Tensor) -> Tensor:
    return torch.maximum((-x).amax(-1), (x.sum(-1) - 1).abs()).clamp(min=0)


def member(x: Tensor) -> Tensor:
    inside = violation(x) <= 4 * torch.finfo(x.dtype).eps
    return torch.where(inside.unsqueeze(-1), x, torch.softmax(x, -1))


SIMPLEX = ConvexSet(3, violation, member)


def project(y: Tensor) -> Tensor:
    """Duchi and others' algorithm: one threshold is subtracted, and what is left is clipped at 0."""
    ordered = y.sort(-1, descending=True).values
    thresholds = (ordered.cumsum(-1) - 1) / torch.arange(1, y.shape[-1] + 1, dtype=y.dtype)
    last = (ordered > thresholds).sum(-1, keepdim=True) - 1
    return (y - thresholds.gather(-1, last)).clamp(min=0)


def clip_and_divide(y: Tensor) -> Tensor:
    clipped = y.clamp(min=0)
    return clipped / clipped.sum(-1, keepdim=True).clamp(min=1e-12)


RIGHT = Projection(project, SIMPLEX, reach=3.0)
EXHIBITS = [
    Exhibit(
        "a projection on the simplex that clips and renormalises",
        check_projection,
        Projection(clip_and_divide, SIMPLEX, reach=3.0),
        RIGHT,
        named="one number is subtracted from all coordinates",
        settings=THOROUGH,
    ),
    Exhibit(
        "a projection on the simplex that only clips",
        check_projection,
        Projection(lambda y: y.clamp(0, 1), SIMPLEX, reach=3.0),
        RIGHT,
        named="one number is subtracted from all coordinates",
        settings=THOROUGH,
    ),
]
