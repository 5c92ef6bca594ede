"""Batches a few rows at a time, so that the passes of a kernel find their numbers in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def whole(points: Tensor) -> bool:
    """Whether a batch is better taken at once: a card has no cache to stay in, and a compiler makes one pass of a formula."""
    return torch.compiler.is_compiling() or not points.is_cpu


def blocks(points: Tensor, *more: Tensor, event: int = 1, size: int = 2**16) -> Iterator[tuple[Tensor, ...]]:
    """Parts of tensors with the same batch shape, the same rows of each.

    Args:
        points: `(*batch, n)`, or with more dimensions in an event.
        more: of the same batch shape and any events.
        event: number of dimensions of an event of `points`.
        size: numbers of `points` in a part: few enough to stay in the cache, enough to hide the calls.
    """
    if whole(points) or points.numel() <= size:
        return iter([(points, *more)])
    batch = points.ndim - event
    rows = [t.reshape(-1, *t.shape[batch:]) for t in (points, *more)]
    at_once = max(1, size * len(rows[0]) // points.numel())
    return zip(*(torch.split(t, at_once) for t in rows), strict=True)
