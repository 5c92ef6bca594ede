"""Batches a few rows at a time, so that the passes of a kernel find their numbers in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def whole(points: Tensor) -> bool:
    """Whether a batch is better taken at once: a card has no cache to stay in, and a compiler makes one pass of a formula."""
    return torch.compiler.is_compiling() or not points.is_cpu


def blocks(points: Tensor, *more: Tensor, size: int = 2**16) -> Iterator[tuple[Tensor, ...]]:
    """Parts of tensors `(*batch, n)` and `(*batch,)`, the same rows of each.

    Args:
        points: `(*batch, n)`.
        more: of the shape of `points`, or of its batch.
        size: numbers of `points` in a part: few enough to stay in the cache, enough to hide the calls.
    """
    if whole(points) or points.numel() <= size:
        return iter([(points, *more)])
    n = points.shape[-1]
    rows = [t.reshape(-1, n) if t.ndim == points.ndim else t.reshape(-1) for t in (points, *more)]
    return zip(*(torch.split(t, max(1, size // n)) for t in rows), strict=True)
