r"""Distributions on finitely many numbers, given by a table of places $x_1 < \dots < x_k$ and levels $F_i = P(X \le x_i)$."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mathcheck.engine import arguments


def _checked(places: Tensor, levels: Tensor) -> None:
    arguments.floating(places=places)
    arguments.floating(levels=levels)
    if places.ndim != 1 or places.shape != levels.shape or len(places) == 0:
        raise ValueError(
            f"places and levels must both have shape (k,) with k >= 1, got {tuple(places.shape)} and "
            f"{tuple(levels.shape)}"
        )
    if not bool((places.diff() > 0).all()):
        raise ValueError(f"places must increase, got {places.tolist()[:8]}")
    if not bool((levels.diff() >= 0).all()) or not float(levels[0]) >= 0 or float(levels[-1]) != 1:
        raise ValueError(f"levels must increase from at least 0 to exactly 1, got {levels.tolist()[:8]}")


def table_quantile(u: Tensor, places: Tensor, levels: Tensor) -> Tensor:
    r"""$G(u) = x_k$ with k the first index such that $u \le F_k$: the generalised inverse of a table.

    Places of probability 0 are never returned.

    Args:
        u: levels in [0, 1], any shape; $G(0) = -\infty$.
        places: the values $x_1 < \dots < x_k$, `(k,)`.
        levels: $F_i = P(X \le x_i)$, `(k,)`, increasing to exactly 1; they are not renormalised.

    Returns:
        Like u, in the dtype of `places`.

    Raises:
        TypeError, ValueError: for levels outside [0, 1], or a table that is none.
    """
    _checked(places, levels)
    arguments.floating(u=u)
    if not bool(((u >= 0) & (u <= 1)).all()):
        raise ValueError(f"u must lie in [0, 1], got {u.detach().flatten()[:8].tolist()}")
    index = torch.searchsorted(levels, u.to(levels.dtype).contiguous())
    return torch.where(u == 0, -math.inf, places[index])


def table_cdf(x: Tensor, places: Tensor, levels: Tensor, *, left: bool = False) -> Tensor:
    r"""$F(x) = F_k$ with k the last index such that $x_k \le x$, or with `left` such that $x_k < x$; 0 below all places.

    Args:
        x: any shape.
        places: as in `table_quantile`.
        levels: as in `table_quantile`.
        left: whether to take the left limit $P(X < x)$.

    Returns:
        Like x, in the dtype of `levels`.

    Raises:
        TypeError, ValueError: for a table that is none, or x that is no floating tensor.
    """
    _checked(places, levels)
    arguments.floating(x=x)
    arguments.instances(bool, left=left)
    index = torch.searchsorted(places, x.to(places.dtype).contiguous(), right=not left)
    return torch.cat([levels.new_zeros(1), levels])[index]
